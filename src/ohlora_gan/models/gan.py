"""StyleGAN-1 (Karras, Laine, Aila, "A Style-Based Generator Architecture for GANs", CVPR 2019): both networks.

The generator has a plain (v1) or a split/merge (v9) mapping network. Names and shapes of parameters follow the genforce
layout, so that its checkpoints load strictly. Axes in comments: N batch, C channels, H and W rows and columns,
D features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.generator import GeneratorBase, settings_of, truncated
from ohlora_gan.models.operations import FixedConv, StyledNorm, box_filtered, full_precision
from ohlora_gan.models.resampling import add_bias

NORM_EPSILON = 1e-8
LABEL_STD = 0.1  # the norm of z and the label together is 1: with N(0, 1) labels leave less than half of it to 64 of z
NEW_BRANCH_STD = 0.15


def pixel_norm(x: Tensor) -> Tensor:
    """Divide each sample of ``x`` [N, D] by the root mean square of its features."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + NORM_EPSILON)


class Dense(nn.Module):
    """Dense layer with equalized learning rate and leaky ReLU; parameters are stored divided by ``lr_mul``."""

    def __init__(self, in_features: int, out_features: int, lr_mul: float = 1.0, linear: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.weight_scale = (1.0 if linear else math.sqrt(2.0)) / math.sqrt(in_features) * lr_mul
        self.bias_scale = lr_mul
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x.flatten(1), self.weight * self.weight_scale, self.bias * self.bias_scale)
        return x if self.linear else F.leaky_relu(x, 0.2)


class Blur(nn.Module):
    """1-2-1 low-pass filter on every channel, and where it is given one that takes no gradient a bias."""

    kernel: Tensor

    def __init__(self, channels: int):
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        kernel = torch.outer(row, row) / 16.0
        self.register_buffer("kernel", kernel.expand(channels, 1, 3, 3).contiguous())

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return FixedConv.apply(x, self.kernel, bias, 1, x.shape[1], False)


class Noise(nn.Module):
    """Adds one value a pixel, weighted a channel: the fixed buffer, or fresh noise."""

    noise: Tensor

    def __init__(self, resolution: int, channels: int):
        super().__init__()
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        noise = self.noise if noise is None else noise
        return torch.addcmul(x, noise.to(x.dtype), self.weight.view(1, -1, 1, 1).to(x.dtype))


@dataclass(frozen=True)
class Architecture:
    """What a generator is built from; the fields are the keys of configs and of stored files.

    ``label_dim`` 0 makes it unconditional; ``one_hot_labels`` says that a label is a class; ``embedding_dim`` values of
    it are joined to z. ``split_mapping`` False is the v1 mapping, True the v9 mapping with the split/merge branch.
    Feature maps at a resolution are ``min(fmaps_base / resolution, fmaps_max)``; ``fmaps`` lists them instead.

    The last four are how other people's networks differ: upsampling kernels are mirrored ("fused") where they make
    ``fused_from`` pixels a side or more; ``norm_epsilon`` keeps the instance norm from dividing by zero; with
    ``bias_before_blur`` upsampling blocks add their bias before they blur; with ``final_tanh`` pictures end in a tanh.
    """

    resolution: int = 256
    z_dim: int = 512
    w_dim: int = 512
    mapping_dim: int = 512
    label_dim: int = 7
    split_mapping: bool = True
    mapping_layers: int = 8
    fmaps_base: int = 16384
    fmaps_max: int = 512
    fmaps: Sequence[int] | None = None
    image_channels: int = 3
    embedding_dim: int = 16
    one_hot_labels: bool = False
    fused_from: int = 128
    norm_epsilon: float = NORM_EPSILON
    bias_before_blur: bool = False
    final_tanh: bool = False


