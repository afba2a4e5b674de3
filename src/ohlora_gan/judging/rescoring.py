"""Rescoring: which of many candidate directions raises a property most, by what the images show.

The verification of HiGAN (arXiv 1911.09267, section 3.2, equation 4): a boundary found in latent space is only a
proposal, and is judged by how much the score rises on images moved along it. Directions of any method, group and layer
compete on the same faces. The faces are those of the stream ``choose``: a winner is reported on others.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ohlora_gan.directions.base import ALL, group_names
from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.editing.search import CLEAR
from ohlora_gan.judging.figures import Floats, Interval, lost_pictures, markdown, resamples
from ohlora_gan.latents.layers import Layer, W, WPlus
from ohlora_gan.latents.space import CHOOSE, FaceSpace, change_map

log = logging.getLogger(__name__)

OWN = "own"  # the group of candidates that move each face along the direction of its own group
STEP = 2.0  # the paper's step
MIN_SAMPLES = 10
NUM_MATCHED = 64  # faces that steps are matched on
MATCH_ROUNDS, MATCH_TOLERANCE = 20, 0.01
STREAM = "rescoring"  # of the bootstrap


@dataclass(frozen=True)
class Batch:
    """Some faces before they are moved: latents, images [n, 3, R, R], scores [n, P]."""

    z: Tensor
    label: Tensor | None
    images: Tensor
    scores: np.ndarray


@dataclass(frozen=True)
class Source:
    """Directions of a run in one of its groups: a candidate a property."""

    run: str
    found: DirectionSet
    layer: Layer  # where they move codes
    group: str  # one of its groups' names, or ``OWN``

    def directions(self, space: FaceSpace, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [n, D] of faces, and the directions [n, k, D] that apply to them."""
        codes = space.codes(self.layer, batch.z, batch.label)
        groups, cuts = [self.group] * len(codes), self.found.medians
        if self.group == OWN:
            groups = group_names(batch.scores, cuts, space.property_names).tolist()
        return codes, np.stack([self.found.direction(x, group) for x, group in zip(codes, groups, strict=True)])


def sources_of(run: str, found: DirectionSet, layer: Layer) -> list[Source]:
    """All candidates of a run: the directions as they are meant, which is each face by its own group, then those of
    each group for all faces."""
    own = [OWN] if found.medians and len(found.group_names) > 1 else []
    return [Source(run, found, layer, group) for group in (*own, *found.group_names)]


Chosen = Sequence[tuple[Source, list[int]]]  # sources, and which of their properties take part


def chosen_properties(space: FaceSpace, sources: Sequence[Source], properties: Sequence[str] | None) -> Chosen:
    """The candidates that take part: of what the scorer measures; ValueError if there are none."""
    chosen = []
    for source in sources:
        wanted = [name for name in source.found.properties if properties is None or name in properties]
        if kept := [name for name in wanted if name in space.property_names]:
            chosen.append((source, [source.found.properties.index(name) for name in kept]))
    if not chosen:
        known = sorted({name for source in sources for name in source.found.properties})
        asked = "" if properties is None else f" for {', '.join(properties)}"
        raise ValueError(
            f"there is no candidate{asked}: the runs have directions for {', '.join(known) or 'nothing'}, the scorer "
            f"measures {', '.join(space.property_names)}"
        )
    return chosen


def check_sampling(n: int, step: float) -> None:
    """Raises ValueError for too few faces or an impossible step."""
    if n < MIN_SAMPLES:
        raise ValueError(f"n is {n}, expected at least {MIN_SAMPLES} faces (1,000 or more for a firm choice)")
    if not 0 < step < float("inf"):
        raise ValueError(f"step is {step}, expected a positive length such as {STEP}")


def batches(space: FaceSpace, n: int, progress: tqdm | None) -> Iterator[Batch]:
    """The first n faces of the stream, before they are moved; each is told of when it is done with."""
    for batch in space.batches(n, lambda part: face_batch(space, range(part.start, part.stop))):
        yield batch
        if progress is not None:
            progress.update(len(batch.z))


def face_batch(space: FaceSpace, indices: Sequence[int]) -> Batch:
    """Some faces of the stream, before they are moved."""
    z, label = space.latents(CHOOSE, indices)
    return Batch(z, label, *picture(space, W(), space.codes(W(), z, label)))


