"""A folder of faces with their parse maps, named as the published system names them: parsing_N.png and face_N.png."""

import logging
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ohlora_gan.data.parse_codes import MAP_SIZE, MAX_CODE

log = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]

# what Pillow raises for files that are cut off, damaged, forged or no pictures at all
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)

_MAP_NAME = re.compile(r"parsing_(\d+)\.png", re.IGNORECASE)
_FACE_NAME = re.compile(r"face_(\d+)\.(png|jpg|jpeg)", re.IGNORECASE)
_SIZE = (MAP_SIZE, MAP_SIZE)


class ParseFolder:
    """The faces of a folder: iterating gives (number, map uint8 [224, 224], image uint8 [224, 224, 3]).

    Pictures are decoded while iterating, one pair at a time, so a folder may be of any size. Maps of other sizes are
    resized without mixing codes, faces with a good filter; neither is cut. Each complete pass logs what it left out.

    Args:
        folder: where ``parsing_000123.png`` (class codes, grey or palette) and ``face_000123.png`` (or .jpg) lie.

    Attributes:
        faces: number -> the face's file, for all that have a map, in order.
        skipped: file name -> why it is not used; grows while iterating.

    Raises:
        ValueError: if there is no such folder or no complete pair in it; when iterating, if no pair can be read.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(f"{folder} is no folder: give one that holds parsing_000123.png and face_000123.png")
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
            with Image.open(path) as image:
                return read(image)
        except UNREADABLE as error:
            self.skipped[path.name] = str(error) or type(error).__name__
            return None


def read_parse_folder(folder: str | Path) -> ParseFolder:
    """The faces of a folder in the published system's layout, to iterate over; see ``ParseFolder``."""
    return ParseFolder(folder)


def _read_map(image: Image.Image) -> Bytes:
    if image.mode not in ("L", "P"):
        raise ValueError(f"a parse map of mode {image.mode}: expected a grey or palette picture of class codes")
    codes = np.asarray(image)  # of a palette picture the numbers, not the colours
    if codes.max() > MAX_CODE:
        raise ValueError(f"a parse map with the code {codes.max()}: expected class codes from 0 to {MAX_CODE}")
    return np.asarray(Image.fromarray(codes).resize(_SIZE, Image.Resampling.NEAREST))


def _read_face(image: Image.Image) -> Bytes:
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(upright.resize(_SIZE, Image.Resampling.LANCZOS))
