"""A filter for what shows in fine texture rather than in shapes, blur above all."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.attribute_nets import GRID, channels_last, check_images

WIDTHS = (1, 2, 4, 4)  # of the convolutions, in units of width; the side is halved before all but the first
DROPOUT = 0.4
BINOMIAL = (1, 4, 6, 4, 1)
NEIGHBOURHOOD = 4  # pixels to either side over which detail and contrast are averaged
LEAST = 0.003  # of detail, on the scale of images in [-1, 1]: less than a grey level


class TextureFilterCNN(nn.Module):
    """One fold of a filter, with the interface of `filter_nets.SmallFilterCNN`.

    Beside its colours the network is shown the picture's detail: what a Gaussian of five pixels takes away, how much of
    that there is around each pixel, and how much of it against the local contrast (compare Pech-Pacheco et al., ICPR
    2000, "Diatom autofocusing in brightfield microscopy"). The last layer sees mean and deviation of the maps of all
    levels (compare Gatys et al. 2015, "Texture synthesis using convolutional neural networks"), so that what is fine
    need not survive pooling, and the last maps themselves.

    Args:
        resolution: side of the square images in pixels, 32 or more.
        width: the four convolutions have 1, 2, 4 and 4 times as many channels.

    Attributes:
        resolution, config: as in `attribute_nets.PropertyNet`.

    Raises:
        ValueError: for a resolution or width out of range.
    """

    blur: Tensor

    def __init__(self, resolution: int = 64, width: int = 24) -> None:
        super().__init__()
        if width < 1 or resolution < 32:
            raise ValueError(f"width is {width}, resolution {resolution}; expected 1 or more, 32 or more")
        self.resolution = resolution
        self.config: dict[str, Any] = {"resolution": resolution, "width": width}
        row = torch.tensor(BINOMIAL, dtype=torch.float32) / sum(BINOMIAL)
        self.register_buffer("blur", torch.outer(row, row)[None, None], persistent=False)
        channels = [6, *(width * times for times in WIDTHS)]
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in pairwise(channels)
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.last = nn.Linear(2 * sum(channels[1:]) + channels[-1] * GRID**2, 1)

    def penultimate(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to what the layer ``last`` sees, ``[B, F]``, after dropout."""
        check_images(images, self.resolution)
        maps = channels_last(torch.cat([images, self.detail(images)], dim=1))
        found = []
        for i, level in enumerate(self.levels):
            maps = level(F.max_pool2d(maps, 2) if i else maps)
            found += [maps.mean(dim=(2, 3)), maps.std(dim=(2, 3))]
        found.append(F.adaptive_avg_pool2d(maps, GRID).flatten(1))
        return self.dropout(torch.cat(found, dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to logits ``[B]``."""
        return self.last(self.penultimate(images)).squeeze(1)

    def detail(self, images: Tensor) -> Tensor:
        """Detail, the logarithm of its strength, and that against the contrast, ``[B, 3, R, R]`` as the images."""
        grey = images.mean(dim=1, keepdim=True)
        smooth = F.conv2d(F.pad(grey, [len(BINOMIAL) // 2] * 4, mode="reflect"), self.blur.to(grey.dtype))
        detail = grey - smooth
        strength = around(detail.abs()) + LEAST
        contrast = around((grey - smooth.mean(dim=(2, 3), keepdim=True)).abs()) + 10 * LEAST
        # scaled so that all are of the size of the colours
        return torch.cat([6 * detail, strength.log() + 3, (strength / contrast).log() + 2], dim=1)


def around(values: Tensor) -> Tensor:
    """The mean over each pixel's neighbourhood, ``[B, 1, R, R]`` to ``[B, 1, R, R]``."""
    return F.avg_pool2d(F.pad(values, [NEIGHBOURHOOD] * 4, mode="reflect"), 2 * NEIGHBOURHOOD + 1, 1)
