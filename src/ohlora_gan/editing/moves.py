"""Moving codes in latent space: the manipulations of HiGAN (arXiv 1911.09267, section 3.3) on arrays.

A strength is a length along a unit direction here; ``DirectionSet.steps`` turns score sigmas into lengths. Everything
is summed in float64, one direction after the other in their order, so that no result depends on how codes are batched.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan import rng
from ohlora_gan.directions.base import ALL
from ohlora_gan.directions.groups import group_names
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace


def move(codes: ArrayLike, directions: ArrayLike, strengths: ArrayLike) -> np.ndarray:
    """Joint manipulation, along several directions at once: ``v + lambda_1 n_1 + lambda_2 n_2 + ...``.

    Args:
        codes: one code ``[D]`` or several ``[N, D]``.
        directions: ``[P, D]``, or ``[N, P, D]`` where each code has its own.
        strengths: ``[K, P]``, the K combinations of strengths, in lengths of the directions.

    Returns:
        float32 ``[K, D]`` for one code, ``[N, K, D]`` for several.

    Raises:
        ValueError: where the shapes do not fit together.
    """
    codes, directions, strengths = (np.asarray(a, dtype=np.float64) for a in (codes, directions, strengths))
    if codes.ndim not in (1, 2) or strengths.ndim != 2:
        shapes = f"codes {list(codes.shape)}, strengths {list(strengths.shape)}"
        raise ValueError(f"{shapes}: expected [D] or [N, D], and [K, P]")
    num_directions, size = strengths.shape[1], codes.shape[-1]
    shared, own = (num_directions, size), (*codes.shape[:-1], num_directions, size)
    if directions.shape not in (shared, own):
        raise ValueError(f"directions {list(directions.shape)}: expected {list(shared)} or {list(own)}")
    moved = np.repeat(codes[..., None, :], len(strengths), axis=-2)
    for i in range(num_directions):
        moved += strengths[:, i, None] * directions[..., i, None, :]
    return moved.astype(np.float32)


def move_each(codes: ArrayLike, directions: ArrayLike, strengths: ArrayLike) -> np.ndarray:
    """Independent manipulation, along one direction at a time: ``v + lambda n``.

    Args:
        codes: ``[D]`` or ``[N, D]``.
        directions: ``[P, D]``, or ``[N, P, D]`` where each code has its own.
        strengths: ``[P, K]``, K lengths along each direction.

    Returns:
        float32 ``[P, K, D]`` for one code, ``[N, P, K, D]`` for several.

    Raises:
        ValueError: where the shapes do not fit together.
    """
    strengths = np.asarray(strengths, dtype=np.float64)
    if strengths.ndim != 2:
        raise ValueError(f"strengths {list(strengths.shape)}: expected [P, K]")
    num_directions, num = strengths.shape
    alone = np.zeros((num_directions, num, num_directions))
    alone[np.arange(num_directions), :, np.arange(num_directions)] = strengths
    moved = move(codes, directions, alone.reshape(-1, num_directions))
    return moved.reshape(*moved.shape[:-2], num_directions, num, moved.shape[-1])


def jitter(
    codes: ArrayLike, seed: int, indices: Sequence[int], num: int, scale: ArrayLike = 1.0, stream: str = "jitter"
) -> np.ndarray:
    """Jittering: several versions ``v + delta`` of each code; with moved codes, ``v + lambda n + delta``.

    delta ~ N(0, 1) x scale in every coordinate. HiGAN's scale is 1 in a w whose coordinates have a standard
    deviation near 1. In a layer where they vary less it drowns the face: give a share of the standard deviation of
    each coordinate over sampled codes (``cloud_spread``) instead. A version's delta depends on (seed, index, version)
    alone: a code moved by K strengths gets the same one in all K.

    Args:
        codes: float ``[N, ..., D]``.
        seed: any integer.
        indices: N numbers, one a code, by which it draws.
        num: versions of each, at least 1; the first few are the same whatever the number.
        scale: a number, or ``[D]``, one a coordinate; at least 0.
        stream: the name of the random numbers.

    Returns:
        float32 ``[N, num, ..., D]``.

    Raises:
        ValueError: for a negative or infinite scale, or where the shapes do not fit together.
    """
    codes, scale = np.asarray(codes, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    size = codes.shape[-1]
    if codes.ndim < 2 or len(indices) != len(codes) or num < 1 or scale.shape not in ((), (size,)):
        shapes = f"codes {list(codes.shape)}, {len(indices)} indices, {num} versions, scale {list(scale.shape)}"
        raise ValueError(f"{shapes}: expected [N, ..., D], N indices, at least 1 version, a number or [D]")
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise ValueError("a jitter's scale is negative or not finite: expected 0 or more")
    drawn = rng.normal(seed, stream, indices, (num, size)).numpy().astype(np.float64) * scale
    between = (1,) * (codes.ndim - 2)
    return (codes[:, None] + drawn.reshape(len(codes), num, *between, size)).astype(np.float32)


def cloud_spread(codes: ArrayLike) -> np.ndarray:
    """The standard deviation of each coordinate over sampled codes ``[N, D]``: float64 ``[D]``."""
    return np.asarray(codes, dtype=np.float64).std(axis=0)


# --- Movers: what the test does to codes. Straight directions and the closed loop are tested alike ---


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


def groups_of(space: FaceSpace, layer: Layer, codes: np.ndarray, medians: Mapping[str, float]) -> np.ndarray:
    """The groups ``[N]`` of faces by the scores of their unedited pictures; all one where there are no medians."""
    if not medians:
        return np.array([ALL] * len(codes))
    return group_names(space.score_codes(layer, codes), medians, space.property_names, tuple(medians))
