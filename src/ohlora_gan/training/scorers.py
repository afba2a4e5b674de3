"""Training of a property network: regression of z-normalised scores from images that are changed or drawn badly."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, Metric, MetricCollection, PearsonCorrCoef, R2Score
from torchmetrics.classification import BinaryAccuracy, BinaryRecall, BinarySpecificity
from torchmetrics.wrappers import MultioutputWrapper

from ohlora_gan import rng
from ohlora_gan.judging.reliability import reliability, retest, write_scorer_table
from ohlora_gan.models.gan import to_uint8
from ohlora_gan.models.scorers import PropertyNet, TruthNet
from ohlora_gan.names import PROPERTIES

Batch = tuple[Tensor, Tensor]

COLOR_PROPERTIES = ("hair_color", "background_mean", "background_std")
"""Properties that a change of brightness or contrast changes."""
SHAPE_PROPERTIES = tuple(name for name in PROPERTIES if name not in COLOR_PROPERTIES)
"""Properties that it leaves alone; of attributes of one's own nothing is known, so they are not among these."""

MAX_SHIFT = 0.75  # pixels
MAX_BLUR = 0.5  # share of a 1-2-1 blur that is mixed in
MAX_NOISE = 0.06  # standard deviation; images span [-1, 1]
MAX_JITTER = 0.25  # of brightness (added) and contrast (times 1 + jitter)
JITTER_PROBABILITY = 0.3

Uniform = Callable[..., Tensor]
"""Numbers ``[B, *shape]`` from ``low`` to ``high``: ``uniform(low, high, *shape)``."""


class Share(NamedTuple):
    """Which images of a batch a process has: every ``world_size``-th from ``rank`` on, as `EpochSampler` deals them.

    Every process draws the random numbers of the whole batch and takes its own, so all together do what one does.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def rows(self) -> slice:
        return slice(self.rank, None, self.world_size)


ALONE = Share()


def uniform_of(num: int, draws: torch.Generator, rows: slice | Tensor = ALONE.rows) -> Uniform:
    """Draws ``num`` numbers, or tensors of them, at a time, and gives some of them."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(num, *shape, generator=draws, device=draws.device))[rows]

    return uniform


def blur(images: Tensor) -> Tensor:
    """1-2-1 blur of ``[B, C, H, W]`` images in both directions, edges repeated."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Moves ``[B, C, H, W]`` images by ``[B, 2]`` pixels (right, down), bilinear, edges repeated."""
    size = torch.tensor([images.shape[3], images.shape[2]], device=images.device)
    theta = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    theta[:, :, 2] = -2 * offsets / size
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would place pixels by quarters
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def augment(images: Tensor, strength: float, draws: torch.Generator, share: Share = ALONE) -> tuple[Tensor, Tensor]:
    """Light changes of the kind that separates generated images from the training data.

    Every image is shifted by less than a pixel, blurred a little and made noisy, each by a random amount.
    Some have brightness and contrast jittered, which leaves every property alone but `COLOR_PROPERTIES`.

    Args:
        images: ``[B, 3, H, W]`` in [-1, 1].
        strength: factor on every amount; 0 returns the images as they are.
        draws: on the images' device; nothing else decides the result.
        share: which images of the batch these are.

    Returns:
        The changed images, and ``[B]`` bool: which ones were jittered.
    """
    n = len(images)
    if strength == 0:
        return images, torch.zeros(n, dtype=torch.bool, device=images.device)
    total = n * share.world_size
    uniform = uniform_of(total, draws, share.rows)
    jittered = uniform(0, 1) < JITTER_PROBABILITY
    x = shift(images, strength * uniform(-MAX_SHIFT, MAX_SHIFT, 2))
    x = x.lerp(blur(x), (strength * uniform(0, MAX_BLUR, 1, 1, 1)).clamp(max=1))
    jitter = strength * jittered.view(n, 1, 1, 1)
    x = x * (1 + jitter * uniform(-MAX_JITTER, MAX_JITTER, 1, 1, 1))
    x = x + jitter * uniform(-MAX_JITTER, MAX_JITTER, 1, 1, 1)
    noise = torch.randn(total, *x.shape[1:], generator=draws, device=x.device)[share.rows]
    x = x + strength * uniform(0, MAX_NOISE, 1, 1, 1) * noise
    return x.clamp(-1, 1), jittered


