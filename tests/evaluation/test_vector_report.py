import numpy as np
import pytest

from ohlora_gan.directions.storage import DirectionSet
from ohlora_gan.evaluation.generation_test import Case
from ohlora_gan.evaluation.strengths import STRENGTHS, strength_grid
from ohlora_gan.evaluation.training_report import read_training
from ohlora_gan.evaluation.vector_report import accuracy_table, case_grid, make_strips, strip_strengths
from ohlora_gan.evaluation.vector_test import response
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from tests import tiny


def case(scores):
    return Case(0, "all", {"eyes": 0.9, "mouth": 0.9, "pose": 0.9}, True, scores.astype(np.float32))


def test_response_recovers_known_slopes():
    rng = np.random.default_rng(0)
    slopes, grid = rng.standard_normal((3, 8)), strength_grid("svm")
    cases = [case(grid @ slopes + rng.standard_normal(8)) for _ in range(4)]
    np.testing.assert_allclose(response(grid, cases), slopes, atol=1e-5)


def test_strip_strengths_reach_what_was_asked():
    strengths = strip_strengths(0.25, reach=2.0, steps=9)
    assert strengths[0] == -8.0
    assert strengths[4] == 0.0
    assert strengths[-1] == 8.0
    assert strip_strengths(0.0, reach=2.0, steps=3).tolist() == [-20.0, 0.0, 20.0]


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
    strips = make_strips(space, W(), found, codes, ["a", "b"], ranges)
    assert [s.property for s in strips] == ["eyes", "mouth", "pose"]
    for strip in strips:
        assert strip.images.shape == (2, 3, 32, 32, 3)
        off = np.abs(strip.images[:, 1].astype(int) - space.images(W(), codes).astype(int))
        assert off.max() <= 1  # rounding may depend on how images are batched
        assert not np.array_equal(strip.images[:, 0], strip.images[:, 2])


def test_case_grid_has_fifty_pictures_in_order(world):
    space, found, codes = world
    grid = case_grid("best", case(np.zeros((50, 8))), space, W(), found, codes[0], STRENGTHS["svm"])
    assert grid.images.shape == (5, 2, 5, 32, 32, 3)
    moved = codes[0] + 1.8 * found.directions[1, 0] + 1.2 * found.directions[0, 0] + 0.6 * found.directions[2, 0]
    off = np.abs(grid.images[4, 1, 4].astype(int) - space.images(W(), moved[None])[0].astype(int))
    assert off.max() <= 1


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
