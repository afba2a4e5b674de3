import numpy as np
import pytest

from ohlora_gan.judging.figures import (
    MAX_PICTURES,
    PASS_THRESHOLDS,
    STRENGTHS,
    Plan,
    make_plan,
    nested,
)
from ohlora_gan.names import EDITED_PROPERTIES


@pytest.mark.parametrize("option", sorted(STRENGTHS))
def test_the_default_is_the_published_test(option):
    plan = make_plan(EDITED_PROPERTIES, option)
    assert plan.strengths == STRENGTHS[option]
    assert plan.thresholds == PASS_THRESHOLDS
    assert plan.grid.shape == (50, 3)


@pytest.mark.parametrize(
    ("properties", "lengths"),
    [
        (["lip_color"], [5]),
        (["mouth"], [5]),
        (["eyes"], [5]),  # not the published two, which always correlate
        (["eyes", "pose"], [2, 5]),
        (["eyes", "mouth", "pose", "lip_color"], [2, 5, 5, 5]),
        (["eyes", "mouth", "pose", "lip_color", "hat"], [2, 5, 5, 2, 2]),
        (list("abcd"), [3] * 4),
        (list("abcdefg"), [2] * 7),
    ],
)
def test_rows_get_shorter_the_more_properties_there_are(properties, lengths):
    plan = make_plan(properties)
    assert list(plan.strengths) == list(plan.thresholds) == properties
    assert [len(row) for row in plan.strengths.values()] == lengths
    assert plan.grid.shape == (np.prod(lengths), len(properties))
    assert len(plan.grid) <= MAX_PICTURES
    assert len({tuple(row) for row in plan.grid}) == len(plan.grid)


def test_given_settings_replace_the_published_ones():
    plan = make_plan(["mouth", "hat"], "gradient", {"mouth": [-1, 1]}, {"hat": 0.5})
    assert plan.strengths == {"mouth": (-1.0, 1.0), "hat": (-1.8, -0.9, 0.0, 0.9, 1.8)}
    assert plan.thresholds == {"mouth": 0.88, "hat": 0.5}


def test_the_published_properties_vary_slowest_and_columns_keep_their_order():
    assert nested(["hat", "pose", "beard", "mouth"]) == ["mouth", "pose", "hat", "beard"]
    grid = Plan({"hat": [1, 2], "pose": [3, 4]}, {}).grid
    assert grid.tolist() == [[1, 3], [2, 3], [1, 4], [2, 4]]


@pytest.mark.parametrize(
    ("properties", "settings", "message"),
    [
        (["hat"], {"option": "loud"}, "'loud', expected one of svm, gradient"),
        (["hat"], {"strengths": {"lips": [0, 1, 2]}}, "test.strengths names lips, expected some of hat"),
        (["hat"], {"thresholds": {"lips": 0.5}}, "test.thresholds names lips"),
        (["hat", "lips"], {"strengths": {"hat": [1]}}, r"strengths of hat are \[1\.0\]"),
        (["hat", "lips"], {"strengths": {"hat": [1, 1]}}, "two or more different"),
        (["hat", "lips"], {"strengths": {"hat": [1, float("nan")]}}, "nan"),
        (["hat"], {"strengths": {"hat": [0, 1]}}, "make 2 pictures .*give more strengths"),
        (["hat"], {"thresholds": {"hat": 0}}, "hat is 0"),
        (list("abcdefgh"), {}, "make 256 pictures .*fewer properties"),
    ],
)
def test_unusable_settings_are_named(properties, settings, message):
    with pytest.raises(ValueError, match=message):
        make_plan(properties, **settings)
