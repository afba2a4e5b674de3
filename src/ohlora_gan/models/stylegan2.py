"""StyleGAN2 (Karras et al., CVPR 2020) with the settings of StyleGAN2-ADA (NeurIPS 2020): both networks.

Names and shapes of parameters are those of NVIDIA's published programs. All layers run in the precision of the code
around them: what was trained partly in float16 runs in float32, too. Axes: N batch, C channels, H and W rows and
columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.gan import label_or_zeros
from ohlora_gan.models.generator import check_channels, settings_of
from ohlora_gan.models.operations import full_precision
from ohlora_gan.models.resampling import (
    activation_named,
    add_bias,
    clamped,
    enlarged,
    normalized_filter,
    reduced,
    resampling_conv,
)
from ohlora_gan.models.styles import (
    EPSILON,
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

ARCHITECTURES = ("orig", "skip", "resnet")
HALF = math.sqrt(0.5)
"""Gain of each of two branches that are added."""


def sides_up_to(resolution: int) -> list[int]:
    """4, 8, ... up to a resolution; ValueError for one that is no power of two from 8 up."""
    check_whole(8, MAX_SIDE, resolution=resolution)
    if resolution & (resolution - 1):
        raise ValueError(f"resolution is {resolution}, expected a power of two")
    return [4 << i for i in range(resolution.bit_length() - 2)]


def channels_at(side: int, channel_base: int, channel_max: int) -> int:
    """Feature maps at a side."""
    return min(channel_base // side, channel_max)


def check_common(built: "GeneratorSettings | DiscriminatorSettings") -> None:
    """Raises ValueError for settings of either network that cannot be used."""
    sides_up_to(built.resolution)
    check_whole(0, 1 << 20, label_dim=built.label_dim)
    check_channels(built.image_channels)
    check_whole(built.resolution, 1 << 24, channel_base=built.channel_base)
    check_whole(1, 1 << 16, channel_max=built.channel_max)
    if built.architecture not in ARCHITECTURES:
        raise ValueError(f"architecture is {built.architecture!r}, expected one of {', '.join(ARCHITECTURES)}")


class Conv(nn.Module):
    """Convolution with equalized learning rate, resampling and activation."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, layer: "LayerSettings", **how: Any):
        """``how``: ``up`` or ``down`` (default 1), ``bias`` (True)."""
        super().__init__()
        self.up, self.down = how.get("up", 1), how.get("down", 1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if how.get("bias", True) else None
        self.register_buffer("resample_filter", normalized_filter(layer.resample_filter))
        self.weight_gain = 1 / math.sqrt(in_channels * kernel**2)
        self.activate, self.act_gain = activation_named(layer.activation)
        self.conv_clamp = layer.conv_clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        x = resampling_conv(x, self.weight * self.weight_gain, self.resample_filter, self.up, self.down)
        x = x if self.bias is None else add_bias(x, self.bias)
        return finished(self.activate(x), self.act_gain * gain, self.conv_clamp, gain)


def finished(x: Tensor, gain: float, clamp: float | None, branch: float) -> Tensor:
    """What leaves a layer: scaled by ``gain``, within the clamp of its branch."""
    return clamped(x if gain == 1.0 else x * gain, None if clamp is None else clamp * branch)


@dataclass(frozen=True)
class LayerSettings:
    """What convolutions of a network have in common."""

    activation: str = "lrelu"
    conv_clamp: float | None = None
    resample_filter: Sequence[float] | None = (1, 3, 3, 1)

    @property
    def linear(self) -> "LayerSettings":
        """The same without activation and clamp, for a shortcut."""
        return LayerSettings("linear", None, self.resample_filter)


# --- The generator ---


@dataclass(frozen=True)
class GeneratorSettings:
    """What a generator is built from; the fields are the keys of configs and of stored files.

    Feature maps at a side are ``min(channel_base / side, channel_max)``. ``architecture`` says how features become the
    image: ``skip`` adds up images of all sides, ``resnet`` and ``orig`` make it of the last features, with and without
    shortcuts. ``conv_clamp`` is the largest value of a feature (None: no limit); ``mapping`` are `MappingSettings`.
    """

    resolution: int = 256
    z_dim: int = 512
    w_dim: int = 512
    label_dim: int = 0
    image_channels: int = 3
    channel_base: int = 32768
    channel_max: int = 512
    architecture: str = "skip"
    kernel_size: int = 3
    use_noise: bool = True
    activation: str = "lrelu"
    resample_filter: Sequence[float] | None = (1, 3, 3, 1)
    conv_clamp: float | None = None
    mapping: dict[str, Any] = field(default_factory=dict)


class SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias and activation; ``up`` 2 doubles the side."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, side: int, built: GeneratorSettings, up: int = 1):
        super().__init__()
        kernel = built.kernel_size
        self.up, self.use_noise, self.conv_clamp = up, built.use_noise, built.conv_clamp
        self.affine = FullyConnected(built.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", normalized_filter(built.resample_filter if up > 1 else (1, 3, 3, 1)))
        if self.use_noise:
            self.register_buffer("noise_const", torch.randn(side, side))
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.activate, self.act_gain = activation_named(built.activation)
        self.scale = 1 / math.sqrt(in_channels * kernel**2)  # keeps values small; demodulation takes it out again

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None, gain: float = 1.0) -> Tensor:
        """Features of ``x`` [N, C, H, W] and ``w`` [N, w_dim]; ``noise`` [N, 1, side, side], None: the fixed one."""
        style, weight = self.affine(w), self.weight * self.scale
        x = resampling_conv(per_channel(x, style), weight, self.resample_filter, self.up)
        x = per_channel(x, demodulation(weight, style, EPSILON * self.scale**2))
        if self.use_noise:
            x = x + (self.noise_const if noise is None else noise).to(x.dtype) * self.noise_strength.to(x.dtype)
        return finished(self.activate(add_bias(x, self.bias)), self.act_gain * gain, self.conv_clamp, gain)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution from features to an image."""

    def __init__(self, in_channels: int, built: GeneratorSettings):
        super().__init__()
        self.affine = FullyConnected(built.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(built.image_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(built.image_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)
        self.conv_clamp = built.conv_clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = F.conv2d(per_channel(x, self.affine(w) * self.weight_gain), self.weight)
        return clamped(add_bias(x, self.bias), self.conv_clamp)


class SynthesisBlock(nn.Module):
    """The layers of one side: two convolutions (one at 4x4), and where the architecture asks for it, an image."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, side: int, built: GeneratorSettings):
        super().__init__()
        self.architecture = built.architecture
        self.is_first, is_last = side == 4, side == built.resolution
        self.register_buffer("resample_filter", normalized_filter(built.resample_filter))
        if self.is_first:
            self.const = nn.Parameter(torch.randn(out_channels, 4, 4))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, side, built, up=2)
        self.conv1 = SynthesisLayer(out_channels, out_channels, side, built)
        self.num_convs = 1 if self.is_first else 2
        self.makes_image = is_last or built.architecture == "skip"
        if self.makes_image:
            self.torgb = ToRGB(out_channels, built)
        self.has_shortcut = built.architecture == "resnet" and not self.is_first
        if self.has_shortcut:
            layer = LayerSettings("linear", None, built.resample_filter)
            self.skip = Conv(in_channels, out_channels, 1, layer, up=2, bias=False)

    def forward(self, x: Tensor | None, image: Tensor | None, wp: Tensor, noise: Sequence[Tensor | None]) -> Any:
        """Features and image of this side, of those of the side before (None at 4x4), a w and a noise a layer."""
        if x is None:
            x = self.conv1(self.const.expand(len(wp), -1, -1, -1), wp[:, 0], noise[0])
        elif self.has_shortcut:
            shortcut = self.skip(x, gain=HALF)
            x = self.conv1(self.conv0(x, wp[:, 0], noise[0]), wp[:, 1], noise[1], gain=HALF)
            x = shortcut + x
        else:
            x = self.conv1(self.conv0(x, wp[:, 0], noise[0]), wp[:, 1], noise[1])
        if image is not None:
            image = enlarged(image, self.resample_filter)
        if self.makes_image:
            made = self.torgb(x, wp[:, self.num_convs])
            image = made if image is None else image + made
        return x, image


