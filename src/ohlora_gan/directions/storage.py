"""Directions on disk: one safetensors file with everything that is needed to use them, and where they come from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ohlora_gan.directions.base import ALL, DirectionFinder
from ohlora_gan.files import replacing
from ohlora_gan.vocabulary import EDITED_PROPERTIES

METADATA_KEY = "ohlora_gan_directions"


class DirectionsError(ValueError):
    """A directions file that cannot be used, with the reason."""


@dataclass
class DirectionSet:
    """Unit directions that raise scores, a property and a group.

    Attributes:
        directions: float32 [k, G, D], properties in the order of ``properties``, unit norm.
        group_names: G names, ``["all"]`` where samples were not grouped.
        layer: name of the extraction layer.
        method: name of the method.
        medians: the medians that define the groups; empty where there are none.
        provenance: seed, n, hashes of generator and scorer, metrics, ...
        properties: the k properties that the directions change.
        slopes: float32 [k, G], what a unit of length along a direction brings, in standard deviations of its score (a
            mean over latents); None where nobody has measured it.
        spreads: float32 [k, G], the standard deviation of this over latents.
        names: the P scores that the finder was given; empty where it does not matter.
        finder: the finder, where directions depend on the point and ``directions`` are but their means.
        recipe: what the finder is, as plain data, see ``finders.recipe_of``; empty where directions are all there is.
        state: what the finder needs besides.
        free: first and one past the last of the D values that directions move; None: all.
    """

    directions: np.ndarray
    group_names: list[str]
    layer: str
    method: str
    medians: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    properties: tuple[str, ...] = EDITED_PROPERTIES
    slopes: np.ndarray | None = None
    spreads: np.ndarray | None = None
    names: tuple[str, ...] = ()
    finder: DirectionFinder | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    free: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.directions = np.asarray(self.directions, dtype=np.float32)
        self.properties, self.names = tuple(self.properties), tuple(self.names)
        shape = (len(self.properties), len(self.group_names))
        if self.directions.ndim != 3 or self.directions.shape[:2] != shape:
            raise DirectionsError(
                f"directions have shape {list(self.directions.shape)}, expected [{shape[0]}, {shape[1]}, D]"
            )
        norms = np.linalg.norm(self.directions.astype(np.float64), axis=2)
        if not np.isfinite(norms).all() or np.abs(norms - 1.0).max() > 1e-3:
            raise DirectionsError("directions are not of unit length: divide each by its norm")
        if self.slopes is not None:
            self.slopes = np.asarray(self.slopes, dtype=np.float32)
            if self.slopes.shape != shape or not (np.isfinite(self.slopes) & (self.slopes > 0)).all():
                raise DirectionsError(f"slopes are not {shape[0]} x {shape[1]} numbers above 0: calibrate them anew")
        if self.spreads is not None:
            self.spreads = np.asarray(self.spreads, dtype=np.float32)

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The directions [k, D] that apply to a latent with the vector ``x`` [D] in a group."""
        if self.recipe and self.finder is None:
            raise DirectionsError(
                f"directions of method {self.method} depend on the face: open them with finders.open_directions"
            )
        if self.finder is None:
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
            raise DirectionsError("the directions' slopes are not known: calibrate them, see calibration.calibrate")
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
        save_file(kept, partial, metadata={METADATA_KEY: json.dumps(description)})
    return Path(path)


def load_directions(path: str | Path) -> DirectionSet:
    """Reads and checks a file of ``save_directions``; see ``finders.open_directions`` for those that need a finder.

    Raises:
        DirectionsError: if it is missing, damaged, or not such a file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            described = {name: description[name] for name in DESCRIBED if name in description}
            directions = tensors.pop("directions")
            if missing := [name for name in ("group_names", "layer", "method") if name not in described]:
                raise KeyError(missing[0])
    except FileNotFoundError as error:
        raise DirectionsError(f"directions file {path} does not exist: run find_vectors.py first") from error
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise DirectionsError(f"{path} is no directions file of this project, or is cut off: {error}") from error
    state = {name.removeprefix(STATE): value for name, value in tensors.items() if name.startswith(STATE)}
    free = described.pop("free", None)
    return DirectionSet(
        directions,
        slopes=tensors.get("slopes"),
        spreads=tensors.get("spreads"),
        state=state,
        free=None if free is None else (free[0], free[1]),
        **described,
    )
