"""Pictures of any kind, in a folder or a zip file, as square RGB images, and their labels."""

import csv
import logging
import math
import os
import re
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from ohlora_gan.errors import UserError, near_file
from ohlora_gan.files import harmless, meant, write_rows
from ohlora_gan.reading import FORMATS, UnreadableError, open_picture, read_text

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


# --- Labels of pictures: CSV files and CelebA's lists ---


log = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """A table of labels.

    Attributes:
        path: the file.
        files: the pictures' names as the file gives them, one a row.
        columns: column name -> values ``[N]``; NaN is unknown. Binary columns hold 0 and 1.
        text: names of the columns that hold no numbers.
    """

    path: Path
    files: list[str]
    columns: dict[str, Floats]
    text: tuple[str, ...] = ()


def read_labels(path: str | Path, missing: Sequence[float] | None = ()) -> Labels:
    """Reads a CSV (header; the file name first; empty: unknown) or a file in the format of ``list_attr_celeba.txt``.

    Cells are separated by commas, semicolons or tabs. Binary columns of -1 and 1, yes and no, true and false become 0
    and 1; numbers in ``missing`` are unknown (None: no number is taken for a mark of unknown ones). ValueError, naming
    file and line, if the file is missing, damaged or has a row twice.
    """
    path = Path(path)
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise ValueError(
            f"data.labels={path} cannot be read ({error.strerror}): {near_file(path)}give a CSV file"
        ) from error
    except UnreadableError as error:
        raise ValueError(f"data.labels={path} is {error}: save it as CSV in UTF-8") from error
    celeba = bool(lines) and lines[0].strip().isdigit()
    header, rows = _celeba_rows(path, lines) if celeba else _csv_rows(path, lines)
    if not header or "" in header or len(set(header)) < len(header):
        raise ValueError(
            f"labels {path} name the columns {header}, expected the file name first, then one or more attributes of "
            f"different names, separated by commas"
        )
    first: dict[str, int] = {}
    for line, cells in rows:
        if len(cells) != len(header) + 1:
            raise ValueError(
                f"labels {path}, line {line}: {len(cells)} cells, expected {len(header) + 1} as in the header"
            )
        file = cells[0]
        if file in first:
            raise ValueError(f"labels {path} have {file!r} twice, in lines {first[file]} and {line}: remove one")
        first[file] = line
    read = {
        name: _numbers(path, name, [(line, cells[i]) for line, cells in rows], missing)
        for i, name in enumerate(header, 1)
    }
    numbers = {name: column for name, column in read.items() if column is not None}
    return Labels(path, list(first), numbers, tuple(name for name in header if name not in numbers))


SEPARATORS = ",;\t"
"""What stands between cells: the first of these in the header."""
YES_NO = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
MARKS = (-9, -99, -999, -9999, -99999, -32768, 99, 999, 9999, 99999)
FAR = 3  # times the range of all other values
"""Numbers that often stand for an unknown one, and how far from the others such a one lies."""

Table = list[tuple[int, list[str]]]
"""Line number and cells, the file's name first."""


