"""Training of one fold of a filter: binary classification of images by a network that gives logits."""

import math
from typing import Protocol, cast, runtime_checkable

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
)

from ohlora_gan import seeding
from ohlora_gan.training.regressor_module import Batch, augment, warmup_cosine

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
        augmentation: strength of the changes to training images, see `regressor_module.augment`; 0 is none.
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
        rng = seeding.torch_generator(self.hparams["seed"], stream, batch_idx, images.device)
        if self.hparams["mirror"]:
            turned = torch.rand(len(images), generator=rng, device=images.device) < 0.5
            images = torch.where(turned[:, None, None, None], images.flip(3), images)
        images, _ = augment(images, self.hparams["augmentation"], rng)
        if self.hparams["shift"]:
            images = shifted(images, self.hparams["shift"], rng)
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


def shifted(images: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """Images ``[N, C, H, W]``, all moved by the same whole pixels, at most ``most`` along each axis; edges mirror."""
    height, width = images.shape[2:]
    if most >= min(height, width):
        raise ValueError(f"shift is {most}, expected less than the {min(height, width)} pixels of the images' side")
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=rng, device=rng.device).tolist()
    return F.pad(images, [most] * 4, mode="reflect")[:, :, down : down + height, right : right + width]