ROUGH_SHARE = 0.5  # of the pictures
EACH_SHARE = 0.3  # of these, for every way
MAX_WARP = 1.2  # pixels of a 64x64 picture
MAX_DOUBLE = 4.0  # pixels of a 64x64 picture between the outlines
MAX_MOVE = 1.5  # pixels of a 64x64 picture
MAX_BLEND = 0.6  # share of a wrong colour
MAX_BLOBS = 0.35  # standard deviation of blobs; images span [-1, 1]
MAX_STEP = 0.25  # between the levels that a block's frequencies are rounded to


def roughen(images: Tensor, strength: float, draws: torch.Generator, share: Share = ALONE) -> Tensor:
    """Draws half of the pictures worse: warped, moved, smeared, doubled, miscoloured, blotchy, in blocks.

    Arguments as those of `augment`; R is a multiple of 8.
    """
    if strength == 0:
        return images
    uniform = uniform_of(len(images) * share.world_size, draws)
    rough = uniform(0, 1) < ROUGH_SHARE
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would place pixels by quarters
        for change in (warped, moved, smeared, doubled, miscolored, blotchy, blocky):
            chosen = (rough & (uniform(0, 1) < EACH_SHARE)).nonzero().flatten()
            if len(chosen):
                mine = chosen % share.world_size == share.rank
                own = chosen[mine] // share.world_size
                if not len(own):  # every process draws, or the next numbers would be others
                    change(images[:1], strength, uniform_of(len(chosen), draws, slice(1)))
                    continue
                changed = change(images[own], strength, uniform_of(len(chosen), draws, mine))
                images = images.index_copy(0, own, changed)
    return images.clamp(-1, 1)


def patches(images: Tensor, uniform: Uniform) -> Tensor:
    """Masks ``[B, 1, R, R]`` from 0 to 1: an ellipse with soft edges somewhere in the middle three quarters."""
    side = images.shape[3]
    axis = (torch.arange(side, device=images.device) + 0.5) / side
    center, reach = uniform(0.12, 0.88, 2, 1), uniform(0.06, 0.3, 2, 1)
    away = ((axis - center) / reach) ** 2  # [B, 2, R]
    return torch.exp(-((away[:, 0, :, None] + away[:, 1, None, :]) ** 2))[:, None]


