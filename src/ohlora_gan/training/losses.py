"""GAN losses and the alternation of updates, as pure functions.

Non-saturating logistic loss (Goodfellow et al. 2014) with the R1 penalty on reals (Mescheder, Geiger, Nowozin, "Which
Training Methods for GANs do actually Converge?", ICML 2018, equation 9).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
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
