"""Landmarks and person masks of photographs, by MediaPipe's face mesh and selfie segmentation (extra ``landmarks``).

Both models come inside MediaPipe's wheel: nothing is downloaded. MediaPipe is imported when a detector is made.
"""

import importlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from torch import Tensor

from ohlora_gan.data.parse_scores import MAP_SIZE
from ohlora_gan.data.pictures import UnusablePictureError
from ohlora_gan.errors import UserError, near_file
from ohlora_gan.models.gan import to_uint8
from ohlora_gan.names import Part
from ohlora_gan.reading import open_picture

Bytes = NDArray[np.uint8]

METHOD = "mean with mirror image, six measures"
"""How landmarks come about: a folder of labels keeps it, so that no later run adds labels of another kind."""
MIN_SIDE = 256  # smaller pictures are enlarged to this before detection
BORDER = 0.25
"""Share of the shorter side added around a picture as a grey border, for faces that fill it. Of 300 CelebA pictures at
64x64 the mesh finds 298 with it and 296 without."""


class LandmarkDetector:
    """Finds faces; what it finds in a picture depends on no other picture. ValueError if MediaPipe is not installed."""

    def __init__(self) -> None:
        with _without_startup_messages():
            try:
                from mediapipe import solutions
            except ImportError as error:
                raise ValueError(
                    f'finding landmarks needs MediaPipe ({error}): pip install "ohlora-gan[landmarks]" '
                    f"(Python 3.10 to 3.12)"
                ) from error
            warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype")  # MediaPipe's and protobuf's
            self._mesh = solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=2, refine_landmarks=True)
            self._segmentation = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
            blank = np.zeros((MIN_SIDE, MIN_SIDE, 3), dtype=np.uint8)
            self._mesh.process(blank), self._segmentation.process(blank)  # the models load at their first picture

    def points(self, image: Bytes) -> NDArray[np.float64]:
        """Landmarks of the picture's only face, a mean over the picture and its mirror image where that shows it too.

        The mean is steadier: on 149 photographs the mouth's score correlated .95 between a picture and its mirror image
        (the eyes' .84), and .99 (.95) between such means of the plain and of a slightly smaller picture.

        Of a picture RGB, uint8 ``[H, W, 3]``, of any size (64x64 is enough), x and y in its pixels (beyond its edges
        where the face is cut off), float64 ``[478, 2]``. NoFace or SeveralFaces if there is not exactly one.
        """
        return self.points_and_doubt(image)[0]

    def points_and_doubt(self, image: Bytes) -> tuple[NDArray[np.float64], float]:
        """``points``, and how far landmarks of the mirror image are from them, see `mirror_distance`; 1 where that
        shows no face, or several."""
        faces = self._faces(image)
        if not faces:
            raise NoFace
        if len(faces) > 1:
            raise SeveralFaces
        again, width = self._faces(image[:, ::-1]), image.shape[1]
        if len(again) != 1:
            return faces[0], 1.0
        return mean_with_mirror(faces[0], again[0], width), mirror_distance(faces[0], again[0], width)

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


@lru_cache(maxsize=1)
def detector() -> LandmarkDetector:
    """The process's detector: it takes a second to load."""
    return LandmarkDetector()


def measure(images: Bytes) -> dict[str, NDArray]:
    """Raw measures of faces uint8 ``[N, H, W, 3]``, as a judge that knows nothing of this project's networks.

    Returns:
        ``found``: bool ``[N]``, whether a picture holds exactly one face; and, NaN where none is found, float64 ``[N]``
        by the names of ``MEASURES``, and ``doubt``, see `LandmarkDetector.points_and_doubt`.

    Raises:
        ValueError: for another shape or dtype, or if MediaPipe is not installed.
    """
    if not isinstance(images, np.ndarray):
        raise ValueError(f"images are a {type(images).__name__}, expected uint8 [N, H, W, 3]")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {list(images.shape)}, expected uint8 [N, H, W, 3]")
    values = np.full((len(images), len(MEASURES) + 1), np.nan)
    for i, image in enumerate(images):
        with suppress(NoFace, SeveralFaces):
            points, doubt = detector().points_and_doubt(image)
            values[i] = [*measure_points(points).values(), doubt]
    return {"found": np.isfinite(values[:, 0]), **dict(zip((*MEASURES, "doubt"), values.T, strict=True))}


def measured(images: Tensor, names: Iterable[str]) -> NDArray[np.float32]:
    """Some of what `measure` tells of pictures ``[N, 3, H, W]`` in [-1, 1], float32 ``[N, P]``, in the order of its
    names; NaN where there is not exactly one face."""
    found = measure(to_uint8(images).cpu().numpy())
    return np.stack([found[name] for name in names], axis=1).astype(np.float32)


