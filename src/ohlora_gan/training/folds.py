"""Cross-validation of a filter: stratified folds, each retrained until it is good enough, and kept when it is done.

Every finished fold is a file, ``fold_0.safetensors``, with its weights, the figures of all its epochs and the settings
that it was made with. Started again in the same folder with the same settings, a run goes on after the last one; a
fold that was cut off begins anew.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

from ohlora_gan import checkpoint, seeding
from ohlora_gan.checkpoint import CheckpointError
from ohlora_gan.csv_table import write_records
from ohlora_gan.data.loader import EpochSampler, ResumableLoader
from ohlora_gan.models.filter_nets import FilterEnsemble
from ohlora_gan.training.filter_module import FIGURES, FilterModule, Row, binary_metrics

log = logging.getLogger(__name__)


class FoldData(pl.LightningDataModule):
    """The training and the validation part of one fold.

    Args:
        dataset: map-style, of (image, labels ``[K]``).
        train, val: item numbers.
        batch_size: images a batch.
        num_workers: worker processes.
        seed: decides the order of training images.

    Attributes:
        base_rate: share of ones among the training images.
    """

    def __init__(
        self,
        dataset: Dataset,
        train: Sequence[int],
        val: Sequence[int],
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        base_rate: float = 0.5,
    ) -> None:
        super().__init__()
        self.parts, self.base_rate = (Subset(dataset, train), Subset(dataset, val)), base_rate
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(len(self.parts[0]), self.seed)
        return ResumableLoader(self.parts[0], self.batch_size, sampler, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.parts[1], 2 * self.batch_size, num_workers=self.num_workers)


@dataclass
class Fold:
    """A finished fold: its number, all epochs of all attempts, the best one, and the network with its weights."""

    number: int
    rows: list[Row]
    best: Row
    net: nn.Module = field(repr=False)

    def meets(self, threshold: float | None) -> bool:
        """Whether the best validation loss is at or under the threshold; None is no rule."""
        return threshold is None or self.best["val_loss"] <= threshold


Fit = Callable[[str, FoldData], FilterModule]
"""Trains a fresh network on a fold's data; the first argument names the attempt and decides its random numbers."""


