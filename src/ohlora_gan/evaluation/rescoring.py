"""Rescoring: which of many candidate directions raises a property most, by what the images show.

The verification of HiGAN (arXiv 1911.09267, section 3.2, equation 4): a boundary found in latent space is only a
proposal, and is judged by how much the score rises on images moved along it. Directions of any method, group and layer
compete on the same faces. The faces are those of the stream ``choose``: a winner is reported on others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.evaluation.bootstrap import resamples
from ohlora_gan.evaluation.candidates import (
    STEP,
    Source,
    batches,
    check_sampling,
    chosen_properties,
    compare,
    matched_steps,
    moved_codes,
)
from ohlora_gan.latents.space import FaceSpace

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
        low, high = np.quantile(self.draws(), (0.025, 0.975), axis=0)
        ds, mean, own = self.ds(), self.mean_change(), self._own()
        head = ["run", "method", "layer", "group", "property", "step", "image_change", "ds", "low", "high", "change"]
        rows = [[*head, *(f"ds_{name}" for name in self.names)]]
        for i, c in enumerate(self.candidates):
            numbers = [c.step, c.image_change, ds[i, own[i]], low[i], high[i], mean[i, own[i]], *ds[i]]
            rows.append([c.run, c.method, c.layer, c.group, c.property, *(f"{number:.4f}" for number in numbers)])
        return rows

    def table(self) -> str:
        """The winner of each property as text."""
        low, high = np.quantile(self.draws(), (0.025, 0.975), axis=0)
        lines = [
            "| property | winner | layer | group | ds, 95 % interval | wins | candidates | step | image change |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, (i, share) in self.winners().items():
            c, ds = self.candidates[i], self.ds()[i, self.names.index(name)]
            rivals = sum(candidate.property == name for candidate in self.candidates)
            lines.append(
                f"| {name} | {c.run} ({c.method}) | {c.layer} | {c.group} | {ds:.3f} [{low[i]:.3f}, {high[i]:.3f}] | "
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
    progress: Callable[[int, int], None] | None = None,
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
        progress: called as ``progress(done, n)``.

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
        if progress:
            progress(sum(map(len, changes)), n)
    pairs = [(source, source.found.properties[k]) for source, columns in chosen for k in columns]
    sizes = np.concatenate(image_changes).mean(axis=0, dtype=np.float64)
    candidates = [
        Candidate(source.run, source.found.method, source.layer.name, source.group, name, own, float(size))
        for (source, name), own, size in zip(pairs, steps, sizes, strict=True)
    ]
    return Rescoring(space.property_names, candidates, np.concatenate(changes), space.seed)
