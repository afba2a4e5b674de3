"""Operations whose derivatives are written by hand, since autograd's cost more, and the kernels of fused resampling."""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is where it is wider."""
    return x if x.dtype == torch.float64 else x.float()


class StyledNorm(torch.autograd.Function):
    """Instance norm of ``x`` [N, C, H, W] times ``1 + scale`` plus ``shift`` [N, C, 1, 1], in float32 at least.

    The backward formula saves half of the passes that autograd makes over the features; it cannot be differentiated.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> Tensor:
        y = full_precision(x)
        y = y - y.mean(dim=(2, 3), keepdim=True)
        rate = torch.rsqrt(y.square().mean(dim=(2, 3), keepdim=True) + epsilon)
        factor = rate * (full_precision(scale) + 1.0)
        ctx.save_for_backward(y, rate, factor)
        ctx.dtypes = x.dtype, scale.dtype, shift.dtype
        return torch.addcmul(full_precision(shift), y, factor).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, rate, factor = ctx.saved_tensors
        grad = full_precision(grad)
        mean, along = grad.mean(dim=(2, 3), keepdim=True), (grad * y).mean(dim=(2, 3), keepdim=True)
        num = y.shape[2] * y.shape[3]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.addcmul(-mean * factor, grad, factor)
            of_x = of_x.addcmul_(y, -along * factor * rate.square()).to(ctx.dtypes[0])
        return of_x, (along * rate * num).to(ctx.dtypes[1]), (mean * num).to(ctx.dtypes[2]), None


class FixedConv(torch.autograd.Function):
    """Convolution with a kernel and a bias that take no gradient, padded by half of the kernel; or its transposed one.

    Each is the other's derivative, and neither has more. PyTorch's own second derivative of a convolution works out the
    kernel's gradient whether anybody wants it or not, and of C groups it makes C convolutions: together that took more
    than half of a discriminator's update (NVIDIA's ``conv2d_gradfix`` is about the same).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, groups: int, transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.built = stride, groups, transposed
        convolve = F.conv_transpose2d if transposed else F.conv2d
        padding = (weight.shape[-1] - 1) // 2
        return convolve(
            x,
            weight.to(x.dtype),
            None if bias is None else bias.to(x.dtype),
            stride=stride,
            padding=padding,
            groups=groups,
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (stride, groups, transposed) = ctx.saved_tensors, ctx.built
        return FixedConv.apply(grad, weight, None, stride, groups, not transposed), *[None] * 5


BOX = torch.zeros(4, 4, 3, 3)
for _down, _across in itertools.product(range(3), range(3)):
    BOX[_down : _down + 2, _across : _across + 2, _down, _across] = 1.0
BOX = BOX.view(16, 9)
"""Which values of a 3x3 kernel add up to each of the 4x4 kernel that it makes with a 2x2 box filter."""


def box_filtered(weight: Tensor, mirrored: bool = False) -> Tensor:
    """The 4x4 kernel [O, I, 4, 4] of a 3x3 convolution joined with a 2x2 box filter (sum, not mean), or mirrored.

    One multiplication by a matrix, without a copy where ``weight`` has its channels last.
    """
    rows = weight.permute(0, 2, 3, 1).flatten(1, 2)  # [O, 9, I]
    box = BOX.to(weight.device, weight.dtype)
    return ((box.flip(0) if mirrored else box) @ rows).unflatten(1, (4, 4)).permute(0, 3, 1, 2)
