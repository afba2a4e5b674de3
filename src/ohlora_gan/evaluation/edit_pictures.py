"""Pictures of edits: strips, before and after, grids over two properties, jittered versions, frames."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.evaluation.labelled_grid import labelled_grid
from ohlora_gan.evaluation.report_words import plain

Bytes = NDArray[np.uint8]


def signed(value: float) -> str:
    """``+0.50``, with 0 as it is."""
    return f"{value + 0.0:+.2f}" if abs(value) >= 0.005 else "0"


def described(changes: Mapping[str, float], targets: str = "change") -> str:
    """``eyes +1.00, mouth -0.50``; of scores that faces are taken to, ``eyes to +1.00``."""
    to = "to " if targets == "score" else ""
    return ", ".join(f"{plain(name)} {to}{signed(value)}" for name, value in changes.items())


def property_strip(
    name: str,
    wanted: Sequence[float],
    images: Bytes,
    measured: NDArray[np.floating],
    held: NDArray[np.bool_],
    faces: Sequence[str],
    goal: float | None = None,
) -> Bytes:
    """Faces along one property, what was asked for above, what was measured below.

    Args:
        name: the property.
        wanted: changes in sigmas ``[K]``, 0 in the middle; with a ``goal`` shares of the way there.
        images: ``[N, K, H, W, 3]``.
        measured: changes in sigmas, ``[N, K]``.
        held: where the target was held at a limit, ``[N, K]``.
        faces: what to call the N faces.
        goal: the score that faces are taken to, where that was asked for.
    """
    middle = len(wanted) // 2
    shown = [signed(value) if goal is None else f"{value:+.0%}" for value in wanted]
    columns = [*shown[:middle], "the face", *shown[middle + 1 :]]
    captions = _measured(measured, held)
    for row in captions:
        row[middle] = ""
    title = f"{plain(name)}: change in score sigmas, asked for above, measured below each face"
    if goal is not None:
        title = f"{plain(name)} to {signed(goal)}: share of the way above, change in score sigmas below each face"
    return labelled_grid(images, faces, columns, title, captions)


def before_after(
    asked: str,
    changes: Sequence[str],
    shares: Sequence[float],
    images: Bytes,
    measured: Sequence[NDArray[np.floating]],
    held: Sequence[NDArray[np.bool_]],
    faces: Sequence[str],
) -> Bytes:
    """Faces on their way to a joint edit.

    Args:
        asked: what was asked for in full, in words.
        changes: the properties.
        shares: how much of it in each column ``[K]``, from 0 to 1.
        images: ``[N, K, H, W, 3]``.
        measured: the change of each property of ``changes``, ``[N, K]`` each.
        held: where its target was held at a limit, likewise.
        faces: what to call the N faces.
    """
    ends = {0.0: "before", 1.0: "after"}
    columns = [ends.get(share, f"{share:.0%}") for share in shares]
    each = zip(changes, measured, held, strict=True)
    parts = [_measured(got, stops, f"{plain(name)} ") for name, got, stops in each]
    captions = [["\n".join(texts) for texts in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]
    for row in captions:
        row[0] = ""
    return labelled_grid(images, faces, columns, f"asked for: {asked} (score sigmas)", captions)


def two_properties(
    names: Sequence[str],
    wanted: Sequence[NDArray[np.floating]],
    images: Bytes,
    measured: NDArray[np.floating],
    face: str,
) -> Bytes:
    """One face over two properties, the first down, the second across.

    Args:
        names: the two properties.
        wanted: changes of each, ``[R]`` and ``[C]``.
        images: ``[R, C, H, W, 3]``.
        measured: changes of both, ``[R, C, 2]``.
        face: what to call it.
    """
    down, across = (plain(name) for name in names)
    rows, columns = ([f"{name} {signed(v)}" for v in own] for name, own in zip((down, across), wanted, strict=True))
    captions = [[f"{signed(a)}, {signed(b)}" for a, b in row] for row in measured]
    return labelled_grid(images, rows, columns, f"{face}: {down} down, {across} across; below: measured", captions)


def jittered_versions(
    changes: Mapping[str, float], before: Bytes, edited: Bytes, versions: Bytes, faces: Sequence[str], how_far: str
) -> Bytes:
    """Each face before, edited, and edited with jitter: ``[N, H, W, 3]`` twice, and ``[N, J, H, W, 3]``."""
    images = np.concatenate([np.stack([before, edited], axis=1), versions], axis=1)
    columns = ["before", "edited", *(f"version {j + 1}" for j in range(versions.shape[1]))]
    return labelled_grid(images, faces, columns, f"{described(changes)}, jittered by {how_far}")


def frames(images: Bytes, titles: Sequence[str], rows: Sequence[str], columns: Sequence[str]) -> Bytes:
    """Frames ``[F, H, W, 3]`` of an animation: images ``[R, C, F, H, W, 3]`` side by side under a title a frame."""
    sheets = [labelled_grid(images[:, :, f], rows, columns, title) for f, title in enumerate(titles)]
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    return np.stack(padded)


def _measured(changes: NDArray[np.floating], held: NDArray[np.bool_], before: str = "") -> list[list[str]]:
    """``+0.97``, or ``+0.14 (limit)`` where a target was held back, ``[N][K]``."""
    return [
        [f"{before}{signed(v)}{' (limit)' * bool(stop)}" for v, stop in zip(*own, strict=True)]
        for own in zip(changes, held, strict=True)
    ]
