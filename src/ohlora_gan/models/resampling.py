"""Filtered up- and downsampling, convolutions with it, and activations, as StyleGAN2 and StyleGAN3 compute them.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (CVPR 2020), "Training Generative Adversarial
Networks with Limited Data" (NeurIPS 2020), and "Alias-Free Generative Adversarial Networks" (NeurIPS 2021).
Plain PyTorch, differentiable as often as one likes. Images are [N, C, H, W].
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SEPARABLE_FROM = 8
"""Filters of so many taps are kept as a row; shorter ones as the square that they span."""

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "relu": (F.relu, math.sqrt(2)),
    "lrelu": (lambda x: F.leaky_relu(x, 0.2), math.sqrt(2)),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "elu": (F.elu, 1.0),
    "selu": (F.selu, 1.0),
    "softplus": (F.softplus, 1.0),
    "swish": (F.silu, math.sqrt(2)),
}
"""By name: the function, and the gain that keeps the variance of what it is given."""


def activation_named(name: str) -> tuple[Callable[[Tensor], Tensor], float]:
    """Function and gain of an activation; ValueError for a name that is not known."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name!r}, expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def float32_region(x: Tensor) -> torch.autocast:
    """Where autocast does not reach: for what is small and must be exact."""
    return torch.autocast(x.device.type, enabled=False)


def clamped(x: Tensor, limit: float | None) -> Tensor:
    """``x`` within plus or minus ``limit``; None: no limit."""
    return x if limit is None else x.clamp(-limit, limit)


def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    """``x`` [N, C, H, W] plus a number a channel."""
    return x + bias.view(1, -1, 1, 1).to(x.dtype)


# --- Filters ---


def normalized_filter(taps: Sequence[float] | None) -> Tensor:
    """Taps (None: no filter) as a filter of sum 1: [T, T], or [T] for one that is applied by rows and columns."""
    row = torch.tensor([1.0] if taps is None else [float(tap) for tap in taps])
    square = row if len(row) >= SEPARABLE_FROM else torch.outer(row, row)
    return square / square.sum()


