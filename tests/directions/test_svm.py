import re

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import ConvergenceWarning

from ohlora_gan.directions import linear as svm
from ohlora_gan.directions.base import group_names, medians
from ohlora_gan.directions.linear import SvmFinder, extremes, fit_plane
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES

COLUMNS = [PROPERTIES.index(name) for name in EDITED_PROPERTIES]


def linear_world(n: int, dim: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, scores linear in them but for a little noise, and the true directions ``[8, dim]``."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, dim)).astype(np.float32)
    truth = np.linalg.qr(rng.standard_normal((dim, 8)))[0].T
    scores = X @ truth.T + 0.05 * rng.standard_normal((n, 8))
    return X, scores.astype(np.float32), truth


def grouped(scores: np.ndarray) -> np.ndarray:
    return group_names(scores, medians(scores))


@pytest.mark.parametrize("use_groups", [False, True])
def test_finds_the_direction_that_raises_each_score(use_groups):
    X, scores, truth = linear_world(8000)
    finder = SvmFinder().fit(X, scores, grouped(scores) if use_groups else None)
    assert finder.directions_.shape == (3, 16 if use_groups else 1, 16)
    cosines = np.einsum("pgd,pd->pg", finder.directions_, truth[COLUMNS])
    # 80 training samples a class in a group of 500, 1280 without groups; against another property: about 0.
    assert cosines.min() > (0.9 if use_groups else 0.99)
    assert all(finder.metrics_[f"svm_{name}_acc"] > 0.95 for name in EDITED_PROPERTIES)


def test_metrics_count_what_was_fitted():
    X, scores, _ = linear_world(1000)
    groups = grouped(scores)
    finder = SvmFinder().fit(X, scores, groups)
    metrics = finder.metrics_
    assert metrics["num_fits"] == 48
    assert metrics["num_unconverged"] == 0
    for name in finder.group_names_:
        assert metrics["samples_per_class"][name] == int(0.2 * (groups == name).sum())
    for prop in EDITED_PROPERTIES:
        per_class = metrics["samples_per_class"]
        held_out = {name: 2 * (k - int(0.8 * k)) for name, k in per_class.items()}
        correct = sum(metrics["accuracy"][prop][name] * held_out[name] for name in held_out)
        assert metrics[f"svm_{prop}_acc"] == pytest.approx(correct / sum(held_out.values()))


def test_any_scores_and_any_of_them_edited():
    """The columns that are asked for, in the order that is asked for, and none of the others."""
    X, scores, truth = linear_world(2000)
    names, edited = ("hat", "lip_color", "beard"), ("beard", "lip_color")
    finder = SvmFinder().fit(X, scores[:, :3], names=names, edited=edited)
    assert finder.directions_.shape == (2, 1, 16)
    assert np.einsum("pd,pd->p", finder.directions_[:, 0], truth[[2, 1]]).min() > 0.97
    assert [key for key in finder.metrics_ if key.startswith("svm_")] == ["svm_beard_acc", "svm_lip_color_acc"]
    with pytest.raises(ValueError, match=r"edit: eyes, .*: hat, lip_color, beard"):
        SvmFinder().fit(X, scores[:, :3], names=names, edited=["eyes"])


def test_accuracy_is_of_samples_that_were_not_trained_on():
    """Scores that have nothing to do with the vectors: learnt by heart in training, guessed in validation."""
    X, _, _ = linear_world(1000, dim=400)
    noise = np.random.default_rng(1).standard_normal((1000, 8))
    metrics = SvmFinder().fit(X, noise).metrics_
    assert all(0.3 < metrics[f"svm_{name}_acc"] < 0.7 for name in EDITED_PROPERTIES)


def test_training_on_all_validates_nothing():
    X, scores, _ = linear_world(300)
    metrics = SvmFinder(train_share=1.0).fit(X, scores).metrics_
    assert metrics["svm_eyes_acc"] is None
    assert metrics["accuracy"]["pose"] == {"all": None}


def test_a_group_does_not_depend_on_the_others():
    X, scores, _ = linear_world(900)
    groups = np.repeat(["a", "b", "c"], 300)
    three = SvmFinder(seed=3).fit(X, scores, groups)
    rest = groups != "b"
    two = SvmFinder(seed=3).fit(X[rest], scores[rest], groups[rest])
    assert two.group_names_ == ["a", "c"]
    np.testing.assert_array_equal(two.directions_, three.directions_[:, [0, 2]])


def test_the_seed_decides_on_the_split():
    X, scores, _ = linear_world(300)
    one, other = (SvmFinder(seed=seed).fit(X, scores).directions_ for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-3


def test_training_on_all_leaves_nothing_to_chance():
    """More dimensions than samples, where the solver visits samples in a random order."""
    X, scores, _ = linear_world(200, dim=400)
    one, other = (SvmFinder(train_share=1.0, seed=seed).fit(X, scores).directions_ for seed in (0, 1))
    np.testing.assert_array_equal(one, other)


def test_extremes_rank_ties_by_position():
    values = np.array([1.0, 2.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 0.0, 1.0])
    largest, smallest = extremes(values, 0.2)
    assert largest.tolist() == [1, 2]
    assert smallest.tolist() == [6, 8]


@pytest.mark.parametrize(("n", "ratio", "k"), [(2, 0.2, 1), (9, 0.2, 1), (10, 0.2, 2), (7, 0.5, 3)])
def test_class_size(n, ratio, k):
    largest, smallest = extremes(np.arange(n, dtype=float), ratio)
    assert largest.tolist() == list(range(n - k, n))
    assert smallest.tolist() == list(range(k))


def no_fit(*args, **kwargs):
    raise AssertionError("a fit was made")


@pytest.mark.parametrize("size", [0, 9])
def test_a_group_that_is_too_small_is_named_before_any_fit(monkeypatch, size):
    monkeypatch.setattr(svm, "fit_plane", no_fit)
    X, scores, _ = linear_world(150 + size)
    groups = np.array([f"{i:04b}".replace("0", "h").replace("1", "l") for i in range(15)] * 10 + ["llll"] * size)
    with pytest.raises(ValueError, match=rf"10 samples .*n={150 + size}.*'llll'.* {size}: raise n, or .*groups=none"):
        SvmFinder().fit(X, scores, groups)


def test_ten_samples_a_group_are_enough():
    X, scores, _ = linear_world(10)
    metrics = SvmFinder().fit(X, scores).metrics_
    assert metrics["samples_per_class"] == {"all": 2}


def test_equal_scores_are_named_before_any_fit(monkeypatch):
    monkeypatch.setattr(svm, "fit_plane", no_fit)
    X, scores, _ = linear_world(100)
    scores[:, PROPERTIES.index("pose")] = 1.5
    with pytest.raises(ValueError, match="'all' have the same pose score"):
        SvmFinder().fit(X, scores)


def test_vectors_that_are_all_alike_have_no_direction():
    _, scores, _ = linear_world(100)
    with pytest.raises(ValueError, match="no plane"):
        SvmFinder().fit(np.zeros((100, 4)), scores)


@pytest.mark.parametrize(
    "setting",
    [{"ratio": 0.0}, {"ratio": 0.6}, {"train_share": 0.0}, {"train_share": 1.1}, {"C": 0.0}, {"max_iter": 0}],
)
def test_unusable_settings_are_named(setting):
    X, scores, _ = linear_world(100)
    with pytest.raises(ValueError, match=next(iter(setting))):
        SvmFinder(**setting).fit(X, scores)


def test_fits_that_do_not_converge_are_counted_and_told_once():
    X, scores, _ = linear_world(300)
    finder = SvmFinder(max_iter=1)
    with pytest.warns(ConvergenceWarning) as told:
        finder.fit(X, scores)
    assert finder.metrics_["num_unconverged"] == 3
    assert [str(warning.message) for warning in told] == ["3 of 3 fits stopped at max_iter=1: raise it"]


def assert_same_direction(found, recorded, info):
    """To 1e-6 by the scikit-learn that recorded, else by cosine."""
    if sklearn.__version__ == info["versions"]["sklearn"]:
        np.testing.assert_allclose(found, recorded, rtol=0, atol=1e-6)
    else:
        assert float(found @ recorded / np.linalg.norm(found) / np.linalg.norm(recorded)) >= 0.999


def solver_seed_of(info: dict) -> int:
    match = re.search(r"random_state=(\d+)", info["all_selected_fit"]["estimator"])
    assert match, "the recording names its random_state"
    return int(match[1])


@pytest.mark.golden
def test_recorded_selection(golden):
    info, tensors = golden("svm")
    scores = tensors["in.scores"].numpy()
    for prop, column in info["property_score_column"].items():
        assert PROPERTIES[column] == prop
        for name, rows in info["group_members"].items():
            largest, smallest = extremes(scores[rows, column], info["ratio"])
            assert largest.tolist() == info["indices"][f"{prop}_largest"][name]
            assert smallest.tolist() == info["indices"][f"{prop}_smallest"][name]


@pytest.mark.golden
def test_recorded_directions_with_the_sign_that_raises(golden, monkeypatch):
    info, tensors = golden("svm")
    X, scores = tensors["in.mid_vectors"].numpy().astype(np.float64), tensors["in.scores"].numpy()
    groups = group_names(scores, info["medians"])
    finder = SvmFinder(ratio=info["ratio"], train_share=1.0)
    monkeypatch.setattr(SvmFinder, "solver_seed", solver_seed_of(info))
    finder.fit(X, scores, groups)
    assert finder.group_names_ == info["group_order"]
    recorded = tensors["out.direction"].numpy()
    for p, prop in enumerate(info["property_order"]):
        for g, name in enumerate(info["group_order"]):
            assert_same_direction(finder.directions_[p, g], -recorded[p, g], info)
            rows = groups == name
            along = X[rows] @ finder.directions_[p, g]
            assert np.corrcoef(along, scores[rows, info["property_score_column"][prop]])[0, 1] > 0


@pytest.mark.golden
def test_recorded_split_fits(golden):
    """The reference's own shuffles through our split: same directions, same validation accuracy."""
    info, tensors = golden("svm")
    X = tensors["in.mid_vectors"].numpy().astype(np.float64)
    share, num_compared = info["shuffled_fit"]["train_fraction"], 0
    for key, recorded in info["shuffled_fit"]["results"].items():
        rows = np.array(info["group_members"][key.split("/")[1]])
        if recorded.get("error") is not None:
            continue
        largest, smallest = rows[recorded["shuffled_largest"]], rows[recorded["shuffled_smallest"]]
        num_train = int(share * len(largest))
        fit = fit_plane(X, largest, smallest, num_train, 1.0, 1000, solver_seed_of(info))
        assert_same_direction(fit.direction, -np.array(recorded["direction"]), info)
        assert (fit.num_correct, fit.num_validation) == (recorded["valid_correct"], recorded["valid_count"])
        num_compared += 1
    assert num_compared > 0
