"""Pictures made of faces: grids, strips, PNG files and data URIs."""

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.files import replacing


def grid(images: NDArray[np.uint8], columns: int, pad: int = 2) -> NDArray[np.uint8]:
    """Images uint8 ``[N, H, W, 3]`` row by row, with ``pad`` white pixels between them and none around.

    The last row may stay incomplete. Gives uint8 ``[rows*H + (rows-1)*pad, columns*W + (columns-1)*pad, 3]``.
    """
    num, height, width, channels = images.shape
    if num == 0 or columns < 1:
        raise ValueError(f"a grid needs an image and a column, got {num} images and {columns} columns")
    rows = -(-num // columns)
    shape = (rows * (height + pad) - pad, columns * (width + pad) - pad, channels)
    canvas = np.full(shape, 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + pad), i % columns * (width + pad)
        canvas[top : top + height, left : left + width] = image
    return canvas


def save_png(path: str | Path, array: NDArray[np.uint8]) -> Path:
    """Write a uint8 ``[H, W, 3]`` picture, making its folder if needed."""
    with replacing(path) as partial:
        Image.fromarray(array).save(partial, format="PNG", optimize=True)
    return Path(path)


def data_uri(array: NDArray[np.uint8], size: int) -> str:
    """A picture uint8 ``[H, W, 3]`` as the text of an ``img`` element's ``src``, its longer side of ``size`` pixels."""
    image = Image.fromarray(array)
    if size != max(image.size):
        scale = size / max(image.size)
        shape = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(shape, Image.Resampling.LANCZOS)
    return f"data:image/webp;base64,{base64.b64encode(encoded(image, 'webp')).decode()}"


def encoded(picture: NDArray[np.uint8] | Image.Image, format: str = "png") -> bytes:
    """A picture, uint8 ``[H, W, 3]`` or Pillow's, as the bytes of a file: ``png`` or ``webp``."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    image.save(buffer, format=format.upper(), quality=88)
    return buffer.getvalue()
