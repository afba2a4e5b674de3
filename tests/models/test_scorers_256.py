"""Attribute networks: the reference system's numbers, and what holds for every network."""

from itertools import product

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.func import jacrev, vmap
from torch.utils.flop_counter import FlopCounterMode

from ohlora_gan.models.filters import ReferenceFilterCNN
from ohlora_gan.models.scorers import FILTER_SPECS, HairstyleCNN, MergedPropertyCNN, SmallPropertyCNN
from ohlora_gan.names import PROPERTIES
from tests.recordings import recipe_state, recipe_tensor

REFERENCE = {
    "merged": MergedPropertyCNN,
    "hairstyle": HairstyleCNN,
    **{name: lambda name=name: ReferenceFilterCNN(name) for name in FILTER_SPECS},
}
MANIFEST_NAMES = {"merged": "merged_property_score_cnn", "hairstyle": "hairstyle_score_cnn"}


def network_state(info, name):
    gains = {k: info["recipe"][k] for k in ("gain_conv", "gain_fc", "bias_amp")}
    network = info["networks"][name]
    return recipe_state(network["tensors"], network["seed"], **gains)


def small_images(n=2, size=64):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.golden
def test_recipe(golden):
    info, _ = golden("property_cnns")
    check = info["recipe_check"]
    gains = {k: check[k] for k in ("gain_conv", "gain_fc", "bias_amp")}
    for name, position, shape in (("position0_shape4", 0, (4,)), ("position3_shape2x3", 3, (2, 3))):
        values = recipe_tensor(shape, position, check["seed"], **gains)
        np.testing.assert_allclose(values.flatten().double(), check[name], rtol=0, atol=1e-9)


