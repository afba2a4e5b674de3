"""Callbacks: checkpoints to continue from, signals, the bar, exported weights; pictures drawn while a GAN trains."""

import io
import math
import signal
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, TQDMProgressBar
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from ohlora_gan import rng
from ohlora_gan.errors import Terminated, UserError
from ohlora_gan.files import grid, replacing, save_png, write_records
from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.gan import from_uint8, to_uint8
from ohlora_gan.names import LAST
from ohlora_gan.progress import shown_on
from ohlora_gan.training.gan import GanModule
from ohlora_gan.training.loggers import log_image, show


def check_positive(**numbers: int) -> None:
    """Raises ValueError for a number below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}, expected at least 1")


class DivergedError(UserError):
    """A training whose loss or weights are no numbers any more."""

    def __init__(self, trainer: pl.Trainer, what: str):
        last = Path(trainer.default_root_dir) / LAST
        kept = f"; {last} is of before, checkpoint={last} starts from its weights" if last.is_file() else ""
        super().__init__(
            f"the training has diverged: {what} at batch {trainer.global_step}; nothing of it is saved: start again "
            f"with a lower model.module.lr{kept}"
        )


def check_weights(trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    """Raises DivergedError where a weight or buffer is not finite; a GAN has no last loss at first, it is NaN."""
    for name, value in pl_module.state_dict().items():
        if name != "last_g_loss" and not value.isfinite().all():
            raise DivergedError(trainer, f"{name} is not finite")


class StopDiverged(Callback):
    """Ends a training whose loss is no number before anything of it is saved, on all processes alike.

    A 16-bit training scales its gradients and leaves out steps that are too large: its weights are looked at instead.
    """

    GAN_LOSSES = ("train/d_loss", "train/g_loss")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        losses = {"train/loss": outputs["loss"]} if isinstance(outputs, Mapping) and "loss" in outputs else {}
        losses |= {name: value for name, value in trainer.callback_metrics.items() if name in self.GAN_LOSSES}
        bad = [f"{name} is {float(value)}" for name, value in losses.items() if not math.isfinite(float(value))]
        if trainer.precision == "16-mixed":
            check_weights(trainer, pl_module)
        elif trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            raise DivergedError(trainer, ", ".join(bad) or "a loss of another process is not finite")


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside the old ones, as all files are written.

    Lightning's own way goes through the folder of temporary files. Where that is on another disk, the file is copied
    over the old one, and a kill in between leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()  # to a file torch says nothing of a full disk
        torch.save(checkpoint, content)
        with replacing(path) as partial:
            partial.write_bytes(content.getbuffer())


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``, from which a run continues as if it had never stopped.

    It is always written right after a batch: every ``every_n_train_steps``, after an epoch's last batch, and
    after the last batch of a run that stops early, by a signal, ``max_time`` or ``max_steps``. (Lightning's
    ModelCheckpoint also saves when such a run leaves its epoch; resuming then skips the rest of that epoch.)
    """

    def __init__(self, dirpath: str | Path, every_n_train_steps: int = 50):
        check_positive(every_n_train_steps=every_n_train_steps)
        self.path = Path(dirpath) / LAST
        self.every_n_train_steps = every_n_train_steps

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        ends = trainer.should_stop or trainer.is_last_batch or step == trainer.max_steps
        if ends or step % self.every_n_train_steps == 0:
            check_weights(trainer, pl_module)
            trainer.save_checkpoint(self.path)
        if trainer.should_stop:
            rank_zero_info(f"Stopped at batch {step}; continue with ckpt_path={self.path}")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Counts the epochs of a run that was continued as those of one that never stopped.

        Lightning's counters lag behind after a resume; the next resume would repeat an epoch.
        """
        done = trainer.current_epoch
        for counts in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
            counts |= {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}


class GracefulStop(Callback):
    """SIGINT or SIGTERM ends training after the batch in progress, or the batch of a validation.

    The run then ends as it would have after its last epoch: `LastCheckpoint` saves, weights are exported.
    Validation is left out, and ``min_epochs`` and ``min_steps`` do not hold it back. A signal to one of
    several processes stops all. A second SIGINT acts as usual; a second SIGTERM is the same one, which whatever
    started the program has passed on.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # By now Lightning has set its own handlers, which end training by an exception: they are the usual.
        self.requested = None
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in self.SIGNALS}

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = self.requested or number
        if signal.SIGINT in self._previous:
            signal.signal(signal.SIGINT, self._previous.pop(signal.SIGINT))

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.strategy.reduce_boolean_decision(self.requested is not None, all=False):
            trainer.should_stop = True
            trainer.fit_loop.min_epochs = 0
            trainer.fit_loop.epoch_loop.min_steps = None
            trainer.limit_val_batches = 0

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.strategy.reduce_boolean_decision(self.requested is not None, all=False):
            self.requested = self.requested or signal.SIGTERM  # of another process
            end_if_stopped([self])  # what a run needs to go on was saved before