def warped(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Pulled about by a smooth random field."""
    side = images.shape[3]
    amount = uniform(0, MAX_WARP, 1, 1, 1) * strength * 2 / 64  # a picture is 2 wide in a grid's units
    field = F.interpolate(uniform(-1, 1, 2, 7, 7), size=(side, side), mode="bicubic", align_corners=False)
    start = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(start, list(images.shape), align_corners=False)
    grid = grid + (amount * field).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def moved(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Moved as a whole."""
    return shift(images, uniform(-1, 1, 2) * MAX_MOVE * strength * images.shape[3] / 64)


def smeared(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Smeared along a direction in a patch."""
    step = uniform(0, math.pi, 1)
    step = torch.cat([step.cos(), step.sin()], dim=1) * uniform(0.5, 1.5, 1) * strength * images.shape[3] / 64
    smear = torch.stack([shift(images, step * k) for k in (-2, -1, 0, 1, 2)]).mean(dim=0)
    return images.lerp(smear, patches(images, uniform))


def doubled(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Seen twice in a patch, the second time fainter and beside the first."""
    other = shift(images, uniform(-1, 1, 2) * MAX_DOUBLE * strength * images.shape[3] / 64)
    return images.lerp(other, patches(images, uniform) * uniform(0.15, 0.5, 1, 1, 1))


def miscolored(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """A patch partly in another colour."""
    share = patches(images, uniform) * uniform(0.1, MAX_BLEND, 1, 1, 1) * min(strength, 1.0)
    return images.lerp(uniform(-1, 1, 3, 1, 1).expand_as(images), share)


def blotchy(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Blobs of noise in a patch."""
    side = images.shape[3]
    noise = F.interpolate(uniform(-1.7, 1.7, 3, side // 4, side // 4), size=(side, side), mode="bilinear")
    return images + noise * patches(images, uniform) * uniform(0, MAX_BLOBS, 1, 1, 1) * strength


def blocky(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Rounded in blocks of 8x8 pixels, high frequencies most, as JPEG does; then blurred a little."""
    num, channels, height, width = images.shape
    waves = cosines().to(images)
    blocks = images.reshape(num, channels, height // 8, 8, width // 8, 8)
    found = torch.einsum("ui,bchiwj,vj->bchuwv", waves, blocks, waves)
    order = torch.arange(8, device=images.device)
    coarse = 0.3 + 0.15 * (order[:, None, None] + order)  # [8, 1, 8]: finer for slow changes
    step = uniform(0.05, 1, 1, 1, 1, 1, 1) * (MAX_STEP * strength * coarse)
    rounded = torch.einsum("ui,bchuwv,vj->bchiwj", waves, (found / step).round() * step, waves)
    result = rounded.reshape(images.shape)
    return result.lerp(blur(result), uniform(0, 0.5, 1, 1, 1))


@cache
def cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values, float32 ``[8, 8]``: a row a frequency."""
    order = torch.arange(8, dtype=torch.float64)
    waves = torch.cos(math.pi / 8 * (order + 0.5) * order[:, None]) / 2
    waves[0] /= math.sqrt(2)
    return waves.float()


def warmup_cosine(step: int, total_steps: float, warmup: float) -> float:
    """Learning rate at a step as a share of the highest: linear rise, then half a cosine down to 0."""
    progress = min((step + 1) / total_steps, 1.0)
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def total_steps(trainer: pl.Trainer) -> float:
    """Optimizer steps of a whole training; infinite where nothing ends it.

    Lightning starts the loader to count its batches. That one is thrown away: a checkpoint, which is read later, says
    where in an epoch the loader of a run that continues has to start.
    """
    total = trainer.estimated_stepping_batches
    trainer.fit_loop.teardown()
    trainer.fit_loop._combined_loader = None
    return total


def warming_adamw(
    module: pl.LightningModule, lr: float, weight_decay: float, share: Callable[[int], float]
) -> OptimizerLRSchedulerConfig:
    """AdamW, whose learning rate is ``lr`` times the share of a step."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def regression_metrics(num_outputs: int) -> MetricCollection:
    """R^2, mean absolute error and Pearson correlation, each ``[num_outputs]``, over all batches."""
    metrics: dict[str, Metric] = {
        "r2": R2Score(multioutput="raw_values"),
        "mae": MeanAbsoluteError(num_outputs=num_outputs),
        "pearson": PearsonCorrCoef(num_outputs=num_outputs),
    }
    return MetricCollection(metrics, compute_groups=False)  # type: ignore[arg-type]


def binary_metrics(num_outputs: int) -> MetricCollection:
    """Shares that are right: of all, of those that have an attribute, of those that lack it; each ``[num_outputs]``."""
    kinds = {"accuracy": BinaryAccuracy, "recall": BinaryRecall, "specificity": BinarySpecificity}
    metrics = {name: MultioutputWrapper(kind(validate_args=False), num_outputs) for name, kind in kinds.items()}
    return MetricCollection(metrics, compute_groups=False)  # type: ignore[arg-type]


def format_table(columns: dict[str, Tensor], names: Sequence[str]) -> str:
    """A text table: a row a property and a last row of means, a column a metric."""
    widths = {metric: max(9, len(metric) + 2) for metric in columns}
    lines = [f"{'':16}" + "".join(f"{metric:>{width}}" for metric, width in widths.items())]
    cells = {metric: [*values, values.mean()] for metric, values in columns.items()}
    for i, name in enumerate([*names, "mean"]):
        lines.append(f"{name:16}" + "".join(f"{cells[m][i].item():{width}.4f}" for m, width in widths.items()))
    return "\n".join(lines)


class RegressorModule(pl.LightningModule):
    """Trains a property network by mean squared error; outputs that are logits, if any, by cross entropy.

    Batches are ``(images, scores)``: ``[B, 3, H, W]`` floats in [-1, 1] and z-normalised scores ``[B, P]`` in
    the order of ``property_names``. Logs ``train/loss`` and, a stage being ``val`` or ``test``,
    ``{stage}/loss``, ``{stage}/{metric}/{property}`` and ``{stage}/{metric}_mean``: ``r2``, ``mae`` and
    ``pearson`` over all of the stage's data. A table of them is shown at the end, and kept in ``tables``.
    The test stage adds ``reliability`` (test-retest) and the ``ceiling`` that it puts on correlations, see
    `judging.reliability`, and writes the table, with the reliability's interval, to ``scorer_table.csv`` in
    the trainer's ``default_root_dir``. Of outputs that the net's ``binary_names`` call logits, ``accuracy``,
    ``recall`` and ``specificity`` are logged instead, and the test stage writes them to ``binary_table.csv``.

    Args:
        net: ``[B, 3, H, W]`` to ``[B, P]``.
        lr: highest learning rate of AdamW; it rises over the first ``warmup`` of all steps, then falls to 0.
            The default suits `SmallPropertyCNN`; the reference system's big networks need a smaller one.
        warmup: share of all steps, from 0 to below 1.
        augmentation: strength of the changes to training images, see `augment`; 0 is none.
        seed: decides the augmentation, together with epoch and batch.
        property_names: what the network's outputs are; None: as the network says.
    """

    is_color: Tensor
    is_binary: Tensor

    def __init__(
        self,
        net: PropertyNet | TruthNet,
        lr: float = 0.01,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        augmentation: float = 1.0,
        seed: int = 0,
        property_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup is {warmup}, a share of all steps: expected 0 or more and less than 1")
        self.net = net
        property_names = list(property_names or net.property_names)  # plain data, whatever Hydra passes
        self.save_hyperparameters(ignore=["net"])
        self.property_names = property_names
        binary = getattr(net, "binary_names", ())
        self.binary_names = [name for name in property_names if name in binary]
        self.score_names = [name for name in property_names if name not in binary]
        if not self.score_names:
            raise ValueError(
                f"there is nothing but yes or no to learn ({', '.join(self.binary_names)}), expected a score, too: "
                f"use model=filter_cnn attribute={self.binary_names[0]}"
            )
        self.metrics = nn.ModuleDict()
        for stage in ("val", "test"):
            self.metrics[f"{stage}_scores"] = regression_metrics(len(self.score_names))
            if self.binary_names:
                self.metrics[f"{stage}_binary"] = binary_metrics(len(self.binary_names))
        self.tables: dict[str, str] = {}
        self._retests: list[Tensor] = []
        is_color = [name not in SHAPE_PROPERTIES for name in property_names]
        self.register_buffer("is_color", torch.tensor(is_color), persistent=False)
        is_binary = [name in binary for name in property_names]
        self.register_buffer("is_binary", torch.tensor(is_binary), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Scores and logits ``[B, P]`` of ``[B, 3, H, W]`` images in [-1, 1]."""
        return self.net(images)

    def change(self, images: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training images, changed, and ``[B]`` bool: which of them say nothing about colours."""
        return augment(images, self.hparams["augmentation"], draws, self.share)

    @property
    def share(self) -> Share:
        return Share(self.global_rank, self.trainer.world_size)

    def errors(self, outputs: Tensor, scores: Tensor) -> Tensor:
        """What training lowers, ``[B, P]``: squared errors of scores, cross entropies of logits."""
        squares = (outputs - scores) ** 2
        if not self.binary_names:
            return squares
        entropies = F.binary_cross_entropy_with_logits(outputs, scores, reduction="none")
        return torch.where(self.is_binary, entropies, squares)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, scores = batch
        stream = f"regressor/augmentation/epoch{self.current_epoch}/rank0"  # that of one process
        draws = rng.torch_stream(self.hparams["seed"], stream, batch_idx, images.device)
        images, jittered = self.change(images, draws)
        # a jittered image says nothing about colours: it stays out of the mean for those properties
        counts = ~(jittered[:, None] & self.is_color)
        errors = self.errors(self(images).float(), scores) * counts
        seen = self.trainer.strategy.reduce(counts.sum(dim=0).float(), reduce_op="mean")  # images a process
        loss = (errors.sum(dim=0) / seen.clamp(min=1 / self.trainer.world_size)).mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_test_epoch_start(self) -> None:
        self._retests.clear()  # of a test that was broken off

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", batch)
        # samples are dealt out to processes one by one: a face is changed alike however many there are
        done, world_size = sum(map(len, self._retests)), self.trainer.world_size
        indices = [(done + i) * world_size + self.global_rank for i in range(len(batch[0]))]
        images = to_uint8(batch[0].cpu()).numpy()
        self._retests.append(torch.from_numpy(retest(self, images, self.hparams["seed"], indices)).to(self.device))

    def _evaluate(self, stage: str, batch: Batch) -> None:
        images, scores = batch
        outputs = self(images).float()
        loss = self.errors(outputs, scores).mean()
        self.log(f"{stage}/loss", loss, batch_size=len(images), sync_dist=True)
        self._metrics(stage, "scores").update(outputs[:, ~self.is_binary], scores[:, ~self.is_binary])
        if self.binary_names:
            # probabilities: the metrics would take logits that lie in [0, 1] for such
            probabilities = outputs[:, self.is_binary].sigmoid()
            self._metrics(stage, "binary").update(probabilities, scores[:, self.is_binary].int())

    def _metrics(self, stage: str, kind: str) -> MetricCollection:
        return self.metrics[f"{stage}_{kind}"]  # type: ignore[return-value]

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        scores = self.all_gather(torch.cat(self._retests))
        assert isinstance(scores, Tensor)  # [N, 2, P], or with several processes one more axis in front
        pairs = scores.flatten(0, -3)[..., ~self.is_binary].cpu().numpy()
        found = reliability(pairs, self.hparams["seed"])
        columns = self._log_metrics("test", {name: found[name] for name in ("reliability", "ceiling")})
        if self.trainer.is_global_zero:
            folder = Path(self.trainer.default_root_dir)
            write_scorer_table(folder / "scorer_table.csv", self.score_names, {**columns["scores"], **found})
            if self.binary_names:
                write_scorer_table(folder / "binary_table.csv", self.binary_names, columns["binary"])

    def _log_metrics(self, stage: str, more: Mapping[str, np.ndarray] | None = None) -> dict[str, dict[str, Tensor]]:
        """Logs a stage's figures, and ``more`` of the scores; returns those of scores and of logits by their names."""
        columns: dict[str, dict[str, Tensor]] = {}
        tables = []
        for kind, names in (("scores", self.score_names), ("binary", self.binary_names)):
            if not names:
                continue
            found = self._metrics(stage, kind).compute()
            self._metrics(stage, kind).reset()
            columns[kind] = {name: values.reshape(-1) for name, values in found.items()}  # of one output: 0-d
            if kind == "scores":
                columns[kind] |= {name: torch.from_numpy(v).float() for name, v in (more or {}).items()}
            for metric, values in columns[kind].items():
                for name, value in zip(names, values, strict=True):
                    self.log(f"{stage}/{metric}/{name}", value)
                self.log(f"{stage}/{metric}_mean", values.mean())
            tables.append(format_table(columns[kind], names))
        self.tables[stage] = "\n\n".join(tables)
        return columns

    def on_fit_end(self) -> None:
        if "val" in self.tables:
            rank_zero_info("Validation:\n" + self.tables["val"])

    def on_test_end(self) -> None:
        rank_zero_info("Test:\n" + self.tables["test"])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        total = total_steps(self.trainer)
        if math.isinf(total):
            raise ValueError("the schedule needs an end: set the trainer's max_epochs or max_steps")
        hp = self.hparams
        return warming_adamw(self, hp["lr"], hp["weight_decay"], lambda step: warmup_cosine(step, total, hp["warmup"]))


class TruthModule(RegressorModule):
    """A `RegressorModule` whose training images are drawn worse, see `roughen`, before they are changed lightly.

    Args:
        roughness: strength of the bad drawing; 0 is none.
        color_names: attributes that a change of brightness or contrast changes; all others it leaves alone.
        settings: the other arguments of `RegressorModule`.
    """

    def __init__(self, net: TruthNet, roughness: float = 1.0, color_names: Sequence[str] = (), **settings: Any) -> None:
        color_names = list(color_names)  # plain data, whatever Hydra passes
        super().__init__(net, **settings)
        if roughness < 0:
            raise ValueError(f"roughness is {roughness}, expected 0 (none) or more")
        if unknown := [name for name in color_names if name not in self.property_names]:
            raise ValueError(
                f"color_names has {unknown[0]!r}, expected some of {', '.join(self.property_names)}: "
                f"give model.module.color_names=[...]"
            )
        self.is_color.copy_(torch.tensor([name in color_names for name in self.property_names]))

    def change(self, images: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        return super().change(roughen(images, self.hparams["roughness"], draws, self.share), draws)
