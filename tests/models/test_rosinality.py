"""Generators of rosinality's programs: small made-up files, against their forward passes written out here."""

import math

import pytest
import torch
import torch.nn.functional as F

from ohlora_gan.__main__ import main
from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.checkpoint import CheckpointError, weights_hash

Z, FMAPS, TRAINED = 12, (10, 8, 6, 4, 4, 4), 4  # six blocks, to 128x128, of which four were trained: 32x32


def randn(*shape, rng):
    return torch.randn(*shape, generator=rng)


# --- style-based-gan-pytorch ---


def stylegan1_state(fused_from=3, num_mapping=3):
    """A state dict of ``StyledGenerator``: blocks that were not trained have the biases that they began with."""
    rng, state = torch.Generator().manual_seed(0), {}

    def layer(name, out, channels, size=None, trained=True, bias=0.0):
        shape = (out, channels) if size is None else (out, channels, size, size)
        state[f"{name}.weight_orig"] = randn(*shape, rng=rng)
        state[f"{name}.bias"] = 0.3 * randn(out, rng=rng) if trained else torch.full((out,), bias)

    for i in range(num_mapping):
        layer(f"style.{2 * i + 1}.linear", Z, Z)
    for i, channels in enumerate(FMAPS):
        name, before, trained = f"generator.progression.{i}", FMAPS[max(i - 1, 0)], i < TRAINED
        if i == 0:
            state[f"{name}.conv1.input"] = randn(1, channels, 4, 4, rng=rng)
        else:
            if i >= fused_from:
                state[f"{name}.conv1.0.weight"] = randn(before, channels, 3, 3, rng=rng)
                state[f"{name}.conv1.0.bias"] = 0.3 * randn(channels, rng=rng) if trained else torch.zeros(channels)
            else:
                layer(f"{name}.conv1.1.conv", channels, before, 3, trained)
            kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).repeat(channels, 1, 1, 1) / 16
            blur = f"{name}.conv1.{1 if i >= fused_from else 2}"
            state[f"{blur}.weight"] = state[f"{blur}.weight_flip"] = kernel
        for k in (1, 2):
            state[f"{name}.noise{k}.weight_orig"] = 0.5 * trained * randn(1, channels, 1, 1, rng=rng)
            layer(f"{name}.adain{k}.style.linear", 2 * channels, Z, trained=True)
        layer(f"{name}.conv2.conv", channels, channels, 3, trained)
        layer(f"generator.to_rgb.{i}.conv", 3, channels, 1, trained)
    return state


def stylegan1_images(state, z, noise):
    """Their forward pass at the last step that was trained; ``noise`` is one a block, for both of its layers."""

    def equal(name):
        weight = state[f"{name}.weight_orig"]
        return weight * math.sqrt(2 / (weight.shape[1] * weight[0][0].numel()))

    x = z / torch.sqrt((z**2).mean(dim=1, keepdim=True) + 1e-8)
    for name in sorted(k.removesuffix(".weight_orig") for k in state if k.startswith("style.") and "weight" in k):
        x = F.leaky_relu(F.linear(x, equal(name), state[f"{name}.bias"]), 0.2)
    w, out = x, None
    for i in range(TRAINED):
        name = f"generator.progression.{i}"
        if i == 0:
            out = state[f"{name}.conv1.input"].repeat(len(z), 1, 1, 1)
        elif f"{name}.conv1.0.weight" in state:
            weight = state[f"{name}.conv1.0.weight"]
            weight = F.pad(weight * math.sqrt(2 / (weight.shape[0] * 9)), [1, 1, 1, 1])
            weight = (weight[:, :, 1:, 1:] + weight[:, :, :-1, 1:] + weight[:, :, 1:, :-1] + weight[:, :, :-1, :-1]) / 4
            out = F.conv_transpose2d(out, weight, state[f"{name}.conv1.0.bias"], stride=2, padding=1)
            out = F.conv2d(out, state[f"{name}.conv1.1.weight"], padding=1, groups=out.shape[1])
        else:
            out = F.interpolate(out, scale_factor=2, mode="nearest")
            out = F.conv2d(out, equal(f"{name}.conv1.1.conv"), state[f"{name}.conv1.1.conv.bias"], padding=1)
            out = F.conv2d(out, state[f"{name}.conv1.2.weight"], padding=1, groups=out.shape[1])
        for k in (1, 2):
            if k == 2:
                out = F.conv2d(out, equal(f"{name}.conv2.conv"), state[f"{name}.conv2.conv.bias"], padding=1)
            out = F.leaky_relu(out + equal(f"{name}.noise{k}") * noise[i], 0.2)
            style = F.linear(w, equal(f"{name}.adain{k}.style.linear"), state[f"{name}.adain{k}.style.linear.bias"])
            gamma, beta = style[:, :, None, None].chunk(2, 1)
            out = gamma * F.instance_norm(out) + beta
    last = f"generator.to_rgb.{TRAINED - 1}.conv"
    return w, F.conv2d(out, equal(last), state[f"{last}.bias"])


