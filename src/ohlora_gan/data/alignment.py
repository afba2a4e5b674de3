"""A face in a photograph: found, cut out as a generator has its faces, and pasted back.

Where landmarks are installed, eyes and mouth are brought to where they lie in the generator's own pictures, by a
rotation, a shift and one scale. Else the largest central square is taken.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.data.landmarks import EYE_A, EYE_B, LIP_CORNERS, NoFace, SeveralFaces, detector
from ohlora_gan.data.pictures import UnusablePictureError, decode
from ohlora_gan.errors import UserError

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Crop = Literal["auto", "landmarks", "center", "none"]

MIN_SIDE = 16
LARGEST = 4096  # pixels a side; larger photographs are made smaller
EDGE = 0.08  # share of a cut's side over which what is pasted back fades out
NUM_LOOKED_AT, LEAST_FOUND = 24, 8
"""Faces of a generator by which its layout is told, and of those so many with landmarks at least."""


def has_landmarks() -> bool:
    """Whether the extra ``landmarks`` is installed."""
    return find_spec("mediapipe") is not None


def read_photo(source: str | Path | bytes | Image.Image | Bytes) -> Bytes:
    """RGB uint8 ``[H, W, 3]``, upright, of a file, its bytes, a Pillow image or an array of bytes.

    Raises:
        UserError: where it cannot be read, or is too small.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            shape = f"{source.dtype} {list(source.shape)}"
            raise UserError(f"the picture is {shape}, expected uint8 [H, W, 3] with colours in RGB")
        return source
    if isinstance(source, Image.Image):
        buffer = BytesIO()
        source.save(buffer, "png")
        source = buffer.getvalue()
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        image = decode(BytesIO(source if isinstance(source, bytes) else Path(source).read_bytes()), MIN_SIDE)
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}): give a picture such as photo.jpg") from error
    except UnusablePictureError as error:
        raise UserError(f"{name} cannot be used: {error}; give a picture such as photo.jpg or photo.png") from error
    image.thumbnail((LARGEST, LARGEST))
    return np.asarray(image)


@dataclass(frozen=True)
class Cut:
    """A square of a photograph that shows a face.

    Attributes:
        photo: uint8 ``[H, W, 3]``.
        place: ``[2, 3]``, which takes x, y and 1 of the square, from 0 to 1, to pixels of the photograph.
        how: ``landmarks``, ``center`` or ``none``.
    """

    photo: Bytes
    place: Floats
    how: str

    def picture(self, side: int) -> Bytes:
        """The square, uint8 ``[side, side, 3]``; what lies beyond the photograph repeats its edge."""
        height, width = self.photo.shape[:2]
        corners = self.place @ np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], dtype=float)
        beyond = max(0.0, -corners.min(), (corners[0] - width).max(), (corners[1] - height).max())
        border = min(math.ceil(beyond), 2 * max(height, width))
        padded = Image.fromarray(np.pad(self.photo, ((border, border), (border, border), (0, 0)), mode="edge"))
        scale = np.linalg.norm(self.place[:, :2], axis=0).max() / side  # pixels of the photograph a pixel of the square
        fine = side * min(max(math.ceil(scale), 1), max(1, LARGEST // side))  # then made smaller without aliasing
        data = np.hstack([self.place[:, :2] / fine, self.place[:, 2:] + border])
        square = padded.transform((fine, fine), Image.Transform.AFFINE, data.ravel().tolist(), Image.Resampling.BICUBIC)
        return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))

    def pasted(self, change: NDArray[Any]) -> Bytes:
        """The photograph with a change ``[R, R, 3]`` of the square's pixels, from -255 to 255, added to it.

        What the generator could not make again so stays as it was.
        """
        height, width = self.photo.shape[:2]
        side = len(change)
        ramp = np.clip((np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / (EDGE * side), 0, 1)
        faded = np.asarray(change, dtype=np.float32) * np.minimum.outer(ramp, ramp)[..., None].astype(np.float32)
        back = np.linalg.inv(np.vstack([self.place, [0, 0, 1]]))[:2] * side
        added = [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(faded[..., c])).transform(
                    (width, height), Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BICUBIC
                )
            )
            for c in range(3)
        ]
        return np.clip(np.rint(self.photo + np.stack(added, axis=-1)), 0, 255).astype(np.uint8)


