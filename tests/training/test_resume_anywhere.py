"""A training that was cut off at any batch, continued, and then extended ends as one that was not: to the bit."""

from contextlib import suppress

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from ohlora_gan.training.callbacks import LastCheckpoint
from ohlora_gan.training.scorers import RegressorModule
from tests import tiny
from tests.training.tiny_training import Data, Record, dataset, fit, gan

pytestmark = pytest.mark.filterwarnings("ignore")

EPOCHS, MORE = 3, 4  # three batches an epoch
MODULES = {"gan": gan, "regressor": lambda: RegressorModule(tiny.scorer(), warmup=0.3)}


class Validated(Data):
    def val_dataloader(self):
        return DataLoader(dataset(), 4)


class Break(pl.Callback):
    """Breaks off before a batch."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise ZeroDivisionError


class Run(Record):
    """What a training does: batches, and validations as (epoch, loss)."""

    def __init__(self, folder):
        super().__init__()
        self.checkpoint, self.validated = folder / "last.ckpt", []

    def on_validation_end(self, trainer, pl_module):
        self.validated.append((trainer.current_epoch, float(trainer.callback_metrics["val/loss"])))


def train(folder, kind, start=None, until=-1, max_epochs=EPOCHS):
    """A training from the beginning, or from where another one was, until it breaks off or ends."""
    run, data = Run(folder), Validated() if kind == "regressor" else Data()
    callbacks = [Break(until), run, LastCheckpoint(folder, every_n_train_steps=1)]
    with suppress(ZeroDivisionError):
        fit(folder, MODULES[kind](), callbacks, data, start and start.checkpoint, max_epochs=max_epochs)
    return run


@pytest.fixture(scope="module", params=MODULES)
def kind(request):
    """What is trained, on one thread: sums may depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, kind):
    """An undisturbed run, and the same one extended."""
    first = train(tmp_path_factory.mktemp("whole"), kind)
    return first, train(tmp_path_factory.mktemp("extended"), kind, first, max_epochs=MORE)


def counters(run):
    """Lightning's counters of epochs and batches, and where the loader is."""
    loops = torch.load(run.checkpoint, weights_only=True)["loops"]["fit_loop"]
    return {key: loops[key] for key in ("epoch_progress", "epoch_loop.batch_progress", "state_dict")}


def assert_same(run, expected, before=()):
    assert [*before, *run.first_pixels] == expected.first_pixels
    assert all(torch.equal(value, run.states[-1][name]) for name, value in expected.states[-1].items())
    assert counters(run) == counters(expected)


@pytest.mark.parametrize("done", [1, 3, 8])  # in the first epoch, between two, in the last
def test_cut_off_continued_and_extended(tmp_path, kind, whole, done):
    undisturbed, extended = whole
    first = train(tmp_path / "first", kind, until=done)
    second = train(tmp_path / "second", kind, first)
    assert_same(second, undisturbed, first.first_pixels)
    assert first.validated + second.validated == undisturbed.validated
    third = train(tmp_path / "third", kind, second, max_epochs=MORE)
    assert_same(third, extended)
    assert third.validated == extended.validated


def test_cut_off_twice(tmp_path, kind, whole):
    first = train(tmp_path / "first", kind, until=3)
    second = train(tmp_path / "second", kind, first, until=7)
    assert_same(train(tmp_path / "third", kind, second), whole[0], first.first_pixels + second.first_pixels)
