"""Several scoring networks seen as one."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError
from ohlora_gan.registry import NETWORKS


class Panel(nn.Module):
    """Puts what several networks say of an image side by side.

    Args:
        networks: name -> images [N, 3, R, R] in [-1, 1] to [N], a column of that name (a filter ensemble), or to
            [N, P], columns named by the network's ``property_names`` (a property network).

    Attributes:
        property_names: the columns.
        resolution: side of the square images, in pixels.

    Raises:
        ValueError: if there is no network, or if networks take images of different sizes.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        sizes: dict[str, Any] = {name: network.resolution for name, network in networks.items()}
        if len(set(sizes.values())) != 1:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
            raise ValueError(f"scoring networks take images of one size in pixels, got {listed}: give others")
        self.networks = nn.ModuleList(networks.values())
        self.resolution: int = next(iter(sizes.values()))
        self.property_names: tuple[str, ...] = sum((columns(*item) for item in networks.items()), ())

    def forward(self, images: Tensor) -> Tensor:
        """``[N, 3, R, R]`` images in [-1, 1] to float32 ``[N, len(property_names)]``."""
        return torch.cat([network(images).float().reshape(len(images), -1) for network in self.networks], dim=1)


def columns(name: str, network: nn.Module) -> tuple[str, ...]:
    names: Any = getattr(network, "property_names", (name,))
    return tuple(names)


# --- The mean of what several networks say ---


class MeanScorer(nn.Module):
    """The mean score of several networks, with the interface of one.

    Args:
        nets: how each network is built: ``{"class": name, "config": arguments}``, as in checkpoints.

    Attributes:
        property_names, resolution, config: as in `scorers.PropertyNet`.
        scale, shift: what brings each network's scores to common units, ``[len(nets), P]``: 1 and 0 unless set.

    Raises:
        ValueError: if there is no network, for a class that is not known (see `registry`), or for networks that score
            other attributes or take images of other sizes than the first.
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
        self.config: dict[str, Any] = {
            "nets": [{"class": str(net["class"]), "config": dict(net["config"])} for net in nets]
        }
        self.register_buffer("scale", torch.ones(len(built), len(self.property_names)))
        self.register_buffer("shift", torch.zeros(len(built), len(self.property_names)))

    @classmethod
    def of(cls, nets: Sequence[nn.Module], scale: Tensor | None = None, shift: Tensor | None = None) -> "MeanScorer":
        """The mean of trained networks, copies of their weights, in eval mode.

        Args:
            nets: the networks.
            scale, shift: ``[len(nets), P]``: a network's score times scale plus shift is in common units. None: they
                all are already.
        """
        mean = cls([NETWORKS.describe(net) for net in nets])
        for own, net in zip(mean.nets, nets, strict=True):
            own.load_state_dict(net.state_dict())
        with torch.no_grad():
            mean.scale.copy_(mean.scale if scale is None else scale)
            mean.shift.copy_(mean.shift if shift is None else shift)
        return mean.eval()

    def features(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to the activations of all networks side by side, ``[B, F]``."""
        return torch.cat([net.features(images) for net in self.nets], dim=1)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, R, R]`` images in [-1, 1] to scores ``[B, P]`` in the order of ``property_names``."""
        scores = torch.stack([net(images).float() for net in self.nets], dim=1)
        return (scores * self.scale + self.shift).mean(dim=1)


def mean_of(opened: Sequence[Checkpoint]) -> MeanScorer:
    """The mean of property networks of the same attributes.

    Scores are in the units of the first: where the files say by which mean and deviation their scores were
    normalised, the others' are converted.

    Raises:
        ValueError: for fewer than two, or for networks that score different attributes.
    """
    if len(opened) < 2:
        raise ValueError(f"{len(opened)} scorer is given, expected two or more to take the mean of")
    nets = [weights.build("scorer") for weights in opened]
    names = MeanScorer.of(nets).property_names  # what is wrong with them shows here
    return MeanScorer.of(nets, *to_first_units(opened, names))


def to_first_units(opened: Sequence[Checkpoint], names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[len(opened), len(names)]`` by which scores come into the units of the first.

    Raises:
        CheckpointError: if some of them say what their units are, and others do not.
    """
    units = [statistics(weights, names) for weights in opened]
    if all(found is None for found in units):
        return torch.ones(len(units), len(names)), torch.zeros(len(units), len(names))
    if silent := [weights.source for weights, found in zip(opened, units, strict=True) if found is None]:
        raise CheckpointError(
            f"{silent[0]} does not say by what its scores were normalised, but others do: give scorers that were "
            f"trained on one kind of data"
        )
    mean, std = torch.stack([found for found in units if found is not None], dim=1)
    return std / std[0], (mean - mean[0]) / std[0]


def statistics(weights: Checkpoint, names: Sequence[str]) -> Tensor | None:
    """Mean and deviation ``[2, len(names)]`` by which a scorer's attributes were normalised; 0 and 1 of binary ones."""
    found: dict[str, Any] = (weights.info.get("data") or {}).get("normalization") or {}
    if not found.get("std"):
        return None
    return torch.tensor([[found["mean"].get(n, 0.0) for n in names], [found["std"].get(n, 1.0) for n in names]])
