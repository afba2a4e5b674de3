"""StyleGAN3 (Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021): the generator.

Its discriminator is StyleGAN2's. Configuration T (3x3 kernels) moves with translations, R (1x1 kernels, radial
filters) with rotations too. Names and shapes of parameters are those of NVIDIA's published program.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.generator import check_channels, settings_of
from ohlora_gan.models.resampling import add_bias, clamped, filtered, float32_region, lowpass, upsampled
from ohlora_gan.models.styles import (
    MAX_LAYERS,
    MAX_SIDE,
    FullyConnected,
    Mapping,
    MappingSettings,
    StyleGenerator,
    check_whole,
    demodulation,
    per_channel,
    plain,
)


@dataclass(frozen=True)
class Settings:
    """What a generator is built from; the fields are the keys of configs and of stored files (the paper's section 4).

    The network works on a canvas that is ``margin_size`` pixels wider than the image on each side. Cutoffs and
    stopbands of its layers grow geometrically from ``first_cutoff`` and ``first_stopband`` (in cycles a picture) to
    half the resolution, and ``last_stopband_rel`` times that, over all but the ``num_critical`` last layers.
    ``conv_clamp`` is the largest value of a feature (None: no limit); ``mapping`` are `MappingSettings`.
    """

    resolution: int = 256
    z_dim: int = 512
    w_dim: int = 512
    label_dim: int = 0
    image_channels: int = 3
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin_size: int = 10
    output_scale: float = 0.25
    conv_kernel: int = 3
    filter_size: int = 6
    lrelu_upsampling: int = 2
    use_radial_filters: bool = False
    conv_clamp: float | None = 256
    mapping: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Band:
    """What a layer makes: side and channels of its features, and their frequencies (in cycles a picture)."""

    side: int
    channels: int
    rate: int
    cutoff: float
    half_width: float


def bands(built: Settings) -> list[Band]:
    """The bands of all layers, the image's last (the paper's section 4.1 and appendix D)."""
    num, last = built.num_layers, built.resolution / 2
    exponents = np.minimum(np.arange(num + 1) / (num - built.num_critical), 1)
    cutoffs = built.first_cutoff * (last / built.first_cutoff) ** exponents
    ratio = last * built.last_stopband_rel / built.first_stopband
    stopbands = built.first_stopband * ratio**exponents
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, built.resolution))))
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sides = rates + built.margin_size * 2
    sides[-2:] = built.resolution
    channels = np.rint(np.minimum(built.channel_base / 2 / cutoffs, built.channel_max))
    channels[-1] = built.image_channels
    rows = zip(sides, channels, rates, cutoffs, half_widths, strict=True)
    return [Band(int(side), int(c), int(rate), float(cut), float(half)) for side, c, rate, cut, half in rows]


class SynthesisInput(nn.Module):
    """Sine waves of a w's orientation and position: [N, C, side, side].

    ``transform`` (an inverse 3x3 transformation of the plane) moves all pictures further.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, w_dim: int, band: Band):
        super().__init__()
        self.band = band
        freqs = torch.randn(band.channels, 2)
        radii = freqs.square().sum(dim=1, keepdim=True).sqrt()
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * band.cutoff
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        self.affine = FullyConnected(w_dim, 4, bias_init=(1.0, 0.0, 0.0, 0.0))
        nn.init.zeros_(self.affine.weight)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)

    def placement(self, w: Tensor) -> Tensor:
        """The transformation [N, 3, 3] of each picture: its rotation and shift, then ``transform``."""
        t = self.affine(w)
        cos, sin, across, down = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)
        shift = torch.stack([one, zero, -across, zero, one, -down, zero, zero, one], dim=1).view(-1, 3, 3)
        return rotation @ shift @ self.transform

    def forward(self, w: Tensor) -> Tensor:
        with float32_region(w):
            return self.waves(w.float())

    def waves(self, w: Tensor) -> Tensor:
        placed = self.placement(w)
        phases = self.phases + (self.freqs @ placed[:, :2, 2:]).squeeze(2)
        freqs = self.freqs @ placed[:, :2, :2]
        highest = self.band.rate / 2
        # waves that a rotation or a scale lifts above the cutoff fade out
        amplitudes = (1 - (freqs.norm(dim=2) - self.band.cutoff) / (highest - self.band.cutoff)).clamp(0, 1)
        reach = self.band.side / self.band.rate
        places = (torch.arange(self.band.side, device=w.device, dtype=w.dtype) + 0.5) / self.band.side - 0.5
        across, down = torch.meshgrid(places * reach, places * reach, indexing="xy")
        grid = torch.stack([across, down], dim=-1).view(-1, 2)
        x = grid @ freqs.transpose(1, 2) + phases.unsqueeze(1)  # [N, H W, C]
        x = torch.sin(2 * math.pi * x) * amplitudes.unsqueeze(1)
        x = x @ (self.weight / math.sqrt(self.band.channels)).t()
        return x.transpose(1, 2).reshape(len(w), -1, self.band.side, self.band.side)