def end_if_stopped(callbacks: Iterable[Callback]) -> None:
    """Raises KeyboardInterrupt where a signal has ended the training that these callbacks watched."""
    for callback in callbacks:
        if isinstance(callback, GracefulStop) and callback.requested is not None:
            raise Terminated if callback.requested == signal.SIGTERM else KeyboardInterrupt


def num_batches(trainer: pl.Trainer) -> int | None:
    """Batches of the whole training; None where nothing but time or a callback ends it."""
    bounds = [float(trainer.max_steps)] if trainer.max_steps >= 0 else []
    if (trainer.max_epochs or -1) > 0 and math.isfinite(trainer.num_training_batches):
        bounds.append(trainer.max_epochs * trainer.num_training_batches)  # type: ignore[operator]
    return int(min(bounds)) if bounds else None


class TrainingProgress(TQDMProgressBar):
    """A progress bar of the whole training and the figures that matter: losses, updates of D and G, images a second.

    It counts the batches of all epochs, up to ``max_steps``; in a log it is a line a minute, see `progress`.
    """

    SHORT_NAMES: ClassVar = {"train/loss": "loss", "val/loss": "val_loss", "val/r2_mean": "r2"}

    def __init__(self, refresh_rate: int = 10):
        super().__init__(refresh_rate=refresh_rate)
        self._images, self._since, self._images_per_second = 0, 0.0, 0.0

    def init_train_tqdm(self) -> Any:
        with redirect_stdout(shown_on()):
            return super().init_train_tqdm()

    def init_validation_tqdm(self) -> Any:
        with redirect_stdout(shown_on()):
            return super().init_validation_tqdm()

    def init_test_tqdm(self) -> Any:
        with redirect_stdout(shown_on()):
            return super().init_test_tqdm()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.train_progress_bar.reset(num_batches(trainer))
        self.train_progress_bar.initial = trainer.global_step  # of a run that goes on: no time was spent on these
        self.on_train_epoch_start(trainer)  # which a run that goes on within an epoch does not pass
        self._images, self._since = 0, time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        of_all = f" of {trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch + 1}{of_all}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch[0]) * trainer.world_size
        now, bar = time.monotonic(), self.train_progress_bar
        is_last = trainer.global_step == bar.total
        if (batch_idx + 1) % max(self.refresh_rate, 1) and not is_last:
            return
        if now > self._since:
            self._images_per_second = self._images / (now - self._since)
            self._images, self._since = 0, now
        if not bar.disable:
            bar.n = trainer.global_step
            bar.set_postfix(self.get_metrics(trainer, pl_module))

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown: dict[str, Any] = {}
        if "train/g_loss" in found:
            for name in ("d_loss", "g_loss"):
                if f"train/{name}" in found:
                    shown[name] = f"{found[f'train/{name}']:.3f}"
            shown["D/G"] = f"{found['train/d_train_count']:.0f}/{found['train/g_train_count']:.0f}"
            if "train/auroc" in found:
                shown["auroc"] = f"{found['train/auroc']:.2f}"
        shown |= {short: f"{found[name]:.3f}" for name, short in self.SHORT_NAMES.items() if name in found}
        return shown | {"img/s": f"{self._images_per_second:.3g}"}