def lowpass(num_taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor | None:
    """A Kaiser-windowed low-pass filter of sum 1: [T], or [T, T] where it is radial; None for a single tap.

    The window is of the attenuation that ``num_taps`` reach over a transition band of ``width`` (Kaiser's formula).

    Args:
        cutoff, width, rate: in the units of the sampling rate ``rate`` (Karras et al. 2021, appendix C).
        radial: the same frequencies are kept in all orientations: the ideal filter is the jinc, not the sinc.
    """
    if num_taps == 1:
        return None
    attenuation = 2.285 * (num_taps - 1) * math.pi * width / (rate / 2) + 7.95
    window = np.kaiser(num_taps, kaiser_beta(attenuation))
    places = np.arange(num_taps) - (num_taps - 1) / 2
    if radial:
        distances = math.pi * np.hypot(*np.meshgrid(places, places)) / rate
        # in the middle of an odd number of taps: the limit
        middle = np.where(distances == 0, 1.0, distances)
        bessel = torch.special.bessel_j1(torch.from_numpy(2 * cutoff * middle)).numpy()
        ideal = np.where(distances == 0, cutoff, bessel / middle) * window[:, None]
    else:
        ideal = np.sinc(2 * cutoff / rate * places)
    taps = ideal * window
    return torch.tensor((taps / taps.sum()).tolist(), dtype=torch.float32)


def kaiser_beta(attenuation: float) -> float:
    """The Kaiser window's shape for an attenuation in dB (Oppenheim and Schafer, "Discrete-Time Signal Processing")."""
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def filtered(x: Tensor, taps: Tensor | None, padding: Sequence[int], down: int = 1, gain: float = 1.0) -> Tensor:
    """``x``, padded with zeros, convolved with a filter a channel, of which each ``down``-th value is kept.

    Args:
        taps: [T] (rows, then columns) or [T, T]; None: no filter.
        padding: left, right, top, bottom; negative numbers cut off.
        gain: what the values are multiplied by.
    """
    x = F.pad(x, list(padding)) if any(padding) else x
    channels = x.shape[1]
    if taps is None:
        return x[:, :, ::down, ::down] * gain
    taps = taps.to(x.dtype) * gain ** (taps.ndim / 2)
    if taps.ndim == 2:
        weight = taps.flip(0, 1).expand(channels, 1, -1, -1)
        return F.conv2d(x, weight, stride=down, groups=channels)
    row = taps.flip(0).expand(channels, 1, 1, -1)
    x = F.conv2d(x, row, stride=(1, down), groups=channels)
    return F.conv2d(x, row.transpose(2, 3), stride=(down, 1), groups=channels)


def spread(x: Tensor, up: int) -> Tensor:
    """``x`` with ``up - 1`` zeros after each value, across and down."""
    if up == 1:
        return x
    n, c, height, width = x.shape
    wide = F.pad(x.reshape(n, c, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
    return wide.reshape(n, c, height * up, width * up)


def upsampled(x: Tensor, taps: Tensor | None, up: int, padding: Sequence[int]) -> Tensor:
    """``x`` at ``up`` times the sampling rate, filtered; values keep their size. ``padding`` as in `filtered`."""
    if taps is None or taps.ndim == 2 or up == 1 or len(taps) < up:
        return filtered(spread(x, up), taps, padding, gain=float(up * up))
    left, right, top, bottom = padding
    row = taps.to(x.dtype) * float(up)
    return raised(raised(x, row, up, (left, right), axis=3), row, up, (top, bottom), axis=2)


def raised(x: Tensor, row: Tensor, up: int, padding: tuple[int, int], axis: int) -> Tensor:
    """`filtered` of `spread` along one axis (2 or 3), without multiplying by zeros.

    Value ``up a + b`` of the result meets every ``up``-th tap alone: one short filter for each b.
    """
    low, high = padding
    num = x.shape[axis] * up + low + high - len(row) + 1
    count = -(-num // up)
    phases = []
    for b in range(up):
        first = (low - b) % up
        taps = row.flip(0)[first::up]
        shift = (b + first - low) // up
        ends = [-shift, count - 1 + shift + len(taps) - x.shape[axis]]
        part = F.pad(x, ends if axis == 3 else [0, 0, *ends])
        weight = taps.view(1, -1) if axis == 3 else taps.view(-1, 1)
        phases.append(F.conv2d(part, weight.expand(x.shape[1], 1, -1, -1), groups=x.shape[1]))
    return torch.stack(phases, dim=axis + 1).flatten(axis, axis + 1).narrow(axis, 0, num)


def enlarged(image: Tensor, taps: Tensor) -> Tensor:
    """An image of twice the side."""
    size = taps.shape[-1]
    return upsampled(image, taps, 2, [(size + 1) // 2, (size - 2) // 2] * 2)


def reduced(image: Tensor, taps: Tensor) -> Tensor:
    """An image of half the side."""
    size = taps.shape[-1]
    return filtered(image, taps, [(size - 1) // 2, (size - 2) // 2] * 2, down=2)


def resampling_conv(x: Tensor, weight: Tensor, taps: Tensor, up: int = 1, down: int = 1) -> Tensor:
    """Convolution of ``x`` with ``weight`` [O, I, K, K] that makes the sides ``up`` or ``1 / down`` times as large.

    When it enlarges, the kernel is mirrored (a true convolution), as in the published networks.
    """
    kernel, size = weight.shape[-1], taps.shape[-1]
    edge = kernel // 2
    if up > 1:
        low, high = edge + (size + up - 1) // 2, edge + (size - up) // 2
        if kernel == 1:
            return upsampled(F.conv2d(x, weight), taps, up, [low, high] * 2)
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=up)  # is wider than ``x`` by its own edges
        return filtered(x, taps, [low - kernel + 1, high - kernel + up] * 2, gain=float(up * up))
    if down > 1:
        low, high = edge + (size - down + 1) // 2, edge + (size - down) // 2
        if kernel == 1:
            return F.conv2d(filtered(x, taps, [low, high] * 2, down), weight)
        return F.conv2d(filtered(x, taps, [low, high] * 2), weight, stride=down)
    return F.conv2d(x, weight, padding=edge)
