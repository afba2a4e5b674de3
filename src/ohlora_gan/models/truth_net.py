"""A network that reads everything about a small face off its picture: numbers and yes-or-no attributes together.

One residual trunk (He et al., "Identity mappings in deep residual networks", ECCV 2016) sees the whole picture. Its
last map is flattened, not averaged, so that where something lies is not lost: a twentieth of a pixel more between the
eyes is an attribute, too. There are no batch statistics: a picture's scores depend on that picture alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.scorers import channels_last, check_images
from ohlora_gan.names import PROPERTIES

MAP = 8  # side of the last map
WIDTHS = (1.0, 2.0, 8 / 3)  # channels of the stages, in widths; further ones have as many as the last
BLOCKS = 2  # a stage
SQUEEZED = 32  # channels of the last map before it is flattened
HIDDEN = 256


class ResidualBlock(nn.Module):
    """Adds two 3x3 convolutions of a map to it; at first they add nothing, which makes a norm needless."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        return x + self.second(F.silu(self.first(F.silu(x))))


class TruthNet(nn.Module):
    """Scores all attributes of a face; an output that ``binary`` names is a logit, any other a score.

    Args:
        names: the attributes, in the order of the outputs. None: the eight properties.
        binary: those of them that are yes or no.
        resolution: side of the square images in pixels, a power of two, 32 or more.
        width: channels of the first stage, 2 or more, of which later ones have up to 8/3.

    Attributes:
        property_names, resolution, config: as in `scorers.PropertyNet`.
        binary_names: the attributes whose outputs are logits.

    Raises:
        ValueError: for a resolution or width out of range, or a binary attribute that is not among the names.
    """

    def __init__(
        self, names: Sequence[str] | None = None, binary: Sequence[str] = (), resolution: int = 64, width: int = 48
    ) -> None:
        super().__init__()
        if width < 2 or resolution < 32 or resolution & (resolution - 1):
            raise ValueError(
                f"width is {width}, resolution {resolution}; expected 2 or more, and a power of two from 32 on"
            )
        self.property_names = tuple(PROPERTIES if names is None else names)
        if unknown := [name for name in binary if name not in self.property_names]:
            raise ValueError(f"binary names {unknown[0]!r}, expected some of {', '.join(self.property_names)}")
        self.binary_names = tuple(binary)
        self.resolution = resolution
        self.config: dict[str, Any] = {
            "names": list(self.property_names),
            "binary": list(self.binary_names),
            "resolution": resolution,
            "width": width,
        }
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        previous = 12
        for i in range((resolution // 2 // MAP).bit_length()):  # at 64: 32, 16 and 8 pixels a side
            channels = round(width * WIDTHS[min(i, len(WIDTHS) - 1)])
            layers.append(nn.Conv2d(previous, channels, 3, stride=2 if i else 1, padding=1))
            layers += [ResidualBlock(channels) for _ in range(BLOCKS)]
            previous = channels
        layers += [nn.SiLU(), nn.Conv2d(previous, SQUEEZED, 1), nn.SiLU(), nn.Flatten()]
        self.trunk = nn.Sequential(*layers, nn.Linear(SQUEEZED * MAP**2, HIDDEN), nn.SiLU())
        self.last = nn.Linear(HIDDEN, len(self.property_names))

    def features(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to the last hidden activations, float32 ``[B, 256]``."""
        check_images(images, self.resolution)
        return self.trunk(channels_last(images)).float()

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to scores and logits, float32 ``[B, P]``, of ``property_names``."""
        features = self.features(images)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 would round scores to a hundredth
            return self.last(features)
