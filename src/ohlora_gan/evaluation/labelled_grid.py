"""Grids of faces that explain themselves: words above columns, before rows and below faces."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Bytes = NDArray[np.uint8]

SHOWN = 128  # smaller faces are enlarged to about so many pixels
GAP, MARGIN, TEXT, SMALL = 3, 8, 15, 12
INK, FAINT = (20, 20, 20), (110, 110, 110)


def enlarged(images: Bytes, shown: int = SHOWN) -> Bytes:
    """Images ``[..., H, W, 3]`` enlarged by the whole factor that brings their height nearest below ``shown``."""
    height, width = images.shape[-3:-1]
    factor = max(1, shown // height)
    if factor == 1:
        return images
    size = (width * factor, height * factor)
    flat = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in _flat(images)]
    return np.stack(flat).reshape(*images.shape[:-3], size[1], size[0], 3)


def labelled_grid(
    images: Bytes,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    captions: Sequence[Sequence[str]] | None = None,
) -> Bytes:
    """A grid of faces with its words.

    Args:
        images: uint8 ``[R, C, H, W, 3]``, small faces are enlarged (``enlarged``).
        rows: R words, left of each row.
        columns: C words, above each column.
        title: a line above all.
        captions: a short text below each face, ``[R][C]``; lines are split by ``\\n``.

    Returns:
        RGB, uint8 ``[height, width, 3]``.

    Raises:
        ValueError: where words and images do not have the same number.
    """
    if images.ndim != 5 or images.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"images {list(images.shape)}, {len(rows)} rows, {len(columns)} columns of words: do not fit")
    faces, font, small = enlarged(images), ImageFont.load_default(TEXT), ImageFont.load_default(SMALL)
    height, width = faces.shape[2:4]
    lines = max((text.count("\n") + 1 for row in captions or () for text in row), default=0)
    left = MARGIN + round(max(font.getlength(text) for text in rows)) + MARGIN
    top = MARGIN + (TEXT + 8 if title else 0) + TEXT + 6
    step_y, step_x = height + GAP + lines * (SMALL + 3), width + GAP
    wide = max(left + len(columns) * step_x, round(2 * MARGIN + font.getlength(title)))
    sheet = Image.new("RGB", (wide, top + len(rows) * step_y + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for c, text in enumerate(columns):
        draw.text((left + c * step_x + width // 2, top - 4), text, INK, font, anchor="mb")
    for r, text in enumerate(rows):
        y = top + r * step_y
        draw.text((left - MARGIN, y + height // 2), text, INK, font, anchor="rm")
        for c in range(len(columns)):
            x = left + c * step_x
            sheet.paste(Image.fromarray(faces[r, c]), (x, y))
            if captions:
                place = (x + width // 2, y + height + 2)
                draw.multiline_text(place, captions[r][c], FAINT, small, anchor="ma", align="center", spacing=2)
    return np.asarray(sheet)


def _flat(images: Bytes) -> Bytes:
    return images.reshape(-1, *images.shape[-3:])
