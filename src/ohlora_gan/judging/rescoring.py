"""Rescoring: which of many candidate directions raises a property most, by what the images show.

The verification of HiGAN (arXiv 1911.09267, section 3.2, equation 4): a boundary found in latent space is only a
proposal, and is judged by how much the score rises on images moved along it. Directions of any method, group and layer
compete on the same faces. The faces are those of the stream ``choose``: a winner is reported on others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ohlora_gan.directions.base import group_names
from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.judging.figures import Interval, resamples
from ohlora_gan.latents.layers import Layer, W, WPlus
from ohlora_gan.latents.space import CHOOSE, FaceSpace, change_map

# --- Directions that compete, and the faces that they compete on ---


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
            groups = group_names(batch.scores, cuts, space.property_names).tolist()
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


# --- Which of them raises a property most ---


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """What a row of the table is about; ``step`` is the length of its move, ``image_change`` the mean absolute change
    of pixels (0 to 1) that it brings."""

    run: str
    method: str
    layer: str
    group: str
    property: str
    step: float
    image_change: float


@dataclass(frozen=True)
class Rescoring:
    """What moving faces along candidates did to their scores.

    Attributes:
        names: the P scored properties.
        candidates: C of them.
        changes: score differences float32 ``[n, C, P]``, after minus before.
        seed: of the bootstrap.
    """

    names: tuple[str, ...]
    candidates: list[Candidate]
    changes: NDArray[np.float32]
    seed: int = 0

    def ds(self) -> Floats:
        """``ds = mean max(F(G(v + step n)) - F(G(v)), 0)`` of each candidate and property, ``[C, P]``."""
        return np.maximum(self.changes, 0).mean(axis=0, dtype=np.float64)

    def mean_change(self) -> Floats:
        """Mean signed change of each property, ``[C, P]``: what ``ds`` hides where scores fall."""
        return self.changes.mean(axis=0, dtype=np.float64)

    def draws(self) -> Floats:
        """Each candidate's ds of its own property in bootstrap resamples of the faces, ``[R, C]``."""
        gains = np.maximum(self.changes, 0)[:, np.arange(len(self.candidates)), self._own()].astype(np.float64)
        return resamples(len(gains), self.seed, "rescoring") @ gains / len(gains)

    def winners(self) -> dict[str, tuple[int, float]]:
        """By property: the number of its candidate with the largest ds, and the share of resamples in which it wins."""
        ds, draws, own = self.ds(), self.draws(), [candidate.property for candidate in self.candidates]
        found = {}
        for name in dict.fromkeys(own):
            rivals = np.flatnonzero(np.array(own) == name)
            best = int(rivals[ds[rivals, self.names.index(name)].argmax()])
            found[name] = (best, float((rivals[draws[:, rivals].argmax(axis=1)] == best).mean()))
        return found

    def rows(self) -> list[list[str]]:
        """A table of all candidates, header first: ds of the own property with its 95 % interval, the signed change,
        and ds of every property."""
        ds, mean, own = self.ds(), self.mean_change(), self._own()
        _, low, high = Interval.of_draws(ds, self.draws())
        head = ["run", "method", "layer", "group", "property", "step", "image_change", "ds", "low", "high", "change"]
        rows = [[*head, *(f"ds_{name}" for name in self.names)]]
        for i, c in enumerate(self.candidates):
            numbers = [c.step, c.image_change, ds[i, own[i]], low[i], high[i], mean[i, own[i]], *ds[i]]
            rows.append([c.run, c.method, c.layer, c.group, c.property, *(f"{number:.4f}" for number in numbers)])
        return rows

    def table(self) -> str:
        """The winner of each property as text."""
        of_all, draws = self.ds(), self.draws()
        lines = [
            "| property | winner | layer | group | ds, 95 % interval | wins | candidates | step | image change |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, (i, share) in self.winners().items():
            c, ds = self.candidates[i], Interval.of_draws(of_all[i, self.names.index(name)], draws[:, i])
            rivals = sum(candidate.property == name for candidate in self.candidates)
            lines.append(
                f"| {name} | {c.run} ({c.method}) | {c.layer} | {c.group} | {ds} | "
                f"{share:.0%} | {rivals} | {c.step:.2f} | {c.image_change:.3f} |"
            )
        return "\n".join(lines)

    def _own(self) -> list[int]:
        """The column of each candidate's own property."""
        return [self.names.index(candidate.property) for candidate in self.candidates]


def rescore(
    space: FaceSpace,
    sources: Sequence[Source],
    n: int = 1000,
    step: float = STEP,
    matched: bool = False,
    properties: Sequence[str] | None = None,
    progress: tqdm | None = None,
) -> Rescoring:
    """Moves n faces along every candidate, and scores them before and after.

    Args:
        space: generator and scorer.
        sources: where candidates come from.
        n: number of faces, at least 10; the paper takes 1,000 to 2,000.
        step: length of the moves.
        matched: the first candidate alone takes this step, all others the step that changes images as much (mean
            absolute change of pixels), so that layers whose vectors differ in size compare.
        properties: whose candidates compete; None: all.
        progress: told of each face.

    Raises:
        ValueError: for too few faces, a step that is not positive, no candidate, or scores that are not finite.
    """
    check_sampling(n, step)
    chosen = chosen_properties(space, sources, properties)
    steps = matched_steps(space, chosen, step) if matched else [step] * sum(len(columns) for _, columns in chosen)
    changes, image_changes = [], []
    for batch in batches(space, n):
        found = [compare(space, batch, *moved) for moved in moved_codes(space, chosen, steps, batch)]
        changes.append(np.stack([scores for scores, _ in found], axis=1))
        image_changes.append(np.stack([pixels for _, pixels in found], axis=1))
        if progress is not None:
            progress.update(len(changes[-1]))
    pairs = [(source, source.found.properties[k]) for source, columns in chosen for k in columns]
    sizes = np.concatenate(image_changes).mean(axis=0, dtype=np.float64)
    candidates = [
        Candidate(source.run, source.found.method, source.layer.name, source.group, name, own, float(size))
        for (source, name), own, size in zip(pairs, steps, sizes, strict=True)
    ]
    return Rescoring(space.property_names, candidates, np.concatenate(changes), space.seed)


# --- An edit given to the w of some synthesis layers only ---


Range = tuple[int, int]
"""The first and the last of some synthesis layers."""


@dataclass(frozen=True)
class LayerRescoring:
    """What a run's directions do where they reach some synthesis layers only.

    Attributes:
        run, method, layer: where the directions come from.
        names: the P scored properties.
        properties: the k whose directions were taken.
        resolutions: of the L synthesis layers.
        step: length of the moves.
        ranges: the R sets of layers that were moved.
        changes: score differences float32 ``[n, R, k, P]``, after minus before.
        seed: of the bootstrap.
    """

    run: str
    method: str
    layer: str
    names: tuple[str, ...]
    properties: tuple[str, ...]
    resolutions: list[int]
    step: float
    ranges: list[Range]
    changes: NDArray[np.float32]
    seed: int = 0

    def own(self) -> NDArray[np.float32]:
        """Each direction's change of its own property, ``[n, R, k]``."""
        columns = [self.names.index(name) for name in self.properties]
        return np.stack([self.changes[:, :, k, column] for k, column in enumerate(columns)], axis=2)

    def ds(self) -> Interval:
        """``ds`` of each direction's own property, ``[R, k]``; see ``rescoring``."""
        gains = np.maximum(self.own(), 0).astype(np.float64)
        draws = resamples(len(gains), self.seed, "rescoring") @ gains.reshape(len(gains), -1) / len(gains)
        value = np.maximum(self.own(), 0).mean(axis=0, dtype=np.float64)
        return Interval.of_draws(value, draws.reshape(-1, *gains.shape[1:]))

    def slopes(self) -> Floats:
        """Mean change of every property a unit of length along each direction, ``[R, k, P]``."""
        return self.changes.mean(axis=0, dtype=np.float64) / self.step

    def of_single_layers(self) -> list[int]:
        """Places of layers 0 to L-1, each moved alone, among the ranges."""
        return [self.ranges.index((i, i)) for i in range(len(self.resolutions))]

    def of_first_layers(self) -> list[int]:
        """Places of layers 0 to i, moved together, for i from 0 to L-1; the last is the whole edit."""
        return [self.ranges.index((0, i)) for i in range(len(self.resolutions))]

    def rows(self) -> list[list[str]]:
        """A table, header first: a row for each property's direction and range of layers."""
        (ds, low, high), slopes = self.ds(), self.slopes()
        head = [
            "run",
            "method",
            "layer",
            "property",
            "first",
            "last",
            "first_resolution",
            "last_resolution",
            "step",
            "ds",
            "low",
            "high",
        ]
        rows = [[*head, *(f"slope_{name}" for name in self.names)]]
        for k, name in enumerate(self.properties):
            for r, (first, last) in enumerate(self.ranges):
                sides = self.resolutions[first], self.resolutions[last]
                numbers = [self.step, ds[r, k], low[r, k], high[r, k], *slopes[r, k]]
                rows.append(
                    [
                        self.run,
                        self.method,
                        self.layer,
                        name,
                        *map(str, (first, last, *sides)),
                        *(f"{v:.4f}" for v in numbers),
                    ]
                )
        return rows


def rescore_layers(
    space: FaceSpace,
    source: Source,
    n: int,
    step: float,
    properties: Sequence[str] | None = None,
    progress: tqdm | None = None,
) -> LayerRescoring:
    """Moves n faces along a run's directions in each synthesis layer alone, and in the first 1, 2, ... L of them.

    Args:
        space: generator and scorer.
        source: the directions, of any extraction layer.
        n: number of faces, at least 10.
        step: length of the moves at the directions' own layer.
        properties: whose directions are taken; None: all.
        progress: told of each face.

    Raises:
        ValueError: for too few faces, a step that is not positive, no direction, or scores that are not finite.
    """
    check_sampling(n, step)
    ((_, columns),) = chosen_properties(space, [source], properties)
    num = space.generator.num_layers
    ranges = list(dict.fromkeys([*((i, i) for i in range(num)), *((0, i) for i in range(num))]))
    parts = []
    for batch in batches(space, n):
        codes, directions = source.directions(space, batch)
        base = to_wplus(space, source.layer, codes)
        added = [to_wplus(space, source.layer, codes + np.float32(step) * directions[:, k]) - base for k in columns]
        found = [
            compare(space, batch, WPlus(), (base + only(delta, layers)).reshape(len(base), -1))[0]
            for layers in ranges
            for delta in added
        ]
        parts.append(np.stack(found, axis=1).reshape(len(base), len(ranges), len(columns), -1))
        if progress is not None:
            progress.update(len(base))
    names = tuple(source.found.properties[k] for k in columns)
    sides = [side for side in space.generator.synthesis.resolutions for _ in range(2)]
    origin = source.run, source.found.method, source.layer.name
    return LayerRescoring(*origin, space.property_names, names, sides, step, ranges, np.concatenate(parts), space.seed)


def to_wplus(space: FaceSpace, layer: Layer, codes: np.ndarray) -> np.ndarray:
    """wp [n, L, w_dim] of vectors [n, D] at a layer."""
    with torch.no_grad():
        v = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)).to(space.device.torch_device)
        w = layer.to_w(space.generator, v).float()
    wp = w if w.ndim == 3 else w.unsqueeze(1).expand(-1, space.generator.num_layers, -1)
    return wp.cpu().numpy()


def only(delta: np.ndarray, layers: Range) -> np.ndarray:
    """What is added to wp [n, L, w_dim], in some layers only."""
    kept = np.zeros_like(delta)
    kept[:, layers[0] : layers[1] + 1] = delta[:, layers[0] : layers[1] + 1]
    return kept
