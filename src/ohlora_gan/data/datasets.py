"""Map-style data sets: item i is (image float32 [3, R, R] in [-1, 1], scores float32 [A] of A attributes)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ohlora_gan import seeding
from ohlora_gan.vocabulary import PROPERTIES
from ohlora_gan.world.versions import SHIPPED, World, open_world

MIRROR_SIGNS = {"pose": -1, "turn": -1, "tilt": -1, "roll": -1, "light_direction": -1, "background_x": -1}
"""Attributes that a mirror turns round; it leaves all others alone."""


class ScoredDataset(Protocol):
    """What every data set of this package is: its scores, float32 ``[N, A]``, need no picture to be decoded."""

    @property
    def scores(self) -> NDArray[np.float32]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]: ...


def to_image(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 ``[H, W, 3]`` to float32 ``[3, H, W]`` in [-1, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1.0


def matching_indices(
    seed: int,
    start: int,
    num: int,
    keep: Mapping[str, float],
    thin: Mapping[str, float] | None = None,
    world: int = SHIPPED,
) -> list[int]:
    """The first ``num`` face numbers from ``start`` on whose attributes equal ``keep``, e.g. ``{"gender": 1}``.

    Args:
        seed: seed of the faces.
        start: the first number to look at.
        num: how many to find.
        keep: attribute -> the value that it must have.
        thin: continuous attribute -> the share, above 0 to 1, of faces within a standard deviation of its mean that
            stay. A GAN is slow to learn the extremes of small features; so it sees them more often.
        world: version of the embedded world.

    Raises:
        ValueError: for an attribute that faces do not have, a value that none of 10,000 faces takes, or a share out of
            range.
    """
    faces, thin = open_world(world), thin or {}
    for name, share in thin.items():
        if name not in faces.CONTINUOUS or not 0 < share <= 1:
            raise ValueError(
                f"data.thin={{{name}: {share}}}, expected a share above 0 and at most 1 for one of "
                f"{', '.join(faces.CONTINUOUS)}"
            )
    if unknown := [name for name in keep if name not in faces.attributes]:
        raise ValueError(f"data.keep names {unknown[0]!r}, expected some of {', '.join(faces.attributes)}")
    found: list[int] = []
    index = start
    while len(found) < num:
        attributes = faces.sample_attributes(seed, index)
        kept = all(getattr(attributes, name) == value for name, value in keep.items())
        if kept and _stays(faces, seed, index, attributes, thin):
            found.append(index)
        index += 1
        if index - start >= 10_000 and not found:
            raise ValueError(f"none of 10,000 faces has data.keep={dict(keep)}: loosen it")
    return found


def _stays(faces: World, seed: int, index: int, attributes: Any, thin: Mapping[str, float]) -> bool:
    """Whether a face is left by ``thin``, see ``matching_indices``; drawn from its number, attribute by attribute."""
    return all(
        abs(faces.standardized(name, getattr(attributes, name))) > 1
        or seeding.generator(seed, f"thin/{name}", index).random() < share
        for name, share in thin.items()
    )


def face_scores(faces: World, attributes: Any, names: Sequence[str]) -> NDArray[np.float32]:
    """The scores ``[A]`` of a face: binary attributes are 0 or 1, others have mean 0 and standard deviation 1."""
    values = {name: getattr(attributes, name) for name in names}
    scores = [v if name in faces.BINARY else faces.standardized(name, v) for name, v in values.items()]
    return np.array(scores, dtype=np.float32)


def mirror_signs(names: Sequence[str], changes: Mapping[str, float] | None = None) -> NDArray[np.float32]:
    """The factor ``[A]`` that a mirror puts on each attribute, 1 or -1: by `MIRROR_SIGNS`, and ``changes`` to it.

    Raises:
        ValueError: for another factor than these; for 0, which says that mirroring would make the score wrong.
    """
    signs = MIRROR_SIGNS | dict(changes or {})
    for name in names:
        sign = signs.get(name, 1)
        if sign == 0:
            raise ValueError(f"mirror_signs.{name}=0 says that mirror images have no known {name}: use mirror=false")
        if sign not in (1, -1):
            raise ValueError(f"mirror_signs.{name}={sign}, expected 1, -1 or 0 (no mirroring)")
    return np.array([signs.get(name, 1) for name in names], dtype=np.float32)


class FacesDataset(Dataset):
    """Rendered faces, a pure function of (seed, number); each is rendered once and kept (12 KB at 64x64).

    Args:
        seed: seed of the faces.
        indices: the faces' numbers.
        resolution: image size, 32 to 512.
        attributes: what is scored, some of the world's.
        world: version of the embedded world.
    """

    def __init__(
        self,
        seed: int,
        indices: list[int],
        resolution: int,
        attributes: Sequence[str] = PROPERTIES,
        world: int = SHIPPED,
    ):
        self.seed, self.indices, self.resolution, self.faces = seed, indices, resolution, open_world(world)
        self.attributes = tuple(attributes)
        self._images = np.zeros((len(indices), resolution, resolution, 3), dtype=np.uint8)
        self._scores = np.zeros((len(indices), len(self.attributes)), dtype=np.float32)
        self._rendered = np.zeros(len(indices), dtype=bool)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """Scores ``[N, A]``; nothing is rendered for them."""
        drawn = [self.faces.sample_attributes(self.seed, index) for index in self.indices]
        rows = [face_scores(self.faces, attributes, self.attributes) for attributes in drawn]
        return np.stack(rows) if rows else self._scores

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if not self._rendered[i]:
            attributes = self.faces.sample_attributes(self.seed, self.indices[i])
            self._images[i] = self.faces.render(attributes, self.resolution)
            self._scores[i] = face_scores(self.faces, attributes, self.attributes)
            self._rendered[i] = True
        return to_image(self._images[i]), torch.from_numpy(self._scores[i])


class Mirrored(Dataset):
    """A data set and its mirror image: item N + i is item i mirrored, with its scores times ``signs``.

    Args:
        dataset: N items.
        signs: float32 ``[A]``: 1 for an attribute that a mirror leaves alone, -1 for one that it turns round.
    """

    def __init__(self, dataset: ScoredDataset, signs: NDArray[np.float32]):
        self.dataset = dataset
        self.signs = np.asarray(signs, dtype=np.float32)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores ``[2N, A]``."""
        return np.concatenate([self.dataset.scores, self.dataset.scores * self.signs])

    def __len__(self) -> int:
        return 2 * len(self.dataset)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if i < len(self.dataset):
            return self.dataset[i]
        image, scores = self.dataset[i - len(self.dataset)]
        return image.flip(2), scores * torch.from_numpy(self.signs)
