"""Training on scores and yes-or-no attributes together, off pictures that are drawn badly."""

import csv

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from ohlora_gan.models.scorers import TruthNet
from ohlora_gan.rng import torch_stream
from ohlora_gan.training import scorers
from ohlora_gan.training.scorers import (
    TruthModule,
    blocky,
    blotchy,
    cosines,
    doubled,
    miscolored,
    moved,
    patches,
    roughen,
    shift,
    smeared,
    warped,
)
from tests.training.tiny_training import trainer

NAMES = ["height", "shade", "mark"]
WAYS = (warped, moved, smeared, doubled, miscolored, blotchy, blocky)


def toy_data(num, seed=0):
    """Images [num, 3, 32, 32] of a bright bar at a height, before some shade, with or without a mark."""
    scores = torch.rand(num, 3, generator=torch_stream(seed, "toy"))
    images = (scores[:, 1] - 0.9)[:, None, None, None].repeat(1, 3, 32, 32)
    rows = torch.arange(32)
    bar = (rows - 8 - 16 * scores[:, :1]).abs() < 2
    images = images + bar[:, None, :, None]
    marked = scores[:, 2] < 0.3
    images[marked, 0, 4:8, 4:8] = 1
    scores[:, :2] = (scores[:, :2] - 0.5) * 12**0.5
    scores[:, 2] = marked.float()
    return TensorDataset(images.clamp(-1, 1), scores)


def module(**settings):
    torch.manual_seed(0)
    return TruthModule(TruthNet(NAMES, ["mark"], 32, width=6), color_names=["shade"], lr=5e-3, **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    found = module(roughness=0.5)
    runner = trainer(tmp_path_factory.mktemp("fit"), max_epochs=10)
    runner.fit(found, DataLoader(toy_data(384), batch_size=32), DataLoader(toy_data(128, seed=1), batch_size=64))
    return found


def test_it_learns_scores_and_marks(trained, tmp_path):
    data = toy_data(200, seed=2)
    (logged,) = trainer(tmp_path).test(trained, DataLoader(data, batch_size=64), verbose=False)
    images, scores = data.tensors
    with torch.no_grad():
        outputs = trained.eval()(images)
    right = float(((outputs[:, 2] > 0) == (scores[:, 2] == 1)).float().mean())
    assert logged["test/accuracy/mark"] == pytest.approx(right, abs=1e-6)
    assert right > 0.95
    assert logged["test/r2_mean"] == pytest.approx((logged["test/r2/height"] + logged["test/r2/shade"]) / 2)
    assert logged["test/r2_mean"] > 0.6
    marked = scores[:, 2] == 1
    assert logged["test/recall/mark"] == pytest.approx(float((outputs[marked, 2] > 0).float().mean()), abs=1e-6)
    assert "test/r2/mark" not in logged
    tables = {}
    for name in ("scorer_table", "binary_table"):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    assert [row["property"] for row in tables["scorer_table"]] == ["height", "shade"]
    assert float(tables["scorer_table"][0]["r2"]) == pytest.approx(logged["test/r2/height"], abs=1e-5)
    assert [row["property"] for row in tables["binary_table"]] == ["mark"]
    assert float(tables["binary_table"][0]["accuracy"]) == pytest.approx(right, abs=1e-5)


def test_marks_are_learnt_by_cross_entropy():
    outputs, scores = torch.tensor([[0.5, 1.0, 2.0]]), torch.tensor([[0.0, 1.5, 1.0]])
    expected = torch.tensor([[0.25, 0.25, torch.nn.functional.softplus(torch.tensor(-2.0))]])
    torch.testing.assert_close(module().errors(outputs, scores), expected)


def test_pictures_of_other_brightness_teach_no_colors(monkeypatch, tmp_path):
    monkeypatch.setattr(scorers, "JITTER_PROBABILITY", 1.0)
    found = module()
    found.trainer = trainer(tmp_path)
    monkeypatch.setattr(found, "log", lambda *args, **kwargs: None)
    found.training_step(tuple(toy_data(8).tensors), 0).backward()
    assert (found.net.last.weight.grad.abs().sum(dim=1) > 0).tolist() == [True, False, True]


def test_a_checkpoint_restores_the_module(tmp_path):
    found = module(roughness=0.25, seed=3)
    runner = trainer(tmp_path, max_steps=2)
    runner.fit(found, DataLoader(toy_data(64), batch_size=32))
    runner.save_checkpoint(tmp_path / "last.ckpt")
    net = TruthNet(NAMES, ["mark"], 32, width=6)
    restored = TruthModule.load_from_checkpoint(tmp_path / "last.ckpt", net=net, weights_only=True)
    assert dict(restored.hparams) == dict(found.hparams)
    assert restored.hparams["roughness"] == 0.25
    assert restored.is_color.tolist() == [False, True, False]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"color_names has 'hat', expected some of height"):
        TruthModule(TruthNet(NAMES, ["mark"], 32, width=4), color_names=["hat"])
    with pytest.raises(ValueError, match=r"roughness is -1, expected 0"):
        module(roughness=-1)


def test_bad_drawing_changes_half_of_the_pictures_and_is_reproducible():
    images = toy_data(200).tensors[0]
    rough = roughen(images, 1.0, torch_stream(0, "test"))
    assert torch.equal(rough, roughen(images, 1.0, torch_stream(0, "test")))
    assert rough.abs().max() <= 1
    changed = (rough - images).abs().amax(dim=(1, 2, 3)) > 1e-6
    assert 0.3 < changed.float().mean() < 0.6
    assert torch.equal(roughen(images, 0.0, torch_stream(0, "test")), images)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_drawing_badly_changes_pictures_by_its_strength(way):
    images = toy_data(16).tensors[0]

    def changed(strength):
        rng = torch_stream(0, "test")
        found = way(images, strength, lambda low, high, *s: low + (high - low) * torch.rand(16, *s, generator=rng))
        assert found.shape == images.shape
        return (found - images).abs().mean()

    assert 0 < changed(0.3) < changed(1.0)


def test_patches_are_local():
    masks = patches(torch.zeros(50, 3, 32, 32), lambda low, high, *s: low + (high - low) * torch.rand(50, *s))
    assert masks.shape == (50, 1, 32, 32)
    assert (masks.amax(dim=(1, 2, 3)) > 0.8).all()
    assert (masks.mean(dim=(1, 2, 3)) < 0.5).all()


def test_the_cosine_transform_is_orthonormal():
    torch.testing.assert_close(cosines() @ cosines().T, torch.eye(8), atol=1e-6, rtol=0)


def test_pixels_are_placed_exactly_under_autocast():
    images = toy_data(4).tensors[0]
    offsets = torch.tensor([[0.3, 0.1]] * 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = shift(images, offsets), roughen(images, 1.0, torch_stream(0, "test"))
    assert torch.equal(found[0], shift(images, offsets))
    assert torch.equal(found[1], roughen(images, 1.0, torch_stream(0, "test")))