class LandmarkScorer:
    """The face mesh's measures as a scorer (``scorer=landmarks``, see `models.wrapped`); ValueError without MediaPipe.

    Of pictures ``[N, 3, H, W]`` in [-1, 1] it tells raw measures float32 ``[N, 6]``, NaN where there is not exactly one
    face.
    """

    columns: ClassVar = {"eyes": "eye_aspect", "mouth": "mouth_opening"} | {
        name: name for name in ("smile", "turn", "tilt", "nod")
    }
    property_names = tuple(columns)

    def __init__(self) -> None:
        detector()  # says at once what is not installed

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        return measured(images, self.columns.values())


def _enlarged(image: Bytes) -> Bytes:
    """An image whose shorter side has at least ``MIN_SIDE`` pixels."""
    scale = MIN_SIDE / min(image.shape[:2])
    if scale <= 1:
        return np.ascontiguousarray(image)
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


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


Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MEASURES = ("eye_aspect", "mouth_opening", "smile", "tilt", "turn", "nod")
NUM_POINTS = 468
MAP_SHAPE = (MAP_SIZE, MAP_SIZE)
FINE = 4  # outlines are drawn this much finer than the map, so that a nearly closed eye is as thin as it is

# the outlines; an eye's outline starts at its outer corner, "a" is the eye on the left in an upright picture
EYE_A = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_B = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
NOSE = (168, 193, 196, 236, 198, 209, 49, 48, 64, 98, 97, 2, 326, 327, 294, 278, 279, 429, 420, 456, 419, 417)
UPPER_LIP_TOP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
UPPER_LIP_BOTTOM = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP_TOP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LOWER_LIP_BOTTOM = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LIP_PAIRS = ((82, 87), (13, 14), (312, 317))
LIP_CORNERS = (61, 291)
NOD_LIFTS = 0.08  # the lips' corners, which lie further back than their middle, a unit of ``nod``
EDGE_A, EDGE_B, NOSE_TIP, CHIN, FOREHEAD = 234, 454, 1, 152, 10

_PAIRS = (
    (NOSE_TIP,) * 2,
    *zip((*EYE_A, *BROWS[0]), (*EYE_B, *BROWS[1]), strict=True),
    *((line[i], line[-i]) for line in (OVAL, NOSE) for i in range(len(line))),  # from the middle one around
    *(
        pair  # from one corner to the other
        for line in (UPPER_LIP_TOP, UPPER_LIP_BOTTOM, LOWER_LIP_TOP, LOWER_LIP_BOTTOM)
        for pair in zip(line, reversed(line), strict=True)
    ),
)
TWINS = {here: twin for pair in _PAIRS for here, twin in (pair, pair[::-1])}
"""Every landmark used here -> the one in its place on the other side of the face."""


class NoFace(UserError):
    """A segmenter raises it for a picture without a face."""

    def __init__(self, message: str = "no face"):
        super().__init__(message)


class SeveralFaces(UserError):
    """A segmenter raises it for a picture with more than one face."""

    def __init__(self, message: str = "several faces"):
        super().__init__(message)


def measure_points(points: NDArray) -> dict[str, float]:
    """Raw measures of a face from its landmarks ``[468 or more, 2 or more]``; none depends on its size in the picture.

    Returns:
        By the names of ``MEASURES``:

        * eye_aspect: height of the eye's opening by its width, mean of both eyes; about 0 (closed) to 0.5.
        * mouth_opening: gap between the lips by the height of the face; 0 (closed) to about 0.3.
        * tilt: angle of the line through the eyes' centres, in radians; positive where the eye on the right of the
          picture is the lower one, as property ``pose`` has it.
        * turn: how far the nose's tip is off the middle between the face's edges, by half the face's height (its
          width shrinks to nothing in a profile): about -1 (towards the left of the picture) to 1 (right).
        * smile: how far the lips' corners are above the middle between the lips, by the height of the face, less what a
          bowed head lifts them by; about -0.06 to 0.06. Of 496 photographs it tells those labelled Smiling with an
          AUROC of .93.
        * nod: how far the nose's tip is below the middle between the face's edges, by half the face's height; it grows
          as the head is bowed.
    """
    points = _checked(points)
    across = points[list(EYE_B)].mean(0) - points[list(EYE_A)].mean(0)
    down = points[CHIN] - points[FOREHEAD]
    height = float(np.hypot(*down))
    corners, lips = points[list(LIP_CORNERS)].mean(0), points[list(LIP_PAIRS[1])].mean(0)
    gap = np.mean([np.hypot(*(points[top] - points[bottom])) for top, bottom in LIP_PAIRS])
    middle = points[[EDGE_A, EDGE_B]].mean(0)
    off_middle = (points[NOSE_TIP] - middle) @ across / np.hypot(*across)
    nod = float((points[NOSE_TIP] - middle) @ down) * 2 / height**2
    return {
        "eye_aspect": (_eye_aspect(points[list(EYE_A)]) + _eye_aspect(points[list(EYE_B)])) / 2,
        "mouth_opening": float(gap) / height,
        "smile": float((lips - corners) @ down) / height**2 - NOD_LIFTS * nod,
        "tilt": float(np.arctan2(across[1], across[0])),
        "turn": float(off_middle) * 2 / height,
        "nod": nod,
    }


