"""StyleGAN-1 discriminator: the generator's mirror image, conditional on the label in its last layer."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.generator import map_schedule
from ohlora_gan.models.layers import Dense, DiscriminatorConv, MinibatchStd


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