def _csv_rows(path: Path, lines: list[str]) -> tuple[list[str], Table]:
    head = lines[0] if lines else ""
    separator = next((sign for sign in SEPARATORS if sign in head), SEPARATORS[0])
    reader = csv.reader(lines, skipinitialspace=True, delimiter=separator)
    try:
        table = [(reader.line_num, [meant(cell.strip()) for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"labels {path}, line {reader.line_num}: {error}") from error
    return (table[0][1][1:] if table else []), table[1:]


def _celeba_rows(path: Path, lines: list[str]) -> tuple[list[str], Table]:
    """The first line counts the rows, the second names the columns, none names the file."""
    table = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    rows = table[2:]
    if len(rows) != int(lines[0]):
        raise ValueError(f"labels {path} hold {len(rows)} rows, expected {int(lines[0])} as line 1 says: it is cut off")
    return (table[1][1] if len(table) > 1 else []), rows


def _number(cell: str) -> float | None:
    """NaN for an empty cell, None for text; yes and true are 1, no and false 0."""
    if (said := YES_NO.get(cell.lower())) is not None:
        return said
    try:
        return float(cell) if cell else np.nan
    except ValueError:
        return None


def check_marks(path: Path, name: str, column: Floats) -> None:
    """ValueError where a number of `MARKS` lies so far from all others of a column that it seems to mean unknown."""
    known = column[~np.isnan(column)]
    for mark in MARKS:
        others = known[known != mark]
        if len(others) in (0, len(known)):
            continue
        distance = np.abs(others - mark).min()
        if distance > FAR * max(float(np.ptp(others)), 1.0):
            raise ValueError(
                f"labels {path}, column {name!r}: {mark} in {len(known) - len(others)} of {len(known)} rows lies far "
                f"from all others ({others.min():g} to {others.max():g}); if it stands for unknown leave these cells "
                f"empty or give data.missing=[{mark}]; if it is a value give data.missing=null"
            )


def _numbers(path: Path, name: str, cells: list[tuple[int, str]], missing: Sequence[float] | None) -> Floats | None:
    """A column's values, or None if it holds no number at all; a mixture of numbers and text is an error."""
    values = [_number(cell) for _, cell in cells]
    if all(value is None or math.isnan(value) for value in values):
        return None
    for (line, cell), value in zip(cells, values, strict=True):
        if value is None or math.isinf(value):
            point = "; write it with a decimal point" if re.fullmatch(r"[+-]?\d+,\d+", cell) else ""
            raise ValueError(
                f"labels {path}, line {line}, column {name!r}: {cell!r} is no number{point}; correct it, or leave the "
                f"cell empty"
            )
    column = np.array(values, dtype=np.float64)
    if missing is not None:
        column[np.isin(column, list(missing))] = np.nan
        check_marks(path, name, column)
    return np.where(column == -1, 0.0, column) if _is_among(column, (-1, 1)) else column


def _is_among(column: Floats, values: tuple[int, int]) -> bool:
    """Whether all values that are not NaN are one of two."""
    return bool(np.isin(column[~np.isnan(column)], values).all())


def choose(labels: Labels, attributes: Sequence[str] | Mapping[str, str] | None) -> dict[str, Floats]:
    """The asked attributes: own name -> values ``[N]``, in the asked order.

    ``attributes`` None: all columns of numbers; names of columns; or own name -> column, or -> ``not COLUMN`` for a
    binary one. ValueError for a column that is not there or not of numbers, and for unfit names of attributes.
    """
    if attributes is None:
        wanted = {name: name for name in labels.columns}
    elif isinstance(attributes, Mapping):
        wanted = {str(own): str(column) for own, column in attributes.items()}
    else:
        wanted = {str(name): str(name) for name in attributes}
    if not wanted:
        raise ValueError(f"labels {labels.path} have no column of numbers to learn: name one in data.attributes")
    unfit = [own for own in wanted if "." in own or "/" in own]
    if unfit:
        raise ValueError(
            f"attribute name {unfit[0]!r} has a '.' or '/': give it another one with data.attributes={{NAME: COLUMN}}"
        )
    return {own: _column(labels, column) for own, column in wanted.items()}


def _column(labels: Labels, name: str) -> Floats:
    negated = name not in labels.columns and name.startswith("not ")
    name = name.removeprefix("not ").strip() if negated else name
    if name in labels.text:
        raise ValueError(
            f"column {name!r} of labels {labels.path} holds no numbers: give numbers with a decimal point, or 0 and 1, "
            f"yes and no, true and false; leave unknown cells empty"
        )
    if name not in labels.columns:
        near = get_close_matches(name, labels.columns, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise ValueError(
            f"data.attributes names {name!r}, which labels {labels.path} lack, {guess}expected one of "
            f"{', '.join(labels.columns) or 'none: it has no column of numbers'}"
        )
    column = labels.columns[name]
    if not negated:
        return column
    if not _is_among(column, (0, 1)):
        raise ValueError(f"data.attributes has 'not {name}', but that column is not binary: expected 0 and 1 alone")
    return 1 - column


def match_rows(labels: Labels, names: Sequence[str]) -> dict[str, int]:
    """Picture name -> its row, for pictures that have one.

    A row belongs to the picture of that path, else to the one whose path ends in it (such as its base name).
    ValueError if a row's name fits several pictures, two rows fit one picture, or no row fits any.
    """
    endings: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts = name.split("/")
        for i in range(len(parts)):
            endings["/".join(parts[i:])].append(name)
    exact = set(names)
    found: dict[str, int] = {}
    for row, file in enumerate(labels.files):
        key = file.replace("\\", "/").removeprefix("./")
        fitting = [key] if key in exact else endings.get(key, [])
        if len(fitting) > 1:
            raise ValueError(
                f"labels {labels.path} name {file!r}, which fits {fitting[0]} and {fitting[1]}: give the path from "
                f"data.folder"
            )
        for name in fitting:
            if name in found:
                raise ValueError(
                    f"labels {labels.path} have two rows for {name}: {labels.files[found[name]]!r} and {file!r}; "
                    f"remove one"
                )
            found[name] = row
    if not found:
        example = labels.files[0] if labels.files else "no row at all"
        raise ValueError(
            f"no picture in data.folder has a row in labels {labels.path}: it names {example!r}, the folder holds "
            f"{names[0]!r}; the first column must be the file's name"
        )
    return found


def read_partition(path: str | Path, names: Sequence[str]) -> NDArray[np.int64]:
    """The split of each picture ``[N]``: 0 train, 1 validation, 2 test.

    The file is in the format of CelebA's ``list_eval_partition.txt``: lines ``000001.jpg 0``; commas and a header line
    are allowed. ValueError if it is missing, has other numbers, or leaves a picture out.
    """
    try:
        lines = read_text(path).replace(",", " ").splitlines()
    except (OSError, UnreadableError) as error:
        raise ValueError(f"{path} cannot be read ({error}): expected lines such as '000001.jpg 0'") from error
    rows = [line.split() for line in lines if line.strip()]
    if rows and not rows[0][-1].isdigit():
        rows = rows[1:]
    for row in rows:
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise ValueError(f"{path} has the line {' '.join(row)!r}, expected a file name and 0, 1 or 2")
    table = Labels(Path(path), [file for file, _ in rows], {})
    row_of = match_rows(table, names)
    for name in names:
        if name not in row_of:
            raise ValueError(f"{path} does not say which split {name} is in: add it, or give data.partition=null")
    return np.array([int(rows[row_of[name]][1]) for name in names], dtype=np.int64)


class ChosenLabels:
    """The asked labels of those pictures that have them all.

    Attributes:
        columns: attribute -> values of all rows.
        binary: the attributes that are 0 or 1.
        names: the pictures whose row has a value for every attribute, in order.
    """

    def __init__(self, labels: Labels, attributes: Sequence[str] | Mapping[str, str] | None, names: list[str]) -> None:
        self.columns = choose(labels, attributes)
        self.binary = {name for name, column in self.columns.items() if _is_among(column, (0, 1))}
        self._row = match_rows(labels, names)
        complete = np.logical_and.reduce([~np.isnan(column) for column in self.columns.values()])
        self.names = [name for name in names if name in self._row and complete[self._row[name]]]
        if not self.names:
            raise ValueError(f"no picture has a value for all of {', '.join(self.columns)} in labels {labels.path}")
        if len(self.names) < len(names):
            log.warning(
                "%d of %d pictures are left out: %d without a row in %s, %d with an empty cell among %s",
                *(len(names) - len(self.names), len(names), len(names) - len(self._row), labels.path.name),
                *(len(self._row) - len(self.names), ", ".join(self.columns)),
            )

    def rows(self, names: Sequence[str]) -> list[int]:
        """The pictures' places in the columns."""
        return [self._row[name] for name in names]


class Rows:
    """A CSV whose first column is a picture's name; it grows row by row and is taken up after an interruption.

    A last row that was cut off is dropped.

    Attributes:
        cells: name -> the other cells, as text.
    """

    def __init__(self, path: Path, columns: Sequence[str]):
        self.path, self.columns = path, tuple(columns)
        try:
            text = read_text(path) if path.exists() else ""
            found = [list(map(meant, row)) for row in csv.reader(text[: text.rfind("\n") + 1].splitlines()[1:])]
        except (UnreadableError, csv.Error) as error:
            raise UserError(f"{path} is damaged ({error}): choose another --output, or delete that folder") from error
        self.cells = {row[0]: tuple(row[1:]) for row in found if len(row) == 1 + len(self.columns)}
        self.keep(self.cells)

    def add(self, name: str, *cells: str) -> None:
        """Adds a row, in memory and in the file."""
        self.cells[name] = cells
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(map(harmless, (name, *cells)))

    def keep(self, names: Iterable[str]) -> None:
        """Rewrites the file with the rows of these names alone, in their order."""
        self.cells = {name: self.cells[name] for name in names if name in self.cells}
        rows = ((name, *cells) for name, cells in self.cells.items())
        write_rows(self.path, [("file", *self.columns), *rows])

    def numbers(self, column: str) -> NDArray[np.float64]:
        """The values of a column, NaN where unknown."""
        place = self.columns.index(column)
        return np.array([float(cells[place] or "nan") for cells in self.cells.values()])
