from dataclasses import replace

import numpy as np
import pytest

from ohlora_gan.editing.moves import move
from ohlora_gan.judging.figures import (
    PASS_THRESHOLDS,
    STRENGTHS,
    Case,
    correlations,
    lost_pictures,
    make_cases,
    make_plan,
    passed,
    summary,
)
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES

COLUMNS = [PROPERTIES.index(name) for name in EDITED_PROPERTIES]
GOOD = {"eyes": 0.95, "mouth": 0.9, "pose": 0.9}


def scores_follow_codes(codes: np.ndarray) -> np.ndarray:
    """A world where the code's three entries are the scores of eyes, mouth and pose."""
    scores = np.zeros((len(codes), len(PROPERTIES)), dtype=np.float32)
    scores[:, COLUMNS] = codes
    return scores


def test_move_adds_each_direction_in_turn():
    rng = np.random.default_rng(0)
    code, directions = rng.standard_normal(7), rng.standard_normal((3, 7))
    strengths = rng.standard_normal((5, 3))
    moved = move(code, directions, strengths)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, code + strengths @ directions, rtol=0, atol=1e-6)


def test_move_gives_each_code_its_own_directions():
    rng = np.random.default_rng(1)
    codes, directions, strengths = rng.standard_normal((4, 7)), rng.standard_normal((4, 3, 7)), np.eye(3)
    moved = move(codes, directions, strengths)
    assert moved.shape == (4, 3, 7)
    for i in range(4):
        np.testing.assert_array_equal(moved[i], move(codes[i], directions[i], strengths))


def test_move_sums_in_float64():
    """In float32 the two steps would be lost one after the other."""
    step = np.float32(2.0**-24)
    moved = move(np.float32([1.0]), np.float32([[1.0], [1.0]]), np.array([[step, step]]))
    assert moved[0, 0] == np.float32(1 + 2.0**-23)


@pytest.mark.parametrize(
    ("code", "directions", "strengths"),
    [
        (np.zeros(4), np.zeros((3, 5)), np.zeros((2, 3))),
        (np.zeros(4), np.zeros((2, 4)), np.zeros((2, 3))),
        (np.zeros(4), np.zeros((3, 4)), np.zeros(3)),
        (np.zeros((2, 4)), np.zeros((5, 3, 4)), np.zeros((2, 3))),
    ],
)
def test_move_refuses_shapes_that_do_not_fit(code, directions, strengths):
    with pytest.raises(ValueError, match="expected"):
        move(code, directions, strengths)


@pytest.mark.parametrize("option", sorted(STRENGTHS))
def test_grid_holds_every_combination_once(option):
    grid = make_plan(EDITED_PROPERTIES, option).grid
    assert grid.shape == (50, 3)
    assert len({tuple(row) for row in grid}) == 50
    for i, name in enumerate(EDITED_PROPERTIES):
        assert sorted(set(grid[:, i])) == sorted(STRENGTHS[option][name])
    eyes, mouth, pose = grid.T
    assert (np.diff(mouth) >= 0).all()
    assert len(set(mouth[:10])) == 1
    assert len(set(eyes[:5])) == 1
    assert len(set(pose[:5])) == 5


def test_correlations_find_the_right_columns_and_signs():
    strengths = make_plan(EDITED_PROPERTIES).grid
    scores = np.random.default_rng(2).standard_normal((50, 8)).astype(np.float32)
    scores[:, PROPERTIES.index("eyes")] = strengths[:, 0]
    scores[:, PROPERTIES.index("pose")] = -strengths[:, 2]
    corrs = correlations(strengths, scores)
    assert corrs["eyes"] == pytest.approx(1.0)
    assert corrs["pose"] == pytest.approx(-1.0)
    assert abs(corrs["mouth"]) < 0.5


def test_scores_that_differ_by_less_than_the_rounding_have_no_correlation():
    strengths = make_plan(EDITED_PROPERTIES).grid
    scores = scores_follow_codes(strengths * [1e-6, 1.0, 1.0])
    corrs = correlations(strengths, scores)
    assert np.isnan(corrs["eyes"])
    assert not passed(corrs)
    assert not passed(corrs, signed=False)


@pytest.mark.parametrize(
    ("strengths", "scores", "message"),
    [
        (np.zeros((50, 3)), np.zeros((49, 8)), "expected"),
        (np.zeros((50, 2)), np.zeros((50, 8)), "expected"),
        (np.zeros((50, 3)), np.zeros((50, 7)), "expected"),
        (np.zeros((50, 3)), np.full((50, 8), np.inf), "400 of 400"),
    ],
)
def test_unusable_scores_are_named(strengths, scores, message):
    with pytest.raises(ValueError, match=message):
        correlations(strengths, scores)


@pytest.mark.parametrize("name", EDITED_PROPERTIES)
def test_every_property_has_to_reach_its_threshold(name):
    at_threshold = dict(PASS_THRESHOLDS)
    assert passed(at_threshold)
    assert not passed(at_threshold | {name: np.nextafter(PASS_THRESHOLDS[name], 0)})


def test_a_falling_score_passes_only_by_the_published_rule():
    falling = GOOD | {"mouth": -0.95}
    assert not passed(falling)
    assert passed(falling, signed=False)


