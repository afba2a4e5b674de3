"""Training of one fold of a filter: binary classification of images by a network that gives logits."""

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
)

from ohlora_gan import rng
from ohlora_gan.data.datamodules import EpochSampler, ResumableLoader
from ohlora_gan.files import write_records
from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.filters import FilterEnsemble
from ohlora_gan.training.scorers import Batch, augment, warmup_cosine

Row = dict[str, float]

FIGURES = ("loss", "accuracy", "precision", "recall", "f1", "auroc")
"""What is measured of a filter."""


def binary_metrics() -> MetricCollection:
    """Accuracy, precision, recall and F1 at probability 1/2, and AUROC, over all batches, of probabilities."""
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": BinaryAccuracy(validate_args=False),
        "precision": BinaryPrecision(validate_args=False),
        "recall": BinaryRecall(validate_args=False),
        "f1": BinaryF1Score(validate_args=False),
        "auroc": BinaryAUROC(validate_args=False),
    }
    return MetricCollection(metrics)


@runtime_checkable
class SharedFeatures(Protocol):
    """A fold's network whose last features other attributes may be learnt from: ``last(penultimate(images))``."""

    last: nn.Linear

    def penultimate(self, images: Tensor) -> Tensor:
        """``[N, 3, R, R]`` images in [-1, 1] to what ``last`` sees, ``[N, F]``."""
        ...


class FilterModule(pl.LightningModule):
    """Minimises the binary cross entropy; keeps every epoch's figures and the weights of the best epoch.

    Batches are images ``[N, 3, R, R]`` in [-1, 1] and labels 0 or 1, ``[N, 1 + num_auxiliary]``, the filter's own
    first. Validation images are not changed.
    Figures go to the loggers once an epoch as ``{stream}/val/loss`` and so on, with the epoch as step, because the
    epochs of all folds share the loggers.

    Args:
        net: ``[N, 3, R, R]`` images in [-1, 1] to logits ``[N]``.
        lr: learning rate of AdamW; it rises over the first ``warmup`` batches.
        weight_decay: of AdamW.
        warmup: batches, 0 or more.
        anneal: whether the learning rate then falls to 0 by the last batch, along half a cosine; else it stays.
        augmentation: strength of the changes to training images, see `scorers.augment`; 0 is none.
        mirror: whether each training image is mirrored with probability 1/2; not for an attribute that a mirror
            turns round.
        num_auxiliary: attributes that are learnt beside the filter's own from the same last features, by a layer that
            is thrown away afterwards: where the own attribute is rare or fuzzy, they teach the features (Caruana
            1997, "Multitask learning"). The net must have `SharedFeatures`. Figures are of the own one.
        auxiliary_weight: of each auxiliary attribute's cross entropy in the training loss; the own one's is 1.
        shift: training images are moved by up to so many whole pixels either way, a batch all alike, which, unlike
            ``augmentation``, blurs nothing.
        seed: decides augmentation, mirroring and shift, together with ``stream``, epoch and batch.
        stream: what this training is called, such as ``fold_0/attempt_1``.

    Attributes:
        history: an epoch's ``epoch``, ``train_loss``, ``train_accuracy``, ..., ``val_loss``, ... each.
        best: the entry of ``history`` with the lowest ``val_loss``; empty before the first epoch has ended.
        best_state: the network's state at that epoch.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.003,
        weight_decay: float = 0.01,
        warmup: int = 50,
        anneal: bool = False,
        augmentation: float = 1.0,
        mirror: bool = True,
        shift: int = 0,
        num_auxiliary: int = 0,
        auxiliary_weight: float = 0.075,
        seed: int = 0,
        stream: str = "filter",
    ) -> None:
        super().__init__()
        if shift < 0:
            raise ValueError(f"shift is {shift}, expected 0 pixels or more")
        if num_auxiliary and not isinstance(net, SharedFeatures):
            raise ValueError(
                f"{type(net).__name__} cannot learn auxiliary attributes, {num_auxiliary} are given: "
                f"take model=filter_cnn_photo or filter_cnn_texture, or give model.auxiliary=[]"
            )
        if not 0 <= auxiliary_weight < math.inf:
            raise ValueError(f"auxiliary_weight is {auxiliary_weight}, expected 0 or more")
        self.net = net
        self.auxiliary = nn.Linear(cast(SharedFeatures, net).last.in_features, num_auxiliary) if num_auxiliary else None
        self.save_hyperparameters(ignore=["net"])
        self.metrics = nn.ModuleDict({"train_": binary_metrics(), "val_": binary_metrics()})
        self.history: list[Row] = []
        self.best: Row = {}
        self.best_state: dict[str, Tensor] = {}
        self._validated = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N]`` of ``[N, 3, R, R]`` images in [-1, 1]."""
        return self.net(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        stream = f"filter/augmentation/{self.hparams['stream']}/epoch{self.current_epoch}"
        draws = rng.torch_stream(self.hparams["seed"], stream, batch_idx, images.device)
        if self.hparams["mirror"]:
            turned = torch.rand(len(images), generator=draws, device=images.device) < 0.5
            images = torch.where(turned[:, None, None, None], images.flip(3), images)
        images, _ = augment(images, self.hparams["augmentation"], draws)
        if self.hparams["shift"]:
            images = shifted(images, self.hparams["shift"], draws)
        if self.auxiliary is None:
            return self._loss("train", self(images), labels[:, 0])
        net = cast(SharedFeatures, self.net)
        seen = net.penultimate(images)
        others = F.binary_cross_entropy_with_logits(self.auxiliary(seen).float(), labels[:, 1:], reduction="none")
        own = self._loss("train", net.last(seen).squeeze(1), labels[:, 0])
        return own + self.hparams["auxiliary_weight"] * others.mean(dim=0).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._loss("val", self(batch[0]), batch[1][:, 0])

    def on_validation_epoch_end(self) -> None:
        self._validated = True

    def _loss(self, stage: str, logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        self.log(
            f"{stage}/loss", loss, on_step=False, on_epoch=True, prog_bar=True, logger=False, batch_size=len(labels)
        )
        self._metrics(stage).update(logits.detach().sigmoid(), labels.int())
        return loss

    def _metrics(self, stage: str) -> MetricCollection:
        return self.metrics[f"{stage}_"]  # type: ignore[return-value]

    def _figures(self, stage: str) -> Row:
        figures = self._metrics(stage).compute() | {"loss": self.trainer.callback_metrics[f"{stage}/loss"]}
        self._metrics(stage).reset()
        return {f"{stage}_{name}": float(figures[name]) for name in FIGURES}

    def on_train_epoch_end(self) -> None:
        """Adds an epoch to ``history``; Lightning calls this after the epoch's validation."""
        if not self._validated:  # a signal ended the run within the epoch, or validation is rarer
            return
        self._validated = False
        row: Row = {"epoch": float(self.current_epoch)} | self._figures("train") | self._figures("val")
        self.history.append(row)
        if not self.best or row["val_loss"] < self.best["val_loss"]:
            self.best = row
            self.best_state = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}
        figures = {f"{self.hparams['stream']}/{k.replace('_', '/', 1)}": v for k, v in row.items() if k != "epoch"}
        for logger in self.loggers:
            logger.log_metrics(figures, self.current_epoch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.hparams["lr"], weight_decay=self.hparams["weight_decay"]
        )
        warmup, total = max(self.hparams["warmup"], 1), self.trainer.estimated_stepping_batches

        def share(step: int) -> float:
            if self.hparams["anneal"]:
                return warmup_cosine(step, total, min(warmup, total - 1) / total)
            return min((step + 1) / warmup, 1.0)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def shifted(images: Tensor, most: int, draws: torch.Generator) -> Tensor:
    """Images ``[N, C, H, W]``, all moved by the same whole pixels, at most ``most`` along each axis; edges mirror."""
    height, width = images.shape[2:]
    if most >= min(height, width):
        raise ValueError(f"shift is {most}, expected less than the {min(height, width)} pixels of the images' side")
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=draws, device=draws.device).tolist()
    return F.pad(images, [most] * 4, mode="reflect")[:, :, down : down + height, right : right + width]


