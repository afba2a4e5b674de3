"""Training of filters: binary classification of images, in folds that are each retrained until they are good enough."""

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC, BinaryF1Score, BinaryPrecision, BinaryRecall

from ohlora_gan import rng
from ohlora_gan.data.datamodules import EpochSampler, ResumableLoader
from ohlora_gan.files import write_records
from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.filters import FilterEnsemble
from ohlora_gan.settings import typed
from ohlora_gan.training.scorers import Batch, augment, total_steps, warming_adamw, warmup_cosine

log = logging.getLogger(__name__)

Row = dict[str, float]

METRICS = {
    "accuracy": BinaryAccuracy,
    "precision": BinaryPrecision,
    "recall": BinaryRecall,
    "f1": BinaryF1Score,
    "auroc": BinaryAUROC,
}
FIGURES = ("loss", *METRICS)
"""What is measured of a filter; its probabilities mean yes from 1/2 on."""
COUNTS = ("fold", "attempt", "epoch")
"""What besides is in a `Row`: whole numbers."""


def binary_metrics() -> MetricCollection:
    """`METRICS` over all batches, of probabilities."""
    return MetricCollection({name: kind(validate_args=False) for name, kind in METRICS.items()})


@dataclass(frozen=True)
class FilterSettings:
    """The settings of `FilterModule`: the flat keys of ``model.module`` in ``conf/model``.

    Auxiliary attributes are learnt beside the filter's own from the same last features, by a layer that is thrown away
    afterwards: where the own attribute is rare or fuzzy, they teach the features (Caruana 1997, "Multitask learning").
    The net then has ``last(penultimate(images))``, see `models.scorers.PhotoFilterCNN`. Figures are of the own one.
    """

    lr: float = 0.003  # of AdamW; it rises over the first batches
    weight_decay: float = 0.01
    warmup: int = 50  # batches, 0 or more
    anneal: bool = False  # the rate then falls to 0 by the last batch, along half a cosine; else it stays
    augmentation: float = 1.0  # strength of the changes to training images, see scorers.augment; 0 is none
    mirror: bool = True  # half of the training images; not for an attribute that a mirror turns round
    shift: int = 0  # training images move by up to so many whole pixels, a batch all alike, which blurs nothing
    num_auxiliary: int = 0
    auxiliary_weight: float = 0.075  # of each one's cross entropy in the training loss; the own one's is 1
    seed: int = 0  # of augmentation, mirroring and shift, together with stream, epoch and batch
    stream: str = "filter"  # what this training is called, such as fold_0/attempt_1

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ValueError(f"shift is {self.shift}, expected 0 pixels or more")
        if not 0 <= self.auxiliary_weight < math.inf:
            raise ValueError(f"auxiliary_weight is {self.auxiliary_weight}, expected 0 or more")