class ExportWeights(Callback):
    """Writes the trained networks to a ``.safetensors`` file when training ends, however it ends.

    After an exception they are written only if a batch was done, and never where training has diverged. Where the
    weights come from, the module's ``parent`` and ``world``, is kept in checkpoints: a run that goes on has no other
    way to know. ``command``, which started the run, is kept in the file.
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
        self.export(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._num_batches and not isinstance(exception, DivergedError):
            with suppress(DivergedError):  # which is not what ended it
                self.export(trainer, pl_module)

    def export(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        check_weights(trainer, pl_module)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        data = getattr(trainer, "datamodule", None)
        said: dict[str, Any] = {"attribute_names": list(getattr(data, "attribute_names", ()))}
        if (normalization := getattr(data, "normalization", None)) is not None:
            said["normalization"] = asdict(normalization)
        info = {
            "stage": pl_module.hparams.get("stage", "scorer"),
            "seed": pl_module.hparams.get("seed"),
            "images_seen": int(getattr(pl_module, "images_seen", 0)) or None,
            "batches": trainer.global_step,
            "metrics": {name: value for name, value in metrics.items() if math.isfinite(value)},
            **self._origin,
            "command": self.command,
            "data": said,
        }
        if isinstance(pl_module, GanModule):
            networks = {"generator": pl_module.sampling_generator, "discriminator": pl_module.discriminator}
        else:
            networks = {"scorer": pl_module.get_submodule("net")}
        checkpoint.save(self.path, networks, **info)


@torch.no_grad()
def draw_images(module: GanModule, seed: int, stream: str, indices: range, batch_size: int) -> Tensor:
    """uint8 images [len(indices), R, R, 3] from random z and labels, with the fixed noise buffers.

    z and label come from the streams ``{stream}/z`` and ``{stream}/label``; no other random numbers are
    drawn, and ``w_avg`` and all modules' modes stay as they are. The level of detail is that of training.
    """
    generator, parts = module.sampling_generator, []
    modes = {part: part.training for part in generator.modules()}
    generator.eval()
    try:
        for start in range(0, len(indices), batch_size):
            chunk = indices[start : start + batch_size]
            z = rng.normal(seed, f"{stream}/z", chunk, generator.z_dim).to(module.device)
            label = None
            if generator.label_dim:
                label = rng.normal(seed, f"{stream}/label", chunk, generator.label_dim).to(module.device)
            wp = generator.truncation(generator.mapping(z, label).w)
            parts.append(to_uint8(generator.synthesis(wp, lod=module.lod)).cpu())
    finally:
        for part, training in modes.items():
            part.training = training
    return torch.cat(parts)


class SampleGrid(Callback):
    """Draws the same faces again and again: ``samples/batch_000050.png``, and in loggers that show images.

    Drawn before the first batch, every ``every_n_batches`` and at the end. Trainings of no GAN are left alone.
    ``seed`` is that of z and labels, ``batch_size`` that of a forward pass.
    """

    def __init__(
        self,
        dirpath: str | Path,
        every_n_batches: int = 50,
        num_images: int = 25,
        columns: int = 5,
        seed: int = 0,
        batch_size: int = 25,
    ):
        check_positive(every_n_batches=every_n_batches, num_images=num_images, columns=columns, batch_size=batch_size)
        self.folder = Path(dirpath) / "samples"
        self.every_n_batches, self.num_images, self.columns = every_n_batches, num_images, columns
        self.seed, self.batch_size = seed, batch_size
        self._last_drawn: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last_drawn = None
        if trainer.global_step == 0:
            self.draw(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every_n_batches == 0:
            self.draw(trainer, pl_module)

    def draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws the grid of the present batch, once, on rank zero."""
        step = trainer.global_step
        if not isinstance(pl_module, GanModule) or not trainer.is_global_zero or step == self._last_drawn:
            return
        self._last_drawn = step
        images = draw_images(pl_module, self.seed, "samples", range(self.num_images), self.batch_size)
        picture = grid(images.numpy(), self.columns)
        save_png(self.folder / f"batch_{step:06d}.png", picture)
        caption = f"{self.num_images} faces after {step} batches, always the same z (seed {self.seed})"
        log_image(trainer.loggers, "samples", picture, step, caption)

    on_train_end = draw


def filters_for(resolution: int) -> list[str]:
    """The shipped filters that take images of one size, in pixels."""
    with torch.random.fork_rng(devices=[]):  # a network draws its first weights, which are then replaced
        return [
            name
            for name in zoo.shipped_filters()
            if all(ensemble.resolution == resolution for ensemble in zoo.read_filters(name))
        ]


def open_panel(scorer: str | Path | None, filters: Sequence[str | Path] | None, resolution: int) -> Panel | None:
    """All that scores images of one size: a property network, and filters (None: `filters_for` it); None for nothing.

    Raises:
        ValueError: if one takes images of another size, or if two score the same attribute.
    """
    networks: dict[str, Any] = {}
    if scorer is not None:
        networks[str(scorer)] = zoo.open_scorer(scorer)
    judges = zoo.open_filters(filters_for(resolution) if filters is None else filters)
    networks |= judges
    for name, network in networks.items():
        if network.resolution not in (None, resolution):
            key, none = ("filters", "[]") if name in judges else ("scorer_checkpoint", "null")
            size = network.resolution
            raise ValueError(
                f"the scorer {name!r} takes {size}x{size} images, the generator makes "
                f"{resolution}x{resolution}: set {key} to a scorer of that size, or to {none} for none"
            )
    if not networks:
        return None
    panel = Panel(networks)
    if twice := {name for name in panel.property_names if panel.property_names.count(name) > 1}:
        raise ValueError(f"both the scorer and a filter score {', '.join(sorted(twice))}: leave that filter out")
    return panel.eval().requires_grad_(False)


