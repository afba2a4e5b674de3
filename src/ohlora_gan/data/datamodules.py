"""Lightning data modules; batches are (images float32 [N, 3, R, R] in [-1, 1], scores float32 [N, A])."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Sampler

from ohlora_gan import rng
from ohlora_gan.data.datasets import FacesDataset, matching_indices
from ohlora_gan.names import PROPERTIES
from ohlora_gan.world.versions import LATEST, SHIPPED, open_world

# --- Batches in an order that a resumed run continues exactly ---


class EpochSampler(Sampler[int]):
    """A fresh permutation an epoch, dealt out to processes sample by sample; every rank gets the same number."""

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1, shuffle: bool = True):
        self.length, self.seed, self.rank, self.world_size, self.shuffle = length, seed, rank, world_size, shuffle
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch; another epoch than before starts at its beginning."""
        if epoch != self.epoch:
            self.epoch, self.skip = epoch, 0

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            order = rng.stream(self.seed, "data/order", self.epoch).permutation(self.length)
        else:
            order = np.arange(self.length)
        mine = order[self.rank :: self.world_size][: len(self)]
        skip, self.skip = self.skip, 0
        yield from mine[skip:].tolist()


class ResumableLoader(DataLoader):
    """A DataLoader that knows, and can be told, where in its epoch it is (Lightning keeps this in checkpoints)."""

    sampler: EpochSampler

    def __init__(self, dataset: Dataset, batch_size: int, sampler: EpochSampler, **options: Any):
        assert isinstance(dataset, Sized)
        if len(sampler) < batch_size:
            raise ValueError(
                f"the data set has {len(sampler)} images a process, fewer than one batch of {batch_size}: "
                f"add images or lower data.batch_size"
            )
        super().__init__(dataset, batch_size=batch_size, sampler=sampler, drop_last=True, **options)
        self._batches = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._batches = self.sampler.skip // self.batch_size if self.batch_size else 0
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "batches": self._batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.set_epoch(state["epoch"])
        self.sampler.skip = state["batches"] * int(self.batch_size or 1)


class DealingDataModule(pl.LightningDataModule):
    """A data module that deals its data sets out to processes.

    Attributes:
        batch_size: images a batch and process.
        num_workers: worker processes.
        seed: seed of the order.
        world: version of the embedded world that the pictures are of; None: of none, or it is not known.
    """

    world: int | None = None
    batch_size: int
    num_workers: int
    seed: int

    def deal(self, dataset: Dataset, shuffle: bool = False) -> ResumableLoader:
        """This process's share of a data set; without a trainer all of it."""
        return ResumableLoader(dataset, self.batch_size, self.sampler(dataset, shuffle), num_workers=self.num_workers)

    def sampler(self, dataset: Dataset, shuffle: bool = False) -> EpochSampler:
        """The items of this process."""
        assert isinstance(dataset, Sized)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return EpochSampler(len(dataset), self.seed, rank, world, shuffle)


# --- Rendered faces ---


SPLIT_STARTS = {"train": 0, "val": 10_000_000, "test": 20_000_000}


class FacesDataModule(DealingDataModule):
    """The embedded world: rendered faces with known attributes.

    Args:
        resolution: image size, 32 to 512.
        num_images, num_val, num_test: sizes of the splits, which share no face.
        batch_size: images a batch and process.
        keep: attribute values that training faces must have, e.g. ``{gender: 1, quality: 1}``; validation and
            test faces are kept by the same rule.
        thin: training faces near an attribute's mean of which only a share stays, see ``datasets.matching_indices``.
        num_workers: worker processes; 0 renders in the training process, where rendered faces are kept.
        seed: seed of the faces and of their order.
        attributes: what is scored: properties and others such as ``lips`` with mean 0 and standard deviation 1,
            ``gender``, ``age``, ``glass`` and ``quality`` as 0 or 1. None: the eight properties.
        world: version of the embedded world.

    Raises:
        ValueError: for a version that there is not, or an attribute that its faces do not have.
    """

    labelled = True

    def __init__(
        self,
        resolution: int = 64,
        num_images: int = 20_000,
        num_val: int = 1_000,
        num_test: int = 2_000,
        batch_size: int = 32,
        keep: Mapping[str, float] | None = None,
        num_workers: int = 0,
        seed: int = 0,
        attributes: Sequence[str] | None = None,
        thin: Mapping[str, float] | None = None,
        world: int = SHIPPED,
    ):
        super().__init__()
        self.faces, self.world = open_world(world), world
        known = self.faces.attributes
        self.attribute_names = PROPERTIES if attributes is None else tuple(attributes)
        unknown = [name for name in self.attribute_names if name not in known]
        if unknown and world != LATEST and set(unknown) <= set(open_world(LATEST).attributes):
            raise ValueError(
                f"data.attributes has {', '.join(unknown)}, which faces of world {world} do not have: give "
                f"data.world={LATEST}, or leave them out"
            )
        if unknown or not self.attribute_names or len(set(self.attribute_names)) < len(self.attribute_names):
            raise ValueError(
                f"data.attributes={list(self.attribute_names)}, expected different ones of {', '.join(known)}"
            )
        self.resolution, self.batch_size, self.num_workers, self.seed = resolution, batch_size, num_workers, seed
        self.sizes = {"train": num_images, "val": num_val, "test": num_test}
        self.keep, self.thin = dict(keep or {}), dict(thin or {})
        self._datasets: dict[str, FacesDataset] = {}

    def dataset(self, split: str) -> FacesDataset:
        """The data set of ``train``, ``val`` or ``test``, made at first use."""
        if split not in self._datasets:
            thin, start, world = self.thin if split == "train" else {}, SPLIT_STARTS[split], self.faces.version
            indices = matching_indices(self.seed, start, self.sizes[split], self.keep, thin, world)
            self._datasets[split] = FacesDataset(self.seed, indices, self.resolution, self.attribute_names, world)
        return self._datasets[split]

    def train_dataloader(self) -> ResumableLoader:
        return self.deal(self.dataset("train"), shuffle=True)

    def val_dataloader(self) -> ResumableLoader:
        return self.deal(self.dataset("val"))

    def test_dataloader(self) -> ResumableLoader:
        return self.deal(self.dataset("test"))
