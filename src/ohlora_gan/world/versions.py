"""The versions of the embedded world behind one interface: 1 is ``first_world``, 2 ``face`` and ``painter``."""

import pickle
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ohlora_gan.models.checkpoint import load_info
from ohlora_gan.models.wrapped import is_factory
from ohlora_gan.models.zoo import ASSETS, resolve

SHIPPED, LATEST = 1, 2
"""The version that the shipped models have learnt from, and the newest one."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class World:
    """A version of the embedded world: what its faces are, and how they look.

    Attributes:
        version: 1 or 2.
        CONTINUOUS, BINARY: names of the attributes that are numbers on a scale, and of those that are 0 or 1.
        sample_attributes: (seed, number) -> the attributes of a face.
        standardized: (name, value) -> a continuous attribute in standard deviations from its mean.
        render: (attributes, size) -> RGB, uint8 ``[size, size, 3]``.
        render_with_parse_map: that and what each pixel shows, uint8 ``[size, size]``, see `names.Part`.
    """

    version: int
    CONTINUOUS: tuple[str, ...]
    BINARY: tuple[str, ...]
    sample_attributes: Callable[[int, int], Any]
    standardized: Callable[[str, float], float]
    render: Callable[[Any, int], Bytes]
    render_with_parse_map: Callable[[Any, int], tuple[Bytes, Bytes]]

    @property
    def attributes(self) -> tuple[str, ...]:
        """All that can be learnt of a face: properties, nuisances, binary attributes."""
        return (*self.CONTINUOUS, *self.BINARY)


def open_world(version: int) -> World:
    """A version of the embedded world; ValueError if there is no such version."""
    if type(version) is not int or version not in (SHIPPED, LATEST):
        raise ValueError(
            f"world is {version!r}, expected {SHIPPED}, which the shipped models have learnt from, or {LATEST}, "
            f"the newest version"
        )
    return _opened(version)


@cache
def _opened(version: int) -> World:
    faces: Any
    painter: Any
    if version == 1:
        from ohlora_gan.world import first_world as faces  # only the version that is asked for is imported

        painter = faces
    else:
        from ohlora_gan.world import face as faces
        from ohlora_gan.world import painter
    return World(
        version,
        CONTINUOUS=faces.CONTINUOUS,
        BINARY=faces.BINARY,
        sample_attributes=faces.sample_attributes,
        standardized=faces.standardized,
        render=painter.render,
        render_with_parse_map=painter.render_with_parse_map,
    )


MADE_BY = {
    "generator": ("v9", "pretrain"),
    "scorer": ("property_cnn", "property_cnn"),
    "judge": ("property_cnn_judge", "property_cnn_judge"),
    "filter": ("filter_gender", "filter_cnn"),
    "truth": ("truth", "truth"),
}
"""What programs use networks as -> a shipped one, and the model= that trains others."""


@dataclass(frozen=True)
class Member:
    """One of the networks and rendered faces that meet in a program, which must be of one version of the world.

    Attributes:
        says: which version it is of, as a part of a sentence.
        world: that version; None where there is none, or it is not known.
        use: what a network is used as, see `MADE_BY`.
        otherwise: what else the user may do than give another one, such as ``scorer=null``.
    """

    says: str
    world: int | None
    use: str = ""
    otherwise: str = ""

    def remedy(self, world: int) -> str:
        """What to do where the others are of this version."""
        if not self.use:
            return self.otherwise
        shipped, model = MADE_BY[self.use]
        example = shipped if world_of(shipped) == world else f"one of python train.py model={model} data.world={world}"
        parts = [f"give a {self.use} of world {world}, such as {example}", self.otherwise]
        return ", or ".join(part for part in parts if part)


def world_of(name: str | Path, kind: str | None = None) -> int | None:
    """The version of the embedded world that a network has learnt from; None where its file says of none.

    ``name`` is a shipped model's, a file, or a folder of a foreign filter's folds; ``kind`` is what it is asked for,
    see `zoo.resolve`. CheckpointError if it is missing or damaged.
    """
    if Path(name).is_dir() or is_factory(name):
        return None
    path = resolve(name, kind)
    if path.suffix == ".safetensors":
        world = load_info(path).get("world", SHIPPED if path.parent == ASSETS else None)
    else:
        world = _world_of_run(path)
    return world if type(world) is int else None


def _world_of_run(path: Path) -> Any:
    """What a run's ``last.ckpt`` says; None for other files, which say nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
        return None  # what is wrong with the file is said where it is opened
    for key in ("callbacks", "ExportWeights", "world"):
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def network(use: str, name: str | Path, otherwise: str = "", called: str | None = None) -> Member:
    """A shipped network's name or a file, and what the program calls it; None: what it is used as. See `Member`."""
    world = world_of(name, "scorer" if use == "judge" else use)
    return Member(f"{called or use} {name} has learnt from world {world}", world, use, otherwise)


def networks(use: str, names: Iterable[str | Path], otherwise: str = "") -> list[Member]:
    """Several networks of one use, see `network`."""
    return [network(use, name, otherwise) for name in names]


def check_same_world(*members: Member) -> int | None:
    """The version that all are of; None where none is known.

    ValueError, which names the first that is of another version than one before it.
    """
    first = next((member for member in members if member.world is not None), None)
    if first is None or first.world is None:
        return None
    for member in members:
        if member.world not in (None, first.world):
            raise ValueError(f"{member.says}, but {first.says}: {member.remedy(first.world)}")
    return first.world
