"""Filters, networks that say with what probability a picture has a binary attribute; and several networks as one.

Networks of one fold share an interface: images in [-1, 1] to logits ``[B]``. `SmallFilterCNN` is for small pictures,
`scorers.PhotoFilterCNN` for photographs, `TextureFilterCNN` for what shows in their texture, `ReferenceFilterCNN` one
of the reference system's four. The mean probability of all folds, `FilterEnsemble`, decides whether a picture is kept.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError
from ohlora_gan.models.scorers import (
    FILTER_SPECS,
    GRID,
    REFERENCE_RESOLUTION,
    WHOLE,
    CropCNN,
    SmallCropCNN,
    SmallSpec,
    channels_last,
    check_images,
    check_size,
    checked_box,
)
from ohlora_gan.registry import NETWORKS

WIDTHS = (1, 2, 4, 4)  # of the convolutions, in units of width; the side is halved before all but the first
DROPOUT = 0.4
BINOMIAL = (1, 4, 6, 4, 1)
NEIGHBOURHOOD = 4  # pixels to either side over which detail and contrast are averaged
LEAST = 0.003  # of detail, on the scale of images in [-1, 1]: less than a grey level
MAX_MAP = 8  # pixels: convolutions of a small filter halve a crop until its shorter side is no longer


class TextureFilterCNN(nn.Module):
    """One fold of a filter for what shows in fine texture rather than in shapes, blur above all.

    Beside its colours the network is shown the picture's detail: what a Gaussian of five pixels takes away, how much of
    that there is around each pixel, and how much of it against the local contrast (compare Pech-Pacheco et al., ICPR
    2000, "Diatom autofocusing in brightfield microscopy"). The last layer sees mean and deviation of the maps of all
    levels (compare Gatys et al. 2015, "Texture synthesis using convolutional neural networks"), so that what is fine
    need not survive pooling, and the last maps themselves.

    ``resolution`` is 32 or more; the four convolutions have 1, 2, 4 and 4 times ``width`` channels.
    """

    blur: Tensor

    def __init__(self, resolution: int = 64, width: int = 24) -> None:
        super().__init__()
        check_size(width, resolution)
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
        """What the layer ``last`` sees, ``[B, F]``, after dropout."""
        check_images(images, self.resolution)
        maps = channels_last(torch.cat([images, self.detail(images)], dim=1))
        found = []
        for i, level in enumerate(self.levels):
            maps = level(F.max_pool2d(maps, 2) if i else maps)
            found += [maps.mean(dim=(2, 3)), maps.std(dim=(2, 3))]
        found.append(F.adaptive_avg_pool2d(maps, GRID).flatten(1))
        return self.dropout(torch.cat(found, dim=1))

    def forward(self, images: Tensor) -> Tensor:
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


def start_at(net: nn.Module, base_rate: float) -> None:
    """Sets the last bias of a fresh fold so that it says what is known before looking: the share of ones, in (0, 1).

    Without this, where ones are rare, the first steps push every output towards 0, and with it the hidden layer into
    saturation, out of which some networks never come.
    """
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.fill_(math.log(base_rate / (1 - base_rate)))


class SmallFilterCNN(nn.Module):
    """One fold of a filter for small pictures, 32 pixels a side or more: strided convolutions on a crop, no dropout.

    It sees ``box``: top, bottom, left and right edge in 32nds of the picture's side. The i-th convolution has
    i x width channels, at most 4 x width.
    """

    def __init__(self, box: Sequence[int] = WHOLE, resolution: int = 64, width: int = 8) -> None:
        super().__init__()
        check_size(width, resolution)
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
        check_images(images, self.resolution)
        return self.cnn(images).squeeze(1)


class ReferenceFilterCNN(CropCNN):
    """One fold of a filter of the reference system, for 256x256 images: the same tensors and probabilities."""

    def __init__(self, name: str) -> None:
        if name not in FILTER_SPECS:
            raise ValueError(f"no filter is called {name!r}; choose one of {', '.join(FILTER_SPECS)}")
        super().__init__(FILTER_SPECS[name])
        self.fc_final = nn.Sequential(self.fc_final)  # the reference has a sigmoid behind it
        self.resolution = REFERENCE_RESOLUTION
        self.config: dict[str, Any] = {"name": name}

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.resolution)
        return super().forward(images / 2 + 0.5).squeeze(1)


class FilterEnsemble(nn.Module):
    """The mean probability of several folds' networks: images ``[B, 3, R, R]`` in [-1, 1] to ``[B]``.

    ``net`` says how a fold's network is built, ``{"class": name, "config": arguments}`` as in checkpoints; ``name`` is
    the attribute.
    """

    def __init__(self, net: Mapping[str, Any], num_folds: int, name: str) -> None:
        super().__init__()
        if num_folds < 1:
            raise ValueError(f"num_folds is {num_folds}, expected at least 1")
        if not name or "." in name:
            raise ValueError(f"a filter's name is {name!r}, expected a name without dots: rename the attribute")
        self.folds = nn.ModuleList(NETWORKS.make(net) for _ in range(num_folds))
        self.resolution = int(self.folds[0].resolution)  # type: ignore[arg-type]
        self.name = name
        described = {"class": net["class"], "config": dict(net["config"])}
        self.config: dict[str, Any] = {"net": described, "num_folds": num_folds, "name": name}

    @classmethod
    def of(cls, nets: Sequence[nn.Module], name: str) -> "FilterEnsemble":
        """The ensemble of trained folds, copies of their weights, in eval mode."""
        ensemble = cls(NETWORKS.describe(nets[0]), len(nets), name)
        for own, net in zip(ensemble.folds, nets, strict=True):
            own.load_state_dict(net.state_dict())
        return ensemble.eval()

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([fold(images).float().sigmoid() for fold in self.folds]).mean(dim=0)


class Panel(nn.Module):
    """Puts what several networks say of images [N, 3, R, R] in [-1, 1] side by side, in float32.

    Args:
        networks: by name, to [N], a column of that name (a filter ensemble), or to [N, P], columns named by the
            network's ``property_names`` (a property network).
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        sizes: dict[str, Any] = {name: network.resolution for name, network in networks.items() if network.resolution}
        if len(set(sizes.values())) > 1 or not networks:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
            raise ValueError(f"scoring networks take images of one size in pixels, got {listed}: give others")
        self.networks = nn.ModuleList(networks.values())
        self.resolution: int | None = next(iter(sizes.values()), None)  # None: any
        columns: list[str] = []
        for name, network in networks.items():
            columns += getattr(network, "property_names", (name,))
        self.property_names = tuple(columns)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([network(images).float().reshape(len(images), -1) for network in self.networks], dim=1)