class ScoreMeans(Callback):
    """Scores fresh images by a property network and by filters: ``scores/mean/eyes``, ``scores/std/eyes``, ....

    Done where the batch's number in its epoch is a multiple of ``every_n_batches``, five times as often in the first
    epoch. ``train_log.csv`` gets a row each time. Its rows are part of checkpoints: a run that continues, in whatever
    folder, begins with the rows up to there. Trainings of no GAN are left alone. Filters' scores are probabilities.
    What scores is given as for `open_panel`, ``num_images``, ``seed`` and ``batch_size`` as for `draw_images`.
    """

    TRAIN_FIGURES: ClassVar = {
        "d_loss": "train/d_loss",
        "g_loss": "train/g_loss",
        "d_train_count": "train/d_train_count",
        "g_train_count": "train/g_train_count",
        "real_scores_mean": "train/real_scores_mean",
        "fake_scores_mean": "train/fake_scores_mean",
        "real_fake_auroc": "train/auroc",
    }

    def __init__(
        self,
        dirpath: str | Path,
        scorer_checkpoint: str | Path | None = None,
        every_n_batches: int = 50,
        num_images: int = 100,
        seed: int = 0,
        batch_size: int = 25,
        filters: Sequence[str | Path] | None = None,
    ):
        check_positive(every_n_batches=every_n_batches, num_images=num_images, batch_size=batch_size)
        self.path = Path(dirpath) / "train_log.csv"
        self.scorer_checkpoint, self.filters, self.every_n_batches = scorer_checkpoint, filters, every_n_batches
        self.num_images, self.seed, self.batch_size = num_images, seed, batch_size
        self.panel: Panel | None = None
        self.rows: list[dict[str, float]] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Loads the scoring networks, see `open_panel`."""
        if stage != "fit" or not isinstance(pl_module, GanModule):
            return
        with torch.random.fork_rng(devices=[]):  # a network draws its first weights, which are then replaced
            self.panel = open_panel(self.scorer_checkpoint, self.filters, pl_module.sampling_generator.resolution)

    def write(self) -> None:
        """Writes all rows; those of a run that scored by other networks keep what they have in common."""
        names = () if self.panel is None else self.panel.property_names
        columns = ["epoch", "idx", *self.TRAIN_FIGURES, *(f"mean_{name}_score" for name in names)]
        write_records(self.path, self.rows, columns)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.panel is None or not trainer.is_global_zero:
            return
        self.panel.to(pl_module.device)
        self.write()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.panel is None or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, GanModule)
        interval = self.every_n_batches if trainer.current_epoch else max(self.every_n_batches // 5, 1)
        if batch_idx % interval == 0:
            self.score(trainer, pl_module, batch_idx)

    @torch.no_grad()
    def score(self, trainer: pl.Trainer, pl_module: GanModule, batch_idx: int) -> None:
        """Draws and scores images, logs the figures and adds a row; every batch has samples of its own."""
        assert self.panel is not None
        step = trainer.global_step
        indices = range(step * self.num_images, (step + 1) * self.num_images)
        images = draw_images(pl_module, self.seed, "scores", indices, self.batch_size)
        parts = images.to(pl_module.device).split(self.batch_size)
        scores = torch.cat([self.panel(from_uint8(part)) for part in parts])
        mean = scores.nanmean(dim=0)  # what a scorer cannot score is NaN
        means, stds = mean.tolist(), (scores - mean).square().nanmean(dim=0).sqrt().tolist()
        names = self.panel.property_names
        figures = {f"scores/mean/{name}": mean for name, mean in zip(names, means, strict=True)}
        figures |= {f"scores/std/{name}": std for name, std in zip(names, stds, strict=True)}
        # Straight to the loggers: what is logged by the module reaches them every log_every_n_steps only.
        pl_module.log_dict(figures, logger=False, rank_zero_only=True)
        for logger in trainer.loggers:
            logger.log_metrics(figures, step)
        spread = {f"scores/spread/{name}": scores[:, i].float().cpu().numpy() for i, name in enumerate(names)}
        show(trainer.loggers, "log_histograms", spread, step)
        found = trainer.callback_metrics  # without the discriminator's figures while it does not train
        trained = {column: float(found.get(name, math.nan)) for column, name in self.TRAIN_FIGURES.items()}
        scored = {f"mean_{name}_score": mean for name, mean in zip(names, means, strict=True)}
        rounded = {column: round(value, 4) for column, value in (trained | scored).items()}
        self.rows.append({"epoch": trainer.current_epoch, "idx": batch_idx} | rounded)
        self.write()
