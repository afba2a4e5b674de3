"""Checkpoints, signals, the bar and exported weights."""

import logging
import os
import shutil
import signal
import threading

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger
from torch.utils.data import DataLoader

from ohlora_gan.errors import Terminated, exit_code_of
from ohlora_gan.models import checkpoint
from ohlora_gan.training.callbacks import (
    ExportWeights,
    GracefulStop,
    LastCheckpoint,
    SampleGrid,
    ScoreMeans,
    TrainingProgress,
    end_if_stopped,
)
from ohlora_gan.training.scorers import RegressorModule
from tests import tiny
from tests.training.tiny_training import Record, dataset, fit, gan

pytestmark = pytest.mark.filterwarnings("ignore")


class Send(pl.Callback):
    """Sends signals to the own process in the middle of a batch."""

    def __init__(self, step, *signals):
        self.step, self.signals = step, signals

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step - 1:
            for number in self.signals:
                os.kill(os.getpid(), number)


class Fail(pl.Callback):
    """Raises an error at the start of a batch."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step - 1:
            raise RuntimeError("broken")


class Pictures(Logger):
    """A logger that keeps pictures and figures."""

    name = version = "pictures"

    def __init__(self):
        super().__init__()
        self.pictures, self.figures = [], {}

    def log_hyperparams(self, *_, **__):
        pass

    def log_metrics(self, metrics, step=None):
        self.figures.setdefault(step, {}).update(metrics)

    def log_image(self, key, images, step, caption):
        self.pictures += [(key, step, image) for image in images]


# ---------------------------------------------------------------------- stopping


@pytest.fixture
def handlers():
    """Fails the test if it leaves other signal handlers behind."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_batch_finish_and_saves(tmp_path, handlers, caplog, number):
    record = Record()
    with caplog.at_level(logging.INFO):
        trainer = fit(
            tmp_path,
            gan(),
            [record, Send(2, number), GracefulStop(), LastCheckpoint(tmp_path, 100)],
            max_epochs=5,
            min_epochs=4,
            min_steps=10,
        )
    assert record.steps == [1, 2]
    assert trainer.state.status == "finished"
    assert f"Stopped at batch 2; continue with ckpt_path={tmp_path / 'last.ckpt'}" in caplog.messages
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert all(torch.equal(value, record.states[-1][name]) for name, value in saved["state_dict"].items())


def test_a_second_interrupt_acts_as_usual(tmp_path):
    record = Record()
    with pytest.raises(SystemExit):
        fit(tmp_path, gan(), [record, Send(2, signal.SIGINT, signal.SIGINT), GracefulStop()], max_epochs=2)
    assert len(record.steps) <= 2


def test_a_sigterm_that_comes_twice_is_one(tmp_path, handlers):
    record, stop = Record(), GracefulStop()
    twice = Send(2, signal.SIGTERM, signal.SIGTERM)
    fit(tmp_path, gan(), [record, twice, stop, LastCheckpoint(tmp_path, 100)], max_epochs=2)
    assert record.steps == [1, 2]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2
    with pytest.raises(Terminated):
        end_if_stopped([stop])


def test_handlers_are_put_back_after_an_error(tmp_path, handlers):
    with pytest.raises(RuntimeError, match="broken"):
        fit(tmp_path, gan(), [Fail(2), GracefulStop()])


def test_training_in_another_thread_leaves_signals_alone(tmp_path, handlers):
    before, seen, record = signal.getsignal(signal.SIGINT), [], Record()

    class See(pl.Callback):
        def on_train_batch_end(self, *_):
            seen.append(signal.getsignal(signal.SIGINT))

    work = threading.Thread(target=fit, args=(tmp_path, gan(), [GracefulStop(), record, See()]))
    work.start()
    work.join(120)
    assert seen == [before] * 3


def test_no_validation_after_a_signal(tmp_path, handlers):
    class Validating(RegressorModule):
        validated = 0

        def on_validation_epoch_start(self):
            self.validated += 1

    options = {"devices": 1, "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    for extra, validations in (((), 1), ((Send(1, signal.SIGINT), GracefulStop()), 0)):
        module, data = Validating(tiny.scorer()), DataLoader(dataset(), 4)
        trainer = pl.Trainer(accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, callbacks=list(extra), **options)
        trainer.fit(module, data, data)
        assert module.validated == validations


class Remove(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 1:
            shutil.rmtree(trainer.default_root_dir)


def test_a_run_folder_that_is_removed_is_told_and_made_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.warns(UserWarning, match=f"{folder} was removed: it is made again"):
        fit(folder, gan(), [Remove(), LastCheckpoint(folder, 100)])
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 3


class SendInValidation(pl.Callback):
    def on_validation_batch_start(self, *_):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_in_validation_ends_it(tmp_path, handlers):
    data = DataLoader(dataset(), 4)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, num_sanity_val_steps=0, logger=False, enable_progress_bar=False,
        default_root_dir=tmp_path, callbacks=[SendInValidation(), GracefulStop(), LastCheckpoint(tmp_path, 100)],
    )  # fmt: skip
    try:
        with pytest.raises(SystemExit) as stop:
            trainer.fit(RegressorModule(tiny.scorer()), data, data)
    finally:  # Lightning leaves the process deaf
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert exit_code_of(stop.value) == 143
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


@pytest.mark.parametrize("interval", [2, 100])
def test_last_checkpoint_is_saved_at_intervals_and_after_epochs(tmp_path, monkeypatch, interval):
    saved = []

    def save(trainer, path):
        saved.append(trainer.global_step)
        path.touch()

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", save)
    fit(tmp_path, gan(), [LastCheckpoint(tmp_path, interval)], max_epochs=2)
    assert saved == ([2, 3, 4, 6] if interval == 2 else [3, 6])


def test_an_interval_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="every_n_train_steps is 0"):
        LastCheckpoint(tmp_path, 0)
    with pytest.raises(ValueError, match="num_images is 0"):
        SampleGrid(tmp_path, num_images=0)


