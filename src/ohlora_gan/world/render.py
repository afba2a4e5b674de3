"""Pictures and parse maps of the embedded world's faces, at any size from 32 to 512 pixels.

The world stands in for a set of photographs, aligned to the face as such sets are: the crops of the attribute networks
fall on eyes, mouth, nose, hair and backdrop. As everything about a face is known, all that is read off its picture can
be checked against the truth.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ohlora_gan.world import colors, face
from ohlora_gan.world.canvas import Canvas, Renderer
from ohlora_gan.world.face import FaceAttributes
from ohlora_gan.world.head import View
from ohlora_gan.world.painter import FacePainter


def _paint(attributes: FaceAttributes, size: int, picture: Image.Image | None, codes: Image.Image | None) -> None:
    view = View.of(attributes)
    canvas = Canvas(size, picture, codes, view, 2 * attributes.light_warmth - 1)
    FacePainter(canvas, attributes, view).paint()


_GRID = 32
_Y, _X = np.mgrid[0:_GRID, 0:_GRID] / (_GRID - 1.0)
_BESIDE = (_Y < 0.5) & ((np.abs(_X - 0.5) > 0.3) | (_Y < 0.1))  # the upper half beside a typical head


def _backdrop(attributes: FaceAttributes, size: int) -> Image.Image:
    """A wall with a soft light, whose brightness has the asked mean and deviation in the upper half."""
    across = _X - 0.5 - 0.55 * attributes.background_x
    down = _Y - 0.35 - 0.45 * attributes.background_y
    pattern = np.exp(-(across * across + 0.8 * down * down) * 3.2)
    beside = pattern[_BESIDE]
    mean = beside.sum() / len(beside)
    pattern = np.clip((pattern - mean) / beside.std(), -1.7, 1.9)
    deviation = 7 + 27 * attributes.background_std  # never flat: no generator paints an even wall
    brightness = 72 + 120 * attributes.background_mean + deviation * pattern
    tint = colors.ramp(colors.BACKDROP, attributes.background_hue)
    wall = np.clip(brightness[..., None] + tint, 0, 255).astype(np.uint8)
    return Image.fromarray(wall).resize((size, size), Image.Resampling.BICUBIC)


_RENDERER = Renderer(face.check, _backdrop, _paint)
render, parse_map = _RENDERER.render, _RENDERER.parse_map
render_with_parse_map = _RENDERER.render_with_parse_map
