from types import SimpleNamespace

import numpy as np
import pytest

from ohlora_gan.editing.moves import closed_loop, open_loop

GRID = np.array([[1.0, 0.0], [0.5, -2.0]])


class Found:
    """Directions of two groups, of which the second is twice as slow."""

    def direction(self, x, group=None):
        return np.eye(4, dtype=np.float32)[:2] if group == "h" else np.eye(4, dtype=np.float32)[2:]

    def steps(self, strengths, group=None):
        return strengths / (1.0 if group == "h" else 0.5)


def test_reference_strengths_are_lengths():
    moved = open_loop(Found(), GRID, "reference")(np.ones((2, 4), np.float32), ["h", "l"])
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved[0], [[2, 1, 1, 1], [1.5, -1, 1, 1]])
    np.testing.assert_allclose(moved[1], [[1, 1, 2, 1], [1, 1, 1.5, -1]])


def test_sigmas_are_divided_by_each_groups_slope():
    moved = open_loop(Found(), GRID, "sigma")(np.zeros((2, 4), np.float32), np.array(["h", "l"]))
    np.testing.assert_allclose(moved[0], [[1, 0, 0, 0], [0.5, -2, 0, 0]])
    np.testing.assert_allclose(moved[1], [[0, 0, 2, 0], [0, 0, 1, -4]])


def test_a_direction_may_depend_on_the_point():
    asked = []

    def direction(x, group):
        asked.append((float(x[0]), group))
        return x[None]

    moved = open_loop(SimpleNamespace(direction=direction), np.array([[1.0]]))(np.float32([[1, 1], [2, 3]]), ["a", "b"])
    assert asked == [(1.0, "a"), (2.0, "b")]
    np.testing.assert_array_equal(moved[:, 0], [[2, 2], [4, 6]])


def test_another_grid_is_named():
    with pytest.raises(ValueError, match="grid is 'pixels', expected one of sigma, reference"):
        open_loop(Found(), GRID, "pixels")


def test_the_closed_loop_gets_every_combination_of_every_code():
    def edit(codes, changes, keep, beyond):
        assert (keep, beyond) == ("rest", "clip")
        return SimpleNamespace(codes=codes + np.stack([changes["eyes"], changes["pose"]], axis=1))

    codes = np.array([[10.0, 20.0], [30.0, 40.0]])
    moved = closed_loop(SimpleNamespace(edit=edit), ("eyes", "pose"), GRID, beyond="clip")(codes, ["all", "all"])
    np.testing.assert_array_equal(moved, codes[:, None] + GRID)
