"""The same faces moved by different methods, side by side: rows cut from the strips that runs have saved."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.evaluation import plots
from ohlora_gan.evaluation.leaderboard_data import Cell, largest
from ohlora_gan.evaluation.pictures import data_uri
from ohlora_gan.evaluation.report_numbers import strength, words
from ohlora_gan.evaluation.report_words import ends

MAX_FACES = 3
PAD = 2  # pixels between the faces of a saved strip
MAX_WIDTH = 900


def strips(cells: Sequence[Cell]) -> str:
    """For each property the same face moved by each way of finding at each layer, with its most samples.

    Runs whose strips are missing or cannot be cut are left out.
    """
    shown = list(largest(cells).values())
    properties = dict.fromkeys(name for cell in shown for name in cell.edited)
    return "".join(_of_property(name, shown) for name in properties)


def cut_rows(picture: NDArray[np.uint8], columns: int, pad: int = PAD) -> NDArray[np.uint8]:
    """The rows of a saved strip.

    Args:
        picture: uint8 ``[H, W, 3]`` of square faces, ``pad`` pixels between them.
        columns: faces a row.
        pad: pixels between faces.

    Returns:
        uint8 ``[rows, R, W, 3]``, R the side of a face.

    Raises:
        ValueError: if the picture is no such grid.
    """
    height, width = picture.shape[:2]
    side = (width + pad) // columns - pad
    if side < 1 or (width + pad) % columns or (height + pad) % (side + pad):
        raise ValueError(f"a picture of {width}x{height} pixels is no grid of {columns} square faces a row")
    return np.stack([picture[top : top + side] for top in range(0, height, side + pad)])


def _of_property(name: str, cells: Sequence[Cell]) -> str:
    found = {cell.folder: rows for cell in cells if (rows := _saved_rows(cell, name)) is not None}
    if not found:
        return ""
    cells = [cell for cell in cells if cell.folder in found]
    num_faces = min(MAX_FACES, *(len(rows) for rows in found.values()))
    body = "".join(_row(cell, name, found, face) for face in range(num_faces) for cell in cells)
    down, up = ends(name)
    reach = _reach(cells)
    low, high = (f", about {strength(sign * reach)} σ" if reach else "" for sign in (-1, 1))
    head = f"<span>{down}{low}</span><span>unedited</span><span>{up}{high}</span>"
    return f"""<article class="moves {plots.hue(name)}" data-faces="{num_faces}"><h3 class="dot">{words(name)}</h3>
<div class="scroll" role="region" tabindex="0" aria-label="{words(name)}: one face, all methods"><table>
<thead><tr><td></td><th scope="col"><div class="ends">{head}</div></th></tr></thead>
<tbody>
{body}</tbody></table></div></article>
"""


def _row(cell: Cell, name: str, found: Mapping[Path, NDArray[np.uint8]], face: int) -> str:
    """One face along the direction of one cell; all but the first face wait for the page's button."""
    picture = found[cell.folder][face]
    height, width = picture.shape[:2]
    source = data_uri(picture, size=min(MAX_WIDTH, width))
    alt = f"Face {face + 1} moved along the {name} direction of {cell.way} at {cell.layer}"
    label = f"{escape(cell.way)} <span>{words(cell.layer)}, {cell.n:,} samples</span>"
    hidden = " hidden" if face else ""
    return (
        f'<tr data-face="{face}"{hidden}><th scope="row">{label}</th>'
        f'<td><img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}"></td></tr>\n'
    )


def _saved_rows(cell: Cell, name: str) -> NDArray[np.uint8] | None:
    columns = cell.config.get("strips.steps")
    path = cell.folder / "strips" / f"strip_{name}.png"
    if not isinstance(columns, int) or not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            return cut_rows(np.asarray(picture.convert("RGB")), columns)
    except (OSError, ValueError):  # cut off, or of another make: the figures are shown without it
        return None


def _reach(cells: Sequence[Cell]) -> float | None:
    """How many sigmas the ends of the strips are away from the middle, where all agree."""
    values = {cell.config.get("strips.reach") for cell in cells}
    value = values.pop()
    return float(value) if not values and isinstance(value, (int, float)) else None
