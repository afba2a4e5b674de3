"""Checkpoints, signals, sample grids, property means, the bar and exported weights."""

import csv
import logging
import os
import signal
import threading

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger
from torch.utils.data import DataLoader

from ohlora_gan import checkpoint, seeding
from ohlora_gan.evaluation.pictures import grid
from ohlora_gan.models.generator import from_uint8, to_uint8
from ohlora_gan.training.callbacks import ExportWeights, GracefulStop, LastCheckpoint, TrainingProgress
from ohlora_gan.training.regressor_module import RegressorModule
from ohlora_gan.training.sampling_callbacks import PropertyMeans, SampleGrid, draw_images
from ohlora_gan.vocabulary import PROPERTIES
from tests import tiny
from tests.training.tiny_training import Record, dataset, fit, gan, state

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

    def log_image(self, key, images, step):
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_acts_as_usual(tmp_path, number):
    before = signal.getsignal(number)
    record = Record()
    try:
        with pytest.raises(SystemExit):
            fit(tmp_path, gan(), [record, Send(2, number, number), GracefulStop()], max_epochs=2)
        assert len(record.steps) <= 2
    finally:  # after Ctrl+C Lightning leaves the process deaf to it
        signal.signal(number, before)


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


@pytest.mark.parametrize("interval", [2, 100])
def test_last_checkpoint_is_saved_at_intervals_and_after_epochs(tmp_path, monkeypatch, interval):
    saved = []
    monkeypatch.setattr(pl.Trainer, "save_checkpoint", lambda self, path: saved.append(self.global_step))
    fit(tmp_path, gan(), [LastCheckpoint(tmp_path, interval)], max_epochs=2)
    assert saved == ([2, 3, 4, 6] if interval == 2 else [3, 6])


def test_an_interval_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="every_n_train_steps is 0"):
        LastCheckpoint(tmp_path, 0)
    with pytest.raises(ValueError, match="num_images is 0"):
        SampleGrid(tmp_path, num_images=0)


# ---------------------------------------------------------------------- samples


def expected_images(module, seed, stream, n):
    """uint8 images from the state of a module, drawn one at a time."""
    g, images = module.sampling_generator, []
    for i in range(n):
        z, label = (seeding.normal(seed, f"{stream}/{k}", [i], d) for k, d in (("z", g.z_dim), ("label", g.label_dim)))
        with torch.no_grad():
            images.append(to_uint8(g(z, label if g.label_dim else None)))
    return torch.cat(images)


