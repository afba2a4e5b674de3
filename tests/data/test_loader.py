"""The loader's order depends on (seed, epoch) alone, ranks share nothing, and a resumed epoch goes on exactly."""

import pytest
import torch
from torch.utils.data import TensorDataset

from ohlora_gan.data.datamodules import EpochSampler, ResumableLoader


def loader(num=20, batch=4, seed=0, **options):
    return ResumableLoader(TensorDataset(torch.arange(num)), batch, EpochSampler(num, seed), **options)


def order(source):
    return [batch[0].tolist() for batch in source]


def test_an_epoch_is_a_permutation_of_seed_and_epoch():
    sampler = EpochSampler(20, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(20))
    assert list(EpochSampler(20, seed=3)) == first
    assert list(EpochSampler(20, seed=4)) != first
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(second) == list(range(20))
    assert second != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_without_shuffling_the_order_is_that_of_the_data():
    assert list(EpochSampler(5, seed=3, shuffle=False)) == [0, 1, 2, 3, 4]


def test_ranks_share_out_the_epoch():
    whole = list(EpochSampler(11, seed=3))
    parts = [list(EpochSampler(11, 3, rank, 3)) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3] == [len(EpochSampler(11, 3, rank, 3)) for rank in range(3)]
    assert sorted(parts[0] + parts[1] + parts[2]) == sorted(whole[:9])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_epoch_goes_on_where_it_was(workers):
    whole = order(loader())
    interrupted = loader(num_workers=workers)
    batches = iter(interrupted)
    begun = [next(batches)[0].tolist() for _ in range(2)]
    resumed = loader(num_workers=workers)
    resumed.load_state_dict(interrupted.state_dict())
    resumed.sampler.set_epoch(0)  # as Lightning does
    assert begun + order(resumed) == whole
    assert resumed.state_dict() == {"epoch": 0, "batches": 5}


def test_only_the_resumed_epoch_is_cut():
    resumed = loader()
    resumed.load_state_dict({"epoch": 2, "batches": 3})
    resumed.sampler.set_epoch(2)
    assert len(order(resumed)) == 2
    resumed.sampler.set_epoch(3)
    assert len(order(resumed)) == 5


@pytest.mark.parametrize("batches", [3, 5])  # an epoch that limit_train_batches cut, and a whole one
def test_a_finished_epoch_leaves_the_next_whole(batches):
    resumed = loader()
    resumed.load_state_dict({"epoch": 2, "batches": batches})
    resumed.sampler.set_epoch(3)  # Lightning knows that the epoch was over
    fresh = loader()
    fresh.sampler.set_epoch(3)
    assert order(resumed) == order(fresh)


def test_fewer_images_than_a_batch():
    with pytest.raises(ValueError, match=r"3 images a process.*lower data.batch_size"):
        loader(num=3)
