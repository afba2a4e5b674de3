"""Where sampled faces lie, in a world whose cloud is known."""

import numpy as np
import pytest
from scipy.stats import chi
from torch import nn

from ohlora_gan.editing.moves import LEAST_REAL, OUTERMOST, SafeRange, realism
from ohlora_gan.latents.layers import W, WPlus
from tests.analytic_world import SIZE, make_world


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module")
def safe(world):
    return SafeRange.sampled(world.space, W())


def test_the_cloud_is_the_worlds(world, safe):
    """Gaussian codes: whitened, their distance from the mean is chi distributed."""
    np.testing.assert_allclose(safe.mean, 0, atol=0.06)
    np.testing.assert_allclose(safe.whiten.T @ world.covariance @ safe.whiten, np.eye(SIZE), atol=0.06)
    assert safe.outermost == pytest.approx(chi(SIZE).ppf(OUTERMOST), rel=0.03)
    z = np.random.default_rng(0).multivariate_normal(np.zeros(SIZE), world.covariance, 5000)
    assert safe.radius == pytest.approx(np.linalg.norm(z, axis=1).mean(), rel=0.03)
    distance = safe.distance(z)
    assert (distance > 1).mean() == pytest.approx(1 - OUTERMOST, abs=0.002)
    np.testing.assert_allclose(safe.distance(safe.mean + 2 * (z - safe.mean)), 2 * distance)


def test_distance_counts_directions_by_how_far_samples_go(world, safe):
    values, vectors = np.linalg.eigh(world.covariance)
    narrow, wide = safe.distance(safe.mean + vectors.T[[0, -1]])
    assert narrow / wide == pytest.approx(np.sqrt(values[-1] / values[0]), rel=0.1)


def test_scores_range_from_the_lowest_to_the_highest_sample(world, safe):
    codes = world.space.codes(W(), *world.space.latents("choose", range(1000)))
    scores = world.space.score_codes(W(), codes)
    np.testing.assert_allclose(safe.low, scores.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(safe.high, scores.max(axis=0), atol=1e-5)
    assert np.isnan(safe.realism)


def test_it_is_of_the_values_that_a_layer_may_move(world, safe):
    part = SafeRange.sampled(world.space, WPlus(1, 1), num=100)
    assert part.mean.shape == (SIZE,)
    assert part.radius == pytest.approx(safe.radius, rel=0.05)


def test_directions_in_which_samples_do_not_vary_are_finite(world):
    flat = SafeRange.sampled(world.space, WPlus(), num=50)  # both layers' w are the same: half the values say nothing
    assert np.isfinite(flat.whiten).all()
    apart = flat.mean + np.concatenate([np.eye(SIZE)[0], -np.eye(SIZE)[0]])
    assert flat.distance(apart[None]) > 5  # no sample has layers that differ


class Brightness(nn.Module):
    """Its score of one picture depends on the others of a batch, as minibatch statistics make it."""

    def forward(self, images, label=None):
        return images.mean(dim=(1, 2, 3))[:, None] * len(images)


def test_pictures_are_judged_alone(world):
    codes = world.space.codes(W(), *world.space.latents("choose", range(250)))
    expected = next(iter(world.space.render(W(), codes[:20]))).clamp(-1, 1).mean(dim=(1, 2, 3))
    np.testing.assert_allclose(realism(world.space, W(), codes[:20], Brightness()), expected, atol=1e-6)
    found = SafeRange.sampled(world.space, W(), Brightness())
    scores = realism(world.space, W(), codes, Brightness())
    assert found.realism == pytest.approx(np.quantile(scores, LEAST_REAL))
    assert np.isnan(realism(world.space, W(), codes[:3], None)).all()
    assert realism(world.space, W(), codes[:0], Brightness()).shape == (0,)
