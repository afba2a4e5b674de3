"""Maps and measures of a drawn face: a mesh whose outlines are ellipses at known places."""

import numpy as np
import pytest

from ohlora_gan.data import landmarks as lm
from ohlora_gan.data.parse_scores import MAP_SIZE, score_maps
from ohlora_gan.names import Part

SIZE = 224


def ring(center, radius, num, start=np.pi):
    """Points on an ellipse, from its left end downwards and round."""
    angle = start - np.arange(num) * 2 * np.pi / num
    return np.stack([center[0] + radius[0] * np.cos(angle), center[1] + radius[1] * np.sin(angle)], axis=1)


def mesh(gap=8.0, eye_height=6.0, tilt=0.0, turn=0.0):
    """Landmarks ``[478, 2]`` of a face 100 wide and 140 high in the middle of a picture of 224 pixels."""
    points = np.full((478, 2), 112.0)
    points[list(lm.OVAL)] = ring((112, 112), (50, 70), 36, start=-np.pi / 2)[::-1]
    points[list(lm.OVAL)] = np.roll(points[list(lm.OVAL)], 1, axis=0)
    points[list(lm.EYE_A)] = ring((90, 95), (12, eye_height / 2), 16)
    points[list(lm.EYE_B)] = ring((134, 95), (-12, eye_height / 2), 16)
    points[list(lm.NOSE)] = ring((112, 115), (8, 18), 22)
    across = np.linspace(92, 132, 11)
    for line, height in (
        (lm.UPPER_LIP_TOP, -gap / 2 - 5),
        (lm.UPPER_LIP_BOTTOM, -gap / 2),
        (lm.LOWER_LIP_TOP, gap / 2),
        (lm.LOWER_LIP_BOTTOM, gap / 2 + 6),
    ):
        points[list(line)] = np.stack([across, np.full(11, 150 + height)], axis=1)
    points[lm.NOSE_TIP] = (112 + 70 * turn, 125)
    cos, sin = np.cos(tilt), np.sin(tilt)
    return (points - 112) @ np.array([[cos, sin], [-sin, cos]]) + 112


