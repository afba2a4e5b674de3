"""Draws edits of the shipped generator for README.md and docs/models.md: python docs/edit_sheets.py"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import ohlora_gan as og
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.zoo import open_filters, shipped_filters
from ohlora_gan.names import EDITED_PROPERTIES, REFERENCE, read_thresholds, within
from ohlora_gan.reports.pages import ping_pong, save_animation

IMAGES = Path(__file__).parent / "images"
REACH, SIDE, GAP = 1.8, 96, 8  # the ends of the edits in sigmas; pixels of a face, and between strips
TITLES = {"eyes": "eyes", "mouth": "mouth", "pose": "turn"}
Pictures = NDArray[np.uint8]


def good(gan: og.Gan, num: int) -> og.Faces:
    """The first faces of seed 0 that all shipped filters take."""
    filters, faces = open_filters(shipped_filters()), gan.sample(200, seed=0)
    images = from_uint8(torch.from_numpy(faces.images))
    with torch.no_grad():
        scores = Panel(filters)(images).numpy()
    passed = within(scores, tuple(filters), read_thresholds(REFERENCE, tuple(filters)))
    return faces[np.flatnonzero(passed)[:num]]


def walks(found: og.Directions, faces: og.Faces, prop: str, steps: int) -> Pictures:
    """uint8 ``[N, steps, R, R, 3]``, by the closed loop from one end of the edit to the other."""
    strengths = np.linspace(-REACH, REACH, steps)
    edited = [found.edit(faces, closed_loop=True, **{prop: value}).images for value in strengths]
    return np.stack(edited, axis=1)


def enlarged(picture: Pictures) -> Image.Image:
    return Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def strips(walked: dict[str, Pictures]) -> Image.Image:
    """A row a property, in it each face from end to end."""
    num, steps = next(iter(walked.values())).shape[:2]
    left = 64
    sheet = Image.new("RGB", (left + num * (steps * SIDE + GAP), len(walked) * (SIDE + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for row, (prop, faces) in enumerate(walked.items()):
        top = row * (SIDE + GAP)
        draw.text((4, top + SIDE // 2 - 10), TITLES[prop], fill="black", font=font)
        for n, face in enumerate(faces):
            for k, picture in enumerate(face):
                sheet.paste(enlarged(picture), (left + n * (steps * SIDE + GAP) + k * SIDE, top))
    return sheet


def sixty(found: og.Directions, faces: og.Faces, prop: str) -> Image.Image:
    """60 faces, each at one end, as it is and at the other end: five a row."""
    walked = walks(found, faces, prop, 3)
    side = walked.shape[2]
    sheet = Image.new("RGB", (5 * (3 * side + GAP), 12 * side), "white")
    for n, face in enumerate(walked):
        for k, picture in enumerate(face):
            sheet.paste(Image.fromarray(picture), (n % 5 * (3 * side + GAP) + k * side, n // 5 * side))
    return sheet


if __name__ == "__main__":
    gan = og.load("v9")
    found = gan.find("mean_jacobian", layer="z", n=4000)
    three = good(gan, 3)
    strips({prop: walks(found, three, prop, 5) for prop in EDITED_PROPERTIES}).save(IMAGES / "strips.png")
    moving = {prop: walks(found, three, prop, 15) for prop in EDITED_PROPERTIES}
    frames = [np.asarray(strips({prop: walk[:, [k]] for prop, walk in moving.items()})) for k in range(15)]
    save_animation(IMAGES / "edits.webp", ping_pong(np.stack(frames)), 12)
    for prop in EDITED_PROPERTIES:
        sixty(found, gan.sample(60, seed=1), prop).save(IMAGES / f"edits_{prop}.jpg", quality=88)