class FilterModule(pl.LightningModule):
    """Minimises the binary cross entropy; keeps every epoch's figures and the weights of the best epoch.

    Batches are images ``[N, 3, R, R]`` in [-1, 1] and labels 0 or 1, ``[N, 1 + num_auxiliary]``, the filter's own
    first. Figures go to the loggers once an epoch as ``{stream}/val/loss`` and so on, with the epoch as step, because
    the epochs of all folds share the loggers.

    Args:
        net: a module, ``[N, 3, R, R]`` images in [-1, 1] to logits ``[N]``.
        settings: the fields of `FilterSettings`.

    Attributes:
        history: an epoch's ``epoch``, ``train_loss``, ``train_accuracy``, ..., ``val_loss``, ... each.
        best: the entry of ``history`` with the lowest ``val_loss``; empty before the first epoch has ended.
        best_state: the network's state at that epoch.
    """

    takes = FilterSettings

    def __init__(self, net: Any, **settings: Any) -> None:
        super().__init__()
        self.settings = made = typed(self.takes, settings)
        self.save_hyperparameters(asdict(made))
        if made.num_auxiliary and not hasattr(net, "penultimate"):
            raise ValueError(
                f"{type(net).__name__} cannot learn auxiliary attributes, {made.num_auxiliary} are given: "
                f"take model=filter_cnn_photo or filter_cnn_texture, or give model.auxiliary=[]"
            )
        self.net = net
        self.auxiliary = nn.Linear(net.last.in_features, made.num_auxiliary) if made.num_auxiliary else None
        self.metrics = nn.ModuleDict({"train_": binary_metrics(), "val_": binary_metrics()})
        self.history: list[Row] = []
        self.best: Row = {}
        self.best_state: dict[str, Tensor] = {}
        self._validated = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N]`` of ``[N, 3, R, R]`` images in [-1, 1]."""
        return self.net(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        (images, labels), made = batch, self.settings
        stream = f"filter/augmentation/{made.stream}/epoch{self.current_epoch}"
        draws = rng.torch_stream(made.seed, stream, batch_idx, images.device)
        if made.mirror:
            turned = torch.rand(len(images), generator=draws, device=images.device) < 0.5
            images = torch.where(turned[:, None, None, None], images.flip(3), images)
        images, _ = augment(images, made.augmentation, draws)
        if made.shift:
            images = shifted(images, made.shift, draws)
        if self.auxiliary is None:
            return self._loss("train", self(images), labels[:, 0])
        seen = self.net.penultimate(images)
        others = F.binary_cross_entropy_with_logits(self.auxiliary(seen).float(), labels[:, 1:], reduction="none")
        own = self._loss("train", self.net.last(seen).squeeze(1), labels[:, 0])
        return own + made.auxiliary_weight * others.mean(dim=0).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._loss("val", self(batch[0]), batch[1][:, 0])

    def on_validation_epoch_end(self) -> None:
        self._validated = True

    def _loss(self, stage: str, logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, logger=False, batch_size=len(labels))
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
        figures = {f"{self.settings.stream}/{k.replace('_', '/', 1)}": v for k, v in row.items() if k != "epoch"}
        figures[f"{self.settings.stream}/lr"] = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        for logger in self.loggers:
            logger.log_metrics(figures, self.current_epoch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        made, total = self.settings, total_steps(self.trainer)
        warmup = max(made.warmup, 1)

        def share(step: int) -> float:
            if made.anneal:
                return warmup_cosine(step, total, min(warmup, total - 1) / total)
            return min((step + 1) / warmup, 1.0)

        return warming_adamw(self, made.lr, made.weight_decay, share)


def shifted(images: Tensor, most: int, draws: torch.Generator) -> Tensor:
    """Images ``[N, C, H, W]``, all moved by the same whole pixels, at most ``most`` along each axis; edges mirror."""
    height, width = images.shape[2:]
    if most >= min(height, width):
        raise ValueError(f"shift is {most}, expected less than the {min(height, width)} pixels of the images' side")
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=draws, device=draws.device).tolist()
    return F.pad(images, [most] * 4, mode="reflect")[:, :, down : down + height, right : right + width]


@dataclass(frozen=True)
class Labelled:
    """Pictures to train on."""

    name: str  # the attribute
    dataset: Dataset  # map-style, of (image, labels [K])
    scores: NDArray[np.float32]  # its labels [N, K], the attribute's first, NaN where not known
    batch_size: int
    num_workers: int = 0


@dataclass(frozen=True)
class FoldData:
    """The training and the validation part of one fold, by the numbers of their pictures."""

    labelled: Labelled
    train: Sequence[int]
    val: Sequence[int]

    @property
    def base_rate(self) -> float:
        """Share of ones among the training pictures."""
        return float(self.labelled.scores[self.train, 0].mean(dtype=float))

    def loaders(self, seed: int) -> tuple[DataLoader, DataLoader]:
        """Batches to train on, in an order that the seed decides, and to validate on."""
        dataset, size, num_workers = self.labelled.dataset, self.labelled.batch_size, self.labelled.num_workers
        sampler = EpochSampler(len(self.train), seed)
        return (
            ResumableLoader(Subset(dataset, self.train), size, sampler, num_workers=num_workers),
            DataLoader(Subset(dataset, self.val), 2 * size, num_workers=num_workers),
        )


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


Fit = Callable[[str, FoldData, int], FilterModule]
"""Trains a fresh network: the attempt's name decides its random numbers, a seed the order of pictures."""


