"""A run that was cut off and continued ends as one that was not: to the bit."""

import multiprocessing
import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from ohlora_gan.training.callbacks import LastCheckpoint
from tests.training.tiny_training import Record, fit, gan

pytestmark = pytest.mark.filterwarnings("ignore")

EPOCHS, TOTAL = 3, 9  # three batches an epoch


def module():
    """Everything that has a state: moving average, lazy R1, mixing, alternation that depends on the last g_loss."""
    return gan(ema_images=20.0, r1_interval=2, style_mixing=0.5, label_source="data", d_ratio=2.2, g_ratio=0.45)


def run(folder, ckpt_path=None, **options):
    """Trains; returns what happened batch by batch, and the optimizers' state at the end."""
    record, saver = Record(), LastCheckpoint(folder, every_n_train_steps=1)
    torch.manual_seed(1 if ckpt_path else 2)  # what the global generator holds must not matter
    trainer = fit(folder, module(), [record, saver], ckpt_path=ckpt_path, **({"max_epochs": EPOCHS} | options))
    return record, [optimizer.state_dict()["state"] for optimizer in trainer.optimizers], trainer


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums may depend on the number of threads, and a forked process should start none."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, one_thread):
    return run(tmp_path_factory.mktemp("whole"))


def losses(*records):
    """Logged figures batch by batch, without the penalty of batches that had none (the last one is shown again)."""
    figures = [dict(figures) for record in records for figures in record.figures]
    for without_penalty in figures[1::2]:
        without_penalty.pop("train/r1_penalty", None)
    return figures


def assert_continues(first, second, whole):
    """Two parts of a run against the whole: data, losses, weights, moving average, optimizers."""
    record, optimizers, trainer = second
    expected, expected_optimizers, expected_trainer = whole
    assert first.first_pixels + record.first_pixels == expected.first_pixels
    assert losses(first, record) == losses(expected)
    for name, value in expected.states[-1].items():
        assert torch.equal(value, record.states[-1][name]), name
    for states, expected_states in zip(optimizers, expected_optimizers, strict=True):
        assert states.keys() == expected_states.keys()
        for key, values in expected_states.items():
            assert all(torch.equal(values[name], states[key][name]) for name in values)
    assert (trainer.current_epoch, trainer.global_step) == (expected_trainer.current_epoch, TOTAL)


def test_the_run_has_something_to_lose(whole):
    record = whole[0]
    assert len({tuple(sorted(pixels)) for pixels in record.first_pixels}) == TOTAL  # batches differ between epochs
    assert len({figures["train/d_train_count"] for figures in record.figures}) > 1  # so does the alternation
    assert len({figures["train/g_train_count"] for figures in record.figures}) > 1
    ema, now = (record.states[-1][f"{name}.mapping.dense0.weight"] for name in ("generator_ema", "generator"))
    assert not torch.equal(ema, now)


class Kill(pl.Callback):
    """Kills the process, without warning, at the start of a batch."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_run(folder, step):
    fit(folder, module(), [LastCheckpoint(folder, every_n_train_steps=1), Kill(step)], max_epochs=EPOCHS)


@pytest.mark.parametrize("done", [2, 3])  # within an epoch, and between two
def test_a_killed_run_continues(tmp_path, whole, done):
    process = multiprocessing.get_context("fork").Process(target=killed_run, args=(tmp_path, done))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    second = run(tmp_path / "second", ckpt_path=tmp_path / "last.ckpt")
    first = Record()
    first.first_pixels, first.figures = whole[0].first_pixels[:done], whole[0].figures[:done]
    assert_continues(first, second, whole)


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_run_that_max_steps_ended_continues(tmp_path, whole, steps):
    first, _, trainer = run(tmp_path, max_steps=steps)
    assert trainer.global_step == steps
    assert_continues(first, run(tmp_path / "second", ckpt_path=tmp_path / "last.ckpt"), whole)


class Stop(pl.Callback):
    """Asks the trainer to stop, as ``max_time`` does."""

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == 4


def test_a_run_that_stopped_early_continues(tmp_path, whole):
    first, saver = Record(), LastCheckpoint(tmp_path, every_n_train_steps=100)
    fit(tmp_path, module(), [first, saver, Stop()], max_epochs=EPOCHS)
    assert len(first.states) == 4
    assert_continues(first, run(tmp_path / "second", ckpt_path=tmp_path / "last.ckpt"), whole)


def test_more_epochs_for_a_finished_run(tmp_path, whole):
    first, _, _ = run(tmp_path, max_epochs=2)
    assert_continues(first, run(tmp_path / "second", ckpt_path=tmp_path / "last.ckpt"), whole)


def test_checkpoints_of_lightning_continue_too(tmp_path, whole):
    saver = ModelCheckpoint(tmp_path, save_top_k=0, save_last=True, every_n_train_steps=2)
    fit(tmp_path, module(), [saver, Stop2()], max_epochs=EPOCHS)
    first = Record()
    first.first_pixels, first.figures = whole[0].first_pixels[:2], whole[0].figures[:2]
    assert_continues(first, run(tmp_path / "second", ckpt_path=tmp_path / "kept.ckpt"), whole)


class Stop2(pl.Callback):
    """Puts aside the checkpoint of batch 2."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 2:
            path = trainer.checkpoint_callback.last_model_path
            os.rename(path, os.path.join(os.path.dirname(path), "kept.ckpt"))
            trainer.should_stop = True


def test_an_epoch_that_limit_train_batches_cuts(tmp_path):
    whole = run(tmp_path / "whole", limit_train_batches=2)
    first, _, _ = run(tmp_path, limit_train_batches=2, max_epochs=1)
    second, _, _ = run(tmp_path / "second", ckpt_path=tmp_path / "last.ckpt", limit_train_batches=2)
    assert first.first_pixels + second.first_pixels == whole[0].first_pixels
    assert losses(first, second) == losses(whole[0])
