"""Labels of pictures: CSV files and CelebA's lists."""

import csv
import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.errors import UserError, near_file
from ohlora_gan.files import harmless, meant, write_rows
from ohlora_gan.reading import UnreadableError, read_text

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
