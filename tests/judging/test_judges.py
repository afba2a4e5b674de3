import numpy as np
import pytest
import torch

from ohlora_gan.data import landmarks
from ohlora_gan.judging.measure import DAMAGE, LandmarkJudge, NetworkJudge
from ohlora_gan.models.gan import from_uint8, to_uint8
from tests import tiny

IMAGES = torch.from_numpy(np.random.default_rng(0).uniform(-1.2, 1.2, (4, 3, 32, 32)).astype(np.float32))


def test_a_network_scores_as_it_is():
    net = tiny.scorer()
    judge = NetworkJudge("net", net, role="finding")
    assert (judge.name, judge.role, judge.raw) == ("net", "finding", False)
    assert judge.property_names == net.property_names
    with torch.no_grad():
        np.testing.assert_allclose(judge.score(IMAGES), net(IMAGES), atol=1e-5)
        np.testing.assert_allclose(judge.features(IMAGES), net.features(IMAGES), atol=1e-5)


def test_a_network_can_score_what_files_would_hold():
    seen = from_uint8(to_uint8(IMAGES))
    exact = NetworkJudge("net", tiny.scorer())
    np.testing.assert_array_equal(NetworkJudge("net", tiny.scorer(), quantize=True).score(IMAGES), exact.score(seen))


def test_a_broken_network_is_named():
    net = tiny.scorer()
    with torch.no_grad():
        next(net.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="scores of net are not finite"):
        NetworkJudge("net", net).score(IMAGES)


def test_a_network_without_features_has_none():
    net = torch.nn.Flatten()
    net.property_names = tuple(f"p{i}" for i in range(3 * 32 * 32))
    judge = NetworkJudge("flat", net)
    assert judge.features(IMAGES) is None
    assert judge.score(IMAGES).shape == (4, 3072)


@pytest.fixture
def mesh(monkeypatch):
    """Landmarks that find no face in the second picture, and say of which pictures they were asked."""
    asked = []

    def measure(images):
        asked.append(images)
        values = np.arange(len(images), dtype=float)
        values[1] = np.nan
        measures = {"eye_aspect": values, "mouth_opening": values + 10, "tilt": values + 20, "turn": values + 30}
        measures |= {"smile": values + 40, "nod": values + 50, "doubt": values + 60}
        return {"found": np.isfinite(values), **measures}

    monkeypatch.setattr(landmarks, "detector", lambda: None)
    monkeypatch.setattr(landmarks, "measure", measure)
    return asked


@pytest.mark.parametrize(
    ("pose", "other", "columns"), [("turn", "tilt", [0, 10, 30, 20, 60]), ("tilt", "turn", [0, 10, 20, 30, 60])]
)
def test_landmarks_measure_and_lose(mesh, pose, other, columns):
    judge = LandmarkJudge(pose)
    assert judge.property_names == ("eyes", "mouth", "pose", other, DAMAGE)
    assert (judge.name, judge.role, judge.raw) == ("landmarks", "judging", True)
    scores = judge.score(IMAGES)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores[3], np.add(columns, 3))
    assert np.isnan(scores).all(axis=1).tolist() == [False, True, False, False]
    np.testing.assert_array_equal(mesh[0], to_uint8(IMAGES).numpy())


def test_landmarks_by_their_own_names(mesh):
    judge = LandmarkJudge(None)
    assert judge.property_names == ("eyes", "mouth", "smile", "turn", "tilt", "nod", DAMAGE)
    np.testing.assert_array_equal(judge.score(IMAGES)[3], np.add([0, 10, 40, 30, 20, 50, 60], 3))


def test_another_pose_is_named(mesh):
    with pytest.raises(ValueError, match="pose is 'nod', expected one of turn, tilt"):
        LandmarkJudge("nod")
