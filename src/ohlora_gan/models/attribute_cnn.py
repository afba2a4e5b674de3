"""A regressor of any attributes: one small crop CNN for each, as in `attribute_nets`."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from ohlora_gan.models.attribute_nets import (
    OUTPUTS,
    SMALL_SPECS,
    WHOLE,
    PropertyNet,
    SmallCropCNN,
    SmallSpec,
    channels_last,
    checked_box,
    small_channels,
)
from ohlora_gan.vocabulary import PROPERTIES

KNOWN_SPECS = {name: SMALL_SPECS[cnn] for cnn, names in OUTPUTS.items() for name in names}
"""What the CNN of each of the eight properties sees."""


class AttributeCNN(PropertyNet):
    """Scores any attributes of small images; F = 3 x width for each attribute.

    A property that `SmallPropertyCNN` knows is looked for where that looks for it, anything else in the whole picture.

    Args:
        names: the attributes, in the order of the outputs. None: the eight properties.
        resolution: side of the images, 32 or more.
        width: see `SmallPropertyCNN`.
        boxes: where to look for an attribute instead: top, bottom, left and right edge in 32nds of the picture's side,
            such as ``{"lip_color": [16, 30, 8, 24]}``.

    Raises:
        ValueError: for names that are not different words, and for a box that is none.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        resolution: int = 64,
        width: int = 16,
        boxes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        names = list(PROPERTIES if names is None else names)
        own_boxes = {name: list(box) for name, box in (boxes or {}).items()}
        check_names(names)
        if unknown := [name for name in own_boxes if name not in names]:
            raise ValueError(f"boxes names {unknown[0]!r}, expected one of the attributes {', '.join(names)}")
        channels = small_channels(width, resolution)
        cnns = {}
        for name in names:
            spec = KNOWN_SPECS.get(name, SmallSpec(WHOLE))
            if name in own_boxes:
                spec = spec._replace(box=checked_box(own_boxes[name], f"boxes.{name}"))
            cnns[name] = SmallCropCNN(spec, channels[spec.coarse :], 3 * width, num_outputs=1)
        config = {"names": names, "resolution": resolution, "width": width, "boxes": own_boxes}
        super().__init__(cnns, resolution, config, {name: (name,) for name in names}, names)

    def features(self, images: Tensor) -> Tensor:
        return super().features(channels_last(images))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(channels_last(images))


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError unless names are different and fit as names of networks and of logged figures."""
    unfit = [name for name in names if not name or "." in name or "/" in name]
    if unfit or not names or len(set(names)) < len(names):
        raise ValueError(f"attributes are called {names}, expected one or more different names without '.' and '/'")
