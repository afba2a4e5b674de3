import numpy as np
import pytest

from ohlora_gan.judging.quality import FilterFigures, filter_table, mean_figures
from ohlora_gan.names import read_thresholds

NAMES = ("gender", "age")


def figures(seed=0, n=400):
    scores = np.random.default_rng(seed).random((n, 2))
    return scores, FilterFigures.of(scores, NAMES, read_thresholds({"gender": ">=0.25", "age": "<=0.5"}, NAMES))


def test_intervals_are_those_of_a_mean():
    values = np.random.default_rng(0).normal(2.0, 3.0, (900, 2))
    for i, figure in enumerate(mean_figures(values)):
        error = values[:, i].std() / 30
        assert figure.value == pytest.approx(values[:, i].mean())
        assert figure.low == pytest.approx(figure.value - 1.96 * error, abs=0.3 * error)
        assert figure.high == pytest.approx(figure.value + 1.96 * error, abs=0.3 * error)
    assert mean_figures(values) == mean_figures(values)


def test_shares_count_images_within_each_bound_and_within_all():
    scores, found = figures()
    gender, age = scores[:, 0] >= 0.25, scores[:, 1] <= 0.5
    assert found.shares["gender"].value == pytest.approx(gender.mean())
    assert found.shares["age"].value == pytest.approx(age.mean())
    assert found.shares["all"].value == pytest.approx((gender & age).mean())


def test_rows_and_table_hold_every_filter():
    _, v1 = figures()
    _, v9 = figures(seed=1)
    rows = v1.rows()
    assert [row["filter"] for row in rows] == ["gender", "age", "all"]
    assert float(rows[0]["mean"]) == pytest.approx(v1.means["gender"].value, abs=1e-6)
    assert float(rows[1]["share_within_high"]) == pytest.approx(v1.shares["age"].high, abs=1e-6)
    assert (rows[2]["mean"], rows[2]["bound"], rows[1]["bound"]) == ("", "", "<=0.5")
    table = filter_table({"v1": v1, "v9": v9})
    assert f"| gender | {v1.means['gender']} | {v9.means['gender']} |" in table
    assert f"| age <=0.5 | {v1.shares['age']} | {v9.shares['age']} |" in table
