"""A network from latent vectors to one score, whose input gradient points where the score rises.

Key names and shapes are those of the published Oh-LoRA system.
"""

from typing import Any

import torch
from torch import Tensor, nn


class GradientNet(nn.Module):
    """Dense d -> 768 + d/4 -> 128 + d/8 -> 1, with tanh and dropout after both hidden layers.

    Args:
        size: d, the length of the vectors, at least 1.
        dropout: share of hidden activations that training drops.
    """

    def __init__(self, size: int, dropout: float = 0.25) -> None:
        super().__init__()
        wide, narrow = 768 + size // 4, 128 + size // 8
        self.config: dict[str, Any] = {"size": size, "dropout": dropout}
        self.fc1 = nn.Sequential(nn.Linear(size, wide), nn.Tanh(), nn.Dropout(dropout))
        self.fc2 = nn.Sequential(nn.Linear(wide, narrow), nn.Tanh(), nn.Dropout(dropout))
        self.fc_final = nn.Linear(narrow, 1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors ``[B, d]`` to scores ``[B, 1]``."""
        return self.fc_final(self.fc2(self.fc1(vectors)))


def input_gradients(net: nn.Module, vectors: Tensor) -> Tensor:
    """The gradient of each vector's score in the vector, ``[B, d]`` to ``[B, d]``, with dropout off.

    With dropout on, as the published system leaves it, a gradient has a cosine of about 0.7 to this one. The network's
    mode stays as it was.
    """
    was_training = net.training
    net.eval()
    vectors = vectors.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(net(vectors).sum(), vectors)
    net.train(was_training)
    return gradients
