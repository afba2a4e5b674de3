"""CSV tables in the names and formats of the published Oh-LoRA system.

Direction files hold unit vectors. Ours raise the property; the published SVM vectors lower it.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.evaluation.generation_test import Case
from ohlora_gan.vocabulary import EDITED_PROPERTIES


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
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for prop, of_property in zip(properties, directions, strict=True):
        for group, vector in zip(group_names, of_property, strict=True):
            paths.append(direction_path(folder, prop, layer, group))
            _write_rows(paths[-1], [["", *range(len(vector))], [0, *map(str, vector)]])
    return paths


def read_directions(
    folder: Path | str, layer: str, properties: Sequence[str] = EDITED_PROPERTIES
) -> tuple[np.ndarray, list[str]]:
    """Reads the direction files of a layer, whatever groups there are.

    Returns:
        float32 ``[k, num_groups, D]``, in the order of ``properties``, and the group names, sorted (``hhhh`` first).

    Raises:
        FileNotFoundError: where there are none, or a property lacks a group that another has.
        ValueError: for a file that does not hold one row of numbers, or files of different sizes.
    """
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, properties))})_change_{re.escape(layer)}_vector_(.+)\.csv")
    matches = [pattern.fullmatch(path.name) for path in Path(folder).glob("*.csv")]
    group_names = sorted({match[1] for match in matches if match})
    if not group_names:
        raise FileNotFoundError(f"{folder} holds no direction files of layer {layer!r}")
    vectors = {
        (prop, group): _read_direction(direction_path(folder, prop, layer, group))
        for prop in properties
        for group in group_names
    }
    sizes = sorted({len(vector) for vector in vectors.values()})
    if len(sizes) > 1:
        raise ValueError(f"{folder}: direction files of layer {layer!r} have different sizes {sizes}")
    directions = np.array([[vectors[prop, group] for group in group_names] for prop in properties])
    return directions, group_names


def write_cases(path: Path | str, cases: Sequence[Case]) -> None:
    """Writes the generation test's table: one row a latent, ``O`` passed, ``X`` did not, four decimals."""
    edited = list(cases[0].corrs) if cases else list(EDITED_PROPERTIES)
    corr_columns = [f"{prop}_corr" for prop in edited]
    rows: list[list[Any]] = [["case", "svm_group_name", "passed", *corr_columns, "sum_abs_corr"]]
    for case in cases:
        corrs = [round(case.corrs[prop], 4) for prop in edited]
        sum_abs = round(case.sum_abs_corr, 4)
        rows.append([case.index, case.group, "O" if case.passed else "X", *corrs, sum_abs])
    _write_rows(Path(path), rows)


def sweep_row(
    n: int,
    seconds: float,
    fit_metrics: Mapping[str, Any],
    test_summary: Mapping[str, float],
    k: int | None = None,
    properties: Sequence[str] = EDITED_PROPERTIES,
) -> dict[str, Any]:
    """One row of a sweep over sample sizes: what a fit cost and what the generation test says of it.

    Args:
        n: samples that the directions were found with.
        seconds: time of finding and testing.
        fit_metrics: ``metrics_`` of the finder; its numbers named after a property (``svm_eyes_acc``) become
            columns, with ``-`` for None.
        test_summary: see ``generation_test.summary``.
        k: samples in either class, for methods that have classes.
        properties: the edited properties.
    """
    row: dict[str, Any] = {"n": n} if k is None else {"n": n, "k": k}
    row["time"] = round(seconds, 2)
    for prop in properties:
        for key, value in fit_metrics.items():
            if key.partition("_")[2].startswith(f"{prop}_"):
                row[key] = "-" if value is None else round(value, 4)
    for key in (*(f"{prop}_mean_corr" for prop in properties), "sum_mean_corr"):
        row[key] = round(test_summary[key], 4)
    return row


def append_sweep_row(path: Path | str, row: Mapping[str, Any]) -> None:
    """Adds a row to a sweep's table, which it starts where there is none; the index column counts on.

    Raises:
        ValueError: where the table has other columns.
    """
    path, header = Path(path), ["", *row]
    found = _read_rows(path) if path.exists() else []
    if found and found[0] != header:
        raise ValueError(f"{path} has columns {found[0][1:]}, the row has {header[1:]}: use another file")
    line = [max(len(found) - 1, 0), *row.values()]
    _write_rows(path, [line] if found else [header, line], mode="a")


def _read_direction(path: Path) -> np.ndarray:
    rows = _read_rows(path)
    try:
        (header, row) = rows
        vector = np.array(row[1:], dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"{path}: expected a header and one row of numbers") from error
    if len(header) != len(row) or not np.isfinite(vector).all():
        raise ValueError(f"{path}: expected {len(header) - 1} finite numbers, as many as the header names")
    return vector


def _read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _write_rows(path: Path, rows: Sequence[Sequence[Any]], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