@dataclass(frozen=True)
class CrossValidation:
    """How a filter is trained.

    A fold is retrained from its start weights with other random numbers until its best validation loss (binary cross
    entropy) is at or under the threshold; if all attempts miss it, the best is kept, with a warning.
    """

    num_folds: int = 5  # at least 2
    patience: int = 20  # epochs without a better validation loss after which an attempt ends
    threshold: float | None = None  # None is no rule
    max_attempts: int = 3  # a fold, at least 1
    seed: int = 0  # decides the split

    def __post_init__(self) -> None:
        for name, least in (("num_folds", 2), ("max_attempts", 1)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")

    def split(self, labels: NDArray[Any]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Item numbers for training and for validation, a fold each, with the same share of ones everywhere."""
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
            module = fit(stream, data, rng.stream_key(self.seed, f"filter/order/{stream}"))
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
            log.warning(
                "fold %d: the best of %d attempts has a validation loss of %.3f, above the threshold of %s",
                number, self.max_attempts, best.best["val_loss"], self.threshold,
            )  # fmt: skip
        return best


def binary_labels(scores: NDArray[np.float32], name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items that have a label, and these labels: the first column of scores ``[N, K]``, 0, 1 or NaN (unknown)."""
    known = np.flatnonzero(np.isfinite(scores[:, 0]))
    labels = scores[known, 0]
    if others := sorted(set(np.unique(labels)) - {0.0, 1.0}):
        raise ValueError(
            f"attribute={name} takes values such as {others[0]:g}, expected 0 and 1: "
            f"numbers on a scale are learnt by model=attribute_cnn"
        )
    return known, labels.astype(np.int64)


def load_fold(path: Path, number: int, name: str, settings: dict[str, Any]) -> Fold | None:
    """A fold that an earlier run finished; None if there is none, CheckpointError for one of other settings."""
    if not path.is_file():
        return None
    kept = checkpoint.load(path)
    before = kept.info.get("settings", {})
    if changed := sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key)):
        key = changed[0]
        raise CheckpointError(
            f"{path} was made with {key}={before.get(key)}, now {key}={settings.get(key)}: "
            f"give another paths.output_dir, or remove the fold_*.safetensors to start anew"
        )
    return Fold(number, kept.info["rows"], kept.info["best"], kept.build(name).eval())


def run_folds(plan: CrossValidation, data: Labelled, fit: Fit, folder: Path, settings: dict[str, Any]) -> list[Fold]:
    """All folds of an attribute; those that the folder holds are taken from there.

    Finished folds, and ``folds.csv`` with all their epochs, are kept in the folder. ``settings`` are plain data that
    decides the result.
    """
    known, labels = binary_labels(data.scores, data.name)
    folds: list[Fold] = []
    for number, parts in enumerate(plan.split(labels)):
        path = folder / f"fold_{number}.safetensors"
        fold = load_fold(path, number, data.name, settings)
        if fold is None:
            train, val = (known[part].tolist() for part in parts)
            fold = plan.run_fold(number, FoldData(data, train, val), fit)
            info: dict[str, Any] = {"stage": "filter_fold", "rows": fold.rows, "best": fold.best, "settings": settings}
            checkpoint.save(path, {data.name: fold.net}, **info)
        folds.append(fold)
        rows = [row for done in folds for row in done.rows]
        rounded = [{k: int(v) if k in COUNTS else round(v, 5) for k, v in row.items()} for row in rows]
        write_records(folder / "folds.csv", rounded)
        log.info("fold %d of %d: validation loss %.4f", number + 1, plan.num_folds, fold.best["val_loss"])
    return folds


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
