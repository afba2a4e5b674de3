"""Derivatives through generator and scorer: against finite differences, and whatever the batch."""

import numpy as np
import pytest
import torch

from ohlora_gan.latents.layers import MappingSplit1, W, WPlus
from ohlora_gan.latents.space import FaceSpace, render_with_graph, score_jacobian
from tests import tiny
from tests.analytic_world import SIZE, make_world

BENT = {"painted": torch.tanh, "scored": lambda scores: scores + 0.1 * scores**2, "gain": 0.5}


def codes_of(space, layer, num=5):
    return space.codes(layer, *space.latents("bank", range(num)))


@pytest.mark.parametrize("layer", [W(), WPlus(), WPlus(1, 1)], ids=lambda layer: layer.name)
def test_it_equals_finite_differences(layer):
    space = make_world(**BENT).space
    codes = codes_of(space, layer)
    scores, jacobian = score_jacobian(space, layer, codes)
    np.testing.assert_allclose(scores, space.score_codes(layer, codes), atol=1e-5)
    assert scores.dtype == jacobian.dtype == np.float32
    assert jacobian.shape == (5, 5, layer.size(space.generator))
    h = 0.01
    for d in range(codes.shape[1]):
        step = np.zeros(codes.shape[1], dtype=np.float32)
        step[d] = h
        ahead, behind = (space.score_codes(layer, codes + sign * step) for sign in (1, -1))
        np.testing.assert_allclose(jacobian[:, :, d], (ahead - behind) / (2 * h), atol=2e-3)


def test_in_a_linear_world_it_is_the_response():
    world = make_world()
    jacobian = score_jacobian(world.space, W(), codes_of(world.space, W()))[1]
    np.testing.assert_allclose(jacobian, np.repeat(world.response[None], 5, axis=0), atol=1e-5)


def test_a_layer_of_wplus_has_its_own_share():
    world = make_world()
    jacobian = score_jacobian(world.space, WPlus(), codes_of(world.space, WPlus()))[1]
    first, second = jacobian[..., :SIZE], jacobian[..., SIZE:]
    np.testing.assert_allclose(first + second, np.repeat(world.response[None], 5, axis=0), atol=1e-5)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize("layer", [W(), MappingSplit1()], ids=lambda layer: layer.name)
def test_networks_give_the_same_whatever_the_batch(layer):
    found = []
    for batch_size in (1, 2, 8):
        space = FaceSpace(tiny.generator(), tiny.scorer(), batch_size=batch_size)
        found.append(score_jacobian(space, layer, codes_of(space, layer)))
    for scores, jacobian in found[1:]:
        np.testing.assert_allclose(scores, found[0][0], atol=1e-4)
        np.testing.assert_allclose(jacobian, found[0][1], atol=1e-4 * np.abs(found[0][1]).max())


def test_networks_follow_their_derivatives():
    """A random network wiggles, so the step is small."""
    space = FaceSpace(tiny.generator(), tiny.scorer())
    codes = codes_of(space, W())
    direction = np.random.default_rng(0).standard_normal(codes.shape[1]).astype(np.float32)
    h = 3e-4 * np.linalg.norm(codes, axis=1).mean() / np.linalg.norm(direction)
    predicted = score_jacobian(space, W(), codes)[1] @ direction
    ahead, behind = (space.score_codes(W(), codes + sign * h * direction) for sign in (1, -1))
    assert np.corrcoef(predicted.ravel(), ((ahead - behind) / (2 * h)).ravel())[0, 1] > 0.995


def test_derivatives_that_are_not_finite_are_said():
    space = make_world(scored=lambda scores: torch.sqrt(scores - scores.detach())).space
    with pytest.raises(ValueError, match="3 of 3 vectors have derivatives that are not finite: use device=cpu"):
        score_jacobian(space, W(), codes_of(space, W(), 3))


def test_vectors_are_leaves_and_stay_as_they_are():
    world = make_world()
    codes = codes_of(world.space, W())
    kept = codes.copy()
    v, images = render_with_graph(world.space, W(), codes)
    assert v.is_leaf
    assert images.requires_grad
    images.sum().backward()
    np.testing.assert_allclose(v.grad.numpy()[0], 3 * world.paint.sum(axis=(0, 2)), atol=1e-4)
    np.testing.assert_array_equal(codes, kept)
