"""What a unit of length brings, and mixing by measured response, in worlds where both are known."""

import numpy as np
import pytest
import torch

from ohlora_gan.directions.base import Geometry
from ohlora_gan.directions.derivatives import LocalJacobianFinder
from ohlora_gan.directions.files import DirectionSet, recipe_of
from ohlora_gan.editing.search import LONGEST, OWN_GROUP, REACH, calibrate, correct, slopes_along
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import free_jacobian
from ohlora_gan.testing import Bar
from tests.analytic_world import EDITED, NAMES, SIZE, make_world

EYES, MOUTH, POSE, HAIR, SKIN = range(5)
STRENGTHS = {"eyes": (-1.2, 1.2), "mouth": (-1.8, -0.9, 0.0, 0.9, 1.8), "pose": (-1.8, -1.2, -0.6, 0.0, 0.6)}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def one_group(directions, properties=EDITED, **more):
    return DirectionSet(unit(directions)[:, None], ["all"], "w", "test", properties=properties, **more)


def all_scores(world):
    """Decorrelated directions of all scores, as derivatives give them."""
    return one_group(np.linalg.pinv(world.response).T, NAMES)


def trend(world, found, strengths, stream="test", num=200):
    """Slopes ``[k, P]`` of the mean scores over faces as each direction goes through its strengths and nowhere."""
    codes = world.space.codes(W(), *world.space.latents(stream, range(num)))
    trends = []
    for i, name in enumerate(found.properties):
        rows = np.union1d(strengths.get(name, (-1.0, 1.0)), [0.0])
        along = [codes + row / found.slopes[i, 0] * found.directions[i, 0] for row in rows]
        mean = np.stack([world.space.score_codes(W(), moved).mean(axis=0) for moved in along])
        trends.append(np.polyfit(rows, mean, 1)[0])
    return np.stack(trends)


