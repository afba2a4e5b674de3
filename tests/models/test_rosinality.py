"""Generators of rosinality's programs: small made-up files, against their forward passes written out here."""

import argparse
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


def refusal(path, name, state, change):
    """What is said of a file whose network was changed."""
    change(state)
    torch.save({name: state}, path)
    with pytest.raises(CheckpointError) as caught:
        zoo.open_generator(path)
    return str(caught.value)


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
    assert told in refusal(tmp_path / "x.model", "g_running", stylegan1_state(), change)


# --- stylegan2-pytorch ---

SIDES, CHANNELS, NUM_MAPPING = (4, 8, 16, 32), (12, 12, 8, 4), 3
ROW = torch.tensor([1.0, 3.0, 3.0, 1.0])
KERNEL = torch.outer(ROW, ROW) / 64 * 4


def stylegan2_state(channels=CHANNELS):
    """A state dict of their ``Generator``."""
    rng, state = torch.Generator().manual_seed(2), {}
    for i in range(NUM_MAPPING):
        state[f"style.{i + 1}.weight"] = randn(Z, Z, rng=rng) / 0.01
        state[f"style.{i + 1}.bias"] = randn(Z, rng=rng) / 0.01 * 0.1
    state["input.input"] = randn(1, channels[0], 4, 4, rng=rng)

    def modulated(name, out, before, size):
        state[f"{name}.conv.weight"] = randn(1, out, before, size, size, rng=rng)
        state[f"{name}.conv.modulation.weight"] = randn(before, Z, rng=rng)
        state[f"{name}.conv.modulation.bias"] = 1 + 0.3 * randn(before, rng=rng)

    def layer(name, number, out, before, side, up=False):
        modulated(name, out, before, 3)
        state[f"{name}.noise.weight"] = 0.5 * randn(1, rng=rng)
        state[f"{name}.activate.bias"] = 0.3 * randn(out, rng=rng)
        state[f"noises.noise_{number}"] = randn(1, 1, side, side, rng=rng)
        if up:
            state[f"{name}.conv.blur.kernel"] = KERNEL.clone()

    def rgb(name, before, up=True):
        modulated(name, 3, before, 1)
        state[f"{name}.bias"] = 0.3 * randn(1, 3, 1, 1, rng=rng)
        if up:
            state[f"{name}.upsample.kernel"] = KERNEL.clone()

    layer("conv1", 0, channels[0], channels[0], 4)
    rgb("to_rgb1", channels[0], up=False)
    for i, side in enumerate(SIDES[1:]):
        layer(f"convs.{2 * i}", 2 * i + 1, channels[i + 1], channels[i], side, up=True)
        layer(f"convs.{2 * i + 1}", 2 * i + 2, channels[i + 1], channels[i + 1], side)
        rgb(f"to_rgbs.{i}", channels[i + 1])
    return state


