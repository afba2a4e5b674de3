"""What the finders that take derivatives do with them: which samples, how steady, and how much of a face's own."""

import numpy as np
import pytest

from ohlora_gan.directions.base import Geometry
from ohlora_gan.directions.derivatives import BATCH, LocalJacobianFinder, MeanJacobianFinder, random_edits
from ohlora_gan.testing import Bar

NAMES = ("eyes", "mouth", "pose")
SIZE, N = 6, 400
RNG = np.random.default_rng(8)
X = RNG.standard_normal((N, SIZE)).astype(np.float32)
MEAN = RNG.standard_normal((3, SIZE))


def wavering(codes):
    """The eyes answer the last value, too: as strongly, but now up, now down with the first value's sign."""
    derivatives = np.repeat(MEAN[None], len(codes), axis=0).astype(np.float32)
    derivatives[:, 0, 5] += 3 * np.sign(codes[:, 0])
    return derivatives


def fit(finder, jacobian=wavering, groups=None, **more):
    return finder.fit(
        X, np.zeros((N, 3)), groups, names=NAMES, edited=NAMES, geometry=Geometry(**{"jacobian": jacobian} | more)
    )


def test_steadiness_lowers_the_variance_of_the_response():
    def waver(steadiness):
        eyes = fit(MeanJacobianFinder(decorrelate="all", steadiness=steadiness, reach=0)).directions_[0, 0]
        response = wavering(X)[:, 0] @ eyes
        return response.std() / response.mean()

    figures = [waver(steadiness) for steadiness in (0.0, 1.0, 100.0)]
    assert figures[1] < 0.7 * figures[0]
    assert figures[2] < 0.3 * figures[1]


def test_steadiness_still_holds_the_others():
    directions = fit(MeanJacobianFinder(decorrelate="all", steadiness=5.0, reach=0)).directions_[:, 0]
    mean = wavering(X).mean(axis=0)
    moved = directions @ mean.T
    assert np.abs(moved / np.diagonal(moved)[:, None] - np.eye(3)).max() < 1e-5


def test_agreement_is_the_mean_cosine_with_the_mean():
    metrics = fit(MeanJacobianFinder(num_jacobians=100, reach=0)).metrics_
    own = wavering(X[:100]).astype(np.float64)
    mean = own.mean(axis=0)
    cosine = (own[:, 0] @ mean[0]) / (np.linalg.norm(own[:, 0], axis=1) * np.linalg.norm(mean[0]))
    assert metrics["jacobian_eyes_agreement"] == pytest.approx(cosine.mean())
    assert metrics["jacobian_mouth_agreement"] == pytest.approx(1)
    assert metrics["num_jacobians"] == 100


def test_derivatives_are_taken_in_batches_of_the_first_samples():
    seen = []

    def jacobian(codes):
        seen.append(codes)
        return wavering(codes)

    num = BATCH + 7
    for finder in (MeanJacobianFinder(num_jacobians=num, reach=0), LocalJacobianFinder(num_jacobians=num)):
        seen.clear()
        fit(finder, jacobian)
        assert [len(codes) for codes in seen] == [BATCH, 7]
        np.testing.assert_array_equal(np.concatenate(seen), X[:num])


def test_groups_share_the_derivatives():
    groups = np.where(X[:, 0] > 0, "h", "l")
    finder = fit(MeanJacobianFinder(num_jacobians=60, decorrelate="none", steadiness=0, reach=0), groups=groups)
    assert finder.group_names_ == ["h", "l"]
    assert finder.metrics_["num_jacobians"] == 60
    for group, sign in enumerate((1, -1)):
        expected = MEAN[0] + sign * np.array([0, 0, 0, 0, 0, 3])
        np.testing.assert_allclose(finder.directions_[0, group], expected / np.linalg.norm(expected), atol=1e-6)


def test_the_way_of_an_edit_counts():
    """A score whose derivative turns away with the square of the way: its mean over the way is known."""
    slope = np.linalg.norm(MEAN[0])
    ahead, aside = MEAN[0] / slope, np.eye(SIZE)[5]

    def bending(codes):
        derivatives = np.repeat(MEAN[None], len(codes), axis=0)
        derivatives[:, 0] += 3 * np.square(codes @ ahead)[:, None] * aside
        return derivatives

    bar = Bar()
    finder = MeanJacobianFinder(num_jacobians=N, decorrelate="none", steadiness=0, reach=2.0)
    X_near, scores = 1e-3 * X, np.zeros((N, 3))
    finder.fit(X_near, scores, None, bar, NAMES, NAMES[:1], Geometry(bending))
    expected = MEAN[0] + 3 * (4 / 3) / slope**2 * aside  # strengths are even in -2 to 2: the mean square is 4/3
    assert finder.directions_[0, 0] @ expected / np.linalg.norm(expected) > 0.9995
    assert finder.directions_[0, 0] @ ahead < 0.99
    assert bar.calls[-1] == (2 * N, 2 * N)
    assert finder.metrics_["num_jacobians"] == 2 * N


def test_edits_depend_on_the_samples_number_alone():
    directions, slopes = np.eye(3, SIZE), np.array([1.0, 2.0, 4.0])
    rows = np.arange(500)
    every = random_edits(rows, directions, slopes, 2.0)
    np.testing.assert_array_equal(random_edits(rows[7:9], directions, slopes, 2.0), every[7:9])
    np.testing.assert_allclose(np.abs(every[:, :3]).max(axis=0), 2 / slopes, rtol=0.02)
    assert not every[:, 3:].any()


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_faces_own_derivative_has_its_share(share):
    finder = fit(LocalJacobianFinder(num_jacobians=N, share=share, decorrelate="none", steadiness=0))
    x = X[3]
    mixed = share * wavering(x[None])[0] + (1 - share) * wavering(X).mean(axis=0)
    np.testing.assert_allclose(finder.direction(x), mixed / np.linalg.norm(mixed, axis=1, keepdims=True), atol=1e-5)
    assert finder.directions_.shape == (3, 1, SIZE)


@pytest.mark.parametrize(
    ("finder", "more", "message"),
    [
        (MeanJacobianFinder(), {"jacobian": None}, "needs jacobian, the scores' derivatives"),
        (LocalJacobianFinder(), {"jacobian": None}, "needs jacobian, the scores' derivatives"),
        (MeanJacobianFinder(), {"jacobian": lambda c: np.zeros((len(c), 2, SIZE))}, r"shape \[50, 2, 6\], expected"),
        (MeanJacobianFinder(num_jacobians=0), {}, "num_jacobians is 0, expected at least 1"),
        (LocalJacobianFinder(num_jacobians=0), {}, "num_jacobians is 0, expected at least 1"),
        (MeanJacobianFinder(reach=-1.0), {}, "reach is -1.0, expected at least 0"),
        (MeanJacobianFinder(steadiness=-1.0), {}, "steadiness is -1.0, expected at least 0"),
        (MeanJacobianFinder(), {"groups": np.array(["hh"] * N)}, "group 'hl' has no sample"),
        (LocalJacobianFinder(share=0.0), {}, "share is 0.0, expected above 0 and at most 1"),
        (LocalJacobianFinder(share=1.5), {}, "share is 1.5, expected above 0 and at most 1"),
        (MeanJacobianFinder(), {"metric": np.eye(3)}, r"metric has shape \[3, 3\], expected \[6, 6\]"),
        (MeanJacobianFinder(steadiness=0), {"metric": np.eye(3)}, r"metric has shape \[3, 3\]"),
    ],
)
def test_what_is_unusable_is_said(finder, more, message):
    with pytest.raises(ValueError, match=message):
        fit(finder, **more)
