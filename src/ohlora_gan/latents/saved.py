"""Faces that are kept as latents, and tables about them: our format, and those of Oh-LoRA."""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ohlora_gan.errors import UserError
from ohlora_gan.files import TableError, read_table, replacing, shown, write_rows
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.names import EDITED_PROPERTIES
from ohlora_gan.reading import UnreadableError, check_described, read_tensors

log = logging.getLogger(__name__)

METADATA_KEY = "ohlora_gan_latents"
PUBLISHED_SIZES = (512, 7)
MAX_LATENT = 1000
SUM_TOLERANCE = 1e-3  # of sums of numbers with four decimals
RENAMED = {"background_score": "background_mean"}


class LatentsError(UserError):
    """A file of latents that cannot be used, with the reason."""


@dataclass
class SavedLatents:
    """Latents and what is known of them.

    Attributes:
        z, label: float32 ``[N, z_dim]`` and ``[N, label_dim]``, of no columns where the generator is unconditional.
        groups: names ``[N]``; empty where they are unknown.
        cases: number of each latent among those tested, int64 ``[N]``; empty where unknown.
        corrs: correlation of intended strength and measured score by property, float64 ``[N]``.
        origin: where they come from: ``generator`` (hash of the weights), ``layer``, ``seed``, ...
    """

    z: np.ndarray
    label: np.ndarray
    groups: list[str] = field(default_factory=list)
    cases: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    corrs: dict[str, np.ndarray] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.z, self.label = (np.ascontiguousarray(values, dtype=np.float32) for values in (self.z, self.label))
        self.groups, self.cases = list(self.groups), np.asarray(self.cases, dtype=np.int64)
        self.corrs = {name: np.asarray(values, dtype=np.float64) for name, values in self.corrs.items()}
        n = len(self.z)
        if self.z.ndim != 2 or self.label.ndim != 2 or len(self.label) != n or n == 0:
            shapes = f"z {list(self.z.shape)} and label {list(self.label.shape)}"
            raise LatentsError(f"latents have {shapes}, expected [N, z_dim] and [N, label_dim] with N at least 1")
        if not (np.isfinite(self.z).all() and np.isfinite(self.label).all()):
            raise LatentsError("latents are not all finite: make them again")
        if (largest := max(float(np.abs(values).max(initial=0)) for values in (self.z, self.label))) > MAX_LATENT:
            raise LatentsError(
                f"latents have values up to {largest:.3g}, expected those of N(0, I), {MAX_LATENT} at most: make them "
                f"again"
            )
        counts = {"groups": len(self.groups) or n, "cases": len(self.cases) or n}
        for what, count in (counts | {name: len(values) for name, values in self.corrs.items()}).items():
            if count != n:
                raise LatentsError(f"there are {n} latents but {what} of {count}: give one for each")
        if self.groups:
            check_groups(self.groups, "latents")

    def __len__(self) -> int:
        return len(self.z)

    def check(self, generator: GeneratorBase) -> None:
        """Raises LatentsError where a generator takes latents of other sizes."""
        own, expected = (self.z.shape[1], self.label.shape[1]), (generator.z_dim, generator.label_dim)
        if own != expected:
            raise LatentsError(
                f"latents have z of {own[0]} and label of {own[1]} values, the generator takes {expected[0]} and "
                f"{expected[1]}: give the generator that they were made with"
            )


def write_latents(folder: str | Path, latents: SavedLatents, layer: str, option: str) -> list[Path]:
    """Writes ``latents.safetensors`` and Oh-LoRA's two CSV files.

    Numbers in the CSVs are written exactly, so that a latent that barely passed passes again; the published files have
    four decimals. File names hold the extraction layer's name, and Oh-LoRA's word for how directions were
    found (``option``), such as ``mixed`` or ``svm_ms2``.
    """
    if not (latents.groups and len(latents.cases) and latents.corrs):
        raise LatentsError("latents lack groups, cases or correlations: test them first")
    folder = Path(folder)
    paths = [save_latents(folder / "latents.safetensors", latents)]
    values = np.hstack([latents.z, latents.label])
    paths.append(folder / f"ohlora_z_vectors_{option}.csv")
    write_rows(paths[-1], [list(range(values.shape[1])), *([str(value) for value in row] for row in values)])
    paths.append(folder / f"ohlora_{layer}_group_names_{option}.csv")
    passed = np.ones(len(latents), dtype=bool)
    write_case_table(paths[-1], CaseTable(latents.cases, latents.groups, passed, latents.corrs))
    return paths


def save_latents(path: str | Path, latents: SavedLatents) -> Path:
    """Writes one safetensors file: tensors and a JSON description, whole or not at all."""
    path = Path(path)
    names = list(latents.corrs)
    corrs = np.array([latents.corrs[name] for name in names]).reshape(len(names), len(latents))
    tensors = {"z": latents.z, "label": latents.label, "cases": latents.cases, "corrs": corrs}
    description = {"groups": latents.groups, "properties": names, "origin": latents.origin}
    with replacing(path) as partial:
        partial.write_bytes(save(tensors, metadata={METADATA_KEY: json.dumps(description)}))
    return path