def test_summary_counts_and_averages():
    nan = float("nan")
    corrs = [GOOD, {"eyes": -0.5, "mouth": 0.5, "pose": nan}]
    table = [Case(i, "all", c, passed(c), np.zeros((50, 8))) for i, c in enumerate(corrs)]
    found = summary(table)
    assert found["eyes_mean_corr"] == pytest.approx((0.95 - 0.5) / 2)
    assert found["mouth_mean_corr"] == pytest.approx(0.7)
    assert found["pose_mean_corr"] == pytest.approx(0.45)
    assert found["sum_mean_corr"] == pytest.approx(0.225 + 0.7 + 0.45)
    assert found["mean_sum_abs_corr"] == pytest.approx((2.75 + 1.0) / 2)
    assert [case.sum_abs_corr for case in table] == pytest.approx([2.75, 1.0])
    assert (found["num_cases"], found["num_passed"], found["share_passed"]) == (2, 1, 0.5)
    assert found["num_undefined"] == 1


def test_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        summary([])


def losing(scores: np.ndarray, *pictures: int) -> np.ndarray:
    """Scores of which those of some pictures are lost."""
    scores = scores.copy()
    scores[list(pictures)] = np.nan
    return scores


def case_of(scores: np.ndarray, signed: bool = True) -> Case:
    """One latent's case."""
    return make_cases(replace(make_plan(EDITED_PROPERTIES), signed=signed), ["all"], scores[None], PROPERTIES)[0]


def test_a_case_holds_what_was_found():
    scores = scores_follow_codes(make_plan(EDITED_PROPERTIES).grid)
    _, case = make_cases(make_plan(EDITED_PROPERTIES), ["llhh", "hhll"], np.stack([scores, scores]), PROPERTIES)
    assert (case.index, case.group, case.passed) == (1, "hhll", True)
    assert case.corrs == pytest.approx(dict.fromkeys(EDITED_PROPERTIES, 1.0))
    np.testing.assert_array_equal(case.scores, scores)


def test_directions_that_lower_the_score_pass_only_by_the_published_rule():
    falling = -scores_follow_codes(make_plan(EDITED_PROPERTIES).grid)
    assert not case_of(falling).passed
    assert case_of(falling, signed=False).passed


def test_a_lost_picture_fails_the_latent_but_not_its_correlations():
    grid = make_plan(EDITED_PROPERTIES).grid
    scores = scores_follow_codes(grid)
    scores[7, COLUMNS] = 100.0
    case = case_of(losing(scores, 7))
    assert case.corrs == pytest.approx(dict.fromkeys(EDITED_PROPERTIES, 1.0))
    assert not case.passed
    assert not case_of(losing(scores, 7), signed=False).passed
    assert lost_pictures(case.scores).nonzero()[0].tolist() == [7]


@pytest.mark.parametrize(("num_lost", "known"), [(25, True), (26, False)])
def test_too_many_lost_pictures_leave_nothing_to_correlate(num_lost, known):
    grid = make_plan(EDITED_PROPERTIES).grid
    lost = np.random.default_rng(5).permutation(50)[:num_lost]
    corrs = correlations(grid, losing(scores_follow_codes(grid), *lost))
    assert np.isfinite(list(corrs.values())).all() == known


def test_any_properties_are_tested():
    plan = make_plan(["lip_color"], strengths={"lip_color": [-1, 0, 1]})
    scores = np.column_stack([np.zeros(3), plan.grid])
    (case,) = make_cases(plan, ["all"], scores[None], ("hat", "lip_color"))
    assert case.corrs == {"lip_color": pytest.approx(1.0)}
    assert case.passed


@pytest.mark.golden
def test_recorded_grid_and_thresholds(golden):
    info, _ = golden("pm_corr")
    assert info["pass_thresholds"] == PASS_THRESHOLDS
    assert sorted(info["pm_labels"]) == sorted(STRENGTHS)
    for option, labels in info["pm_labels"].items():
        assert {name: list(values) for name, values in STRENGTHS[option].items()} == info["pm_values"][option]
        assert [label["index"] for label in labels] == list(range(50))
        recorded = [[label[name] for name in EDITED_PROPERTIES] for label in labels]
        assert make_plan(EDITED_PROPERTIES, option).grid.tolist() == recorded


@pytest.mark.golden
def test_recorded_correlations(golden):
    info, tensors = golden("pm_corr")
    for option, of_option in info["corr"].items():
        for layer, faces in of_option.items():
            scores = tensors[f"out.{option}.{layer}.scores"].numpy()
            for face, recorded in enumerate(faces):
                corrs = correlations(make_plan(EDITED_PROPERTIES, option).grid, scores[face])
                assert corrs == pytest.approx({name: recorded[name] for name in EDITED_PROPERTIES}, abs=1e-9)
                assert passed(corrs, signed=False) == recorded["passed"]


@pytest.mark.golden
def test_recorded_codes_move_as_the_recording_says(golden):
    """The recording's own words: added in property order, in float64, then cast to float32."""
    info, tensors = golden("pm_corr")
    for layer in ("w", "mapping_split1", "mapping_split2"):
        codes, vectors = tensors[f"out.code.{layer}"].numpy(), tensors[f"in.vectors.{layer}"].numpy()
        moved = move(codes, vectors, make_plan(EDITED_PROPERTIES).grid)
        for k, label in enumerate(info["pm_labels"]["svm"]):
            expected = codes.astype(np.float64)
            for row, name in enumerate(info["vector_rows"]):
                expected = expected + label[name] * vectors[row].astype(np.float64)
            np.testing.assert_array_equal(moved[:, k], expected.astype(np.float32))
