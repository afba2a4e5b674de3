"""Networks that score faces: their attributes, and for photographs whether one is there.

The reference system (Oh-LoRA v3.1) scores each of eight properties with a CNN of its own that sees only its crop, so a
score cannot be read off something elsewhere in the face: `MergedPropertyCNN` at 256x256, with its key names and shapes.
`SmallPropertyCNN` is the same idea for small pictures at a fraction of the cost, `AttributeCNN` for any attributes.
"""

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.names import PROPERTIES

log = logging.getLogger(__name__)

REFERENCE_RESOLUTION = 256

Box = tuple[int, int, int, int]
"""Top, bottom, left and right edge of a crop, in 32nds of the picture's side."""

WHOLE: Box = (0, 32, 0, 32)
UPPER_HALF: Box = (0, 16, 0, 32)
LOWER_HALF: Box = (16, 32, 0, 32)


class Spec(NamedTuple):
    """A CNN of the reference system: what it sees, its convolutions, its dense layer."""

    box: Box
    channels: tuple[int, ...]
    pools: tuple[int, ...]  # the convolutions, counted from 1, that a 2x2 max-pool follows
    hidden: int = 256
    dropout: float = 0.45  # of the dense layer


PROPERTY_SPECS = {
    "eyes": Spec((12, 18, 8, 24), (32, 64, 64, 128), (2, 3, 4)),
    "mouth": Spec((20, 26, 12, 20), (32, 64, 64, 128), (2, 3, 4)),
    "pose": Spec((14, 20, 11, 21), (32, 64, 64, 128, 128), (2, 3)),
    "hair_color": Spec(WHOLE, (32, 64, 64, 128, 128, 128), (2, 3, 4, 5, 6)),
    "hair_length": Spec(LOWER_HALF, (32, 64, 64, 128, 128, 128), (2, 3, 4, 5)),
    "background": Spec(UPPER_HALF, (32, 64, 64, 128, 128, 128), (2, 3, 4, 5)),
    "hairstyle": Spec((16, 32, 0, 12), (32, 64, 64, 96, 128, 128), (2, 3, 4), hidden=512, dropout=0.3),
}
FILTER_SPECS = {
    "gender": Spec(WHOLE, (32, 64, 128, 128, 256, 256), (2, 3, 4, 5, 6), hidden=512),
    "quality": Spec((0, 8, 8, 24), (32, 64, 128, 128, 256), (2, 3, 4), hidden=512),
    "age": Spec(UPPER_HALF, (32, 64, 128, 128, 256, 256), (2, 3, 4, 5), hidden=512),
    "glass": Spec((10, 16, 8, 24), (32, 64, 128, 128, 256), (2, 3, 4), hidden=512),
}

OUTPUTS: dict[str, tuple[str, ...]] = {name: (name,) for name in PROPERTY_SPECS}
OUTPUTS["background"] = ("background_mean", "background_std")
"""The properties that each CNN of a property network scores; its order is that of the state dict."""


class SmallSpec(NamedTuple):
    """A CNN of `SmallPropertyCNN`."""

    box: Box
    coarse: bool = False  # sees its crop at half the resolution: enough for areas and their brightness
    mirrored: bool = False  # sees the mirror image of the opposite crop, too


SMALL_SPECS = {  # wider crops: in the embedded world features are bigger and heads tilt further
    "eyes": SmallSpec((8, 22, 4, 28)),
    "mouth": SmallSpec((16, 30, 8, 24)),
    "pose": SmallSpec((8, 26, 6, 26)),
    "hair_color": SmallSpec(WHOLE, coarse=True),
    "hair_length": SmallSpec(LOWER_HALF, coarse=True),
    "background": SmallSpec(UPPER_HALF, coarse=True),
    "hairstyle": SmallSpec((16, 32, 0, 12), mirrored=True),
}
GRID = 4  # side of the map of averages that a dense layer of `SmallPropertyCNN` sees


