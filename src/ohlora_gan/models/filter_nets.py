"""Filters: networks that say with what probability a picture has a binary attribute, and their ensembles.

Networks of one fold share an interface: images in [-1, 1] to logits ``[B]``. `SmallFilterCNN` is for small pictures,
`photo_cnn.PhotoFilterCNN` for photographs, `texture_cnn.TextureFilterCNN` for what shows in their texture,
`ReferenceFilterCNN` one of the reference system's four (Oh-LoRA v3.1, 256x256). What decides whether a picture is kept
is the mean probability of all folds, `FilterEnsemble`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ohlora_gan.models.attribute_nets import (
    WHOLE,
    FilterCNN,
    SmallCropCNN,
    SmallSpec,
    channels_last,
    check_images,
    checked_box,
)
from ohlora_gan.models.photo_cnn import PhotoFilterCNN
from ohlora_gan.models.texture_cnn import TextureFilterCNN

MAX_MAP = 8  # pixels: convolutions halve a crop until its shorter side is no longer


def start_at(net: nn.Module, base_rate: float) -> None:
    """Sets the last bias of a fresh network so that it says what is known before looking: the share of ones.

    Without this, where ones are rare, the first steps push every output towards 0, and with it the hidden layer into
    saturation, out of which some networks never come.

    Args:
        net: a fold's network; its last linear layer gives the logit.
        base_rate: share of ones in the training data, above 0 and below 1.
    """
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.fill_(math.log(base_rate / (1 - base_rate)))


class SmallFilterCNN(nn.Module):
    """One fold of a filter for small pictures: strided convolutions on a crop. It has no dropout.

    Args:
        box: what it sees: top, bottom, left and right edge in 32nds of the picture's side.
        resolution: side of the square images in pixels, 32 or more.
        width: the i-th convolution has i x width channels, at most 4 x width.

    Raises:
        ValueError: for a box, resolution or width out of range.
    """

    def __init__(self, box: Sequence[int] = WHOLE, resolution: int = 64, width: int = 8) -> None:
        super().__init__()
        if width < 1 or resolution < 32:
            raise ValueError(f"width is {width}, resolution {resolution}; expected 1 or more, 32 or more")
        top, bottom, left, right = checked_box(box, "box")
        side = min(bottom - top, right - left) * resolution // 32
        num_convs = 1
        while side > MAX_MAP << num_convs:
            num_convs += 1
        channels = tuple(width * min(i, 4) for i in range(1, num_convs + 1))
        self.cnn = SmallCropCNN(SmallSpec((top, bottom, left, right)), channels, 2 * width, num_outputs=1)
        self.resolution = resolution
        self.config: dict[str, Any] = {"box": [top, bottom, left, right], "resolution": resolution, "width": width}

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to logits ``[B]``."""
        check_images(images, self.resolution)
        return self.cnn(channels_last(images)).squeeze(1)


class ReferenceFilterCNN(FilterCNN):
    """The reference's network with the interface of a fold: same tensors, images in [-1, 1], logits.

    Args:
        name: ``"gender"``, ``"quality"``, ``"age"`` or ``"glass"``.
    """

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, 256, 256]`` images in **[-1, 1]** to logits ``[B]``."""
        check_images(images, self.resolution)
        return self.fc_final.get_submodule("0")(self.features(images / 2 + 0.5)).squeeze(1)


CLASSES: dict[str, type[nn.Module]] = {
    f"{cls.__module__}.{cls.__qualname__}": cls
    for cls in (SmallFilterCNN, ReferenceFilterCNN, PhotoFilterCNN, TextureFilterCNN)
}


class FilterEnsemble(nn.Module):
    """The mean probability of several folds' networks.

    Args:
        net: how a fold's network is built: ``{"class": name, "config": arguments}``, as in checkpoints.
        num_folds: number of networks, at least 1.
        name: the attribute, without dots.

    Attributes:
        resolution: side of the square images, in pixels.
        config: the constructor's arguments, plain data.

    Raises:
        ValueError: for another class than `CLASSES`, no folds, or a name with a dot.
    """

    def __init__(self, net: Mapping[str, Any], num_folds: int, name: str) -> None:
        super().__init__()
        if net["class"] not in CLASSES:
            raise ValueError(f"net names the class {net['class']!r}, expected one of {', '.join(CLASSES)}")
        if num_folds < 1:
            raise ValueError(f"num_folds is {num_folds}, expected at least 1")
        if not name or "." in name:
            raise ValueError(f"a filter's name is {name!r}, expected a name without dots: rename the attribute")
        arguments = dict(net["config"])
        self.folds = nn.ModuleList(CLASSES[net["class"]](**arguments) for _ in range(num_folds))
        self.resolution = int(self.folds[0].resolution)  # type: ignore[arg-type]
        self.name = name
        self.config: dict[str, Any] = {
            "net": {"class": net["class"], "config": arguments},
            "num_folds": num_folds,
            "name": name,
        }

    @classmethod
    def of(cls, nets: Sequence[nn.Module], name: str) -> "FilterEnsemble":
        """The ensemble of trained folds, copies of their weights, in eval mode."""
        described = {"class": f"{type(nets[0]).__module__}.{type(nets[0]).__qualname__}", "config": nets[0].config}
        ensemble = cls(described, len(nets), name)
        for own, net in zip(ensemble.folds, nets, strict=True):
            own.load_state_dict(net.state_dict())
        return ensemble.eval()

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to probabilities ``[B]``."""
        return torch.stack([fold(images).float().sigmoid() for fold in self.folds]).mean(dim=0)
