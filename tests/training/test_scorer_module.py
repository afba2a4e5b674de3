"""The regressor's training: it learns, its metrics are right, and nothing but its seed decides the result."""

import csv
import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from ohlora_gan.judging.reliability import reliability, retest
from ohlora_gan.models.gan import to_uint8
from ohlora_gan.models.scorers import AttributeCNN, SmallPropertyCNN
from ohlora_gan.names import PROPERTIES
from ohlora_gan.rng import torch_stream
from ohlora_gan.training import scorers
from ohlora_gan.training.scorers import COLOR_PROPERTIES, RegressorModule, augment, blur, shift, warmup_cosine

PATCHES = {  # rows and columns that are as bright as the property is high, inside the property's crop
    "eyes": (slice(9, 12), slice(6, 26)),
    "hair_color": (slice(0, 4), slice(0, 32)),
    "hair_length": (slice(28, 32), slice(0, 32)),
    "mouth": (slice(22, 26), slice(12, 20)),
    "pose": (slice(14, 17), slice(8, 24)),
    "background_mean": (slice(5, 15), slice(0, 4)),
    "background_std": (slice(5, 15), slice(28, 32)),
    "hairstyle": (slice(18, 27), slice(0, 8)),
}


def toy_data(n, seed=0):
    """Images [n, 3, 32, 32] made of eight patches, whose brightness gives the scores [n, 8]."""
    scores = torch.randn(n, 8, generator=torch_stream(seed, "toy"))
    images = torch.zeros(n, 3, 32, 32)
    for k, name in enumerate(PROPERTIES):
        rows, columns = PATCHES[name]
        images[:, :, rows, columns] = torch.tanh(scores[:, k] / 2)[:, None, None, None]
    return TensorDataset(images, scores)


def toy_module(**kwargs):
    torch.manual_seed(0)
    return RegressorModule(SmallPropertyCNN(width=4, resolution=32), lr=0.02, **kwargs)


def trainer(folder, **kwargs):
    return pl.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **kwargs,
    )


def fit(folder, max_steps=8, **kwargs):
    module = toy_module(**kwargs)
    trainer(folder, max_steps=max_steps, max_epochs=-1).fit(module, DataLoader(toy_data(128), batch_size=32))
    return torch.cat([p.detach().flatten() for p in module.parameters()])