def picture(space: FaceSpace, layer: Layer, codes: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Images [n, 3, R, R] of vectors [n, D], and their scores [n, P]; ValueError if scores are not finite."""
    images = torch.cat(list(space.render(layer, codes)))
    return images, space.score(images).cpu().numpy()


def compare(space: FaceSpace, batch: Batch, layer: Layer, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What moving a batch's faces to vectors [n, D] changes: scores [n, P], and pixels [n]."""
    images, scores = picture(space, layer, moved)
    return scores - batch.scores, change_map(batch.images, images).mean(dim=(1, 2)).cpu().numpy()


def matched_steps(space: FaceSpace, chosen: Chosen, step: float) -> list[float]:
    """Steps, one a candidate, that change images as much as the first candidate does with ``step``; ValueError for a
    candidate that cannot."""
    batch, target = face_batch(space, range(NUM_MATCHED)), 0.0
    steps: list[float] = []

    def image_change(layer: Layer, codes: np.ndarray, directions: np.ndarray, step: float) -> float:
        images = torch.cat(list(space.render(layer, codes + np.float32(step) * directions)))
        return float(change_map(batch.images, images).mean())

    for source, columns in chosen:
        codes, directions = source.directions(space, batch)
        for k in columns:
            change = partial(image_change, source.layer, codes, directions[:, k])
            target = target or change(step)
            own = step_for(change, target, steps[-1] if steps else step)
            if own is None:
                raise ValueError(
                    f"{source.run}, {source.found.properties[k]} of group {source.group}, cannot change images by "
                    f"{target:.4f} as the first candidate does: give a smaller step, or steps of equal length"
                )
            steps.append(own)
    return steps


def step_for(change: Callable[[float], float], target: float, start: float) -> float | None:
    """The step at which ``change(step)`` is within 1 % of a target; None where it is not found. Images change ever
    slower with the step, so scaling it by what is lacking comes nearer each time."""
    own = start
    for _ in range(MATCH_ROUNDS):
        found = change(own)
        if found == 0:
            return None
        if abs(found - target) <= MATCH_TOLERANCE * target:
            return own
        own *= target / found
    return None


def in_words(row: Mapping[str, Any]) -> dict[str, str]:
    """A table's row with its numbers as text."""
    return {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in row.items()}


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
    """What moving faces along candidates did to their scores."""

    names: tuple[str, ...]  # the P scored properties
    candidates: list[Candidate]  # C of them
    changes: NDArray[np.float32]  # score differences float32 ``[n, C, P]``, after minus before
    seed: int = 0  # of the bootstrap

    def ds(self) -> Floats:
        """``ds = mean max(F(G(v + step n)) - F(G(v)), 0)`` of each candidate and property, ``[C, P]``."""
        return np.maximum(self.changes, 0).mean(axis=0, dtype=np.float64)

    def mean_change(self) -> Floats:
        """Mean signed change of each property, ``[C, P]``: what ``ds`` hides where scores fall."""
        return self.changes.mean(axis=0, dtype=np.float64)

    def draws(self) -> Floats:
        """Each candidate's ds of its own property in bootstrap resamples of the faces, ``[R, C]``."""
        gains = np.maximum(self.changes, 0)[:, np.arange(len(self.candidates)), self._own()].astype(np.float64)
        return resamples(len(gains), self.seed, STREAM) @ gains / len(gains)

    def winners(self) -> dict[str, tuple[int, float]]:
        """By property: the number of its candidate with the largest ds, and the share of resamples in which it wins."""
        ds, draws, own = self.ds(), self.draws(), np.array([candidate.property for candidate in self.candidates])
        found = {}
        for name in dict.fromkeys(own.tolist()):
            rivals = np.flatnonzero(own == name)
            best = int(rivals[ds[rivals, self.names.index(name)].argmax()])
            found[name] = (best, float((rivals[draws[:, rivals].argmax(axis=1)] == best).mean()))
        return found

    def rows(self) -> list[dict[str, str]]:
        """A table of all candidates: ds of the own property with its 95 % interval, the signed change, and ds of every
        property."""
        ds, mean, rows = self.ds(), self.mean_change(), []
        _, low, high = Interval.of_draws(ds, self.draws())
        for i, (candidate, own) in enumerate(zip(self.candidates, self._own(), strict=True)):
            row = asdict(candidate) | {"ds": ds[i, own], "low": low[i], "high": high[i], "change": mean[i, own]}
            row |= {f"ds_{name}": value for name, value in zip(self.names, ds[i], strict=True)}
            rows.append(in_words(row))
        return rows

    def table(self) -> str:
        """The winner of each property as text."""
        of_all, draws, rows = self.ds(), self.draws(), []
        heads = ("winner", "layer", "group", "ds, 95 % interval", "wins", "candidates", "step", "image change")
        for name, (i, share) in self.winners().items():
            c, ds = self.candidates[i], Interval.of_draws(of_all[i, self.names.index(name)], draws[:, i])
            rivals = sum(candidate.property == name for candidate in self.candidates)
            row = (name, f"{c.run} ({c.method})", c.layer, c.group, str(ds), f"{share:.0%}", str(rivals))
            rows.append((*row, f"{c.step:.2f}", f"{c.image_change:.3f}"))
        return markdown(("property", *heads), rows)

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
        n: number of faces; the paper takes 1,000 to 2,000.
        step: length of the moves.
        matched: the first candidate alone takes this step, all others the step that changes images as much (mean
            absolute change of pixels), so that layers whose vectors differ in size compare.
        properties: whose candidates compete; None: all.
        progress: told of each face.
    """
    check_sampling(n, step)
    chosen = chosen_properties(space, sources, properties)
    steps = matched_steps(space, chosen, step) if matched else [step] * sum(len(columns) for _, columns in chosen)
    changes, image_changes = [], []
    for batch in batches(space, n, progress):
        found, left = [], iter(steps)
        for source, columns in chosen:
            codes, directions = source.directions(space, batch)
            for k in columns:
                moved = codes + np.float32(next(left)) * directions[:, k]
                found.append(compare(space, batch, source.layer, moved))
        changes.append(np.stack([scores for scores, _ in found], axis=1))
        image_changes.append(np.stack([pixels for _, pixels in found], axis=1))
    pairs = [(source, source.found.properties[k]) for source, columns in chosen for k in columns]
    sizes = np.concatenate(image_changes).mean(axis=0, dtype=np.float64)
    candidates = [
        Candidate(source.run, source.found.method, source.layer.name, source.group, name, own, float(size))
        for (source, name), own, size in zip(pairs, steps, sizes, strict=True)
    ]
    return Rescoring(space.property_names, candidates, without_lost(np.concatenate(changes)), space.seed)


# --- An edit given to the w of some synthesis layers only ---


@dataclass(frozen=True)
class LayerRescoring:
    """What a run's directions do where they reach some synthesis layers only."""

    run: str
    method: str
    layer: str  # of the directions
    names: tuple[str, ...]  # the P scored properties
    properties: tuple[str, ...]  # the k whose directions were taken
    resolutions: list[int]  # of the L synthesis layers
    step: float  # length of the moves
    ranges: list[tuple[int, int]]  # first and last of the layers that were moved, R such sets
    changes: NDArray[np.float32]  # score differences float32 ``[n, R, k, P]``, after minus before
    seed: int = 0  # of the bootstrap

    def ds(self) -> Interval:
        """``ds`` of each direction's own property, ``[R, k]``; see ``Rescoring``."""
        own = [self.changes[:, :, k, self.names.index(name)] for k, name in enumerate(self.properties)]
        gains = np.maximum(np.stack(own, axis=2), 0)
        return Interval.of_means(gains, resamples(len(gains), self.seed, STREAM))

    def slopes(self) -> Floats:
        """Mean change of every property a unit of length along each direction, ``[R, k, P]``."""
        return self.changes.mean(axis=0, dtype=np.float64) / self.step

    def of_first_layers(self) -> list[int]:
        """Places of layers 0 to i, moved together, for i from 0 to L-1, among the ranges; last is the whole edit."""
        return [self.ranges.index((0, i)) for i in range(len(self.resolutions))]

    def of_single_layers_and_all(self) -> list[int]:
        """Places of layers 0 to L-1, each moved alone, and of the whole edit."""
        return [*(self.ranges.index((i, i)) for i in range(len(self.resolutions))), self.of_first_layers()[-1]]

    def rows(self) -> list[dict[str, str]]:
        """A table: a row for each property's direction and range of layers."""
        (ds, low, high), slopes, rows = self.ds(), self.slopes(), []
        for k, name in enumerate(self.properties):
            for r, (first, last) in enumerate(self.ranges):
                row: dict[str, Any] = {"run": self.run, "method": self.method, "layer": self.layer, "property": name}
                row |= {"first": first, "last": last}
                row |= {"first_resolution": self.resolutions[first], "last_resolution": self.resolutions[last]}
                row |= {"step": self.step, "ds": ds[r, k], "low": low[r, k], "high": high[r, k]}
                row |= {f"slope_{other}": value for other, value in zip(self.names, slopes[r, k], strict=True)}
                rows.append(in_words(row))
        return rows


def rescore_layers(
    space: FaceSpace,
    source: Source,
    n: int,
    step: float,
    properties: Sequence[str] | None = None,
    progress: tqdm | None = None,
) -> LayerRescoring:
    """Moves n faces along a run's directions, of any layer, in each synthesis layer alone, and in the first 1, 2, ... L
    of them; as ``rescore``. The step is a length at the directions' own layer."""
    check_sampling(n, step)
    ((_, columns),) = chosen_properties(space, [source], properties)
    num = space.generator.num_layers
    numbers = np.arange(num)[:, None]
    ranges = list(dict.fromkeys([*((i, i) for i in range(num)), *((0, i) for i in range(num))]))
    parts = []
    for batch in batches(space, n, progress):
        codes, directions = source.directions(space, batch)
        base = to_wplus(space, source.layer, codes)
        added = [to_wplus(space, source.layer, codes + np.float32(step) * directions[:, k]) - base for k in columns]
        found = []
        for first, last in ranges:
            reached = (first <= numbers) & (numbers <= last)
            moved = [(base + delta * reached).reshape(len(base), -1) for delta in added]
            found += [compare(space, batch, WPlus(), codes)[0] for codes in moved]
        parts.append(np.stack(found, axis=1).reshape(len(base), len(ranges), len(columns), -1))
    names = tuple(source.found.properties[k] for k in columns)
    sides = list(space.generator.layer_sides)
    origin = source.run, source.found.method, source.layer.name
    changes = without_lost(np.concatenate(parts))
    return LayerRescoring(*origin, space.property_names, names, sides, step, ranges, changes, space.seed)


def without_lost(changes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The changes ``[n, ..., P]`` of those faces all of whose pictures have scores; ValueError for too few."""
    seen = ~lost_pictures(changes.reshape(len(changes), -1))
    if not seen.all():
        log.info("%d of %d faces are left out: some of their pictures have no score", (~seen).sum(), len(seen))
    check_sampling(int(seen.sum()), STEP)
    return changes[seen]


def to_wplus(space: FaceSpace, layer: Layer, codes: np.ndarray) -> np.ndarray:
    """wp [n, L, w_dim] of vectors [n, D] at a layer."""
    with torch.no_grad():
        v = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)).to(space.device.torch_device)
        w = layer.to_w(space.generator, v).float()
    wp = w if w.ndim == 3 else w.unsqueeze(1).expand(-1, space.generator.num_layers, -1)
    return wp.cpu().numpy()


def measure_response(
    space: FaceSpace, layer: Layer, found: DirectionSet, num_latents: int = 100, progress: tqdm | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How much the own score of each direction rises along it, from one standard deviation of the latents' vectors
    along it behind to one ahead, so that the step is of the size of natural differences at any layer: mean over latents
    of the stream "choose" and standard error, float64 ``[k, G]`` each. ``progress`` is told of each direction."""
    if unknown := [name for name in found.properties if name not in space.property_names]:
        raise ValueError(
            f"the scorer does not measure {', '.join(unknown)} but {', '.join(space.property_names)}: give another "
            f"scorer, or say what the sign is, up or down"
        )
    codes = space.codes(layer, *space.latents(CHOOSE, range(num_latents)))
    rises = np.empty((*found.directions.shape[:2], num_latents))
    for i, j in np.ndindex(*rises.shape[:2]):
        direction = found.directions[i, j]
        step = (codes @ direction).std() * direction
        scores = space.score_codes(layer, np.concatenate([codes + step, codes - step]))
        own = scores[:, space.property_names.index(found.properties[i])].astype(np.float64)
        rises[i, j] = own[:num_latents] - own[num_latents:]
        if progress is not None:
            progress.update()
    num_seen = np.isfinite(rises).sum(axis=2)
    return np.nanmean(rises, axis=2), np.nanstd(rises, axis=2, ddof=1) / np.sqrt(num_seen)


def turn_up(
    space: FaceSpace, layer: Layer, found: DirectionSet, num_latents: int = 100, progress: tqdm | None = None
) -> tuple[DirectionSet, str]:
    """Directions turned so that the own score of each rises along it, see ``measure_response``; and a sentence: how
    many were turned, how many have no clear response, and which the scorer does not measure: these stay as they are.
    ValueError where it measures none."""
    rows = [i for i, name in enumerate(found.properties) if name in space.property_names] or range(
        len(found.properties)
    )
    part = replace(found, directions=found.directions[rows], properties=tuple(found.properties[i] for i in rows))
    response, error = measure_response(space, layer, part, num_latents, progress)
    falls = response < 0
    unclear = np.count_nonzero(np.abs(response) < CLEAR * error)
    said = f"{np.count_nonzero(falls)} of {falls.size} directions turned, by their response on {num_latents} latents"
    if found.group_names == [ALL] and falls.any():
        said += f": {', '.join(name for name, down in zip(part.properties, falls[:, 0], strict=True) if down)}"
    if unclear:
        said += f"; {unclear} have no response clear of chance, so that their sign says little"
    if left := [name for name in found.properties if name not in part.properties]:
        said += f"; {', '.join(left)}: not measured by the scorer, left as they are"
    turned = found.directions.copy()
    turned[rows] = np.where(falls[..., None], -part.directions, part.directions)
    provenance = found.provenance | {"sign_response": np.abs(response).tolist(), "sign_response_error": error.tolist()}
    return replace(found, directions=turned, provenance=provenance), said
