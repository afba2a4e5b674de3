"""Pictures are inverted: what the generator made is found again, by hand-made scorers where figures matter."""

import numpy as np
import pytest
import torch

from ohlora_gan.editing.invert import Inversion, Inverter, Learning, Spread, anchored
from ohlora_gan.editing.moves import StraightMover
from ohlora_gan.latents.layers import Anchored, MappingSplit1, MappingSplit2, W, WPlus, Z
from ohlora_gan.latents.space import FaceSpace
from tests import tiny
from tests.commands.test_edit import directions

FEW = Learning(num=64, epochs=1)
LAYERS = [Z(), W(), MappingSplit1(), MappingSplit2(), WPlus(), WPlus(2, 5)]


@pytest.fixture(scope="module")
def space():
    return FaceSpace(tiny.generator(), tiny.scorer())


@pytest.fixture(scope="module")
def pictures(space):
    return space.images(W(), space.w("test", range(3)))


def unrelated_w(space, num=2):
    """One w a layer that no z makes."""
    shape = (num, space.generator.num_layers, space.generator.w_dim)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_picture_of_the_generator_is_found_again(space, pictures):
    start = Inverter(space, how=Inversion(steps=0, layer_steps=0), learning=None).invert(pictures)
    found = Inverter(space, how=Inversion(steps=30, layer_steps=20), learning=None).invert(pictures)
    assert found.residual.mean() < 0.5 * start.residual.mean()
    assert np.abs(found.scores - found.wanted).mean() < 0.5 * np.abs(start.scores - start.wanted).mean()
    assert start.starts == ["average"] * 3
    difference = np.abs(found.images.astype(float) - pictures).mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(found.residual, difference, atol=1e-3)
    assert found.w.shape == (3, space.generator.num_layers, space.generator.w_dim)


def test_a_face_does_not_depend_on_those_beside_it(space, pictures):
    inverter = Inverter(space, how=Inversion(steps=5, layer_steps=5), learning=None)
    both = inverter.invert(pictures)
    np.testing.assert_allclose(inverter.invert(pictures[1:2]).w, both[[1]].w, atol=1e-3)


def test_the_prior_holds_faces_near(space, pictures):
    far, near = (Inverter(space, how=Inversion(30, 0, out=out), learning=None) for out in (0.0, 3.0))
    far, near = far.invert(pictures), near.invert(pictures)
    assert (near.distance < far.distance).all()
    assert (near.w == near.w[:, :1]).all()  # one w for all layers


def test_what_is_learnt_is_kept_and_mended_where_damaged(space, pictures, tmp_path, monkeypatch):
    how = Inversion(steps=0, layer_steps=0)
    first = Inverter(space, tmp_path, how, FEW).invert(pictures)
    (path,) = tmp_path.glob("encoder_*.safetensors")
    with monkeypatch.context() as without:
        without.setattr(Inverter, "learn", lambda *_: pytest.fail("it was learnt again"))
        again = Inverter(space, tmp_path, how, FEW).invert(pictures)
    np.testing.assert_array_equal(first.w, again.w)
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_allclose(Inverter(space, tmp_path, how, FEW).invert(pictures).w, first.w, atol=1e-5)
    other = FaceSpace(tiny.generator(seed=9), tiny.scorer())
    Inverter(other, tmp_path, how, FEW).invert(pictures)
    assert len(list(tmp_path.glob("encoder_*.safetensors"))) == 2


def test_the_best_start_is_taken(space):
    """A face that was learnt from is found among the samples, nearly as it is."""
    inverter = Inverter(space, None, Inversion(steps=0, layer_steps=0, out=0), FEW)
    own = space.images(W(), inverter.sampled[5:6].numpy())
    found = inverter.invert(own)
    assert found.starts == ["sample"]
    assert found.residual[0] < 0.01


def test_pictures_of_another_size_are_refused(space):
    with pytest.raises(ValueError, match=r"shape \[1, 16, 16, 3\], expected \[N, 32, 32, 3\]"):
        Inverter(space, learning=None).invert(np.zeros((1, 16, 16, 3), np.uint8))


def test_a_generator_without_scorer_inverts_too(pictures):
    bare = FaceSpace(tiny.generator())
    start, found = (Inverter(bare, how=Inversion(steps, 0), learning=None).invert(pictures) for steps in (0, 30))
    assert found.scores.shape == (3, 0)
    assert found.residual.mean() < 0.6 * start.residual.mean()


def test_spread():
    w = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0, 0.5, 0.0]) + 2
    spread = Spread.of(w)
    assert spread.axes.shape == (3, 4)  # the last never varies
    u = spread.u(w)
    torch.testing.assert_close(torch.cov(u.T), torch.eye(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(spread.w(u), w, atol=1e-4, rtol=0)
    assert (spread.out(w) <= spread.outermost).float().mean() == pytest.approx(0.999, abs=2e-3)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_any_w_is_a_face_at_any_layer(space, layer):
    wp = unrelated_w(space)
    where, codes = anchored(space, layer, wp)
    assert codes.shape == (2, where.size(space.generator))
    with torch.no_grad():
        there = where.to_w(space.generator, torch.from_numpy(codes))
    np.testing.assert_allclose(there.numpy(), wp, atol=1e-4)
    assert where.free(space.generator) == layer.free(space.generator)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_sampled_faces_are_the_same_at_an_anchored_layer(space, layer):
    latents = space.latents("test", range(2))
    codes = space.codes(layer, *latents)
    where = Anchored(layer)
    images = space.images(where, space.codes(where, *latents)).astype(int)
    assert np.abs(images - space.images(layer, codes)).max() <= 1


def test_an_edit_moves_a_given_face_as_it_moves_w(space):
    wp = unrelated_w(space)
    found = directions(slopes=np.ones((3, 1)))
    where, codes = anchored(space, W(), wp)
    moved = StraightMover(found)(codes, ["all"] * 2, {"eyes": [0.5]}).codes[:, 0]
    with torch.no_grad():
        there = where.to_w(space.generator, torch.from_numpy(moved)).numpy()
    np.testing.assert_allclose(there - wp, np.broadcast_to(0.5 * found.directions[0, 0], wp.shape), atol=1e-4)