def read_latents(
    path: str | Path, groups_path: str | Path | None = None, sizes: tuple[int, int] = PUBLISHED_SIZES
) -> SavedLatents:
    """Reads latents of ours, or Oh-LoRA's.

    Values in the published CSVs are rounded to four decimals: their pictures are nearly, not exactly, those that were
    tested, and a latent that passed by a hair may fail.

    Args:
        path: ``.safetensors`` of ``save_latents``, or ``ohlora_z_vectors_*.csv``: z, then label, one latent a row.
        groups_path: ``ohlora_*_group_names_*.csv`` beside the latter, one row a latent; None: groups are unknown.
        sizes: z_dim and label_dim of the generator, which say where in the CSV z ends.
    """
    if Path(path).suffix == ".safetensors":
        if groups_path is not None:
            raise LatentsError(f"{path} holds its own groups: leave {groups_path} out")
        return _load(Path(path))
    values = read_table(path)
    if values.header != [str(i) for i in range(len(values.header))]:
        raise TableError(f"{path} has the columns {shown(values.header)}, expected '0', '1', '2' and so on")
    if len(values.header) != sum(sizes):
        raise TableError(
            f"{path} has {len(values.header)} columns, expected {sum(sizes)}: z of {sizes[0]} and label of {sizes[1]} "
            f"values, as the generator takes them"
        )
    z, label = np.split(values.numbers(values.header), [sizes[0]], axis=1)
    found = SavedLatents(z, label, origin={"imported": {"source": Path(path).name}})
    if groups_path is None:
        return found
    table = read_cases(groups_path)
    if len(table.groups) != len(found):
        raise LatentsError(
            f"{path} holds {len(found)} latents but {groups_path} {len(table.groups)} groups: give files of one run"
        )
    return SavedLatents(found.z, found.label, table.groups, table.cases, table.corrs, found.origin)


@dataclass
class Described:
    """What the description of a file of latents says."""

    groups: list[str]
    properties: list[str]
    origin: dict[str, Any]


KINDS = {"z": "f", "label": "f", "cases": "i", "corrs": "f"}
NUMBERS = {"f": "floats", "i": "whole numbers"}


def _load(path: Path) -> SavedLatents:
    try:
        description, held = read_tensors(path, METADATA_KEY)
        check_described(Described, description, ("groups", "properties", "origin"))
        tensors = {name: held[name] for name in KINDS}
        if wrong := [name for name, kind in KINDS.items() if tensors[name].dtype.kind != kind]:
            raise UnreadableError(f"its {wrong[0]} are {tensors[wrong[0]].dtype}, expected {NUMBERS[KINDS[wrong[0]]]}")
        if len(tensors["corrs"]) != len({*description["properties"]}):
            raise UnreadableError(f"it has correlations of {len(tensors['corrs'])} properties, expected one a name")
    except FileNotFoundError as error:
        raise LatentsError(f"latents {path} do not exist: give a file of find_vectors.py or import_vectors") from error
    except (UnreadableError, KeyError, OSError) as error:
        raise LatentsError(f"{path} holds no latents of this project, or is cut off: {error}") from error
    corrs = dict(zip(description["properties"], tensors.pop("corrs"), strict=True))
    try:
        return SavedLatents(**tensors, groups=description["groups"], corrs=corrs, origin=description["origin"])
    except (LatentsError, TableError) as error:
        raise LatentsError(f"{path}: {error}") from error


# --- Tables in the names and formats of Oh-LoRA ---


@dataclass(frozen=True)
class CaseTable:
    """The image generation test, one row a latent.

    The published vectors found by SVM lower the score, so their correlations are negative.
    """

    cases: np.ndarray  # number of each latent among those tested, int64 [N], ascending
    groups: list[str]
    passed: np.ndarray  # bool [N]
    corrs: dict[str, np.ndarray]  # see `SavedLatents`; NaN where undefined

    @property
    def sum_abs_corr(self) -> np.ndarray:
        """Sum of the absolute correlations, float64 ``[N]``; an undefined one counts as 0."""
        return np.nan_to_num(np.abs(list(self.corrs.values()))).sum(axis=0)


def write_cases(path: Path | str, cases: Sequence[Any]) -> None:
    """Writes the generation test's table; see ``judging.figures.Case``."""
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
    """Reads ``test_result_*.csv`` or ``ohlora_*_group_names_*.csv``, with or without a column ``vector_no``."""
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
    if names == ["all"] or (not odd and len({len(name) for name in names}) == 1):
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
    """One row of a sweep over sample sizes ``n``: what a fit cost and what the generation test says of it.

    Args:
        fit_metrics: ``metrics_`` of the finder; its numbers named after a property (``svm_eyes_acc``) become
            columns, with ``-`` for None.
        test_summary: see ``figures.summary``.
        k: samples in either class, for methods that have classes.
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
