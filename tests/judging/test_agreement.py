import numpy as np
import pytest

from ohlora_gan.judging.reliability import Agreement


def test_agreement_is_that_of_the_best_line():
    rng = np.random.default_rng(0)
    first = rng.standard_normal((500, 3))
    second = np.stack([2 * first[:, 0] + 1, first[:, 1] + rng.standard_normal(500), -first[:, 2]], axis=1)
    found = Agreement.of(first, second, ("a", "b", "c"))
    pearson, low, high, r2, slopes, offsets = found.columns.values()
    np.testing.assert_allclose(pearson[[0, 2]], [1, -1])
    np.testing.assert_allclose(r2[[0, 2]], [1, 1])
    np.testing.assert_allclose([slopes[0], offsets[0]], [2, 1], atol=1e-9)
    slope, offset = np.polyfit(first[:, 1], second[:, 1], 1)
    np.testing.assert_allclose([slopes[1], offsets[1]], [slope, offset])
    assert pearson[1] == pytest.approx(np.corrcoef(first[:, 1], second[:, 1])[0, 1])
    assert r2[1] == pytest.approx(pearson[1] ** 2)
    assert low[1] < pearson[1] < high[1]
    assert f"| b | {pearson[1]:.3f} [" in found.table()


def test_too_few_images():
    with pytest.raises(ValueError, match="at least 10 images, got 9: raise n"):
        Agreement.of(np.zeros((9, 1)), np.zeros((9, 1)), ("a",))
