"""Which networks a file of weights may name: ours, and those that an installed package offers. Nothing else is made."""

import importlib
from importlib.metadata import entry_points

from torch import nn

NETWORKS = {
    "Generator": "generator",
    "Discriminator": "discriminator",
    "MergedPropertyCNN": "scorers",
    "SmallPropertyCNN": "scorers",
    "AttributeCNN": "scorers",
    "PhotoCNN": "scorers",
    "MeanScorer": "combined",
    "TruthNet": "truth_net",
    "SmallFilterCNN": "filters",
    "ReferenceFilterCNN": "filters",
    "PhotoFilterCNN": "scorers",
    "TextureFilterCNN": "filters",
    "FilterEnsemble": "filters",
}
"""Class -> its module in ``ohlora_gan.models``. Files name the class alone, or with the module where it once was."""

GROUP = "ohlora_gan.networks"
"""Entry points of other packages' networks: ``NAME = "package.module:Class"``; files say ``package.module.Class``."""


def network_class(name: str) -> type[nn.Module]:
    """The class that a file names.

    Raises:
        ValueError: for one that is neither ours nor an installed package's.
    """
    module, _, own = name.rpartition(".")
    if own in NETWORKS and module.partition(".")[0] in ("", "ohlora_gan"):
        return getattr(importlib.import_module(f"ohlora_gan.models.{NETWORKS[own]}"), own)
    offered = {point.value.replace(":", "."): point for point in entry_points(group=GROUP)}
    if name in offered:
        return offered[name].load()
    raise ValueError(
        f"the class {name!r} is not known, expected one of {', '.join((*NETWORKS, *offered))}: install the package "
        f"that offers it (entry point {GROUP})"
    )


def class_name(network: nn.Module) -> str:
    """What a file calls a network's class."""
    cls = type(network)
    return cls.__qualname__ if cls.__module__.startswith("ohlora_gan.") else f"{cls.__module__}.{cls.__qualname__}"
