"""Editing by feedback: a few damped Gauss-Newton steps to target scores, the others held.

A straight direction promises a change; the loop looks at what came of it. Each step solves, with J the derivatives of
the scores at the present code and M what steps cost (see ``latents.metric``),
``dv = M^-1 J^T (J M^-1 J^T + damping)^-1 (target - score)``: of all steps that go to the targets the cheapest
(Nocedal and Wright, "Numerical Optimization", 2006, section 10.3). The targets move, too: they are reached after half
of the steps, since what a step costs is known near the face alone, and one that goes far ends at another face.

The finding scorer closes the loop, so it cannot judge the result: let another one do that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from torch import nn
from tqdm import tqdm

from ohlora_gan.directions.base import Costs
from ohlora_gan.editing.moves import Changes, Moved, Mover, SafeRange, beyond_samples, realism
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.metric import SETTINGS
from ohlora_gan.latents.space import FaceSpace, score_jacobian
from ohlora_gan.progress import Bar

TARGETS = ("change", "score")
"""What is asked for: a change against the face's own score, or a score, which all faces then share."""
BEYOND = ("clip", "refuse", "allow")
METRIC: dict[str, Any] = {"name": "image", **SETTINGS["image"], "shrinkage": 0.01, "cloud": 0.01}
"""How what steps cost is measured where nothing else is asked for, as ``conf/method/closed_loop.yaml`` says it too."""
NEAR = 0.25
"""A target counts as reached within so many sigmas."""


@dataclass(frozen=True)
class EditResult:
    """What came of N edits.

    ``realism`` is the discriminator's score of the edited picture less that which nearly all sampled faces reach: below
    0 it looks less real than they do; NaN without a discriminator.
    """

    codes: np.ndarray  # float32 [N, D]
    start: np.ndarray  # scores before, float32 [N, P]
    wanted: np.ndarray  # targets; NaN for scores that were neither asked for nor held
    reached: np.ndarray  # scores after
    distance: np.ndarray  # how far out the edited codes are, see SafeRange.distance, [N]
    realism: np.ndarray  # [N]
    notes: list[str]  # a sentence for each edit that was clipped, missed, or lies beyond sampled faces; else empty


@dataclass(frozen=True)
class Steps:
    """Gauss-Newton steps.

    Attributes:
        num: how many, at least 1; the first half of them goes to targets on the way.
        damping: share of each score's own response that is added to the diagonal of the normal equations (Marquardt
            1963), at least 0: it shortens steps that scores ask for against each other. It falls evenly, and
            the last step has none.
        longest: no step is longer than this share of the cloud's radius, above 0.
        refresh: derivatives are taken anew every so many steps, at least 1; between, Broyden's update corrects them by
            what the last step did, which costs a pass forward instead of one and P backward.
    """

    num: int = 8
    damping: float = 0.3
    longest: float = 0.5
    refresh: int = 1

    def __post_init__(self) -> None:
        if not self.damping >= 0 or self.num < 1 or not self.longest > 0 or self.refresh < 1:
            raise ValueError(
                f"closed loop: damping={self.damping}, steps={self.num}, longest={self.longest}, "
                f"refresh={self.refresh}, expected at least 0, at least 1, above 0, at least 1"
            )


