import numpy as np
import pytest

from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.metric import Measured, Region, make_metric, stored_metric
from ohlora_gan.latents.space import FaceSpace
from tests import tiny

IMAGE = {"name": "image", "num_latents": 3, "num_probes": 2, "shrinkage": 0.1, "cloud": 0.0, "region": "all"}
FACE = Region(0.2, 0.8, 0.3, 0.7)


@pytest.fixture
def bank(tmp_path):
    return ScoreBank(tmp_path, FaceSpace(tiny.generator(), tiny.scorer()))


def stored(bank):
    return sorted(bank.folder.glob("metric_w_*"))


def test_a_metric_is_measured_once(bank, monkeypatch):
    first = stored_metric(bank, W(), IMAGE, FACE)
    np.testing.assert_allclose(first, make_metric(bank.space, W(), Measured("image", 3, 2, 0.1)))
    monkeypatch.setattr("ohlora_gan.latents.metric.make_metric", None)
    np.testing.assert_array_equal(stored_metric(bank, W(), IMAGE, Region()), first)  # the face is of no matter to "all"
    assert stored_metric(bank, W(), IMAGE | {"name": "euclid"}, FACE) is None


def test_each_part_of_the_picture_has_its_own(bank):
    found = [stored_metric(bank, W(), IMAGE | {"region": part}, FACE) for part in ("all", "face", "border")]
    found.append(stored_metric(bank, W(), IMAGE | {"region": "face"}, Region()))
    assert len(stored(bank)) == 4
    expected = make_metric(bank.space, W(), Measured("image", 3, 2, 0.1), weights=FACE.weights("border"))
    np.testing.assert_allclose(found[2], expected)
    assert not any(np.allclose(found[i], found[j]) for i in range(4) for j in range(i))
