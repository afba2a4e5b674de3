import numpy as np
import pytest

from ohlora_gan.judging import figures
from ohlora_gan.judging.figures import make_plan

GRID = make_plan(["eyes", "mouth", "pose"]).grid
SLOPES = np.array([[1.0, 0.3, 0.0, -0.4], [0.0, 0.9, 0.1, 0.0], [0.2, 0.0, 1.1, 0.05]])
NAMES = ("eyes", "mouth", "pose", "hair")
BOOT = figures.Bootstrap(6)


def scores_of(slopes, num=6, noise=0.0):
    """Scores [num, 50, 4] linear in the strengths, about a level of each latent's own."""
    rng = np.random.default_rng(1)
    levels = rng.standard_normal((num, 1, 4))
    return levels + GRID @ slopes + noise * rng.standard_normal((num, 50, 4))


def lose(scores, share):
    """The same with a share of each latent's pictures lost."""
    scores = scores.copy()
    for i, of_latent in enumerate(scores):
        of_latent[np.random.default_rng(i).permutation(50)[: round(50 * share)]] = np.nan
    return scores


def test_slopes_are_exact_in_a_linear_world():
    np.testing.assert_allclose(figures.slopes(GRID, scores_of(SLOPES)), np.broadcast_to(SLOPES, (6, 3, 4)), atol=1e-9)


def test_lost_pictures_do_not_bend_slopes():
    np.testing.assert_allclose(
        figures.slopes(GRID, lose(scores_of(SLOPES), 0.3)), np.broadcast_to(SLOPES, (6, 3, 4)), atol=1e-9
    )
    assert np.isnan(figures.slopes(GRID, lose(scores_of(SLOPES), 0.6))).all()


def test_leakage_is_what_the_others_do():
    responses = figures.slopes(GRID, scores_of(SLOPES))
    leaks = [figures.leakage(responses[:, i], NAMES, name, BOOT) for i, name in enumerate(NAMES[:3])]
    assert [(leak["worst"], leak["name"]) for leak in leaks] == [
        (pytest.approx(0.4), "hair"),
        (pytest.approx(0.1), "pose"),
        (pytest.approx(0.2), "eyes"),
    ]
    assert leaks[0]["rms"] == pytest.approx(np.sqrt((0.3**2 + 0.0 + 0.4**2) / 3))
    assert leaks[0]["interval"] == pytest.approx((0.4, 0.4))


def test_leakage_of_lengths_is_given_a_sigma_of_its_own():
    responses = figures.slopes(GRID, scores_of(SLOPES * 0.5))
    leak = figures.leakage(responses[:, 1], NAMES, "mouth", BOOT, a_sigma_of_its_own=True)
    assert leak["worst"] == pytest.approx(0.1 / 0.9)


def test_leakage_without_an_answer_is_nan():
    one = figures.leakage(np.ones((6, 1)), ("eyes",), "eyes", BOOT)
    assert np.isnan(one["worst"])
    assert one["name"] is None
    flat = figures.leakage(np.zeros((6, 4)), NAMES, "eyes", BOOT, a_sigma_of_its_own=True)
    assert np.isnan(flat["worst"])


def test_leaks_that_differ_between_faces_show_in_the_drift_alone():
    """A score that rises in half of the faces and falls in the others: the mean response does not see it."""
    rising, falling = (scores_of(SLOPES * [1, 1, 1, sign]) for sign in (1, -1))
    scores = np.concatenate([rising[:3], falling[3:]])
    unedited = scores_of(SLOPES * 0)[:, 0]
    assert figures.leakage(figures.slopes(GRID, scores)[:, 0], NAMES, "eyes", BOOT)["name"] == "mouth"
    moved = figures.drift(unedited, scores)
    np.testing.assert_allclose(moved[:, 3], np.abs(GRID @ SLOPES[:, 3]).mean(), atol=1e-9)


