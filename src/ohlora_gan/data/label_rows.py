"""A CSV of pictures that grows while they are worked on, and that an interrupted run takes up again."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.csv_table import write_rows


class Rows:
    """A CSV whose first column is a picture's name; it grows row by row and is taken up after an interruption.

    Args:
        path: the file; a last row that was cut off is dropped.
        columns: the other columns' names.

    Attributes:
        cells: name -> the other cells, as text.
    """

    def __init__(self, path: Path, columns: Sequence[str]):
        self.path, self.columns = path, tuple(columns)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        rows = csv.reader(text[: text.rfind("\n") + 1].splitlines()[1:])
        self.cells = {row[0]: tuple(row[1:]) for row in rows if len(row) == 1 + len(self.columns)}
        self.keep(self.cells)

    def add(self, name: str, *cells: str) -> None:
        """Adds a row, in memory and in the file."""
        self.cells[name] = cells
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow((name, *cells))

    def keep(self, names: Iterable[str]) -> None:
        """Rewrites the file with the rows of these names alone, in their order."""
        self.cells = {name: self.cells[name] for name in names if name in self.cells}
        rows = ((name, *cells) for name, cells in self.cells.items())
        write_rows(self.path, [("file", *self.columns), *rows])

    def numbers(self, column: str) -> NDArray[np.float64]:
        """The values of a column, NaN where unknown."""
        place = self.columns.index(column)
        return np.array([float(cells[place] or "nan") for cells in self.cells.values()])
