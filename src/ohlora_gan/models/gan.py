"""StyleGAN-1 generator with a plain (v1) or a split/merge (v9) mapping network."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.layers import Dense, DiscriminatorConv, MinibatchStd, StyleBlock, ToRGB, pixel_norm

EMBEDDING_DIM = 16
NEW_BRANCH_STD = 0.15
FUSED_FROM = 128  # the original code's "fused" (mirrored) upsampling kernels begin at this resolution


def check_resolution(resolution: int) -> int:
    """log2 of a resolution from 8 to 1024 that is a power of two.

    Raises:
        ValueError: for any other number.
    """
    if resolution not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise ValueError(f"resolution is {resolution}, expected a power of two from 8 to 1024")
    return int(math.log2(resolution))


def feature_maps(resolution: int, fmaps_base: int, fmaps_max: int) -> int:
    """Number of feature maps at a resolution: ``fmaps_base / resolution``, at most ``fmaps_max``, at least 1."""
    return max(1, min(fmaps_base // resolution, fmaps_max))


def map_schedule(resolution: int, fmaps_base: int, fmaps_max: int, fmaps: Sequence[int] | None) -> dict[int, int]:
    """Feature maps by resolution from 4 up: by formula, or the explicit list ``fmaps`` (4x4 first)."""
    num = check_resolution(resolution) - 1
    if fmaps is None:
        return {4 << i: feature_maps(4 << i, fmaps_base, fmaps_max) for i in range(num)}
    if len(fmaps) != num or any(int(m) < 1 for m in fmaps):
        raise ValueError(
            f"fmaps is {list(fmaps)}, expected {num} positive numbers of feature maps, "
            f"for 4x4 up to {resolution}x{resolution}"
        )
    return {4 << i: int(m) for i, m in enumerate(fmaps)}


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

    def __init__(self, z_dim: int, w_dim: int, hidden_dim: int, label_dim: int, num_layers: int, split: bool):
        super().__init__()
        if split and num_layers < 3:
            raise ValueError(f"mapping_layers is {num_layers}, expected at least 3 for a split (v9) mapping")
        self.label_dim, self.num_layers, self.split = label_dim, num_layers, split
        if label_dim:
            self.label_weight = nn.Parameter(torch.randn(label_dim, EMBEDDING_DIM))
        in_dim = z_dim + (EMBEDDING_DIM if label_dim else 0)
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [w_dim]
        for i in range(num_layers):
            setattr(self, f"dense{i}", Dense(dims[i], dims[i + 1], lr_mul=0.01))
        if split:
            self.dense_new0 = Dense(hidden_dim, 4 * w_dim, lr_mul=0.01)
            self.dense_new1 = Dense(4 * w_dim, w_dim, lr_mul=0.01)
            self.init_new_branch()

    def init_new_branch(self, rng: torch.Generator | None = None) -> None:
        """N(0, 0.15^2) weights and biases: with N(0, 1) the first images stop looking like faces."""
        with torch.no_grad():
            for name, p in self.named_parameters():
                if name.startswith("dense_new"):
                    p.normal_(0.0, NEW_BRANCH_STD, generator=rng)

    def embed(self, label: Tensor | None, n: int, like: Tensor) -> Tensor:
        if label is None:
            label = like.new_zeros(n, self.label_dim)
        if label.shape != (n, self.label_dim):
            raise ValueError(f"label has shape {tuple(label.shape)}, expected {(n, self.label_dim)}")
        return label @ self.label_weight

    def split_vectors(self, z_norm: Tensor) -> tuple[Tensor, Tensor]:
        """w1 [N, hidden] and w2 [N, 4 x w_dim] of a v9 mapping."""
        for i in range(self.num_layers - 2):
            z_norm = getattr(self, f"dense{i}")(z_norm)
        return getattr(self, f"dense{self.num_layers - 2}")(z_norm), self.dense_new0(z_norm)

    def merge_vectors(self, w1: Tensor, w2: Tensor) -> tuple[Tensor, Tensor]:
        """w1' and w2' [N, w_dim] from w1 and w2."""
        return getattr(self, f"dense{self.num_layers - 1}")(w1), self.dense_new1(w2)

    def forward(self, z: Tensor, label: Tensor | None = None) -> MappingOutput:
        if self.label_dim:
            z = torch.cat([z, self.embed(label, z.shape[0], z)], dim=1)
        z_norm = pixel_norm(z)
        if self.split:
            w1, w2 = self.split_vectors(z_norm)
            w1_, w2_ = self.merge_vectors(w1, w2)
            return MappingOutput(z_norm, w1_ + w2_, w1, w2, w1_, w2_)
        w = z_norm
        for i in range(self.num_layers):
            w = getattr(self, f"dense{i}")(w)
        return MappingOutput(z_norm, w)


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
        wp = w.unsqueeze(1).expand(-1, self.num_layers, -1) if w.ndim == 2 else w
        if psi == 1.0 or num_truncated == 0:
            return wp
        factor = torch.ones(1, self.num_layers, 1, device=w.device, dtype=w.dtype)
        factor[:, :num_truncated] = psi
        return self.w_avg + factor * (wp - self.w_avg)


class Synthesis(nn.Module):
    """wp [N, L, D] to images [N, 3, R, R]; ``lod`` 0 is full detail, each unit above halves the detail."""

    lod: Tensor

    def __init__(self, maps: dict[int, int], w_dim: int, image_channels: int):
        super().__init__()
        self.resolutions = list(maps)
        self.num_layers = 2 * len(maps)
        self.register_buffer("lod", torch.zeros(()))
        for i, (res, channels) in enumerate(maps.items()):
            before = maps.get(res // 2, channels)
            kind = "up" if i else "const"
            flip = res >= FUSED_FROM
            setattr(self, f"layer{2 * i}", StyleBlock(before, channels, res, w_dim, kind, flip))
            setattr(self, f"layer{2 * i + 1}", StyleBlock(channels, channels, res, w_dim, "conv"))
            setattr(self, f"output{i}", ToRGB(channels, image_channels))

    def draw_noise(self, n: int, rng: torch.Generator) -> list[Tensor]:
        """Fresh per-pixel noise for every layer, in layer order: [N, 1, r, r] each."""
        sizes = [r for r in self.resolutions for _ in range(2)]
        return [torch.randn(n, 1, r, r, generator=rng, device=rng.device) for r in sizes]

    def forward(
        self, wp: Tensor, noise: Sequence[Tensor] | None = None, styles: list[Tensor] | None = None, lod: float = 0.0
    ) -> Tensor:
        """Images in about [-1, 1].

        Args:
            noise: per-layer noise of ``draw_noise``; None takes the fixed buffers.
            styles: if a list is given, each layer's style [N, 2C] is appended to it.
            lod: level of detail (Karras et al. 2018, section 2); outputs blend between whole numbers.
        """
        x: Tensor | None = None
        image: Tensor | None = None
        for i in range(len(self.resolutions)):
            here = len(self.resolutions) - 1 - i  # lod at which this resolution is the finest
            if lod < here + 1:
                for k in (2 * i, 2 * i + 1):
                    x, style = getattr(self, f"layer{k}")(x, wp[:, k], None if noise is None else noise[k])
                    if styles is not None:
                        styles.append(style)
            if image is not None:
                image = F.interpolate(image, scale_factor=2, mode="nearest")
            if here - 1 < lod < here + 1:
                assert x is not None
                rgb = getattr(self, f"output{i}")(x)
                share = here + 1 - lod if lod > here else 1.0
                image = rgb if image is None or share == 1.0 else rgb * share + image * (1.0 - share)
        assert image is not None
        return image


class Generator(nn.Module):
    """StyleGAN-1 generator: z and label to an image.

    Args:
        resolution: image size, a power of two from 8 to 1024.
        z_dim, w_dim, mapping_dim: sizes of z, w and the mapping's hidden blocks.
        label_dim: number of label values; 0 makes it unconditional.
        split_mapping: False is the v1 mapping, True the v9 mapping with the split/merge branch.
        mapping_layers: number of dense blocks.
        fmaps_base, fmaps_max: feature maps are ``min(fmaps_base / res, fmaps_max)``.
        fmaps: explicit feature maps a resolution instead, 4x4 first.
        image_channels: 3 for RGB.
    """

    def __init__(
        self,
        resolution: int = 256,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_dim: int = 512,
        label_dim: int = 7,
        split_mapping: bool = True,
        mapping_layers: int = 8,
        fmaps_base: int = 16384,
        fmaps_max: int = 512,
        fmaps: Sequence[int] | None = None,
        image_channels: int = 3,
    ):
        super().__init__()
        maps = map_schedule(resolution, fmaps_base, fmaps_max, fmaps)
        self.config: dict[str, Any] = {
            "resolution": resolution,
            "z_dim": z_dim,
            "w_dim": w_dim,
            "mapping_dim": mapping_dim,
            "label_dim": label_dim,
            "split_mapping": split_mapping,
            "mapping_layers": mapping_layers,
            "fmaps": list(maps.values()),
            "image_channels": image_channels,
        }
        self.resolution, self.z_dim, self.w_dim, self.label_dim = resolution, z_dim, w_dim, label_dim
        self.mapping = Mapping(z_dim, w_dim, mapping_dim, label_dim, mapping_layers, split_mapping)
        self.truncation = Truncation(w_dim, 2 * len(maps))
        self.synthesis = Synthesis(maps, w_dim, image_channels)

    @property
    def num_layers(self) -> int:
        """Number of synthesis layers, two a resolution."""
        return self.synthesis.num_layers

    def synthesize(
        self, w: Tensor, psi: float = 1.0, num_truncated: int = 0, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Images [N, 3, R, R] in about [-1, 1] from w [N, D] or wp [N, L, D]."""
        return self.synthesis(self.truncation(w, psi, num_truncated), noise)

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        psi: float = 1.0,
        num_truncated: int = 0,
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Images [N, 3, R, R] from z [N, z_dim] and label [N, label_dim] (None: zeros)."""
        return self.synthesize(self.mapping(z, label).w, psi, num_truncated, noise)


def to_uint8(images: Tensor) -> Tensor:
    """``clip(round((x + 1) 127.5))``: images [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3]."""
    levels = ((images.double() + 1.0) * 127.5 + 0.5).clamp(0.0, 255.0)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_uint8(images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1]."""
    return ((images.float() / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous()


# --- StyleGAN-1 discriminator: the generator's mirror image, conditional on the label in its last layer ---


class Discriminator(nn.Module):
    """Scores images [N, 3, R, R] in [-1, 1] (higher is more real): [N, 1].

    Args:
        resolution: image size, a power of two from 8 to 1024.
        label_dim: number of label values joined to the last features; 0 makes it unconditional.
        fmaps_base, fmaps_max, fmaps: feature maps as in ``Generator``.
        group_size: minibatch-std group size.
        image_channels: 3 for RGB.
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
        self.config: dict[str, Any] = {
            "resolution": resolution,
            "label_dim": label_dim,
            "fmaps": list(maps.values()),
            "group_size": group_size,
            "image_channels": image_channels,
        }
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
        self.minibatch_std = MinibatchStd(group_size)
        setattr(self, f"layer{last}", DiscriminatorConv(maps[4] + 1, maps[4]))
        setattr(self, f"layer{last + 1}", Dense(maps[4] * 16, maps[4]))
        setattr(self, f"layer{last + 2}", Dense(maps[4] + label_dim, 1, gain=1.0, slope=1.0))

    @property
    def last_layer(self) -> str:
        """Name of the final dense layer, whose input holds the label."""
        return f"layer{2 * len(self.resolutions)}"

    def forward(self, image: Tensor, label: Tensor | None = None, lod: float = 0.0) -> Tensor:
        """Scores of images [N, 3, R, R] with label [N, label_dim] (None: zeros): [N, 1]; ``lod`` as in Synthesis."""
        expected = (self.config["image_channels"], self.resolution, self.resolution)
        if tuple(image.shape[1:]) != expected:
            raise ValueError(f"images have shape {tuple(image.shape[1:])}, expected {expected}")
        x: Tensor | None = None
        for i, res in enumerate(self.resolutions):
            if i - 1 < lod < i + 1:  # the image enters here: wholly, or blended with the finer one's features
                entry = getattr(self, f"input{i}")(image)
                x = entry if x is None or lod >= i else entry * (lod - i + 1) + x * (i - lod)
            if lod < i + 1 and res > 4:
                x = getattr(self, f"layer{2 * i + 1}")(getattr(self, f"layer{2 * i}")(x))
            if lod > i:
                image = F.avg_pool2d(image, 2)
        assert x is not None
        last = 2 * (len(self.resolutions) - 1)
        x = getattr(self, f"layer{last}")(self.minibatch_std(x))
        x = getattr(self, f"layer{last + 1}")(x)
        if self.label_dim:
            if label is None:
                label = x.new_zeros(x.shape[0], self.label_dim)
            if label.shape != (x.shape[0], self.label_dim):
                raise ValueError(f"label has shape {tuple(label.shape)}, expected {(x.shape[0], self.label_dim)}")
            x = torch.cat([x, label.to(x.dtype)], dim=1)
        return getattr(self, self.last_layer)(x)
