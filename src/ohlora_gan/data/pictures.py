"""Pictures of any kind, in a folder or a zip file, as square RGB images."""

import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from ohlora_gan.errors import UserError, near_file
from ohlora_gan.files import write_rows
from ohlora_gan.reading import FORMATS, open_picture

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
MAX_BYTES = 2**28  # of a file; anything larger is no photograph
MAX_RATIO, UNPACKED = (
    100,
    2**24,
)  # of a file in a zip: a larger one that shrinks so much is to fill the memory
CROPS = ("center", "none")


class UnusablePictureError(UserError):
    """A picture that cannot be used; the message is the reason."""


class PictureSource:
    """The pictures of a folder, sub-folders included, or of a ``.zip`` file, which is read in place.

    Attributes:
        names: paths of all files with a picture's ending, relative to the folder, with ``/``; sorted. Hidden files
            are left out.
        unnameable: names that are no UTF-8, as they are shown, and why they are left out.

    Raises:
        ValueError: if it is neither, or holds no such file.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._zip: tuple[int, zipfile.ZipFile] | None = None
        if self.folder.is_dir():
            found = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        elif zipfile.is_zipfile(self.folder):
            found = [info.filename for info in self._archive().infolist() if not info.is_dir()]
        else:
            raise ValueError(
                f"data.folder={folder} is no folder and no whole zip file: {near_file(folder)}"
                f"give a folder or a .zip that holds pictures"
            )
        pictures = sorted(filter(is_picture_name, found), key=lambda name: name.split("/"))
        self.names = list(filter(is_text, pictures))
        self.unnameable = {escaped(name): UNNAMEABLE for name in pictures if not is_text(name)}
        if not pictures:
            raise ValueError(
                f"data.folder={folder} holds no pictures: expected files ending in {', '.join(sorted(SUFFIXES))}"
            )

    def _archive(self) -> zipfile.ZipFile:
        """The zip file, opened anew in every process: processes that share an open file read garbage."""
        if self._zip is None or self._zip[0] != os.getpid():
            self._zip = os.getpid(), zipfile.ZipFile(self.folder)
        return self._zip[1]

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_zip": None}

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file, of which no more is unpacked than is read; UnusablePictureError if it is empty, too large or cannot
        be read."""
        try:
            if self.folder.is_dir():
                size, packed = (self.folder / name).stat().st_size, 0
            else:
                info = self._archive().getinfo(name)
                size, packed = info.file_size, info.compress_size
            if not 0 < size <= MAX_BYTES:
                raise UnusablePictureError(f"too large: {size:,} bytes" if size else "empty file")
            if packed and size > UNPACKED and size > MAX_RATIO * packed:
                raise UnusablePictureError(f"too large: {size:,} bytes, packed into {packed:,}")
            with (self.folder / name).open("rb") if self.folder.is_dir() else self._archive().open(name) as file:
                yield file
        except (
            OSError,
            KeyError,
            RuntimeError,
            NotImplementedError,
            EOFError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            # RuntimeError: an encrypted file in a zip, or an unknown compression
            raise UnusablePictureError(f"cannot be read ({plain(error)})") from error

    def picture(self, name: str, min_size: int = 1) -> Image.Image:
        """A picture, see `decode`; UnusablePictureError if it cannot be used."""
        with self.open(name) as file:
            return decode(file, min_size)


UNNAMEABLE = "a file name that is no plain text in UTF-8: rename it"


def is_text(name: str) -> bool:
    """Whether a file's name is one line that can be written in UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.splitlines() == [name] and "\0" not in name


def escaped(name: str) -> str:
    """A file's name, bytes that are no UTF-8 and ends of lines in Python's notation: ``\\xff``."""
    return "".join(c if is_text(c) else repr(c)[1:-1].replace("\\udc", "\\x") for c in name)


def is_picture_name(name: str) -> bool:
    """Whether a path ends as a picture's does and is not hidden (``__MACOSX`` holds the hidden files of zip files)."""
    parts = name.split("/")
    hidden = any(not part or part.startswith(".") or part == "__MACOSX" for part in parts)  # no .. and no root either
    return not hidden and "\\" not in name and ":" not in parts[0] and Path(parts[-1]).suffix.lower() in SUFFIXES


def decode(file: IO[bytes], min_size: int = 1) -> Image.Image:
    """A picture as 8-bit RGB, turned upright as its EXIF data say; of an animation the first frame.

    Grey, palette and CMYK pictures are converted, 16 bits scaled to 8, transparent parts laid over white.
    UnusablePictureError, with the reason, for what cannot be read or has a side of less than ``min_size`` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_picture(file) as image:
                if min(image.size) < min_size:
                    size = f"{image.width} x {image.height}"
                    raise UnusablePictureError(f"too small: {size} pixels, expected {min_size} a side")
                return to_rgb(ImageOps.exif_transpose(image))
    except UnusablePictureError:
        raise
    except UnidentifiedImageError as error:
        raise UnusablePictureError(f"not a picture of a known kind ({', '.join(FORMATS)})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusablePictureError(f"too large: over {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Exception as error:  # decoders answer damage with errors of any kind
        reason = "cut off" if "truncated" in str(error).lower() else "damaged"
        raise UnusablePictureError(f"{reason} ({plain(error)})") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a picture in any of Pillow's modes."""
    if image.mode.startswith("I"):  # grey of 16 bits, whatever Pillow keeps them in
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise UnusablePictureError("32-bit pixels, expected 8 or 16 bits a channel")
        return Image.fromarray(np.rint(pixels / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UnusablePictureError("floating-point pixels, expected 8 or 16 bits a channel")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def check_crop(crop: str | float) -> None:
    """ValueError where ``crop`` is none of what `to_square` takes."""
    number = isinstance(crop, int | float) and not isinstance(crop, bool) and 0 < crop <= 1
    if not (number or crop in CROPS):
        raise ValueError(
            f"data.crop is {crop!r}, expected {', '.join(CROPS)}, or how much of the largest central square's side to "
            f"keep, above 0 and up to 1"
        )


def to_square(image: Image.Image, resolution: int, crop: str | float = "center") -> NDArray[np.uint8]:
    """uint8 ``[R, R, 3]`` of an RGB picture, resized with anti-aliasing (Lanczos).

    ``crop`` ``center`` keeps the largest central square, a number so much of its side, about the same centre; ``none``
    squeezes the whole picture into a square.
    """
    size = (resolution, resolution)
    if crop == "none":
        return np.array(image.resize(size, Image.Resampling.LANCZOS))
    share = 1.0 if isinstance(crop, str) else crop
    return np.array(ImageOps.fit(image, size, Image.Resampling.LANCZOS, bleed=(1 - share) / 2))


def plain(error: BaseException) -> str:
    """An error's message on one line, without the file objects that some messages name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def write_skipped(path: Path, skipped: Mapping[str, str]) -> None:
    """A CSV of the files that were left out, and why; no file where none was."""
    if not skipped:
        path.unlink(missing_ok=True)
        return
    write_rows(path, [("file", "reason"), *skipped.items()])


class Pictures:
    """Pictures that have all been decoded once, so that a broken one never stops a run in its middle.

    The resized pixels stay in memory where they fit into ``MAX_CACHE`` bytes, else they are decoded at each use.
    With ``strict`` the first unusable picture is a ValueError, which names it and the reason. See `to_square` and
    `decode` for the other settings; ``progress`` is told of each picture.

    Attributes:
        names: the usable ones.
        skipped: the others, name -> reason.
    """

    MAX_CACHE = 2 * 10**9

    def __init__(
        self,
        source: PictureSource,
        names: list[str],
        resolution: int,
        crop: str | float = "center",
        min_size: int = 16,
        strict: bool = False,
        progress: tqdm | None = None,
    ) -> None:
        self.source, self.resolution, self.crop, self.min_size = source, resolution, crop, min_size
        self.names: list[str] = []
        self.skipped: dict[str, str] = dict(source.unnameable)
        if strict and self.skipped:
            raise ValueError(f"{next(iter(self.skipped))} in {source.folder} has {UNNAMEABLE}")
        fits = len(names) * resolution**2 * 3 <= self.MAX_CACHE
        self._cache = np.zeros((len(names), resolution, resolution, 3), np.uint8) if fits else None
        for name in names:
            if progress is not None:
                progress.update()
            try:
                pixels = self._decode(name)
            except UnusablePictureError as error:
                if strict:
                    raise ValueError(
                        f"picture {name} in {source.folder} cannot be used: {error}; "
                        f"remove it, or leave such pictures out with data.strict=false"
                    ) from error
                self.skipped[name] = str(error)
                continue
            if self._cache is not None:
                self._cache[len(self.names)] = pixels
            self.names.append(name)

    def _decode(self, name: str) -> NDArray[np.uint8]:
        return to_square(self.source.picture(name, self.min_size), self.resolution, self.crop)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        """uint8 ``[R, R, 3]`` of picture ``i``."""
        if self._cache is not None:
            return self._cache[i]
        try:
            return self._decode(self.names[i])
        except UnusablePictureError as error:
            raise ValueError(f"picture {self.names[i]} has changed since the start: {error}") from error
