import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import MappingSplit1, W
from ohlora_gan.latents.space import FaceSpace
from tests import tiny


def space(batch_size=32, seed=0, generator_seed=0):
    return FaceSpace(tiny.generator(seed=generator_seed), tiny.scorer(), batch_size=batch_size, seed=seed)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return ScoreBank(tmp_path_factory.mktemp("bank"), space()).scores(600)


@pytest.mark.parametrize("batch_size", [1, 7, 250, 1000])
def test_a_sample_does_not_depend_on_the_batch_size(tmp_path, scores, batch_size):
    n = 60 if batch_size == 1 else 300
    got = ScoreBank(tmp_path, space(batch_size)).scores(n)
    assert np.abs(got - scores[:n]).max() < 1e-5
    assert scores.std(axis=0).min() > 1e-3


def test_a_small_bank_is_the_beginning_of_a_large_one(tmp_path, scores):
    bank = ScoreBank(tmp_path, space())
    small = bank.scores(10)
    made = []
    bank.make_shard = lambda start, make=bank.make_shard: made.append(start) or make(start)  # type: ignore[method-assign]
    large = bank.scores(600)
    assert made == [ScoreBank.shard, 2 * ScoreBank.shard]
    assert np.array_equal(large[:10], small)
    assert np.abs(large - scores).max() < 1e-5


def test_a_bank_that_was_cut_off_goes_on(tmp_path, scores):
    bank = ScoreBank(tmp_path, space())
    make, calls = bank.make_shard, []

    def interrupted(start):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(start)
        return make(start)

    bank.make_shard = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bank.scores(600)
    again = ScoreBank(tmp_path, space())
    assert again.num_stored() == ScoreBank.shard
    assert np.abs(again.scores(600) - scores).max() < 1e-5


def sample(folder, number, together, role="whole"):
    """In a process of its own: samples, and notes which files it has made.

    ``lost``: it is killed while it makes its second file; ``added``: it begins when there is a file.
    """
    torch.set_num_threads(1)
    bank = ScoreBank(folder, space(batch_size=32 + number))
    make, made = bank.make_shard, folder / f"made_{number}.txt"

    def noted(start):
        time.sleep(0.2)  # so that all have a share
        if role == "lost" and made.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        scores = make(start)
        with made.open("a") as file:
            file.write(f"{start}\n")
        return scores

    bank.make_shard = noted  # type: ignore[method-assign]
    together.wait(120)
    while role == "added" and not bank.num_stored():
        time.sleep(0.01)
    bank.scores(NUM_SHARED)


NUM_SHARED = 12 * ScoreBank.shard


@pytest.mark.slow
@pytest.mark.parametrize("roles", [["whole"] * 2, ["whole"] * 3, ["whole", "lost", "added"]], ids=" ".join)
def test_processes_share_the_work(tmp_path, roles):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(len(roles))
    processes = [
        context.Process(target=sample, args=(tmp_path, number, together, role)) for number, role in enumerate(roles)
    ]
    for process in processes:
        process.start()
    for process, role in zip(processes, roles, strict=True):
        process.join(240)
        assert process.exitcode == (-signal.SIGKILL if role == "lost" else 0)
    made = [(tmp_path / f"made_{number}.txt").read_text().split() for number in range(len(roles))]
    assert sorted(int(start) for starts in made for start in starts) == list(
        range(0, NUM_SHARED, ScoreBank.shard)
    )  # nothing twice, nothing missing
    assert all(made)
    one = ScoreBank(tmp_path / "one", space())
    scores = one.scores(NUM_SHARED)
    shared = ScoreBank(tmp_path, space())
    assert sorted(path.name for path in shared.folder.iterdir()) == sorted(path.name for path in one.folder.iterdir())
    assert (shared.folder / "bank.json").read_bytes() == (one.folder / "bank.json").read_bytes()
    assert np.abs(shared.scores(NUM_SHARED) - scores).max() < 1e-5


def hold(bank, holds):
    with bank.held(bank.scores_path(0)):
        holds.set()
        time.sleep(600)


def test_what_a_killed_process_was_making_is_taken_over(tmp_path, scores):
    context = multiprocessing.get_context("fork")
    bank, holds, made = ScoreBank(tmp_path, space()), context.Event(), []
    bank.folder.mkdir()
    other = context.Process(target=hold, args=(bank, holds))
    other.start()
    assert holds.wait(60)

    def kill_and_make(start, make=bank.make_shard):
        if start == 2 * ScoreBank.shard:
            other.kill()
        made.append(start)
        return make(start)

    bank.make_shard = kill_and_make  # type: ignore[method-assign]
    assert np.abs(bank.scores(600) - scores).max() < 1e-5
    assert made == [250, 500, 0]
    other.join(60)
    assert not list(bank.folder.glob("*.lock"))


def flip(path):
    """Turns the lowest bit of a number round."""
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def put_a_folder(path):
    path.unlink()
    (path / "inner").mkdir(parents=True)


def fill(path):
    """Other numbers, well written."""
    ((name, array),) = load_file(path).items()
    save_file({name: np.full_like(array, 7.0)}, path)


DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "a flipped bit": flip,
    "constant": fill,
    "a folder": put_a_folder,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_and_made_again(tmp_path, scores, caplog, damage):
    bank = ScoreBank(tmp_path, space())
    bank.scores(300)
    metric = bank.cached("metric", W(), {}, lambda: np.ones((40, 40)))
    (path,) = bank.folder.glob("metric_*")
    assert not caplog.records
    for file in (bank.scores_path(0), path):
        damage(file)
    again, made = ScoreBank(tmp_path, space()), []
    assert np.abs(again.scores(300) - scores[:300]).max() < 1e-5
    assert np.array_equal(again.cached("metric", W(), {}, lambda: made.append(1) or np.ones((40, 40))), metric)
    assert made
    for file in (bank.scores_path(0), path):
        assert f"{file} is damaged (" in caplog.text
    caplog.clear()
    assert np.abs(ScoreBank(tmp_path, space()).scores(300) - scores[:300]).max() < 1e-5
    assert not caplog.records


def test_other_weights_seeds_or_precisions_have_their_own_bank(tmp_path):
    banks = [ScoreBank(tmp_path, s).folder for s in (space(), space(seed=1), space(generator_seed=7))]
    assert len(set(banks)) == 3
    assert ScoreBank(tmp_path, space(batch_size=5)).folder == banks[0]


def test_codes_belong_to_the_scores(tmp_path):
    bank = ScoreBank(tmp_path, space())
    scores = bank.scores(20)
    for layer in (W(), MappingSplit1()):
        again = bank.space.score_codes(layer, bank.codes(layer, 20))
        assert np.abs(again - scores).max() < 1e-4


def test_n_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="n is 0"):
        ScoreBank(tmp_path, space()).scores(0)