def mirror_distance(points: NDArray, mirrored: NDArray, width: float) -> float:
    """How far the landmarks of a picture and of its mirror image are from each other, by the height of the face.

    Root of the mean square over all that are used here. The mesh is a fixed shape that is laid over a picture: over a
    whole face it comes to lie alike from both sides, over a smeared one it does not.
    """
    here, there = list(TWINS), list(TWINS.values())
    points = _checked(points)
    apart = points[here] - (width, 0) - _checked(mirrored)[there] * (-1, 1)
    return float(np.sqrt((apart**2).sum(axis=1).mean()) / np.hypot(*(points[CHIN] - points[FOREHEAD])))


def mean_with_mirror(points: NDArray, mirrored: NDArray, width: float) -> Floats:
    """Steadier landmarks: the mean of a picture's and those of its mirror image, ``[468 or more, 2]``, in its pixels.

    Those that nothing here uses stay as in ``points``. ``width`` is the picture's, in pixels.
    """
    mean = _checked(points).copy()
    here, there = list(TWINS), list(TWINS.values())
    mean[here] = (mean[here] + (width, 0) + _checked(mirrored)[there] * (-1, 1)) / 2
    return mean


def draw_map(points: NDArray, person: NDArray[np.float32], image: Bytes) -> Bytes:
    """The parse map of a face.

    Hair is what belongs to the person outside the face's oval, if above the chin it does not look like the face's
    skin, and below the chin only where it looks like the hair beside and above the face: bare shoulders and most
    clothes are left out, hair of the clothes' colour is not told from them. Hats and ears in shadow pass for hair.

    Args:
        points: landmarks in pixels of ``image``, float ``[468 or more, 2 or more]``.
        person: how surely a pixel belongs to a person, 0 to 1, ``[H, W]``.
        image: RGB, uint8 ``[H, W, 3]``.

    Returns:
        uint8 ``[224, 224]`` of the codes of ``names.Part`` and 11: clothes, neck and what else is not told apart.
    """
    points = _checked(points)
    height, width = image.shape[:2]
    if person.shape != (height, width) or image.shape[2:] != (3,):
        raise ValueError(f"person has shape {list(person.shape)}, image {list(image.shape)}: expected the same H, W")
    points = points * (MAP_SIZE / width, MAP_SIZE / height)
    pixels, sureness = Image.fromarray(image), Image.fromarray(np.asarray(person, dtype=np.float32))
    body = np.asarray(sureness.resize(MAP_SHAPE, Image.Resampling.BILINEAR)) > 0.5
    face = _draw_face(points)
    rise = _rise(points)
    hair = _hair(rise, face, body & (face == 0), pixels.resize(MAP_SHAPE, Image.Resampling.BILINEAR))
    rest = np.where(rise > 0, Part.SKIN, Part.CLOTHES)
    return np.where(face > 0, face, np.where(hair, Part.HAIR, np.where(body, rest, Part.BACKGROUND))).astype(np.uint8)


