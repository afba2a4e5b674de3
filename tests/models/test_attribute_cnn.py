"""The regressor of any attributes."""

import pytest
import torch

from ohlora_gan.models import checkpoint
from ohlora_gan.models.scorers import OUTPUTS, SMALL_SPECS, WHOLE, AttributeCNN, SmallPropertyCNN
from ohlora_gan.names import PROPERTIES

NAMES = ("lip_color", "hairstyle", "background_std", "eyes")
BOXES = {"lip_color": [16, 30, 8, 24]}


def net(**options):
    torch.manual_seed(0)
    return AttributeCNN(NAMES, resolution=32, width=4, boxes=BOXES, **options).eval()


def images(n=3):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_an_output_for_each_name():
    scorer = net()
    assert scorer.property_names == NAMES
    assert scorer(images()).shape == (3, 4)
    assert scorer.features(images()).shape == (3, 3 * 4 * len(NAMES))
    assert AttributeCNN().property_names == PROPERTIES == SmallPropertyCNN().property_names


def test_each_is_looked_for_in_its_box():
    specs = {name: net().get_submodule(f"{name}_score_cnn").spec for name in NAMES}
    assert specs["lip_color"].box == (16, 30, 8, 24)
    assert specs["hairstyle"] == SMALL_SPECS["hairstyle"]
    assert specs["background_std"] == SMALL_SPECS["background"]
    assert AttributeCNN(["hat"], 32, 4).get_submodule("hat_score_cnn").spec.box == WHOLE
    moved = images().requires_grad_()
    net()(moved)[:, 0].sum().backward()
    seen = moved.grad.abs().sum(dim=(0, 1)) > 0
    assert seen[16:30, 8:24].any()
    seen[16:30, 8:24] = False
    assert not seen.any()


def test_properties_cost_what_they_cost_in_the_property_net():
    small, ours = SmallPropertyCNN(width=4, resolution=32), AttributeCNN(["eyes", "mouth"], 32, 4)
    for name in ("eyes", "mouth"):
        assert name in OUTPUTS
        shapes = [p.shape for p in small.get_submodule(f"{name}_score_cnn").parameters()]
        assert [p.shape for p in ours.get_submodule(f"{name}_score_cnn").parameters()] == shapes


def test_it_is_saved_and_loaded(tmp_path):
    saved = net()
    checkpoint.save(tmp_path / "a.safetensors", {"scorer": saved})
    loaded = checkpoint.load(tmp_path / "a.safetensors").build("scorer").eval()
    assert loaded.property_names == NAMES
    assert loaded.config == saved.config
    assert torch.equal(loaded(images()), saved(images()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["a", "a"]}, "different names"),
        ({"names": []}, "one or more"),
        ({"names": ["a.b"]}, r"without '\.'"),
        ({"names": ["lips"], "boxes": {"hat": [0, 32, 0, 32]}}, "boxes names 'hat', expected one of"),
        ({"names": ["lips"], "boxes": {"lips": [16, 40, 8, 24]}}, r"boxes.lips is \[16, 40, 8, 24\]"),
        ({"names": ["lips"], "boxes": {"lips": [0.5, 32, 8, 24]}}, "whole numbers"),
        ({"names": ["lips"], "resolution": 16}, "resolution 16"),
    ],
)
def test_settings_that_cannot_be_built(options, message):
    with pytest.raises(ValueError, match=message):
        AttributeCNN(**options)