def test_miss_is_the_distance_from_what_was_asked():
    own = SLOPES[:, :3]
    unedited = scores_of(SLOPES * 0)[:, 0, :3]
    missed = figures.miss(GRID, unedited, lose(scores_of(SLOPES), 0.2)[..., :3])
    assert missed.shape == (6, 3)
    perfect = figures.miss(GRID, unedited, unedited[:, None] + GRID)
    np.testing.assert_allclose(perfect, 0, atol=1e-12)
    whole = figures.miss(GRID, unedited, scores_of(SLOPES)[..., :3])
    np.testing.assert_allclose(whole, np.broadcast_to(np.abs(GRID @ (own - np.eye(3))).mean(axis=0), (6, 3)))


@pytest.mark.parametrize("column", range(3))
def test_a_straight_line_is_straight_whatever_else_moves(column):
    straight = figures.linearity(GRID, scores_of(SLOPES)[..., column], column)
    np.testing.assert_allclose(straight, 1, atol=1e-9)
    np.testing.assert_allclose(figures.linearity(GRID, lose(scores_of(SLOPES), 0.2)[..., column], column), 1, atol=1e-9)


def test_linearity_knows_curves_and_noise():
    mouth = np.tile(GRID[:, 1], (4, 1))
    assert figures.linearity(GRID, np.square(mouth), 1) == pytest.approx(0, abs=1e-9)
    noisy = mouth + np.random.default_rng(2).standard_normal((4, 50)) * GRID[:, 1].std()
    assert figures.linearity(GRID, noisy, 1).mean() == pytest.approx(0.5, abs=0.15)
    assert np.isnan(figures.linearity(GRID, np.ones((4, 50)), 1)).all()


@pytest.mark.parametrize("reach", [1.0, 2.0, 3.0])
def test_saturation_of_a_hyperbolic_tangent(reach):
    """The slope of tanh(x / r) is half of that at 0 where x = r arcosh(sqrt 2)."""
    strengths = np.linspace(-4, 4, 81)
    low, high = figures.saturation(strengths, np.tile(reach * np.tanh(strengths / reach), (3, 1)))
    assert high == pytest.approx(reach * np.arccosh(np.sqrt(2)), rel=0.02)
    assert low == pytest.approx(-high)


def test_saturation_may_be_lopsided_or_beyond_what_was_tried():
    strengths = np.linspace(-4, 4, 17)
    assert figures.saturation(strengths, strengths[None]) == (-4, 4)
    low, high = figures.saturation(strengths, np.minimum(strengths, 1)[None])
    assert low == -4
    assert 0.5 <= high <= 1.5
    assert np.isnan(figures.saturation(strengths, -strengths[None])).all()


def test_saturation_with_lost_pictures():
    strengths = np.linspace(-4, 4, 17)
    scores = np.tile(strengths, (3, 1))
    scores[0, 4] = np.nan
    assert figures.saturation(strengths, scores) == (-4, 4)
    scores[:, 4] = np.nan
    assert np.isnan(figures.saturation(strengths, scores)).all()


def test_passed_again():
    first, second = np.array([True, True, True, True, False]), np.array([True, False, False, True, True])
    assert figures.passed_again(first, second) == 0.5
    assert np.isnan(figures.passed_again(first & False, second))


def test_bootstrap_intervals_are_those_of_the_normal_distribution():
    values = np.random.default_rng(3).standard_normal(400)
    value, low, high = figures.Bootstrap(400).mean(values)
    half = 1.96 * values.std() / 20
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.02)


def test_bootstrap_leaves_out_what_is_unknown():
    values = np.array([1.0, 1.0, np.nan, 1.0, np.nan, 1.0])
    assert BOOT.mean(values) == (1, 1, 1)
    assert np.isnan(BOOT.mean(np.full(6, np.nan))).all()
    assert BOOT.mean(-np.ones(6), size=True) == (1, 1, 1)


def test_a_share_of_none_or_all_is_not_sure():
    value, low, high = figures.share(np.zeros(100, bool))
    assert (value, low) == (0, 0)
    assert 0.02 < high < 0.06
    assert figures.share(np.array([True, False])).value == 0.5


def test_change_between_draws_leaves_out_lost_pictures():
    first, second = np.zeros((2, 3, 1)), np.full((2, 3, 1), 0.5)
    second[0, 0] = np.nan
    assert figures.draw_change(first, second) == pytest.approx(0.5)
    assert np.isnan(figures.draw_change(first, second * np.nan))