class Synthesis(nn.Module):
    """wp [N, L, w_dim] to images [N, image_channels, R, R].

    A w each for the convolutions, coarse to fine, and one for the last image. An image on the way is made with the w
    of the convolution that follows it.
    """

    def __init__(self, built: GeneratorSettings):
        super().__init__()
        self.sides = sides_up_to(built.resolution)
        channels = [channels_at(side, built.channel_base, built.channel_max) for side in self.sides]
        for i, side in enumerate(self.sides):
            setattr(self, f"b{side}", SynthesisBlock(channels[max(i - 1, 0)], channels[i], side, built))

    def forward(self, wp: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """``noise``: a tensor [N, 1, side, side] a convolution; None: the fixed buffers."""
        x = image = None
        first = 0
        for side in self.sides:
            block = getattr(self, f"b{side}")
            last = first + block.num_convs
            here = [None] * block.num_convs if noise is None else noise[first:last]
            x, image = block(x, image, wp[:, first : last + 1], here)
            first = last
        assert image is not None
        return image


class StyleGAN2Generator(StyleGenerator):
    """StyleGAN2's generator: z and, where it is conditional, a one-hot label to an image.

    It takes the fields of `GeneratorSettings` that differ from their defaults; ValueError for any other name.
    """

    def __init__(self, **settings: Any):
        super().__init__()
        built = settings_of(GeneratorSettings, settings)
        check_common(built)
        check_whole(1, 1 << 16, z_dim=built.z_dim, w_dim=built.w_dim)
        mapping = settings_of(MappingSettings, built.mapping)
        self.config = plain(built) | {"mapping": plain(mapping)}
        self.resolution, self.label_dim, self.image_channels = built.resolution, built.label_dim, built.image_channels
        self.z_dim, self.w_dim = built.z_dim, built.w_dim
        self.mapping = Mapping(built.z_dim, built.label_dim, built.w_dim, mapping)
        self.synthesis = Synthesis(built)
        convolutions = [side for side in self.synthesis.sides for _ in range(1 if side == 4 else 2)]
        self.layer_sides = [*convolutions, built.resolution]
        self.noise_sides = convolutions if built.use_noise else []


# --- The discriminator ---


@dataclass(frozen=True)
class DiscriminatorSettings:
    """What a discriminator is built from; see `GeneratorSettings`.

    ``cmap_dim`` is the length of the vectors that a label and an image are compared by (None: the feature maps at 4x4
    where there is a label, else 0: the score is a number of its own). ``mbstd_group_size`` None: the whole batch.
    """

    resolution: int = 256
    label_dim: int = 0
    image_channels: int = 3
    channel_base: int = 32768
    channel_max: int = 512
    architecture: str = "resnet"
    activation: str = "lrelu"
    last_activation: str = "lrelu"
    resample_filter: Sequence[float] | None = (1, 3, 3, 1)
    conv_clamp: float | None = None
    cmap_dim: int | None = None
    mbstd_group_size: int | None = 4
    mbstd_num_channels: int = 1
    mapping: dict[str, Any] = field(default_factory=dict)


class DiscriminatorBlock(nn.Module):
    """The layers of one side, which end at half of it."""

    resample_filter: Tensor

    def __init__(self, channels: int, out_channels: int, side: int, built: DiscriminatorSettings):
        super().__init__()
        layer = LayerSettings(built.activation, built.conv_clamp, built.resample_filter)
        self.architecture = built.architecture
        self.register_buffer("resample_filter", normalized_filter(built.resample_filter))
        self.takes_image = side == built.resolution or built.architecture == "skip"
        if self.takes_image:
            self.fromrgb = Conv(built.image_channels, channels, 1, unresampled(layer))
        self.conv0 = Conv(channels, channels, 3, unresampled(layer))
        self.conv1 = Conv(channels, out_channels, 3, layer, down=2)
        if built.architecture == "resnet":
            self.skip = Conv(channels, out_channels, 1, layer.linear, down=2, bias=False)

    def forward(self, x: Tensor | None, image: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features and image at half the side, of features (None: there are none yet) and image."""
        if self.takes_image:
            entry = self.fromrgb(image)
            x = entry if x is None else x + entry
            small = self.architecture == "skip" and image is not None
            image = reduced(image, self.resample_filter) if small and image is not None else None
        assert x is not None
        if self.architecture == "resnet":
            shortcut = self.skip(x, gain=HALF)
            return shortcut + self.conv1(self.conv0(x), gain=HALF), image
        return self.conv1(self.conv0(x)), image


def unresampled(layer: LayerSettings) -> LayerSettings:
    """The settings of a convolution that keeps the side: files hold the usual filter there, which does nothing."""
    return LayerSettings(layer.activation, layer.conv_clamp)


def joined_std(x: Tensor, group_size: int | None, num_channels: int) -> Tensor:
    """``x`` [N, C, H, W] and ``num_channels`` more: the mean standard deviation over groups of samples.

    Sample n belongs to group ``n mod (N / group_size)``; a smaller batch is one group (Karras et al. 2018, section 3).
    """
    n, c, height, width = x.shape
    size = n if group_size is None else min(group_size, n)
    if n % size:
        raise ValueError(
            f"a batch of {n} cannot be split into minibatch-std groups of {size}: "
            f"use a batch size below {size} or a multiple of it"
        )
    groups = full_precision(x).reshape(size, -1, num_channels, c // num_channels, height, width)
    std = torch.sqrt((groups - groups.mean(dim=0)).square().mean(dim=0) + EPSILON)
    means = std.mean(dim=(2, 3, 4)).reshape(-1, num_channels, 1, 1).repeat(size, 1, height, width)
    return torch.cat([x, means.to(x.dtype)], dim=1)


class DiscriminatorEpilogue(nn.Module):
    """From the features at 4x4 to a score, or to a vector of ``cmap_dim`` values that labels are compared with."""

    def __init__(self, channels: int, cmap_dim: int, built: DiscriminatorSettings):
        super().__init__()
        layer = LayerSettings(built.last_activation, built.conv_clamp)
        self.group_size, self.num_channels = built.mbstd_group_size, built.mbstd_num_channels
        self.takes_image = built.architecture == "skip"
        if self.takes_image:
            self.fromrgb = Conv(built.image_channels, channels, 1, LayerSettings(built.last_activation))
        self.conv = Conv(channels + self.num_channels, channels, 3, layer)
        self.fc = FullyConnected(channels * 16, channels, built.last_activation)
        self.out = FullyConnected(channels, cmap_dim or 1)

    def forward(self, x: Tensor, image: Tensor | None) -> Tensor:
        if self.takes_image:
            x = x + self.fromrgb(image)
        if self.num_channels:
            x = joined_std(x, self.group_size, self.num_channels)
        return self.out(self.fc(self.conv(x).flatten(1)))


class StyleGAN2Discriminator(nn.Module):
    """StyleGAN2's discriminator, which StyleGAN3 has too: images in [-1, 1] to scores [N, 1], higher is more real.

    It takes the fields of `DiscriminatorSettings` that differ from their defaults; ValueError for any other name.
    """

    def __init__(self, **settings: Any):
        super().__init__()
        built = settings_of(DiscriminatorSettings, settings)
        check_common(built)
        check_whole(0, 16, mbstd_num_channels=built.mbstd_num_channels)
        self.resolution, self.label_dim, self.image_channels = built.resolution, built.label_dim, built.image_channels
        self.sides = sides_up_to(built.resolution)[::-1]
        channels = {side: channels_at(side, built.channel_base, built.channel_max) for side in self.sides}
        self.cmap_dim = (channels[4] if built.cmap_dim is None else built.cmap_dim) if built.label_dim else 0
        mapping = settings_of(MappingSettings, built.mapping)
        self.config: dict[str, Any] = plain(built) | {"mapping": plain(mapping)}
        for side in self.sides[:-1]:
            setattr(self, f"b{side}", DiscriminatorBlock(channels[side], channels[side // 2], side, built))
        if built.label_dim:
            self.mapping = Mapping(0, built.label_dim, self.cmap_dim, mapping, average=False)
        self.b4 = DiscriminatorEpilogue(channels[4], self.cmap_dim, built)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Scores [N, 1] of images [N, image_channels, R, R] with label [N, label_dim] (None: zeros)."""
        expected = (self.image_channels, self.resolution, self.resolution)
        if tuple(image.shape[1:]) != expected:
            raise ValueError(f"images have shape {tuple(image.shape[1:])}, expected {expected}")
        x, left = None, image
        for side in self.sides[:-1]:
            x, left = getattr(self, f"b{side}")(x, left)
        scores = self.b4(x, left)
        if not self.label_dim:
            return scores
        wanted = self.mapping(scores.new_empty(len(image), 0), label_or_zeros(label, self.label_dim, scores))
        return (scores * wanted).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)
