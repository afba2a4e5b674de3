"""Files that are whole at any moment: a new one takes the old one's place when all of it has been written."""

import base64
import csv
import errno
import functools
import hashlib
import io
import json
import math
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.errors import UserError, near_file
from ohlora_gan.reading import UnreadableError, read_json, read_text

DAY = 86400.0
MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
PARTIAL = re.compile(r".+\.([0-9a-f]{6})-(\d+)\.partial")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which becomes ``path`` when the block ends; its folder is made if needed.

    After an error ``path`` is as it was before. So it is in a process that is killed, and after a power failure: the
    new file is on the disk before it takes the old one's place. A killed process leaves ``NAME.PROCESS.partial``
    behind, which nothing reads and the next program that writes to that folder removes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(str(path.parent.resolve()))
    partial = path.with_name(f"{path.name}.{MACHINE}-{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # some libraries make files that their user alone may read
        sync(partial)
        partial.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # which users know
    finally:
        partial.unlink(missing_ok=True)
    with suppress(OSError):  # not every file system can
        sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@functools.cache
def remove_leftovers(folder: str) -> None:
    """Removes what killed processes left of files that they wrote to a folder; looks once in a process.

    Files of other machines, whose processes nobody here knows, are left overs after a day.
    """
    for path in Path(folder).glob("*.partial"):
        if found := PARTIAL.fullmatch(path.name):
            with suppress(OSError):  # another process has removed it
                is_old = time.time() - path.stat().st_mtime > DAY
                if is_old or (found[1] == MACHINE and not is_alive(int(found[2]))):
                    path.unlink()


def is_alive(process: int) -> bool:
    """Whether a process of this machine is there; always true where asking would end it (Windows)."""
    try:
        if os.name == "posix":
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Holds a folder for one program, and yields the lock's descriptor for its child to inherit.

    A process that is killed unlocks nothing: the lock then ends with the child, the last that has the file open.
    UserError if another process holds it, such as a stage that outlived a killed chain.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptors: list[int] = []
    lock = FileLock(folder / ".lock", on_acquired=descriptors.append)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"another process works in {folder}: wait for it or stop it, then start again, or give another folder"
        ) from None
    try:
        yield descriptors[0]
    finally:
        lock.release()


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text in UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, content: Any) -> Path:
    """Writes plain data as JSON; numbers of other kinds, such as numpy's, become floats."""
    return write_text(path, json.dumps(content, indent=2, default=float) + "\n")


def claim(folder: Path, file: str, settings: Mapping[str, Any], what: str) -> None:
    """Makes a folder that of these settings, in a JSON file; ValueError if it holds ``what`` was made with others."""
    path = folder / file
    if path.exists():
        try:
            before = read_json(path)
            if not isinstance(before, dict):
                raise UnreadableError("no settings")
        except UnreadableError as error:
            raise UserError(f"{path} is damaged ({error}): choose another --output, or delete that folder") from error
        if changed := [key for key in settings if before.get(key) != settings[key]]:
            olds = ", ".join(f"{key}={before.get(key, 'unknown')}" for key in changed)
            raise ValueError(f"{folder} holds {what} made with {olds}: choose another --output, or delete that folder")
    write_json(path, settings)


# --- CSV tables, read strictly: what is cut off, misplaced or no number is named with file, line and column ---

SHOWN = 8
FORMULA = re.compile(r"'*([=+@\t\r]|-.)", re.DOTALL)
"""How a cell begins that spreadsheets compute, or one made harmless; ``-`` alone says that nothing is there."""


class TableError(UserError):
    """A table that cannot be used, with the reason."""


@dataclass(frozen=True)
class CsvTable:
    """A header of different names, one of which may be empty, and at least one row of as many cells of text.

    The first row is line 2 of the file.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]

    def require(self, columns: Iterable[str]) -> None:
        """Raises TableError where columns are missing."""
        known = set(self.header)
        if missing := [name for name in columns if name not in known]:
            raise TableError(f"{self.path} has the columns {shown(self.header)}, it lacks {shown(missing)}")

    def column(self, name: str) -> list[str]:
        """The cells of a column as text."""
        self.require([name])
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def numbers(self, columns: Sequence[str], unknown: Collection[str] = ()) -> np.ndarray:
        """The cells of some columns as float64 ``[N, len(columns)]``; cells in ``unknown`` become NaN."""
        self.require(columns)
        place_of = {name: i for i, name in enumerate(self.header)}
        places = [place_of[name] for name in columns]
        values = np.full((len(self.rows), len(columns)), np.nan)
        for i, row in enumerate(self.rows):
            for j, cell in enumerate(row[place] for place in places):
                if cell in unknown:
                    continue
                with suppress(ValueError):
                    values[i, j] = float(cell)
                if not math.isfinite(values[i, j]):
                    raise TableError(f"{self.path}, line {i + 2}, column {columns[j]!r}: {cell!r} is no finite number")
        return values

    def integers(self, name: str) -> np.ndarray:
        """The cells of a column as int64 ``[N]``."""
        values = self.numbers([name])[:, 0]
        for line, value in enumerate(values.tolist(), start=2):
            if value != int(value):
                raise TableError(f"{self.path}, line {line}, column {name!r}: {value:g} is no whole number")
        return values.astype(np.int64)


def harmless(cell: Any) -> Any:
    """A cell that a spreadsheet shows and does not compute: one that begins as formulas do gets a ``'`` before it."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) and not is_number(cell) else cell