def crop(images: Tensor, box: Box) -> Tensor:
    """A view of ``[B, C, H, W]`` images inside a box; edges are rounded down to whole pixels."""
    height, width = images.shape[2:]
    top, bottom, left, right = box
    return images[:, :, top * height // 32 : bottom * height // 32, left * width // 32 : right * width // 32]


def mirror(box: Box) -> Box:
    """The box on the opposite side of the picture."""
    top, bottom, left, right = box
    return top, bottom, 32 - right, 32 - left


def checked_box(box: Sequence[int], name: str) -> Box:
    """A user's box as a tuple; ValueError, with the name it goes by, unless it is one."""
    edges = tuple(box)
    whole = len(edges) == 4 and all(isinstance(edge, int) for edge in edges)
    if not (whole and 0 <= edges[0] < edges[1] <= 32 and 0 <= edges[2] < edges[3] <= 32):
        raise ValueError(
            f"{name} is {list(edges)}, expected [top, bottom, left, right] in 32nds of the picture's side: "
            f"four whole numbers from 0 to 32 such as {list(WHOLE)}, top above bottom, left before right"
        )
    return edges[0], edges[1], edges[2], edges[3]


def check_size(width: int, resolution: int, least_width: int = 1, power_of_two: bool = False) -> None:
    """Raises ValueError for a width or resolution that a network cannot have."""
    if width < least_width or resolution < 32 or (power_of_two and resolution & (resolution - 1)):
        sides = "and a power of two from 32 on" if power_of_two else "32 or more"
        raise ValueError(f"width is {width}, resolution {resolution}; expected {least_width} or more, {sides}")


def check_images(images: Tensor, resolution: int) -> None:
    """Raises ValueError unless images are ``[B, 3, resolution, resolution]``."""
    if images.ndim != 4 or images.shape[1:] != (3, resolution, resolution):
        raise ValueError(
            f"images have shape {list(images.shape)}, expected [B, 3, {resolution}, {resolution}]; "
            f"resize them, or build the network for their resolution"
        )


class ConvStack(nn.Module):
    """Crop, then a `Spec`'s 3x3 convolutions without padding (leaky ReLU 0.01, dropout) and max-pools, flattened."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        top, bottom, left, right = (edge * REFERENCE_RESOLUTION // 32 for edge in spec.box)
        height, width = bottom - top, right - left
        for number, (in_channels, out_channels) in enumerate(pairwise((3, *spec.channels)), start=1):
            conv = nn.Conv2d(in_channels, out_channels, kernel_size=3)
            self.add_module(f"conv{number}", nn.Sequential(conv, nn.LeakyReLU(0.01), nn.Dropout2d(0.05)))
            height, width = height - 2, width - 2
            if number in spec.pools:
                height, width = height // 2, width // 2
        self.out_features = spec.channels[-1] * height * width

    def convolve(self, images: Tensor) -> Tensor:
        x = crop(images, self.spec.box)
        for number in range(1, len(self.spec.channels) + 1):
            x = self.get_submodule(f"conv{number}")(x)
            if number in self.spec.pools:
                x = F.max_pool2d(x, 2)
        return x.flatten(1)


def dense(in_features: int, spec: Spec) -> nn.Sequential:
    """The hidden dense layer of the reference's networks."""
    return nn.Sequential(nn.Linear(in_features, spec.hidden), nn.Tanh(), nn.Dropout(spec.dropout))


class CropCNN(ConvStack):
    """A `ConvStack` with a hidden dense layer and linear outputs, for ``[B, 3, 256, 256]`` images."""

    def __init__(self, spec: Spec, num_outputs: int = 1) -> None:
        super().__init__(spec)
        self.fc1 = dense(self.out_features, spec)
        self.fc_final: nn.Module = nn.Linear(spec.hidden, num_outputs)

    def features(self, images: Tensor) -> Tensor:
        return self.fc1(self.convolve(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc_final(self.features(images))


class HairstyleCNN(nn.Module):
    """Two `ConvStack`, left and right of the neck, with a common dense layer."""

    def __init__(self) -> None:
        super().__init__()
        spec = PROPERTY_SPECS["hairstyle"]
        self.bottom_left_cnn = ConvStack(spec)
        self.bottom_right_cnn = ConvStack(spec._replace(box=mirror(spec.box)))
        self.fc1 = dense(2 * self.bottom_left_cnn.out_features, spec)
        self.fc_final = nn.Linear(spec.hidden, 1)

    def features(self, images: Tensor) -> Tensor:
        sides = [self.bottom_left_cnn.convolve(images), self.bottom_right_cnn.convolve(images)]
        return self.fc1(torch.cat(sides, dim=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc_final(self.features(images))


class PropertyNet(nn.Module):
    """Scores images ``[B, 3, R, R]`` in [-1, 1] with several CNNs, of which each scores one property or a few.

    Attributes:
        property_names: what the outputs ``[B, P]`` are, in their order.
        resolution: side R of the images, in pixels.
        config: the constructor's arguments, plain data: ``type(net)(**net.config)`` builds an equal network.
    """

    def __init__(
        self,
        cnns: Mapping[str, nn.Module],
        resolution: int,
        config: dict[str, Any],
        outputs: Mapping[str, Sequence[str]] = OUTPUTS,
        property_names: Sequence[str] = PROPERTIES,
    ) -> None:
        super().__init__()
        for name in outputs:
            self.add_module(f"{name}_score_cnn", cnns[name])
        self.property_names = tuple(property_names)
        self.resolution = resolution
        self.config = config
        columns = [name for names in outputs.values() for name in names]
        self._order = [columns.index(name) for name in self.property_names]

    def features(self, images: Tensor) -> Tensor:
        """The hidden activations ``[B, F]`` of all CNNs, in (-1, 1)."""
        check_images(images, self.resolution)
        return torch.cat([cnn.features(images) for cnn in self.children()], dim=1)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.resolution)
        return torch.cat([cnn(images) for cnn in self.children()], dim=1)[:, self._order]


class MergedPropertyCNN(PropertyNet):
    """The reference's property network for 256x256 images; F = 2048."""

    def __init__(self) -> None:
        cnns: dict[str, nn.Module] = {
            name: HairstyleCNN() if name == "hairstyle" else CropCNN(spec, len(OUTPUTS[name]))
            for name, spec in PROPERTY_SPECS.items()
        }
        super().__init__(cnns, REFERENCE_RESOLUTION, config={})


class SmallCropCNN(nn.Module):
    """Crop, strided 3x3 convolutions (padding 1), averages over a 4x4 grid, a dense layer (tanh), outputs.

    SiLU and averages instead of leaky ReLU and max-pools make a score's gradient continuous in the image.
    """

    def __init__(self, spec: SmallSpec, channels: tuple[int, ...], hidden: int, num_outputs: int) -> None:
        super().__init__()
        self.spec = spec
        layers: list[nn.Module] = [nn.AvgPool2d(2)] if spec.coarse else []
        for in_channels, out_channels in pairwise((3, *channels)):
            layers += [nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.SiLU()]
        self.convs = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
        num_crops = 2 if spec.mirrored else 1
        self.fc1 = nn.Sequential(nn.Linear(num_crops * channels[-1] * GRID**2, hidden), nn.Tanh())
        self.fc_final = nn.Linear(hidden, num_outputs)

    def features(self, images: Tensor) -> Tensor:
        x = channels_last(crop(images, self.spec.box))
        if not self.spec.mirrored:
            return self.fc1(self.convs(x))
        opposite = channels_last(crop(images, mirror(self.spec.box)).flip(3))
        return self.fc1(torch.cat(self.convs(torch.cat([x, opposite])).chunk(2), dim=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc_final(self.features(images))


class SmallPropertyCNN(PropertyNet):
    """A property network that scores thousands of small images a second on a CPU; F = 21 x width.

    The i-th convolution has i x width channels, at most 4 x width; each doubling of the resolution, 32 or more, adds
    one to every CNN. It has no dropout: training and eval mode compute the same.
    """

    def __init__(self, width: int = 16, resolution: int = 64) -> None:
        channels = small_channels(width, resolution)
        cnns = {
            name: SmallCropCNN(spec, channels[spec.coarse :], 3 * width, len(OUTPUTS[name]))
            for name, spec in SMALL_SPECS.items()
        }
        super().__init__(cnns, resolution, config={"width": width, "resolution": resolution})


def small_channels(width: int, resolution: int) -> tuple[int, ...]:
    """Channels of a small CNN's convolutions: the i-th has i x width, at most 4 x width."""
    check_size(width, resolution)
    return tuple(width * min(i, 4) for i in range(1, resolution.bit_length() - 3))


def channels_last(images: Tensor) -> Tensor:
    """The same images, channels last in memory: faster on a CPU, and allowed inside ``torch.func.vmap``."""
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class AttributeCNN(PropertyNet):
    """Scores any attributes of small images; F = 3 x width for each attribute.

    A property that `SmallPropertyCNN` knows is looked for where that looks for it, anything else in the whole picture.

    Args:
        names: the attributes, in the order of the outputs. None: the eight properties.
        resolution, width: see `SmallPropertyCNN`.
        boxes: where to look for an attribute instead: top, bottom, left and right edge in 32nds of the picture's side,
            such as ``{"lip_color": [16, 30, 8, 24]}``.
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
        if not names or len(set(names)) < len(names) or any(not n or "." in n or "/" in n for n in names):
            raise ValueError(f"attributes are called {names}, expected one or more different names without '.' and '/'")
        if unknown := [name for name in own_boxes if name not in names]:
            raise ValueError(f"boxes names {unknown[0]!r}, expected one of the attributes {', '.join(names)}")
        channels = small_channels(width, resolution)
        known = {name: SMALL_SPECS[cnn] for cnn, scored in OUTPUTS.items() for name in scored}
        cnns = {}
        for name in names:
            spec = known.get(name, SmallSpec(WHOLE))
            if name in own_boxes:
                spec = spec._replace(box=checked_box(own_boxes[name], f"boxes.{name}"))
            cnns[name] = SmallCropCNN(spec, channels[spec.coarse :], 3 * width, num_outputs=1)
        config = {"names": names, "resolution": resolution, "width": width, "boxes": own_boxes}
        super().__init__(cnns, resolution, config, {name: (name,) for name in names}, names)


# --- One trunk for all attributes: for photographs, and for everything about a small face ---


DROPOUT = 0.3


class PhotoCNN(nn.Module):
    """Scores photographs of faces, with the interface of a `PropertyNet`.

    ``names`` are the attributes (None: the eight properties); ``resolution`` is a power of two, 32 or more. The first
    convolution has ``width`` channels, the second twice, all others four times as many.
    """

    def __init__(self, names: Sequence[str] | None = None, resolution: int = 64, width: int = 24) -> None:
        super().__init__()
        check_size(width, resolution, power_of_two=True)
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
        """The trunk's activations ``[B, 64 x width]``, 0 or more."""
        check_images(images, self.resolution)
        return self.trunk(channels_last(images))

    def penultimate(self, images: Tensor) -> Tensor:
        """What the layer ``last`` sees: ``features`` after dropout."""
        return self.dropout(self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.penultimate(images))


class PhotoFilterCNN(PhotoCNN):
    """One fold of a filter for photographs, to logits ``[B]``; see `filters`."""

    def __init__(self, resolution: int = 64, width: int = 24) -> None:
        super().__init__(["filter"], resolution, width)
        self.config = {"resolution": resolution, "width": width}

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).squeeze(1)


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
        return x + self.second(F.silu(self.first(F.silu(x))))


class TruthNet(nn.Module):
    """Scores all attributes of a small face, with the interface of a `PropertyNet`; always in float32.

    ``names`` are the attributes (None: the eight properties), ``binary`` those of them that are yes or no, whose
    outputs are logits; ``resolution`` is a power of two, 32 or more. The first stage has ``width`` channels, 2 or more,
    later ones up to 8/3 as many.
    """

    def __init__(
        self, names: Sequence[str] | None = None, binary: Sequence[str] = (), resolution: int = 64, width: int = 48
    ) -> None:
        super().__init__()
        check_size(width, resolution, least_width=2, power_of_two=True)
        self.property_names = tuple(PROPERTIES if names is None else names)
        if unknown := [name for name in binary if name not in self.property_names]:
            raise ValueError(f"binary names {unknown[0]!r}, expected some of {', '.join(self.property_names)}")
        self.binary_names = tuple(binary)
        self.resolution = resolution
        self.config: dict[str, Any] = {"names": list(self.property_names), "binary": list(self.binary_names)}
        self.config |= {"resolution": resolution, "width": width}
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
        """The last hidden activations ``[B, 256]``."""
        check_images(images, self.resolution)
        return self.trunk(channels_last(images)).float()

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 would round scores to a hundredth
            return self.last(features)


# --- Pictures of another size ---


def resized(images: Tensor, side: int) -> Tensor:
    """Images ``[N, 3, R, R]`` with another side: bilinear, antialiased."""
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


class ResizedScorer(nn.Module):
    """A scorer that is shown pictures of another size than it takes, resized to it (bilinear, antialiased).

    It has all that the scorer has; ``resolution`` is the side of the pictures that come in.
    """

    def __init__(self, scorer: nn.Module, resolution: int) -> None:
        super().__init__()
        self.scorer, self.resolution = scorer, resolution

    def resized(self, images: Tensor) -> Tensor:
        """``[N, 3, R, R]`` of any side as the scorer takes them."""
        side: Any = self.scorer.resolution
        return resized(images, side)

    def forward(self, images: Tensor) -> Tensor:
        return self.scorer(self.resized(images))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "scorer":
                raise
        found = getattr(self.scorer, name)
        return (lambda images: found(self.resized(images))) if name == "features" else found


def fitting(scorer: nn.Module, resolution: int) -> nn.Module:
    """The scorer, or where it takes pictures of another side than this, one that is shown them resized."""
    taken = getattr(scorer, "resolution", None) or resolution
    if taken == resolution:
        return scorer
    log.warning("pictures of %d pixels are resized to %d for the scorer", resolution, taken)
    return ResizedScorer(scorer, resolution)
