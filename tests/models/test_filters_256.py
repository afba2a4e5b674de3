"""Filters: what a fold sees, what an ensemble makes of it, the reference system's numbers."""

import pytest
import torch
from safetensors.torch import load, save

from ohlora_gan.models.filters import FilterEnsemble, ReferenceFilterCNN, SmallFilterCNN, start_at
from ohlora_gan.models.scorers import FILTER_SPECS
from tests.recordings import recipe_state

SMALL = "ohlora_gan.models.filters.SmallFilterCNN"


def images(n=3, size=64):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def ensemble(num_folds=3, name="gender", size=32):
    torch.manual_seed(0)
    return FilterEnsemble({"class": SMALL, "config": {"resolution": size, "width": 2}}, num_folds, name).eval()


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("box", [[0, 32, 0, 32], [0, 12, 0, 32], [8, 22, 4, 28], [3, 5, 30, 32]])
def test_a_fold_sees_its_box_alone(size, box):
    net, x = SmallFilterCNN(box, size, width=2), images(1, size).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).sum(), x)
    used = gradient[0].abs().sum(dim=0) > 0
    top, bottom, left, right = (edge * size // 32 for edge in box)
    assert used[top:bottom, left:right].any()
    used[top:bottom, left:right] = False
    assert not used.any()


def test_a_fold_is_rebuilt_from_its_config():
    net, x = SmallFilterCNN((8, 22, 4, 28), 64, width=3), images()
    twin = SmallFilterCNN(**net.config)
    twin.load_state_dict(load(save(net.state_dict())), strict=True)
    assert net(x).shape == (3,)
    assert torch.equal(twin(x), net(x))
    torch.testing.assert_close(net(x[1:]), net(x)[1:], rtol=0, atol=1e-5)  # the batch has no say


@pytest.mark.parametrize("build", [SmallFilterCNN, lambda: ReferenceFilterCNN("glass")])
def test_a_gradient_reaches_every_parameter(build):
    net = build().eval()
    net(images(2, net.resolution)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.golden
@pytest.mark.parametrize("name", FILTER_SPECS)
def test_golden_probabilities(golden, name):
    info, tensors = golden("property_cnns")
    gains = {k: info["recipe"][k] for k in ("gain_conv", "gain_fc", "bias_amp")}
    network = info["networks"][name]
    net = ReferenceFilterCNN(name).eval()
    net.load_state_dict(recipe_state(network["tensors"], network["seed"], **gains), strict=True)
    pictures = tensors["in.image_u8"].permute(0, 3, 1, 2).float()
    with torch.no_grad():
        found = net(pictures / 127.5 - 1).sigmoid()
    torch.testing.assert_close(found, tensors[f"out.{name}"][:, 0], rtol=0, atol=5e-6)


def test_an_ensemble_is_the_mean_of_probabilities():
    net, x = ensemble(), images(4, 32)
    expected = sum(fold(x).sigmoid() for fold in net.folds) / 3
    assert net(x).shape == (4,)
    torch.testing.assert_close(net(x), expected)
    assert len({fold(x)[0].item() for fold in net.folds}) == 3
    twin = FilterEnsemble(**net.config).eval()
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(x), net(x))
    assert (net.resolution, net.name) == (32, "gender")


@pytest.mark.parametrize("build", [SmallFilterCNN, lambda: ReferenceFilterCNN("quality")])
def test_a_fresh_network_starts_at_the_base_rate(build):
    torch.manual_seed(0)
    net = build().eval()
    before = net(images(8, net.resolution))
    start_at(net, 0.06)
    found = net(images(8, net.resolution)).sigmoid()
    assert 0.02 < found.mean() < 0.15
    assert before.sigmoid().mean() > 0.3


def test_errors_name_the_remedy():
    for box in ([0, 33, 0, 32], [5, 5, 0, 32], [0, 8, 0], [0, 8.5, 0, 32]):
        with pytest.raises(ValueError, match=r"expected \[top, bottom, left, right\]"):
            SmallFilterCNN(box)
    with pytest.raises(ValueError, match="32 or more"):
        SmallFilterCNN(resolution=16)
    with pytest.raises(ValueError, match="resize"):
        SmallFilterCNN()(images(1, 32))
    with pytest.raises(ValueError, match="without dots"):
        ensemble(name="a.b")
    with pytest.raises(ValueError, match="num_folds is 0"):
        ensemble(num_folds=0)
    with pytest.raises(ValueError, match="expected one of"):
        FilterEnsemble({"class": "os.system", "config": {}}, 1, "x")
    with pytest.raises(ValueError, match="gender, quality, age, glass"):
        ReferenceFilterCNN("beard")