def meant(cell: str) -> str:
    """The cell that was made `harmless`."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell[1:]) and not is_number(cell[1:]) else cell


def is_number(text: str) -> bool:
    with suppress(ValueError):
        return math.isfinite(float(text))
    return False


def read_table(path: str | Path, ends: bool = False) -> CsvTable:
    """Reads a CSV in UTF-8 with a header.

    With ``ends`` the last line has to end, so that a last number that lost digits is noticed.

    Raises:
        TableError: if the file is missing, empty, no text, cut off, or has a column's name twice.
    """
    path = Path(path)
    try:
        text = read_text(path)
        lines = [list(map(meant, row)) for row in csv.reader(text.splitlines(), strict=True)]
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}): {near_file(path)}give a CSV file") from error
    except (UnreadableError, csv.Error) as error:
        raise TableError(f"{path} is no CSV in UTF-8, or is damaged: {error}") from error
    if len(lines) < 2:
        raise TableError(f"{path} holds {len(lines)} lines, expected a header and at least one row: it is cut off")
    header, rows = lines[0], lines[1:]
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise TableError(
                f"{path}, line {line}: {len(row)} cells, expected {len(header)} as in the header: is it cut off?"
            )
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise TableError(f"{path} has the columns {shown(twice)} more than once: remove one of each")
    if ends and not text.endswith(("\n", "\r")):
        raise TableError(f"{path}: the last line does not end, so the file may be cut off: get a whole copy")
    return CsvTable(path, header, rows)


def write_rows(path: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes rows, the header first; the folder is made where there is none. Text is made `harmless`."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(map(harmless, row) for row in rows)


def write_records(path: str | Path, records: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes mappings from columns to cells, a row each; a cell that one lacks is empty.

    By default all columns are written, in the order in which they first come.
    """
    columns = columns or list(dict.fromkeys(name for record in records for name in record))
    write_rows(path, [columns, *([record.get(name, "") for name in columns] for record in records)])


def add_records(path: str | Path, records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Adds rows to what `write_records` wrote with these columns: by one call, so that a kill leaves whole lines.

    Where the disk is full nothing is added.
    """
    text = io.StringIO()
    rows = ([harmless(record.get(name, "")) for name in columns] for record in records)
    csv.writer(text, lineterminator="\n").writerows(rows)
    data = text.getvalue().encode()
    with Path(path).open("ab", buffering=0) as file:
        before = file.tell()
        if file.write(data) < len(data):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def shown(names: Sequence[str]) -> str:
    """The first of some names, for a sentence."""
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + rest


# --- Pictures made of faces: grids, strips, PNG files and data URIs ---


def grid(images: NDArray[np.uint8], columns: int, pad: int = 2) -> NDArray[np.uint8]:
    """Images uint8 ``[N, H, W, 3]`` row by row, with ``pad`` white pixels between them and none around.

    The last row may stay incomplete. Gives uint8 ``[rows*H + (rows-1)*pad, columns*W + (columns-1)*pad, 3]``.
    """
    num, height, width, channels = images.shape
    if num == 0 or columns < 1:
        raise ValueError(f"a grid needs an image and a column, got {num} images and {columns} columns")
    rows = -(-num // columns)
    shape = (rows * (height + pad) - pad, columns * (width + pad) - pad, channels)
    canvas = np.full(shape, 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + pad), i % columns * (width + pad)
        canvas[top : top + height, left : left + width] = image
    return canvas


def save_png(path: str | Path, array: NDArray[np.uint8]) -> Path:
    """Write a uint8 ``[H, W, 3]`` picture, making its folder if needed."""
    with replacing(path) as partial:
        Image.fromarray(array).save(partial, format="PNG", optimize=True)
    return Path(path)


def data_uri(array: NDArray[np.uint8], size: int) -> str:
    """A picture uint8 ``[H, W, 3]`` as the text of an ``img`` element's ``src``, its longer side of ``size`` pixels."""
    image = Image.fromarray(array)
    if size != max(image.size):
        scale = size / max(image.size)
        shape = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(shape, Image.Resampling.LANCZOS)
    return f"data:image/webp;base64,{base64.b64encode(encoded(image, 'webp')).decode()}"


def encoded(picture: NDArray[np.uint8] | Image.Image, format: str = "png") -> bytes:
    """A picture, uint8 ``[H, W, 3]`` or Pillow's, as the bytes of a file: ``png`` or ``webp``."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    buffer = io.BytesIO()
    image.save(buffer, format=format.upper(), quality=88)
    return buffer.getvalue()
