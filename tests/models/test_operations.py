"""Derivatives written by hand are those of the function, and updates are those of plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from ohlora_gan.models.operations import FixedConv, StyledNorm, box_filtered
from ohlora_gan.training.gan import RealScore, discriminator_loss, discriminator_trainable, set_trainable
from tests import tiny


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_styled_norm_has_its_derivative():
    x, scale, shift = (random(2, 3, *sides).requires_grad_() for sides in ((4, 4), (1, 1), (1, 1)))
    y = F.instance_norm(x, eps=1e-5) * (1 + scale) + shift
    assert torch.allclose(StyledNorm.apply(x, scale, shift, 1e-5), y)
    assert gradcheck(lambda *given: StyledNorm.apply(*given, 1e-5), (x, scale, shift))


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 1, 1), (4, 2, 1), (1, 1, 1), (3, 1, 4)])
@pytest.mark.parametrize("transposed", [False, True])
def test_fixed_convolutions_have_their_derivatives(kernel, stride, groups, transposed):
    x, weight, bias = random(2, 4, 6, 6).requires_grad_(), random(4, 4 // groups, kernel, kernel), random(4)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    expected = convolve(x, weight, bias, stride=stride, padding=(kernel - 1) // 2, groups=groups)
    work = lambda x: FixedConv.apply(x, weight, bias, stride, groups, transposed)  # noqa: E731
    assert torch.equal(work(x), expected)
    assert gradcheck(work, (x,))
    assert gradgradcheck(work, (x,))


@pytest.mark.parametrize("mirrored", [False, True])
def test_box_filtered_kernels_are_sums_of_shifted_ones(mirrored):
    weight = random(5, 3, 3, 3)
    padded = F.pad(weight.flip(2, 3) if mirrored else weight, (1, 1, 1, 1))
    parts = (padded[:, :, i : i + 4, j : j + 4] for i in range(2) for j in range(2))
    assert torch.allclose(box_filtered(weight.float(), mirrored).double(), sum(parts), atol=1e-5)


def test_gradients_of_a_discriminator_do_not_depend_on_what_is_frozen():
    """R1 through frozen layers, which are differentiated in another way, brings the gradients of plain autograd."""
    images, found = random(4, 3, 32, 32).float(), []
    for frozen in (False, True):
        d = tiny.discriminator()
        trained = [p for name, p in d.named_parameters() if name.split(".")[0] in ("layer4", "layer5", "layer6")]
        if frozen:
            d.requires_grad_(False)
            for parameter in trained:
                parameter.requires_grad_(True)
        loss = discriminator_loss(d, images, images.flip(0), None, 10.0).loss
        loss.backward(inputs=trained)
        found.append([p.grad for p in trained])
    for plain, ours in zip(*found, strict=True):
        assert (plain - ours).abs().max() <= 1e-4 * plain.abs().max()


@pytest.mark.parametrize("resolution", [16, 8, 4])
def test_what_frozen_layers_make_of_real_images_is_kept_between_the_repeats_of_an_update(resolution, monkeypatch):
    """The same losses and gradients to the bit, the frozen layers run once."""
    d, images = tiny.discriminator(), random(4, 3, 32, 32).float().requires_grad_()
    set_trainable(d, discriminator_trainable(d, resolution))
    trained = [p for name, p in d.named_parameters() if p.requires_grad and not name.startswith("input")]
    calls = []
    monkeypatch.setattr(d, "features", lambda *args: calls.append(args) or type(d).features(d, *args))

    def repeats(score: RealScore) -> list:
        found = []
        for factor in (1.0, 1.5, 0.5):
            with torch.no_grad():
                trained[-1].mul_(factor)
            loss = discriminator_loss(d, images, images.detach().flip(0), None, 10.0, score).loss
            loss.backward(inputs=trained)
            found += [loss.detach(), *(p.grad for p in trained)]
            d.zero_grad(set_to_none=True)
        with torch.no_grad():
            trained[-1].div_(0.75)
        return found

    plain = repeats(RealScore(d, None, 0.0))
    assert not calls
    kept = RealScore(d, resolution, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(plain, repeats(kept), strict=True))
    assert len(calls) == 1
    kept.forget()
    kept(images, None)
    assert len(calls) == 2


def test_nothing_is_kept_where_all_layers_train_or_the_discriminator_still_grows(monkeypatch):
    d, images = tiny.discriminator(), random(2, 3, 32, 32).float()
    monkeypatch.setattr(d, "features", None)
    for score in (RealScore(d, 32, 0.0), RealScore(d, None, 0.0), RealScore(d, 8, 0.5)):
        assert torch.equal(score(images, None), d(images, lod=score.lod))