class CrossValidation:
    """How a filter is trained.

    Args:
        num_folds: number of folds, at least 2.
        patience: epochs without a better validation loss after which an attempt ends.
        threshold: a fold is retrained from its start weights with other random numbers until its best validation
            loss (binary cross entropy) is at or under this; None is no rule.
        max_attempts: attempts a fold, at least 1; if all miss the threshold, the best is kept, with a warning.
        seed: decides the split.
    """

    def __init__(
        self,
        num_folds: int = 5,
        patience: int = 20,
        threshold: float | None = None,
        max_attempts: int = 3,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("num_folds", num_folds, 2), ("max_attempts", max_attempts, 1)):
            if value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        self.num_folds, self.patience, self.threshold = num_folds, patience, threshold
        self.max_attempts, self.seed = max_attempts, seed

    def split(self, labels: NDArray[Any]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Item numbers for training and for validation, a fold each, with the same share of ones everywhere.

        Args:
            labels: 0 or 1, ``[N]``.

        Raises:
            ValueError: if there are fewer zeros or ones than folds.
        """
        ones = int(labels.sum())
        if min(ones, len(labels) - ones) < self.num_folds:
            raise ValueError(
                f"{ones} of {len(labels)} training pictures are labelled 1, expected at least {self.num_folds} of 1 "
                f"and of 0 for {self.num_folds} folds: add pictures or lower model.folds.num_folds"
            )
        state = seeding.stream_key(self.seed, "filter/folds") % 2**32
        splitter = StratifiedKFold(self.num_folds, shuffle=True, random_state=state)
        return list(splitter.split(np.zeros(len(labels)), labels))

    def run_fold(self, number: int, data: FoldData, fit: Fit) -> Fold:
        """Attempts until the threshold is met, or as many as are allowed; the best one."""
        rows: list[Row] = []
        best: Fold | None = None
        for attempt in range(self.max_attempts):
            stream = f"fold_{number}/attempt_{attempt}"
            data.seed = seeding.stream_key(self.seed, f"filter/order/{stream}")
            module = fit(stream, data)
            if not module.best:
                raise ValueError(f"{stream} ended before its first validation: raise trainer.max_epochs or its limits")
            place = {"fold": float(number), "attempt": float(attempt)}
            rows += [place | row for row in module.history]
            if best is None or module.best["val_loss"] < best.best["val_loss"]:
                module.net.load_state_dict(module.best_state)
                best = Fold(number, rows, place | module.best, module.net.cpu().eval())
            if best.meets(self.threshold):
                break
        assert best is not None
        if not best.meets(self.threshold):
            loss = best.best["val_loss"]
            log.warning(
                "fold %d: the best of %d attempts has a validation loss of %.3f, above the threshold of %s",
                number, self.max_attempts, loss, self.threshold,
            )  # fmt: skip
        return best


def binary_labels(scores: NDArray[np.float32], name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items that have a label, and these labels.

    Args:
        scores: ``[N, K]``; the first column is the attribute: 0, 1, or NaN where it is not known.
        name: the attribute, for messages.

    Raises:
        ValueError: if it takes other values.
    """
    known = np.flatnonzero(np.isfinite(scores[:, 0]))
    labels = scores[known, 0]
    if others := sorted(set(np.unique(labels)) - {0.0, 1.0}):
        raise ValueError(
            f"attribute={name} takes values such as {others[0]:g}, expected 0 and 1: "
            f"numbers on a scale are learnt by model=attribute_cnn"
        )
    return known, labels.astype(np.int64)


def fold_path(folder: Path, number: int) -> Path:
    return folder / f"fold_{number}.safetensors"


def save_fold(folder: Path, fold: Fold, name: str, settings: dict[str, Any]) -> None:
    """Keeps a finished fold with all that a later run needs to go on from it."""
    path = fold_path(folder, fold.number)
    checkpoint.save(path, {name: fold.net}, stage="filter_fold", rows=fold.rows, best=fold.best, settings=settings)


def load_fold(folder: Path, number: int, name: str, settings: dict[str, Any]) -> Fold | None:
    """A fold that an earlier run finished; None if there is none.

    Raises:
        CheckpointError: if it was made with other settings.
    """
    path = fold_path(folder, number)
    if not path.is_file():
        return None
    kept = checkpoint.load(path)
    before = kept.info.get("settings", {})
    if before != settings:
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        key = changed[0]
        raise CheckpointError(
            f"{path} was made with {key}={before.get(key)}, now {key}={settings.get(key)}: "
            f"give another paths.output_dir, or remove the fold_*.safetensors to start anew"
        )
    return Fold(number, kept.info["rows"], kept.info["best"], kept.build(name).eval())


def run_folds(
    plan: CrossValidation,
    dataset: Dataset,
    scores: NDArray[np.float32],
    name: str,
    fit: Fit,
    folder: Path,
    settings: dict[str, Any],
    batch_size: int,
    num_workers: int = 0,
) -> list[Fold]:
    """All folds of an attribute; those that the folder holds are taken from there.

    Args:
        plan: how they are trained.
        dataset: map-style, of (image, labels ``[K]``).
        scores: its labels ``[N, K]``, the attribute's first, NaN where not known.
        name: the attribute.
        fit: trains one attempt.
        folder: where finished folds, and ``folds.csv`` with all their epochs, are kept.
        settings: plain data that decides the result.
        batch_size, num_workers: of the training.
    """
    known, labels = binary_labels(scores, name)
    folds: list[Fold] = []
    for number, parts in enumerate(plan.split(labels)):
        fold = load_fold(folder, number, name, settings)
        if fold is None:
            train, val = (known[part].tolist() for part in parts)
            base_rate = float(labels[parts[0]].mean())
            data = FoldData(dataset, train, val, batch_size, num_workers, base_rate=base_rate)
            fold = plan.run_fold(number, data, fit)
            save_fold(folder, fold, name, settings)
        folds.append(fold)
        write_figures(folder / "folds.csv", [row for done in folds for row in done.rows])
        log.info("fold %d of %d: validation loss %.4f", number + 1, plan.num_folds, fold.best["val_loss"])
    return folds


def write_figures(path: Path, rows: Sequence[Row]) -> None:
    """Figures of every epoch as CSV: fold, attempt and epoch are whole numbers."""
    whole = ("fold", "attempt", "epoch")
    write_records(path, [{k: int(v) if k in whole else round(v, 5) for k, v in row.items()} for row in rows])


@torch.no_grad()
def evaluate(ensemble: FilterEnsemble, dataset: Dataset, scores: NDArray[np.float32], device: torch.device) -> Row:
    """``test/loss``, ``test/accuracy``, ... of an ensemble, and ``test/base_rate``: the share of ones."""
    known, labels = binary_labels(scores, ensemble.name)
    truth, judge = torch.from_numpy(labels), ensemble.to(device)
    loader = DataLoader(Subset(dataset, known.tolist()), batch_size=128)
    found = torch.cat([judge(images.to(device)).cpu() for images, _ in loader])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No (positive|negative) samples")  # the base rate says so
        figures = {name: float(value) for name, value in binary_metrics()(found, truth).items()}
    figures["loss"] = float(F.binary_cross_entropy(found, truth.float()))
    return {f"test/{name}": figures[name] for name in FIGURES} | {"test/base_rate": float(truth.float().mean())}


def summary(folds: Sequence[Fold], threshold: float | None) -> Row:
    """Means over the folds' best epochs (``val/loss``, ...), and how many folds meet the threshold."""
    means = {f"val/{name}": float(np.mean([fold.best[f"val_{name}"] for fold in folds])) for name in FIGURES}
    return means | {"folds_at_threshold": float(sum(fold.meets(threshold) for fold in folds))}


def format_folds(folds: Sequence[Fold], threshold: float | None) -> str:
    """A table of the folds' best epochs."""
    lines = [f"{'fold':>4} {'attempts':>8} {'epoch':>5}" + "".join(f"{name:>10}" for name in FIGURES) + "  threshold"]
    for fold in folds:
        attempts = len({row["attempt"] for row in fold.rows})
        rule = "none" if threshold is None else "met" if fold.meets(threshold) else "missed"
        figures = "".join(f"{fold.best[f'val_{name}']:10.4f}" for name in FIGURES)
        lines.append(f"{fold.number:4d} {attempts:8d} {int(fold.best['epoch']):5d}{figures}  {rule}")
    return "\n".join(lines)
