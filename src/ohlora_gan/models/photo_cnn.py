"""Networks for photographs: one trunk that sees the whole picture, for all attributes together.

Photographs hide attributes in texture and context that the crops of `attribute_nets` do not show: the opening of a
mouth is measured against the height of the face. A trunk of plain convolutions with batch normalisation (Ioffe and
Szegedy 2015) learns them from some thousand pictures. In eval mode a picture's scores depend on it alone.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ohlora_gan.models.attribute_nets import GRID, channels_last, check_images
from ohlora_gan.vocabulary import PROPERTIES

DROPOUT = 0.3


class PhotoCNN(nn.Module):
    """Scores photographs of faces.

    Args:
        names: the attributes, in the order of the outputs. None: the eight properties.
        resolution: side of the square images in pixels, a power of two, 32 or more.
        width: the first convolution has so many channels, the second twice, all others four times as many.

    Attributes:
        property_names, resolution, config: as in `attribute_nets.PropertyNet`.

    Raises:
        ValueError: for a resolution or width out of range.
    """

    def __init__(self, names: Sequence[str] | None = None, resolution: int = 64, width: int = 24) -> None:
        super().__init__()
        if width < 1 or resolution < 32 or resolution & (resolution - 1):
            raise ValueError(
                f"width is {width}, resolution {resolution}; expected 1 or more, and a power of two from 32 on"
            )
        self.property_names = tuple(PROPERTIES if names is None else names)
        self.resolution = resolution
        self.config: dict[str, Any] = {"names": list(self.property_names), "resolution": resolution, "width": width}
        layers: list[nn.Module] = []
        previous = 3
        for i in range(resolution.bit_length() - 3):  # at 64: 64, 32, 16 and 8 pixels a side
            if i:
                layers.append(nn.MaxPool2d(2))
            channels = width * min(2**i, 4)
            layers += [nn.Conv2d(previous, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            previous = channels
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
        self.dropout = nn.Dropout(DROPOUT)
        self.last = nn.Linear(previous * GRID**2, len(self.property_names))

    def features(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to the trunk's activations ``[B, 64 x width]``, 0 or more."""
        check_images(images, self.resolution)
        return self.trunk(channels_last(images))

    def penultimate(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to what the layer ``last`` sees: ``features`` after dropout."""
        return self.dropout(self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to scores ``[B, P]`` in the order of ``property_names``."""
        return self.last(self.penultimate(images))


class PhotoFilterCNN(PhotoCNN):
    """One fold of a filter for photographs, with the interface of `filter_nets.SmallFilterCNN`.

    Args:
        resolution, width: see `PhotoCNN`.
    """

    def __init__(self, resolution: int = 64, width: int = 24) -> None:
        super().__init__(["filter"], resolution, width)
        self.config = {"resolution": resolution, "width": width}

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to logits ``[B]``."""
        return super().forward(images).squeeze(1)
