"""Landmarks and person masks of photographs, by MediaPipe's face mesh and selfie segmentation (extra ``landmarks``).

Both models come inside MediaPipe's wheel: nothing is downloaded. MediaPipe is imported when a detector is made.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.data.landmark_maps import MEASURES, NoFace, SeveralFaces, draw_map, mean_with_mirror, measure_points

Bytes = NDArray[np.uint8]

METHOD = "mean with mirror image"
"""How landmarks come about: a folder of labels keeps it, so that no later run adds labels of another kind."""
MIN_SIDE = 256
"""Smaller pictures are enlarged to this before detection."""
BORDER = 0.25
"""Share of the shorter side added around a picture as a grey border, for faces that fill it. Of 300 CelebA pictures at
64x64 the mesh finds 298 with it and 296 without."""


class LandmarkDetector:
    """Finds faces; what it finds in a picture depends on no other picture.

    Raises:
        ValueError: if MediaPipe is not installed.
    """

    def __init__(self) -> None:
        with _without_startup_messages():
            solutions = _mediapipe().solutions
            self._mesh = solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=2, refine_landmarks=True)
            self._segmentation = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
            blank = np.zeros((MIN_SIDE, MIN_SIDE, 3), dtype=np.uint8)
            self._mesh.process(blank), self._segmentation.process(blank)  # the models load at their first picture

    def points(self, image: Bytes) -> NDArray[np.float64]:
        """Landmarks of the picture's only face, a mean over the picture and its mirror image where that shows it too.

        The mean is steadier: on 149 photographs the mouth's score correlated .95 between a picture and its mirror image
        (the eyes' .84), and .99 (.95) between such means of the plain and of a slightly smaller picture.

        Args:
            image: RGB, uint8 ``[H, W, 3]``, of any size (64x64 is enough).

        Returns:
            x and y in pixels of ``image`` (beyond its edges where the face is cut off), float64 ``[478, 2]``.

        Raises:
            NoFace, SeveralFaces: if there is not exactly one.
            ValueError: for another shape or dtype.
        """
        faces = self._faces(image)
        if not faces:
            raise NoFace
        if len(faces) > 1:
            raise SeveralFaces
        again = self._faces(image[:, ::-1])
        return mean_with_mirror(faces[0], again[0], image.shape[1]) if len(again) == 1 else faces[0]

    def _faces(self, image: Bytes) -> list[NDArray[np.float64]]:
        """Landmarks ``[478, 2]`` in pixels of ``image`` of the faces in it, of two at most."""
        large = _enlarged(image)
        border = round(BORDER * min(large.shape[:2]))
        padded = np.pad(large, ((border, border), (border, border), (0, 0)), constant_values=128)
        size, scale = padded.shape[1::-1], np.array(image.shape[1::-1]) / large.shape[1::-1]
        found = self._mesh.process(padded).multi_face_landmarks or []
        return [(np.array([(mark.x, mark.y) for mark in face.landmark]) * size - border) * scale for face in found]

    def person(self, image: Bytes) -> NDArray[np.float32]:
        """How surely each pixel of an RGB image uint8 ``[H, W, 3]`` belongs to a person: 0 to 1, ``[H, W]``."""
        mask = np.array(self._segmentation.process(_enlarged(image)).segmentation_mask, dtype=np.float32)
        size = (image.shape[1], image.shape[0])
        return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR))

    def parse_map(self, image: Bytes, points: NDArray[np.float64]) -> Bytes:
        """The parse map uint8 ``[224, 224]`` of a picture whose landmarks are known, see ``landmark_maps.draw_map``."""
        return draw_map(points, self.person(image), image)


@lru_cache(maxsize=1)
def detector() -> LandmarkDetector:
    """The process's detector: it takes a second to load."""
    return LandmarkDetector()


def segment(image: Bytes) -> Bytes:
    """A segmenter: image uint8 ``[H, W, 3]`` to parse map uint8 ``[224, 224]``; raises NoFace or SeveralFaces."""
    return detector().parse_map(image, detector().points(image))


def measure(images: Bytes) -> dict[str, NDArray]:
    """Raw measures of faces, as a judge that knows nothing of this project's networks.

    Args:
        images: RGB, uint8 ``[N, H, W, 3]``; 64x64 pixels are enough.

    Returns:
        ``found``: bool ``[N]``, whether a picture holds exactly one face; and float64 ``[N]`` by the names of
        ``landmark_maps.MEASURES`` (eye_aspect, mouth_opening, tilt, turn), NaN where none is found.

    Raises:
        ValueError: for another shape or dtype, or if MediaPipe is not installed.
    """
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        raise ValueError(f"images are {_described(images)}, expected uint8 [N, H, W, 3]")
    results: dict[str, NDArray] = {name: np.full(len(images), np.nan) for name in MEASURES}
    for i, image in enumerate(images):
        try:
            measures = measure_points(detector().points(image))
        except (NoFace, SeveralFaces):
            continue
        for name, value in measures.items():
            results[name][i] = value
    return {"found": np.isfinite(results[MEASURES[0]]), **results}


def _enlarged(image: Bytes) -> Bytes:
    """An image whose shorter side has at least ``MIN_SIDE`` pixels."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {_described(image)}, expected uint8 [H, W, 3]")
    scale = MIN_SIDE / min(image.shape[:2])
    if scale <= 1:
        return np.ascontiguousarray(image)
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _described(array: object) -> str:
    return f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__


def _mediapipe() -> ModuleType:
    try:
        import mediapipe
    except ImportError as error:
        raise ValueError(
            f'finding landmarks needs MediaPipe ({error}): pip install "ohlora-gan[landmarks]" (Python 3.10 to 3.12)'
        ) from error
    warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype")  # MediaPipe's business with protobuf
    return mediapipe


@contextmanager
def _without_startup_messages() -> Iterator[None]:
    """Silences what MediaPipe's C++ side writes to file descriptor 2 while it starts, whatever its log level."""
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