def cut(photo: Bytes, crop: Crop, layout: Callable[[], Floats | None]) -> tuple[Cut, str]:
    """The square of a photograph that shows the face, and a sentence where it is not the best there could be.

    Args:
        photo: uint8 ``[H, W, 3]``.
        crop: ``landmarks``: by eyes and mouth; ``center``: the largest central square; ``none``: all of it, squeezed
            to a square; ``auto``: by landmarks where they are installed and found, else ``center``.
        layout: where eyes and mouth lie in the generator's pictures, see `layout_of`.

    Raises:
        UserError: where landmarks are asked for and there are none, or there are several faces.
    """
    if crop == "landmarks" or (crop == "auto" and has_landmarks()):
        try:
            points = points_of(photo)
        except SeveralFaces as error:
            raise UserError("the photograph shows several faces: cut it to one, or give --crop center") from error
        except NoFace as error:
            if crop == "landmarks":
                raise UserError("no face is found in the photograph: cut it out, and give --crop center") from error
            return center(photo), "no face is found in the photograph: its central square is taken"
        if (there := layout()) is not None:
            return Cut(photo, similarity(there, points), "landmarks"), ""
        if crop == "landmarks":
            raise UserError(
                "no faces are found in the generator's own pictures, so nothing can be aligned to them: "
                "cut the photograph as they are, and give --crop center"
            )
        return center(photo), "no faces are found in the generator's own pictures: the central square is taken"
    if crop == "none":
        height, width = photo.shape[:2]
        return Cut(photo, np.array([[width, 0, 0], [0, height, 0]], dtype=float), "none"), ""
    said = "landmarks are not installed (pip install 'ohlora-gan[landmarks]'): the central square is taken"
    return center(photo), said if crop == "auto" else ""


def center(photo: Bytes) -> Cut:
    """The largest central square."""
    height, width = photo.shape[:2]
    side = min(height, width)
    return Cut(photo, np.array([[side, 0, (width - side) / 2], [0, side, (height - side) / 2]], dtype=float), "center")


def points_of(photo: Bytes) -> Floats:
    """Centres of the eyes and corners of the mouth in pixels, ``[4, 2]``; NoFace or SeveralFaces."""
    marks = detector().points(photo)
    return np.stack([marks[list(EYE_A)].mean(0), marks[list(EYE_B)].mean(0), *marks[list(LIP_CORNERS)]])[:, :2]


def layout_of(images: Bytes) -> Floats | None:
    """Where eyes and mouth lie on an average in pictures ``[N, R, R, 3]``, from 0 to 1, ``[4, 2]``; None where faces
    are found in few of them."""
    found = []
    for image in images:
        with suppress(NoFace, SeveralFaces):
            found.append(points_of(image) / len(image))
    return np.mean(found, axis=0) if len(found) >= LEAST_FOUND else None


def similarity(source: Floats, target: Floats) -> Floats:
    """The rotation, scale and shift ``[2, 3]`` that takes eyes and mouth ``[4, 2]`` to others.

    The middle between eyes and mouth comes to the other one. The scale is that of the distance from eyes to mouth,
    which a turned head leaves as it is, unlike that between the eyes; both say the rotation (Karras et al. 2018,
    section C).
    """
    (x, across, down), (y, new_across, new_down) = frame(source), frame(target)
    turn = new_across / across * abs(across) + new_down / down * abs(down)
    turn *= abs(new_down / down) / abs(turn)
    shift = y - turn * x
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def frame(points: Floats) -> tuple[complex, complex, complex]:
    """The middle between eyes and mouth ``[4, 2]``, the way from eye to eye, and that from eyes to mouth."""
    left, right, one, other = (complex(x, y) for x, y in points)
    eyes, mouth = (left + right) / 2, (one + other) / 2
    return (eyes + mouth) / 2, right - left, mouth - eyes
