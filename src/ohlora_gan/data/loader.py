"""Batches in an order that depends on (seed, epoch) alone, and that a resumed run continues exactly."""

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Sampler

from ohlora_gan import seeding


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
            order = seeding.generator(self.seed, "data/order", self.epoch).permutation(self.length)
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
