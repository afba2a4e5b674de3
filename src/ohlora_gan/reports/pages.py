"""Pages in one file each (Jinja2 templates), the words and numbers on them, and pictures of faces with words."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from ohlora_gan.files import data_uri, grid, replacing, save_png, write_text
from ohlora_gan.names import PROPERTIES


def write_page(path: str | Path, template: str, **content: Any) -> Path:
    """Writes a page, which needs no other file and no network: a template of ``reports/templates`` with the content it
    asks for by name, escaped where it makes HTML; returns its path."""
    return write_text(path, _environment().get_template(template).render(content))


@cache
def _environment() -> Environment:
    """Where templates lie, with the functions below as filters and as functions."""
    environment = Environment(
        loader=PackageLoader("ohlora_gan.reports"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    words = (plain, effect, ends, listed, number, share, said, strength, hue, ident, url, data_uri)
    for group in (environment.filters, environment.globals):
        group.update({word.__name__: word for word in words})
    return environment


class Phrases(NamedTuple):
    """How pages speak of a property."""

    action: str  # what a direction does: "open the eyes"
    effect: str  # what happens along it: "the eyes open"
    ends: tuple[str, str]  # what it is called against and along the direction


KNOWN = {
    "eyes": Phrases("open the eyes", "the eyes open", ("closing", "opening")),
    "mouth": Phrases("open the mouth", "the mouth opens", ("closing", "opening")),
    "pose": Phrases("turn the head", "the head turns", ("to the left", "to the right")),
}
"""Properties with words and a colour of their own; all others have more or less of something."""


def plain(name: str) -> str:
    """A property's name in words: ``hair color``."""
    return name.replace("_", " ")


def action(name: str) -> str:
    """What a property's direction does, as a command."""
    return KNOWN[name].action if name in KNOWN else f"change {plain(name)}"


def effect(name: str) -> str:
    """What happens to a face along a property's direction."""
    return KNOWN[name].effect if name in KNOWN else f"{plain(name)} rises"


def ends(name: str) -> tuple[str, str]:
    """What a property does against and along its direction."""
    return KNOWN[name].ends if name in KNOWN else ("less", "more")


def hue(name: str) -> str:
    """The theme colour of a property; every plot and table uses the same one."""
    return name if name in KNOWN else "accent"


def ident(name: str) -> str:
    """A name as part of an element's id."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).lower()


def url(path: str) -> str:
    """A relative path as a link: a folder's name says no scheme (``javascript:``), no query and no place in a page."""
    return quote(path)


def listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A number with a true minus sign and no negative zero; a dash for None and NaN, what was not measured."""
    if value is None or not isfinite(value):
        return DASH
    value = round(value, digits) + 0.0
    text = f"{value:+.{digits}f}" if signed and value else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def share(value: float | None) -> str:
    """``95 %``, with a decimal where it is close to 0 or 1; a dash for what was not measured."""
    if value is None or not isfinite(value):
        return DASH
    return f"{100 * value:.0f} %" if 0.1 <= value <= 0.9 or value in (0, 1) else f"{100 * value:.1f} %"


def strength(value: float) -> str:
    """A strength without trailing zeros: ``+1.8``, ``0``."""
    value = round(float(value), 6)
    return f"{value:+g}".replace("-", MINUS) if value else "0"


def said(value: Sequence[float | None] | None, say: Callable[[float], str] = number) -> tuple[str, str]:
    """A figure ``(value, low, high)`` in words: ``2.93`` and ``2.90 to 2.95``; the second is empty where unknown."""
    mean, low, high = (nan if x is None else x for x in value or (None,) * 3)
    interval = f"{say(low).removesuffix(' %')} to {say(high).removesuffix(' %')}"
    return say(mean), interval if isfinite(mean + low + high) else ""


# --- Pictures of faces with words: grids, sheets of parse maps, animations, strips ---


@dataclass
class Strip:
    """Faces moved along the direction of one property: a row a face, a column a strength."""

    property: str  # the property whose direction was followed
    # ``[K]``, how far each column was moved, ascending; the one nearest to 0 is the unedited face
    strengths: NDArray[np.floating]
    images: NDArray[np.uint8]  # uint8 ``[rows, K, H, W, 3]``
    scores: NDArray[np.floating]  # ``[rows, K]``, the measured score of ``property`` in sigmas; NaN where there is none
    other_scores: NDArray[np.floating] | None = None  # ``[rows, K, P]``, the measured scores of all properties
    labels: Sequence[str] = ()  # a name a row, such as the group of the face; numbers where empty
    score_names: Sequence[str] = PROPERTIES  # what the P columns of ``other_scores`` are
    center: int = field(init=False)  # the column of the unedited face, set from ``strengths``

    def __post_init__(self) -> None:
        self.strengths, self.scores = np.asarray(self.strengths, float), np.asarray(self.scores, float)
        rows, columns = self.images.shape[:2]
        if self.strengths.shape != (columns,) or self.scores.shape != (rows, columns):
            raise ValueError(
                f"strip of {self.property}: images {self.images.shape} need {columns} strengths and scores "
                f"[{rows}, {columns}], got {self.strengths.shape} and {self.scores.shape}"
            )
        self.center = int(np.argmin(np.abs(self.strengths)))
        self.labels = list(self.labels) or [f"face {row + 1}" for row in range(rows)]
        if len(self.labels) != rows:
            raise ValueError(f"strip of {self.property}: {rows} rows of images, {len(self.labels)} labels")

    def side_effect(self) -> tuple[str, float] | None:
        """The other property that moves most along the strip, and its slope; None where none was measured."""
        if self.other_scores is None:
            return None
        slopes = [line_fit(self.strengths, scores)[1] for scores in np.moveaxis(self.other_scores, -1, 0)]
        pairs = zip(self.score_names, slopes, strict=True)
        others = [(name, slope) for name, slope in pairs if name != self.property and isfinite(slope)]
        return max(others, key=lambda pair: abs(pair[1]), default=None)


def line_fit(strengths: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """(correlation, slope) of scores ``[..., K]`` over strengths ``[K]``, each the mean over all rows. Scores that are
    NaN do not count; a row without a correlation or a slope does not either."""
    y = np.ma.masked_invalid(np.asarray(scores, float).reshape(-1, np.size(strengths)))
    x = np.ma.array(np.broadcast_to(np.asarray(strengths, float), y.shape), mask=y.mask)
    dx, dy = (values - values.mean(axis=1, keepdims=True) for values in (x, y))
    xx, yy, xy = ((one * other).sum(axis=1) for one, other in ((dx, dx), (dy, dy), (dx, dy)))
    means = (xy / np.ma.sqrt(xx * yy)).mean(), (xy / xx).mean()  # of what is not masked, as a division by 0 is
    correlation, slope = (float(np.ma.filled(mean, nan)) for mean in means)
    return correlation, slope


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
