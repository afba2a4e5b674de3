"""Directions on disk: our safetensors files, which hold all that is needed, and the CSV files of Oh-LoRA."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from safetensors.numpy import save as to_bytes

from ohlora_gan.checked import check_settings
from ohlora_gan.directions.base import ALL, DirectionFinder
from ohlora_gan.errors import UserError, near_file
from ohlora_gan.files import TableError, read_table, replacing, shown, write_rows
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace, free_jacobian
from ohlora_gan.names import EDITED_PROPERTIES, FILE_WORD, is_file_word
from ohlora_gan.reading import UnreadableError, check_described, read_tensors
from ohlora_gan.registry import FINDERS

METADATA_KEY = "ohlora_gan_directions"


class DirectionsError(UserError):
    """A directions file that cannot be used, with the reason."""


@dataclass
class DirectionSet:
    """Unit directions that raise scores, a property and a group.

    A finder is there where directions depend on the point; ``directions`` then are but their means.
    """

    directions: np.ndarray  # float32 [k, G, D], of unit norm
    group_names: list[str]  # G names, ["all"] where samples were not grouped
    layer: str  # the extraction layer's name
    method: str
    medians: dict[str, float] = field(default_factory=dict)  # that define the groups; empty where there are none
    provenance: dict[str, Any] = field(default_factory=dict)  # seed, n, hashes of generator and scorer, metrics, ...
    properties: tuple[str, ...] = EDITED_PROPERTIES  # the k that the directions change
    slopes: np.ndarray | None = None  # [k, G], what a unit of length brings, in sigmas of the score: mean over latents
    spreads: np.ndarray | None = None  # [k, G], the standard deviation of this over latents; None: not measured
    names: tuple[str, ...] = ()  # the P scores that the finder was given; empty where it does not matter
    finder: DirectionFinder | None = None
    recipe: dict[str, Any] = field(default_factory=dict)  # the finder as plain data, see recipe_of
    state: Mapping[str, np.ndarray] = field(default_factory=dict)  # what the finder needs besides
    free: tuple[int, int] | None = None  # first and one past the last of the D values that are moved; None: all

    def __post_init__(self) -> None:
        self.directions = np.asarray(self.directions, dtype=np.float32)
        self.properties, self.names = tuple(self.properties), tuple(self.names)
        shape = (len(self.properties), len(self.group_names))
        if self.directions.ndim != 3 or self.directions.shape[:2] != shape:
            raise DirectionsError(
                f"directions have shape {list(self.directions.shape)}, expected [{shape[0]}, {shape[1]}, D]"
            )
        named = (*self.properties, *self.group_names, self.layer, self.method)
        if unfit := [name for name in named if not is_file_word(name)]:
            raise DirectionsError(f"directions name {unfit[0]!r}, expected {FILE_WORD}: rename it")
        if len({*self.properties}) < shape[0] or len({*self.group_names}) < shape[1] or not min(shape):
            raise DirectionsError(
                f"directions are of {shown(self.properties)} and {shown(self.group_names)}, expected "
                f"one or more different properties, and groups"
            )
        size = self.directions.shape[2]
        if self.free is not None and not 0 <= self.free[0] < self.free[1] <= size:
            raise DirectionsError(f"free is {list(self.free)}, expected two numbers, rising, from 0 to {size}")
        norms = np.linalg.norm(self.directions.astype(np.float64), axis=2)
        if not np.isfinite(norms).all() or np.abs(norms - 1.0).max() > 1e-3:
            raise DirectionsError("directions are not of unit length: divide each by its norm")
        if self.slopes is not None:
            self.slopes = np.asarray(self.slopes, dtype=np.float32)
            if self.slopes.shape != shape or not (np.isfinite(self.slopes) & (self.slopes > 0)).all():
                raise DirectionsError(f"slopes are not {shape[0]} x {shape[1]} numbers above 0: calibrate them anew")
        if self.spreads is not None:
            self.spreads = np.asarray(self.spreads, dtype=np.float32)
            if self.spreads.shape != shape:
                raise DirectionsError(f"spreads are {list(self.spreads.shape)}, expected {list(shape)}: calibrate anew")

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The directions [k, D] that apply to a latent with the vector ``x`` [D] in a group."""
        if self.finder is None:
            if self.recipe:
                raise DirectionsError(
                    f"directions of method {self.method} depend on the face: open them with open_directions"
                )
            return self.directions[:, self._column(group)]
        first, last = self.free or (0, self.directions.shape[2])
        padded = np.zeros((len(self.properties), self.directions.shape[2]), dtype=np.float32)
        padded[:, first:last] = self.finder.direction(np.asarray(x)[first:last], group)
        return padded

    def steps(self, strengths: ArrayLike, group: str | None = None) -> np.ndarray:
        """Lengths [K, k] along the directions that change scores by ``strengths`` [K, k], in sigmas.

        Raises:
            DirectionsError: where slopes were not measured.
        """
        if self.slopes is None:
            raise DirectionsError("the directions' slopes are not known: calibrate them, see search.calibrate")
        return np.asarray(strengths, dtype=np.float64) / self.slopes[:, self._column(group)]

    def _column(self, group: str | None) -> int:
        if self.group_names == [ALL]:
            return 0
        if group not in self.group_names:
            raise DirectionsError(f"group {group!r} has no directions: expected one of {', '.join(self.group_names)}")
        return self.group_names.index(group)


