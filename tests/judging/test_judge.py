"""The judge as a whole: figures with known answers in a linear world, and everything on tiny networks."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from ohlora_gan.editing.moves import StraightMover
from ohlora_gan.judging.figures import Bootstrap, make_plan, summary
from ohlora_gan.judging.judge import (
    ALONG,
    Extent,
    check_judges,
    figures_of,
    judge_vectors,
    move_along,
    open_judges,
    plain_data,
)
from ohlora_gan.judging.measure import NetworkJudge, Scoring
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.models.zoo import open_scorer
from ohlora_gan.names import PROPERTIES
from ohlora_gan.testing import Bar
from tests import linear_world as world
from tests import tiny

NAMES = ("eyes", "mouth", "pose", "hair")
PLAN = make_plan(["eyes", "mouth", "pose"])
MATRIX = np.eye(world.SIZE)[:, :4].copy()
MATRIX[0, 3] = -0.4  # what opens the eyes darkens the hair
CODES = np.random.default_rng(0).standard_normal((12, world.SIZE)).astype(np.float32)
GROUPS = np.array(["all"] * len(CODES))


class Found:
    """Directions of slope 1 in a world where each of the first values of a code is a property."""

    properties, medians = ("eyes", "mouth", "pose"), {}

    def direction(self, x, group=None):
        return np.eye(world.SIZE, dtype=np.float32)[:3]

    def steps(self, strengths, group=None):
        return strengths


def moved(codes, groups):
    return StraightMover(Found())(codes, groups, PLAN.changes(PLAN.grid)).codes


def judged(noise=0.0, unit="sigma", signed=True, **settings):
    """The figures of one judge in the linear world."""
    judge = world.LinearJudge(MATRIX, NAMES, **settings)
    scoring = Scoring(partial(world.render, noise=noise), [judge])
    (seen,) = scoring.measure(CODES, GROUPS, moved, retest=True)
    (along,) = move_along(CODES[:5], GROUPS, StraightMover(Found()), PLAN, scoring)
    if judge.raw:
        along, seen = seen.standardised(along), seen.in_sigmas()
    plan, clean = replace(PLAN, unit=unit, signed=signed), seen.unedited[:0]
    return figures_of(seen, plan, GROUPS, along, clean, Bootstrap(len(CODES)))


def test_the_truth_of_a_linear_world():
    found = judged()
    assert found["corr"]["eyes"] == pytest.approx((1, 1, 1))
    assert found["sum_corr"].value == found["sum_abs_corr"].value == pytest.approx(3)
    assert found["pass_share"] == pytest.approx((1, 0.757, 1), abs=1e-3)
    assert found["retest"] == {"pass_share": found["pass_share"], "passed_both": 1.0, "change": 0.0}
    np.testing.assert_allclose(found["response"], [[1, 0, 0, -0.4], [0, 1, 0, 0], [0, 0, 1, 0]], atol=1e-5)
    assert found["leakage"]["eyes"]["worst"] == pytest.approx(0.4, abs=1e-5)
    assert found["leakage"]["eyes"]["name"] == "hair"
    assert found["leakage"]["mouth"]["worst"] == pytest.approx(0, abs=1e-5)
    assert found["drift"] == {"hair": pytest.approx((0.48, 0.48, 0.48), abs=1e-5)}
    assert list(found["miss"].values()) == [pytest.approx((0, 0, 0), abs=1e-5)] * 3
    assert list(found["linearity"].values()) == pytest.approx([1, 1, 1])
    assert list(found["saturation"].values()) == [(-4, 4)] * 3
    assert found["lost"] == 0


def test_directions_of_the_wrong_sign():
    assert judged(curve=lambda s: -s)["pass_share"].value == 0
    found = judged(curve=lambda s: -s, signed=False)
    assert found["pass_share"].value == 1
    assert found["sum_corr"].value == pytest.approx(-3)
    assert found["sum_abs_corr"].value == pytest.approx(3)


def test_noise_makes_passes_fail_again():
    found = judged(noise=0.6)
    assert found["pass_share"].value == 1  # the first draw has the fixed noise: none
    assert found["retest"]["pass_share"].value < 1
    assert found["retest"]["passed_both"] == found["retest"]["pass_share"].value
    assert found["retest"]["change"] == pytest.approx(0.6, rel=0.1)


def test_saturation_is_seen():
    found = judged(curve=lambda s: np.tanh(s / 2))
    low, high = found["saturation"]["pose"]
    assert -3 < low < -0.5
    assert 0.5 < high < 3
    assert found["linearity"]["pose"] < 0.99


def test_lost_pictures_fail_their_latents():
    found = judged(loses=lambda s: s[:, 0] > 3.0)
    failing = CODES[:, 0] + 1.2 > 3.0
    assert failing.any()
    assert found["pass_share"].value == pytest.approx(1 - failing.mean())
    assert found["lost"] == pytest.approx(failing.mean() / 2)
    assert found["response"][1][1] == pytest.approx(1, abs=1e-5)


def test_raw_measures_are_judged_in_sigmas():
    found = judged(raw=True, curve=lambda s: 5 + 0.1 * s)
    np.testing.assert_allclose(
        [row[i] for i, row in enumerate(found["response"])], 1 / CODES[:, :3].std(axis=0), rtol=1e-4
    )


def test_lengths_have_no_miss_and_leak_by_the_sigma():
    found = judged(unit="reference", curve=lambda s: 0.5 * s)
    assert found["miss"] == {}
    assert found["response"][0][3] == pytest.approx(-0.2, abs=1e-5)
    assert found["leakage"]["eyes"]["worst"] == pytest.approx(0.4, abs=1e-5)


def test_a_judge_may_measure_a_part():
    judge = world.LinearJudge(MATRIX[:, [1, 3]], ("mouth", "hair"), role="judging")
    (seen,) = Scoring(world.render, [judge]).measure(CODES, GROUPS, moved)
    along = np.empty((0, 3, len(ALONG), 2), np.float32)
    found = figures_of(seen, PLAN, GROUPS, along, seen.unedited[:0], Bootstrap(len(CODES)))
    assert list(found["corr"]) == ["mouth"]
    assert found["sum_corr"].value == pytest.approx(1)
    assert found["pass_share"].value == 1
    assert np.shape(found["response"]) == (3, 2)
    assert found["leakage"]["eyes"]["worst"] == pytest.approx(0.4, abs=1e-5)
    assert found["retest"] is None
    assert np.isnan(found["saturation"]["mouth"]).all()


@pytest.fixture(scope="module")
def space():
    return FaceSpace(tiny.generator(), tiny.scorer(), batch_size=32, seed=4)


def test_everything_on_tiny_networks(space):
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((3, 16))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = type("Found", (Found,), {"direction": lambda self, x, group=None: directions.astype(np.float32)})()
    plan = replace(PLAN, unit="reference")
    judges = [NetworkJudge("a", space.scorer, role="finding"), NetworkJudge("b", tiny.scorer(seed=8))]
    bar = Bar(3)
    judgement = judge_vectors(space, W(), StraightMover(found), plan, judges, Extent(3, num_saturation=2), bar)
    judgement.about |= {"method": "svm", "n": 100, "seconds": {"finding": 1.5}}
    assert bar.calls == [(1, 3), (2, 3), (3, 3)]
    assert [case.index for case in judgement.test.cases] == [0, 1, 2]
    changes = plan.changes(plan.grid)
    moved = judgement.test.mover(judgement.test.codes[:1], ["all"], changes, "reference").codes[0]
    np.testing.assert_allclose(judgement.test.cases[0].scores, space.score_codes(W(), moved), atol=1e-5)
    kept = json.loads(json.dumps(judgement.to_dict(), allow_nan=False))
    assert (kept["method"], kept["layer"], kept["grid"], kept["num_latents"]) == ("svm", "w", "reference", 3)
    assert kept["seconds"]["finding"] == 1.5
    assert kept["seconds"]["testing"] >= 0
    assert kept["equivalent_to_w"] is False
    assert [(name, one["role"]) for name, one in kept["by"].items()] == [("a", "finding"), ("b", "judging")]
    assert kept["by"]["b"]["names"] == list(PROPERTIES)
    assert len(kept["image_change"]["whole"]) == 3
    assert kept["features_by"] == "b"
    assert judgement.by["a"]["sum_corr"].value == pytest.approx(summary(judgement.test.cases)["sum_mean_corr"])


def test_ends_when_enough_have_passed(space):
    """Every latent passes by a threshold that any correlation reaches."""
    easy = make_plan(["eyes"], strengths={"eyes": [-5, 0, 5]}, thresholds={"eyes": 1e-9})
    easy = replace(easy, unit="reference", signed=False)
    one = {"properties": ("eyes",), "direction": lambda self, x, group=None: np.eye(16, dtype=np.float32)[:1]}
    mover = StraightMover(type("Found", (Found,), one)())
    judges = [NetworkJudge("a", space.scorer, role="finding")]
    judgement = judge_vectors(space, W(), mover, easy, judges, Extent(5, 2, retest=False, num_saturation=0))
    assert judgement.to_dict()["num_latents"] == len(judgement.test.cases) == 2
    assert judgement.by["a"]["saturation"]["eyes"] == (pytest.approx(np.nan, nan_ok=True),) * 2
    with pytest.raises(ValueError, match="max_passes 0"):
        Extent(5, max_passes=0)


def test_judges_are_opened_by_name(space, tmp_path):
    checkpoint.save(tmp_path / "run" / "model.safetensors", {"scorer": tiny.scorer(seed=8)})
    judges = open_judges(space, "property_cnn", str(tmp_path / "run" / "model.safetensors"))
    assert [(judge.name, judge.role) for judge in judges] == [("property_cnn", "finding"), ("run", "judging")]
    assert [judge.name for judge in open_judges(space, "property_cnn", None)] == ["property_cnn"]
    same_name = open_judges(space, "run", [str(tmp_path / "run" / "model.safetensors")])
    assert [judge.name for judge in same_name] == ["run", "run_2"]


def test_a_judge_of_another_size_is_shown_resized_pictures(space):
    judge = open_judges(space, "property_cnn", "property_cnn_judge")[1]
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    large = torch.nn.functional.interpolate(images, size=(64, 64), mode="bilinear", antialias=True)
    judging = open_scorer("property_cnn_judge").eval()
    np.testing.assert_allclose(judge.score(images), judging(large).detach().numpy(), atol=1e-5)
    assert torch.allclose(judge.features(images), judging.features(large), atol=1e-5)


def test_judges_that_cannot_judge_are_named(space, tmp_path):
    path = checkpoint.save(tmp_path / "same.safetensors", {"scorer": tiny.scorer()})
    with pytest.raises(ValueError, match="is the scorer that finds the directions and cannot judge them"):
        open_judges(space, "property_cnn", str(path))
    with pytest.raises(ValueError, match="judge hats measures hat, none of the edited properties eyes, mouth, pose"):
        check_judges([world.LinearJudge(MATRIX[:, :1], ("hat",), "hats")], PLAN)


def test_plain_data_is_json():
    content = {"a": (np.float32(1.5), np.nan), 2: np.arange(2), "b": np.bool_(True), "c": None}
    assert plain_data(content) == {"a": [1.5, None], "2": [0, 1], "b": True, "c": None}
