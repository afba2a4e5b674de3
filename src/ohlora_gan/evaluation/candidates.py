"""Directions that compete: what they are, the faces that they compete on, and what moving these along them changes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ohlora_gan.directions.groups import group_names
from ohlora_gan.directions.storage import DirectionSet
from ohlora_gan.latents.layers import Layer, W
from ohlora_gan.latents.pixels import change_map
from ohlora_gan.latents.space import CHOOSE, FaceSpace

OWN = "own"
"""The group of candidates that move each face along the direction of its own group."""
STEP = 2.0
"""The paper's step."""
MIN_SAMPLES = 10
NUM_MATCHED = 64  # faces that steps are matched on
MATCH_ROUNDS, MATCH_TOLERANCE = 20, 0.01


@dataclass(frozen=True)
class Batch:
    """Some faces before they are moved: latents, images [n, 3, R, R], scores [n, P]."""

    z: Tensor
    label: Tensor | None
    images: Tensor
    scores: np.ndarray


@dataclass(frozen=True)
class Source:
    """Directions of a run in one of its groups: a candidate a property.

    Attributes:
        run: the run's name.
        found: its directions.
        layer: where they move codes.
        group: one of its groups' names, or ``OWN``.
    """

    run: str
    found: DirectionSet
    layer: Layer
    group: str

    def directions(self, space: FaceSpace, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [n, D] of faces, and the directions [n, k, D] that apply to them."""
        codes = space.codes(self.layer, batch.z, batch.label)
        groups, cuts = [self.group] * len(codes), self.found.medians
        if self.group == OWN and cuts:
            groups = group_names(batch.scores, cuts, space.property_names, tuple(cuts)).tolist()
        return codes, np.stack([self.found.direction(x, group) for x, group in zip(codes, groups, strict=True)])


def sources_of(run: str, found: DirectionSet, layer: Layer) -> list[Source]:
    """All candidates of a run: the directions as they are meant, which is each face by its own group, then those of
    each group for all faces."""
    own = [OWN] if found.medians and len(found.group_names) > 1 else []
    return [Source(run, found, layer, group) for group in (*own, *found.group_names)]


Chosen = Sequence[tuple[Source, list[int]]]
"""Sources, and which of their properties take part."""


def chosen_properties(space: FaceSpace, sources: Sequence[Source], properties: Sequence[str] | None) -> Chosen:
    """The candidates that take part.

    Raises:
        ValueError: if there are none, or the scorer does not measure what one changes.
    """
    chosen = []
    for source in sources:
        kept = [name for name in source.found.properties if properties is None or name in properties]
        if unknown := [name for name in kept if name not in space.property_names]:
            raise ValueError(
                f"{source.run} changes {unknown[0]}, which the scorer does not measure (it measures "
                f"{', '.join(space.property_names)}): give another scorer, or leave this property out"
            )
        if kept:
            chosen.append((source, [source.found.properties.index(name) for name in kept]))
    if not chosen:
        known = sorted({name for source in sources for name in source.found.properties})
        asked = "" if properties is None else f" for {', '.join(properties)}"
        raise ValueError(f"there is no candidate{asked}: the runs have directions for {', '.join(known) or 'nothing'}")
    return chosen


def check_sampling(n: int, step: float) -> None:
    """Raises ValueError for too few faces or an impossible step."""
    if n < MIN_SAMPLES:
        raise ValueError(f"n is {n}, expected at least {MIN_SAMPLES} faces (1,000 or more for a firm choice)")
    if not 0 < step < float("inf"):
        raise ValueError(f"step is {step}, expected a positive length such as {STEP}")


def batches(space: FaceSpace, n: int) -> Iterator[Batch]:
    """The first n faces of the stream, before they are moved."""
    for start in range(0, n, space.batch_size):
        yield face_batch(space, range(start, min(start + space.batch_size, n)))


def face_batch(space: FaceSpace, indices: Sequence[int]) -> Batch:
    """Some faces of the stream, before they are moved."""
    z, label = space.latents(CHOOSE, indices)
    return Batch(z, label, *picture(space, W(), space.codes(W(), z, label)))


def picture(space: FaceSpace, layer: Layer, codes: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Images [n, 3, R, R] of vectors [n, D], and their scores [n, P].

    Raises:
        ValueError: if scores are not finite.
    """
    images = torch.cat(list(space.render(layer, codes)))
    scores = space.score(images).cpu().numpy()
    if not np.isfinite(scores).all():
        raise ValueError(f"images moved at layer {layer.name} have scores that are not finite: give a smaller step")
    return images, scores


def compare(space: FaceSpace, batch: Batch, layer: Layer, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What moving a batch's faces to vectors [n, D] changes: scores [n, P], and pixels [n]."""
    images, scores = picture(space, layer, moved)
    return scores - batch.scores, change_map(batch.images, images).mean(dim=(1, 2)).cpu().numpy()


def moved_codes(
    space: FaceSpace, chosen: Chosen, steps: Sequence[float], batch: Batch
) -> Iterator[tuple[Layer, np.ndarray]]:
    """Each candidate's layer and moved vectors [n, D] of a batch."""
    left = iter(steps)
    for source, columns in chosen:
        codes, directions = source.directions(space, batch)
        for k in columns:
            yield source.layer, codes + np.float32(next(left)) * directions[:, k]


def matched_steps(space: FaceSpace, chosen: Chosen, step: float) -> list[float]:
    """Steps, one a candidate, that change images as much as the first candidate does with ``step``.

    Raises:
        ValueError: for a candidate that cannot change images so much.
    """
    batch = face_batch(space, range(NUM_MATCHED))
    steps: list[float] = []
    target = 0.0
    for source, columns in chosen:
        codes, directions = source.directions(space, batch)
        for k in columns:
            change = partial(image_change, space, source.layer, codes, directions[:, k], batch)
            target = target or change(step)
            own = step_for(change, target, steps[-1] if steps else step)
            if own is None:
                raise ValueError(
                    f"{source.run}, {source.found.properties[k]} of group {source.group}, cannot change images by "
                    f"{target:.4f} as the first candidate does: give a smaller step, or steps of equal length"
                )
            steps.append(own)
    return steps


def image_change(
    space: FaceSpace, layer: Layer, codes: np.ndarray, directions: np.ndarray, batch: Batch, step: float
) -> float:
    """Mean change of a batch's images by a step from vectors [n, D] along directions [n, D]."""
    images = torch.cat(list(space.render(layer, codes + np.float32(step) * directions)))
    return float(change_map(batch.images, images).mean())


def step_for(change: Callable[[float], float], target: float, start: float) -> float | None:
    """The step at which ``change(step)`` is within 1 % of a target; None where it is not found.

    Images change ever slower with the step, so scaling the step by what is lacking comes nearer each time.
    """
    own = start
    for _ in range(MATCH_ROUNDS):
        found = change(own)
        if found == 0:
            return None
        if abs(found - target) <= MATCH_TOLERANCE * target:
            return own
        own *= target / found
    return None