class TrainLosses(pl.Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.values.append(outputs["loss"].item())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    module, losses = toy_module(), TrainLosses()
    runner = trainer(tmp_path_factory.mktemp("fit"), max_epochs=12, callbacks=[losses])
    train = DataLoader(toy_data(384), batch_size=32)
    runner.fit(module, train, DataLoader(toy_data(100, seed=1), batch_size=64))
    return module, runner, losses.values


def test_it_learns(trained):
    module, runner, losses = trained
    assert np.mean(losses[-12:]) < 0.5 * np.mean(losses[:3])
    metrics = runner.callback_metrics
    assert metrics["val/loss"] < 0.5
    assert all(metrics[f"val/r2/{name}"] > 0 for name in PROPERTIES)  # 0 is what predicting the mean achieves
    assert "hairstyle" in module.tables["val"]


def test_metrics_equal_those_computed_by_hand(trained, tmp_path):
    module, data = trained[0], toy_data(150, seed=2)
    (logged,) = trainer(tmp_path).test(module, DataLoader(data, batch_size=64), verbose=False)
    images, scores = data.tensors
    with torch.no_grad():
        predicted, true = module.eval()(images).double().numpy(), scores.double().numpy()
    errors = predicted - true
    r2 = 1 - (errors**2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    by_hand = {"r2": r2, "mae": np.abs(errors).mean(axis=0)}
    by_hand["pearson"] = np.array([np.corrcoef(predicted[:, k], true[:, k])[0, 1] for k in range(8)])
    assert logged["test/loss"] == pytest.approx((errors**2).mean(), abs=1e-5)
    for metric, values in by_hand.items():
        assert logged[f"test/{metric}_mean"] == pytest.approx(values.mean(), abs=1e-5)
        for name, value in zip(PROPERTIES, values, strict=True):
            assert logged[f"test/{metric}/{name}"] == pytest.approx(value, abs=1e-5)


def test_the_test_stage_reports_reliability_and_ceiling(trained, tmp_path):
    module, images = trained[0], toy_data(100, seed=2).tensors[0]
    pairs = retest(module.net.eval(), to_uint8(images).numpy(), module.hparams["seed"])
    expected = reliability(pairs, module.hparams["seed"])
    for batch_size in (64, 25):
        loader = DataLoader(toy_data(100, seed=2), batch_size=batch_size)
        (logged,) = trainer(tmp_path / str(batch_size)).test(module, loader, verbose=False)
        for i, name in enumerate(PROPERTIES):
            assert logged[f"test/reliability/{name}"] == pytest.approx(expected["reliability"][i], abs=1e-5)
            assert logged[f"test/ceiling/{name}"] == pytest.approx(expected["ceiling"][i], abs=1e-5)
        with (tmp_path / str(batch_size) / "scorer_table.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["property"] for row in rows] == list(PROPERTIES)
        for i, row in enumerate(rows):
            assert float(row["reliability"]) == pytest.approx(expected["reliability"][i], abs=1e-5)
            assert float(row["reliability_low"]) == pytest.approx(expected["reliability_low"][i], abs=1e-4)
            assert float(row["r2"]) == pytest.approx(logged[f"test/r2/{PROPERTIES[i]}"], abs=1e-5)
    assert "ceiling" in module.tables["test"]


def test_the_seed_decides_the_result(tmp_path):
    first = fit(tmp_path, seed=0)
    assert torch.equal(fit(tmp_path, seed=0), first)
    assert not torch.equal(fit(tmp_path, seed=1), first)
    assert torch.equal(fit(tmp_path, seed=0, augmentation=0.0), fit(tmp_path, seed=1, augmentation=0.0))


def test_a_checkpoint_restores_the_module(tmp_path):
    module = toy_module(property_names=PROPERTIES, seed=3)
    runner = trainer(tmp_path, max_steps=2)
    runner.fit(module, DataLoader(toy_data(64), batch_size=32))
    runner.save_checkpoint(tmp_path / "last.ckpt")
    net = SmallPropertyCNN(width=4, resolution=32)
    restored = RegressorModule.load_from_checkpoint(tmp_path / "last.ckpt", net=net, weights_only=True)
    assert dict(restored.hparams) == dict(module.hparams)
    assert type(restored.hparams["property_names"]) is list
    images = toy_data(4).tensors[0]
    assert torch.equal(restored.eval()(images), module.eval()(images))


def test_learning_rate_rises_and_falls(tmp_path):
    rates = [warmup_cosine(step, total_steps=100, warmup=0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == max(rates) == 1
    assert rates[54] == pytest.approx(0.5)
    assert rates[99] == rates[100] == 0
    assert warmup_cosine(0, total_steps=1, warmup=0.1) == 0
    with pytest.raises(ValueError, match="max_epochs or max_steps"):
        trainer(tmp_path, max_epochs=-1).fit(toy_module(), DataLoader(toy_data(64), batch_size=32))
    with pytest.raises(ValueError, match="warmup"):
        toy_module(warmup=1.0)


def test_augmentation_is_light_and_reproducible():
    images, _ = toy_data(64).tensors
    before = torch.get_rng_state()
    changed, jittered = augment(images, 1.0, torch_stream(0, "test"))
    again, _ = augment(images, 1.0, torch_stream(0, "test"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(changed, again)
    assert changed.abs().max() <= 1
    assert 0 < jittered.sum() < 64
    brightness = (changed.mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))).abs()
    assert brightness[~jittered].max() < 0.03 < brightness[jittered].mean()
    same, nobody = augment(images, 0.0, torch_stream(0, "test"))
    assert torch.equal(same, images)
    assert not nobody.any()


def test_jittered_images_say_nothing_about_colours(monkeypatch, tmp_path):
    monkeypatch.setattr(scorers, "JITTER_PROBABILITY", 1.0)
    module = toy_module()
    module.trainer = trainer(tmp_path)
    monkeypatch.setattr(module, "log", lambda *args, **kwargs: None)
    module.training_step(tuple(toy_data(8).tensors), 0).backward()
    for name in PROPERTIES:
        cnn = "background" if name.startswith("background") else name
        moved = module.net.get_submodule(f"{cnn}_score_cnn").fc_final.bias.grad.abs().sum() > 0
        assert moved == (name not in COLOR_PROPERTIES)


def test_attributes_of_ones_own_may_be_colours():
    net = AttributeCNN(["eyes", "lip_color"], resolution=32, width=2)
    module = RegressorModule(net)
    assert module.property_names == ["eyes", "lip_color"]
    assert module.is_color.tolist() == [False, True]


def test_shift_and_blur():
    image = torch.zeros(2, 3, 8, 8)
    image[:, :, 3, 2] = 1
    moved = shift(image, torch.tensor([[2.0, 1.0], [0.5, 0.0]]))
    torch.testing.assert_close(moved[0], image[0].roll((1, 2), dims=(1, 2)), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[1, :, 3, 2:4], torch.full((3, 2), 0.5), rtol=0, atol=1e-5)
    blurred = blur(image)[0, 0]
    assert blurred[3, 2] == 0.25
    assert blurred[2, 2] == 0.125
    assert math.isclose(blurred.sum(), 1.0)
    assert torch.equal(blur(torch.ones(1, 3, 5, 7)), torch.ones(1, 3, 5, 7))
