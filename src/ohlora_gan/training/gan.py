"""Training of a GAN: losses, the alternation of updates, and the module of every stage, which differ in settings alone.

Non-saturating logistic loss (Goodfellow et al. 2014) with the R1 penalty on reals (Mescheder, Geiger, Nowozin, "Which
Training Methods for GANs do actually Converge?", ICML 2018, equation 9).
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc

from ohlora_gan import rng
from ohlora_gan.models.frozen import FrozenGenerator
from ohlora_gan.models.gan import Discriminator, Generator
from ohlora_gan.models.operations import full_precision
from ohlora_gan.settings import typed

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class DiscriminatorLoss(NamedTuple):
    """The discriminator's loss and what it is made of; ``loss`` carries the graph, the rest does not."""

    loss: Tensor
    real_scores: Tensor  # [N, 1]
    fake_scores: Tensor  # [N, 1]
    r1_penalty: Tensor  # mean squared gradient norm on reals; NaN where it was not computed


Score = Callable[[Tensor, Tensor | None], Tensor]
"""A discriminator: images [N, 3, R, R] and label [N, label_dim] (None: zeros) to scores [N, 1]."""


def scores_and_r1(score: Score, reals: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scores of real images and the mean squared norm of their gradient, both in float32."""
    with torch.autocast(reals.device.type, enabled=False):
        reals = full_precision(reals)
        if not reals.requires_grad:
            reals = reals.detach().requires_grad_(True)
        scores = score(reals, label)
        (grad,) = torch.autograd.grad(scores.sum(), reals, create_graph=True)
        return scores, grad.square().sum(dim=(1, 2, 3)).mean()


def discriminator_loss(
    score: Score,
    reals: Tensor,
    fakes: Tensor,
    label: Tensor | None,
    r1_gamma: float,
    score_r1: Score | None = None,
) -> DiscriminatorLoss:
    """softplus(fake) + softplus(-real) + gamma / 2 * R1; reals and fakes are scored as separate batches.

    The label is that of both; fakes need no graph. A gamma of 0 skips R1. ``score_r1`` is the discriminator where it
    is differentiated twice, which a compiled one cannot be.
    """
    fake_scores = full_precision(score(fakes, label))
    if r1_gamma > 0.0:
        real_scores, penalty = scores_and_r1(score_r1 or score, reals, label)
    else:
        real_scores = full_precision(score(reals, label))
        penalty = torch.full((), math.nan, device=reals.device)
    loss = F.softplus(fake_scores).mean() + F.softplus(-real_scores).mean()
    if r1_gamma > 0.0:
        loss = loss + 0.5 * r1_gamma * penalty
    return DiscriminatorLoss(loss, real_scores.detach(), fake_scores.detach(), penalty.detach())


class RealScore:
    """A discriminator's `Score` of one batch of real images, of which it keeps what the frozen layers make.

    An update is repeated with the same images, and these layers do not change. The graph of the features is kept with
    them, since R1's gradient goes on to the pixels.

    Args:
        discriminator: at full size, its layers above ``resolution`` are frozen (None: nothing is kept).
        resolution: the side of the kept features.
        lod: level of detail.
    """

    def __init__(self, discriminator: Discriminator, resolution: int | None, lod: float) -> None:
        frozen = resolution is not None and resolution < discriminator.resolution and not lod
        self.discriminator, self.lod, self.resolution = discriminator, lod, resolution if frozen else None
        self.kept: tuple[Tensor, Tensor] | None = None

    def __call__(self, reals: Tensor, label: Tensor | None) -> Tensor:
        if self.resolution is None:
            return self.discriminator(reals, label, lod=self.lod)
        if self.kept is None or self.kept[0] is not reals:
            self.kept = reals, self.discriminator.features(reals, self.resolution)
        return self.discriminator.from_features(self.kept[1], label)

    def forget(self) -> None:
        """Frees what is kept."""
        self.kept = None


def generator_loss(score: Score, fakes: Tensor, label: Tensor | None) -> Tensor:
    """softplus(-fake), averaged over the batch."""
    return F.softplus(-full_precision(score(fakes, label))).mean()


@dataclass(frozen=True)
class Alternation:
    """How often each network is updated in one training step.

    The discriminator's update repeats at most ``max_d`` times and stops after the first where there is no previous
    generator loss or ``d_loss < d_ratio * last_g_loss``; then the generator's repeats at most ``max_g`` times and
    stops after the first where ``g_loss < g_ratio * d_loss``. Both comparisons are strict (NaN never stops).
    """

    max_d: int = 4
    max_g: int = 4
    d_ratio: float = 2.5
    g_ratio: float = 2.0

    def __post_init__(self) -> None:
        if self.max_d < 1 or self.max_g < 1:
            raise ValueError(f"max_d and max_g are {self.max_d} and {self.max_g}, expected at least 1 each")

    def run(
        self, d_update: Callable[[int], float], g_update: Callable[[int], float], last_g_loss: float | None
    ) -> "StepOutcome":
        """Runs one step; the callables take the repeat's number (from 0) and return the loss."""
        d_loss = g_loss = math.nan
        d_count = g_count = 0
        for d_count in range(1, self.max_d + 1):
            d_loss = d_update(d_count - 1)
            if last_g_loss is None or d_loss < self.d_ratio * last_g_loss:
                break
        for g_count in range(1, self.max_g + 1):
            g_loss = g_update(g_count - 1)
            if g_loss < self.g_ratio * d_loss:
                break
        return StepOutcome(d_loss, g_loss, d_count, g_count)


class StepOutcome(NamedTuple):
    """The last losses and the number of updates of one step; ``g_loss`` is the next step's ``last_g_loss``."""

    d_loss: float
    g_loss: float
    d_count: int
    g_count: int


def pixel_loss(fakes: Tensor, images: Tensor) -> Tensor:
    """Mean absolute difference of images [N, 3, R, R], and half of that of neighbouring pixels' differences.

    The first is that of pix2pix (Isola et al. 2017, equation 3), the second, which is for edges, the gradient
    difference loss of Mathieu, Couprie, LeCun 2016 (equation 6).
    """
    off = full_precision(fakes) - images
    across, down = (off[..., 1:] - off[..., :-1]).abs().mean(), (off[..., 1:, :] - off[..., :-1, :]).abs().mean()
    return off.abs().mean() + 0.5 * (across + down)


def faded(images: Tensor, lod: float) -> Tensor:
    """Real images as a growing generator makes them: between two levels of detail, blended with the coarser one."""
    share = lod - math.floor(lod)
    if share == 0.0:
        return images
    factor = 2 ** math.ceil(lod)
    coarse = F.interpolate(F.avg_pool2d(images, factor), scale_factor=factor, mode="nearest")
    return torch.lerp(images, coarse, share)


Steps = Sequence[Sequence[float]]


def value_at(steps: float | Steps, images_seen: int) -> float:
    """A setting that may change in training: a number, or ``[[images, value], ...]``: values from so many images on."""
    if isinstance(steps, int | float):
        return float(steps)
    starts = [step[0] for step in steps]
    if not starts or starts[0] != 0 or any(a >= b for a, b in itertools.pairwise(starts)):
        raise ValueError(f"steps are {[list(step) for step in steps]}, expected [[0, VALUE], [IMAGES, VALUE], ...]")
    return float(next(value for start, value in reversed(steps) if images_seen >= start))


def plain(value: Any) -> Any:
    """Nested dicts and lists as plain data, whatever Hydra passes."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


@dataclass(frozen=True)
class GanSettings:
    """The settings of `GanModule`: the flat keys of ``model.module`` in ``conf/model``.

    ``grow_images`` is progressive growing (Karras et al. 2018): training begins with small images and doubles their
    size once an entry, which holds the number of images that a size is trained on, and that its fading into the next
    size takes. Empty: full size from the start.
    """

    stage: str = "finetune_v9"  # of training, kept in checkpoints
    label_source: str = "zeros"  # or "data": the first label_dim property scores of each real image
    generator_resolution: int | None = 16  # parameters train up to here (None: all); the mapping always trains
    discriminator_resolution: int | None = 16
    max_d: int = 4  # these four: see Alternation
    max_g: int = 4
    d_ratio: float = 2.5
    g_ratio: float = 2.0
    adversarial_weight: float | Steps = 1.0  # of the generator's loss by the discriminator, which at 0 does not train
    pixel_weight: float | Steps = 0.0  # of pixel_loss, for pictures that come with the latents they stand for
    r1_gamma: float | Steps = 10.0  # weight of R1: a number or steps, see value_at
    r1_interval: int = 1  # R1 every so many batches, with its weight multiplied (Karras et al. 2020, appendix B)
    optimizer: str = "adamw"  # or "adam"
    lr: float = 1e-4
    lr_factor: float | Steps = 1.0  # of all learning rates
    mapping_lr_scale: float = 1.0  # of the learning rate in the mapping, whose weights are stored 100 times larger
    betas: Sequence[float] = (0.9, 0.999)
    weight_decay: float = 0.01
    w_avg_decay: float = 0.995  # of the moving average of w, which moves at every forward
    style_mixing: float = 0.0  # probability that a batch mixes two latents at a random layer
    ema_images: float = 0.0  # half-life, in images, of the generator's moving average; 0 keeps none
    fresh_noise: bool = True  # per-pixel noise is drawn anew for every update, else the fixed buffers
    train_noise: bool = True  # learn its strength, which else stays: 0 in a new network, for a world without texture
    grow_images: Sequence[Sequence[int]] = ()
    seed: int = 0  # of latents and noise

    def __post_init__(self) -> None:
        if self.label_source not in ("zeros", "data"):
            raise ValueError(f"label_source is {self.label_source!r}, expected 'zeros' or 'data'")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer is {self.optimizer!r}, expected one of {sorted(OPTIMIZERS)}")
        for steps in (self.adversarial_weight, self.pixel_weight, self.r1_gamma, self.lr_factor):
            value_at(steps, 0)


class GanModule(pl.LightningModule):
    """Trains a StyleGAN generator against a discriminator with manual optimisation.

    One training step runs `Alternation` once. Every update draws new latents from (seed, stream, sample index).
    Lightning's ``global_step`` counts batches, however many updates a batch takes. Batches are
    ``(images [N, 3, R, R] in [-1, 1], scores [N, 8])``, and for `pixel_loss` ``latents [N, z_dim]`` besides. Other
    arguments are the fields of `GanSettings`.
    """

    takes = GanSettings
    images_seen: Tensor
    last_g_loss: Tensor

    def __init__(self, generator: Generator, discriminator: Discriminator, **settings: Any) -> None:
        super().__init__()
        self.settings = made = typed(self.takes, plain(settings))
        self.save_hyperparameters(plain(vars(made)))
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.generator_ema = copy.deepcopy(generator).requires_grad_(False) if made.ema_images else None
        self.alternation = Alternation(made.max_d, made.max_g, made.d_ratio, made.g_ratio)
        self.trainable = {
            "g": generator_trainable(generator, made.generator_resolution),
            "d": discriminator_trainable(discriminator, made.discriminator_resolution),
        }
        if not made.train_noise:
            self.trainable["g"] = [k for k in self.trainable["g"] if not k.endswith("apply_noise.weight")]
        self.synthesis, self.score = generator.synthesis.forward, discriminator.forward
        # for updates that need no graph through the generator; None: the network itself
        self.frozen: FrozenGenerator | None = FrozenGenerator(generator)
        set_trainable(generator, self.trainable["g"])
        set_trainable(discriminator, self.trainable["d"])
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last_g_loss", torch.full((), torch.nan))
        self.has_last_g_loss = False

    @property
    def sampling_generator(self) -> Generator:
        """The generator to sample from: the moving average where there is one."""
        return self.generator if self.generator_ema is None else self.generator_ema

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["has_last_g_loss"] = self.has_last_g_loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.has_last_g_loss = bool(checkpoint["has_last_g_loss"])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        hp = self.settings
        options = {"lr": hp.lr, "betas": tuple(float(beta) for beta in hp.betas), "weight_decay": hp.weight_decay}
        # All parameters are handed over, frozen ones too: without a gradient they are never touched, nor decayed.
        groups: list[dict[str, Any]] = [{"params": list(self.generator.parameters())}]
        if hp.mapping_lr_scale != 1.0:
            synthesis = {"params": list(self.generator.synthesis.parameters())}
            mapping = {"params": list(self.generator.mapping.parameters()), "lr": hp.lr * hp.mapping_lr_scale}
            groups = [mapping, synthesis]
        optimizer = partial(OPTIMIZERS[hp.optimizer], fused=True if self.device.type == "cpu" else None)
        return [optimizer(groups, **options), optimizer(self.discriminator.parameters(), **options)]

    def set_learning_rates(self) -> None:
        """Puts ``lr_factor`` of the present batch on every learning rate."""
        factor = self.value("lr_factor")
        for optimizer in cast(list, self.optimizers()):
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("base_lr", group["lr"]) * factor

    def compile_networks(self) -> None:
        """Compiles the forward functions, not the modules, whose names in the state dict stay as they are."""
        self.synthesis, self.score = torch.compile(self.synthesis), torch.compile(self.score)
        self.frozen = None

    @property
    def lod(self) -> float:
        """Level of detail of the present batch: 0 is full size, 1 half of it, in between they are blended."""
        seen = int(self.images_seen)
        for i, (stable, fade) in enumerate(self.settings.grow_images):
            coarse = len(self.settings.grow_images) - i
            if seen < stable + fade:
                return coarse - max(0.0, (seen - stable) / fade)
            seen -= stable + fade
        return 0.0

    def sample_indices(self, n: int) -> range:
        """Global numbers of this rank's samples in this batch, dealt out one by one as the images are."""
        seen, ranks = int(self.images_seen), self.trainer.world_size
        return range(seen + self.global_rank, seen + ranks * n, ranks)

    def draw_latents(self, update: str, n: int) -> Tensor:
        """z [n, z_dim] for an update such as ``d0`` or ``g2`` of the present batch."""
        z = rng.normal(self.settings.seed, f"train/z/{update}", self.sample_indices(n), self.generator.z_dim)
        return z.to(self.device)

    def draw_noise(self, update: str, n: int) -> list[Tensor] | None:
        if not self.settings.fresh_noise:
            return None
        stream = f"train/noise/{update}"
        draws = (rng.torch_stream(self.settings.seed, stream, i, self.device) for i in self.sample_indices(n))
        layers = zip(*(self.generator.synthesis.draw_noise(1, own) for own in draws), strict=True)
        return [torch.cat(noise) for noise in layers]

    def latents_of(self, known: Sequence[Tensor]) -> Tensor:
        """The latents of a batch, which come after its scores; ValueError where they do not, or do not fit."""
        dim = self.generator.z_dim
        if not known or known[0].shape[1] != dim:
            found = f"latents of {known[0].shape[1]} numbers" if known else "none"
            raise ValueError(
                f"model.module.pixel_weight is for pictures that come with the latents they stand for, and these have "
                f"{found}: give data=faces data.latents={dim}, or model.module.pixel_weight=0"
            )
        return known[0]

    def labels(self, scores: Tensor) -> Tensor | None:
        dim = self.generator.label_dim
        if not dim:
            return None
        return scores[:, :dim].float() if self.settings.label_source == "data" else scores.new_zeros(len(scores), dim)

    def fakes(self, update: str, label: Tensor | None, n: int, latents: Tensor | None = None) -> Tensor:
        """Generated images of an update; moves w_avg once, as every forward in training does."""
        g = self.generator
        w = g.mapping(self.draw_latents(update, n) if latents is None else latents, label).w
        w_mean = w.detach().to(g.truncation.w_avg.dtype).mean(dim=0, keepdim=True)
        g.truncation.update(self.trainer.strategy.reduce(w_mean, reduce_op="mean"), self.settings.w_avg_decay)
        wp = g.truncation(w)
        if self.settings.style_mixing > 0.0:
            draws = rng.stream(self.settings.seed, f"train/mixing/{update}", int(self.images_seen))
            if draws.random() < self.settings.style_mixing:
                other = g.mapping(self.draw_latents(update + "/mix", n), label).w
                wp = wp.clone()
                wp[:, int(draws.integers(1, g.num_layers)) :] = other.unsqueeze(1).to(wp.dtype)
        noise = self.draw_noise(update, n)
        if self.frozen is None or torch.is_grad_enabled() or self.lod or wp.device.type != "cpu":
            return self.synthesis(wp, noise, lod=self.lod)
        return self.frozen.synthesize(wp, 1.0, 0, noise)

    def network(self, which: str) -> nn.Module:
        return self.generator if which == "g" else self.discriminator

    @contextmanager
    def phase(self, training: str) -> Iterator[None]:
        """Only the network that trains (``g`` or ``d``) takes gradients."""
        other = self.discriminator if training == "g" else self.generator
        set_trainable(other, [])
        try:
            yield
        finally:
            set_trainable(other, self.trainable["d" if training == "g" else "g"])

    def apply_gradients(self, which: str, loss: Tensor, count: bool) -> float:
        """Backward and optimizer step; returns the loss, averaged over processes so that all take the same turn.

        Lightning counts every ``optimizer.step()`` as a training step (``max_steps``, checkpoint and logging
        intervals). Its counter sees the step with ``count`` alone, so that one batch counts once.
        """
        optimizer: Any = cast(list, self.optimizers())[0 if which == "g" else 1]
        optimizer.zero_grad(set_to_none=True)
        # Of these alone: the gradient would go on to the pixels, which R1 asks a derivative of.
        self.manual_backward(loss, inputs=[p for p in self.network(which).parameters() if p.requires_grad])
        if not count:
            hooks = optimizer._on_before_step, optimizer._on_after_step
            optimizer._on_before_step = optimizer._on_after_step = lambda: None
        optimizer.step()
        if not count:
            optimizer._on_before_step, optimizer._on_after_step = hooks
        loss = loss.detach()
        return float(self.trainer.strategy.reduce(loss, reduce_op="mean"))

    def d_update(
        self, repeat: int, reals: Tensor, label: Tensor | None, r1_gamma: float, real_score: Score
    ) -> DiscriminatorLoss:
        with self.phase("d"):
            with torch.no_grad():  # the discriminator's update needs no graph through the generator
                fakes = self.fakes(f"d{repeat}", label, len(reals))
            score = partial(self.score, lod=self.lod)
            result = discriminator_loss(score, reals, fakes, label, r1_gamma, real_score)
            value = self.apply_gradients("d", result.loss, count=False)
        return result._replace(loss=torch.tensor(value))

    def g_update(self, repeat: int, label: Tensor | None, reals: Tensor, latents: Tensor | None) -> float:
        adversarial, pixels = self.value("adversarial_weight"), self.value("pixel_weight")
        with self.phase("g"):
            fakes = self.fakes(f"g{repeat}", label, len(reals), latents)
            loss = fakes.new_zeros(())
            if adversarial:
                loss = loss + adversarial * generator_loss(partial(self.score, lod=self.lod), fakes, label)
            if latents is not None:
                loss = loss + pixels * pixel_loss(fakes, reals)
            return self.apply_gradients("g", loss, count=repeat == 0)

    def value(self, setting: str) -> float:
        """A setting that may change in training, at the present batch."""
        return value_at(getattr(self.settings, setting), int(self.images_seen))

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        reals, scores, *known = batch
        reals = faded(reals, self.lod)
        label = self.labels(scores)
        n = len(reals)
        latents = self.latents_of(known) if self.value("pixel_weight") else None
        step = int(self.images_seen) // max(n * self.trainer.world_size, 1)
        lazy = self.settings.r1_interval
        gamma = self.value("r1_gamma") * lazy if step % lazy == 0 else 0.0
        self.set_learning_rates()
        d_results: list[DiscriminatorLoss] = []
        real_score = RealScore(self.discriminator, self.settings.discriminator_resolution, self.lod)
        pixels = full_precision(reals).detach().requires_grad_(gamma > 0)  # the same ones in every repeat

        def d_update(repeat: int) -> float:
            d_results.append(self.d_update(repeat, pixels, label, gamma, real_score))
            return float(d_results[-1].loss)

        def g_update(repeat: int) -> float:
            real_score.forget()
            return self.g_update(repeat, label, reals, latents)

        if self.value("adversarial_weight"):
            last = float(self.last_g_loss) if self.has_last_g_loss else None
            outcome = self.alternation.run(d_update, g_update, last)
        else:
            outcome = StepOutcome(math.nan, g_update(0), 0, 1)
        self.last_g_loss.fill_(outcome.g_loss)
        self.has_last_g_loss = True
        self.images_seen += n * self.trainer.world_size
        self.generator.synthesis.lod.fill_(self.lod)  # kept with the weights: how far the networks have grown
        self.discriminator.lod.fill_(self.lod)
        self.update_ema(n * self.trainer.world_size)
        self.log_step(outcome, d_results[-1] if d_results else None)

    @torch.no_grad()
    def update_ema(self, num_images: int) -> None:
        """Moves ``generator_ema``; its half-life grows with the images seen at first (Karras et al. 2020)."""
        if self.generator_ema is None:
            return
        half_life = max(min(self.settings.ema_images, 0.05 * int(self.images_seen)), 1e-6)
        decay = 0.5 ** (num_images / half_life)
        for ema, now in zip(self.generator_ema.parameters(), self.generator.parameters(), strict=True):
            ema.lerp_(now.detach(), 1.0 - decay)
        for fixed, moved in zip(self.generator_ema.buffers(), self.generator.buffers(), strict=True):
            fixed.copy_(moved)

    def log_step(self, outcome: StepOutcome, d: DiscriminatorLoss | None) -> None:
        figures: dict[str, Any] = {
            "g_loss": outcome.g_loss,
            "d_train_count": float(outcome.d_count),
            "g_train_count": float(outcome.g_count),
            "images_seen": self.images_seen.float(),
            "lod": self.lod,
        }
        if d is not None:
            scores = torch.cat([d.real_scores, d.fake_scores]).flatten()
            truth = torch.cat([torch.ones_like(d.real_scores), torch.zeros_like(d.fake_scores)]).flatten().int()
            figures |= {
                "d_loss": outcome.d_loss,
                "auroc": binary_auroc(scores, truth),
                "real_scores_mean": d.real_scores.mean(),
                "fake_scores_mean": d.fake_scores.mean(),
            }
            if not torch.isnan(d.r1_penalty):
                figures["r1_penalty"] = d.r1_penalty
        self.log_dict({f"train/{name}": value for name, value in figures.items()})


def generator_trainable(generator: Generator, max_resolution: int | None) -> list[str]:
    """Names of the trainable parameters: the mapping, and synthesis up to ``max_resolution`` (None: all, 0: none)."""
    names = []
    for name, _ in generator.named_parameters():
        part, _, rest = name.partition(".")
        if part == "mapping" or max_resolution is None:
            names.append(name)
        elif part == "synthesis":
            block = rest.split(".")[0]
            i = int(block.removeprefix("output")) if block.startswith("output") else int(block[5:]) // 2
            if generator.synthesis.resolutions[i] <= max_resolution:
                names.append(name)
    return names


def discriminator_trainable(discriminator: Discriminator, max_resolution: int | None) -> list[str]:
    """Names of the trainable parameters: layers whose input is at most ``max_resolution`` wide (None: all).

    Image entries (``input``), off the path at full level of detail, train only below it, as in the reference system.
    """
    names = []
    last = len(discriminator.resolutions) - 1
    for name, _ in discriminator.named_parameters():
        block = name.split(".")[0]
        is_entry = block.startswith("input")
        resolution = discriminator.resolutions[int(block[5:]) if is_entry else min(int(block[5:]) // 2, last)]
        if max_resolution is None or resolution < max_resolution or (resolution == max_resolution and not is_entry):
            names.append(name)
    return names


def set_trainable(network: nn.Module, names: list[str] | set[str]) -> None:
    """Lets exactly the named parameters take a gradient."""
    wanted = set(names)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in wanted)
