"""Map-style data sets: item i is (image float32 [3, R, R] in [-1, 1], scores float32 [A] of A attributes)."""

import logging
import re
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from ohlora_gan import rng
from ohlora_gan.data.parse_scores import MAP_SIZE
from ohlora_gan.errors import near_file
from ohlora_gan.files import write_json
from ohlora_gan.names import PROPERTIES, Part
from ohlora_gan.reading import open_picture, read_json
from ohlora_gan.world.face import ATTRIBUTES, BINARY, CONTINUOUS, FaceAttributes, sample_attributes, standardized
from ohlora_gan.world.latents import latent
from ohlora_gan.world.painter import render

log = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]

MIRROR_SIGNS = {"pose": -1, "turn": -1, "tilt": -1, "roll": -1, "light_direction": -1, "background_x": -1}
"""Attributes that a mirror turns round; it leaves all others alone."""


class ScoredDataset(Dataset):
    """What every data set of this package is: its scores, float32 ``[N, A]``, need no picture to be decoded."""

    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


def to_image(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 ``[H, W, 3]`` to float32 ``[3, H, W]`` in [-1, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1.0


def matching_indices(
    seed: int,
    start: int,
    num: int,
    keep: Mapping[str, float],
    thin: Mapping[str, float] | None = None,
) -> list[int]:
    """The first ``num`` face numbers from ``start`` on whose attributes equal ``keep``, e.g. ``{"gender": 1}``.

    ``thin`` has continuous attributes -> the share, above 0 to 1, of faces within a standard deviation of the mean that
    stay. A GAN is slow to learn the extremes of small features; so it sees them more often.

    Raises:
        ValueError: for an attribute that faces do not have, a value that none of 10,000 faces takes, or a share out of
            range.
    """
    thin = thin or {}
    for name, share in thin.items():
        if name not in CONTINUOUS or not 0 < share <= 1:
            raise ValueError(
                f"data.thin={{{name}: {share}}}, expected a share above 0 and at most 1 for one of "
                f"{', '.join(CONTINUOUS)}"
            )
    if unknown := [name for name in keep if name not in ATTRIBUTES]:
        raise ValueError(f"data.keep names {unknown[0]!r}, expected some of {', '.join(ATTRIBUTES)}")
    found: list[int] = []
    index = start
    while len(found) < num:
        attributes = sample_attributes(seed, index)
        kept = all(getattr(attributes, name) == value for name, value in keep.items())
        if kept and all(
            abs(standardized(name, getattr(attributes, name))) > 1
            or rng.stream(seed, f"thin/{name}", index).random() < share
            for name, share in thin.items()
        ):
            found.append(index)
        index += 1
        if index - start >= 10_000 and not found:
            raise ValueError(f"none of 10,000 faces has data.keep={dict(keep)}: loosen it")
    return found


def face_scores(attributes: FaceAttributes, names: Sequence[str]) -> NDArray[np.float32]:
    """The scores ``[A]`` of a face: binary attributes are 0 or 1, others have mean 0 and standard deviation 1."""
    values = {name: getattr(attributes, name) for name in names}
    scores = [v if name in BINARY else standardized(name, v) for name, v in values.items()]
    return np.array(scores, dtype=np.float32)


def mirror_signs(names: Sequence[str], changes: Mapping[str, float] | None = None) -> NDArray[np.float32]:
    """The factor ``[A]`` that a mirror puts on each attribute, 1 or -1: by `MIRROR_SIGNS`, and ``changes`` to it.

    ValueError for another factor than these; for 0, which says that mirroring would make the score wrong.
    """
    signs = MIRROR_SIGNS | dict(changes or {})
    for name in names:
        sign = signs.get(name, 1)
        if sign == 0:
            raise ValueError(f"mirror_signs.{name}=0 says that mirror images have no known {name}: use mirror=false")
        if sign not in (1, -1):
            raise ValueError(f"mirror_signs.{name}={sign}, expected 1, -1 or 0 (no mirroring)")
    return np.array([signs.get(name, 1) for name in names], dtype=np.float32)


class FacesDataset(ScoredDataset):
    """Rendered faces, a pure function of (seed, number); each is rendered once and kept (12 KB at 64x64).

    With ``z_dim`` an item has a third part, the latent float32 ``[z_dim]`` that stands for the face (`world.latents`);
    ``fixed`` names attributes that all faces share, which decide nothing of it.
    """

    def __init__(
        self,
        seed: int,
        indices: list[int],
        resolution: int,
        attributes: Sequence[str] = PROPERTIES,
        z_dim: int | None = None,
        fixed: Collection[str] = (),
    ):
        self.seed, self.indices, self.resolution = seed, indices, resolution
        self.attributes, self.z_dim, self.fixed = tuple(attributes), z_dim, fixed
        self._rendered: dict[int, tuple[Bytes, NDArray[np.float32]]] = {}

    @cached_property
    def scores(self) -> NDArray[np.float32]:  # type: ignore[override]
        """Scores ``[N, A]``; nothing is rendered for them."""
        drawn = [sample_attributes(self.seed, index) for index in self.indices]
        rows = [face_scores(attributes, self.attributes) for attributes in drawn]
        return np.array(rows, dtype=np.float32).reshape(-1, len(self.attributes))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        if i not in self._rendered:
            attributes = sample_attributes(self.seed, self.indices[i])
            self._rendered[i] = render(attributes, self.resolution), face_scores(attributes, self.attributes)
        pixels, scores = self._rendered[i]
        item = to_image(pixels), torch.from_numpy(scores)
        if self.z_dim is None:
            return item
        return *item, torch.from_numpy(latent(self.seed, self.indices[i], self.z_dim, self.fixed))


class ScoredPictures(ScoredDataset):
    """Item i is picture ``indices[i]``, which ``read`` gives as uint8 ``[R, R, 3]``, with its scores, row i."""

    def __init__(self, read: Callable[[int], Bytes], indices: NDArray[np.int64], scores: NDArray[np.float32]):
        self.read, self.indices, self.scores = read, indices, scores

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return to_image(self.read(int(self.indices[i]))), torch.from_numpy(self.scores[i])


class Mirrored(ScoredDataset):
    """N items and their mirror images: item N + i is item i mirrored, with its scores times ``signs`` ``[A]``."""

    def __init__(self, dataset: ScoredDataset, signs: NDArray[np.float32]):
        self.dataset, self.signs = dataset, signs
        self.scores = np.concatenate([dataset.scores, dataset.scores * signs])

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if i < len(self.dataset):
            return self.dataset[i]
        image, scores = self.dataset[i - len(self.dataset)]
        return image.flip(2), scores * torch.from_numpy(self.signs)


# what Pillow raises for files that are cut off, damaged, forged or no pictures at all
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)

_MAP_NAME = re.compile(r"parsing_(\d+)\.png", re.IGNORECASE)
_FACE_NAME = re.compile(r"face_(\d+)\.(png|jpg|jpeg)", re.IGNORECASE)
_SIZE = (MAP_SIZE, MAP_SIZE)


class ParseFolder:
    """The faces of a folder: iterating gives (number, map uint8 [224, 224], image uint8 [224, 224, 3]).

    It holds ``parsing_000123.png`` (class codes, grey or palette) and ``face_000123.png`` (or .jpg). Pictures are
    decoded while iterating, one pair at a time, so a folder may be of any size. Maps of other sizes are resized without
    mixing codes, faces with a good filter; neither is cut. Each complete pass logs what it left out.

    Attributes:
        faces: number -> the face's file, for all that have a map, in order.
        skipped: file name -> why it is not used; grows while iterating.

    Raises:
        ValueError: if there is no such folder or no complete pair in it; when iterating, if no pair can be read.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(
                f"{folder} is no folder: {near_file(folder)}give one that holds parsing_000123.png and face_000123.png"
            )
        self.skipped: dict[str, str] = {}
        self._maps, faces = self._numbered(_MAP_NAME), self._numbered(_FACE_NAME)
        for mine, other, missing in ((self._maps, faces, "face"), (faces, self._maps, "parse map")):
            for number in sorted(mine.keys() - other.keys()):
                self.skipped[mine[number].name] = f"no {missing} of that number beside it"
        self.faces = {number: faces[number] for number in sorted(self._maps.keys() & faces.keys())}
        if not self.faces:
            raise ValueError(
                f"{folder} holds no pair such as parsing_000123.png and face_000123.png: "
                f"{len(self._maps)} maps and {len(faces)} faces, none of the same number"
            )

    def _numbered(self, pattern: re.Pattern[str]) -> dict[int, Path]:
        """Number -> file. Of several files with a number the last by name is taken, so .png before .jpg."""
        found: dict[int, Path] = {}
        for path in sorted(self.folder.iterdir()):
            if match := pattern.fullmatch(path.name):
                number = int(match[1])
                if number in found:
                    self.skipped[found[number].name] = f"{path.name} has the same number and is used instead"
                found[number] = path
        return found

    def __len__(self) -> int:
        return len(self.faces)

    def __iter__(self) -> Iterator[tuple[int, Bytes, Bytes]]:
        num_read = 0
        for number, face_path in self.faces.items():
            codes, image = self._read(self._maps[number], _read_map), self._read(face_path, _read_face)
            if codes is not None and image is not None:
                num_read += 1
                yield number, codes, image
        if not num_read:
            name, reason = list(self.skipped.items())[-1]
            raise ValueError(f"none of {len(self)} pairs in {self.folder} can be used; {name}, for one: {reason}")
        if self.skipped:
            examples = "; ".join(f"{name}: {reason}" for name, reason in list(self.skipped.items())[:3])
            log.warning("%d files in %s are not used, such as %s", len(self.skipped), self.folder, examples)

    def _read(self, path: Path, read: Callable[[Image.Image], Bytes]) -> Bytes | None:
        """What ``read`` makes of an opened picture, or None with the reason noted."""
        try:
            with open_picture(path) as image:
                return read(image)
        except UNREADABLE as error:
            self.skipped[path.name] = str(error) or type(error).__name__
            return None


def _read_map(image: Image.Image) -> Bytes:
    if image.mode not in ("L", "P"):
        raise ValueError(f"a parse map of mode {image.mode}: expected a grey or palette picture of class codes")
    codes = np.asarray(image)  # of a palette picture the numbers, not the colours
    if codes.max() > Part.LAST:
        raise ValueError(f"a parse map with the code {codes.max()}: expected class codes from 0 to {Part.LAST}")
    return np.asarray(Image.fromarray(codes).resize(_SIZE, Image.Resampling.NEAREST))


def _read_face(image: Image.Image) -> Bytes:
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(upright.resize(_SIZE, Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class Normalization:
    """Mean and sample standard deviation (n - 1 in the denominator) of each property over a data set."""

    mean: Mapping[str, float]
    std: Mapping[str, float]

    def __post_init__(self) -> None:
        if set(self.mean) != set(self.std):
            raise ValueError(f"statistics have means of {', '.join(self.mean)} but deviations of {', '.join(self.std)}")
        for name in self.mean:
            mean, std = self.mean[name], self.std[name]
            if not (np.isfinite(mean) and np.isfinite(std) and std > 0):
                raise ValueError(
                    f"{name} has mean {mean} and deviation {std}: expected finite numbers, the second above 0"
                )

    def apply(self, scores: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
        """``(score - mean) / std`` of every property; NaN stays NaN. ValueError for a property without statistics."""
        unknown = [name for name in scores if name not in self.mean]
        if unknown:
            known = ", ".join(self.mean)
            raise ValueError(f"no statistics for {', '.join(unknown)}, only for {known}: fit on scores that hold them")
        return {
            name: (np.asarray(values, dtype=np.float64) - self.mean[name]) / self.std[name]
            for name, values in scores.items()
        }

    def save(self, path: str | Path) -> None:
        """Writes the statistics as JSON: ``{"mean": {property: ...}, "std": {property: ...}}``."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Normalization":
        """Reads what ``save`` wrote; ValueError if the file is missing or holds no such statistics."""
        try:
            content = read_json(path)
            mean, std = ({str(k): float(v) for k, v in content[key].items()} for key in ("mean", "std"))
            return cls(mean, std)
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no usable statistics ({error}): expected JSON as Normalization.save writes it"
            ) from error


def fit_normalization(scores: Mapping[str, ArrayLike]) -> Normalization:
    """The statistics that give each property mean 0 and standard deviation 1 over a data set.

    NaN means unknown and is left out. ValueError if a property has fewer than two known values, or one value alone.
    """
    mean, std = {}, {}
    for name, values in scores.items():
        array = np.asarray(values, dtype=np.float64)
        known = array[~np.isnan(array)]
        if len(known) < 2:
            raise ValueError(f"{name} has {len(known)} known values, normalisation needs at least 2: leave {name} out")
        mean[name], std[name] = float(known.mean()), float(known.std(ddof=1))
        if np.ptp(known) == 0:  # not std == 0: rounding makes that 1e-17
            raise ValueError(
                f"{name} is {known[0]:g} in all {len(known)} faces, so it has no spread to normalise by: "
                f"leave {name} out, or add faces that differ in it"
            )
    return Normalization(mean, std)
