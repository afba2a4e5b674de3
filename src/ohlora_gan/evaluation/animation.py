"""Moving pictures: frames as an animated GIF or WebP, the same bytes for the same frames."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.files import replacing

GIF_COLOURS = 256
SAMPLED_PIXELS = 1 << 18


def ping_pong(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """There and back again without a stop at either end: ``[F, ...]`` to ``[2F - 2, ...]`` (F at least 2)."""
    return np.concatenate([frames, frames[-2:0:-1]])


def save_animation(path: str | Path, frames: NDArray[np.uint8], fps: float = 15.0) -> Path:
    """Writes frames that repeat for ever, making the folder if needed.

    A GIF's frames share one palette, made of pixels of all of them, and are not dithered: colours of their own would
    make what stands still flicker.

    Args:
        path: ends in ``.gif`` or ``.webp``.
        frames: uint8 ``[F, H, W, 3]``; viewers may show equal neighbours as one longer frame.
        fps: frames a second, above 0 and at most 50, what viewers of GIFs keep up with. A GIF counts in hundredths
            of a second.

    Raises:
        ValueError: for another ending, no frames, or a rate out of range.
    """
    path = Path(path)
    if path.suffix not in (".gif", ".webp"):
        raise ValueError(f"an animation is a .gif or a .webp, got {path.name}")
    if len(frames) == 0 or not 0 < fps <= 50:
        raise ValueError(f"an animation of {len(frames)} frames, {fps:g} a second: expected 1 or more, at most 50")
    options: dict[str, Any]
    pictures = [Image.fromarray(frame) for frame in frames]
    if path.suffix == ".gif":
        palette = _shared_palette(frames)
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
        options = {"duration": max(2, round(100 / fps)) * 10, "optimize": False, "disposal": 1}
    else:
        options = {"duration": round(1000 / fps), "quality": 90, "method": 4}
    with replacing(path) as partial:
        kind = path.suffix[1:].upper()
        pictures[0].save(partial, kind, save_all=True, append_images=pictures[1:], loop=0, **options)
    return path


def _shared_palette(frames: NDArray[np.uint8]) -> Image.Image:
    """256 colours for all frames, as a picture that Pillow takes palettes from.

    A colour counts by the root of its pixels: else large even areas take all the colours, and small bright ones, which
    the eye goes to, turn grey.
    """
    pixels = frames.reshape(-1, 3)
    sampled = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), SAMPLED_PIXELS)).astype(np.int64)]
    colours, counts = np.unique(sampled & 0xFC, axis=0, return_counts=True)
    weighted = np.repeat(colours | 0x02, np.ceil(np.sqrt(counts)).astype(np.int64), axis=0)
    return Image.fromarray(weighted[None]).quantize(GIF_COLOURS, method=Image.Quantize.MEDIANCUT)
