"""A StyleGAN-1 synthesis network whose weights stand still: for many pictures without a gradient.

What follows from the weights alone is worked out once: scaled, box-filtered and mirrored kernels, noise with bias as
one map. What is left is convolutions, and some passes over each of their results in place, where `StyleBlock` makes ten
with a copy each. Pictures are equal to the plain network's but for rounding.
"""

from collections.abc import Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from ohlora_gan.models.gan import Generator, Noise, StyleBlock, Synthesis
from ohlora_gan.models.generator import GeneratorBase


def normalised(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """``x`` [N, C, H, W] less its mean a channel, in place, and what is left to multiply it with [N, C, 1, 1]."""
    x -= x.mean(dim=(2, 3), keepdim=True)
    return x, torch.rsqrt(x.square().mean(dim=(2, 3), keepdim=True) + epsilon)


class FrozenBlock:
    """`StyleBlock` for weights that stand still; ``dtype`` is what convolutions compute in, all else is float32."""

    def __init__(self, block: StyleBlock, dtype: torch.dtype):
        self.kind, self.epsilon, self.style, self.dtype = block.kind, block.epsilon, block.style, dtype
        self.noise_weight, bias = block.apply_noise.weight.view(1, -1, 1, 1), block.bias.view(1, -1, 1, 1)
        self.bias = torch.zeros_like(bias) if block.bias_before_blur else bias
        self.noise = block.apply_noise.noise
        self._map: Tensor | None = None
        if block.kind == "const":
            self.const = self.laid_out(block.const)
            return
        self.weight = self.laid_out(block.kernel(), dtype)
        if block.kind == "up":
            self.blur = block.blur.kernel.to(dtype)
            self.early_bias = block.bias.to(dtype) if block.bias_before_blur else None

    @property
    def map(self) -> Tensor:
        """The network's own noise, weighted, with the bias: [1, C, H, W]; made when it is first needed."""
        if self._map is None:
            self._map = self.laid_out(self.noise * self.noise_weight + self.bias)
        return self._map

    @staticmethod
    def laid_out(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return x.detach().to(dtype).contiguous(memory_format=torch.channels_last)

    def convolved(self, x: Tensor | None) -> Tensor:
        """A fresh tensor in float32."""
        if x is None:
            return self.const.clone()
        x = x.to(self.dtype)
        if self.kind == "conv":
            return F.conv2d(x, self.weight, padding=1).float()
        x = F.conv_transpose2d(x, self.weight, self.early_bias, stride=2, padding=1)
        return F.conv2d(x, self.blur, padding=1, groups=len(self.blur)).float()

    def __call__(self, x: Tensor | None, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `StyleBlock`; ``x`` is used up."""
        x = self.convolved(x)
        if noise is None:
            x += self.map
        elif len(x) == len(noise):
            x.addcmul_(noise, self.noise_weight).add_(self.bias)
        else:  # the constant input, which is the same for all
            x = torch.addcmul(x + self.bias, noise, self.noise_weight)
        x, factor = normalised(F.leaky_relu_(x, 0.2), self.epsilon)
        scale, shift = self.style(w).view(len(w), 2, -1, 1, 1).unbind(1)
        factor = factor * (scale + 1.0)
        return torch.addcmul(shift, x, factor, out=x) if len(x) == len(w) else torch.addcmul(shift, x, factor)


class FrozenSynthesis:
    """`Synthesis` at full detail: wp [N, L, D] to images [N, C, R, R] in float32.

    It keeps copies of the weights: changes of the network's do not reach it.
    """

    def __init__(self, synthesis: Synthesis, dtype: torch.dtype = torch.float32):
        self.dtype, self.num_layers = dtype, 2 * len(synthesis.resolutions)
        self.blocks = [FrozenBlock(getattr(synthesis, f"layer{i}"), dtype) for i in range(self.num_layers)]
        last = getattr(synthesis, f"output{len(synthesis.resolutions) - 1}")
        self.weight = FrozenBlock.laid_out(last.weight * last.weight_scale, dtype)
        self.bias, self.final_tanh = last.bias.detach().to(dtype), synthesis.final_tanh

    @torch.no_grad()
    def __call__(self, wp: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        x: Tensor | None = None
        with torch.autocast(wp.device.type, enabled=False):
            for i, block in enumerate(self.blocks):
                x = block(x, wp[:, i].float(), None if noise is None else noise[i])
            assert x is not None
            image = F.conv2d(x.to(self.weight.dtype), self.weight, self.bias).float()
        return image.tanh() if self.final_tanh else image


def fingerprint(synthesis: Synthesis) -> Tensor:
    """The sum of every weight and noise buffer: a thousandth of the cost of a picture.

    It changes with the weights, which PyTorch's own count of changes does not where a fused optimizer made them.
    """
    noise = (part.noise for part in synthesis.modules() if isinstance(part, Noise))
    return torch.stack([tensor.detach().sum() for tensor in chain(synthesis.parameters(), noise)])


class FrozenGenerator:
    """`GeneratorBase.synthesize` without a gradient, by a `FrozenSynthesis` where there is one for the network.

    It computes in the precision of the autocast around it. What it keeps is made at the first picture, and anew when
    the network's weights have changed since.

    Args:
        wanted: False leaves every network as it is.
    """

    def __init__(self, generator: GeneratorBase, wanted: bool = True):
        self.generator, self.wanted = generator, wanted
        self._made: FrozenSynthesis | None = None
        self._made_of = torch.empty(0)

    @torch.no_grad()
    def synthesize(self, w: Tensor, psi: float, num_truncated: int, noise: Sequence[Tensor] | None) -> Tensor:
        """Images [N, C, R, R]; see `GeneratorBase.synthesize`."""
        g, device = self.generator, w.device.type
        if not self.wanted or type(g) is not Generator or g.w_avg.dtype != torch.float32:
            return g.synthesize(w, psi, num_truncated, noise)
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        made_of = fingerprint(g.synthesis)
        if self._made is None or self._made.dtype != dtype or not torch.equal(made_of, self._made_of):
            self._made = None  # frees the memory first
            self._made, self._made_of = FrozenSynthesis(g.synthesis, dtype), made_of
        return self._made(g.truncation(w, psi, num_truncated), noise)
