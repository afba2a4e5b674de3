"""CSV tables of results in the names and formats of the published Oh-LoRA system."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.files import CaseTable, read_table, write_case_table, write_rows
from ohlora_gan.judging.generation_test import Case
from ohlora_gan.names import EDITED_PROPERTIES


def write_cases(path: Path | str, cases: Sequence[Case]) -> None:
    """Writes the generation test's table: one row a latent, ``O`` passed, ``X`` did not, four decimals."""
    edited = list(cases[0].corrs) if cases else list(EDITED_PROPERTIES)
    table = CaseTable(
        np.array([case.index for case in cases], dtype=np.int64),
        [case.group for case in cases],
        np.array([case.passed for case in cases], dtype=bool),
        {name: np.array([case.corrs[name] for case in cases]) for name in edited},
    )
    write_case_table(path, table)


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
    found = read_table(path, ends=True) if path.exists() else None
    if found and found.header != header:
        raise ValueError(f"{path} has columns {found.header[1:]}, the row has {header[1:]}: use another file")
    rows = found.rows if found else []
    write_rows(path, [header, *rows, [len(rows), *row.values()]])