class MeanScorer(nn.Module):
    """The mean score of several networks of the same attributes and resolution, with the interface of one.

    ``nets`` says how each network is built, as in checkpoints. ``scale`` and ``shift``, ``[len(nets), P]``, bring each
    network's scores to common units: 1 and 0 unless set.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, nets: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        built: list[Any] = [NETWORKS.make(net) for net in nets]
        kinds = list(dict.fromkeys(f"{', '.join(net.property_names)} at {net.resolution} pixels" for net in built))
        if len(kinds) != 1:
            raise ValueError(f"nets score {' and '.join(kinds) or 'nothing'}: expected the same of all, in one order")
        self.nets = nn.ModuleList(built)
        self.property_names: tuple[str, ...] = built[0].property_names
        self.resolution: int = built[0].resolution
        described = [{"class": str(net["class"]), "config": dict(net["config"])} for net in nets]
        self.config: dict[str, Any] = {"nets": described}
        self.register_buffer("scale", torch.ones(len(built), len(self.property_names)))
        self.register_buffer("shift", torch.zeros(len(built), len(self.property_names)))

    @classmethod
    def of(cls, nets: Sequence[nn.Module], scale: Tensor | None = None, shift: Tensor | None = None) -> "MeanScorer":
        """The mean of trained networks, copies of their weights, in eval mode."""
        mean = cls([NETWORKS.describe(net) for net in nets])
        for own, net in zip(mean.nets, nets, strict=True):
            own.load_state_dict(net.state_dict())
        with torch.no_grad():
            mean.scale.copy_(mean.scale if scale is None else scale)
            mean.shift.copy_(mean.shift if shift is None else shift)
        return mean.eval()

    def features(self, images: Tensor) -> Tensor:
        """The activations ``[B, F]`` of all networks side by side."""
        return torch.cat([net.features(images) for net in self.nets], dim=1)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Tensor:
        scores = torch.stack([net(images).float() for net in self.nets], dim=1)
        return (scores * self.scale + self.shift).mean(dim=1)


def mean_of(opened: Sequence[Checkpoint]) -> MeanScorer:
    """The mean of property networks of the same attributes, two or more.

    Scores are in the units of the first: where the files say by which mean and deviation their scores were
    normalised, the others' are converted; ValueError where only some of them say so.
    """
    if len(opened) < 2:
        raise ValueError(f"{len(opened)} scorer is given, expected two or more to take the mean of")
    nets = [weights.build("scorer") for weights in opened]
    mean = MeanScorer.of(nets)
    units = [statistics(weights, mean.property_names) for weights in opened]
    known = [found for found in units if found is not None]
    if not known:
        return mean
    if silent := [weights.source for weights, found in zip(opened, units, strict=True) if found is None]:
        raise CheckpointError(
            f"{silent[0]} does not say by what its scores were normalised, but others do: give scorers that were "
            f"trained on one kind of data"
        )
    means, stds = torch.stack(known, dim=1)
    return MeanScorer.of(nets, scale=stds / stds[0], shift=(means - means[0]) / stds[0])


def statistics(weights: Checkpoint, names: Sequence[str]) -> Tensor | None:
    """Mean and deviation ``[2, len(names)]`` by which a scorer's attributes were normalised; 0 and 1 of binary ones."""
    found: dict[str, Any] = (weights.info.get("data") or {}).get("normalization") or {}
    if not found.get("std"):
        return None
    return torch.tensor([[found["mean"].get(n, 0.0) for n in names], [found["std"].get(n, 1.0) for n in names]])
