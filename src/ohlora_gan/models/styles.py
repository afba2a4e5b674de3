"""What StyleGAN2 and StyleGAN3 share: the dense layer, the mapping network, truncation, the scales of styles.

Names and shapes of parameters are those of NVIDIA's published programs, so that their tensors load strictly. Everything
here runs in float32 whatever the precision around it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.gan import label_or_zeros, pixel_norm
from ohlora_gan.models.generator import GeneratorBase, truncated
from ohlora_gan.models.resampling import activation_named, float32_region

EPSILON = 1e-8
MAX_LAYERS = 100
MAX_SIDE = 4096


def plain(settings: Any) -> dict[str, Any]:
    """The settings of a network as plain data, as configs and files keep them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def check_whole(low: int, high: int, **numbers: Any) -> None:
    """Raises ValueError for a number that is no whole one from ``low`` to ``high``."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} is {value!r}, expected a whole number from {low} to {high}")


class FullyConnected(nn.Module):
    """Dense layer with equalized learning rate; parameters are stored divided by ``lr_multiplier``."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float | Sequence[float] = 0.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        start = torch.tensor(bias_init, dtype=torch.float32)
        self.bias = nn.Parameter(start.expand(out_features).clone() / lr_multiplier)
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.activate, self.act_gain = activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, out_features] from ``x`` [N, in_features], in float32."""
        with float32_region(x):
            x = F.linear(x.float(), self.weight * self.weight_gain, self.bias * self.bias_gain)
            return self.activate(x) * self.act_gain


@dataclass(frozen=True)
class MappingSettings:
    """How a mapping network is built: widths of the label's embedding and of the hidden layers; None: as wide as w."""

    num_layers: int = 8
    embed_features: int | None = None
    layer_features: int | None = None
    activation: str = "lrelu"
    lr_multiplier: float = 0.01


class Mapping(nn.Module):
    """z [N, z_dim] and label [N, label_dim] to w [N, w_dim]; with z_dim 0, a label alone."""

    w_avg: Tensor

    def __init__(self, z_dim: int, label_dim: int, w_dim: int, built: MappingSettings, average: bool = True):
        super().__init__()
        check_whole(1, MAX_LAYERS, **{"mapping.num_layers": built.num_layers})
        self.z_dim, self.label_dim, self.num_layers = z_dim, label_dim, built.num_layers
        embed_dim = (w_dim if built.embed_features is None else built.embed_features) if label_dim else 0
        if label_dim:
            self.embed = FullyConnected(label_dim, embed_dim)
        hidden = [w_dim if built.layer_features is None else built.layer_features] * (built.num_layers - 1)
        dims = [z_dim + embed_dim, *hidden, w_dim]
        for i in range(built.num_layers):
            setattr(self, f"fc{i}", FullyConnected(dims[i], dims[i + 1], built.activation, built.lr_multiplier))
        if average:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        parts = [pixel_norm(z.float())] if self.z_dim else []
        if self.label_dim:
            parts.append(pixel_norm(self.embed(label_or_zeros(label, self.label_dim, z))))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        return x


class StyleGenerator(GeneratorBase):
    """A mapping network, and a synthesis network that takes a w a layer.

    Subclasses set the attributes of `GeneratorBase`, ``mapping`` and ``synthesis``.
    """

    one_hot_labels = True
    mapping: Mapping
    synthesis: nn.Module

    @property
    def w_avg(self) -> Tensor:
        return self.mapping.w_avg

    def map(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.mapping(z, label)

    def truncate(self, w: Tensor, psi: float = 1.0, num_truncated: int = 0) -> Tensor:
        """wp [N, L, w_dim] of ``w`` [N, w_dim] or [N, L, w_dim], the first ``num_truncated`` nearer to the average."""
        return truncated(w, self.w_avg, self.num_layers, psi, num_truncated)

    def synthesize(
        self, w: Tensor, psi: float = 1.0, num_truncated: int = 0, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        wp = self.truncate(w, psi, num_truncated)
        if noise is None or not self.noise_sides:
            return self.synthesis(wp)
        return self.synthesis(wp, noise)


def per_channel(x: Tensor, factors: Tensor) -> Tensor:
    """``x`` [N, C, H, W], each channel of each sample times a factor of ``factors`` [N, C]."""
    return x * factors[:, :, None, None].to(x.dtype)


def demodulation(weight: Tensor, style: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Factors [N, O] that bring the outputs of a modulated convolution back to unit variance.

    The kernel ``weight`` [O, I, K, K] would be scaled, input by input, by ``style`` [N, I] (Karras et al. 2020,
    equation 3); scaling inputs before and outputs after one convolution for all samples is the same.
    """
    with float32_region(style):
        return torch.rsqrt(style.square() @ weight.square().sum(dim=(2, 3)).t() + epsilon)
