"""Networks and rendered faces that meet in a program must be of one version of the embedded world.

A network's file says which version it has learnt from. One that has learnt from other pictures, or does not say from
what, goes with any.
"""

import pickle
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ohlora_gan.models.checkpoint import load_info
from ohlora_gan.models.zoo import ASSETS, resolve
from ohlora_gan.world.versions import SHIPPED

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
    """One of those that meet.

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

    Args:
        name: a shipped model's name, a file, or a folder of a foreign filter's folds.
        kind: what it is asked for, see `zoo.resolve`.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    if Path(name).is_dir():
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
    """A network: a shipped model's name or a file.

    Args:
        use, otherwise: see `Member`.
        name: of the network.
        called: what the program calls it, such as ``checkpoint``; None: what it is used as.
    """
    world = world_of(name, "scorer" if use == "judge" else use)
    return Member(f"{called or use} {name} has learnt from world {world}", world, use, otherwise)


def networks(use: str, names: Iterable[str | Path], otherwise: str = "") -> list[Member]:
    """Several networks of one use, see `network`."""
    return [network(use, name, otherwise) for name in names]


def check_same_world(*members: Member) -> int | None:
    """The version that all are of; None where none is known.

    Raises:
        ValueError: naming the first that is of another version than one before it.
    """
    first = next((member for member in members if member.world is not None), None)
    if first is None or first.world is None:
        return None
    for member in members:
        if member.world not in (None, first.world):
            raise ValueError(f"{member.says}, but {first.says}: {member.remedy(first.world)}")
    return first.world
