"""A finder a property."""

import numpy as np
import pytest

from ohlora_gan.directions.derivatives import GradientFinder, MixedFinder, merged
from ohlora_gan.directions.linear import SvmFinder
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES
from ohlora_gan.testing import Bar
from ohlora_gan.training.gradient_net import NetTrainer

SIZE = 6
GRADIENT, SVM = GradientFinder(NetTrainer(max_epochs=1)), SvmFinder()
PUBLISHED = {"eyes": GRADIENT, "mouth": SVM, "pose": SVM}


def world():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((320, SIZE)).astype(np.float32)
    scores = (X @ rng.standard_normal((SIZE, len(PROPERTIES)))).astype(np.float32)
    return X, scores, np.where(X[:, 0] > 0, "h", "l")


@pytest.fixture(scope="module")
def fitted():
    return MixedFinder(PUBLISHED).fit(*world())


def test_each_property_has_its_own_method(fitted):
    X, scores, groups = world()
    svm, gradient = SvmFinder().fit(X, scores, groups), GradientFinder(GRADIENT.train).fit(X, scores, groups)
    assert fitted.group_names_ == ["h", "l"]
    assert fitted.directions_.shape == (3, 2, SIZE)
    np.testing.assert_array_equal(fitted.directions_[1:], svm.directions_[1:])
    for i in range(2):  # an ungrouped direction serves every group
        np.testing.assert_array_equal(fitted.directions_[0, i], gradient.directions_[0, 0])
    expected = np.stack([gradient.direction(X[5])[0], *svm.direction(X[5], "l")[1:]])
    np.testing.assert_array_equal(fitted.direction(X[5], "l"), expected)


def test_the_given_finders_stay_as_they_are(fitted):
    assert not hasattr(GRADIENT, "directions_")
    assert not hasattr(SVM, "directions_")


def test_a_restored_finder_gives_the_same_directions(fitted):
    X, _, _ = world()
    restored = MixedFinder({"eyes": GradientFinder(), "mouth": SvmFinder(), "pose": SvmFinder()}).restore(
        fitted.directions_, fitted.group_names_, PROPERTIES, EDITED_PROPERTIES, fitted.state_
    )
    assert {name.partition(".")[0] for name in fitted.state_} == {"eyes"}
    for group in ("h", "l"):
        np.testing.assert_array_equal(restored.direction(X[7], group), fitted.direction(X[7], group))


def test_restoring_asks_the_state_of_each_part(fitted):
    with pytest.raises(ValueError, match=r"lack 6 tensors, eyes\.fc1"):
        MixedFinder(PUBLISHED).restore(fitted.directions_, ["h", "l"], PROPERTIES, EDITED_PROPERTIES, {})


def test_pointwise_where_any_part_is():
    assert MixedFinder(PUBLISHED).pointwise
    assert not MixedFinder({"mouth": SVM}).pointwise


def test_a_part_without_points_is_as_the_method_alone():
    X, scores, _ = world()
    finder = MixedFinder({"pose": SVM}).fit(X, scores, edited=["pose"])
    assert finder.group_names_ == ["all"]
    np.testing.assert_array_equal(finder.directions_, SvmFinder().fit(X, scores, edited=["pose"]).directions_)
    np.testing.assert_array_equal(finder.direction(X[0]), finder.directions_[:, 0])


def test_metrics_are_merged(fitted):
    metrics = fitted.metrics_
    assert {"nn_eyes_mse", "svm_mouth_acc", "svm_pose_acc"} < set(metrics)
    assert set(metrics["accuracy"]) == {"mouth", "pose"}
    assert metrics["num_fits"] == {"mouth": 2, "pose": 2}
    assert set(metrics["samples_per_class"]) == {"h", "l"}
    assert merged({"a": {"n": 1, "x_a_y": 2}, "b": {"m": {"b": 3}}}) == {"n": {"a": 1}, "x_a_y": 2, "m": {"b": 3}}


def test_the_progress_of_the_parts_adds_up():
    bar = Bar()
    MixedFinder(PUBLISHED).fit(*world(), progress=bar)
    assert bar.calls == [(1, 1), (2, 3), (3, 3), (4, 5), (5, 5)]  # one epoch, then two groups a property


def test_a_property_without_a_finder_is_named():
    X, scores, _ = world()
    with pytest.raises(ValueError, match=r"no finder for hair_color: .* '\+method\.finder\.finders\.hair_color="):
        MixedFinder(PUBLISHED).fit(X, scores, edited=["eyes", "hair_color"])
