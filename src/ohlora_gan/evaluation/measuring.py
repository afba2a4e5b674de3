"""Pictures of moved latents: each is rendered once and scored by all judges, a batch of latents at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ohlora_gan.evaluation.generation_test import lost_pictures
from ohlora_gan.evaluation.image_change import ChangeMeter
from ohlora_gan.evaluation.judges import Judge, Role, Scores
from ohlora_gan.evaluation.movers import Mover

Render = Callable[[np.ndarray, int | None, int], Iterator[Tensor]]
"""Codes ``[M, D]``, the number of a draw of noise (None: the fixed noise) and of the first picture, to pictures
``[m, 3, R, R]`` in about [-1, 1], batch by batch."""

SECOND_DRAW = 1
"""The number of the noise of the second draw."""


@dataclass(frozen=True)
class Seen:
    """What one judge saw of N latents; the row of a lost picture is NaN.

    Attributes:
        name, role, names: the judge's name, its role, and what its P scores are.
        unedited: scores of the unedited faces, float32 ``[N, P]``.
        scores: scores of the edited faces, float32 ``[N, K, P]``.
        again: the same with fresh noise, ``[N, K, P]``; None where there was no second draw.
    """

    name: str
    role: Role
    names: tuple[str, ...]
    unedited: Scores
    scores: Scores
    again: Scores | None = None

    @property
    def lost(self) -> float:
        """Share of the edited pictures without a score, 0 to 1."""
        return float(lost_pictures(self.scores).mean())

    def standardised(self, scores: Scores) -> Scores:
        """Raw measures ``[..., P]`` in standard deviations over the unedited faces, from their mean.

        Raises:
            ValueError: where fewer than two unedited faces have scores, or they do not differ.
        """
        known = self.unedited[~lost_pictures(self.unedited)].astype(np.float64)
        spread = known.std(axis=0) if len(known) > 1 else np.zeros(1)
        if (spread == 0).any():
            raise ValueError(
                f"{self.name} measured {len(known)} of {len(self.unedited)} unedited faces, too few that differ to "
                f"say what a standard deviation is: raise test.num_latents, or judge by a network"
            )
        return ((scores - known.mean(axis=0)) / spread).astype(np.float32)

    def in_sigmas(self) -> "Seen":
        """The same with all scores standardised."""
        again = None if self.again is None else self.standardised(self.again)
        unedited, scores = self.standardised(self.unedited), self.standardised(self.scores)
        return replace(self, unedited=unedited, scores=scores, again=again)


def measure(
    codes: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    mover: Mover,
    render: Render,
    judges: Sequence[Judge],
    meter: ChangeMeter | None = None,
    *,
    retest: bool = False,
    enough: Callable[[int, Scores], bool] | None = None,
    latents_per_batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> list[Seen]:
    """Moves latents and has every judge score every picture.

    Args:
        codes: vectors of the latents, float32 ``[N, D]``.
        groups: their groups, ``[N]``.
        mover: what moves them.
        render: what makes pictures of vectors.
        judges: at least one; none may be ``raw`` where it comes first and ``enough`` is given.
        meter: told of every picture and of the unedited one it came from.
        retest: make every edited picture a second time, with fresh noise.
        enough: told the number and the first judge's scores ``[K, P]`` of each latent in turn; True ends the test
            with that latent.
        latents_per_batch: how many latents' codes are held at a time, at least 1; it has no part in the result.
        progress: called as ``progress(measured, N)``.

    Returns:
        What each judge saw of the latents tested, in their own units where they are ``raw``.

    Raises:
        ValueError: for lengths that differ, or no latent or judge.
    """
    if len(groups) != len(codes) or not len(codes) or not judges or latents_per_batch < 1:
        raise ValueError(
            f"there are {len(codes)} codes, {len(groups)} groups, {len(judges)} judges and {latents_per_batch} latents "
            f"a batch: expected as many groups as codes, and at least 1 of each"
        )
    unedited: list[list[Scores]] = [[] for _ in judges]
    edited: list[list[Scores]] = [[] for _ in judges]
    again: list[list[Scores]] = [[] for _ in judges]
    num, done = 0, False
    while num < len(codes) and not done:
        batch = slice(num, num + latents_per_batch)
        faces = torch.cat(list(render(codes[batch], None, num)))
        moved = mover(codes[batch], groups[batch])
        first = num * moved.shape[1]
        if meter is not None:
            meter.start(faces)
        scores = score_pictures(moved, render, judges, None, first, meter)
        _append(unedited, [judge.score(faces) for judge in judges])
        _append(edited, scores)
        if retest:
            _append(again, score_pictures(moved, render, judges, SECOND_DRAW, first))
        for of_latent in scores[0]:
            done = enough is not None and enough(num, of_latent)
            num += 1
            if progress is not None:
                progress(num, len(codes))
            if done:
                break
    return [
        Seen(
            judge.name,
            judge.role,
            judge.property_names,
            np.concatenate(unedited[j])[:num],
            np.concatenate(edited[j])[:num],
            np.concatenate(again[j])[:num] if retest else None,
        )
        for j, judge in enumerate(judges)
    ]


def _append(parts: list[list[Scores]], scores: Sequence[Scores]) -> None:
    """Adds each judge's scores of a batch to its others."""
    for of_judge, new in zip(parts, scores, strict=True):
        of_judge.append(new)


def score_pictures(
    moved: np.ndarray,
    render: Render,
    judges: Sequence[Judge],
    noise_seed: int | None = None,
    first: int = 0,
    meter: ChangeMeter | None = None,
) -> list[Scores]:
    """Every judge's scores float32 ``[n, K, P]`` of the pictures of codes ``[n, K, D]``; see ``measure``.

    Raises:
        ValueError: if a judge gives another number of scores than it has names.
    """
    num_latents, num_strengths, size = moved.shape
    parts: list[list[Scores]] = [[] for _ in judges]
    position = 0
    for images in render(moved.reshape(-1, size), noise_seed, first):
        if meter is not None:
            meter.compare(images, torch.arange(position, position + len(images)) // num_strengths)
        position += len(images)
        for judge, of_judge in zip(judges, parts, strict=True):
            of_judge.append(np.asarray(judge.score(images), dtype=np.float32))
    results = []
    for judge, of_judge in zip(judges, parts, strict=True):
        scores = np.concatenate(of_judge)
        expected = (num_latents * num_strengths, len(judge.property_names))
        if scores.shape != expected:
            raise ValueError(f"{judge.name} gave scores of shape {list(scores.shape)}, expected {list(expected)}")
        results.append(scores.reshape(num_latents, num_strengths, -1))
    return results
