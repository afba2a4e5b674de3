"""The LightningModule of every GAN stage: pretrain, FineTune-v1 and FineTune-v9 differ in hyper-parameters alone."""

import copy
import itertools
import math
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc

from ohlora_gan import rng
from ohlora_gan.models.gan import Discriminator, Generator
from ohlora_gan.training.losses import Alternation, DiscriminatorLoss, StepOutcome, discriminator_loss, generator_loss

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


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
    """A setting that changes in training: a number, or ``[[images, value], ...]``, each value from so many images on.

    Raises:
        ValueError: for steps that do not begin at 0 images, or do not rise.
    """
    if isinstance(steps, int | float):
        return float(steps)
    starts = [step[0] for step in steps]
    if not starts or starts[0] != 0 or any(a >= b for a, b in itertools.pairwise(starts)):
        raise ValueError(f"steps are {[list(step) for step in steps]}, expected [[0, VALUE], [IMAGES, VALUE], ...]")
    return float(next(value for start, value in reversed(steps) if images_seen >= start))


def plain_steps(steps: float | Steps) -> float | Steps:
    """Checked steps as plain data, whatever Hydra passes."""
    value_at(steps, 0)
    return steps if isinstance(steps, int | float) else [[float(number) for number in step] for step in steps]


class GanModule(pl.LightningModule):
    """Trains a StyleGAN generator against a discriminator with manual optimisation.

    One training step runs ``Alternation`` once. Every update draws new latents from (seed, stream, sample index).
    Lightning's ``global_step`` counts batches, however many updates a batch takes. Batches are
    ``(images [N, 3, R, R] in [-1, 1], scores [N, 8])``.

    Args:
        stage: name of the training stage, kept in checkpoints.
        label_source: ``zeros``, or ``data`` (the first ``label_dim`` property scores of each real image).
        generator_resolution, discriminator_resolution: parameters train up to this resolution (None: all; the
            mapping always trains).
        max_d, max_g, d_ratio, g_ratio: see ``Alternation``.
        r1_gamma, r1_interval: R1 weight, a number or steps (see `value_at`); it is applied every ``r1_interval``
            batches with the weight multiplied (lazy regularisation, Karras et al. 2020, appendix B).
        optimizer: ``adam`` or ``adamw``, with ``lr``, ``betas``, ``weight_decay``.
        lr_factor: what all learning rates are multiplied by: a number or steps, as for ``r1_gamma``.
        mapping_lr_scale: factor of the learning rate in the mapping network, whose weights are stored 100 times larger.
        w_avg_decay: decay of the moving average of w, which moves at every forward.
        style_mixing: probability that a batch mixes two latents at a random layer.
        ema_images: half-life, in images, of the generator's moving average; 0 keeps none.
        fresh_noise: per-pixel noise is drawn anew for every update (else the fixed buffers).
        train_noise: learn the strength of the per-pixel noise; without it the strength stays as it is (0 in a new
            network: a world without texture needs none).
        grow_images: progressive growing (Karras et al. 2018): training begins with small images and doubles their size
            once an entry; an entry holds the number of images that a size is trained on, and that its fading into the
            next size takes. Empty: full size from the start.
        seed: seed of latents and noise.
    """

    images_seen: Tensor
    last_g_loss: Tensor

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        stage: str = "finetune_v9",
        label_source: str = "zeros",
        generator_resolution: int | None = 16,
        discriminator_resolution: int | None = 16,
        max_d: int = 4,
        max_g: int = 4,
        d_ratio: float = 2.5,
        g_ratio: float = 2.0,
        r1_gamma: float | Steps = 10.0,
        r1_interval: int = 1,
        optimizer: str = "adamw",
        lr: float = 1e-4,
        lr_factor: float | Steps = 1.0,
        mapping_lr_scale: float = 1.0,
        betas: Sequence[float] = (0.9, 0.999),
        weight_decay: float = 0.01,
        w_avg_decay: float = 0.995,
        style_mixing: float = 0.0,
        ema_images: float = 0.0,
        fresh_noise: bool = True,
        train_noise: bool = True,
        grow_images: Sequence[Sequence[int]] = (),
        seed: int = 0,
    ):
        super().__init__()
        if label_source not in ("zeros", "data"):
            raise ValueError(f"label_source is {label_source!r}, expected 'zeros' or 'data'")
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer is {optimizer!r}, expected one of {sorted(OPTIMIZERS)}")
        betas, grow_images = [float(b) for b in betas], [[int(n) for n in pair] for pair in grow_images]
        r1_gamma, lr_factor = plain_steps(r1_gamma), plain_steps(lr_factor)
        self.save_hyperparameters(ignore=["generator", "discriminator"])
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.generator_ema = copy.deepcopy(generator).requires_grad_(False) if ema_images else None
        self.alternation = Alternation(max_d, max_g, d_ratio, g_ratio)
        self.trainable = {
            "g": generator_trainable(generator, generator_resolution),
            "d": discriminator_trainable(discriminator, discriminator_resolution),
        }
        if not train_noise:
            self.trainable["g"] = [k for k in self.trainable["g"] if not k.endswith("apply_noise.weight")]
        self.synthesis, self.score = generator.synthesis.forward, discriminator.forward
        set_trainable(generator, self.trainable["g"])
        set_trainable(discriminator, self.trainable["d"])
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last_g_loss", torch.full((), torch.nan))
        self.has_last_g_loss = False

    # ---------------------------------------------------------------- state

    @property
    def hp(self) -> Any:
        """The hyper-parameters, plain data."""
        return self.hparams

    @property
    def sampling_generator(self) -> Generator:
        """The generator to sample from: the moving average where there is one."""
        return self.generator if self.generator_ema is None else self.generator_ema

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["has_last_g_loss"] = self.has_last_g_loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.has_last_g_loss = bool(checkpoint["has_last_g_loss"])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        hp = self.hp
        options = {"lr": hp.lr, "betas": tuple(hp.betas), "weight_decay": hp.weight_decay}
        # All parameters are handed over, frozen ones too: without a gradient they are never touched, nor decayed.
        groups: list[dict[str, Any]] = [{"params": list(self.generator.parameters())}]
        if hp.mapping_lr_scale != 1.0:
            synthesis = {"params": list(self.generator.synthesis.parameters())}
            mapping = {"params": list(self.generator.mapping.parameters()), "lr": hp.lr * hp.mapping_lr_scale}
            groups = [mapping, synthesis]
        optimizer = OPTIMIZERS[hp.optimizer]
        return [optimizer(groups, **options), optimizer(self.discriminator.parameters(), **options)]

    def set_learning_rates(self) -> None:
        """Puts ``lr_factor`` of the present batch on every learning rate."""
        factor = value_at(self.hp.lr_factor, int(self.images_seen))
        for optimizer in cast(list, self.optimizers()):
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("base_lr", group["lr"]) * factor

    def compile_networks(self) -> None:
        """Compiles the forward functions, not the modules, whose names in the state dict stay as they are."""
        self.synthesis, self.score = torch.compile(self.synthesis), torch.compile(self.score)

    @property
    def lod(self) -> float:
        """Level of detail of the present batch: 0 is full size, 1 half of it, in between they are blended."""
        seen = int(self.images_seen)
        for i, (stable, fade) in enumerate(self.hp.grow_images):
            coarse = len(self.hp.grow_images) - i
            if seen < stable + fade:
                return coarse - max(0.0, (seen - stable) / fade)
            seen -= stable + fade
        return 0.0

    # ---------------------------------------------------------------- random inputs

    def sample_indices(self, n: int) -> range:
        """Global numbers of this rank's samples in this batch."""
        start = int(self.images_seen) + self.global_rank * n
        return range(start, start + n)

    def draw_latents(self, update: str, n: int) -> Tensor:
        """z [n, z_dim] for an update such as ``d0`` or ``g2`` of the present batch."""
        z = rng.normal(self.hp.seed, f"train/z/{update}", self.sample_indices(n), self.generator.z_dim)
        return z.to(self.device)

    def draw_noise(self, update: str, n: int) -> list[Tensor] | None:
        if not self.hp.fresh_noise:
            return None
        index = self.sample_indices(n)[0]
        draws = rng.torch_stream(self.hp.seed, f"train/noise/{update}", index, self.device)
        return self.generator.synthesis.draw_noise(n, draws)

    def labels(self, scores: Tensor) -> Tensor | None:
        dim = self.generator.label_dim
        if not dim:
            return None
        return scores[:, :dim].float() if self.hp.label_source == "data" else scores.new_zeros(len(scores), dim)

    def fakes(self, update: str, label: Tensor | None, n: int) -> Tensor:
        """Generated images of an update; moves w_avg once, as every forward in training does."""
        g = self.generator
        w = g.mapping(self.draw_latents(update, n), label).w
        w_mean = w.detach().to(g.truncation.w_avg.dtype).mean(dim=0, keepdim=True)
        g.truncation.update(self.trainer.strategy.reduce(w_mean, reduce_op="mean"), self.hp.w_avg_decay)
        wp = g.truncation(w)
        if self.hp.style_mixing > 0.0:
            draws = rng.stream(self.hp.seed, f"train/mixing/{update}", self.sample_indices(n)[0])
            if draws.random() < self.hp.style_mixing:
                other = g.mapping(self.draw_latents(update + "/mix", n), label).w
                wp = wp.clone()
                wp[:, int(draws.integers(1, g.num_layers)) :] = other.unsqueeze(1).to(wp.dtype)
        return self.synthesis(wp, self.draw_noise(update, n), lod=self.lod)

    # ---------------------------------------------------------------- updates

    @contextmanager
    def phase(self, training: str):
        """Only the network that trains (``g`` or ``d``) takes gradients."""
        other = self.discriminator if training == "g" else self.generator
        set_trainable(other, [])
        try:
            yield
        finally:
            set_trainable(other, self.trainable["d" if training == "g" else "g"])

    def apply_gradients(self, which: str, loss: Tensor, count: bool) -> float:
        """Backward and optimizer step; returns the loss, averaged over processes so that all take the same turn.

        Lightning counts every ``optimizer.step()`` as a training step. Only the step with ``count`` is seen by
        that counter (``max_steps``, checkpoint and logging intervals), so that one batch counts once.
        """
        optimizer: Any = cast(list, self.optimizers())[0 if which == "g" else 1]
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        if not count:
            hooks = optimizer._on_before_step, optimizer._on_after_step
            optimizer._on_before_step = optimizer._on_after_step = lambda: None
        optimizer.step()
        if not count:
            optimizer._on_before_step, optimizer._on_after_step = hooks
        loss = loss.detach()
        return float(self.trainer.strategy.reduce(loss, reduce_op="mean"))

    def d_update(self, repeat: int, reals: Tensor, label: Tensor | None, r1_gamma: float) -> DiscriminatorLoss:
        with self.phase("d"):
            with torch.no_grad():  # the discriminator's update needs no graph through the generator
                fakes = self.fakes(f"d{repeat}", label, len(reals))
            score, plain = (partial(f, lod=self.lod) for f in (self.score, self.discriminator.forward))
            result = discriminator_loss(score, reals, fakes, label, r1_gamma, score_r1=plain)
            value = self.apply_gradients("d", result.loss, count=False)
        return result._replace(loss=torch.tensor(value))

    def g_update(self, repeat: int, label: Tensor | None, n: int) -> float:
        with self.phase("g"):
            fakes = self.fakes(f"g{repeat}", label, n)
            loss = generator_loss(partial(self.score, lod=self.lod), fakes, label)
            return self.apply_gradients("g", loss, count=repeat == 0)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        reals, scores = batch
        reals = faded(reals, self.lod)
        label = self.labels(scores)
        n = len(reals)
        step = int(self.images_seen) // max(n * self.trainer.world_size, 1)
        lazy = self.hp.r1_interval
        gamma = value_at(self.hp.r1_gamma, int(self.images_seen)) * lazy if step % lazy == 0 else 0.0
        self.set_learning_rates()
        d_results: list[DiscriminatorLoss] = []

        def d_update(repeat: int) -> float:
            d_results.append(self.d_update(repeat, reals, label, gamma))
            return float(d_results[-1].loss)

        last = float(self.last_g_loss) if self.has_last_g_loss else None
        outcome = self.alternation.run(d_update, lambda repeat: self.g_update(repeat, label, n), last)
        self.last_g_loss.fill_(outcome.g_loss)
        self.has_last_g_loss = True
        self.images_seen += n * self.trainer.world_size
        self.generator.synthesis.lod.fill_(self.lod)  # kept with the weights: how far the networks have grown
        self.discriminator.lod.fill_(self.lod)
        self.update_ema(n * self.trainer.world_size)
        self.log_step(outcome, d_results[-1])

    @torch.no_grad()
    def update_ema(self, num_images: int) -> None:
        """Moves ``generator_ema``; its half-life grows with the images seen at first (Karras et al. 2020)."""
        if self.generator_ema is None:
            return
        half_life = max(min(self.hp.ema_images, 0.05 * int(self.images_seen)), 1e-6)
        decay = 0.5 ** (num_images / half_life)
        for ema, now in zip(self.generator_ema.parameters(), self.generator.parameters(), strict=True):
            ema.lerp_(now.detach(), 1.0 - decay)
        for fixed, moved in zip(self.generator_ema.buffers(), self.generator.buffers(), strict=True):
            fixed.copy_(moved)

    def log_step(self, outcome: StepOutcome, d: DiscriminatorLoss) -> None:
        scores = torch.cat([d.real_scores, d.fake_scores]).flatten()
        truth = torch.cat([torch.ones_like(d.real_scores), torch.zeros_like(d.fake_scores)]).flatten().int()
        bar: dict[str, Any] = {"d_loss": outcome.d_loss, "g_loss": outcome.g_loss, "auroc": binary_auroc(scores, truth)}
        rest: dict[str, Any] = {
            "d_train_count": float(outcome.d_count),
            "g_train_count": float(outcome.g_count),
            "real_scores_mean": d.real_scores.mean(),
            "fake_scores_mean": d.fake_scores.mean(),
            "images_seen": self.images_seen.float(),
            "lod": self.lod,
        }
        if not torch.isnan(d.r1_penalty):
            rest["r1_penalty"] = d.r1_penalty
        self.log_dict({f"train/{k}": v for k, v in bar.items()}, prog_bar=True)
        self.log_dict({f"train/{k}": v for k, v in rest.items()})


# --- Which parameters of the generator and the discriminator train ---


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

    Image entries (``input``) train only below ``max_resolution``, as in the reference system; at full level of
    detail they lie off the path.
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
