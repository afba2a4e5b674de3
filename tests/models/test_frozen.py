"""Frozen synthesis networks make the plain network's pictures: recorded ones, and those of every kind of network."""

import pytest
import torch

from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.frozen import FrozenGenerator
from tests import tiny
from tests.recordings import build_generator, state_of


def randomized(**changes):
    """A generator of which every weight matters."""
    made = tiny.generator(**changes)
    draws = torch.Generator().manual_seed(5)
    for tensor in made.parameters():
        tensor.data += 0.3 * torch.randn(tensor.shape, generator=draws)
    return made.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@pytest.mark.golden
@pytest.mark.parametrize("resolution", [64, 256])
@pytest.mark.parametrize("version", ["v1", "v9"])
def test_recorded_pictures(golden, version, resolution):
    info, t = golden(f"generator_{version}_{resolution}")
    net = build_generator(info["constructor"], version == "v9").eval()
    net.load_state_dict(state_of(t), strict=True)
    with torch.no_grad():
        image = FrozenGenerator(net).synthesize(net.map(t["in.z"], t["in.label"]), 1.0, 0, None)
    expected = t["out.image"]
    assert (image[: len(expected)] - expected).abs().max() <= 2e-4


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("with_noise", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{}, {"bias_before_blur": True}, {"final_tanh": True}, {"fused_from": 16}, {"norm_epsilon": 1e-5}],
    ids=str,
)
def test_every_kind_of_network(changes, with_noise, n):
    net = randomized(**changes)
    frozen = FrozenGenerator(net)
    w = torch.randn(n, net.num_layers, net.w_dim)
    noise = [torch.randn(n, 1, side, side) for side in net.noise_sides] if with_noise else None
    expected = net.synthesize(w, 0.7, 4, noise)
    for _ in range(2):  # the second time nothing that was worked out has been changed
        assert (frozen.synthesize(w, 0.7, 4, noise) - expected).abs().max() < 2e-5 * expected.abs().max()


def loaded(net):
    net.load_state_dict(randomized(seed=9).state_dict())


def poked(net):
    net.synthesis.layer3.weight.data[0, 0, 0, 0] += 1.0


def fused_step(net):  # does not count as a change with PyTorch
    net.requires_grad_(True)
    optimizer = torch.optim.AdamW(net.synthesis.parameters(), lr=1e-2, fused=True)
    net.synthesize(torch.ones(1, net.w_dim)).square().sum().backward()
    optimizer.step()
    net.requires_grad_(False)


@pytest.mark.parametrize("change", [loaded, poked, fused_step])
def test_weights_that_are_changed_are_seen(change):
    net = randomized()
    frozen = FrozenGenerator(net)
    w = torch.randn(2, net.w_dim)
    before = frozen.synthesize(w, 1.0, 0, None)
    change(net)
    after = frozen.synthesize(w, 1.0, 0, None)
    assert (after - before).abs().max() > 0.01
    assert (after - net.synthesize(w)).abs().max() < 2e-5 * after.abs().max()


def test_other_networks_are_asked_themselves():
    class Half(type(tiny.generator())):
        def synthesize(self, w, *others):
            return super().synthesize(w, *others) / 2

    net = Half(**tiny.generator().config).eval()
    w = torch.randn(2, net.w_dim)
    assert torch.equal(FrozenGenerator(net).synthesize(w, 1.0, 0, None), net.synthesize(w))


def test_pictures_of_a_space_are_those_of_its_derivatives():
    space = FaceSpace(randomized(), tiny.scorer())
    codes = space.w("test", range(3))
    (images,) = space.render(W(), codes)
    assert (images - space.synthesize(torch.from_numpy(codes))).abs().max() < 2e-5 * images.abs().max()
    assert not images.requires_grad
