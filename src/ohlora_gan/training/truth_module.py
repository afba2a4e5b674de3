"""Training of a network that reads everything about a face, off pictures that are drawn badly, too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ohlora_gan.models.truth_net import TruthNet
from ohlora_gan.training.augmentation import roughen
from ohlora_gan.training.scorers import RegressorModule


class TruthModule(RegressorModule):
    """A `RegressorModule` whose training images are drawn worse, see `roughen`, before they are changed lightly.

    Args:
        net: the network.
        roughness: strength of the bad drawing; 0 is none.
        color_names: attributes that a change of brightness or contrast changes; all others it leaves alone.
        settings: those of `RegressorModule`: ``lr``, ``weight_decay``, ``warmup``, ``augmentation``, ``seed``,
            ``property_names``.

    Raises:
        ValueError: for a color that is no attribute, or a negative roughness.
    """

    def __init__(self, net: TruthNet, roughness: float = 1.0, color_names: Sequence[str] = (), **settings: Any) -> None:
        color_names = list(color_names)  # plain data, whatever Hydra passes
        super().__init__(net, **settings)  # type: ignore[arg-type]
        if roughness < 0:
            raise ValueError(f"roughness is {roughness}, expected 0 (none) or more")
        if unknown := [name for name in color_names if name not in self.property_names]:
            raise ValueError(
                f"color_names has {unknown[0]!r}, expected some of {', '.join(self.property_names)}: "
                f"give model.module.color_names=[...]"
            )
        self.is_color.copy_(torch.tensor([name in color_names for name in self.property_names]))

    def change(self, images: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        return super().change(roughen(images, self.hparams["roughness"], draws), draws)
