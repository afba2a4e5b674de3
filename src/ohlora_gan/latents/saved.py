"""Latents worth keeping: z and label of those that passed the generation test, with group and correlations.

Ours is one safetensors file. The published Oh-LoRA system keeps two CSV files side by side, one of the values and one
of the groups; they are read, and written for others to read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ohlora_gan.errors import UserError
from ohlora_gan.files import TableError, read_table, replacing, shown, write_rows
from ohlora_gan.models.gan import Generator
from ohlora_gan.published import CaseTable, check_groups, read_cases, write_case_table

METADATA_KEY = "ohlora_gan_latents"
PUBLISHED_SIZES = (512, 7)
FILE_NAME = "latents.safetensors"


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
        counts = {"groups": len(self.groups) or n, "cases": len(self.cases) or n}
        for what, count in (counts | {name: len(values) for name, values in self.corrs.items()}).items():
            if count != n:
                raise LatentsError(f"there are {n} latents but {what} of {count}: give one for each")
        if self.groups:
            check_groups(self.groups, "latents")

    def __len__(self) -> int:
        return len(self.z)

    def check(self, generator: Generator) -> None:
        """Raises LatentsError where a generator takes latents of other sizes."""
        own, expected = (self.z.shape[1], self.label.shape[1]), (generator.z_dim, generator.label_dim)
        if own != expected:
            raise LatentsError(
                f"latents have z of {own[0]} and label of {own[1]} values, the generator takes {expected[0]} and "
                f"{expected[1]}: give the generator that they were made with"
            )


def write_latents(folder: str | Path, latents: SavedLatents, layer: str, option: str) -> list[Path]:
    """Writes ``latents.safetensors`` and the published system's two CSV files.

    Numbers in the CSVs are written exactly, so that a latent that barely passed passes again; the published files have
    four decimals. File names hold the extraction layer's name, and the published system's word for how directions were
    found (``option``), such as ``mixed`` or ``svm_ms2``.
    """
    if not (latents.groups and len(latents.cases) and latents.corrs):
        raise LatentsError("latents lack groups, cases or correlations: test them first")
    folder = Path(folder)
    paths = [save_latents(folder / FILE_NAME, latents)]
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
        save_file(tensors, partial, metadata={METADATA_KEY: json.dumps(description)})
    return path


def read_latents(
    path: str | Path, groups_path: str | Path | None = None, sizes: tuple[int, int] = PUBLISHED_SIZES
) -> SavedLatents:
    """Reads latents of ours, or the published system's.

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
    values = _read_values(Path(path), sizes)
    found = SavedLatents(values[:, : sizes[0]], values[:, sizes[0] :], origin={"imported": {"source": Path(path).name}})
    if groups_path is None:
        return found
    table = read_cases(groups_path)
    if len(table.groups) != len(found):
        raise LatentsError(
            f"{path} holds {len(found)} latents but {groups_path} {len(table.groups)} groups: give files of one run"
        )
    return SavedLatents(found.z, found.label, table.groups, table.cases, table.corrs, found.origin)


def _read_values(path: Path, sizes: Sequence[int]) -> np.ndarray:
    table = read_table(path)
    if table.header != [str(i) for i in range(len(table.header))]:
        raise TableError(f"{path} has the columns {shown(table.header)}, expected '0', '1', '2' and so on")
    if len(table.header) != sum(sizes):
        raise TableError(
            f"{path} has {len(table.header)} columns, expected {sum(sizes)}: z of {sizes[0]} and label of {sizes[1]} "
            f"values, as the generator takes them"
        )
    return table.numbers(table.header)


def _load(path: Path) -> SavedLatents:
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in ("z", "label", "cases", "corrs")}
    except FileNotFoundError as error:
        raise LatentsError(f"latents {path} do not exist: give a file of find_vectors.py or import_vectors") from error
    except (SafetensorError, KeyError, OSError) as error:
        raise LatentsError(f"{path} holds no latents of this project, or is cut off: {error}") from error
    corrs = dict(zip(description["properties"], tensors.pop("corrs"), strict=True))
    return SavedLatents(**tensors, groups=description["groups"], corrs=corrs, origin=description["origin"])