def scene(hair=(40, 30, 25), shirt=(30, 30, 120)):
    """Person mask and picture: a skin face within short hair down to the chin, over a shirt, on grey."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    person = (((x - 112) / 70) ** 2 + ((y - 102) / 90) ** 2 < 1) | (y > 195)
    image = np.full((SIZE, SIZE, 3), 180, dtype=np.uint8)
    image[person] = hair
    image[y > 185] = shirt
    image[((x - 112) / 52) ** 2 + ((y - 110) / 75) ** 2 < 1] = (215, 170, 140)
    return person.astype(np.float32), image


def test_every_class_lies_where_it_was_drawn():
    drawn = lm.draw_map(mesh(), *scene())
    assert drawn.shape == (MAP_SIZE, MAP_SIZE)
    assert drawn.dtype == np.uint8
    spots = {
        (5, 5): Part.BACKGROUND,
        (95, 90): Part.LEFT_EYE,
        (95, 134): Part.RIGHT_EYE,
        (118, 112): Part.NOSE,
        (144, 112): Part.UPPER_LIP,
        (150, 112): Part.INNER_MOUTH,
        (157, 112): Part.LOWER_LIP,
        (165, 100): Part.SKIN,
        (20, 112): Part.HAIR,
        (100, 48): Part.HAIR,
        (215, 112): Part.CLOTHES,
    }
    assert {spot: int(drawn[spot]) for spot in spots} == spots


def test_clothes_of_the_hairs_colour_are_no_hair_where_no_hair_hangs_above_them():
    person, image = scene(shirt=(40, 30, 25))
    person[170:195] = 0  # short hair: nothing hangs down to the shoulders
    drawn = lm.draw_map(mesh(), person, image)
    assert (drawn[200:] == Part.HAIR).sum() == 0
    assert (drawn[200:] == Part.CLOTHES).all()


def test_long_hair_counts_down_to_its_end():
    person, image = scene()
    person[:, 45:60], image[100:, 45:60] = 1, (40, 30, 25)
    assert (lm.draw_map(mesh(), person, image)[100:224, 47:58] == Part.HAIR).mean() > 0.95


def test_eyes_are_left_and_right_as_seen_even_upside_down():
    drawn = lm.draw_map(mesh(tilt=np.pi), *scene())
    assert np.nonzero(drawn == Part.LEFT_EYE)[1].mean() < np.nonzero(drawn == Part.RIGHT_EYE)[1].mean()


def test_a_face_larger_than_the_picture_is_cut_off():
    points = (mesh() - 112) * 3 + 112
    drawn = lm.draw_map(points, np.ones((SIZE, SIZE), np.float32), scene()[1])
    assert (drawn == Part.SKIN).mean() > 0.5
    assert not (drawn == Part.HAIR).any()


def test_scores_of_the_maps_follow_the_face():
    gaps, heights, tilts = (0.0, 6.0, 14.0), (2.0, 7.0, 12.0), (-0.3, 0.0, 0.3)
    faces = [mesh(gap, height, tilt) for gap, height, tilt in zip(gaps, heights, tilts, strict=True)]
    maps = np.stack([lm.draw_map(face, *scene()) for face in faces])
    scores = score_maps(maps, np.stack([scene()[1]] * len(maps)))
    assert scores["mouth"][0] == 0
    assert (np.diff(scores["mouth"]) > 0.1).all()
    assert (np.diff(scores["eyes"]) > 3).all()
    np.testing.assert_allclose(scores["pose"], np.tan(tilts), atol=0.02)


@pytest.mark.parametrize(("name", "change"), [("mouth_opening", {"gap": 20.0}), ("eye_aspect", {"eye_height": 12.0})])
def test_openings_are_measured_by_the_faces_size(name, change):
    closed = dict.fromkeys(("gap", "eye_height"), 0.0)
    assert lm.measure_points(mesh(**closed))[name] == pytest.approx(0, abs=1e-9)
    assert lm.measure_points(mesh(**(closed | change)))[name] > 0.1
    assert lm.measure_points(2.5 * mesh(**change) + 40)[name] == pytest.approx(lm.measure_points(mesh(**change))[name])


def test_tilt_and_turn_have_the_sign_of_the_side_seen():
    for value in (-0.4, 0.0, 0.3):
        measured = lm.measure_points(mesh(tilt=value, turn=value))
        assert measured["tilt"] == pytest.approx(value)
        assert measured["turn"] == pytest.approx(value, abs=0.02)
    assert lm.measure_points(mesh(turn=0.3, tilt=0.5))["turn"] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("points", [np.zeros((68, 2)), np.full((478, 2), np.nan), np.zeros(478)])
def test_wrong_landmarks_are_refused(points):
    with pytest.raises(ValueError, match=r"468 or more"):
        lm.measure_points(points)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="expected the same"):
        lm.draw_map(mesh(), np.ones((10, 10), np.float32), scene()[1])


def test_twins_lie_across_the_face():
    assert all(lm.TWINS[twin] == here for here, twin in lm.TWINS.items())
    points = mesh()
    points[list(lm.NOSE)] = ring((112, 115), (8, 18), 22, start=-np.pi / 2)  # as in the mesh, from the top
    here = [point for point in lm.TWINS if point in (*lm.OVAL, *lm.NOSE, *lm.UPPER_LIP_TOP)]
    twin = [lm.TWINS[point] for point in here]
    np.testing.assert_allclose(points[here] * (-1, 1) + (224, 0), points[twin], atol=1e-9)


def test_a_mirror_images_errors_cancel():
    true, error = mesh(tilt=0.1), np.random.default_rng(0).normal(0, 2, (478, 2))
    used, twins = list(lm.TWINS), list(lm.TWINS.values())
    mirrored = np.zeros_like(true)
    mirrored[used] = (true[twins] - error[twins]) * (-1, 1) + (SIZE, 0)
    mean = lm.mean_with_mirror(true + error, mirrored, SIZE)
    np.testing.assert_allclose(mean[used], true[used], atol=1e-9)
    others = np.setdiff1d(np.arange(478), used)
    np.testing.assert_array_equal(mean[others], (true + error)[others])
    assert lm.mirror_distance(true, flipped(true), SIZE) == pytest.approx(0, abs=1e-12)
    height = np.hypot(*(true[lm.CHIN] - true[lm.FOREHEAD]))
    expected = 2 * np.sqrt((error[used] ** 2).sum(axis=1).mean()) / height
    error[[lm.CHIN, lm.FOREHEAD]] = 0
    assert lm.mirror_distance(true + error, mirrored, SIZE) == pytest.approx(expected, rel=0.05)


def flipped(points):
    """The landmarks of a picture's mirror image."""
    found, used = np.zeros_like(points), list(lm.TWINS)
    found[used] = points[list(lm.TWINS.values())] * (-1, 1) + (SIZE, 0)
    return found
