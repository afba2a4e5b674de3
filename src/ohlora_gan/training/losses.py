"""GAN losses and the alternation of updates, as pure functions.

Non-saturating logistic loss (Goodfellow et al. 2014) with the R1 penalty on reals (Mescheder, Geiger, Nowozin, "Which
Training Methods for GANs do actually Converge?", ICML 2018, equation 9).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ohlora_gan.models.layers import full_precision


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

    Args:
        score: the discriminator.
        reals, fakes: images [N, 3, R, R]; fakes need no graph.
        label: labels [N, label_dim] of both, or None for zeros.
        r1_gamma: weight of the penalty; 0 skips it.
        score_r1: the discriminator where it is differentiated twice, which a compiled one cannot be.
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


# --- Pictures drawn badly in many ways, as a generator draws them, so that what learns from them reads su ---


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


ROUGH_SHARE = 0.5  # of the pictures
EACH_SHARE = 0.3  # of these, for every way
MAX_WARP = 1.2  # pixels of a 64x64 picture
MAX_DOUBLE = 4.0  # pixels of a 64x64 picture between the outlines
MAX_MOVE = 1.5  # pixels of a 64x64 picture
MAX_BLEND = 0.6  # share of a wrong colour
MAX_BLOBS = 0.35  # standard deviation of blobs; images span [-1, 1]
MAX_STEP = 0.25  # between the levels that a block's frequencies are rounded to

Uniform = Callable[..., Tensor]
"""Numbers ``[B, *shape]`` from ``low`` to ``high``: ``uniform(low, high, *shape)``."""


def roughen(images: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Draws half of the pictures worse: warped, moved, smeared, doubled, miscoloured, blotchy, in blocks.

    Args:
        images: ``[B, 3, R, R]`` in [-1, 1], R a multiple of 8.
        strength: factor on every amount; 0 returns the images as they are.
        draws: generator on the images' device; nothing else decides the result.

    Returns:
        ``[B, 3, R, R]`` in [-1, 1].
    """
    if strength == 0:
        return images

    def uniform(num: int, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(num, *shape, generator=draws, device=images.device)

    rough = uniform(len(images), 0, 1) < ROUGH_SHARE
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would place pixels by quarters
        for change in (warped, moved, smeared, doubled, miscolored, blotchy, blocky):
            chosen = (rough & (uniform(len(images), 0, 1) < EACH_SHARE)).nonzero().flatten()
            if len(chosen):
                changed = change(images[chosen], strength, partial(uniform, len(chosen)))
                images = images.index_copy(0, chosen, changed)
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
