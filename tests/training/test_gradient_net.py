"""The network that gradients are taken of: the reference system's numbers, and its gradient."""

import pytest
import torch

from ohlora_gan.directions.derivatives import input_gradients
from ohlora_gan.training.gradient_net import GradientNet
from tests.recordings import recipe_state

SIZES = (512, 1024, 2560)


def recorded_net(info, size):
    recorded = info["networks"][str(size)]
    gains = {k: info["recipe"][k] for k in ("gain_conv", "gain_fc", "bias_amp")}
    net = GradientNet(size)
    net.load_state_dict(recipe_state(recorded["tensors"], recorded["seed"], **gains), strict=True)
    return net.eval()


def arrays(net):
    return {name: value.numpy() for name, value in net.state_dict().items()}


@pytest.mark.golden
@pytest.mark.parametrize("size", SIZES)
def test_golden_scores_and_gradients(golden, size):
    info, t = golden("gradient_nn")
    net = recorded_net(info, size)
    for key, check in info["networks"][str(size)]["checks"].items():
        assert net.state_dict()[key].double().sum().item() == pytest.approx(check["sum_float64"], abs=1e-9)
    with torch.no_grad():
        scores = net(t[f"in.{size}.x"])
    gradients = torch.from_numpy(input_gradients(arrays(net), t[f"in.{size}.x"].numpy()))
    torch.testing.assert_close(scores, t[f"out.{size}.y"], rtol=0, atol=1e-5)
    torch.testing.assert_close(gradients, t[f"out.{size}.gradient"], rtol=0, atol=1e-5)
    normalized = gradients / gradients.norm(dim=1, keepdim=True)
    torch.testing.assert_close(normalized, t[f"out.{size}.gradient_normalized"], rtol=0, atol=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("size", SIZES)
def test_dropout_sits_where_the_reference_has_it(golden, size):
    """The recordings say how far dropout turns a gradient; a layer without it, or another rate, would show."""
    info, t = golden("gradient_nn")
    net, x = recorded_net(info, size).train(), t[f"in.{size}.x"][:1].expand(200, -1).clone().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (gradients,) = torch.autograd.grad(net(x).sum(), x)  # 200 draws of dropout
    cosines = torch.cosine_similarity(gradients, t[f"out.{size}.gradient"][:1])
    recorded = info["networks"][str(size)]["dropout_active_information"]["cosine_with_eval_gradient_mean"]
    assert cosines.mean().item() == pytest.approx(recorded, abs=0.02)


@pytest.mark.golden
@pytest.mark.parametrize("size", SIZES)
def test_manifest(golden, size):
    info, _ = golden("manifest_full")
    key = f"gradient_nn_{size}"
    net = GradientNet(size)
    assert [(k, list(v.shape)) for k, v in net.state_dict().items()] == list(info["manifests"][key].items())
    assert sum(p.numel() for p in net.parameters()) == info["parameter_counts"][key]


def test_config_builds_an_equal_network():
    net = GradientNet(12, dropout=0.5)
    twin = GradientNet(**net.config)
    twin.load_state_dict(net.state_dict(), strict=True)
    assert twin.fc2[2].p == 0.5


def test_a_gradient_reaches_every_parameter():
    net = GradientNet(8).eval()
    net(torch.ones(2, 8)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
