"""Faces to edit, how they move, and how far: what ``ohlora edit`` draws from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ohlora_gan.directions.base import group_names
from ohlora_gan.editing.moves import Mover, SafeRange, realism
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.saved import read_latents
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.gan import to_uint8

STREAM = "edit"  # directions are neither found nor judged on its faces


@dataclass
class Faces:
    """The N faces to edit."""

    names: list[str]  # what to call them
    indices: list[int]  # their numbers, by which random numbers are drawn
    codes: np.ndarray  # float32 [N, D]
    scores: np.ndarray  # by the finding scorer, float32 [N, P]
    groups: list[str]  # "" where directions are not grouped


def open_faces(
    space: FaceSpace, layer: Layer, seeds: Sequence[int], latents: Path | None, medians: Mapping[str, float]
) -> Faces:
    """The faces of some numbers, or of a file of saved latents; groups come from their own scores."""
    if latents is None:
        names, indices = [f"seed {seed}" for seed in seeds], list(seeds)
        codes = space.codes(layer, *space.latents(STREAM, seeds))
    else:
        saved = read_latents(latents, sizes=(space.generator.z_dim, space.generator.label_dim))
        saved.check(space.generator)
        indices = list(range(len(saved)))
        names = [f"latent {i}" for i in indices]
        label = torch.from_numpy(saved.label) if space.generator.label_dim else None
        codes = space.codes(layer, torch.from_numpy(saved.z), label)
    scores = space.score_codes(layer, codes)
    groups = group_names(scores, medians, space.property_names).tolist() if medians else [""] * len(codes)
    return Faces(names, indices, codes, scores, groups)


@dataclass
class Limits:
    """How far edits may go: as far as sampled faces do."""

    safe: SafeRange
    names: Sequence[str]  # what the P scores are
    targets: str = "change"  # against each face's own score, or a score that is asked for, see closed_loop.TARGETS

    def asked(self, faces: Faces, name: str, values: ArrayLike) -> np.ndarray:
        """What edits ``[K]`` ask for, as changes against each face's own score, ``[N, K]``."""
        own = faces.scores[:, self.names.index(name), None].astype(np.float64)
        return np.asarray(values) - (own if self.targets == "score" else 0 * own)

    def clip(self, faces: Faces, changes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Changes ``[N, K]`` so that no face leaves the range; one that lies outside may go back."""
        scores = faces.scores.astype(np.float64)
        low, high = self.safe.limits(scores)
        found = {}
        for name, values in changes.items():
            p = [self.names.index(name)]
            found[name] = np.clip(scores[:, p] + values, low[:, p], high[:, p]) - scores[:, p]
        return found

    def beyond(self, faces: Faces, changes: Mapping[str, float]) -> list[str]:
        """A sentence for each face and change that would leave the range."""
        asked = {name: self.asked(faces, name, [value]) for name, value in changes.items()}
        clipped = self.clip(faces, asked)
        words = []
        for name, value in changes.items():
            p = self.names.index(name)
            low, high = self.safe.low[p], self.safe.high[p]
            each = zip(faces.names, faces.scores[:, p], asked[name][:, 0], clipped[name][:, 0], strict=True)
            words += [
                f"{name}={value:+g} takes {who} from {start:+.2f} to {start + change:+.2f}, "
                f"beyond what faces of this generator show ({low:+.2f} to {high:+.2f})"
                for who, start, change, got in each
                if abs(got - change) > 1e-6
            ]
        return words


@dataclass
class Walk:
    """Faces moved from one end of a change, through what they are, to the other end."""

    changes: dict[str, float]  # property -> what the edit asks for, in sigmas: see Limits.targets
    shares: np.ndarray  # how much of it at each step [K], from -1 to 1 or back; 0 in the middle is the unedited face
    codes: np.ndarray  # float32 [N, K, D]
    images: np.ndarray  # uint8 [N, K, R, R, 3]
    scores: np.ndarray  # float32 [N, K, P]
    distance: np.ndarray  # of the codes from the sampled cloud, 1 is as far as the outermost samples, [N, K]
    held: dict[str, np.ndarray]  # property -> whether each target was held at the limit of the range, bool [N, K]
    notes: list[list[str]]  # words about each, [N][K]; empty where there is nothing to say

    @property
    def middle(self) -> int:
        """The step of the unedited face."""
        return len(self.shares) // 2

    @property
    def end(self) -> int:
        """The step of the whole edit."""
        return int(np.argmax(self.shares))

    def measured(self, column: int) -> np.ndarray:
        """The change of a score against the unedited face, ``[N, K]``."""
        return self.scores[:, :, column] - self.scores[:, self.middle, None, column]


@dataclass
class Session:
    """Generator, faces, the way they move, and the range that they are held in.

    ``discriminator`` says how real pictures look; None: nothing does.
    """

    space: FaceSpace
    layer: Layer
    faces: Faces
    mover: Mover
    limits: Limits
    discriminator: nn.Module | None = None

    def walk(self, changes: Mapping[str, float], steps: int) -> Walk:
        """Moves all faces by shares of a change and looks at them; a single change goes from low to high scores."""
        falls = len(changes) == 1 and min(changes.values()) < 0 and self.limits.targets == "change"
        shares = np.linspace(1, -1, steps) if falls else np.linspace(-1, 1, steps)
        asked = {name: self.limits.asked(self.faces, name, [value]) * shares for name, value in changes.items()}
        clipped = self.limits.clip(self.faces, asked)
        codes, notes = self.mover(self.faces.codes, self.faces.groups, clipped)
        held = {name: ~np.isclose(clipped[name], asked[name]) for name in asked}
        free = codes[..., self.layer.free(self.space.generator)]
        distance = self.limits.safe.distance(free.reshape(-1, free.shape[-1])).reshape(codes.shape[:2])
        return Walk(dict(changes), shares, codes, *self.look(codes), distance, held, notes)

    def move(self, edits: Mapping[str, np.ndarray]) -> np.ndarray:
        """Codes float32 ``[N, K, D]`` of edits ``[K]`` a property, held in the range."""
        asked = {name: self.limits.asked(self.faces, name, values) for name, values in edits.items()}
        return self.mover(self.faces.codes, self.faces.groups, self.limits.clip(self.faces, asked)).codes

    def realism(self, codes: np.ndarray) -> np.ndarray:
        """How real the pictures of codes ``[n, D]`` look, see ``closed_loop.EditResult``, ``[n]``."""
        return realism(self.space, self.layer, codes, self.discriminator) - self.limits.safe.realism

    def look(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 images ``[..., R, R, 3]`` and scores float32 ``[..., P]`` of codes ``[..., D]``, rendered once."""
        images, scores = [], []
        for batch in self.space.render(self.layer, codes.reshape(-1, codes.shape[-1])):
            images.append(to_uint8(batch).cpu().numpy())
            scores.append(self.space.score(batch).cpu().numpy())
        shape = codes.shape[:-1]
        flat = np.concatenate(images)
        return flat.reshape(*shape, *flat.shape[1:]), np.concatenate(scores).reshape(*shape, -1)
