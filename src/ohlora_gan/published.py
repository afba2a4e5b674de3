"""Result tables of the published Oh-LoRA system, read and checked: tests of latents, sweeps, medians, the training log.

Where two generations of the system named columns differently, both are read. Tables of ours in these formats too.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ohlora_gan.csv_table import CsvTable, TableError, read_table, shown, write_rows

UNGROUPED = "all"
SUM_TOLERANCE = 1e-3  # of sums of numbers with four decimals
RENAMED = {"background_score": "background_mean"}
STATISTICS = ("mean", "median")
LOG_COUNTS = ("epoch", "idx", "d_train_count", "g_train_count")
LOG_COLUMNS = (*LOG_COUNTS, "d_loss", "g_loss", "real_scores_mean", "fake_scores_mean", "real_fake_auroc")


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
    _check_cells(table, "passed", ("O", "X"))
    cases, groups = table.integers("case"), table.column(group_column)
    check_groups(groups, path)
    if (np.diff(cases) <= 0).any() or cases[0] < 0:
        raise TableError(f"{path}, column 'case': expected numbers that rise from row to row")
    corrs = table.numbers([f"{name}_corr" for name in edited], unknown=("nan",))
    if (np.abs(corrs) > 1).any():
        raise TableError(f"{path}: a correlation is outside -1 to 1")
    _check_sum(table, np.abs(np.nan_to_num(corrs)), "sum_abs_corr")
    passed = np.array([cell == "O" for cell in table.column("passed")])
    return CaseTable(cases, groups, passed, dict(zip(edited, corrs.T, strict=True)))


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


def read_sweep(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a sweep over sample sizes: column name -> float64 ``[N]``, one row a size; NaN stands for ``-``.

    Raises:
        TableError: if the file is damaged, lacks columns, or a sum of correlations is not their sum.
    """
    table = read_table(path)
    table.require(["n", "time", "sum_mean_corr"])
    columns = [name for name in table.header if name]
    means = [name for name in columns if name.endswith("_mean_corr") and name != "sum_mean_corr"]
    _check_sum(table, table.numbers(means), "sum_mean_corr")
    return dict(zip(columns, table.numbers(columns, unknown=("-",)).T, strict=True))


def read_medians(path: str | Path, statistic: str = "median") -> dict[str, float]:
    """Reads ``property_scores_mean_and_median.csv``: property -> median (or mean) of its normalised score.

    The order of the columns is that of the letters of group names. ``background_score`` is ``background_mean``.

    Raises:
        TableError: if the file is damaged, or lacks the statistic.
    """
    table = read_table(path)
    kinds = table.column("value_type")
    if kinds.count(statistic) != 1:
        raise TableError(f"{path} has the rows {shown(kinds)}, expected one {statistic!r} among them")
    names = [name for name in table.header if name != "value_type"]
    values = table.numbers(names)[kinds.index(statistic)].tolist()
    return {RENAMED.get(name, name): value for name, value in zip(names, values, strict=True)}


def read_training_log(path: str | Path) -> dict[str, np.ndarray]:
    """Reads ``finetune_v9_train_log.csv``: column name -> ``[N]``, int64 where it counts, else float64.

    Raises:
        TableError: if the file is damaged, lacks columns, or does not go on from row to row.
    """
    table = read_table(path)
    table.require(LOG_COLUMNS)
    columns = [name for name in table.header if name]
    log = dict(zip(columns, table.numbers(columns).T, strict=True))
    log |= {name: table.integers(name) for name in LOG_COUNTS}
    steps = list(zip(log["epoch"].tolist(), log["idx"].tolist(), strict=True))
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise TableError(f"{path}: epoch and idx do not rise from row to row")
    return log


def _check_cells(table: CsvTable, column: str, expected: Sequence[str]) -> None:
    for line, cell in enumerate(table.column(column), start=2):
        if cell not in expected:
            raise TableError(f"{table.path}, line {line}, column {column!r}: {cell!r}, expected {shown(expected)}")


def _check_sum(table: CsvTable, parts: np.ndarray, column: str) -> None:
    off = np.abs(parts.sum(axis=1) - table.numbers([column])[:, 0]) > SUM_TOLERANCE
    if off.any():
        line = int(np.flatnonzero(off)[0]) + 2
        raise TableError(f"{table.path}, line {line}: {column} is not the sum of the row's correlations")
