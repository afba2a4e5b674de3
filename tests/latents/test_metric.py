"""What steps cost: against the exact Gram matrix of a generator that can be differentiated by hand."""

import numpy as np
import pytest
import torch

from ohlora_gan import progress
from ohlora_gan.latents.layers import W, WPlus
from ohlora_gan.latents.metric import METRICS, Measured, image_gram, make_metric, scaled
from tests.analytic_world import SIZE, make_world


def exact_gram(world, codes, weights=1.0):
    """The mean of J^T J of tanh pictures with three equal channels, over codes."""
    paint = world.paint.sum(axis=0)
    bend = 1 - np.tanh(codes @ paint) ** 2  # [N, pixels]
    return 3 * np.einsum("dx,nx,ex->de", paint, weights * bend**2, paint) / len(codes)


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.fixture(scope="module")
def bent():
    return make_world(painted=torch.tanh, gain=0.5)


@pytest.fixture(scope="module")
def codes(bent):
    return bent.space.codes(W(), *bent.space.latents("bank", range(20)))


def test_the_gram_is_the_exact_one_within_the_error_of_its_probes(bent, codes):
    exact = exact_gram(bent, codes)
    few, many = (relative_error(image_gram(bent.space, W(), codes, probes), exact) for probes in (10, 250))
    assert many < 0.06
    assert few < 0.3
    assert relative_error(3 * bent.paint.sum(axis=0) @ bent.paint.sum(axis=0).T, exact) > 0.1  # the bend mattered


def test_weights_say_what_is_to_stay(bent, codes):
    left = np.repeat([[1.0, 1.0, 0.0, 0.0]], 4, axis=0)
    gram = image_gram(bent.space, W(), codes, 250, weights=lambda side: left if side == 4 else None)
    assert relative_error(gram, exact_gram(bent, codes, left.ravel())) < 0.08
    assert relative_error(gram, exact_gram(bent, codes)) > 0.3


def test_big_pictures_are_compared_by_blocks():
    world = make_world(side=32)
    codes = world.space.codes(W(), *world.space.latents("bank", range(8)))
    blocks = world.paint.sum(axis=0).reshape(SIZE, 16, 2, 16, 2).mean(axis=(2, 4)).reshape(SIZE, -1)
    assert relative_error(image_gram(world.space, W(), codes, 200), 3 * blocks @ blocks.T) < 0.1


@pytest.mark.parametrize("name", ["cloud", "image"])
def test_the_same_numbers_for_any_batch_size(name):
    worlds = [make_world(painted=torch.tanh, gain=0.5, batch_size=size) for size in (2, 2, 64)]
    found = [make_metric(world.space, W(), Measured(name, num_latents=7, num_probes=3)) for world in worlds]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)


def test_euclid_is_no_matrix(bent):
    assert make_metric(bent.space, W(), Measured("euclid")) is None


def test_cloud_is_the_inverse_covariance():
    world = make_world()
    metric = make_metric(world.space, W(), Measured("cloud", num_latents=100, shrinkage=1e-6))
    expected = np.linalg.inv(world.covariance)
    assert np.trace(metric) == pytest.approx(SIZE)
    assert relative_error(metric, scaled(expected, 0.0)) < 0.05  # of 10,000 samples


def test_image_costs_what_pictures_change_by():
    """In a linear world a step's cost is its squared change of pixels, on one scale for all steps."""
    world = make_world()
    metric = make_metric(world.space, W(), Measured("image", num_latents=20, num_probes=250, shrinkage=1e-6))
    change = world.paint.sum(axis=0) @ world.paint.sum(axis=0).T
    assert relative_error(metric, scaled(change, 0.0)) < 0.06


def test_image_may_stay_in_the_cloud():
    world = make_world()
    image, cloud = (
        make_metric(world.space, W(), Measured(name, num_latents=50, num_probes=10)) for name in ("image", "cloud")
    )
    both = make_metric(world.space, W(), Measured("image", num_latents=50, num_probes=10, cloud=0.5))
    np.testing.assert_allclose(both, image + 0.5 * cloud, atol=1e-9)


def test_shrinkage_is_a_share_of_the_mean_eigenvalue():
    matrix = np.diag([3.0, 0.0, 0.0])
    np.testing.assert_allclose(scaled(matrix, 0.1), np.diag([3.1, 0.1, 0.1]))
    np.testing.assert_allclose(scaled(1000 * matrix, 0.1), scaled(matrix, 0.1))


@pytest.mark.parametrize("name", ["cloud", "image"])
def test_it_is_that_of_the_values_that_edits_may_move(name):
    world = make_world()
    metric = make_metric(world.space, WPlus(1, 1), Measured(name, num_latents=10, num_probes=100))
    assert metric.shape == (SIZE, SIZE)
    np.testing.assert_allclose(metric, metric.T, atol=1e-9)
    assert np.linalg.eigvalsh(metric).min() > 0
    if name == "image":
        assert relative_error(metric, scaled(world.paint[1] @ world.paint[1].T, 0.01)) < 0.15


def test_progress_reaches_the_total(capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_drawn", lambda: True)
    make_metric(make_world(batch_size=4).space, W(), Measured("image", 10, 2))
    assert "10/10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pixels", {}, f"metric is 'pixels', expected one of {', '.join(METRICS)}"),
        ("image", {"num_latents": 1}, "num_latents=1, .*expected at least 2"),
        ("image", {"num_probes": 0}, "num_probes=0"),
        ("cloud", {"shrinkage": 0.0}, r"shrinkage=0.0, .*expected .* above 0"),
        ("image", {"cloud": -1.0}, r"cloud=-1.0, expected .* at least 0"),
        ("cloud", {"shrinkage": float("nan")}, "shrinkage=nan"),
    ],
)
def test_settings_out_of_their_range(bent, name, settings, message):
    with pytest.raises(ValueError, match=message):
        make_metric(bent.space, W(), Measured(name, **settings))
