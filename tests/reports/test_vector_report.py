from dataclasses import replace

import numpy as np
import pytest

from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.editing.moves import StraightMover, groups_of
from ohlora_gan.judging.figures import Case, VectorTest, make_plan
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.reports.report import (
    accuracy_table,
    case_grid,
    draw_strips,
    headline,
    make_strips,
    read_training,
    strip_strengths,
)
from tests import tiny


def case(scores):
    return Case(0, "all", {"eyes": 0.9, "mouth": 0.9, "pose": 0.9}, True, scores.astype(np.float32))


def test_response_recovers_known_slopes():
    rng = np.random.default_rng(0)
    slopes, grid = rng.standard_normal((3, 8)), make_plan(("eyes", "mouth", "pose")).grid
    cases = [case(grid @ slopes + rng.standard_normal(8)) for _ in range(4)]
    test = VectorTest(make_plan(("eyes", "mouth", "pose")), np.zeros((4, 16)), np.array(["all"] * 4), cases, None)
    np.testing.assert_allclose(test.response(), slopes, atol=1e-5)


def test_strip_strengths_reach_what_was_asked():
    strengths = strip_strengths(0.25, reach=2.0, steps=9)
    assert strengths[0] == -8.0
    assert strengths[4] == 0.0
    assert strengths[-1] == 8.0
    assert strip_strengths(0.0, reach=2.0, steps=3).tolist() == [-20.0, 0.0, 20.0]


def vector_test(found, codes, groups=("all", "all"), unit="reference"):
    """A test of directions that has found nothing yet."""
    plan = replace(make_plan(found.properties), unit=unit)
    return VectorTest(plan, codes, np.array(groups), [], StraightMover(found))


@pytest.fixture(scope="module")
def world():
    space = FaceSpace(tiny.generator(), tiny.scorer())
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((3, 1, 16))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return space, DirectionSet(directions, ["all"], "w", "svm"), space.codes(W(), *space.latents("t", range(2)))


def test_strips_show_the_unedited_face_in_the_middle(world):
    space, found, codes = world
    ranges = {name: np.array([-3.0, 0.0, 3.0]) for name in ("eyes", "mouth", "pose")}
    strips = make_strips(space, W(), vector_test(found, codes, ["a", "b"]), 2, ranges)
    assert [s.property for s in strips] == ["eyes", "mouth", "pose"]
    for strip in strips:
        assert strip.images.shape == (2, 3, 32, 32, 3)
        off = np.abs(strip.images[:, 1].astype(int) - space.images(W(), codes).astype(int))
        assert off.max() <= 1  # rounding may depend on how images are batched
        assert not np.array_equal(strip.images[:, 0], strip.images[:, 2])
        assert strip.labels == ["a", "b"]


def test_strips_follow_one_direction_alone(world):
    space, found, codes = world
    ranges = {name: np.array([0.0, 3.0]) for name in ("eyes", "mouth", "pose")}
    strips = make_strips(space, W(), vector_test(found, codes, ["a", "b"]), 2, ranges)
    for i, strip in enumerate(strips):
        expected = space.score_codes(W(), codes + 3 * found.directions[i, 0])
        np.testing.assert_allclose(strip.other_scores[:, 1], expected, atol=1e-4)


def test_strips_reach_so_many_sigmas(world):
    """On the grid of sigmas as they are, on the grid of lengths by the response."""
    space, found, codes = world
    test = vector_test(replace(found, slopes=np.ones((3, 1))), codes, unit="sigma")
    (strip, *_) = draw_strips(space, W(), test, num_faces=1, reach=2.0, steps=5)
    assert strip.strengths.tolist() == [-2, -1, 0, 1, 2]
    slopes = np.zeros((3, 8))
    slopes[0, 0] = 0.5
    test.plan, test.cases = (
        replace(test.plan, unit="reference"),
        [case(make_plan(("eyes", "mouth", "pose")).grid @ slopes)],
    )
    (strip, *_) = draw_strips(space, W(), test, num_faces=1, reach=2.0, steps=5)
    assert strip.strengths.tolist() == [-4, -2, 0, 2, 4]


def test_case_grid_has_fifty_pictures_in_order(world):
    space, found, codes = world
    test = vector_test(found, codes)
    grid = case_grid("best", case(np.zeros((50, 8))), space, W(), test)
    assert grid.note == ""
    assert grid.images.shape == (5, 2, 5, 32, 32, 3)
    moved = codes[0] + 1.8 * found.directions[1, 0] + 1.2 * found.directions[0, 0] + 0.6 * found.directions[2, 0]
    off = np.abs(grid.images[4, 1, 4].astype(int) - space.images(W(), moved[None])[0].astype(int))
    assert off.max() <= 1


def test_groups_come_from_the_unedited_faces(world):
    space, _, codes = world
    scores = space.score_codes(W(), codes)[:, 0]
    assert groups_of(space, W(), codes, {}).tolist() == ["all", "all"]
    found = groups_of(space, W(), codes, {"eyes": float(scores.mean())})
    assert found.tolist() == ["h" if score >= scores.mean() else "l" for score in scores]


def test_the_headline_is_by_the_judge_that_had_no_part_in_finding():
    finding = {"role": "finding", "pass_share": [0.9, 0.8, 1.0], "corr": {"eyes": [0.99, 0.98, 1.0]}}
    judging = {"role": "judging", "pass_share": [0.4, 0.3, 0.5], "corr": {"eyes": [0.9, 0.8, 1.0]}}
    judgement = {"num_latents": 50, "by": {"a": finding, "b": judging}}
    cards = headline(judgement, 4000, 12.3)
    assert cards[0] == (
        "faces that pass",
        "40 %",
        "of 50 unseen faces, by b; 90 % by the scorer that found the directions",
    )
    assert cards[1][:2] == ("eyes follows its slider", "0.900")
    assert cards[2:] == headline(judgement | {"by": {"a": finding}}, 4000, 12.3)[2:]
    assert headline(judgement | {"by": {"a": finding}}, 4000, 12.3)[0][1:] == ("90 %", "of 50 unseen faces, by a")


def test_accuracy_table():
    metrics = {"accuracy": {"eyes": {"hhhh": 0.9, "llll": None}}, "num_validation": {"hhhh": 12, "llll": 0}}
    assert accuracy_table(metrics) == {"eyes": {"hhhh": (0.9, 12)}}
    assert accuracy_table({}) == {}


def test_training_curves_are_read_beside_the_checkpoint(tmp_path):
    assert read_training(tmp_path / "model.safetensors") is None
    folder = tmp_path / "csv" / "version_0"
    folder.mkdir(parents=True)
    header = "step,train/d_loss,train/g_loss,train/auroc,scores/mean/eyes"
    (folder / "metrics.csv").write_text(f"{header}\n0,1.5,0.5,0.7,\n0,,,,0.25\n1,1.25,0.75,0.8,\n")
    training = read_training(tmp_path / "model.safetensors")
    assert list(training.steps) == [0, 1]
    assert list(training.losses["d_loss"]) == [1.5, 1.25]
    assert list(training.scores["eyes"]) == [0.25, 0.25]