class ClosedLoop:
    """Edits codes at a layer until their scores are what was asked for.

    Args:
        space: generator and the scorer that closes the loop.
        metric: what steps cost, ``[D, D]`` of the layer's free values, see ``latents.metric``; None: their length.
        discriminator: says of edited pictures how real they look; None: nothing does.

    Raises:
        ValueError: for a layer that the generator lacks, or a metric of another size.
    """

    def __init__(
        self,
        space: FaceSpace,
        layer: Layer,
        metric: ArrayLike | None = None,
        steps: Steps | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        layer.check(space.generator)
        self.space, self.layer = space, layer
        self.free = layer.free(space.generator)
        self.costs = Costs(metric, self.free.stop - self.free.start)
        self.steps = steps or Steps()
        self.discriminator = None if discriminator is None else space.device.place(discriminator)

    @cached_property
    def safe_range(self) -> SafeRange:
        """Where sampled faces lie, sampled at first use."""
        return SafeRange.sampled(self.space, self.layer, self.discriminator)

    def edit(
        self,
        codes: np.ndarray,
        changes: Mapping[str, ArrayLike],
        hold: str | Sequence[str] = "rest",
        beyond: str = "clip",
        targets: str = "change",
        progress: tqdm | None = None,
    ) -> EditResult:
        """Changes some scores of faces and holds others.

        Args:
            codes: vectors float ``[N, D]``.
            changes: property -> sigmas, a number or one an edit ``[N]``: what ``targets``, one of ``TARGETS``, says.
            hold: ``rest`` holds all other scores, ``none`` lets them go, names hold those.
            beyond: what to do with a target outside the scores of sampled faces: ``clip`` it to them, ``refuse``, or
                ``allow`` it.
            progress: told of each code.

        Raises:
            ValueError: for names that are not scored, a change that is no finite number, another choice of ``hold`` or
                ``beyond``, or a refused target.
        """
        if not len(codes):
            raise ValueError("there is no face to edit: give at least one code")
        asked, held = self._columns(changes, hold)
        for key, value, choices in (("beyond", beyond, BEYOND), ("targets", targets, TARGETS)):
            if value not in choices:
                raise ValueError(f"{key} is {value!r}, expected one of {', '.join(choices)}")
        change = np.full((len(codes), len(self.space.property_names)), np.nan)
        change[:, held] = 0.0
        for p, (name, values) in zip(asked, changes.items(), strict=True):
            change[:, p] = values
            if not np.isfinite(change[:, p]).all():
                raise ValueError(f"the change of {name} is not a finite number: give sigmas such as 1.0")
        codes, parts, notes = np.asarray(codes), [], []
        absolute = asked if targets == "score" else []

        def edit(batch: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
            return self._edit_batch(codes[batch], change[batch], asked, beyond, absolute)

        for *arrays, words in self.space.batches(len(codes), edit):
            parts.append(arrays)
            notes += words
            if progress is not None:
                progress.update(len(words))
        edited, start, wanted, reached = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return self._result(edited, start, wanted, reached, notes)

    def _columns(self, changes: Mapping[str, ArrayLike], hold: str | Sequence[str]) -> tuple[list[int], list[int]]:
        """The columns of the scores that are to change, and of those to hold."""
        names = self.space.property_names
        if not changes:
            raise ValueError("nothing to change: give a property and its change, such as eyes=+1")
        if isinstance(hold, str):
            if hold not in ("rest", "none"):
                raise ValueError(f"hold is {hold!r}, expected rest, none, or a list of names of scores")
            hold = [name for name in names if name not in changes] if hold == "rest" else []
        if unknown := [name for name in (*changes, *hold) if name not in names]:
            raise ValueError(f"the scorer does not measure {unknown[0]}, expected some of {', '.join(names)}")
        if both := [name for name in hold if name in changes]:
            raise ValueError(f"{both[0]} is to be changed and held: give one of them")
        return [names.index(name) for name in changes], [names.index(name) for name in hold]

    def _edit_batch(
        self, codes: np.ndarray, change: np.ndarray, asked: list[int], beyond: str, absolute: list[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
        """Edited codes, scores before, targets, scores after, and what there is to say of the targets.

        ``change`` ``[n, P]`` is NaN for scores that are free, and a score for ``absolute`` ones.
        """
        used = np.flatnonzero(np.isfinite(change).all(axis=0))
        v = codes.astype(np.float64)
        start, jacobian = self._look(v)
        change[:, absolute] -= start[:, absolute]
        wanted, notes = self._targets(start, change, asked, beyond)

        def miss(scores: np.ndarray) -> np.ndarray:
            return np.linalg.norm((wanted - scores)[:, used], axis=1)

        scores, best, best_scores, best_miss = start, v.copy(), start, miss(start)
        for step in range(1, self.steps.num + 1):
            goal = start + min(1.0, 2 * step / self.steps.num) * (wanted - start)
            damping = self.steps.damping * (1 - step / self.steps.num)
            move = self._step(jacobian[:, used], (goal - scores)[:, used], damping)
            v = v.copy()
            v[:, self.free] += move
            if step == self.steps.num or step % self.steps.refresh:
                after = self.space.score_codes(self.layer, v.astype(np.float32)).astype(np.float64)
                jacobian = broyden(jacobian, move, after - scores)
            else:
                after, jacobian = self._look(v)
            scores = after
            better = miss(scores) < best_miss
            best[better], best_scores = v[better], np.where(better[:, None], scores, best_scores)
            best_miss = miss(best_scores)
        return best, start, wanted, best_scores, notes

    def _targets(
        self, start: np.ndarray, change: np.ndarray, asked: list[int], beyond: str
    ) -> tuple[np.ndarray, list[str]]:
        """Target scores ``[n, P]`` and what there is to say of them; a face that lies outside the range may go back."""
        wanted, notes = start + change, [""] * len(start)
        if beyond == "allow":
            return wanted, notes
        low, high = self.safe_range.limits(start)
        for p in asked:
            outside = (wanted[:, p] < low[:, p] - 1e-6) | (wanted[:, p] > high[:, p] + 1e-6)
            for n in np.flatnonzero(outside):
                sentence = (
                    f"{self.space.property_names[p]} is to go from {start[n, p]:+.2f} to {wanted[n, p]:+.2f}, beyond "
                    f"what sampled faces show ({low[n, p]:+.2f} to {high[n, p]:+.2f})"
                )
                if beyond == "refuse":
                    raise ValueError(f"{sentence}: ask for less, or beyond=clip")
                notes[n] += f"{sentence}: held at the limit. "
            wanted[:, p] = np.clip(wanted[:, p], low[:, p], high[:, p])
        return wanted, notes

    def _step(self, rows: np.ndarray, missing: np.ndarray, damping: float) -> np.ndarray:
        """The cheapest damped step ``[n, D]`` that brings ``missing`` ``[n, S]``, no longer than allowed."""
        cheap = self.costs.cheapest(rows)
        normal = cheap @ np.swapaxes(rows, 1, 2)
        own = np.einsum("nss->ns", normal)
        least = np.maximum(1e-9 * own.mean(axis=1, keepdims=True), 1e-30)  # a score that nothing moves divides by this
        normal = normal + (damping * own + least)[:, None] * np.eye(rows.shape[1])
        weights = np.linalg.solve(normal, missing[..., None])
        move = np.einsum("ns,nsd->nd", weights[..., 0], cheap)
        limit = self.steps.longest * self.safe_range.radius
        length = np.linalg.norm(move, axis=1, keepdims=True)
        return np.where(length > limit, move * (limit / np.maximum(length, limit)), move)

    def _look(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and derivatives; of codes that are alike, as where many edits begin at one face, once."""
        unique, where = distinct(v)
        scores, jacobian = score_jacobian(self.space, self.layer, unique)
        return scores.astype(np.float64)[where], jacobian[where][..., self.free].astype(np.float64)

    def _result(
        self, codes: np.ndarray, start: np.ndarray, wanted: np.ndarray, reached: np.ndarray, notes: list[str]
    ) -> EditResult:
        """Says what was missed, and what lies beyond sampled faces."""
        names = self.space.property_names
        distance = self.safe_range.distance(codes[:, self.free])
        real: np.ndarray = realism(self.space, self.layer, codes, self.discriminator) - self.safe_range.realism
        for n, miss in enumerate(np.abs(reached - wanted)):
            if far := [f"{names[p]} by {miss[p]:.2f}" for p in np.flatnonzero(miss > NEAR)]:
                notes[n] += f"missed {', '.join(far)} sigmas. "
            notes[n] += beyond_samples(distance[n], real[n])
        codes, start, wanted, reached, distance, real = (
            array.astype(np.float32) for array in (codes, start, wanted, reached, distance, real)
        )
        return EditResult(codes, start, wanted, reached, distance, real, [note.strip() for note in notes])


def distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of ``[n, D]``, and which of them each row is, ``[n]``."""
    unique, where = np.unique(codes, axis=0, return_inverse=True)
    return unique, where.reshape(-1)


def broyden(jacobian: np.ndarray, move: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Derivatives ``[n, P, D]`` corrected by what a step ``[n, D]`` did to the scores ``[n, P]`` (Broyden 1965)."""
    squared = np.einsum("nd,nd->n", move, move)[:, None, None]
    wrong = change - np.einsum("npd,nd->np", jacobian, move)
    return jacobian + wrong[:, :, None] * move[:, None] / np.maximum(squared, np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class ClosedLoopMover:
    """Moves codes by feedback to every combination of scores, see ``moves.Mover`` and ``ClosedLoop.edit``.

    ``bar`` is what a progress bar is called; empty: there is none.
    """

    loop: ClosedLoop
    hold: str | Sequence[str] = "rest"
    beyond: str = "clip"
    targets: str = "change"
    bar: str = ""
    medians: ClassVar[Mapping[str, float]] = MappingProxyType({})

    def __call__(
        self, codes: np.ndarray, groups: Sequence[str] | np.ndarray, changes: Changes, unit: str = "sigma"
    ) -> Moved:
        """See ``Mover``; groups are of no effect."""
        if unit != "sigma":
            raise ValueError(f"unit is {unit!r}, but a closed loop knows no lengths: expected sigma")
        shape = (len(codes), np.shape(next(iter(changes.values())))[-1])
        flat = {name: np.broadcast_to(values, shape).reshape(-1) for name, values in changes.items()}
        repeated, how = np.repeat(codes, shape[1], axis=0), {"beyond": self.beyond, "targets": self.targets}
        with Bar(desc=self.bar, total=len(repeated), disable=not self.bar) as bar:
            found = self.loop.edit(repeated, flat, self.hold, **how, progress=bar)
        notes = [found.notes[i : i + shape[1]] for i in range(0, len(found.notes), shape[1])]
        return Moved(found.codes.reshape(*shape, -1), notes)


class HeldMover:
    """Straight moves, bent as little as it takes for scores to be held by their derivatives at the unedited face.

    What the move itself promises the scores that are asked for stays promised. For small edits this is the projection
    of InterFaceGAN (Shen et al. 2020, section 3.3), with the face's own derivatives; for large ones a closed loop,
    which looks again, holds better.

    Args:
        mover: what moves codes of the layer.
        hold: ``rest``, all scores that are not asked for, or names.
    """

    def __init__(self, mover: Mover, space: FaceSpace, layer: Layer, hold: str | Sequence[str] = "rest") -> None:
        self.mover, self.space, self.layer, self.hold = mover, space, layer, hold
        self.medians = mover.medians
        if not isinstance(hold, str) and (unknown := [name for name in hold if name not in space.property_names]):
            raise ValueError(f"{unknown[0]} cannot be held: the scorer measures {', '.join(space.property_names)}")
        self._seen: tuple[bytes, np.ndarray] = b"", np.empty(0)

    def __call__(
        self, codes: np.ndarray, groups: Sequence[str] | np.ndarray, changes: Changes, unit: str = "sigma"
    ) -> Moved:
        """See ``Mover``; ValueError for a score that is to be changed and held."""
        names = self.space.property_names
        if both := [name for name in self.hold if name in changes and not isinstance(self.hold, str)]:
            raise ValueError(f"{both[0]} is to be changed and held: give one of them")
        moved, notes = self.mover(codes, groups, changes, unit)
        held = [name for name in names if name not in changes] if self.hold == "rest" else [*self.hold]
        asked = [name for name in changes if name in names]
        free = self.layer.free(self.space.generator)
        step = moved[..., free] - codes[:, None, free].astype(np.float64)
        for n, jacobian in enumerate(self.derivatives(codes)):
            rows = jacobian[[names.index(name) for name in (*asked, *held)]][:, free]
            missing = -(step[n] @ rows.T)
            missing[:, : len(asked)] = 0
            step[n] += missing @ np.linalg.pinv(rows, rcond=1e-3).T
        bent = moved.copy()
        bent[..., free] = codes[:, None, free] + step
        return Moved(bent, notes)

    def derivatives(self, codes: np.ndarray) -> np.ndarray:
        """Of the scores at codes, ``[N, P, D]``; those of the last codes are kept, as sliders ask for them again."""
        if self._seen[0] != (key := codes.tobytes()):
            self._seen = key, score_jacobian(self.space, self.layer, codes)[1].astype(np.float64)
        return self._seen[1]
