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

from ohlora_gan.directions.base import ALL
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
        method: name of the finder.
        medians: the medians that define the groups; empty where there are none.
        provenance: seed, n, hashes of generator and scorer, metrics, ...
        properties: the k properties that the directions change.
    """

    directions: np.ndarray
    group_names: list[str]
    layer: str
    method: str
    medians: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    properties: tuple[str, ...] = EDITED_PROPERTIES

    def __post_init__(self) -> None:
        self.directions = np.asarray(self.directions, dtype=np.float32)
        self.properties = tuple(self.properties)
        if self.directions.ndim != 3 or self.directions.shape[:2] != (len(self.properties), len(self.group_names)):
            raise DirectionsError(
                f"directions have shape {list(self.directions.shape)}, "
                f"expected [{len(self.properties)}, {len(self.group_names)}, D]"
            )
        norms = np.linalg.norm(self.directions.astype(np.float64), axis=2)
        if not np.isfinite(norms).all() or np.abs(norms - 1.0).max() > 1e-3:
            raise DirectionsError("directions are not of unit length: divide each by its norm")

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The directions [k, D] of a group, as a fitted finder's ``direction`` gives them."""
        if self.group_names == [ALL]:
            return self.directions[:, 0]
        if group not in self.group_names:
            raise DirectionsError(f"group {group!r} has no directions: expected one of {', '.join(self.group_names)}")
        return self.directions[:, self.group_names.index(group)]


def save_directions(path: str | Path, found: DirectionSet) -> Path:
    """Writes ``vectors.safetensors``: tensor ``directions`` [k, G, D] and a JSON description."""
    description: Mapping[str, Any] = {
        "properties": list(found.properties),
        "group_names": found.group_names,
        "layer": found.layer,
        "method": found.method,
        "medians": found.medians,
        "provenance": found.provenance,
    }
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    save_file({"directions": found.directions}, partial, metadata={METADATA_KEY: json.dumps(description)})
    partial.replace(path)
    return path


def load_directions(path: str | Path) -> DirectionSet:
    """Reads and checks a file of ``save_directions``.

    Raises:
        DirectionsError: if it is missing, damaged, or not such a file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[METADATA_KEY])
            directions = file.get_tensor("directions")
    except FileNotFoundError as error:
        raise DirectionsError(f"directions file {path} does not exist: run find_vectors.py first") from error
    except (SafetensorError, KeyError, OSError) as error:
        raise DirectionsError(f"{path} is no directions file of this project, or is cut off: {error}") from error
    names = ("group_names", "layer", "method", "medians", "provenance", "properties")
    return DirectionSet(directions, **{name: description[name] for name in names})
