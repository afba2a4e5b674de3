import numpy as np
import pytest

from ohlora_gan.directions.base import (
    REFERENCE_MEDIANS,
    all_group_names,
    group_names,
    medians,
    members,
)
from ohlora_gan.names import GROUP_PROPERTIES, PROPERTIES


def scores_of(**columns: list[float]) -> np.ndarray:
    scores = np.zeros((len(next(iter(columns.values()))), len(PROPERTIES)), dtype=np.float32)
    for name, values in columns.items():
        scores[:, PROPERTIES.index(name)] = values
    return scores


def test_names_run_from_hhhh_to_llll():
    names = all_group_names()
    assert len(set(names)) == 16
    assert names == sorted(names)
    assert names[:3] == ["hhhh", "hhhl", "hhlh"]
    assert names[-1] == "llll"


def test_each_letter_is_one_property_and_a_tie_is_high():
    cut = {"hair_color": 0.0, "hair_length": 0.0, "background_mean": 0.0, "hairstyle": 0.0}
    scores = scores_of(
        hair_color=[-1, 1, 1, 1, 0],
        hair_length=[1, -1, 1, 1, 0],
        background_mean=[1, 1, -1, 1, 0],
        hairstyle=[1, 1, 1, -1, 0],
    )
    assert group_names(scores, cut).tolist() == ["lhhh", "hlhh", "hhlh", "hhhl", "hhhh"]


@pytest.mark.parametrize("name", GROUP_PROPERTIES)
def test_float32_scores_meet_float64_medians(name):
    """A float32 score nearest to a median counts as it really compares, not as equal."""
    median = REFERENCE_MEDIANS[name]
    nearest = float(np.float32(median))
    assert nearest != median, "the test needs a median that float32 cannot hold"
    letter = group_names(scores_of(**{name: [nearest]}))[0][GROUP_PROPERTIES.index(name)]
    assert letter == ("h" if nearest > median else "l")


def test_medians_are_of_the_grouping_properties_and_split_in_halves():
    scores = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    cut = medians(scores)
    assert list(cut) == list(GROUP_PROPERTIES)
    names = group_names(scores, cut)
    for position in range(4):
        assert sum(name[position] == "h" for name in names) == 250


def test_members_hold_every_sample_once_and_show_empty_groups():
    found = members(np.array(["llll", "hhhh", "llll"]), 3)
    assert list(found) == all_group_names()
    assert found["llll"].tolist() == [0, 2]
    assert found["hhhh"].tolist() == [1]
    assert sum(len(rows) for rows in found.values()) == 3


def test_members_of_other_names_and_of_no_groups():
    assert {name: rows.tolist() for name, rows in members(np.array(["b", "a", "b"]), 3).items()} == {
        "a": [1],
        "b": [0, 2],
    }
    assert members(None, 3)["all"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("scores", "cut", "message"),
    [
        (np.zeros((2, 7)), REFERENCE_MEDIANS, r"\[2, 7\]"),
        (np.full((2, 8), np.inf), REFERENCE_MEDIANS, "8 of 8"),
        (np.zeros((2, 8)), {"hair_color": 0.0, "hat": 0.0}, "does not measure hat"),
    ],
)
def test_unusable_inputs_are_named(scores, cut, message):
    with pytest.raises(ValueError, match=message):
        group_names(scores, cut)


def test_medians_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        medians(np.zeros((0, 8)))


def test_any_properties_make_groups():
    scores = np.array([[0.0, 5.0], [1.0, 4.0], [2.0, 3.0], [3.0, 2.0]])
    names, group_by = ("lip_color", "beard"), ("beard",)
    cut = medians(scores, names, group_by)
    assert cut == {"beard": 3.5}
    groups = group_names(scores, cut, names)
    assert groups.tolist() == ["h", "h", "l", "l"]
    assert {name: rows.tolist() for name, rows in members(groups[:2], 2).items()} == {"h": [0, 1], "l": []}
    both = group_names(scores, {"beard": 2.5, "lip_color": 1.5}, names)
    assert both.tolist() == ["hl", "hl", "hh", "lh"]
    assert all_group_names(2) == ["hh", "hl", "lh", "ll"]


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        (("beard", "hat"), "does not measure hat, .*groups=none, or group_by=.*lip_color, beard"),
        ((), "group_by is empty"),
    ],
)
def test_groups_need_properties_that_are_scored(group_by, message):
    with pytest.raises(ValueError, match=message):
        medians(np.zeros((4, 2)), ("lip_color", "beard"), group_by)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["svm", "pm_corr"])
def test_recorded_groups(golden, name):
    info, tensors = golden(name)
    scores = tensors["in.scores" if name == "svm" else "out.unmodified_scores"].numpy()
    assert group_names(scores, info["medians"]).tolist() == info["group_names"]


@pytest.mark.golden
def test_recorded_members_and_medians(golden):
    info, _ = golden("svm")
    assert info["medians"] == REFERENCE_MEDIANS
    assert info["group_order"] == all_group_names()
    found = members(np.array(info["group_names"]), info["n"])
    assert {name: rows.tolist() for name, rows in found.items()} == info["group_members"]
