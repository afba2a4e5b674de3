import numpy as np
import pytest
import torch

from ohlora_gan.judging.measure import ChangeMeter, NetworkJudge, mean_distance, pixel_change
from ohlora_gan.latents.metric import Region
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.painter import render_with_parse_map
from tests import tiny


def test_the_region_holds_the_faces_of_the_embedded_world():
    mask = Region().mask(64).numpy()
    maps = np.stack([render_with_parse_map(sample_attributes(0, i), 64)[1] for i in range(100)])
    face = (maps >= 1) & (maps <= 9)
    assert face[:, mask].sum() / face.sum() > 0.985
    assert mask.mean() < 0.3


@pytest.mark.parametrize("edges", [(0.5, 0.4, 0.1, 0.9), (0.0, 1.1, 0.1, 0.9), (0.1, 0.9, 0.5, 0.5)])
def test_a_region_outside_the_picture_is_named(edges):
    with pytest.raises(ValueError, match=f"top {edges[0]}.*expected shares"):
        Region(*edges)


def test_pixels_are_told_apart_by_place():
    before, after = torch.full((2, 3, 8, 8), -1.0), torch.full((2, 3, 8, 8), -1.0)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4] = True
    after[0, :, :4] = 0.0  # half of the scale, in the masked half
    after[1, 0] = 3.0  # beyond the scale: cut off; one colour of three
    expected = [[0.25, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(pixel_change(before, after, mask), expected, rtol=1e-6)


def test_mean_distance_of_different_rows():
    assert mean_distance(np.float32([[0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)
    assert np.isnan(mean_distance(np.float32([[1, 2]])))


def test_a_meter_compares_each_picture_with_its_own_face():
    rng = np.random.default_rng(0)
    judge = NetworkJudge("net", tiny.scorer())
    pictures = torch.from_numpy(rng.uniform(-1, 1, (3, 3, 32, 32)).astype(np.float32))
    meter = ChangeMeter(net=judge)
    meter.start(pictures)
    meter.compare(torch.stack([pictures[0], pictures[1], pictures[1], pictures[1]]), torch.tensor([0, 0, 1, 1]))
    meter.compare(torch.stack([pictures[2], pictures[2]]), torch.tensor([2, 2]))
    found = meter.result(3, 2)
    far = float((pictures[0] - pictures[1]).abs().mean()) / 4
    np.testing.assert_allclose(found["whole"], [far, 0, 0], atol=1e-6)
    features = judge.features(pictures)
    unit = float(torch.pdist(features).mean())
    np.testing.assert_allclose(
        found["features"], [float((features[0] - features[1]).norm()) / unit / 2, 0, 0], atol=1e-5
    )
    assert np.isnan(changes_without_a_network(pictures)["features"]).all()


def changes_without_a_network(pictures):
    meter = ChangeMeter()
    meter.start(pictures)
    meter.compare(pictures, torch.arange(len(pictures)))
    return meter.result(len(pictures), 1)
