"""Every method against a world whose directions are known: correlated samples, attributes that are not orthogonal."""

import numpy as np
import pytest

from ohlora_gan.directions.base import Geometry, group_names, medians
from ohlora_gan.directions.derivatives import GradientFinder, LocalJacobianFinder, MeanJacobianFinder, MixedFinder
from ohlora_gan.directions.linear import RidgeFinder, SvmFinder
from ohlora_gan.editing.closed_loop import ClosedLoop, Steps
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import free_jacobian
from ohlora_gan.training.gradient_net import NetTrainer
from tests.analytic_world import EDITED, NAMES, make_world

N = 2000
NETS = NetTrainer(max_epochs=3, lr=3e-3)
GROUP_BY = ("hair", "skin")
PUBLISHED = {
    "svm": SvmFinder(),
    "gradient": GradientFinder(NETS),
    "mixed": MixedFinder({"eyes": GradientFinder(NETS), "mouth": SvmFinder(), "pose": SvmFinder()}),
}
"""Methods that follow a score's own rise, whatever else changes."""


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module")
def samples(world):
    codes = world.space.codes(W(), *world.space.latents("bank", range(N)))
    return codes, world.space.score_codes(W(), codes)


def fitted(finder, world, samples, groups=None):
    return finder.fit(*samples, groups, names=NAMES, edited=EDITED, geometry=Geometry(free_jacobian(world.space, W())))


def cosines(finder, truth, samples):
    """Of directions at points, for methods that depend on them, or of all groups, with the true ones."""
    at_points = [finder.direction(x) for x in samples[0][:10]] if finder.pointwise else []
    found = np.stack(at_points, axis=1) if at_points else finder.directions_
    return np.einsum("kgd,kd->kg", found, truth)


def test_the_world_is_as_correlated_as_it_says(world, samples):
    codes, scores = samples
    np.testing.assert_allclose(scores, codes @ world.response.T, atol=1e-4)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=0.1)
    assert np.abs(np.corrcoef(scores.T) - np.eye(len(NAMES))).max() > 0.4  # of samples
    assert np.abs(world.leakage(world.truth(False))[:, :3] - np.eye(3)).max() > 0.4  # of directions
    assert np.abs(world.leakage(world.truth(True)) - np.eye(3, len(NAMES))).max() < 1e-6


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_methods_follow_the_score_itself(method, world, samples):
    finder, truth = fitted(PUBLISHED[method], world, samples), world.truth(decorrelate=False)
    assert np.einsum("kgd,kd->kg", finder.directions_, truth).min() > 0.99
    assert cosines(finder, truth, samples).min() > 0.85
    np.testing.assert_allclose(world.leakage(finder.directions_[:, 0]), world.leakage(truth), atol=0.1)


def test_svm_in_groups(world, samples):
    scores = samples[1]
    groups = group_names(scores, medians(scores, NAMES, GROUP_BY), NAMES)
    finder = fitted(SvmFinder(), world, samples, groups)
    assert finder.group_names_ == ["hh", "hl", "lh", "ll"]
    assert cosines(finder, world.truth(decorrelate=False), samples).min() > 0.95


BETTER = {
    "ridge": (RidgeFinder, {}, 0.999, 0.03),
    "mean_jacobian": (MeanJacobianFinder, {"num_jacobians": 20}, 0.99999, 1e-3),
    "local_jacobian": (LocalJacobianFinder, {"num_jacobians": 20}, 0.99999, 1e-3),
}
"""Methods that decorrelate: class, settings, the least cosine, and the most leakage in sigmas a sigma."""


@pytest.mark.parametrize("method", BETTER)
def test_decorrelated_methods_have_no_leakage(method, world, samples):
    make, settings, least, most = BETTER[method]
    finder = fitted(make(decorrelate="all", **settings), world, samples)
    assert cosines(finder, world.truth(decorrelate=True), samples).min() > least
    assert np.abs(world.leakage(finder.direction(samples[0][0])) - np.eye(3, len(NAMES))).max() < most


@pytest.mark.parametrize("method", BETTER)
def test_without_decorrelation_the_leakage_is_what_it_is(method, world, samples):
    make, settings, least, _ = BETTER[method]
    finder = fitted(make(decorrelate="none", **settings), world, samples)
    truth = world.truth(decorrelate=False)
    assert cosines(finder, truth, samples).min() > least
    np.testing.assert_allclose(world.leakage(finder.directions_[:, 0]), world.leakage(truth), atol=0.06)


@pytest.mark.parametrize("method", BETTER)
def test_named_scores_alone_are_held(method, world, samples):
    make, settings, _, most = BETTER[method]
    finder = fitted(make(decorrelate=["hair"], **settings), world, samples)
    leakage = np.abs(world.leakage(finder.directions_[:, 0]))
    hair = NAMES.index("hair")
    assert leakage[:, hair].max() < most
    others = np.delete(leakage, hair, axis=1)[~np.eye(3, len(NAMES) - 1, dtype=bool)]
    assert others.max() > 0.2


def test_groups_of_better_methods_have_the_same_directions_where_the_world_is_linear(world, samples):
    scores = samples[1]
    groups = group_names(scores, medians(scores, NAMES, GROUP_BY), NAMES)
    for make, settings in ((RidgeFinder, {}), (MeanJacobianFinder, {"num_jacobians": 20})):
        finder = fitted(make(**settings), world, samples, groups)
        assert finder.directions_.shape[1] == 4
        assert cosines(finder, world.truth(decorrelate=True), samples).min() > 0.99


def test_a_metric_chooses_among_steps_with_the_same_effect(world, samples):
    metric = np.linalg.inv(world.covariance)
    rows = world.covariance @ world.response.T  # the likeliest step among samples
    cheapest = (rows @ np.linalg.inv(world.response @ rows)).T[:3]
    cheapest /= np.linalg.norm(cheapest, axis=1, keepdims=True)
    for make, settings, least, most in BETTER.values():
        finder = make(**settings)
        finder.fit(*samples, names=NAMES, edited=EDITED, geometry=Geometry(free_jacobian(world.space, W()), metric))
        assert cosines(finder, cheapest, samples).min() > least
        assert np.abs(world.leakage(finder.directions_[:, 0]) - np.eye(3, len(NAMES))).max() < most
    assert np.einsum("kd,kd->k", cheapest, world.truth(decorrelate=True)).max() < 0.99  # so the metric mattered


def test_the_closed_loop_goes_the_way_of_the_decorrelated_direction(world, samples):
    codes = samples[0][:8]
    loop = ClosedLoop(world.space, W(), steps=Steps(damping=0.0))
    for name, truth in zip(EDITED, world.truth(decorrelate=True), strict=True):
        move = loop.edit(codes, {name: 0.5}, beyond="allow").codes - codes
        assert (move @ truth / np.linalg.norm(move, axis=1)).min() > 0.9999
