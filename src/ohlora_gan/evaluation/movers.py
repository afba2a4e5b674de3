"""Movers: what the test does to codes. Straight directions and the closed loop are tested alike."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.editing import move

Mover = Callable[[np.ndarray, Sequence[str] | np.ndarray], np.ndarray]
"""Codes float32 ``[n, D]`` and their groups ``[n]`` to all K edits of each: float32 ``[n, K, D]``."""

MakeMover = Callable[[np.ndarray], Mover]
"""Strengths ``[K, k]``, a column a property, to the mover that goes so far."""

GRIDS = ("sigma", "reference")
"""What a strength is: standard deviations of the finding score, or, as published, a length along the unit direction."""


class Directions(Protocol):
    """What directions offer to the test; ``steps`` is asked of those that know their slopes alone."""

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray: ...

    def steps(self, strengths: np.ndarray, group: str | None = None) -> np.ndarray: ...


class ClosedLoopEditor(Protocol):
    """What edits by feedback, see ``closed_loop.ClosedLoop``."""

    def edit(self, codes: np.ndarray, changes: Any, keep: Any = "rest") -> Any: ...


def open_loop(found: Directions, strengths: np.ndarray, grid: str = "reference") -> Mover:
    """Moves each code along the directions that apply to it, all at once.

    Args:
        found: directions ``[k, D]`` of a code; for ``grid="sigma"`` with their slopes, too.
        strengths: ``[K, k]``.
        grid: one of ``GRIDS``.

    Raises:
        ValueError: for another grid.
    """
    if grid not in GRIDS:
        raise ValueError(f"grid is {grid!r}, expected one of {', '.join(GRIDS)}")

    def lengths(group: str) -> np.ndarray:
        return found.steps(strengths, group) if grid == "sigma" else strengths

    def mover(codes: np.ndarray, groups: Sequence[str] | np.ndarray) -> np.ndarray:
        pairs = [(x, str(group)) for x, group in zip(codes, groups, strict=True)]
        return np.stack([move(x, found.direction(x, group), lengths(group)) for x, group in pairs])

    return mover


def closed_loop(
    loop: ClosedLoopEditor, properties: Sequence[str], strengths: np.ndarray, keep: Any = "rest", **settings: Any
) -> Mover:
    """Edits each code by feedback to every combination of scores.

    Args:
        loop: the editor.
        properties: what the k columns of ``strengths`` are.
        strengths: ``[K, k]`` in sigmas: changes of the face's own scores, or with ``targets="score"`` scores.
        keep, settings: given on to ``loop.edit``.
    """

    def mover(codes: np.ndarray, groups: Sequence[str] | np.ndarray) -> np.ndarray:
        num, num_strengths = len(codes), len(strengths)
        changes = {name: np.tile(strengths[:, i], num) for i, name in enumerate(properties)}
        edited = loop.edit(np.repeat(codes, num_strengths, axis=0), changes, keep=keep, **settings)
        return edited.codes.reshape(num, num_strengths, -1)

    return mover