def test_slopes_of_a_linear_world_are_exact():
    world = make_world()
    found = calibrate(world.space, W(), one_group(world.response[:3]), num_latents=20)
    expected = np.einsum("kd,kd->k", world.response[:3], unit(world.response[:3]))
    np.testing.assert_allclose(found.slopes[:, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(found.spreads, 0, atol=1e-4)
    assert found.slopes.dtype == found.spreads.dtype == np.float32
    lengths = found.steps([[1.0, 0, 0], [0, -2.0, 0]])
    moved = lengths[:, :, None] * found.directions[:, 0] @ world.response.T
    assert moved[0, EYES, EYES] == pytest.approx(1, abs=1e-3)
    assert moved[1, MOUTH, MOUTH] == pytest.approx(-2, abs=1e-3)


def test_a_slope_is_that_of_a_sigma_to_either_side():
    """Scores that saturate rise less over a sigma than at the face itself."""
    world = make_world(scored=torch.tanh)
    found = calibrate(world.space, W(), one_group(world.response[:1], ("eyes",)), num_latents=100)
    codes = world.space.codes(W(), *world.space.latents("choose", range(100)))
    at_face = slopes_along(world.space, W(), codes, np.repeat(found.directions[0], 100, axis=0), 1e-2)[:, EYES].mean()
    assert found.slopes[0, 0] < 0.85 * at_face
    length = 1 / found.slopes[0, 0]
    over = slopes_along(world.space, W(), codes, np.repeat(found.directions[0], 100, axis=0), length)[:, EYES]
    assert found.slopes[0, 0] == pytest.approx(over.mean(), rel=0.25)
    assert found.spreads[0, 0] > 0.1 * found.slopes[0, 0]


def test_slopes_along_is_the_straight_line_through_four_places():
    world = make_world(scored=lambda scores: scores + scores**3)
    codes = world.space.codes(W(), *world.space.latents("choose", range(3)))
    direction = unit(world.response[EYES]).astype(np.float32)
    found = slopes_along(world.space, W(), codes, np.repeat(direction[None], 3, axis=0), 0.7)
    for x, slope in zip(codes, found, strict=True):
        moved = x + np.float32(0.7) * REACH[:, None].astype(np.float32) * direction
        line = np.polyfit(0.7 * REACH, world.space.score_codes(W(), moved), 1)
        np.testing.assert_allclose(slope, line[0], rtol=1e-3, atol=1e-3)


def grouped_world():
    """Faces with high hair answer the eyes' direction half as much."""

    def halved(scores):
        eyes = torch.where(scores[:, HAIR] >= 0, 0.5, 1.0) * scores[:, EYES]
        return torch.cat([eyes[:, None], scores[:, 1:]], dim=1)

    return make_world(scored=halved)


def two_groups(world, cut):
    rows = np.linalg.pinv(world.response).T[:1]  # hair stays, so a face stays in its group
    directions = np.repeat(unit(rows)[:, None], 2, axis=1)
    return DirectionSet(directions, ["h", "l"], "w", "test", {"hair": cut}, properties=("eyes",))


def test_groups_have_slopes_of_their_own():
    world = grouped_world()
    found = calibrate(world.space, W(), two_groups(world, 0.0), num_latents=60)
    full = world.response[EYES] @ found.directions[0, 0]
    np.testing.assert_allclose(found.slopes[0], [0.5 * full, full], rtol=1e-3)
    np.testing.assert_allclose(found.steps([[1.0]], "h"), 2 * found.steps([[1.0]], "l"), rtol=1e-3)


def test_a_group_of_few_has_the_slope_of_all():
    world = grouped_world()
    scores = world.space.score_codes(W(), world.space.codes(W(), *world.space.latents("choose", range(60))))
    cut = float(np.sort(scores[:, HAIR])[-(OWN_GROUP - 1)])  # OWN_GROUP - 1 faces are in group h
    found = calibrate(world.space, W(), two_groups(world, cut), num_latents=60)
    full = world.response[EYES] @ found.directions[0, 0]
    share_halved = float((scores[:, HAIR] >= 0).mean())
    assert found.slopes[0, 0] == pytest.approx((1 - share_halved / 2) * full, rel=1e-3)


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_what_does_not_raise_its_score_is_not_followed_out_of_the_world(factor):
    world = make_world(scored=lambda scores: factor * scores)
    found = calibrate(world.space, W(), one_group(world.response[:3]), num_latents=20)
    codes = world.space.codes(W(), *world.space.latents("choose", range(20)))
    radius = np.linalg.norm(codes - codes.mean(axis=0), axis=1).mean()
    np.testing.assert_allclose(found.steps(np.eye(3)).diagonal(), LONGEST * radius, rtol=1e-4)


def test_progress_and_too_few_latents():
    world, bar = make_world(), Bar(3)
    calibrate(world.space, W(), one_group(world.response[:3]), 2, bar)
    assert bar.calls == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(ValueError, match="slopes need at least 2 latents, got 1"):
        calibrate(world.space, W(), one_group(world.response[:3]), 1)


def test_correction_changes_nothing_where_nothing_leaks():
    world = make_world()
    found = calibrate(world.space, W(), all_scores(world), 20)
    corrected = correct(world.space, W(), found, EDITED, STRENGTHS, 20)
    assert corrected.properties == EDITED
    np.testing.assert_allclose(corrected.directions, found.directions[:3], atol=1e-4)
    np.testing.assert_allclose(corrected.slopes, found.slopes[:3], rtol=1e-3)


def test_correction_removes_the_leakage_of_directions_that_follow_their_own_score():
    world = make_world()
    found = calibrate(world.space, W(), one_group(world.response, NAMES), 20)
    assert np.abs(world.leakage(found.directions[:3, 0]) - np.eye(3, 5)).max() > 0.4
    corrected = correct(world.space, W(), found, EDITED, STRENGTHS, 20)
    assert np.abs(world.leakage(corrected.directions[:, 0]) - np.eye(3, 5)).max() < 1e-3


def test_correction_removes_what_derivatives_do_not_see():
    """Hair answers the square of pose. At the mean face its derivative is 0, yet over -1.8 to +.6 it leaks."""

    def curved(scores):
        hair = scores[:, HAIR] + 0.3 * scores[:, POSE] ** 2
        return torch.cat([scores[:, :HAIR], hair[:, None], scores[:, SKIN:]], dim=1)

    world = make_world(scored=curved)
    found = calibrate(world.space, W(), all_scores(world), 200)
    assert trend(world, found, STRENGTHS)[POSE, HAIR] < -0.25
    corrected = correct(world.space, W(), found, EDITED, STRENGTHS, 200)
    for stream, most in (("choose", 0.02), ("test", 0.06)):
        left = np.abs(trend(world, corrected, STRENGTHS, stream) - np.eye(3, 5))
        assert left[:, [EYES, MOUTH, HAIR, SKIN]].max() < most


def test_scores_that_are_not_held_go_where_they_like():
    world = make_world()
    names = (*EDITED, "hair")
    rows = [NAMES.index(name) for name in names]
    found = calibrate(world.space, W(), one_group(world.response[rows], names), 20)
    corrected = correct(world.space, W(), found, EDITED, STRENGTHS, 20)
    leakage = np.abs(world.leakage(corrected.directions[:, 0]) - np.eye(3, 5))
    assert leakage[:, :SKIN].max() < 1e-3
    assert leakage[:, SKIN].max() > 0.1


def test_groups_are_mixed_each():
    world = make_world()
    rows = unit(world.response)
    found = DirectionSet(
        np.stack([rows, unit(rows + 0.1)], axis=1), ["h", "l"], "w", "test", {"hair": 0.0}, properties=NAMES
    )
    corrected = correct(world.space, W(), calibrate(world.space, W(), found, 60), EDITED, STRENGTHS, 60)
    assert corrected.directions.shape == (3, 2, SIZE)
    np.testing.assert_allclose(np.linalg.norm(corrected.directions, axis=2), 1, atol=1e-5)
    assert corrected.slopes.shape == (3, 2)


def test_what_cannot_be_corrected_is_said():
    world = make_world()
    with pytest.raises(ValueError, match=r"gives each face its own directions.*correct=false"):
        correct(world.space, W(), pointwise(world), EDITED, STRENGTHS, 10)
    twice = calibrate(world.space, W(), one_group(world.response[[EYES, EYES]], ("eyes", "mouth")), 10)
    flat = make_world(scored=lambda scores: 0 * scores)
    with pytest.raises(ValueError, match=r"response cannot be inverted: hold fewer properties \(decorrelate="):
        correct(flat.space, W(), twice, ("eyes",), STRENGTHS, 10)


def pointwise(world):
    codes = world.space.codes(W(), *world.space.latents("bank", range(20)))
    finder = LocalJacobianFinder()
    finder.fit(codes, np.zeros((20, 5)), names=NAMES, edited=EDITED, geometry=Geometry(free_jacobian(world.space, W())))
    return DirectionSet(
        finder.directions_, ["all"], "w", "local_jacobian", properties=EDITED, finder=finder, recipe=recipe_of(finder)
    )


def test_directions_that_depend_on_the_face_have_slopes_too():
    world = make_world(painted=torch.tanh, gain=0.5)
    found = calibrate(world.space, W(), pointwise(world), 20)
    codes = world.space.codes(W(), *world.space.latents("choose", range(20)))
    along = np.stack([found.direction(x)[EYES] for x in codes])
    expected = slopes_along(world.space, W(), codes, along, 1 / found.slopes[EYES, 0])[:, EYES].mean()
    assert found.slopes[EYES, 0] == pytest.approx(expected, rel=0.05)
    assert found.finder is not None
