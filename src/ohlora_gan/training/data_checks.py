"""Whether a model can learn from a set of data: what it takes for scores must be what the data's scores are."""

from typing import Protocol

import numpy as np
import pytorch_lightning as pl

from ohlora_gan.data.datasets import ScoredDataset
from ohlora_gan.training.gan_module import GanModule
from ohlora_gan.training.regressor_module import RegressorModule


class ScoredData(Protocol):
    """What every data module of this package is."""

    attribute_names: tuple[str, ...]

    def dataset(self, split: str) -> ScoredDataset: ...


def check_data(model: str, module: pl.LightningModule, data: ScoredData) -> None:
    """Raises ValueError, with the remedy, if a module cannot learn from the data's scores.

    Args:
        model: what the module is called.
        module: a regressor, or a GAN, of which some are conditional on scores.
        data: the data module.
    """
    if isinstance(module, RegressorModule):
        check_regression(model, module.property_names, module.binary_names, data)
    elif isinstance(module, GanModule) and module.hp.label_source == "data":
        names, dim = data.attribute_names, module.generator.label_dim
        if len(names) < dim:
            raise ValueError(
                f"model={model} takes the first {dim} scores of a picture for its label, but the data have "
                f"{len(names)} ({', '.join(names)}): name {dim} in data.attributes, or lower "
                f"model.module.generator.label_dim"
            )


def check_regression(model: str, outputs: list[str], logits: list[str], data: ScoredData) -> None:
    """The scores must be the network's outputs, in their order, and yes or no where these are logits, only there."""
    names = list(data.attribute_names)
    if names != outputs:
        raise ValueError(
            f"model={model} scores {', '.join(outputs)}, but the data have {', '.join(names)}: "
            f"use model=attribute_cnn, which learns any attributes"
        )
    scores = data.dataset("train").scores
    binary = [name for name, column in zip(names, scores.T, strict=True) if np.isin(column, (0, 1)).all()]
    if wrong := [name for name in binary if name not in logits]:
        raise ValueError(
            f"{wrong[0]} is binary, which model={model} cannot learn: use model=filter_cnn attribute={wrong[0]}"
        )
    if wrong := [name for name in logits if name not in binary]:
        raise ValueError(
            f"{wrong[0]} has other values than 0 and 1, but model={model} takes it for yes or no: "
            f"leave it out of model.module.net.binary"
        )
