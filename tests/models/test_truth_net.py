import pytest
import torch

from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.scorers import TruthNet
from ohlora_gan.models.zoo import open_truth
from tests import tiny


def images(num, side):
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


def net(resolution=32):
    torch.manual_seed(0)
    return TruthNet(["mouth", "turn", "glass"], ["glass"], resolution, width=4)


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_outputs_and_features(resolution):
    found = net(resolution)
    assert found(images(3, resolution)).shape == (3, 3)
    assert found.features(images(3, resolution)).shape == (3, 256)
    assert (found.property_names, found.binary_names) == (("mouth", "turn", "glass"), ("glass",))


def test_where_something_lies_is_not_lost():
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, :, 12:16, 12:16] = 1
    assert (net()(picture) - net()(picture.roll(8, 3))).abs().max() > 1e-4


def test_a_gradient_reaches_every_parameter_but_those_behind_a_closed_block():
    found = net()
    found(images(2, 32)).square().sum().backward()
    silent = [name for name, p in found.named_parameters() if not p.grad.abs().sum() > 0]
    assert all(".first." in name for name in silent)  # until the second convolution has moved from 0


def test_outputs_are_exact_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        found = net()(images(2, 32))
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())


def test_it_is_saved_and_opened(tmp_path):
    path = checkpoint.save(tmp_path / "truth.safetensors", {"scorer": net()})
    opened = open_truth(path)
    assert opened.config == net().config
    assert torch.equal(opened(images(2, 32)), net()(images(2, 32)))
    assert not opened.training


def test_other_weights_are_refused(tmp_path):
    for name, networks in (("scorer", tiny.scorer()), ("generator", tiny.generator())):
        path = checkpoint.save(tmp_path / f"{name}.safetensors", {name: networks})
        with pytest.raises(CheckpointError, match="expected a TruthNet: make one with python"):
            open_truth(path)


def test_mistakes_end_in_a_sentence():
    for resolution, width in ((48, 4), (16, 4), (64, 1)):
        with pytest.raises(ValueError, match="expected 2 or more, and a power of two from 32 on"):
            TruthNet(resolution=resolution, width=width)
    with pytest.raises(ValueError, match="binary names 'hat', expected some of eyes"):
        TruthNet(["eyes"], ["hat"])
    with pytest.raises(ValueError, match=r"expected \[B, 3, 32, 32\]"):
        net()(images(1, 64))
