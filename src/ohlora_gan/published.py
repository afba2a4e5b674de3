"""Result tables in the names and formats of the published Oh-LoRA system, read with checks and written exactly."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.files import TableError, read_table, shown, write_rows
from ohlora_gan.names import EDITED_PROPERTIES

UNGROUPED = "all"
SUM_TOLERANCE = 1e-3  # of sums of numbers with four decimals
RENAMED = {"background_score": "background_mean"}


@dataclass(frozen=True)
class CaseTable:
    """The image generation test, one row a latent.

    Attributes:
        cases: number of each latent among those tested, int64 ``[N]``, ascending.
        groups: the latents' groups, ``[N]``.
        passed: bool ``[N]``.
        corrs: correlation of intended strength and measured score by property, float64 ``[N]`` with four decimals;
            NaN where undefined. The published vectors found by SVM lower the score, so theirs are negative.
    """

    cases: np.ndarray
    groups: list[str]
    passed: np.ndarray
    corrs: dict[str, np.ndarray]

    @property
    def sum_abs_corr(self) -> np.ndarray:
        """Sum of the absolute correlations, float64 ``[N]``; an undefined one counts as 0."""
        return np.nan_to_num(np.abs(list(self.corrs.values()))).sum(axis=0)


def write_cases(path: Path | str, cases: Sequence[Any]) -> None:
    """Writes the generation test's table; see ``judging.generation_test.Case``."""
    edited = list(cases[0].corrs) if cases else list(EDITED_PROPERTIES)
    table = CaseTable(
        np.array([case.index for case in cases], dtype=np.int64),
        [case.group for case in cases],
        np.array([case.passed for case in cases], dtype=bool),
        {name: np.array([case.corrs[name] for case in cases]) for name in edited},
    )
    write_case_table(path, table)


def write_case_table(path: str | Path, table: CaseTable) -> None:
    """Writes ``test_result_*.csv``: one row a latent, ``O`` passed, ``X`` did not, four decimals."""
    columns = [table.cases.tolist(), table.groups, ["O" if passed else "X" for passed in table.passed]]
    numbers = [*table.corrs.values(), table.sum_abs_corr if table.corrs else np.empty(0)]
    columns += [[round(value, 4) for value in column.tolist()] for column in numbers]
    header = ["case", "svm_group_name", "passed", *(f"{name}_corr" for name in table.corrs), "sum_abs_corr"]
    write_rows(path, [header, *zip(*columns, strict=True)])


def read_cases(path: str | Path) -> CaseTable:
    """Reads ``test_result_*.csv`` or ``ohlora_*_group_names_*.csv``, with or without a column ``vector_no``.

    Raises:
        TableError: if the file is damaged, lacks columns, or its numbers contradict each other.
    """
    table = read_table(path)
    group_column = "group_name" if "group_name" in table.header else "svm_group_name"
    edited = [name.removesuffix("_corr") for name in table.header if re.fullmatch("(?!sum_abs).+_corr", name)]
    table.require(["case", group_column, "passed", "sum_abs_corr"])
    if not edited:
        raise TableError(f"{path} has the columns {shown(table.header)}, expected one such as 'eyes_corr' among them")
    marks = table.column("passed")
    for line, mark in enumerate(marks, start=2):
        if mark not in ("O", "X"):
            raise TableError(f"{path}, line {line}, column 'passed': {mark!r}, expected 'O', 'X'")
    cases, groups = table.integers("case"), table.column(group_column)
    check_groups(groups, path)
    if (np.diff(cases) <= 0).any() or cases[0] < 0:
        raise TableError(f"{path}, column 'case': expected numbers that rise from row to row")
    corrs = table.numbers([f"{name}_corr" for name in edited], unknown=("nan",))
    if (np.abs(corrs) > 1).any():
        raise TableError(f"{path}: a correlation is outside -1 to 1")
    sums = np.abs(np.nan_to_num(corrs)).sum(axis=1)
    if (off := np.abs(sums - table.numbers(["sum_abs_corr"])[:, 0]) > SUM_TOLERANCE).any():
        raise TableError(f"{path}, line {np.argmax(off) + 2}: sum_abs_corr is not the sum of the row's correlations")
    return CaseTable(cases, groups, np.array(marks) == "O", dict(zip(edited, corrs.T, strict=True)))


def check_groups(names: Iterable[str], source: str | Path) -> None:
    """Raises TableError where group names are not all ``all``, or all of the letters h and l and equally long."""
    names = sorted(set(names))
    odd = [name for name in names if not re.fullmatch("[hl]+", name)]
    if names == [UNGROUPED] or (not odd and len({len(name) for name in names}) == 1):
        return
    raise TableError(
        f"{source} names the groups {shown(odd or names)}, expected names such as 'hllh', of the letters h and l and "
        f"equally long, or 'all' alone"
    )


def read_medians(path: str | Path) -> dict[str, float]:
    """Reads ``property_scores_mean_and_median.csv``: property -> median of its normalised score.

    The order of the columns is that of the letters of group names. ``background_score`` is ``background_mean``.
    """
    table = read_table(path)
    kinds = table.column("value_type")
    if kinds.count("median") != 1:
        raise TableError(f"{path} has the rows {shown(kinds)}, expected one 'median' among them")
    names = [name for name in table.header if name != "value_type"]
    values = table.numbers(names)[kinds.index("median")].tolist()
    return {RENAMED.get(name, name): value for name, value in zip(names, values, strict=True)}


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
    """Adds a row to a sweep's table, which it starts where there is none; the index column counts on."""
    path, header = Path(path), ["", *row]
    found = read_table(path, ends=True) if path.exists() else None
    if found and found.header != header:
        raise ValueError(f"{path} has columns {found.header[1:]}, the row has {header[1:]}: use another file")
    rows = found.rows if found else []
    write_rows(path, [header, *rows, [len(rows), *row.values()]])
