"""Several networks that score the same attributes, as one: the mean of what they say.

Networks trained apart err each in its own way: their mean errs less, and an edit along its gradient deceives it less
(Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", NIPS 2017).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ohlora_gan.models.attribute_cnn import AttributeCNN
from ohlora_gan.models.attribute_nets import MergedPropertyCNN, SmallPropertyCNN
from ohlora_gan.models.photo_cnn import PhotoCNN

CLASSES: dict[str, type[nn.Module]] = {
    f"{cls.__module__}.{cls.__qualname__}": cls for cls in (PhotoCNN, AttributeCNN, SmallPropertyCNN, MergedPropertyCNN)
}


class MeanScorer(nn.Module):
    """The mean score of several networks, with the interface of one.

    Args:
        nets: how each network is built: ``{"class": name, "config": arguments}``, as in checkpoints.

    Attributes:
        property_names, resolution, config: as in `attribute_nets.PropertyNet`.
        scale, shift: what brings each network's scores to common units, ``[len(nets), P]``: 1 and 0 unless set.

    Raises:
        ValueError: if there is no network, for another class than `CLASSES`, or for networks that score other
            attributes or take images of other sizes than the first.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, nets: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        if unknown := [net["class"] for net in nets if net["class"] not in CLASSES]:
            raise ValueError(f"nets name the class {unknown[0]}, expected some of {', '.join(CLASSES)}")
        built: list[Any] = [CLASSES[net["class"]](**net["config"]) for net in nets]
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
        mean = cls([{"class": f"{type(n).__module__}.{type(n).__qualname__}", "config": n.config} for n in nets])
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
