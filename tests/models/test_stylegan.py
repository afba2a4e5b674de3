"""StyleGAN2 and 3: their arithmetic against slow, literal versions of it, and what they are as generators."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ohlora_gan.latents.layers import WPlus
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import resampling
from ohlora_gan.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ohlora_gan.models.stylegan3 import StyleGAN3Generator
from tests import nvidia_files as nv
from tests import tiny

KINDS = [(2, {}), (2, {"architecture": "resnet"}), (2, {"architecture": "orig"}), (3, {}), (3, {"conv_kernel": 1})]


# --- Filters ---


def literal_filter(x, taps, up, down, padding, gain):
    """Zeros between values, padding, a true convolution by loops over the taps, every ``down``-th value."""
    square = torch.outer(taps, taps) if taps.ndim == 1 else taps
    n, c, height, width = x.shape
    wide = x.new_zeros(n, c, height * up, width * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, list(padding))
    rows, columns = (wide.shape[i] - len(square) + 1 for i in (2, 3))
    made = x.new_zeros(n, c, rows, columns)
    for i in range(len(square)):
        for j in range(len(square)):
            made += square[-1 - i, -1 - j] * wide[:, :, i : i + rows, j : j + columns]
    return made[:, :, ::down, ::down] * gain


@pytest.mark.parametrize("shape", [(4, 4), (12,), (9,)])
@pytest.mark.parametrize("padding", [(5, 4, 3, 6), (-1, 2, -2, 1)])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (1, 2), (2, 1), (4, 1), (3, 1)])
def test_filters_are_what_their_definition_says(shape, padding, up, down):
    draws = torch.Generator().manual_seed(0)
    x, taps = torch.randn(2, 3, 15, 14, generator=draws), torch.randn(shape, generator=draws)
    if up > 1:
        made = resampling.upsampled(x, taps, up, padding)
        wanted = literal_filter(x, taps, up, 1, padding, up * up)
    else:
        made = resampling.filtered(x, taps, padding, down, gain=3.0)
        wanted = literal_filter(x, taps, 1, down, padding, 3.0)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 5], [1, 2]])
def test_resampling_convolutions_are_filters_and_convolutions(kernel, taps):
    draws = torch.Generator().manual_seed(1)
    x, weight = torch.randn(2, 3, 8, 8, generator=draws), torch.randn(4, 3, kernel, kernel, generator=draws)
    square, edge = resampling.normalized_filter(taps), kernel // 2
    low, high = (len(taps) - 1) // 2, (len(taps) - 2) // 2
    small = F.conv2d(literal_filter(x, square, 1, 1, [low + edge, high + edge] * 2, 1.0), weight, stride=2)
    torch.testing.assert_close(resampling.resampling_conv(x, weight, square, down=2), small, rtol=1e-4, atol=1e-4)
    wide = x.new_zeros(2, 3, 16, 16)
    wide[:, :, ::2, ::2] = x
    wide = F.conv2d(F.pad(wide, [8] * 4), weight.flip(2, 3))  # a true convolution
    pad = [(len(taps) + 1) // 2 + edge, (len(taps) - 2) // 2 + edge]
    large = literal_filter(wide, square, 1, 1, [p - 8 for p in pad] * 2, 4.0)
    torch.testing.assert_close(resampling.resampling_conv(x, weight, square, up=2), large, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("num", "cutoff", "width", "rate"), [(12, 2.0, 12.6, 32), (24, 14.0, 9.0, 64), (7, 5.0, 3, 64)]
)
def test_lowpass_filters_are_scipys(num, cutoff, width, rate):
    from scipy import signal, special

    wanted = signal.firwin(num, cutoff, width=width, fs=rate)
    np.testing.assert_allclose(resampling.lowpass(num, cutoff, width, rate).numpy(), wanted, rtol=1e-5, atol=1e-8)
    made = resampling.lowpass(num, cutoff, width, rate, radial=True).numpy()
    places = (np.arange(num) - (num - 1) / 2) / rate
    radii = np.maximum(np.hypot(*np.meshgrid(places, places)), 1e-9)
    ideal = special.j1(2 * cutoff * np.pi * radii) / (np.pi * radii)
    window = np.kaiser(num, signal.kaiser_beta(signal.kaiser_atten(num, width / (rate / 2))))
    ideal *= np.outer(window, window)
    np.testing.assert_allclose(made, ideal / ideal.sum(), rtol=1e-5, atol=1e-8)
    assert resampling.lowpass(1, cutoff, width, rate) is None


# --- Layers ---


def modulated(layer, x, w):
    """Equations 1 to 3 of the StyleGAN2 paper, a kernel for each sample."""
    style = layer.affine(w)
    kernels = layer.weight[None] * style[:, None, :, None, None]
    return kernels * torch.rsqrt(kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)


def test_a_layer_of_stylegan2_is_the_papers():
    layer = nv.generator(conv_clamp=0.8).synthesis.b8.conv1
    x, w = torch.randn(2, 8, 8, 8), torch.randn(2, 8)
    kernels = modulated(layer, x, w)
    wanted = torch.cat([F.conv2d(x[i : i + 1], kernels[i], padding=1) for i in range(2)])
    wanted = wanted + layer.noise_const * layer.noise_strength + layer.bias.view(1, -1, 1, 1)
    wanted = (F.leaky_relu(wanted, 0.2) * math.sqrt(2)).clamp(-0.8, 0.8)
    torch.testing.assert_close(layer(x, w), wanted, rtol=1e-4, atol=1e-4)
    halved = (wanted * 0.5).clamp(-0.4, 0.4)
    torch.testing.assert_close(layer(x, w, gain=0.5), halved, rtol=1e-4, atol=1e-4)


def test_a_convolution_of_stylegan3_has_unit_outputs():
    layer = nv.generator(3).synthesis.L1_36_8
    x, w = torch.randn(2, 8, 36, 36), torch.randn(2, 8)
    kernels = modulated(layer, x, w) / math.sqrt(0.7)  # the magnitude of its input
    wanted = torch.cat([F.conv2d(x[i : i + 1], kernels[i], padding=2) for i in range(2)])
    torch.testing.assert_close(layer.convolve(x, layer.affine(w)), wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_pictures_of_stylegan3_move_with_its_transform():
    g = nv.generator(3, resolution=64, margin_size=10, num_layers=6)
    w, waves = g.map(torch.randn(1, 8)), g.synthesis.input
    waves.affine.weight.zero_()
    waves.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
    before = waves(w)
    # the transform is that of the plane, of side 1 for 16 samples here, seen from the moved picture
    waves.transform[0, 2] = 3 / waves.band.rate
    moved = waves(w)
    assert not torch.allclose(before, moved, atol=0.01)
    torch.testing.assert_close(moved[..., :-3], before[..., 3:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_scores_depend_on_every_tensor(architecture):
    d = nv.discriminator(architecture=architecture, label_dim=3).requires_grad_(True)
    d(torch.randn(4, 3, 16, 16), F.one_hot(torch.tensor([0, 1, 2, 1])).float()).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in d.parameters())


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_pictures_depend_on_every_tensor(kind, changes):
    g = nv.generator(kind, label_dim=3, **changes).requires_grad_(True)
    g(torch.randn(2, 8), F.one_hot(torch.tensor([0, 2])).float(), psi=0.5, num_truncated=2).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in g.parameters())


# --- As generators of ours ---


@pytest.mark.parametrize(("kind", "changes"), KINDS)
@torch.no_grad()
def test_what_a_generator_says_of_itself_is_so(kind, changes):
    g = nv.generator(kind, image_channels=1, **changes)
    w = g.map(torch.randn(2, 8))
    assert w.shape == (2, g.w_dim)
    images = g.synthesize(w)
    assert images.shape == (2, g.image_channels, g.resolution, g.resolution)
    assert torch.equal(images, g.synthesize(w.unsqueeze(1).expand(-1, g.num_layers, -1)))
    torch.testing.assert_close(g.synthesize(w, 0.0, g.num_layers), g.synthesize(g.w_avg.expand(2, -1)))
    changed = [not torch.allclose(images, g.synthesize(with_other(g, w, i))) for i in range(g.num_layers)]
    assert all(changed)
    noise = [torch.randn(2, 1, side, side) for side in g.noise_sides]
    assert torch.allclose(images, g.synthesize(w, noise=noise)) != bool(noise)
    assert type(g)(**g.config).config == g.config


def with_other(g, w, layer):
    wp = w.unsqueeze(1).repeat(1, g.num_layers, 1)
    wp[:, layer] += 1
    return wp


def test_grey_pictures_are_scored_and_shown_as_colours():
    space = FaceSpace(nv.generator(resolution=32, image_channels=1, label_dim=3), tiny.scorer())
    z, label = space.latents("x", range(4))
    assert sorted(label.sum(dim=1).tolist()) == [1.0] * 4  # classes
    codes = space.codes(WPlus(), z, label)
    assert codes.shape == (4, space.generator.num_layers * 8)
    assert space.images(WPlus(), codes).shape == (4, 32, 32, 3)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
@torch.no_grad()
def test_half_precision_gives_nearly_the_same_pictures(kind, changes):
    g = nv.generator(kind, **changes)
    w = g.map(torch.randn(4, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = g.synthesize(w).float()
        assert torch.equal(g.map(torch.zeros(1, 8)), g.map(torch.zeros(1, 8)).float())
    whole = g.synthesize(w)
    assert (half - whole).square().mean().sqrt() < 0.05 * whole.std()


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (StyleGAN2Generator, {"colour": 3}, "no setting 'colour', expected some of resolution"),
        (StyleGAN2Generator, {"mapping": {"depth": 3}}, "no setting 'depth', expected some of num_layers"),
        (StyleGAN2Generator, {"activation": "cubic"}, "activation is 'cubic', expected one of linear"),
        (StyleGAN2Generator, {"resolution": 100}, "resolution is 100, expected a power of two"),
        (StyleGAN2Discriminator, {"architecture": "skipped"}, "architecture is 'skipped'"),
        (StyleGAN3Generator, {"num_layers": 1}, "num_layers is 1, expected a whole number from 2"),
        (StyleGAN3Generator, {"num_critical": 14}, "num_critical is 14, expected a whole number from 0 to 13"),
        (StyleGAN3Generator, {"image_channels": 2}, "2 channels"),
    ],
)
def test_settings_that_cannot_be_are_named(make, settings, words):
    with pytest.raises(ValueError, match=words):
        make(**settings)


def test_a_discriminator_names_pictures_and_batches_that_it_cannot_take():
    d = nv.discriminator()
    with pytest.raises(ValueError, match=r"\(3, 8, 8\), expected \(3, 16, 16\)"):
        d(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="a batch of 6 cannot be split"):
        d(torch.zeros(6, 3, 16, 16))


@pytest.mark.slow
@torch.no_grad()
def test_stylegan2_of_full_size(tmp_path):
    from ohlora_gan.models import zoo

    made = nv.generator(resolution=256, z_dim=512, w_dim=512, channel_base=16384, channel_max=512, mapping={})
    path = nv.write(tmp_path / "ffhq256.pkl", {"G_ema": nv.store(made), "training_set_kwargs": {}})
    g = zoo.open_generator(path)
    assert sum(p.numel() for p in g.parameters()) == 24_767_458
    space = FaceSpace(g, batch_size=2, truncation_psi=0.7)
    images = space.images(WPlus(), space.codes(WPlus(), *space.latents("x", range(2))))
    assert images.shape == (2, 256, 256, 3)
    assert images.std() > 10
