"""Map-style data sets: item i is (image uint8 [H, W, 3], scores float32 [8])."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ohlora_gan.data import faces


def matching_indices(seed: int, start: int, num: int, keep: Mapping[str, float]) -> list[int]:
    """The first ``num`` face numbers from ``start`` on whose attributes equal ``keep``, e.g. ``{"gender": 1}``.

    Raises:
        ValueError: for an attribute that faces do not have, or a value that none of 10,000 faces takes.
    """
    found: list[int] = []
    index = start
    while len(found) < num:
        attributes = faces.sample_attributes(seed, index)
        for name in keep:
            if not hasattr(attributes, name):
                raise ValueError(f"data.keep names {name!r}, expected an attribute of the embedded faces")
        if all(getattr(attributes, name) == value for name, value in keep.items()):
            found.append(index)
        index += 1
        if index - start >= 10_000 and not found:
            raise ValueError(f"none of 10,000 faces has data.keep={dict(keep)}: loosen it")
    return found


class FacesDataset(Dataset):
    """Rendered faces, a pure function of (seed, number); each is rendered once and kept (12 KB at 64x64).

    Args:
        seed: seed of the embedded world.
        indices: the faces' numbers.
        resolution: image size, 32 to 512.
    """

    def __init__(self, seed: int, indices: list[int], resolution: int):
        self.seed, self.indices, self.resolution = seed, indices, resolution
        self._images = np.zeros((len(indices), resolution, resolution, 3), dtype=np.uint8)
        self._scores = np.zeros((len(indices), 8), dtype=np.float32)
        self._rendered = np.zeros(len(indices), dtype=bool)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        if not self._rendered[i]:
            attributes = faces.sample_attributes(self.seed, self.indices[i])
            self._images[i] = faces.render(attributes, self.resolution)
            self._scores[i] = faces.property_scores(attributes)
            self._rendered[i] = True
        image = torch.from_numpy(self._images[i]).permute(2, 0, 1)
        return image.float() / 127.5 - 1.0, torch.from_numpy(self._scores[i])
