"""Draws the embedded world's sheets for docs/models.md: python docs/world_sheets.py"""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ohlora_gan.world.face import SPREADS, FaceAttributes, sample_attributes
from ohlora_gan.world.painter import render

IMAGES = Path(__file__).parent / "images"


def sheet(size: int, columns: int, num: int = 60) -> Image.Image:
    """The first faces of seed 0, none left out."""
    rows = -(-num // columns)
    pixels = np.zeros((rows * size, columns * size, 3), np.uint8)
    for index in range(num):
        top, left = index // columns * size, index % columns * size
        pixels[top : top + size, left : left + size] = render(sample_attributes(0, index), size)
    return Image.fromarray(pixels)


def strips(faces: list[tuple[str, FaceAttributes]], size: int, steps: int = 9, margin: int = 110) -> Image.Image:
    """A row an attribute, from its lowest value to its highest; nothing else changes."""
    picture = Image.new("RGB", (margin + steps * size, len(faces) * size), "white")
    draw = ImageDraw.Draw(picture)
    for row, (name, face) in enumerate(faces):
        draw.text((4, row * size + size // 2 - 6), name, fill="black")
        for step in range(steps):
            low, high, _ = SPREADS[name]
            changed = dataclasses.replace(face, **{name: low + (high - low) * step / (steps - 1)})
            picture.paste(Image.fromarray(render(changed, size)), (margin + step * size, row * size))
    return picture


def clean(index: int, gender: int) -> FaceAttributes:
    return dataclasses.replace(sample_attributes(21, index), quality=1, glass=0, age=0, gender=gender)


if __name__ == "__main__":
    sheet(256, 10).save(IMAGES / "world_256.jpg", quality=82)
    sheet(64, 15).save(IMAGES / "world_64.png")
    strips([("pose", clean(index, index % 2)) for index in range(4)], 144).save(IMAGES / "world_pose.jpg", quality=85)
    every = [(name, clean(row + 2, 1 - row % 2)) for row, name in enumerate(SPREADS)]
    strips(every, 96).save(IMAGES / "world_strips.jpg", quality=82)