# --- Cross-validation: each fold is retrained until it is good enough, and kept when it is done ---


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
        state = rng.stream_key(self.seed, "filter/folds") % 2**32
        splitter = StratifiedKFold(self.num_folds, shuffle=True, random_state=state)
        return list(splitter.split(np.zeros(len(labels)), labels))

    def run_fold(self, number: int, data: FoldData, fit: Fit) -> Fold:
        """Attempts until the threshold is met, or as many as are allowed; the best one."""
        rows: list[Row] = []
        best: Fold | None = None
        for attempt in range(self.max_attempts):
            stream = f"fold_{number}/attempt_{attempt}"
            data.seed = rng.stream_key(self.seed, f"filter/order/{stream}")
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


@dataclass(frozen=True)
class Labelled:
    """Pictures to train on.

    Attributes:
        name: the attribute.
        dataset: map-style, of (image, labels ``[K]``).
        scores: its labels ``[N, K]``, the attribute's first, NaN where not known.
        batch_size, num_workers: of the training.
    """

    name: str
    dataset: Dataset
    scores: NDArray[np.float32]
    batch_size: int
    num_workers: int = 0


def run_folds(plan: CrossValidation, data: Labelled, fit: Fit, folder: Path, settings: dict[str, Any]) -> list[Fold]:
    """All folds of an attribute; those that the folder holds are taken from there.

    Args:
        plan: how they are trained.
        data: the pictures.
        fit: trains one attempt.
        folder: where finished folds, and ``folds.csv`` with all their epochs, are kept.
        settings: plain data that decides the result.
    """
    known, labels = binary_labels(data.scores, data.name)
    folds: list[Fold] = []
    for number, parts in enumerate(plan.split(labels)):
        fold = load_fold(folder, number, data.name, settings)
        if fold is None:
            train, val = (known[part].tolist() for part in parts)
            base_rate = float(labels[parts[0]].mean())
            parts_of = FoldData(data.dataset, train, val, data.batch_size, data.num_workers, base_rate=base_rate)
            fold = plan.run_fold(number, parts_of, fit)
            save_fold(folder, fold, data.name, settings)
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