def _draw_face(points: Floats) -> Bytes:
    """The part of the map inside the face's oval, 0 outside; what comes later covers what came before."""

    def line(*numbers: int) -> Floats:
        return points[list(numbers)]

    left, right = sorted((line(*EYE_A), line(*EYE_B)), key=lambda eye: eye[:, 0].mean())
    outlines = [
        (line(*OVAL), Part.SKIN),
        *((line(*brow), Part.BROWS) for brow in BROWS),
        (line(*NOSE), Part.NOSE),
        (left, Part.LEFT_EYE),
        (right, Part.RIGHT_EYE),
        (line(*UPPER_LIP_BOTTOM, *LOWER_LIP_TOP[::-1]), Part.INNER_MOUTH),
        (line(*UPPER_LIP_TOP, *UPPER_LIP_BOTTOM[::-1]), Part.UPPER_LIP),
        (line(*LOWER_LIP_BOTTOM, *LOWER_LIP_TOP[::-1]), Part.LOWER_LIP),
    ]
    fine = Image.new("L", (MAP_SIZE * FINE, MAP_SIZE * FINE))
    draw = ImageDraw.Draw(fine)
    for outline, code in outlines:
        draw.polygon((outline * FINE).ravel().tolist(), fill=code)
    return np.asarray(fine)[FINE // 2 :: FINE, FINE // 2 :: FINE]


def _hair(rise: Floats, face: Bytes, around: Mask, pixels: Image.Image) -> Mask:
    """Which of the pixels ``around`` the face are hair."""
    above = around & (rise > 0.8)
    if not above.any():
        return above
    colors = np.asarray(pixels.filter(ImageFilter.BoxBlur(1)), dtype=np.float32)
    unlike_skin = _distance(colors, colors[face == Part.SKIN])
    like_hair = _distance(colors, colors[above & (unlike_skin >= np.median(unlike_skin[above]))])
    beside = (rise > 0.1) & (rise < 0.9)  # nothing but ears and cheeks competes with hair there
    looks_so = (like_hair < np.where(beside, 2.5, 1.0) * unlike_skin) & ((rise > 0) | (like_hair < 3))
    return _falling(around & (looks_so | (rise > 1.15)), rise < 0)


def _falling(hair: Mask, low: Mask) -> Mask:
    """Keeps of the hair in the ``low`` part what hangs from hair above it, so that dark clothes do not count."""
    kept = np.pad(hair, ((2, 0), (2, 2)))
    for row in range(hair.shape[0]):
        above = kept[row] | kept[row + 1]
        hangs = above[:-4] | above[1:-3] | above[2:-2] | above[3:-1] | above[4:]
        kept[row + 2, 2:-2] &= hangs | ~low[row]
    return kept[2:, 2:-2]


def _rise(points: Floats) -> Floats:
    """How far up the face a pixel of the map lies: 0 at the chin, 1 at the top of the forehead."""
    up = points[FOREHEAD] - points[CHIN]
    center = np.arange(MAP_SIZE) + 0.5
    return ((center - points[CHIN, 0]) * up[0] + (center[:, None] - points[CHIN, 1]) * up[1]) / (up @ up)


def _distance(colors: NDArray[np.float32], samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far pixels ``[H, W, 3]`` are from the median colour of samples ``[N, 3]``, in their spread."""
    samples = samples[::7]  # a median of thousands of neighbours needs few of them
    middle = np.median(samples, axis=0)
    spread = np.median(np.abs(samples - middle), axis=0).mean() + 8
    return np.linalg.norm(colors - middle, axis=-1) / spread


def _eye_aspect(eye: Floats) -> float:
    """Height by width of an outline that starts at one corner and has the other in its middle."""
    heights = np.hypot(*(eye[1:8] - eye[:8:-1]).T)
    return float(heights[[2, 3, 4]].mean() / np.hypot(*(eye[0] - eye[8])))


def _checked(points: NDArray) -> Floats:
    """The first two coordinates of landmarks."""
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[0] < NUM_POINTS or points.shape[1] < 2 or not np.isfinite(points).all():
        raise ValueError(f"points have shape {list(points.shape)}, expected finite numbers [{NUM_POINTS} or more, 2]")
    return points[:, :2]


Labeller = Callable[[str, Bytes], tuple[dict[str, float], Bytes]]
"""Name and picture uint8 [H, W, 3] -> raw measures (none where the segmenter has none) and parse map [224, 224]."""

LANDMARKS = "landmarks"


def by_landmarks(name: str, image: Bytes) -> tuple[dict[str, float], Bytes]:
    """The labeller of the extra ``landmarks``."""
    points = detector().points(image)
    return measure_points(points), draw_map(points, detector().person(image), image)


def by_callable(place: str) -> Labeller:
    """The labeller that calls a segmenter of the user's, given as ``MODULE:CALLABLE``.

    It takes RGB uint8 ``[H, W, 3]`` and returns the parse map uint8 ``[224, 224]`` (codes in ``names.Part``), or
    raises ``NoFace`` or ``SeveralFaces``. ValueError if there is no such callable.
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
        raise ValueError(
            f"--maps {folder} is no folder: {near_file(folder)}give one that holds parse maps such as NAME.png"
        )

    def read(name: str, image: Bytes) -> tuple[dict[str, float], Bytes]:
        path = folder / map_names[name]
        if not path.exists():
            raise UnusablePictureError(f"no parse map {map_names[name]}")
        try:
            with open_picture(path) as picture:
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
    if codes.max() > Part.LAST:
        raise ValueError(f"{what} holds the code {codes.max()}, expected class codes from 0 to {Part.LAST}")
    return codes
