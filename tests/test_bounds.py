import numpy as np
import pytest

from ohlora_gan.names import REFERENCE, read_thresholds, within

NAMES = ("gender", "quality", "age", "glass")


def test_the_reference_bounds_keep_what_the_reference_kept():
    scores = np.array(
        [
            [0.92, 0.90, 0.008, 0.010],
            [0.919, 0.95, 0.0, 0.0],
            [0.99, 0.899, 0.0, 0.0],
            [0.99, 0.95, 0.0081, 0.0],
            [0.99, 0.95, 0.0, 0.0101],
        ]
    )
    assert within(scores, NAMES, read_thresholds(REFERENCE, NAMES)).tolist() == [True, False, False, False, False]


def test_comparisons_are_strict_or_not():
    scores = np.array([[0.4], [0.5], [0.6]])
    for text, want in {">=0.5": [0, 1, 1], "> .5": [0, 0, 1], "<=5e-1": [1, 1, 0], "<0.5": [1, 0, 0]}.items():
        found = read_thresholds({"gender": text}, ["gender"])
        assert within(scores, ["gender"], found).tolist() == [bool(x) for x in want]


def test_a_bound_that_is_none_is_no_bound():
    assert read_thresholds({"gender": None, "age": "<=0.5"}, NAMES).keys() == {"age"}
    assert within(np.zeros((3, 4)), NAMES, {}).all()


def test_a_threshold_is_written_as_it_was_read():
    assert str(read_thresholds({"age": "<= 0.008"}, NAMES)["age"]) == "<=0.008"


@pytest.mark.parametrize("text", ["0.92", "=0.92", ">=high", ">=0.9.2", 0.92, "", ">=nan"])
def test_what_is_no_bound_is_refused(text):
    with pytest.raises(ValueError, match=r"require\.gender is .*'>=0\.92'"):
        read_thresholds({"gender": text}, NAMES)


def test_a_bound_on_an_unknown_filter_is_refused():
    with pytest.raises(ValueError, match=r"bound for 'hat', but the filters given judge gender, quality"):
        read_thresholds({"hat": ">=0.5"}, NAMES)
