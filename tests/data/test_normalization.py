import json

import numpy as np
import pytest

from ohlora_gan.data.datasets import Normalization, fit_normalization

SCORES = {"eyes": np.array([1.0, 2.0, np.nan, 6.0]), "pose": np.array([0.1, -0.1, 0.3, 0.5])}


def test_a_data_set_gets_mean_0_and_deviation_1_and_unknown_stays_unknown():
    normalised = fit_normalization(SCORES).apply(SCORES)
    for values in normalised.values():
        assert np.nanmean(values) == pytest.approx(0)
        assert np.nanstd(values, ddof=1) == pytest.approx(1)
    assert np.isnan(normalised["eyes"]).tolist() == [False, False, True, False]


def test_new_scores_are_normalised_by_the_saved_statistics(tmp_path):
    fitted = fit_normalization(SCORES)
    fitted.save(tmp_path / "n.json")
    again = Normalization.load(tmp_path / "n.json")
    assert again == fitted
    assert again.apply({"eyes": [3.0]})["eyes"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.45] * 12, "hair is 0.45 in all 12 faces.*leave hair out"),
        ([1.0, np.nan], "hair has 1 known values"),
        ([1.0, np.inf], "hair has mean inf"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_scores_without_spread_cannot_be_fitted(values, message):
    with pytest.raises(ValueError, match=message):
        fit_normalization({"hair": np.array(values)})


def test_a_property_without_statistics_is_named():
    with pytest.raises(ValueError, match="no statistics for mouth, only for eyes, pose"):
        fit_normalization(SCORES).apply({"mouth": [1.0]})


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        json.dumps({"mean": {"eyes": 1.0}}),
        json.dumps({"mean": {"eyes": 1.0}, "std": {"pose": 1.0}}),
        json.dumps({"mean": {"eyes": 1.0}, "std": {"eyes": 0.0}}),
        json.dumps({"mean": {"eyes": "much"}, "std": {"eyes": 1.0}}),
    ],
)
def test_a_file_without_statistics(tmp_path, content):
    path = tmp_path / "n.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"n\.json holds no usable statistics"):
        Normalization.load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="holds no usable statistics"):
        Normalization.load(tmp_path / "none.json")
