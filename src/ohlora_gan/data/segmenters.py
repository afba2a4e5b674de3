"""What makes a parse map of a photograph: the landmarks, a callable of the user's, or a folder of ready maps."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ohlora_gan.data.landmark_maps import measure_points
from ohlora_gan.data.landmarks import detector
from ohlora_gan.data.parse_codes import MAP_SIZE, MAX_CODE
from ohlora_gan.data.pictures import UnusablePictureError

Bytes = NDArray[np.uint8]
Labeller = Callable[[str, Bytes], tuple[dict[str, float], Bytes]]
"""Name and picture uint8 [H, W, 3] -> raw measures (none where the segmenter has none) and parse map [224, 224]."""

LANDMARKS = "landmarks"


def by_landmarks(name: str, image: Bytes) -> tuple[dict[str, float], Bytes]:
    """The labeller of the extra ``landmarks``."""
    points = detector().points(image)
    return measure_points(points), detector().parse_map(image, points)


def by_callable(place: str) -> Labeller:
    """The labeller that calls a segmenter of the user's.

    Args:
        place: ``MODULE:CALLABLE``; it takes RGB uint8 ``[H, W, 3]`` and returns the parse map uint8 ``[224, 224]``
            (codes in ``data.parse_codes``), or raises ``landmark_maps.NoFace`` or ``SeveralFaces``.

    Raises:
        ValueError: if there is no such callable.
    """
    module, _, attribute = place.partition(":")
    try:
        segment = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"--segmenter {place} cannot be imported ({error}): expected {LANDMARKS} or MODULE:CALLABLE"
        ) from error
    return lambda name, image: ({}, checked_map(segment(image), f"the map that {place} made of {name}"))


def by_folder(folder: Path, map_names: Mapping[str, str]) -> Labeller:
    """The labeller that reads ready parse maps, PNG files of class codes (grey or palette) with the pictures' stems."""
    if not folder.is_dir():
        raise ValueError(f"--maps {folder} is no folder: give one that holds parse maps such as NAME.png")

    def read(name: str, image: Bytes) -> tuple[dict[str, float], Bytes]:
        path = folder / map_names[name]
        if not path.exists():
            raise UnusablePictureError(f"no parse map {map_names[name]}")
        try:
            with Image.open(path) as picture:
                codes = np.asarray(picture if picture.mode in ("L", "P") else picture.convert("L"))
        except (OSError, SyntaxError) as error:
            raise UnusablePictureError(f"the parse map {path} cannot be read") from error
        square = ImageOps.fit(Image.fromarray(codes), (MAP_SIZE, MAP_SIZE), Image.Resampling.NEAREST)
        return {}, checked_map(np.asarray(square), f"the parse map {path}")

    return read


def checked_map(codes: object, what: str) -> Bytes:
    """A parse map as it is, or a ValueError."""
    if not isinstance(codes, np.ndarray) or codes.shape != (MAP_SIZE, MAP_SIZE) or codes.dtype != np.uint8:
        raise ValueError(f"{what} is no uint8 array [{MAP_SIZE}, {MAP_SIZE}]")
    if codes.max() > MAX_CODE:
        raise ValueError(f"{what} holds the code {codes.max()}, expected class codes from 0 to {MAX_CODE}")
    return codes
