import numpy as np
import pytest
import torch

from ohlora_gan.judging.quality import Features, distances, measure
from ohlora_gan.names import PROPERTIES
from tests import tiny


def pictures(n, seed, brightness=128.0, contrast=40.0):
    rng = np.random.default_rng(seed)
    base = rng.normal(brightness, contrast, (n, 1, 1, 3)) + rng.normal(0, 20, (n, 32, 32, 3))
    return base.clip(0, 255).astype(np.uint8)


def test_distances_tell_near_from_far():
    features = Features(tiny.scorer().eval())
    reference = pictures(200, 0)
    near, near_kernel = distances(features, pictures(200, 1), reference)
    far, far_kernel = distances(features, pictures(200, 2, brightness=220.0, contrast=5.0), reference)
    assert far > 5 * near
    assert far_kernel > near_kernel + 1.0
    assert distances(features, reference, reference)[0] < 0.1 * near


def test_frechet_distance_is_the_papers():
    features = Features(tiny.scorer().eval())
    a, b = pictures(300, 3), pictures(300, 4, brightness=150.0)
    got, _ = distances(features, a, b)
    x, y = (features(torch.from_numpy(s)).detach().numpy().astype(np.float64) for s in (a, b))
    cov_x, cov_y = np.cov(x.T), np.cov(y.T)
    values = np.linalg.eigvals(cov_x @ cov_y)
    root_trace = np.sqrt(np.clip(values.real, 0, None)).sum()
    want = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * root_trace
    assert got == pytest.approx(want, rel=1e-2, abs=1e-4)


def test_distances_do_not_touch_the_global_generator():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    features = Features(tiny.scorer().eval())
    first = distances(features, pictures(120, 1), pictures(120, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == distances(features, pictures(120, 1), pictures(120, 2))


def test_too_few_images():
    with pytest.raises(ValueError, match="at least 100"):
        distances(Features(tiny.scorer()), pictures(50, 0), pictures(200, 1))


def test_measure_reports_spread_against_the_reference():
    quality = measure(tiny.scorer(), pictures(150, 0, contrast=10.0), pictures(150, 1), pictures(150, 2))
    assert list(quality.spread) == list(PROPERTIES)
    for mine, theirs, ratio in quality.spread.values():
        assert ratio == pytest.approx(mine / theirs)
    assert np.mean([ratio for *_, ratio in quality.spread.values()]) < 0.8
    table = quality.table()
    assert all(name in table for name in PROPERTIES)
    assert quality.frechet > quality.frechet_floor
