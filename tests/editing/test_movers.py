from types import SimpleNamespace

import numpy as np
import pytest

from ohlora_gan.editing.closed_loop import ClosedLoopMover
from ohlora_gan.editing.moves import StraightMover

GRID = np.array([[1.0, 0.0], [0.5, -2.0]])
CHANGES = {"eyes": GRID[:, 0], "pose": GRID[:, 1]}


class Found:
    """Directions of two groups, of which the second is twice as slow."""

    properties, medians = ("eyes", "pose"), {}

    def direction(self, x, group=None):
        return np.eye(4, dtype=np.float32)[:2] if group == "h" else np.eye(4, dtype=np.float32)[2:]

    def steps(self, strengths, group=None):
        return strengths / (1.0 if group == "h" else 0.5)


def test_reference_strengths_are_lengths():
    moved = StraightMover(Found())(np.ones((2, 4), np.float32), ["h", "l"], CHANGES, "reference").codes
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved[0], [[2, 1, 1, 1], [1.5, -1, 1, 1]])
    np.testing.assert_allclose(moved[1], [[1, 1, 2, 1], [1, 1, 1.5, -1]])


def test_sigmas_are_divided_by_each_groups_slope():
    moved = StraightMover(Found())(np.zeros((2, 4), np.float32), np.array(["h", "l"]), CHANGES).codes
    np.testing.assert_allclose(moved[0], [[1, 0, 0, 0], [0.5, -2, 0, 0]])
    np.testing.assert_allclose(moved[1], [[0, 0, 2, 0], [0, 0, 1, -4]])


def test_a_direction_may_depend_on_the_point():
    asked = []

    def direction(x, group):
        asked.append((float(x[0]), group))
        return x[None]

    found = SimpleNamespace(direction=direction, properties=("eyes",), medians={})
    moved = StraightMover(found)(np.float32([[1, 1], [2, 3]]), ["a", "b"], {"eyes": [1.0]}, "reference").codes
    assert asked == [(1.0, "a"), (2.0, "b")]
    np.testing.assert_array_equal(moved[:, 0], [[2, 2], [4, 6]])


def test_each_code_may_have_its_own_strengths_of_some_properties():
    moved = StraightMover(Found())(np.zeros((2, 4), np.float32), ["h", "h"], {"pose": [[1.0], [3.0]]})
    np.testing.assert_allclose(moved.codes, [[[0, 1, 0, 0]], [[0, 3, 0, 0]]])
    assert moved.notes == [[""], [""]]


def test_another_unit_and_another_property_are_named():
    codes = np.zeros((1, 4), np.float32)
    with pytest.raises(ValueError, match="unit is 'pixels', expected one of sigma, reference"):
        StraightMover(Found())(codes, ["h"], CHANGES, "pixels")
    with pytest.raises(ValueError, match="no direction of nose, expected some of eyes, pose"):
        StraightMover(Found())(codes, ["h"], {"nose": [1.0]})
    with pytest.raises(ValueError, match="a closed loop knows no lengths"):
        ClosedLoopMover(SimpleNamespace())(codes, ["h"], CHANGES, "reference")


def test_the_closed_loop_gets_every_combination_of_every_code():
    def edit(codes, changes, hold, beyond, targets, progress):
        assert (hold, beyond, targets) == ("rest", "clip", "change")
        return SimpleNamespace(codes=codes + np.stack([changes["eyes"], changes["pose"]], axis=1), notes=["so"] * 4)

    codes = np.array([[10.0, 20.0], [30.0, 40.0]])
    moved = ClosedLoopMover(SimpleNamespace(edit=edit))(codes, ["all", "all"], CHANGES)
    assert moved.notes == [["so"] * 2] * 2
    np.testing.assert_array_equal(moved.codes, codes[:, None] + GRID)
