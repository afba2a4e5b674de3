"""Property scores of parse maps: how open, long, dark or turned a face is, from what each pixel shows.

Two generations of the published system's algorithms (Oh-LoRA): ``v1`` labelled the images of its first fine-tuning,
``v2`` is the better one. Backdrop and hairstyle are the same in both.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.data import parse_colors as colors
from ohlora_gan.data import parse_shapes as shapes
from ohlora_gan.data.parse_codes import MAP_SIZE
from ohlora_gan.data.parse_shapes import Floats, Maps
from ohlora_gan.vocabulary import PROPERTIES

Generation = Literal["v1", "v2"]
Scores = dict[str, Floats]

CHUNK = 64
"""Maps that are measured at a time: some 30 MB, whatever their number."""


class MissingScoreWarning(UserWarning):
    """Some faces have no value (NaN) for some property."""


def score_maps(maps: Maps, images: NDArray[np.uint8] | None, generation: Generation = "v2") -> Scores:
    """Property scores of faces, not normalised; a face's scores depend on no other face.

    Args:
        maps: class codes (see ``data.parse_codes``), uint8 ``[N, 224, 224]``.
        images: the faces, RGB uint8 ``[N, 224, 224, 3]``; None leaves out what needs colours: hair_color,
            background_mean, background_std and hairstyle.
        generation: which algorithms score eyes, hair_color, hair_length, mouth and pose.

    Returns:
        float64 ``[N]`` a property, in ``vocabulary.PROPERTIES`` order. NaN where a face has no value: v1 hair_color
        and hair_length without hair, v1 pose of a nose that is missing or only a row or column, v2 pose of eyes
        exactly one above the other. All else has a value: v2 hair_color 127.5 and hair_length 0 without hair,
        hairstyle 0.45 without a patch of hair, mouth 0 without a mouth, eyes 0 without eyes, v2 pose 0 without both
        eyes, background (192, 0) without a backdrop. One ``MissingScoreWarning`` counts the NaNs.

    Raises:
        ValueError: for another shape, dtype or generation.
    """
    scores = score_chunks(maps, images, generation)
    warn_of_missing(scores)
    return scores


def score_chunks(maps: Maps, images: NDArray[np.uint8] | None, generation: Generation = "v2") -> Scores:
    """``score_maps`` without its warning, for callers that put many calls together."""
    _validate(maps, images, generation)
    parts = [
        _measure(maps[i : i + CHUNK], None if images is None else images[i : i + CHUNK], generation)
        for i in range(0, max(len(maps), 1), CHUNK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in PROPERTIES if name in parts[0]}


def warn_of_missing(scores: Mapping[str, Floats]) -> None:
    """One ``MissingScoreWarning`` that counts the faces without a value, property by property; none if all have one."""
    missing = {name: int(np.isnan(values).sum()) for name, values in scores.items()}
    counts = [f"{name} of {num}" for name, num in missing.items() if num]
    if counts:
        total = len(next(iter(scores.values())))
        message = f"no value (NaN) for {', '.join(counts)} of {total} faces: their maps lack what it is measured on"
        warnings.warn(message, MissingScoreWarning, stacklevel=3)


def _measure(maps: Maps, images: NDArray[np.uint8] | None, generation: Generation) -> Scores:
    scores: Scores = {}
    if generation == "v1":
        scores["eyes"], scores["pose"] = shapes.eyes_v1(maps), shapes.pose_v1(maps)
        scores["mouth"], scores["hair_length"] = shapes.mouth_v1(maps), shapes.hair_length_v1(maps)
    else:
        scores["eyes"], scores["pose"] = shapes.eyes_and_pose_v2(maps)
        scores["mouth"], scores["hair_length"] = shapes.mouth_v2(maps), shapes.hair_length_v2(maps)
    if images is not None:
        sums = colors.brightness_sums(images)
        hair_color: Callable = colors.hair_color_v1 if generation == "v1" else colors.hair_color_v2
        scores["hair_color"] = hair_color(maps, sums)
        scores["background_mean"], scores["background_std"] = colors.background(maps, sums)
        scores["hairstyle"] = colors.hairstyle(maps, sums)
    return scores


def _validate(maps: Maps, images: NDArray[np.uint8] | None, generation: str) -> None:
    if generation not in get_args(Generation):
        raise ValueError(f"generation is {generation!r}, expected v1 or v2")
    _validate_array("maps", maps, (MAP_SIZE, MAP_SIZE))
    if images is not None:
        _validate_array("images", images, (MAP_SIZE, MAP_SIZE, 3))
        if len(images) != len(maps):
            raise ValueError(f"{len(maps)} maps but {len(images)} images: give each map the image it belongs to")


def _validate_array(what: str, array: NDArray, shape: tuple[int, ...]) -> None:
    expected = f"uint8 [N, {', '.join(map(str, shape))}]"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{what} is a {type(array).__name__}, expected a numpy array, {expected}")
    if array.dtype != np.uint8:
        raise ValueError(f"{what} has dtype {array.dtype}, expected {expected}: convert with .astype(np.uint8)")
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        raise ValueError(f"{what} has shape {list(array.shape)}, expected {expected}: resize it first")
