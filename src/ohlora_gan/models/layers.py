"""The layers of StyleGAN-1 (Karras, Laine, Aila, "A Style-Based Generator Architecture for GANs", CVPR 2019).

Names and shapes of parameters follow the genforce layout, so that its checkpoints load strictly. Axes in comments:
N batch, C channels, H and W rows and columns, D features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPSILON = 1e-8


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is where it is wider."""
    return x if x.dtype == torch.float64 else x.float()


def pixel_norm(x: Tensor) -> Tensor:
    """Divide each sample of ``x`` [N, D] by the root mean square of its features."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + NORM_EPSILON)


def instance_norm(x: Tensor) -> Tensor:
    """Normalise each channel of ``x`` [N, C, H, W] over its pixels; the statistics are taken in float32."""
    y = full_precision(x)
    y = y - y.mean(dim=(2, 3), keepdim=True)
    y = y * torch.rsqrt(y.square().mean(dim=(2, 3), keepdim=True) + NORM_EPSILON)
    return y.to(x.dtype)


def box_filtered(weight: Tensor) -> Tensor:
    """The 4x4 kernel [O, I, 4, 4] of a 3x3 convolution joined with a 2x2 box filter (sum, not mean)."""
    weight = F.pad(weight, (1, 1, 1, 1))
    return weight[:, :, 1:, 1:] + weight[:, :, :-1, 1:] + weight[:, :, 1:, :-1] + weight[:, :, :-1, :-1]


class Dense(nn.Module):
    """Dense layer with equalized learning rate.

    Args:
        gain: the weight's gain over 1/sqrt(fan in).
        lr_mul: learning rate multiplier; parameters are stored divided by it.
        slope: slope of the leaky ReLU for negative values; 1.0 means linear.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        gain: float = math.sqrt(2.0),
        lr_mul: float = 1.0,
        slope: float = 0.2,
        bias_init: float = 0.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_mul))
        self.weight_scale = gain / math.sqrt(in_features) * lr_mul
        self.bias_scale = lr_mul
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x.flatten(1), self.weight * self.weight_scale, self.bias * self.bias_scale)
        return x if self.slope == 1.0 else F.leaky_relu(x, self.slope)


class Blur(nn.Module):
    """1-2-1 low-pass filter on every channel."""

    kernel: Tensor

    def __init__(self, channels: int):
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        kernel = torch.outer(row, row) / 16.0
        self.register_buffer("kernel", kernel.expand(channels, 1, 3, 3).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1, groups=x.shape[1])


class Noise(nn.Module):
    """Adds one value a pixel, weighted a channel: the fixed buffer, or fresh noise."""

    noise: Tensor

    def __init__(self, resolution: int, channels: int):
        super().__init__()
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        noise = self.noise if noise is None else noise
        return x + (noise * self.weight.view(1, -1, 1, 1)).to(x.dtype)


class StyleBlock(nn.Module):
    """(upsampling) 3x3 convolution, noise, bias, leaky ReLU, instance norm, style modulation.

    Args:
        kind: ``const`` (the learned 4x4 input in place of a convolution), ``conv`` or ``up``.
        flip_kernel: upsampling kernels are applied as nearest upsampling followed by the convolution (False), or
            mirrored, as the "fused" transposed convolution of the original code applies them (True). Both run as
            one transposed convolution, which is two to three times faster.
    """

    def __init__(
        self, in_channels: int, out_channels: int, resolution: int, w_dim: int, kind: str, flip_kernel: bool = False
    ):
        super().__init__()
        assert kind in ("const", "conv", "up")
        self.kind, self.flip_kernel = kind, flip_kernel
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if kind == "const":
            self.const = nn.Parameter(torch.ones(1, out_channels, resolution, resolution))
        else:
            self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
            self.weight_scale = math.sqrt(2.0 / (in_channels * 9))
        self.apply_noise = Noise(resolution, out_channels)
        self.style = Dense(w_dim, out_channels * 2, gain=1.0, slope=1.0)
        if kind == "up":
            self.blur = Blur(out_channels)

    def convolve(self, x: Tensor) -> Tensor:
        weight = self.weight * self.weight_scale
        if self.kind == "conv":
            return F.conv2d(x, weight, padding=1)
        # conv_transpose2d mirrors its kernel, so the plain order needs a mirrored one.
        weight = box_filtered(weight if self.flip_kernel else weight.flip(2, 3))
        return self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=1))

    def forward(self, x: Tensor | None, w: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps x [N, C, H, W] (None for ``const``) and w [N, D] to (features, style [N, 2C])."""
        if self.kind == "const":
            x = self.const.expand(w.shape[0], -1, -1, -1)
        else:
            assert x is not None
            x = self.convolve(x)
        x = self.apply_noise(x, noise)
        x = F.leaky_relu(x + self.bias.view(1, -1, 1, 1).to(x.dtype), 0.2)
        style = self.style(w)
        scale, shift = style.view(w.shape[0], 2, -1, 1, 1).unbind(1)
        return torch.addcmul(shift.to(x.dtype), instance_norm(x), scale.to(x.dtype) + 1.0), style


class ToRGB(nn.Module):
    """1x1 convolution from features to an image."""

    def __init__(self, in_channels: int, image_channels: int = 3):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(image_channels))
        self.weight = nn.Parameter(torch.randn(image_channels, in_channels, 1, 1))
        self.weight_scale = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.weight_scale, self.bias)


class MinibatchStd(nn.Module):
    """Appends the mean standard deviation over a group of samples as one channel (Karras et al. 2018, section 3).

    Sample n belongs to group ``n mod (N / group_size)``; a batch smaller than ``group_size`` is one group.
    """

    def __init__(self, group_size: int = 16):
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, width = x.shape
        size = min(self.group_size, n)
        if n % size:
            raise ValueError(
                f"a batch of {n} cannot be split into minibatch-std groups of {size}: "
                f"use a batch size below {size} or a multiple of it"
            )
        groups = full_precision(x.view(size, n // size, c, h, width))
        std = torch.sqrt((groups - groups.mean(dim=0)).square().mean(dim=0) + NORM_EPSILON)
        mean_std = std.mean(dim=(1, 2, 3), keepdim=True).repeat(size, 1, h, width)
        return torch.cat([x, mean_std.to(x.dtype)], dim=1)


class DiscriminatorConv(nn.Module):
    """Convolution and leaky ReLU of the discriminator; ``down`` blurs before and halves the resolution.

    Halving runs as one strided convolution with a box-filtered kernel: the same function as convolution followed by
    2x2 average pooling, two to three times faster.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, down: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_scale = math.sqrt(2.0 / (in_channels * kernel_size**2))
        self.down = down
        if down:
            self.blur = Blur(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.weight_scale
        if self.down:
            x = F.conv2d(self.blur(x), box_filtered(weight) * 0.25, self.bias, stride=2, padding=1)
        else:
            x = F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)
        return F.leaky_relu(x, 0.2)