class SynthesisLayer(nn.Module):
    """Modulated convolution, then leaky ReLU at a higher sampling rate between two low-pass filters."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, before: Band, after: Band, built: Settings, is_image: bool, is_critical: bool):
        super().__init__()
        self.is_image, self.conv_clamp = is_image, built.conv_clamp
        kernel = 1 if is_image else built.conv_kernel
        self.affine = FullyConnected(built.w_dim, before.channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        rate = max(before.rate, after.rate) * (1 if is_image else built.lrelu_upsampling)
        self.up, self.down = round(rate / before.rate), round(rate / after.rate)
        up_taps, down_taps = (
            built.filter_size * factor if factor > 1 and not is_image else 1 for factor in (self.up, self.down)
        )
        self.register_buffer("up_filter", lowpass(up_taps, before.cutoff, 2 * before.half_width, rate))
        radial = built.use_radial_filters and not is_critical
        self.register_buffer("down_filter", lowpass(down_taps, after.cutoff, 2 * after.half_width, rate, radial))
        total = (after.side - 1) * self.down + 1  # samples before downsampling
        total -= (before.side + kernel - 1) * self.up  # samples after upsampling
        total += up_taps + down_taps - 2
        low = (total + self.up) // 2  # the picture's middle stays where it is
        self.padding = [low, total - low] * 2

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Features of ``x`` [N, C, H, W] and ``w`` [N, w_dim]."""
        x = self.convolve(x, self.affine(w))
        x = upsampled(add_bias(x, self.bias), self.up_filter, self.up, self.padding)
        if not self.is_image:
            x = F.leaky_relu(x, 0.2) * math.sqrt(2)
        return filtered(clamped(x, self.conv_clamp), self.down_filter, (), self.down)

    def convolve(self, x: Tensor, style: Tensor) -> Tensor:
        """The modulated convolution, whose input is scaled to unit magnitude (the paper's section 3.2)."""
        weight: Tensor = self.weight
        magnitude = torch.rsqrt(self.magnitude_ema)
        fan_in = weight[0].numel()
        if self.is_image:
            return F.conv2d(per_channel(x, style * (magnitude / math.sqrt(fan_in))), weight)
        weight = weight * torch.rsqrt(weight.square().mean(dim=(1, 2, 3), keepdim=True))
        style = style * torch.rsqrt(style.square().mean(dim=1, keepdim=True))
        x = F.conv2d(per_channel(x, style * (magnitude / math.sqrt(fan_in))), weight, padding=weight.shape[-1] - 1)
        return per_channel(x, demodulation(weight, style) * math.sqrt(fan_in))


class Synthesis(nn.Module):
    """wp [N, L, w_dim] to images [N, image_channels, R, R]: a w for the waves, then one a layer."""

    def __init__(self, built: Settings):
        super().__init__()
        self.output_scale = built.output_scale
        self.bands = bands(built)
        self.input = SynthesisInput(built.w_dim, self.bands[0])
        self.layer_names: list[str] = []
        for i, after in enumerate(self.bands):
            is_critical = i >= built.num_layers - built.num_critical
            layer = SynthesisLayer(self.bands[max(i - 1, 0)], after, built, i == built.num_layers, is_critical)
            self.layer_names.append(f"L{i}_{after.side}_{after.channels}")
            setattr(self, self.layer_names[-1], layer)

    def forward(self, wp: Tensor) -> Tensor:
        x = self.input(wp[:, 0])
        for i, name in enumerate(self.layer_names):
            x = getattr(self, name)(x, wp[:, i + 1])
        return x * self.output_scale


def check(built: Settings) -> None:
    """Raises ValueError for settings that cannot be used."""
    check_whole(8, MAX_SIDE, resolution=built.resolution)
    check_whole(0, 1 << 20, label_dim=built.label_dim)
    check_channels(built.image_channels)
    check_whole(1, 1 << 16, z_dim=built.z_dim, w_dim=built.w_dim, channel_max=built.channel_max)
    check_whole(1, 1 << 24, channel_base=built.channel_base)
    check_whole(2, MAX_LAYERS, num_layers=built.num_layers)
    check_whole(0, built.num_layers - 1, num_critical=built.num_critical)
    check_whole(0, MAX_SIDE, margin_size=built.margin_size)
    check_whole(1, 16, conv_kernel=built.conv_kernel, filter_size=built.filter_size)
    check_whole(1, 8, lrelu_upsampling=built.lrelu_upsampling)


class StyleGAN3Generator(StyleGenerator):
    """StyleGAN3's generator: z and, where it is conditional, a one-hot label to an image. It takes no noise.

    It takes the fields of `Settings` that differ from their defaults; ValueError for any other name. Its mapping
    network has 2 layers where ``mapping`` does not say otherwise.
    """

    def __init__(self, **settings: Any):
        super().__init__()
        built = settings_of(Settings, settings)
        check(built)
        mapping = settings_of(MappingSettings, {"num_layers": 2, **built.mapping})
        self.config = plain(built) | {"mapping": plain(mapping)}
        self.resolution, self.label_dim, self.image_channels = built.resolution, built.label_dim, built.image_channels
        self.z_dim, self.w_dim = built.z_dim, built.w_dim
        self.mapping = Mapping(built.z_dim, built.label_dim, built.w_dim, mapping)
        self.synthesis = Synthesis(built)
        made: Sequence[Band] = self.synthesis.bands
        self.layer_sides = [band.side for band in (made[0], *made)]
