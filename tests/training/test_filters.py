"""A fold's training: it learns, its figures are right, and nothing but its seed and stream decides the result."""

from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score, roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

from ohlora_gan.models.filters import SmallFilterCNN
from ohlora_gan.models.scorers import PhotoFilterCNN
from ohlora_gan.rng import torch_stream
from ohlora_gan.training.filters import FIGURES, FilterModule, shifted
from tests.training.test_callbacks import Pictures

pytestmark = pytest.mark.filterwarnings("ignore")


def toy_data(n, rate=0.3, seed=0):
    """Noise [n, 3, 32, 32], brighter at the top where the label [n, 1] is 1."""
    rng = torch_stream(seed, "toy")
    labels = (torch.rand(n, 1, generator=rng) < rate).float()
    images = 0.3 * torch.randn(n, 3, 32, 32, generator=rng)
    images[:, :, :10] += 0.4 * labels[:, :, None, None]
    return TensorDataset(images.clamp(-1, 1), labels)


def fit(folder, max_epochs=2, logger=False, callbacks=(), net=None, data=(), **options):
    torch.manual_seed(0)
    module = FilterModule(net or SmallFilterCNN(resolution=32, width=2), **({"lr": 0.01, "warmup": 5} | options))
    trainer = pl.Trainer(
        accelerator="cpu", default_root_dir=folder, logger=logger, enable_checkpointing=False, max_epochs=max_epochs,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=list(callbacks),
    )  # fmt: skip
    train, val = data or (toy_data(128), toy_data(70, seed=1))
    trainer.fit(module, DataLoader(train, 32), DataLoader(val, 32))
    return module


def test_it_learns_and_keeps_the_best_epoch(tmp_path):
    logger = Pictures()
    module = fit(tmp_path, 8, logger, stream="fold_1/attempt_0")
    assert [row["epoch"] for row in module.history] == list(range(8))
    assert module.best == min(module.history, key=lambda row: row["val_loss"])
    assert module.best["val_auroc"] > 0.9
    images, labels = toy_data(70, seed=1).tensors
    module.net.load_state_dict(module.best_state)
    with torch.no_grad():
        p = module.net(images).sigmoid().double().numpy()
    truth, said = labels[:, 0].numpy(), p > 0.5
    expected = {
        "loss": log_loss(truth, p), "accuracy": accuracy_score(truth, said), "precision": precision_score(truth, said),
        "recall": recall_score(truth, said), "f1": f1_score(truth, said), "auroc": roc_auc_score(truth, p),
    }  # fmt: skip
    assert list(module.history[0]) == ["epoch", *(f"{stage}_{x}" for stage in ("train", "val") for x in FIGURES)]
    for name, value in expected.items():
        assert module.best[f"val_{name}"] == pytest.approx(value, abs=1e-5), name
    assert list(logger.figures) == list(range(8))
    assert logger.figures[2]["fold_1/attempt_0/val/loss"] == module.history[2]["val_loss"]
    assert logger.figures[2]["fold_1/attempt_0/train/f1"] == module.history[2]["train_f1"]
    assert 0 < logger.figures[2]["fold_1/attempt_0/lr"] <= module.settings.lr


def test_the_rate_rises_and_falls(tmp_path):
    rates = []
    watch = LambdaCallback(
        on_train_batch_start=lambda trainer, *_: rates.append(trainer.optimizers[0].param_groups[0]["lr"])
    )
    fit(tmp_path, 3, callbacks=[watch], anneal=True, warmup=4)  # 12 batches
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[7] == pytest.approx(0.005)
    assert all(late < early for early, late in pairwise(rates[4:]))
    assert rates[-1] == pytest.approx(0)
    rates.clear()
    fit(tmp_path, 3, callbacks=[watch], warmup=4)
    assert rates[3:] == [0.01] * 9


