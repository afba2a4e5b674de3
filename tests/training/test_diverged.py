"""A training whose loss or weights are no numbers ends with a sentence, and what was saved before stays."""

import pytest
import pytorch_lightning as pl
import torch

from ohlora_gan.training.callbacks import DivergedError, ExportWeights, LastCheckpoint, StopDiverged
from ohlora_gan.training.filters import FilterModule
from ohlora_gan.training.scorers import RegressorModule
from tests import tiny
from tests.training.tiny_training import Data, dataset, fit, gan

pytestmark = pytest.mark.filterwarnings("ignore")


class Yes(Data):
    """Labels of one filter: 0 or 1."""

    def train_dataloader(self):
        images, scores = dataset().tensors
        labels = (scores[:, :1] > 0).float()
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), 4)


MODULES = {
    "gan": (gan, Data, "train/d_loss is nan"),
    "regressor": (lambda: RegressorModule(tiny.scorer()), Data, "train/loss is nan"),
    "filter": (lambda: FilterModule(tiny.filter_ensemble("glass").folds[0]), Yes, "train/loss is nan"),
}


class Spoil(pl.Callback):
    """Puts a NaN into all weights before a batch, or after it, where nothing but the weights shows it."""

    def __init__(self, step, hook="on_train_batch_start"):
        self.step = step
        setattr(self, hook, self.spoil)

    def spoil(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            with torch.no_grad():
                for value in pl_module.parameters():
                    value.view(-1)[0] = torch.nan


def callbacks(folder, *more):
    return [*more, StopDiverged(), ExportWeights(folder / "model.safetensors"), LastCheckpoint(folder, 2)]


@pytest.mark.parametrize("kind", MODULES)
def test_a_loss_that_is_no_number(tmp_path, kind):
    make, data, words = MODULES[kind]
    (tmp_path / "model.safetensors").write_bytes(b"of an earlier run")
    with pytest.raises(DivergedError, match=rf"{words}.* at batch 5; .* lower model.module.lr; .*last.ckpt"):
        fit(tmp_path, make(), callbacks(tmp_path, Spoil(4)), data(), max_epochs=3)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 4
    assert all(value.isfinite().all() for name, value in kept["state_dict"].items())
    assert (tmp_path / "model.safetensors").read_bytes() == b"of an earlier run"


@pytest.mark.parametrize("kind", MODULES)
def test_weights_that_are_no_numbers_are_not_saved(tmp_path, kind):
    make, data, _ = MODULES[kind]
    with pytest.raises(DivergedError, match="is not finite at batch 2; nothing of it is saved"):
        fit(tmp_path, make(), callbacks(tmp_path, Spoil(2, "on_train_batch_end")), data())
    assert not list(tmp_path.glob("*.safetensors")) + list(tmp_path.glob("*.ckpt"))


def test_a_learning_rate_that_is_too_high(tmp_path):
    with pytest.raises(DivergedError, match=r"is nan at batch \d;"):
        fit(tmp_path, gan(lr=1000.0), callbacks(tmp_path))