@pytest.mark.golden
@pytest.mark.parametrize("name", REFERENCE)
def test_golden_outputs(golden, name):
    info, tensors = golden("property_cnns")
    state = network_state(info, name)
    for key, check in info["networks"][name]["checks"].items():
        first = check["first"]
        np.testing.assert_allclose(state[key].flatten()[: len(first)].double(), first, rtol=0, atol=1e-9)
        assert state[key].double().sum().item() == pytest.approx(check["sum_float64"], abs=1e-9)
    net = REFERENCE[name]().eval()
    assert list(net.state_dict()) == list(state)
    net.load_state_dict(state, strict=True)
    images = (tensors["in.image_u8"].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        outputs = net(images)
    if name in FILTER_SPECS:
        outputs = outputs.sigmoid()[:, None]
    tolerance = 2e-5 if name in MANIFEST_NAMES else 5e-6
    torch.testing.assert_close(outputs, tensors[f"out.{name}"], rtol=0, atol=tolerance)


@pytest.mark.golden
@pytest.mark.parametrize("name", REFERENCE)
def test_manifest(golden, name):
    info, _ = golden("manifest_full")
    key = MANIFEST_NAMES.get(name, f"{name}_cnn")
    net = REFERENCE[name]()
    shapes = {k: list(v.shape) for k, v in net.state_dict().items()}
    assert list(shapes.items()) == list(info["manifests"][key].items())
    if key in info["parameter_counts"]:
        assert sum(p.numel() for p in net.parameters()) == info["parameter_counts"][key]


@pytest.mark.golden
def test_output_order_is_the_vocabulary(golden):
    info, _ = golden("property_cnns")
    recorded = info["networks"]["merged"]["output_order"]
    assert [name.replace("back_", "background_") for name in recorded] == list(PROPERTIES)


@pytest.mark.parametrize("build", [MergedPropertyCNN, SmallPropertyCNN])
def test_interface(build):
    net = build().eval()
    images = small_images(2, net.resolution)
    with torch.no_grad():
        scores, features = net(images), net.features(images)
    assert scores.shape == (2, 8)
    assert features.shape == (2, 2048 if build is MergedPropertyCNN else 336)
    assert features.abs().max() <= 1
    twin = type(net)(**net.config).eval()
    twin.load_state_dict(load(save(net.state_dict())), strict=True)
    with torch.no_grad():
        assert torch.equal(twin(images), scores)
        torch.testing.assert_close(net(images[1:]), scores[1:], rtol=0, atol=1e-5)  # the batch has no say


@pytest.mark.parametrize("build", [MergedPropertyCNN, SmallPropertyCNN, lambda: ReferenceFilterCNN("glass")])
def test_a_gradient_reaches_every_parameter(build):
    net = build().eval()
    net(small_images(2, net.resolution)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("build", [MergedPropertyCNN, lambda: ReferenceFilterCNN("quality")])
def test_dropout_is_off_in_eval_mode(build):
    net = build()
    images = small_images(1, 256).expand(2, -1, -1, -1)
    with torch.no_grad():
        assert not torch.allclose(*net.train()(images))
        assert torch.equal(net.eval()(images), net(images))
        torch.testing.assert_close(*net(images))


def test_small_net_is_the_same_in_training_mode():
    net, images = SmallPropertyCNN(width=4), small_images()
    assert torch.equal(net.train()(images), net.eval()(images))


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_small_net_at_any_size(size):
    net = SmallPropertyCNN(width=4, resolution=size)
    assert net(small_images(3, size)).shape == (3, 8)


def test_small_net_is_cheap():
    net = SmallPropertyCNN().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(small_images(1))
    assert counter.get_total_flops() <= 12e6
    assert sum(p.numel() for p in net.parameters()) <= 600_000


@pytest.mark.parametrize(
    ("build", "limits"),
    [  # an area, in 32nds, within which lies all that decides a score
        (MergedPropertyCNN, {"eyes": (12, 18, 8, 24), "mouth": (20, 26, 12, 20), "pose": (14, 20, 11, 21)}),
        (SmallPropertyCNN, {"eyes": (8, 22, 4, 28), "mouth": (16, 30, 8, 24), "pose": (8, 26, 6, 26)}),
        (SmallPropertyCNN, {"hair_length": (16, 32, 0, 32), "background_mean": (0, 16, 0, 32)}),
    ],
)
def test_a_score_depends_on_its_crop_alone(build, limits):
    net = build().eval()
    images = small_images(1, net.resolution).requires_grad_()
    scores, cell = net(images)[0], net.resolution // 32
    for name, (top, bottom, left, right) in limits.items():
        (gradient,) = torch.autograd.grad(scores[PROPERTIES.index(name)], images, retain_graph=True)
        inside = gradient[..., top * cell : bottom * cell, left * cell : right * cell].abs().sum()
        assert inside > 0
        torch.testing.assert_close(gradient.abs().sum(), inside)


def test_hairstyle_of_the_small_net_looks_at_both_sides():
    net, images = SmallPropertyCNN(width=4), small_images(1).requires_grad_()
    (gradient,) = torch.autograd.grad(net(images)[0, PROPERTIES.index("hairstyle")], images)
    used = gradient[0].abs().sum(dim=(0, 1)) > 0
    assert used.tolist() == [not 24 <= column < 40 for column in range(64)]


def test_small_net_inside_functional_transforms():
    net, images = SmallPropertyCNN(width=4), small_images()
    jacobians = vmap(jacrev(lambda image: net(image[None])[0]))(images)
    assert jacobians.shape == (2, 8, 3, 64, 64)
    leaf = images.clone().requires_grad_()
    for i, k in product(range(2), (0, 7)):
        (gradient,) = torch.autograd.grad(net(leaf)[i, k], leaf)
        torch.testing.assert_close(gradient[i], jacobians[i, k])


def test_errors_name_the_remedy():
    with pytest.raises(ValueError, match="resize"):
        SmallPropertyCNN(width=4)(small_images(1, 32))
    with pytest.raises(ValueError, match="32 or more"):
        SmallPropertyCNN(resolution=16)
