"""Pictures of faces with words: grids, sheets of parse maps, animations, strips."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ohlora_gan.files import grid, replacing, save_png
from ohlora_gan.reports.report import Strip

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
    flat = images.reshape(-1, height, width, 3)
    large = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in flat]
    return np.stack(large).reshape(*images.shape[:-3], size[1], size[0], 3)


def labelled_grid(
    images: Bytes,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    captions: Sequence[Sequence[str]] | None = None,
) -> Bytes:
    """A grid of faces uint8 ``[R, C, H, W, 3]``, enlarged where small, with words before rows and above columns, a
    title above all, and captions ``[R][C]`` of one line or more below: RGB uint8 ``[height, width, 3]``."""
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


TILE, STRIP, PAIRS = 112, 14, 5
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


def map_sheet(images: Sequence[Bytes], maps: Sequence[Bytes], captions: Sequence[str]) -> Bytes:
    """Pictures, uint8 ``[H, W, 3]`` each, at least one: each with its colour-coded parse map, uint8
    ``[224, 224]``, on its right and a caption below, over a legend of the colours; RGB uint8 ``[height, width, 3]``."""
    tiles = np.stack([_pair(*three) for three in zip(images, maps, captions, strict=True)])
    rows = grid(tiles, min(PAIRS, len(tiles)), pad=4)
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


GIF_COLOURS = 256
SAMPLED_PIXELS = 1 << 18


def ping_pong(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """There and back again without a stop at either end: ``[F, ...]`` to ``[2F - 2, ...]`` (F at least 2)."""
    return np.concatenate([frames, frames[-2:0:-1]])


def save_animation(path: str | Path, frames: NDArray[np.uint8], fps: float = 15.0) -> Path:
    """Writes frames uint8 ``[F, H, W, 3]`` that repeat for ever to a ``.gif`` or ``.webp``.

    A GIF's frames share one palette, made of pixels of all of them, and are not dithered: colours of their own would
    make what stands still flicker. It counts in hundredths of a second; viewers keep up with 50 frames a second.

    Raises:
        ValueError: for another ending, no frames, or a rate out of range.
    """
    path = Path(path)
    if path.suffix not in (".gif", ".webp"):
        raise ValueError(f"an animation is a .gif or a .webp, got {path.name}")
    if len(frames) == 0 or not 0 < fps <= 50:
        raise ValueError(f"an animation of {len(frames)} frames, {fps:g} a second: expected 1 or more, at most 50")
    pictures = [Image.fromarray(frame) for frame in frames]
    if path.suffix == ".gif":
        palette = _shared_palette(frames)
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
        options: dict[str, Any] = {"duration": max(2, round(100 / fps)) * 10, "optimize": False, "disposal": 1}
    else:
        options = {"duration": round(1000 / fps), "quality": 90, "method": 4}
    with replacing(path) as partial:
        kind = path.suffix[1:].upper()
        pictures[0].save(partial, kind, save_all=True, append_images=pictures[1:], loop=0, **options)
    return path


def _shared_palette(frames: NDArray[np.uint8]) -> Image.Image:
    """256 colours for all frames, as a picture that Pillow takes palettes from. A colour counts by the root of its
    pixels: else large even areas take all the colours, and small bright ones, which the eye goes to, turn grey."""
    pixels = frames.reshape(-1, 3)
    sampled = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), SAMPLED_PIXELS)).astype(np.int64)]
    colours, counts = np.unique(sampled & 0xFC, axis=0, return_counts=True)
    weighted = np.repeat(colours | 0x02, np.ceil(np.sqrt(counts)).astype(np.int64), axis=0)
    return Image.fromarray(weighted[None]).quantize(GIF_COLOURS, method=Image.Quantize.MEDIANCUT)


def save_strips(folder: str | Path, strips: Iterable[Strip]) -> list[Path]:
    """Writes each strip as ``strip_{property}.png`` (a row a face, a column a strength)."""
    paths = []
    for item in strips:
        picture = grid(np.concatenate(item.images), columns=item.images.shape[1])
        paths.append(save_png(Path(folder) / f"strip_{item.property}.png", picture))
    return paths