def filtered(x, pads):
    """Each channel by the kernel, whose sum is 4."""
    x = F.pad(x, pads)
    return F.conv2d(x, KERNEL.flip(0, 1).expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


def stylegan2_images(state, z):
    """Their forward pass, one sample after the other, with weights modulated and demodulated as in the paper."""
    w = z * torch.rsqrt((z**2).mean(dim=1, keepdim=True) + 1e-8)
    for i in range(NUM_MAPPING):
        weight, bias = state[f"style.{i + 1}.weight"], state[f"style.{i + 1}.bias"]
        w = F.leaky_relu(F.linear(w, weight * 0.01 / math.sqrt(Z)) + bias * 0.01, 0.2) * math.sqrt(2)

    def convolved(x, name, style, demodulate=True, up=False):
        weight, modulation = state[f"{name}.conv.weight"], state[f"{name}.conv.modulation.weight"]
        scale = F.linear(style, modulation / math.sqrt(Z), state[f"{name}.conv.modulation.bias"])
        weight = weight[0] / math.sqrt(weight[0, 0].numel()) * scale[None, :, None, None]
        if demodulate:
            weight = weight * torch.rsqrt((weight**2).sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        if up:
            return filtered(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1, 1, 1))
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def layer(x, name, number, style, up=False):
        x = convolved(x, name, style, up=up)
        x = x + state[f"{name}.noise.weight"] * state[f"noises.noise_{number}"]
        return F.leaky_relu(x + state[f"{name}.activate.bias"].view(1, -1, 1, 1), 0.2) * math.sqrt(2)

    def rgb(x, name, style, image=None):
        made = convolved(x, name, style, demodulate=False) + state[f"{name}.bias"]
        if image is None:
            return made
        spread = torch.zeros(1, 3, 2 * image.shape[2], 2 * image.shape[3])
        spread[:, :, ::2, ::2] = image
        return made + filtered(spread, (2, 1, 2, 1))

    images = []
    for style in w:
        x = layer(state["input.input"], "conv1", 0, style)
        image = rgb(x, "to_rgb1", style)
        for i in range(len(SIDES) - 1):
            x = layer(x, f"convs.{2 * i}", 2 * i + 1, style, up=True)
            x = layer(x, f"convs.{2 * i + 1}", 2 * i + 2, style)
            image = rgb(x, f"to_rgbs.{i}", style, image)
        images.append(image)
    return w, torch.cat(images)


WRAPPED = {
    "their conversion": lambda state, average: {"g_ema": state, "latent_avg": average},
    "their training": lambda state, average: {"g": state, "args": argparse.Namespace(size=32), "ada_aug_p": 0.0},
    "flat": lambda state, average: state,
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_stylegan2_makes_the_same_pictures(tmp_path, wrap):
    state, average = stylegan2_state(), torch.randn(Z)
    torch.save(WRAPPED[wrap](state, average), tmp_path / "x.pt")
    net = zoo.open_generator(tmp_path / "x.pt").eval()
    assert (net.resolution, net.z_dim, net.label_dim, net.num_layers) == (32, Z, 0, 8)
    z = randn(3, Z, rng=torch.Generator().manual_seed(1))
    w, expected = stylegan2_images(state, z)
    with torch.no_grad():
        torch.testing.assert_close(net.map(z), w, atol=1e-5, rtol=1e-5)
        images = net.synthesize(net.map(z))
    torch.testing.assert_close(images, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)
    if wrap == "their conversion":
        assert torch.equal(net.w_avg, average)
    else:
        assert (net.map(torch.randn(4096, Z)).mean(dim=0) - net.w_avg).abs().max() < 0.1 * net.map(z).std()


def test_stylegan2_with_its_discriminator_and_both_generators(tmp_path, capsys):
    """The discriminator's tensors are of no layout that is known: it is left out."""
    state, other = (
        stylegan2_state(),
        {"convs.0.0.weight": torch.zeros(4, 3, 1, 1), "final_linear.1.bias": torch.zeros(1)},
    )
    raw = {key: value + 1 if key.startswith("style") else value for key, value in state.items()}
    torch.save({"g": raw, "d": other, "g_ema": state, "latent_avg": torch.zeros(Z)}, tmp_path / "x.pt")
    net = zoo.open_generator(tmp_path / "x.pt")
    assert torch.equal(net.mapping.fc0.weight, state["style.1.weight"])
    assert main(["inspect", str(tmp_path / "x.pt")]) == 0
    said = capsys.readouterr().out
    assert "generator_smooth: rosinality StyleGAN2 generator: g_ema" in said
    assert "d: left out: of no layout that is known" in said
    ours = tmp_path / "ours.safetensors"
    assert main(["convert", str(tmp_path / "x.pt"), "--output", str(ours)]) == 0
    assert weights_hash(zoo.open_generator(ours)) == weights_hash(net)


def test_stylegan2_without_noise_gets_some_that_is_the_same_every_time(tmp_path):
    state = {key: value for key, value in stylegan2_state().items() if not key.startswith("noises.")}
    torch.save({"g_ema": state}, tmp_path / "x.pt")
    first, second = (zoo.open_generator(tmp_path / "x.pt") for _ in range(2))
    assert first.synthesis.b32.conv1.noise_const.std() > 0.9
    assert weights_hash(first) == weights_hash(second)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("convs.2.noise.weight"), "lacks g_ema.convs.2.noise.weight, part of the rosinality StyleGAN2"),
        (lambda s: s.pop("to_rgb1.bias"), "lacks g_ema.to_rgb1.bias"),
        (lambda s: s.update({"more.weight": torch.zeros(1)}), "left over: more.weight"),
        (
            lambda s: s.update({"convs.1.activate.bias": torch.zeros(5)}),
            "g_ema.convs.1.activate.bias [5] instead of [12]",
        ),
        (
            lambda s: s["convs.0.conv.blur.kernel"].fill_(0.25),
            "convs.0.conv.blur.kernel is another filter than 1, 3, 3",
        ),
        (
            lambda s: s["input.input"].view(-1)[0].fill_(float("inf")),
            "1 of the 192 weights of g_ema.input.input are not",
        ),
    ],
)
def test_stylegan2_that_does_not_fit_is_named_as_the_file_names_it(tmp_path, change, told):
    assert told in refusal(tmp_path / "x.pt", "g_ema", stylegan2_state(), change)


def test_stylegan2_of_odd_feature_maps_is_refused(tmp_path):
    torch.save({"g_ema": stylegan2_state((12, 8, 12, 4))}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="8 feature maps at 8x8, which no base and maximum give"):
        zoo.open_generator(tmp_path / "x.pt")