def test_auxiliary_attributes_teach_the_features_and_are_thrown_away(tmp_path):
    def two_labels(n, seed):
        """The own label is a coin's toss, the other one is to be seen."""
        images, seen = toy_data(n, 0.5, seed).tensors
        tosses = torch.rand(n, 1, generator=torch_stream(seed, "tosses")) < 0.5
        return TensorDataset(images, torch.cat([tosses.float(), seen], dim=1))

    def other_auroc(weight):
        torch.manual_seed(0)
        net, data = PhotoFilterCNN(32, 2), (two_labels(256, 0), two_labels(70, 1))
        module = fit(tmp_path, 6, net=net, data=data, num_auxiliary=1, auxiliary_weight=weight)
        images, labels = two_labels(200, 2).tensors
        module.net.eval()
        with torch.no_grad():
            said = module.auxiliary(net.penultimate(images))[:, 0].numpy()
            own = net(images)
        assert own.shape == (200,)
        assert set(module.best_state) == set(PhotoFilterCNN(32, 2).state_dict())
        assert module.best["val_loss"] > 0.6  # of the coin alone
        return roc_auc_score(labels[:, 1].numpy(), said)

    assert other_auroc(1.0) > 0.95
    assert other_auroc(0.0) < 0.9  # nothing taught that layer


def test_networks_without_a_last_layer_to_share_learn_no_auxiliary_attributes():
    with pytest.raises(ValueError, match=r"SmallFilterCNN cannot learn auxiliary attributes.*filter_cnn_photo"):
        FilterModule(SmallFilterCNN(resolution=32, width=2), num_auxiliary=2)
    with pytest.raises(ValueError, match="auxiliary_weight is -1, expected 0 or more"):
        FilterModule(SmallFilterCNN(resolution=32, width=2), auxiliary_weight=-1)


def test_a_shift_moves_whole_pixels():
    images = torch.rand(2, 3, 20, 24, generator=torch_stream(0, "shift"))
    rng = torch_stream(0, "shifts")
    for _ in range(20):
        moved = shifted(images, 4, rng)
        places = [
            (down, right)
            for down in range(-4, 5)
            for right in range(-4, 5)
            if torch.equal(moved[:, :, 4:-4, 4:-4], images.roll((down, right), (2, 3))[:, :, 4:-4, 4:-4])
        ]
        assert len(places) == 1
    first, second = (shifted(images, 4, torch_stream(1, "shifts")) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="shift is 20, expected less than the 20 pixels"):
        shifted(images, 20, rng)
    with pytest.raises(ValueError, match="shift is -1, expected 0 pixels or more"):
        FilterModule(SmallFilterCNN(resolution=32, width=1), shift=-1)


def test_seed_and_stream_decide_the_result(tmp_path):
    def weights(**options):
        return torch.cat([p.detach().flatten() for p in fit(tmp_path, **options).parameters()])

    same = weights(seed=3, stream="a")
    assert torch.equal(same, weights(seed=3, stream="a"))
    for changed in ({"seed": 4, "stream": "a"}, {"seed": 3, "stream": "b"}):
        assert not torch.equal(same, weights(**changed))
    plain = {"augmentation": 0.0, "mirror": False}
    assert torch.equal(weights(**plain, seed=3), weights(**plain, seed=4))
    assert not torch.equal(weights(**plain), weights(augmentation=0.0, mirror=True))


class Seen(torch.nn.Module):
    """A network that keeps the images it is given."""

    def __init__(self):
        super().__init__()
        self.scale, self.images = torch.nn.Parameter(torch.ones(())), []

    def forward(self, images):
        self.images.append(images)
        return self.scale * images.mean(dim=(1, 2, 3))


def test_half_the_training_images_are_mirrored_and_no_validation_image(tmp_path):
    net = Seen()
    fit(tmp_path, 1, net=net, augmentation=0.0)
    train, val = toy_data(128).tensors[0], toy_data(70, seed=1).tensors[0]
    seen = torch.cat(net.images)
    turned = (seen[:128] == train.flip(3)).all(dim=(1, 2, 3))
    assert 40 < turned.sum() < 88
    assert ((seen[:128] == train).all(dim=(1, 2, 3)) ^ turned).all()
    assert torch.equal(seen[128:], val)


class Rates(pl.Callback):
    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, *_):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize(("warmup", "expected"), [(4, [0.25, 0.5, 0.75, 1, 1, 1]), (0, [1] * 6)])
def test_the_learning_rate_rises_and_stays(tmp_path, warmup, expected):
    rates = Rates()
    fit(tmp_path, callbacks=[rates], lr=0.01, warmup=warmup)
    assert rates.rates[:6] == pytest.approx([0.01 * x for x in expected])


def test_an_epoch_without_validation_leaves_no_row(tmp_path):
    class NoValidation(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.limit_val_batches = 0

    assert fit(tmp_path, 1, callbacks=[NoValidation()]).history == []
