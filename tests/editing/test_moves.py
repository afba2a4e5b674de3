import numpy as np
import pytest

from ohlora_gan.editing.moves import jitter, move

RNG = np.random.default_rng(0)
CODES, DIRECTIONS = RNG.standard_normal((4, 6)), RNG.standard_normal((4, 2, 6))


def test_joint_is_the_sum_of_all_moves():
    strengths = np.array([[1.0, 0.0], [-0.5, 2.0], [0.0, 0.0]])
    moved = move(CODES, DIRECTIONS, strengths)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved[2, 1], CODES[2] - 0.5 * DIRECTIONS[2, 0] + 2 * DIRECTIONS[2, 1], atol=1e-6)
    np.testing.assert_array_equal(moved[:, 2], CODES.astype(np.float32))
    np.testing.assert_array_equal(move(CODES[1], DIRECTIONS[1], strengths), moved[1])


def test_jitter_depends_on_seed_and_index_alone():
    moved = move(CODES, DIRECTIONS, np.ones((3, 2)))
    versions = jitter(moved, 0, [5, 6, 7, 8], 4, scale=0.1)
    assert versions.shape == (4, 4, 3, 6)
    np.testing.assert_array_equal(jitter(moved[2:3], 0, [7], 4, scale=0.1), versions[2:3])
    np.testing.assert_array_equal(jitter(moved, 0, [5, 6, 7, 8], 2, scale=0.1), versions[:, :2])
    deltas = versions - moved[:, None]
    np.testing.assert_allclose(deltas[:, :, 0], deltas[:, :, 2], atol=1e-6)
    assert not np.allclose(deltas[0, 0], deltas[0, 1])
    assert not np.array_equal(jitter(moved, 1, [5, 6, 7, 8], 4, scale=0.1), versions)


def test_jitter_has_the_scale_of_each_coordinate():
    codes, scale = np.zeros((1, 3)), np.array([0.0, 0.5, 2.0])
    spread = jitter(codes, 0, [0], 4000, scale)[0].std(axis=0)
    np.testing.assert_allclose(spread, scale, rtol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: move(CODES, DIRECTIONS, np.ones(2)), r"expected \[D\] or \[N, D\], and \[K, P\]"),
        (lambda: move(CODES, DIRECTIONS[:3], np.ones((1, 2))), r"directions \[3, 2, 6\]: expected \[2, 6\]"),
        (lambda: jitter(CODES, 0, [1], 2), "1 indices"),
        (lambda: jitter(CODES, 0, range(4), 2, scale=-1), "negative or not finite"),
        (lambda: jitter(CODES, 0, range(4), 2, scale=np.ones(5)), r"scale \[5\]"),
    ],
)
def test_shapes_that_do_not_fit_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
