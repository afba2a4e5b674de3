"""Sheets of faces beside their parse maps, for the eye to judge."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ohlora_gan.evaluation.pictures import grid

Bytes = NDArray[np.uint8]

TILE, STRIP = 112, 14
CLASSES = (
    ("background", (40, 40, 48)),
    ("skin", (236, 188, 156)),
    ("brows", (120, 80, 50)),
    ("brow or glasses", (150, 110, 80)),
    ("left eye", (60, 120, 255)),
    ("right eye", (0, 220, 220)),
    ("nose", (255, 160, 80)),
    ("upper lip", (220, 40, 60)),
    ("inner mouth", (90, 0, 20)),
    ("lower lip", (255, 100, 140)),
    ("hair", (110, 60, 160)),
    ("clothes, rest", (90, 150, 90)),
    ("neck", (200, 200, 100)),
)
"""Name and colour of each class code."""


def map_sheet(images: Sequence[Bytes], maps: Sequence[Bytes], captions: Sequence[str], columns: int = 5) -> Bytes:
    """Pictures, each with its colour-coded map on its right and a caption below, over a legend of the colours.

    Args:
        images: RGB, uint8 ``[H, W, 3]`` each; at least one.
        maps: their parse maps, uint8 ``[224, 224]`` each.
        captions: a short line for each.
        columns: pairs a row.

    Returns:
        RGB, uint8 ``[height, width, 3]``.
    """
    tiles = np.stack([_pair(*three) for three in zip(images, maps, captions, strict=True)])
    rows = grid(tiles, min(columns, len(tiles)), pad=4)
    legend = _legend(max(rows.shape[1], 4 * TILE))
    if rows.shape[1] < legend.shape[1]:
        rows = np.pad(rows, ((0, 0), (0, legend.shape[1] - rows.shape[1]), (0, 0)), constant_values=255)
    return np.concatenate([rows, legend])


def _pair(image: Bytes, codes: Bytes, caption: str) -> Bytes:
    colors = np.array([color for _, color in CLASSES], dtype=np.uint8)[codes]
    pair = Image.new("RGB", (2 * TILE, TILE + STRIP), "white")
    pair.paste(Image.fromarray(image).resize((TILE, TILE), Image.Resampling.LANCZOS), (0, 0))
    pair.paste(Image.fromarray(colors).resize((TILE, TILE), Image.Resampling.NEAREST), (TILE, 0))
    ImageDraw.Draw(pair).text((2, TILE + 1), caption, fill="black")
    return np.asarray(pair)


def _legend(width: int) -> Bytes:
    per_row = max(1, width // TILE)
    picture = Image.new("RGB", (width, STRIP * -(-len(CLASSES) // per_row) + 6), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, color) in enumerate(CLASSES):
        x, y = i % per_row * TILE, i // per_row * STRIP + 4
        draw.rectangle((x + 2, y, x + 12, y + 10), fill=color)
        draw.text((x + 16, y - 1), name, fill="black")
    return np.asarray(picture)