class StyleBlock(nn.Module):
    """(upsampling) 3x3 convolution, noise, bias, leaky ReLU, instance norm, style modulation.

    ``kind`` is ``const`` (the learned 4x4 input in place of a convolution), ``conv`` or ``up``. Upsampling kernels are
    applied as nearest upsampling followed by the convolution, or from ``fused_from`` on mirrored, as the "fused"
    transposed convolution of the original code. Both run as one transposed convolution, two to three times faster.
    """

    def __init__(self, in_channels: int, out_channels: int, resolution: int, kind: str, built: Architecture):
        super().__init__()
        self.kind, self.flip_kernel, self.epsilon = kind, resolution >= built.fused_from, built.norm_epsilon
        self.bias_before_blur = kind == "up" and built.bias_before_blur
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if kind == "const":
            self.const = nn.Parameter(torch.ones(1, out_channels, resolution, resolution))
        else:
            self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
            self.weight_scale = math.sqrt(2.0 / (in_channels * 9))
        self.apply_noise = Noise(resolution, out_channels)
        self.style = Dense(built.w_dim, out_channels * 2, linear=True)
        if kind == "up":
            self.blur = Blur(out_channels)

    def kernel(self) -> Tensor:
        """What the convolution, or where it enlarges the transposed one, is given."""
        weight = self.weight * self.weight_scale
        if self.kind == "conv":
            return weight
        # conv_transpose2d mirrors its kernel, so the plain order needs a mirrored one.
        return box_filtered(weight, mirrored=not self.flip_kernel).transpose(0, 1)

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution of ``x`` plus the bias."""
        if self.kind == "conv":
            return F.conv2d(x, self.kernel(), self.bias, padding=1)
        early = self.bias if self.bias_before_blur else None
        x = F.conv_transpose2d(x, self.kernel(), early, stride=2, padding=1)
        if early is not None:
            return self.blur(x)
        if self.bias.requires_grad:
            return add_bias(self.blur(x), self.bias)
        return self.blur(x, self.bias)

    def forward(self, x: Tensor | None, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Features of x [N, C, H, W] (None for ``const``) and w [N, D]."""
        x = add_bias(self.const, self.bias).expand(len(w), -1, -1, -1) if x is None else self.convolve(x)
        x = F.leaky_relu(self.apply_noise(x, noise), 0.2)
        scale, shift = self.style(w).view(w.shape[0], 2, -1, 1, 1).unbind(1)
        return StyledNorm.apply(x, scale, shift, self.epsilon)


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
            weight, x = box_filtered(weight * 0.25), self.blur(x)
        stride, padding = (2 if self.down else 1), (weight.shape[-1] - 1) // 2
        if weight.requires_grad or self.bias.requires_grad:
            x = F.conv2d(x, weight, self.bias, stride, padding)
        else:
            x = FixedConv.apply(x, weight, self.bias, stride, 1, False)
        return F.leaky_relu(x, 0.2)


# --- The networks ---


