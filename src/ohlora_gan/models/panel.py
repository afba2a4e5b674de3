"""Several scoring networks seen as one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


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
