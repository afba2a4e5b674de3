"""Finders on disk: what a finder is as plain data, and directions files opened so that they can be used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.directions.base import DirectionFinder, Jacobian
from ohlora_gan.directions.files import DirectionsError, DirectionSet, load_directions
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace, score_jacobian
from ohlora_gan.registry import FINDERS


def recipe_of(finder: DirectionFinder) -> dict[str, Any]:
    """A finder's class and settings as plain data; what is not plain, such as a function that trains, is left out."""
    settings = {name: _plain(value) for name, value in vars(finder).items() if not name.endswith("_")}
    return {
        "class": FINDERS.name_of(finder),
        "settings": {name: value for name, value in settings.items() if value is not _LEFT_OUT},
    }


_LEFT_OUT = object()  # null is a setting like any other


def _plain(value: Any) -> Any:
    if isinstance(value, DirectionFinder):
        return recipe_of(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ListConfig":
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else _LEFT_OUT


def make_finder(recipe: Mapping[str, Any]) -> DirectionFinder:
    """The finder of a recipe.

    Raises:
        DirectionsError: for one that there is not.
    """
    try:
        kind = FINDERS.find(str(recipe.get("class")))
    except (ImportError, AttributeError, ValueError) as error:
        raise DirectionsError(f"directions name a finder that cannot be made: {error}") from error
    settings = {}
    for name, value in recipe["settings"].items():
        if name == "solver_seed":  # a constant, which files of earlier versions hold
            continue
        if name == "finders":
            value = {prop: make_finder(part) for prop, part in value.items()}
        settings[name] = value
    return kind(**settings)


def free_jacobian(space: FaceSpace, layer: Layer) -> Jacobian:
    """The scores' derivatives as finders ask for them: in the values that edits may move, at unedited faces."""
    free = layer.free(space.generator)

    def jacobian(part: np.ndarray) -> np.ndarray:
        return score_jacobian(space, layer, layer.whole(space.generator, part))[1][..., free]

    return jacobian


def open_directions(path: str | Path, space: FaceSpace, layer: Layer) -> DirectionSet:
    """Directions of a file, ready for any face of a space.

    Raises:
        DirectionsError: see ``storage.load_directions``; or where they do not fit the layer.
    """
    found = load_directions(path)
    size = layer.size(space.generator)
    if found.directions.shape[2] != size:
        raise DirectionsError(
            f"{path} holds directions of {found.directions.shape[2]} values, layer {layer.name} of this generator has "
            f"{size}: give the generator and the layer that they were found with"
        )
    if found.recipe:
        first, last = found.free or (0, size)
        found.finder = make_finder(found.recipe).restore(
            *(found.directions[..., first:last], found.group_names, found.names, found.properties, found.state),
            free_jacobian(space, layer),
        )
    return found