def map_schedule(resolution: int, fmaps_base: int, fmaps_max: int, fmaps: Sequence[int] | None) -> dict[int, int]:
    """Feature maps by resolution from 4 up: ``min(fmaps_base / resolution, fmaps_max)``, or the list ``fmaps``."""
    if resolution not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise ValueError(f"resolution is {resolution}, expected a power of two from 8 to 1024")
    sides = [4 << i for i in range(int(math.log2(resolution)) - 1)]
    if fmaps is None:
        return {side: max(1, min(fmaps_base // side, fmaps_max)) for side in sides}
    if len(fmaps) != len(sides) or any(int(m) < 1 for m in fmaps):
        raise ValueError(
            f"fmaps is {list(fmaps)}, expected {len(sides)} positive numbers of feature maps, "
            f"for 4x4 up to {resolution}x{resolution}"
        )
    return {side: int(m) for side, m in zip(sides, fmaps, strict=True)}


def label_or_zeros(label: Tensor | None, label_dim: int, like: Tensor) -> Tensor:
    """The label [N, label_dim] of ``like`` [N, ...], zeros where there is none; ValueError for one of another shape."""
    n = like.shape[0]
    if label is None:
        return like.new_zeros(n, label_dim)
    if label.shape != (n, label_dim):
        raise ValueError(f"label has shape {tuple(label.shape)}, expected {(n, label_dim)}")
    return label


class MappingOutput(NamedTuple):
    """Every vector on the way from z to w; ``w1, w2, w1_, w2_`` are None in a v1 mapping."""

    z_norm: Tensor
    w: Tensor
    w1: Tensor | None = None
    w2: Tensor | None = None
    w1_: Tensor | None = None
    w2_: Tensor | None = None


class Mapping(nn.Module):
    """z [N, z_dim] and label [N, label_dim] to w [N, w_dim]: eight dense blocks, the last two split in v9.

    v9: dense0..dense5 give z'; ``dense6`` and ``dense_new0`` map it to w1 (hidden) and w2 (4 x w_dim);
    ``dense7`` and ``dense_new1`` map these to w1' and w2' (w_dim); w = w1' + w2'.
    """

    def __init__(self, built: Architecture):
        super().__init__()
        self.label_dim, self.num_layers, self.split = built.label_dim, built.mapping_layers, built.split_mapping
        if self.split and self.num_layers < 3:
            raise ValueError(f"mapping_layers is {self.num_layers}, expected at least 3 for a split (v9) mapping")
        if self.label_dim:
            self.label_weight = nn.Parameter(LABEL_STD * torch.randn(self.label_dim, built.embedding_dim))
        in_dim = built.z_dim + (built.embedding_dim if self.label_dim else 0)
        dims = [in_dim] + [built.mapping_dim] * (self.num_layers - 1) + [built.w_dim]
        for i in range(self.num_layers):
            setattr(self, f"dense{i}", Dense(dims[i], dims[i + 1], lr_mul=0.01))
        if self.split:
            self.dense_new0 = Dense(built.mapping_dim, 4 * built.w_dim, lr_mul=0.01)
            self.dense_new1 = Dense(4 * built.w_dim, built.w_dim, lr_mul=0.01)
            for p in (*self.dense_new0.parameters(), *self.dense_new1.parameters()):
                nn.init.normal_(p, 0.0, NEW_BRANCH_STD)  # with N(0, 1) the first images stop looking like faces

    def embed(self, label: Tensor | None, z: Tensor) -> Tensor:
        return label_or_zeros(label, self.label_dim, z) @ self.label_weight

    def merge_vectors(self, w1: Tensor, w2: Tensor) -> tuple[Tensor, Tensor]:
        """w1' and w2' [N, w_dim] from w1 and w2."""
        return getattr(self, f"dense{self.num_layers - 1}")(w1), self.dense_new1(w2)

    def forward(self, z: Tensor, label: Tensor | None = None) -> MappingOutput:
        if self.label_dim:
            z = torch.cat([z, self.embed(label, z)], dim=1)
        z_norm = x = pixel_norm(z)
        for i in range(self.num_layers - 2 if self.split else self.num_layers):
            x = getattr(self, f"dense{i}")(x)
        if not self.split:
            return MappingOutput(z_norm, x)
        w1, w2 = getattr(self, f"dense{self.num_layers - 2}")(x), self.dense_new0(x)
        w1_, w2_ = self.merge_vectors(w1, w2)
        return MappingOutput(z_norm, w1_ + w2_, w1, w2, w1_, w2_)


class Truncation(nn.Module):
    """The moving average of w, and truncation toward it."""

    w_avg: Tensor

    def __init__(self, w_dim: int, num_layers: int):
        super().__init__()
        self.num_layers = num_layers
        self.register_buffer("w_avg", torch.zeros(w_dim))

    @torch.no_grad()
    def update(self, w: Tensor, decay: float) -> None:
        """Moves ``w_avg`` by ``1 - decay`` toward the batch mean; collects no graph."""
        self.w_avg.copy_(self.w_avg * decay + w.detach().to(self.w_avg.dtype).mean(dim=0) * (1.0 - decay))

    def forward(self, w: Tensor, psi: float = 1.0, num_truncated: int = 0) -> Tensor:
        """wp [N, L, D]: w once a synthesis layer, the first ``num_truncated`` as ``w_avg + psi (w - w_avg)``."""
        return truncated(w, self.w_avg, self.num_layers, psi, num_truncated)


class Synthesis(nn.Module):
    """wp [N, L, D] to images [N, 3, R, R]; ``lod`` 0 is full detail, each unit above halves the detail."""

    lod: Tensor

    def __init__(self, maps: dict[int, int], built: Architecture):
        super().__init__()
        self.resolutions, self.final_tanh = list(maps), built.final_tanh
        self.register_buffer("lod", torch.zeros(()))
        for i, (res, channels) in enumerate(maps.items()):
            before = maps.get(res // 2, channels)
            kind = "up" if i else "const"
            setattr(self, f"layer{2 * i}", StyleBlock(before, channels, res, kind, built))
            setattr(self, f"layer{2 * i + 1}", StyleBlock(channels, channels, res, "conv", built))
            setattr(self, f"output{i}", ToRGB(channels, built.image_channels))

    def draw_noise(self, n: int, rng: torch.Generator) -> list[Tensor]:
        """Fresh per-pixel noise for every layer, in layer order: [N, 1, r, r] each."""
        sizes = [r for r in self.resolutions for _ in range(2)]
        return [torch.randn(n, 1, r, r, generator=rng, device=rng.device) for r in sizes]

    def forward(self, wp: Tensor, noise: Sequence[Tensor] | None = None, lod: float = 0.0) -> Tensor:
        """Images in about [-1, 1], with per-layer noise of ``draw_noise`` (None: the fixed buffers).

        ``lod`` is the level of detail (Karras et al. 2018, section 2); outputs blend between whole numbers.
        """
        x: Tensor | None = None
        image: Tensor | None = None
        for i in range(len(self.resolutions)):
            here = len(self.resolutions) - 1 - i  # lod at which this resolution is the finest
            if lod < here + 1:
                for k in (2 * i, 2 * i + 1):
                    x = getattr(self, f"layer{k}")(x, wp[:, k], None if noise is None else noise[k])
            if image is not None:
                image = F.interpolate(image, scale_factor=2, mode="nearest")
            if here - 1 < lod < here + 1:
                assert x is not None
                rgb = getattr(self, f"output{i}")(x)
                share = here + 1 - lod if lod > here else 1.0
                image = rgb if image is None or share == 1.0 else rgb * share + image * (1.0 - share)
        assert image is not None
        return image.tanh() if self.final_tanh else image


class Generator(GeneratorBase):
    """StyleGAN-1 generator: z and label to an image.

    It takes the fields of `Architecture` that differ from their defaults; ValueError for any other name.
    """

    def __init__(self, **settings: Any):
        super().__init__()
        built = settings_of(Architecture, settings)
        maps = map_schedule(built.resolution, built.fmaps_base, built.fmaps_max, built.fmaps)
        self.config: dict[str, Any] = vars(built) | {"fmaps": list(maps.values())}
        del self.config["fmaps_base"], self.config["fmaps_max"]  # ``fmaps`` says it all
        self.resolution, self.label_dim = built.resolution, built.label_dim
        self.z_dim, self.w_dim = built.z_dim, built.w_dim
        self.image_channels, self.one_hot_labels = built.image_channels, built.one_hot_labels
        self.layer_sides = self.noise_sides = [side for side in maps for _ in range(2)]
        self.mapping = Mapping(built)
        self.truncation = Truncation(built.w_dim, self.num_layers)
        self.synthesis = Synthesis(maps, built)

    @property
    def w_avg(self) -> Tensor:
        return self.truncation.w_avg

    def map(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.mapping(z, label).w

    def check_ready(self) -> None:
        if (lod := float(self.synthesis.lod)) != 0.0:
            raise ValueError(
                f"the generator's level of detail is {lod:.2f}, expected 0: "
                f"it was saved before it had grown to its full size, so train it on with ckpt_path="
            )

    def synthesize(
        self, w: Tensor, psi: float = 1.0, num_truncated: int = 0, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        return self.synthesis(self.truncation(w, psi, num_truncated), noise)


def to_uint8(images: Tensor) -> Tensor:
    """``clip(round((x + 1) 127.5))``: images [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3]."""
    levels = ((images.double() + 1.0) * 127.5 + 0.5).clamp(0.0, 255.0)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_uint8(images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1]."""
    return ((images.float() / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous()


class Discriminator(nn.Module):
    """StyleGAN-1 discriminator, the generator's mirror image: images [N, 3, R, R] in [-1, 1] to scores [N, 1].

    Higher is more real. The label is joined to the last features; settings are as in `Architecture`.
    """

    lod: Tensor

    def __init__(
        self,
        resolution: int = 256,
        label_dim: int = 7,
        fmaps_base: int = 16384,
        fmaps_max: int = 512,
        fmaps: Sequence[int] | None = None,
        group_size: int = 16,
        image_channels: int = 3,
    ):
        super().__init__()
        maps = map_schedule(resolution, fmaps_base, fmaps_max, fmaps)
        self.config: dict[str, Any] = {"resolution": resolution, "label_dim": label_dim, "fmaps": list(maps.values())}
        self.config |= {"group_size": group_size, "image_channels": image_channels}
        self.resolution, self.label_dim = resolution, label_dim
        self.resolutions = sorted(maps, reverse=True)
        self.register_buffer("lod", torch.zeros(()))
        for i, res in enumerate(self.resolutions):
            channels = maps[res]
            setattr(self, f"input{i}", DiscriminatorConv(image_channels, channels, kernel_size=1))
            if res > 4:
                setattr(self, f"layer{2 * i}", DiscriminatorConv(channels, channels))
                setattr(self, f"layer{2 * i + 1}", DiscriminatorConv(channels, maps[res // 2], down=True))
        last = 2 * (len(maps) - 1)
        self.last_layer = f"layer{last + 2}"  # whose input holds the label
        self.minibatch_std = MinibatchStd(group_size)
        setattr(self, f"layer{last}", DiscriminatorConv(maps[4] + 1, maps[4]))
        setattr(self, f"layer{last + 1}", Dense(maps[4] * 16, maps[4]))
        setattr(self, self.last_layer, Dense(maps[4] + label_dim, 1, linear=True))

    def forward(self, image: Tensor, label: Tensor | None = None, lod: float = 0.0) -> Tensor:
        """Scores of images [N, 3, R, R] with label [N, label_dim] (None: zeros): [N, 1]; ``lod`` as in Synthesis."""
        self.check(image)
        x: Tensor | None = None
        for i, res in enumerate(self.resolutions):
            if i - 1 < lod < i + 1:  # the image enters here: wholly, or blended with the finer one's features
                entry = getattr(self, f"input{i}")(image)
                x = entry if x is None or lod >= i else entry * (lod - i + 1) + x * (i - lod)
            if x is not None and lod < i + 1 and res > 4:
                x = self.halved(x, i)
            if lod > i:
                image = F.avg_pool2d(image, 2)
        assert x is not None
        return self.judged(x, label)

    def features(self, image: Tensor, resolution: int) -> Tensor:
        """What the layers down to ``resolution`` make of images [N, 3, R, R] at full size: [N, C, resolution, ...]."""
        self.check(image)
        x = self.get_submodule("input0")(image)
        for i, res in enumerate(self.resolutions):
            if res > max(resolution, 4):
                x = self.halved(x, i)
        return x

    def from_features(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The scores [N, 1] that `features` lead to."""
        for i, res in enumerate(self.resolutions):
            if 4 < res <= x.shape[-1]:
                x = self.halved(x, i)
        return self.judged(x, label)

    def check(self, image: Tensor) -> None:
        expected = (self.config["image_channels"], self.resolution, self.resolution)
        if tuple(image.shape[1:]) != expected:
            raise ValueError(f"images have shape {tuple(image.shape[1:])}, expected {expected}")

    def halved(self, x: Tensor, i: int) -> Tensor:
        """The two layers of a resolution."""
        return getattr(self, f"layer{2 * i + 1}")(getattr(self, f"layer{2 * i}")(x))

    def judged(self, x: Tensor, label: Tensor | None) -> Tensor:
        """The layers at 4x4."""
        last = 2 * (len(self.resolutions) - 1)
        x = getattr(self, f"layer{last}")(self.minibatch_std(x))
        x = getattr(self, f"layer{last + 1}")(x)
        if self.label_dim:
            x = torch.cat([x, label_or_zeros(label, self.label_dim, x).to(x.dtype)], dim=1)
        return getattr(self, self.last_layer)(x)