DESCRIBED = ("properties", "group_names", "layer", "method", "medians", "provenance", "names", "recipe", "free")
STATE = "state."


def save_directions(path: str | Path, found: DirectionSet) -> Path:
    """Writes ``vectors.safetensors``: directions [k, G, D], slopes, the finder's state and a JSON description."""
    description = {name: getattr(found, name) for name in DESCRIBED}
    tensors = {"directions": found.directions, "slopes": found.slopes, "spreads": found.spreads}
    tensors |= {STATE + name: np.asarray(value) for name, value in found.state.items()}
    kept = {name: np.ascontiguousarray(value) for name, value in tensors.items() if value is not None}
    with replacing(path) as partial:
        partial.write_bytes(to_bytes(kept, metadata={METADATA_KEY: json.dumps(description)}))
    return Path(path)


def load_directions(path: str | Path) -> DirectionSet:
    """Reads and checks a file of ``save_directions``; see ``open_directions`` for those that need a finder.

    Raises:
        DirectionsError: if it is missing, damaged, or not such a file.
    """
    try:
        description, tensors = read_tensors(path, METADATA_KEY)
        described = {name: description[name] for name in DESCRIBED if name in description}
        check_described(DirectionSet, described, ("group_names", "layer", "method"))
        for name in {"directions", "slopes", "spreads"} & tensors.keys():
            if tensors[name].dtype.kind != "f":
                raise UnreadableError(f"its {name} are {tensors[name].dtype}, expected floats")
        directions = tensors.pop("directions")
    except FileNotFoundError as error:
        raise DirectionsError(
            f"directions file {path} does not exist: {near_file(path)}run find_vectors.py first"
        ) from error
    except (UnreadableError, KeyError, OSError) as error:
        raise DirectionsError(f"{path} is no directions file of this project, or is cut off: {error}") from error
    described["state"] = {name.removeprefix(STATE): t for name, t in tensors.items() if name.startswith(STATE)}
    described["free"] = tuple(described["free"]) if described.get("free") else None
    try:
        return DirectionSet(directions, slopes=tensors.get("slopes"), spreads=tensors.get("spreads"), **described)
    except DirectionsError as error:
        raise DirectionsError(f"{path}: {error}") from error


# --- Directions as CSV files of Oh-LoRA: one file a property and group ---


NAME = re.compile(r"(?P<property>.+)_change_(?P<layer>.+)_vector_(?P<group>.+)\.csv")


class DirectionTable(NamedTuple):
    """What a folder's files of a layer hold, of any length and sign."""

    directions: np.ndarray  # float32 [k, G, D]
    properties: tuple[str, ...]  # the published ones first
    group_names: list[str]  # sorted


def direction_path(folder: Path | str, prop: str, layer: str, group: str) -> Path:
    """``{property}_change_{layer}_vector_{group}.csv`` in the folder."""
    return Path(folder) / f"{prop}_change_{layer}_vector_{group}.csv"


def write_directions(
    folder: Path | str,
    directions: np.ndarray,
    group_names: Sequence[str],
    layer: str,
    properties: Sequence[str] = EDITED_PROPERTIES,
) -> list[Path]:
    """Writes directions ``[k, G, D]``, whose float32 survives exactly, and returns the paths, group by group within a
    property. A file has a header of column numbers, one row, and an index column."""
    directions = np.asarray(directions, dtype=np.float32)
    expected = (len(properties), len(group_names))
    if directions.ndim != 3 or directions.shape[:2] != expected:
        raise ValueError(f"directions have shape {list(directions.shape)}, expected [{expected[0]}, {expected[1]}, D]")
    paths = []
    for prop, of_property in zip(properties, directions, strict=True):
        for group, vector in zip(group_names, of_property, strict=True):
            paths.append(direction_path(folder, prop, layer, group))
            write_rows(paths[-1], [["", *range(len(vector))], [0, *map(str, vector)]])
    return paths


