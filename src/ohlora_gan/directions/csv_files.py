"""Directions as CSV files of the published Oh-LoRA system: one file a property and group.

``{property}_change_{layer}_vector_{group}.csv`` holds a header of column numbers and one row: an index, then the
vector. Ours raise the property; those that the published system found by SVM lower it.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ohlora_gan.csv_table import TableError, read_table, shown, write_rows
from ohlora_gan.vocabulary import EDITED_PROPERTIES

NAME = re.compile(r"(?P<property>.+)_change_(?P<layer>.+)_vector_(?P<group>.+)\.csv")


class DirectionTable(NamedTuple):
    """What a folder's files of a layer hold.

    Attributes:
        directions: float32 ``[k, G, D]``, as the files have them: of any length and sign.
        properties: names along axis 0.
        group_names: names along axis 1, sorted (``hhhh`` first).
    """

    directions: np.ndarray
    properties: tuple[str, ...]
    group_names: list[str]


def direction_path(folder: Path | str, prop: str, layer: str, group: str) -> Path:
    """``{property}_change_{layer}_vector_{group}.csv`` in the folder."""
    return Path(folder) / f"{prop}_change_{layer}_vector_{group}.csv"


def write_directions(
    folder: Path | str,
    directions: np.ndarray,
    group_names: Sequence[str],
    layer: str,
    properties: Sequence[str] = EDITED_PROPERTIES,
) -> list[Path]:
    """Writes one file a property and group: a header of column numbers, one row, an index column.

    Args:
        folder: created where it does not exist.
        directions: ``[k, num_groups, D]``; float32 survives exactly.
        group_names: names along axis 1.
        layer: the extraction layer's name.
        properties: names along axis 0.

    Returns:
        The paths, group by group within each property.

    Raises:
        ValueError: where shape and names do not fit together.
    """
    directions = np.asarray(directions, dtype=np.float32)
    expected = (len(properties), len(group_names))
    if directions.ndim != 3 or directions.shape[:2] != expected:
        raise ValueError(f"directions have shape {list(directions.shape)}, expected [{expected[0]}, {expected[1]}, D]")
    paths = []
    for prop, of_property in zip(properties, directions, strict=True):
        for group, vector in zip(group_names, of_property, strict=True):
            paths.append(direction_path(folder, prop, layer, group))
            write_rows(paths[-1], [["", *range(len(vector))], [0, *map(str, vector)]])
    return paths


def read_directions(folder: Path | str, layer: str, properties: Sequence[str] | None = None) -> DirectionTable:
    """Reads the direction files of a layer, whatever groups there are.

    Args:
        folder: where the files lie; those of other layers are left alone.
        layer: the extraction layer's name.
        properties: which to read, in which order; None reads all that there are, the published ones first.

    Raises:
        TableError: where there are none, a property lacks a group that another has, a file does not hold one row of
            finite numbers under their column numbers, or files have different sizes.
    """
    names = [match for match in _matches(folder) if match["layer"] == layer]
    if properties is None:
        found = {match["property"] for match in names}
        properties = [name for name in EDITED_PROPERTIES if name in found] + sorted(found - set(EDITED_PROPERTIES))
    pairs = {(match["property"], match["group"]) for match in names if match["property"] in properties}
    group_names = sorted({group for _, group in pairs})
    if not group_names:
        raise TableError(_none(folder, layer))
    missing = [(prop, group) for prop in properties for group in group_names if (prop, group) not in pairs]
    if missing:
        path = direction_path(folder, missing[0][0], layer, missing[0][1])
        rest = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        groups = shown(sorted({group for _, group in missing}))
        raise TableError(
            f"{path} is missing{rest}, expected one file a property and group: only some properties have one of "
            f"{groups}"
        )
    vectors = [[_read_direction(direction_path(folder, p, layer, group)) for group in group_names] for p in properties]
    sizes = sorted({len(vector) for of_property in vectors for vector in of_property})
    if len(sizes) > 1:
        raise TableError(f"{folder}: direction files of layer {layer!r} have different sizes {sizes}")
    return DirectionTable(np.array(vectors), tuple(properties), group_names)


def _matches(folder: Path | str) -> Iterator[re.Match[str]]:
    for path in sorted(Path(folder).glob("*.csv")):
        if match := NAME.fullmatch(path.name):
            yield match


def _none(folder: Path | str, layer: str) -> str:
    if not Path(folder).is_dir():
        return f"{folder} is no folder: give the one that holds the direction files"
    others = sorted({match["layer"] for match in _matches(folder)})
    there = f", but files of the layers {shown(others)}" if others else ""
    return f"{folder} holds no direction files of layer {layer!r} (PROPERTY_change_{layer}_vector_GROUP.csv){there}"


def _read_direction(path: Path) -> np.ndarray:
    table = read_table(path, ends=True)
    columns = table.header[1:]
    if table.header[0] or columns != [str(i) for i in range(len(columns))] or not columns:
        raise TableError(f"{path} has the columns {shown(table.header)}, expected '', '0', '1' and so on")
    if len(table.rows) != 1:
        raise TableError(f"{path} holds {len(table.rows)} rows, expected one: a direction a file")
    return table.numbers(columns)[0].astype(np.float32)