# ---------------------------------------------------------------------- bar, exported weights


class Bar(pl.Callback):
    """Keeps what the bar shows."""

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.shown = trainer.progress_bar_callback.get_metrics(trainer, pl_module)


@pytest.fixture
def in_terminal(monkeypatch):
    monkeypatch.setattr("ohlora_gan.progress.is_drawn", lambda: True)


def test_progress_shows_the_figures_that_matter(tmp_path, capsys, in_terminal):
    bar, record = Bar(), Record()
    fit(tmp_path, gan(), [TrainingProgress(1), bar, record], enable_progress_bar=True, logger=CSVLogger(tmp_path))
    figures = record.figures[-1]
    assert list(bar.shown) == ["d_loss", "g_loss", "D/G", "auroc", "img/s"]
    assert bar.shown["d_loss"] == f"{figures['train/d_loss']:.3f}"
    assert bar.shown["D/G"] == f"{figures['train/d_train_count']:.0f}/{figures['train/g_train_count']:.0f}"
    assert float(bar.shown["img/s"]) > 0
    output = capsys.readouterr().err
    assert "Epoch 1 of 1: 100%" in output
    assert "3/3" in output
    assert "g_loss=" in output


def test_progress_of_a_resumed_run_goes_on(tmp_path, capsys, in_terminal):
    fit(tmp_path, gan(), [LastCheckpoint(tmp_path, 1)], max_steps=2, max_epochs=-1)
    fit(tmp_path, gan(), [TrainingProgress(1)], enable_progress_bar=True, ckpt_path=tmp_path / "last.ckpt")
    output = capsys.readouterr().err
    assert "Epoch 1 of 1: 100%" in output
    assert "1/3" not in output


@pytest.mark.parametrize(
    ("limits", "total"),
    [({"max_epochs": 2}, 6), ({"max_epochs": 2, "max_steps": 4}, 4), ({"max_epochs": -1, "max_steps": 4}, 4)],
)
def test_progress_counts_to_where_training_ends(tmp_path, capsys, in_terminal, limits, total):
    fit(tmp_path, gan(), [TrainingProgress(1)], enable_progress_bar=True, **limits)
    last = capsys.readouterr().err.rstrip().split("\r")[-1]
    assert "100%|" in last
    assert f" {total}/{total} " in last


def test_progress_in_a_log_is_no_bar(tmp_path, capsys):
    fit(tmp_path, gan(), [TrainingProgress(1)], enable_progress_bar=True)
    said = capsys.readouterr()
    assert "\r" not in said.out + said.err
    assert "Epoch" not in said.out + said.err


def test_progress_of_a_regressor(tmp_path):
    bar, data = Bar(), DataLoader(dataset(), 4)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, callbacks=[TrainingProgress(1), bar],
        default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(RegressorModule(tiny.scorer()), data, data)
    assert list(bar.shown) == ["loss", "img/s"]
    shown = trainer.progress_bar_callback.get_metrics(trainer, trainer.lightning_module)
    assert list(shown) == ["loss", "val_loss", "r2", "img/s"]


def test_exported_weights(tmp_path):
    module = gan(ema_images=8.0, seed=6)
    module.parent = "abc"
    fit(tmp_path, module, [ExportWeights(tmp_path / "model.safetensors", command="train.py seed=6")])
    exported = checkpoint.load(tmp_path / "model.safetensors")
    for name, network in (("generator", module.generator_ema), ("discriminator", module.discriminator)):
        built = exported.build(name).state_dict()
        assert all(torch.equal(value, built[key]) for key, value in network.state_dict().items())
    info = exported.info
    assert info["stage"] == "finetune_v9"
    assert (info["seed"], info["images_seen"], info["batches"]) == (6, 12, 3)
    assert (info["parent"], info["command"]) == ("abc", "train.py seed=6")
    assert info["metrics"]["train/images_seen"] == 12
    assert info["metrics"]["train/d_loss"] > 0


def test_exported_scorer(tmp_path):
    module = RegressorModule(tiny.scorer())
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[ExportWeights(tmp_path / "model.safetensors"), SampleGrid(tmp_path), ScoreMeans(tmp_path, "x")],
    )  # fmt: skip
    trainer.fit(module, DataLoader(dataset(), 4))
    exported = checkpoint.load(tmp_path / "model.safetensors")
    assert exported.info["stage"] == "scorer"
    built = exported.build("scorer").state_dict()
    assert all(torch.equal(value, built[key]) for key, value in module.net.state_dict().items())
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize(("step", "exported"), [(1, False), (2, True)])
def test_weights_are_exported_after_an_error_if_a_batch_was_done(tmp_path, step, exported):
    with pytest.raises(RuntimeError, match="broken"):
        fit(tmp_path, gan(), [ExportWeights(tmp_path / "model.safetensors"), Fail(step)])
    assert (tmp_path / "model.safetensors").exists() == exported
