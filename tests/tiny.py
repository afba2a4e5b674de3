"""Tiny networks that tests share: 32x32 images, z and w of 16 values."""

import numpy as np
import torch

from ohlora_gan.models.filters import FilterEnsemble
from ohlora_gan.models.gan import Discriminator, Generator
from ohlora_gan.models.scorers import SmallPropertyCNN
from ohlora_gan.names import PROPERTIES
from ohlora_gan.world.face import standardized

FMAPS = [8, 8, 8, 8]


def generator(label_dim: int = 7, split: bool = True, seed: int = 0, **changes) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = {"resolution": 32, "z_dim": 16, "w_dim": 16, "mapping_dim": 16, "fmaps": FMAPS} | changes
        return Generator(label_dim=label_dim, split_mapping=split, **options)


def discriminator(label_dim: int = 7, seed: int = 1, **changes) -> Discriminator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Discriminator(label_dim=label_dim, **({"resolution": 32, "fmaps": FMAPS} | changes))


def scorer(seed: int = 2) -> SmallPropertyCNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallPropertyCNN(width=4, resolution=32)


def filter_ensemble(name: str, seed: int = 3) -> FilterEnsemble:
    net = {"class": "ohlora_gan.models.filters.SmallFilterCNN", "config": {"resolution": 32, "width": 4}}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FilterEnsemble(net, num_folds=2, name=name)


def true_scores(attributes) -> np.ndarray:
    """The eight properties of a rendered face, of mean 0 and standard deviation 1, float32."""
    return np.array([standardized(name, getattr(attributes, name)) for name in PROPERTIES], dtype=np.float32)