@pytest.mark.parametrize("wrap", [lambda state: {"generator": {"x": torch.zeros(1)}, "g_running": state}, dict])
@pytest.mark.parametrize("fused_from", [2, 3, 5, 9])
def test_stylegan1_makes_the_same_pictures(tmp_path, wrap, fused_from):
    state = stylegan1_state(fused_from)
    torch.save(wrap(state), tmp_path / "x.model")
    net = zoo.open_generator(tmp_path / "x.model").eval()
    assert (net.resolution, net.z_dim, net.label_dim, net.config["mapping_layers"]) == (32, Z, 0, 3)
    rng = torch.Generator().manual_seed(1)
    z, noise = randn(3, Z, rng=rng), [randn(3, 1, 4 << i, 4 << i, rng=rng) for i in range(TRAINED)]
    w, expected = stylegan1_images(state, z, noise)
    with torch.no_grad():
        torch.testing.assert_close(net.map(z), w, atol=1e-5, rtol=1e-5)
        images = net.synthesize(net.map(z), noise=[one for one in noise for _ in range(2)])
        torch.testing.assert_close(images, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)
        fixed = [net.synthesis.layer0.apply_noise.noise, net.synthesis.layer1.apply_noise.noise]
    assert torch.equal(*fixed)


def test_stylegan1_is_kept_by_conversion(tmp_path, capsys):
    torch.save({"g_running": stylegan1_state()}, tmp_path / "x.model")
    net, ours = zoo.open_generator(tmp_path / "x.model"), tmp_path / "ours.safetensors"
    assert main(["convert", str(tmp_path / "x.model"), "--output", str(ours)]) == 0
    assert weights_hash(zoo.open_generator(ours)) == weights_hash(net)
    assert zoo.open_generator(ours).config == net.config
    assert checkpoint.load_info(ours)["found"] == {"generator": "rosinality style-based-gan generator: g_running"}
    z = torch.randn(4096, Z, generator=torch.Generator().manual_seed(9))
    assert (net.map(z).mean(dim=0) - net.w_avg).abs().max() < 0.1 * net.map(z).std()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda s: s.pop("generator.progression.2.noise1.weight_orig"),
            "lacks g_running.generator.progression.2.noise1.weight_orig",
        ),
        (lambda s: s.update({"generator.more": torch.zeros(1)}), "left over: generator.more"),
        (
            lambda s: s.update({"generator.progression.1.conv2.conv.bias": torch.zeros(5)}),
            "g_running.generator.progression.1.conv2.conv.bias [5] instead of [8]",
        ),
        (lambda s: s.update({"style.3.linear.bias": torch.zeros(5)}), "its mapping network is none"),
    ],
)
def test_stylegan1_that_does_not_fit_is_named_as_the_file_names_it(tmp_path, change, told):
    state = stylegan1_state()
    change(state)
    torch.save({"g_running": state}, tmp_path / "x.model")
    with pytest.raises(CheckpointError) as caught:
        zoo.open_generator(tmp_path / "x.model")
    assert told in str(caught.value)
