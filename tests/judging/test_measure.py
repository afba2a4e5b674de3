from functools import partial

import numpy as np
import pytest

from ohlora_gan.editing.moves import StraightMover
from ohlora_gan.judging.measure import DAMAGE, ChangeMeter, Scoring, Seen
from ohlora_gan.testing import Bar
from tests import linear_world as world

GRID = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
DIRECTIONS = np.eye(world.SIZE, dtype=np.float32)[:2]
CODES = np.random.default_rng(0).standard_normal((7, world.SIZE)).astype(np.float32)
MATRIX = np.eye(world.SIZE)[:, :3]


class Found:
    properties, medians = ("eyes", "pose"), {}

    def direction(self, x, group=None):
        return DIRECTIONS


def judge(name="first", **settings):
    return world.LinearJudge(MATRIX, ("eyes", "pose", "hair"), name, **settings)


def move(codes, groups):
    return StraightMover(Found())(codes, groups, {"eyes": GRID[:, 0], "pose": GRID[:, 1]}, "reference").codes


def run(judges, meter=None, noise=0.0, latents_per_batch=8, **settings):
    scoring = Scoring(partial(world.render, noise=noise), judges, meter, latents_per_batch)
    return scoring.measure(CODES, ["all"] * len(CODES), move, **settings)


def test_every_picture_is_made_once_and_scored_by_all():
    first, second = judge(), judge("second", role="judging", curve=lambda s: 2 * s)
    a, b = run([first, second])
    expected = CODES[:, None, :3] + np.pad(GRID, ((0, 0), (0, 1)))
    np.testing.assert_allclose(a.scores, expected, atol=1e-6)
    np.testing.assert_allclose(b.scores, 2 * expected, atol=1e-6)
    np.testing.assert_allclose(a.unedited, CODES[:, :3], atol=1e-6)
    assert (b.name, b.role, b.names) == ("second", "judging", ("eyes", "pose", "hair"))
    assert first.num_pictures == second.num_pictures == 7 * (1 + len(GRID))
    assert a.again is None


@pytest.mark.parametrize("latents_per_batch", [1, 3, 7, 20])
def test_batches_change_nothing(latents_per_batch):
    meters = [ChangeMeter(), ChangeMeter()]
    (a,) = run([judge()], meters[0], noise=0.3, retest=True)
    (b,) = run([judge()], meters[1], noise=0.3, retest=True, latents_per_batch=latents_per_batch)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
    np.testing.assert_allclose(a.again, b.again, atol=1e-6)
    changes = [meter.result(7, len(GRID)) for meter in meters]
    np.testing.assert_allclose(changes[0]["whole"], changes[1]["whole"], atol=1e-6)


def test_the_second_draw_has_noise_of_its_own():
    (seen,) = run([judge()], noise=0.3, retest=True)
    off = seen.again - seen.scores
    assert off.std() == pytest.approx(0.3, rel=0.3)
    assert len(np.unique(off)) == off.size


@pytest.mark.parametrize("latents_per_batch", [1, 2, 3, 10])
def test_ends_with_the_latent_that_is_enough(latents_per_batch):
    asked, bar = [], Bar(7)

    def enough(number, scores):
        asked.append((number, float(scores[1, 0])))
        return number == 3

    meter = ChangeMeter()
    (seen,) = run(
        [judge()],
        meter,
        enough=enough,
        latents_per_batch=latents_per_batch,
        progress=bar,
        retest=True,
    )
    assert asked == [(i, pytest.approx(float(CODES[i, 0]))) for i in range(4)]
    assert bar.calls == [(i + 1, 7) for i in range(4)]
    assert len(seen.scores) == len(seen.again) == len(seen.unedited) == 4
    assert meter.result(4, len(GRID))["whole"].shape == (4,)


def test_lost_pictures_are_counted():
    (seen,) = run([judge(loses=lambda s: s[:, 0] > CODES[:, 0].max())])
    lost = np.isnan(seen.scores).all(axis=2)
    np.testing.assert_array_equal(lost, CODES[:, None, 0] + GRID[:, 0] > CODES[:, 0].max())
    assert seen.lost == pytest.approx(lost.mean())
    assert lost.any()


def test_raw_measures_become_sigmas_over_the_unedited_faces():
    first, second = judge(), judge("raw", raw=True, curve=lambda s: 40 + 8 * s)
    a, b = run([first, second])
    sigma = a.unedited.std(axis=0)
    np.testing.assert_allclose(b.in_sigmas().scores, (a.scores - a.unedited.mean(axis=0)) / sigma, rtol=1e-4, atol=1e-5)
    assert b.in_sigmas().unedited.std(axis=0) == pytest.approx(1, abs=1e-4)


def test_damage_keeps_its_unit():
    unedited = np.array([[1.0, 0.1], [3.0, 0.3], [np.nan, np.nan]], np.float32)
    seen = Seen("landmarks", "judging", ("eyes", DAMAGE), unedited, unedited[:, None] + np.float32(1)).in_sigmas()
    np.testing.assert_allclose(seen.unedited, [[-1, 0.1], [1, 0.3], [np.nan, np.nan]], rtol=1e-6)
    np.testing.assert_allclose(seen.scores[:, 0], [[0, 1.1], [2, 1.3], [np.nan, np.nan]], rtol=1e-6, atol=1e-6)


def test_too_few_measured_faces_are_named():
    nothing = np.full((5, 1), np.nan, np.float32)
    seen = Seen("landmarks", "judging", ("eyes",), nothing, nothing[:, None])
    with pytest.raises(ValueError, match=r"landmarks measured 0 of 5 unedited faces.*raise test\.num_latents"):
        seen.in_sigmas()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="7 codes, 1 groups"):
        Scoring(world.render, [judge()]).measure(CODES, ["all"], move)
    with pytest.raises(ValueError, match="0 judges"):
        run([])
    short = judge()
    short.property_names = ("eyes",)
    with pytest.raises(ValueError, match=r"first gave scores of shape \[7, 3\], expected \[7, 1\]"):
        Scoring(world.render, [short]).score(CODES[:, None])
