"""Callbacks that draw images during GAN training: to look at, and to score."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from ohlora_gan import rng
from ohlora_gan.files import write_records
from ohlora_gan.images import grid, save_png
from ohlora_gan.models import zoo as pretrained
from ohlora_gan.models.combined import Panel
from ohlora_gan.models.generator import from_uint8, to_uint8
from ohlora_gan.training.gan import GanModule
from ohlora_gan.training.loggers import log_image


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode for a while; afterwards every module is in the mode in which it was."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def check_positive(**numbers: int) -> None:
    """Raises ValueError for a number below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}, expected at least 1")


@torch.no_grad()
def draw_images(module: GanModule, seed: int, stream: str, indices: range, batch_size: int) -> Tensor:
    """uint8 images [len(indices), R, R, 3] from random z and labels, with the fixed noise buffers.

    z and label come from the streams ``{stream}/z`` and ``{stream}/label``; no other random numbers are
    drawn, and ``w_avg`` stays as it is. The level of detail is that of training.
    """
    generator, device, parts = module.sampling_generator, module.device, []
    with eval_mode(generator):
        for start in range(0, len(indices), batch_size):
            chunk = indices[start : start + batch_size]
            z = rng.normal(seed, f"{stream}/z", chunk, generator.z_dim).to(device)
            label = None
            if generator.label_dim:
                label = rng.normal(seed, f"{stream}/label", chunk, generator.label_dim).to(device)
            wp = generator.truncation(generator.mapping(z, label).w)
            parts.append(to_uint8(generator.synthesis(wp, lod=module.lod)).cpu())
    return torch.cat(parts)


class SampleGrid(Callback):
    """Draws the same faces again and again: ``samples/batch_000050.png``, and in loggers that show images.

    Drawn before the first batch, every ``every_n_batches`` and at the end.
    Trainings of no GAN are left alone.

    Args:
        dirpath: the run's folder.
        every_n_batches: interval, at least 1.
        num_images, columns: size of the grid.
        seed: seed of z and labels.
        batch_size: images a forward pass.
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

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
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
        log_image(trainer.loggers, "samples", picture, step)


def filters_for(resolution: int) -> list[str]:
    """The shipped filters that take images of one size, in pixels."""
    with torch.random.fork_rng(devices=[]):  # a network draws its first weights, which are then replaced
        return [
            name
            for name in pretrained.shipped_filters()
            if all(ensemble.resolution == resolution for ensemble in pretrained.read_filters(name))
        ]


def open_panel(scorer: str | Path | None, filters: Sequence[str | Path] | None, resolution: int) -> Panel | None:
    """All that scores images of one size: a property network, and filters; None if nothing does.

    Args:
        scorer: a shipped model's name or a file; None for no property network.
        filters: shipped models' names or files; None for all shipped ones that take images of this size.
        resolution: side of the images, in pixels.

    Raises:
        ValueError: if one takes images of another size, or if two score the same attribute.
    """
    networks: dict[str, Any] = {}
    if scorer is not None:
        networks[str(scorer)] = pretrained.open_scorer(scorer)
    judges = pretrained.open_filters(filters_for(resolution) if filters is None else filters)
    networks |= judges
    for name, network in networks.items():
        if network.resolution != resolution:
            key, none = ("filters", "[]") if name in judges else ("scorer_checkpoint", "null")
            raise ValueError(
                f"the scorer {name!r} takes {network.resolution}x{network.resolution} images, the generator makes "
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

    Args:
        dirpath: the run's folder.
        scorer_checkpoint: the property network: a shipped model's name or a file; None for none.
        every_n_batches: interval, at least 1.
        num_images: images that are drawn and scored each time.
        seed: seed of z and labels.
        batch_size: images a forward pass.
        filters: filter ensembles: shipped models' names or files. None: all shipped ones for images of this size.
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

    @property
    def columns(self) -> list[str]:
        """The columns of ``train_log.csv``."""
        names = () if self.panel is None else self.panel.property_names
        return ["epoch", "idx", *self.TRAIN_FIGURES, *(f"mean_{name}_score" for name in names)]

    def write(self) -> None:
        """Writes all rows; those of a run that scored by other networks keep what they have in common."""
        write_records(self.path, self.rows, self.columns)

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
        means, stds = scores.mean(dim=0), scores.std(dim=0, correction=0)
        names = self.panel.property_names
        figures = {f"scores/mean/{name}": float(x) for name, x in zip(names, means, strict=True)}
        figures |= {f"scores/std/{name}": float(x) for name, x in zip(names, stds, strict=True)}
        # Straight to the loggers: what is logged by the module reaches them every log_every_n_steps only.
        pl_module.log_dict(figures, logger=False, rank_zero_only=True)
        for logger in trainer.loggers:
            logger.log_metrics(figures, step)
        self.add_row(trainer, batch_idx, figures)

    def add_row(self, trainer: pl.Trainer, batch_idx: int, figures: dict[str, float]) -> None:
        found = trainer.callback_metrics
        row: dict[str, float] = {"epoch": trainer.current_epoch, "idx": batch_idx}
        row |= {column: round(float(found[name]), 4) for column, name in self.TRAIN_FIGURES.items()}
        means = {k.removeprefix("scores/mean/"): v for k, v in figures.items() if k.startswith("scores/mean/")}
        row |= {f"mean_{name}_score": round(value, 4) for name, value in means.items()}
        self.rows.append(row)
        self.write()