def read_directions(folder: Path | str, layer: str) -> DirectionTable:
    """Reads the direction files of a layer in a folder, whatever properties and groups there are.

    Raises:
        TableError: where there are none, a property lacks a group that another has, a file does not hold one row of
            finite numbers under their column numbers, or files have different sizes.
    """
    if not Path(folder).is_dir():
        raise TableError(f"{folder} is no folder: {near_file(folder)}give the one that holds the direction files")
    names = [match for path in Path(folder).glob("*.csv") if (match := NAME.fullmatch(path.name))]
    found = {(match["property"], match["group"]) for match in names if match["layer"] == layer}
    if not found:
        others = sorted({match["layer"] for match in names})
        there = f", but files of the layers {shown(others)}" if others else ""
        expected = f"PROPERTY_change_{layer}_vector_GROUP.csv"
        raise TableError(f"{folder} holds no direction files of layer {layer!r} ({expected}){there}")
    group_names, known = sorted({group for _, group in found}), {prop for prop, _ in found}
    properties = [*(name for name in EDITED_PROPERTIES if name in known), *sorted(known - set(EDITED_PROPERTIES))]
    missing = [(prop, group) for prop in properties for group in group_names if (prop, group) not in found]
    if missing:
        path = direction_path(folder, missing[0][0], layer, missing[0][1])
        rest = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        groups = shown(sorted({group for _, group in missing}))
        raise TableError(
            f"{path} is missing{rest}, expected one file a property and group: only some properties have one of "
            f"{groups}"
        )
    vectors = [[read_direction(direction_path(folder, p, layer, group)) for group in group_names] for p in properties]
    sizes = sorted({len(vector) for of_property in vectors for vector in of_property})
    if len(sizes) > 1:
        raise TableError(f"{folder}: direction files of layer {layer!r} have different sizes {sizes}")
    return DirectionTable(np.array(vectors), tuple(properties), group_names)


def read_direction(path: Path) -> np.ndarray:
    """The one row of a direction's file, float32 ``[D]``; TableError for what is none."""
    table = read_table(path, ends=True)
    columns = table.header[1:]
    if table.header[0] or columns != [str(i) for i in range(len(columns))] or not columns:
        raise TableError(f"{path} has the columns {shown(table.header)}, expected '', '0', '1' and so on")
    if len(table.rows) != 1:
        raise TableError(f"{path} holds {len(table.rows)} rows, expected one: a direction a file")
    return table.numbers(columns)[0].astype(np.float32)


# --- A finder as plain data, and directions files opened for any face ---


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
    """The finder of a recipe; raises DirectionsError for one that there is not."""
    try:
        kind, settings = FINDERS.find(str(recipe.get("class"))), dict(recipe["settings"])
        settings.pop("solver_seed", None)  # a constant, which files of earlier versions hold
        if "finders" in settings:
            settings["finders"] = {prop: make_finder(part) for prop, part in settings["finders"].items()}
        else:
            check_settings(kind, settings)
        return kind(**settings)
    except DirectionsError:
        raise
    except (ImportError, AttributeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DirectionsError(f"directions name a finder that cannot be made: {error}") from error


def open_directions(path: str | Path, space: FaceSpace, layer: Layer) -> DirectionSet:
    """Directions of a file, ready for any face of a space; see ``load_directions`` and ``fitted``."""
    return fitted(load_directions(path), space, layer, str(path))


def fitted(found: DirectionSet, space: FaceSpace, layer: Layer, called: str) -> DirectionSet:
    """Directions, ready for any face of a space; DirectionsError where they do not fit the layer."""
    size = layer.size(space.generator)
    if found.directions.shape[2] != size:
        raise DirectionsError(
            f"{called} holds directions of {found.directions.shape[2]} values, layer {layer.name} of this generator "
            f"has {size}: give a generator of the same layout as the one that they were found with"
        )
    if not found.recipe:
        return found
    first, last = found.free or (0, size)
    finder = make_finder(found.recipe).restore(
        *(found.directions[..., first:last], found.group_names, found.names, found.properties, found.state),
        free_jacobian(space, layer),
    )
    return replace(found, finder=finder)
