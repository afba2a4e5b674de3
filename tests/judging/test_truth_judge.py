"""The truth as a judge, where the world itself is the generator: a code is a face's attributes, and a damage."""

import numpy as np
import pytest
import torch

from ohlora_gan.judging import figures
from ohlora_gan.judging.figures import Bootstrap, make_plan
from ohlora_gan.judging.judge import check_judges, figures_of, open_judges
from ohlora_gan.judging.measure import DAMAGE, Scoring, TruthJudge
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.scorers import TruthNet
from ohlora_gan.world.face import SPREADS, sample_attributes
from ohlora_gan.world.truth import ATTRIBUTES, Truth, render_faces, spoil, values_of
from tests import tiny

PLAN = make_plan(["eyes", "mouth"], strengths={"eyes": [-0.8, 0, 0.8], "mouth": [-0.8, 0.8]})
NUM = 5


@pytest.fixture(scope="module")
def judge():
    return TruthJudge(Truth.open(rounds=3))


@pytest.fixture(scope="module")
def codes():
    """Faces whose eyes and mouth have room on either side, ``[NUM, A + 1]``."""
    rows = np.array([[*values_of(sample_attributes(0, 90_000_000 + i)), 0.0] for i in range(NUM)])
    for name, value in {"eyes": 0.5, "mouth": 0.5, "quality": 1, "glass": 0}.items():
        low, high = (SPREADS[name].low, SPREADS[name].high) if name in SPREADS else (0, 1)
        rows[:, ATTRIBUTES.index(name)] = low + value * (high - low)
    return rows.astype(np.float32)


def render(codes, noise_seed=None, first=0):
    pictures, maps = render_faces(codes[:, :-1].astype(np.float64), 64)
    for i in np.flatnonzero(codes[:, -1]):
        pictures[i] = spoil(pictures[i], maps[i], "smeared_eyes", 0, int(i))
    yield from_uint8(torch.from_numpy(pictures))


def judged(judge, codes, spoilt=0.0, besides=None):
    """Figures of edits that change eyes and mouth as asked, spoil pictures, or change one thing more."""

    def move(codes, groups):
        moved = np.repeat(codes[:, None], len(PLAN.grid), axis=1)
        for name, column in zip(PLAN.strengths, PLAN.grid.T, strict=True):
            moved[..., ATTRIBUTES.index(name)] += column * SPREADS[name].deviation
            if besides:
                moved[..., ATTRIBUTES.index(besides)] += 0.5 * column * SPREADS[besides].deviation
        moved[..., -1] = spoilt
        return moved

    groups = np.array(["all"] * len(codes))
    (seen,) = Scoring(render, [judge]).measure(codes, groups, move)
    along = np.zeros((0, 2, 17, len(judge.property_names)), np.float32)
    return figures_of(seen, PLAN, groups, along, seen.unedited[:0], Bootstrap(len(codes)))


def test_a_perfect_edit_follows_drifts_nowhere_and_damages_nothing(judge, codes):
    check_judges([judge], PLAN)
    found = judged(judge, codes)
    assert found["sum_corr"].value > 1.98
    own = [row[found["names"].index(name)] for name, row in zip(PLAN.strengths, found["response"], strict=True)]
    np.testing.assert_allclose(own, 1, atol=0.1)
    assert DAMAGE not in found["names"]
    assert sorted(found["drift"]) == sorted(set(ATTRIBUTES) - {"eyes", "mouth"})
    assert max(drift.value for drift in found["drift"].values()) < 0.3
    assert found["damage"]["ratio"].value < 1.35


def test_damage_is_seen_and_so_is_what_no_scorer_sees(judge, codes):
    whole, spoilt = judged(judge, codes, besides="iris"), judged(judge, codes, spoilt=1.0)
    assert whole["drift"]["iris"].value > 0.25
    assert spoilt["damage"]["ratio"].value > 2 * whole["damage"]["ratio"].value
    assert spoilt["damage"]["ratio_p95"].value >= spoilt["damage"]["ratio"].value
    assert spoilt["damage"]["share"].value > 0.8


def test_damage_of_known_residuals():
    unedited, edited = np.array([1.0, 2.0]), np.array([[1.0, 3.0], [2.0, 2.0]])
    found = figures.damage(unedited, edited, unedited, Bootstrap(2))
    assert found["ratio"].value == pytest.approx((1 + 3 + 1 + 1) / 4)
    assert found["share"].value == pytest.approx(0.5 * (0.5 + 1.0))  # 2 and 3 are above 1.99
    assert found["ratio"].low <= found["ratio"].value <= found["ratio"].high
    of_more = figures.damage(unedited, edited, np.array([1.0, 2.0, 2.5]), Bootstrap(2))
    assert of_more["share"].value == pytest.approx(0.25)  # 3 alone is above 2.49


def test_it_is_opened_by_name_and_refuses_another_size(tmp_path):
    space = FaceSpace(tiny.generator(), tiny.scorer())
    scorer = str(checkpoint.save(tmp_path / "scorer.safetensors", {"scorer": tiny.scorer(9)}))
    net = TruthNet(ATTRIBUTES, resolution=32, width=4)
    path = str(checkpoint.save(tmp_path / "net.safetensors", {"scorer": net}))
    judges = open_judges(space, scorer, [scorer, path])
    assert [type(judge).__name__ for judge in judges] == ["NetworkJudge", "NetworkJudge", "TruthJudge"]
    with pytest.raises(ValueError, match=r"judge=truth reads pictures of 64 pixels, .+ makes 32: leave it out"):
        open_judges(space, scorer, "truth")


def test_a_lost_picture_is_damaged():
    unedited, edited = np.array([2.0, np.nan]), np.array([[2.0, np.nan], [1.0, 4.0]])
    found = figures.damage(unedited, edited, np.array([1.0, 2.0, 3.0, np.nan]), Bootstrap(2))
    assert found["ratio"].value == 1
    assert found["share"].value == 0.5
