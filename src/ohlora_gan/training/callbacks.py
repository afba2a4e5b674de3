"""Callbacks that keep and end a run: checkpoints to continue from, signals, the bar, exported weights."""

import math
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint, TQDMProgressBar
from pytorch_lightning.utilities import rank_zero_info
from torch import nn

from ohlora_gan.files import replacing
from ohlora_gan.models import checkpoint
from ohlora_gan.training.gan import GanModule

LAST = "last.ckpt"


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``, from which a run continues as if it had never stopped.

    It is always written right after a batch: every ``every_n_train_steps``, after an epoch's last batch, and
    after the last batch of a run that stops early, by a signal, ``max_time`` or ``max_steps``. (Lightning's
    ModelCheckpoint also saves when such a run leaves its epoch; resuming then skips the rest of that epoch.)

    Args:
        dirpath: folder of ``last.ckpt``.
        every_n_train_steps: interval in batches, at least 1.
    """

    def __init__(self, dirpath: str | Path, every_n_train_steps: int = 50):
        if every_n_train_steps < 1:
            raise ValueError(f"every_n_train_steps is {every_n_train_steps}, expected at least 1")
        self.path = Path(dirpath) / LAST
        self.every_n_train_steps = every_n_train_steps

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        ends = trainer.should_stop or trainer.is_last_batch or step == trainer.max_steps
        if ends or step % self.every_n_train_steps == 0:
            self.save(trainer)
        if trainer.should_stop:
            rank_zero_info(f"Stopped at batch {step}; continue with ckpt_path={self.path}")

    def save(self, trainer: pl.Trainer) -> None:
        """Saves on all processes, of which the first one writes; a kill leaves the checkpoint before."""
        with replacing(self.path) if trainer.is_global_zero else nullcontext(self.path) as path:
            trainer.save_checkpoint(path)


class GracefulStop(Callback):
    """The first SIGINT or SIGTERM ends training after the batch in progress; a second one acts as usual.

    The run then ends as it would have after its last epoch: `LastCheckpoint` saves, weights are exported.
    Validation is left out, and ``min_epochs`` and ``min_steps`` do not hold it back. A signal to one of
    several processes stops all.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # By now Lightning has set its own handlers, which end training by an exception: they are the usual.
        self.requested = False
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in self.SIGNALS}

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.strategy.reduce_boolean_decision(self.requested, all=False):
            trainer.should_stop = True
            trainer.fit_loop.min_epochs = 0
            trainer.fit_loop.epoch_loop.min_steps = None
            trainer.limit_val_batches = 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore()


def was_stopped(callbacks: Iterable[Callback]) -> bool:
    """Whether a signal has ended the training that these callbacks watched."""
    return any(isinstance(callback, GracefulStop) and callback.requested for callback in callbacks)


class TrainingProgress(TQDMProgressBar):
    """A progress bar of the figures that matter: losses, updates of D and G, AUROC or R^2, images a second.

    Args:
        refresh_rate: batches between two updates; 0 shows no bar.
    """

    SHORT_NAMES: ClassVar = {"train/loss": "loss", "val/loss": "val_loss", "val/r2_mean": "r2"}

    def __init__(self, refresh_rate: int = 10):
        super().__init__(refresh_rate=refresh_rate)
        self._images = 0
        self._since = 0.0
        self._images_per_second = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # A run that continues within an epoch never passes on_train_epoch_start.
        if math.isfinite(self.total_train_batches):
            self.train_progress_bar.total = int(self.total_train_batches)
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch}")
        self._images, self._since = 0, time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch[0]) * trainer.world_size
        now = time.monotonic()
        if (batch_idx + 1) % max(self.refresh_rate, 1) == 0 and now > self._since:
            self._images_per_second = self._images / (now - self._since)
            self._images, self._since = 0, now
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown: dict[str, Any] = {}
        if "train/d_loss" in found:
            shown = {"d_loss": f"{found['train/d_loss']:.3f}", "g_loss": f"{found['train/g_loss']:.3f}"}
            shown["D/G"] = f"{found['train/d_train_count']:.0f}/{found['train/g_train_count']:.0f}"
            shown["auroc"] = f"{found['train/auroc']:.2f}"
        shown |= {short: f"{found[name]:.3f}" for name, short in self.SHORT_NAMES.items() if name in found}
        return shown | {"img/s": f"{self._images_per_second:.3g}"}


class ExportWeights(Callback):
    """Writes the trained networks to a ``.safetensors`` file when training ends, however it ends.

    After an exception they are written only if a batch was done. Where the weights come from, the module's ``parent``
    and ``world``, is kept in checkpoints: a run that goes on has no other way to know.

    Args:
        path: the file.
        command: the command that started the run, kept in the file.
    """

    def __init__(self, path: str | Path, command: str | None = None):
        self.path, self.command = Path(path), command
        self._num_batches = 0
        self._origin: dict[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._origin = {name: getattr(pl_module, name, None) for name in ("parent", "world")}

    def state_dict(self) -> dict[str, Any]:
        return dict(self._origin)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._origin = {name: state_dict.get(name) if own is None else own for name, own in self._origin.items()}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self._num_batches += 1

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._export(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._num_batches:
            self._export(trainer, pl_module)

    def _export(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        info = {
            "stage": pl_module.hparams.get("stage", "scorer"),
            "seed": pl_module.hparams.get("seed"),
            "images_seen": int(getattr(pl_module, "images_seen", 0)) or None,
            "batches": trainer.global_step,
            "metrics": {name: value for name, value in metrics.items() if math.isfinite(value)},
            **self._origin,
            "command": self.command,
            "data": describe_data(getattr(trainer, "datamodule", None)),
        }
        checkpoint.save(self.path, networks_of(pl_module), **info)


def describe_data(data: Any) -> dict[str, Any]:
    """What the scores of a data module are, and the statistics that they were normalised by, where it has any."""
    info: dict[str, Any] = {"attribute_names": list(getattr(data, "attribute_names", ()))}
    if (normalization := getattr(data, "normalization", None)) is not None:
        info["normalization"] = asdict(normalization)
    return info


def networks_of(module: pl.LightningModule) -> dict[str, nn.Module]:
    """The networks that a module trains, by the names they have in our files."""
    if isinstance(module, GanModule):
        return {"generator": module.sampling_generator, "discriminator": module.discriminator}
    return {"scorer": module.get_submodule("net")}