@pytest.mark.parametrize(("label_dim", "ema"), [(7, 0.0), (0, 8.0)])
def test_sample_grid(tmp_path, label_dim, ema):
    module, logger = gan(label_dim, ema_images=ema), Pictures()
    first = grid(expected_images(module, 5, "samples", 6).numpy(), 3)
    fit(tmp_path, module, [SampleGrid(tmp_path, 2, 6, 3, seed=5, batch_size=4)], logger=logger)
    names = [f"batch_00000{step}.png" for step in (0, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == names
    pictures = [np.asarray(Image.open(tmp_path / "samples" / name)).astype(int) for name in names]
    last = grid(expected_images(module, 5, "samples", 6).numpy(), 3).astype(int)
    assert abs(pictures[0] - first).max() <= 1  # rounding differs with the batch size
    assert abs(pictures[2] - last).max() <= 1
    assert abs(pictures[2] - first).max() > 1
    assert [(name, step) for name, step, _ in logger.pictures] == [("samples", step) for step in (0, 2, 3)]
    assert all((a == b).all() for a, (_, _, b) in zip(pictures, logger.pictures, strict=True))


def test_a_resumed_run_draws_no_first_grid(tmp_path):
    fit(tmp_path, gan(), [LastCheckpoint(tmp_path)])
    again = tmp_path / "again"
    fit(again, gan(), [SampleGrid(again, 2, 1)], ckpt_path=tmp_path / "last.ckpt", max_epochs=2)
    assert sorted(path.name for path in (again / "samples").iterdir()) == ["batch_000004.png", "batch_000006.png"]


def test_drawing_leaves_modes_alone():
    module = gan()
    module.generator.synthesis.layer1.eval()
    before = [m.training for m in module.modules()]
    seen = []
    module.generator.synthesis.register_forward_pre_hook(lambda m, args: seen.append(m.training))
    draw_images(module, 0, "samples", range(5), 2)
    assert seen == [False] * 3
    assert [m.training for m in module.modules()] == before


@pytest.fixture(scope="module")
def scorer_file(tmp_path_factory):
    return checkpoint.save(tmp_path_factory.mktemp("scorer") / "tiny.safetensors", {"scorer": tiny.scorer()})


def test_drawing_and_scoring_do_not_change_training(tmp_path, scorer_file):
    """Same weights, w_avg and global random numbers with and without."""
    results = []
    for callbacks in ([], [SampleGrid(tmp_path, 1, 3), PropertyMeans(tmp_path, scorer_file, 1, 4)]):
        module = gan(ema_images=8.0)
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        fit(tmp_path, module, callbacks)
        results.append((state(module), torch.rand(3), np.random.random(3)))  # noqa: NPY002
    (plain, torch_numbers, numpy_numbers), (other, torch_again, numpy_again) = results
    assert all(torch.equal(plain[name], other[name]) for name in plain)
    assert torch.equal(torch_numbers, torch_again)
    assert (numpy_numbers == numpy_again).all()


# ---------------------------------------------------------------------- property means


def rows(folder):
    with (folder / "train_log.csv").open() as file:
        return list(csv.DictReader(file))


def test_property_means(tmp_path, scorer_file):
    module, record, logger = gan(), Record(), Pictures()
    fit(tmp_path, module, [PropertyMeans(tmp_path, scorer_file, 3, 6, seed=4, batch_size=4), record], logger=logger)
    figures = record.figures[-1]
    indices = range(3 * 6, 4 * 6)  # samples of batch 3
    images = from_uint8(draw_images(module, 4, "scores", indices, 6))
    scores = tiny.scorer().eval()(images).detach().numpy()
    for k, name in enumerate(PROPERTIES):
        assert figures[f"scores/mean/{name}"] == pytest.approx(scores[:, k].mean(), abs=1e-5)
        assert figures[f"scores/std/{name}"] == pytest.approx(scores[:, k].std(), abs=1e-5)
        assert logger.figures[3][f"scores/mean/{name}"] == figures[f"scores/mean/{name}"]
    row = rows(tmp_path)[-1]
    assert (row["epoch"], row["idx"]) == ("0", "2")
    assert float(row["real_fake_auroc"]) == round(figures["train/auroc"], 4)
    for name in ("d_loss", "g_loss", "d_train_count", "g_train_count", "real_scores_mean", "fake_scores_mean"):
        assert float(row[name]) == round(figures[f"train/{name}"], 4)
    assert float(row["mean_eyes_score"]) == round(figures["scores/mean/eyes"], 4)


def test_the_first_epoch_is_scored_five_times_as_often(tmp_path, scorer_file):
    fit(tmp_path, gan(), [PropertyMeans(tmp_path, scorer_file, 10, 2)], max_epochs=2)
    assert [(row["epoch"], row["idx"]) for row in rows(tmp_path)] == [("0", "0"), ("0", "2"), ("1", "0")]


def test_the_log_outlives_a_kill_and_goes_on_without_doubles(tmp_path, scorer_file):
    def means(folder):
        return PropertyMeans(folder, scorer_file, 1, 2)

    whole, first, second = (tmp_path / name for name in ("whole", "first", "second"))
    fit(whole, gan(), [means(whole)], max_epochs=2)
    assert len(rows(whole)) == 6
    with pytest.raises(RuntimeError, match="broken"):  # two batches after the last checkpoint
        fit(first, gan(), [means(first), LastCheckpoint(first, 100), Fail(6)], max_epochs=2)
    assert rows(first) == rows(whole)[:5]
    for folder in (second, first):  # in a new folder, or in the old one
        fit(folder, gan(), [means(folder)], ckpt_path=first / "last.ckpt", max_epochs=2)
        assert rows(folder) == rows(whole)


def test_a_scorer_of_another_size_is_refused(tmp_path, scorer_file):
    other = gan()
    other.generator.resolution = 64
    with pytest.raises(ValueError, match=r"takes 32x32 images, the generator makes 64x64: set scorer_checkpoint"):
        fit(tmp_path, other, [PropertyMeans(tmp_path, scorer_file)])


def test_without_a_scorer_nothing_is_scored(tmp_path):
    record = Record()
    fit(tmp_path, gan(), [PropertyMeans(tmp_path, None, 1), record])
    assert not (tmp_path / "train_log.csv").exists()
    assert not any(name.startswith("scores/") for name in record.figures[-1])


# ---------------------------------------------------------------------- bar, exported weights


class Bar(pl.Callback):
    """Keeps what the bar shows."""

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.shown = trainer.progress_bar_callback.get_metrics(trainer, pl_module)


def test_progress_shows_the_figures_that_matter(tmp_path, capsys):
    bar, record = Bar(), Record()
    fit(tmp_path, gan(), [TrainingProgress(1), bar, record], enable_progress_bar=True, logger=CSVLogger(tmp_path))
    figures = record.figures[-1]
    assert list(bar.shown) == ["d_loss", "g_loss", "D/G", "auroc", "img/s"]
    assert bar.shown["d_loss"] == f"{figures['train/d_loss']:.3f}"
    assert bar.shown["D/G"] == f"{figures['train/d_train_count']:.0f}/{figures['train/g_train_count']:.0f}"
    assert float(bar.shown["img/s"]) > 0
    output = capsys.readouterr().out
    assert "3/3" in output
    assert "g_loss=" in output


def test_progress_of_a_resumed_epoch_knows_its_length(tmp_path, capsys):
    fit(tmp_path, gan(), [LastCheckpoint(tmp_path, 1)], max_steps=2, max_epochs=-1)
    fit(tmp_path, gan(), [TrainingProgress(1)], enable_progress_bar=True, ckpt_path=tmp_path / "last.ckpt")
    assert "Epoch 0: 100%" in capsys.readouterr().out


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
        callbacks=[ExportWeights(tmp_path / "model.safetensors"), SampleGrid(tmp_path), PropertyMeans(tmp_path, "x")],
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
