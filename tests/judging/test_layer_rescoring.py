import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.judging.rescoring import LayerRescoring, rescore, rescore_layers, sources_of
from ohlora_gan.latents.layers import layer_named
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.reports.plots import draw_layers, short
from tests import tiny


@pytest.fixture(scope="module")
def space():
    return FaceSpace(tiny.generator(), tiny.scorer(), batch_size=8)


def source(space, layer_name, properties=("eyes", "pose"), seed=0):
    layer = layer_named(layer_name)
    raw = np.zeros((len(properties), 1, layer.size(space.generator)))
    free = layer.free(space.generator)
    raw[:, :, free] = np.random.default_rng(seed).standard_normal(raw[:, :, free].shape)
    raw /= np.linalg.norm(raw, axis=2, keepdims=True)
    return sources_of("run", DirectionSet(raw, ["all"], layer_name, "random", properties=properties), layer)[0]


@pytest.mark.parametrize("layer_name", ["z", "w", "mapping_split1", "mapping_split2", "wplus", "wplus_2_3"])
def test_an_edit_of_all_layers_is_the_edit_itself(space, layer_name):
    of_run = source(space, layer_name)
    found = rescore_layers(space, of_run, n=12, step=1.5)
    whole = rescore(space, [of_run], n=12, step=1.5)
    assert found.changes.shape == (12, 15, 2, 8)
    last = found.of_first_layers()[-1]
    assert found.ranges[last] == (0, 7)
    np.testing.assert_allclose(found.changes[:, last], whole.changes, atol=1e-4)
    np.testing.assert_allclose(found.slopes()[last], whole.mean_change() / 1.5, atol=1e-4)
    np.testing.assert_allclose(found.ds().value[last], [whole.ds()[0, 0], whole.ds()[1, 4]], atol=1e-4)


def test_layers_that_an_edit_does_not_reach_change_nothing(space):
    found = rescore_layers(space, source(space, "wplus_2_3"), n=12, step=1.5)
    largest = np.abs(found.changes).max(axis=(0, 2, 3))
    reached = [first <= 3 and last >= 2 for first, last in found.ranges]
    assert (largest[reached] > 1e-4).all()
    assert (largest[np.logical_not(reached)] < 1e-5).all()


def test_one_layer_alone_is_an_edit_of_its_style(space):
    of_run = source(space, "w")
    found = rescore_layers(space, of_run, n=10, step=1.5)
    z, label = space.latents("choose", range(10))
    with torch.no_grad():
        wp = space.generator.mapping(z, label).w[:, None].repeat(1, 8, 1)
        wp[:, 5] += 1.5 * torch.from_numpy(of_run.found.directions[1, 0])
        images = [space.generator.synthesize(w) for w in (wp, space.generator.mapping(z, label).w)]
        want = space.scorer(images[0]) - space.scorer(images[1])
    np.testing.assert_allclose(found.changes[:, found.ranges.index((5, 5)), 1], want, atol=1e-4)


def test_table(space):
    found = rescore_layers(space, source(space, "w"), n=10, step=2.0, properties=["pose"])
    rows = found.rows()
    assert len(rows) == 15
    row = rows[found.ranges.index((0, 4))]
    asked = ("run", "method", "layer", "property", "first", "last", "first_resolution", "last_resolution", "step")
    assert [row[key] for key in asked] == ["run", "random", "w", "pose", "0", "4", "4", "16", "2.0000"]
    assert float(row["low"]) <= float(row["ds"]) <= float(row["high"])
    change = found.changes[:, found.ranges.index((0, 4)), 0]
    assert float(row["ds"]) == pytest.approx(np.maximum(change[:, 4], 0).mean(), abs=1e-4)
    assert float(row["slope_mouth"]) == pytest.approx(change[:, 3].mean() / 2, abs=1e-4)


@pytest.mark.parametrize("num_edits", [1, 2, 3])
def test_picture(tmp_path, num_edits):
    names = ("eyes", "hair_color", "pose")
    ranges = [(0, 0), (1, 1), (2, 2), (3, 3), (0, 1), (0, 2), (0, 3)]
    changes = np.random.default_rng(0).standard_normal((10, len(ranges), num_edits, 3)).astype(np.float32)
    found = LayerRescoring("a run", "svm", "w", names, names[:num_edits], [4, 4, 8, 8], 2.0, ranges, changes)
    with Image.open(draw_layers(tmp_path / "new" / "layers.png", found)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 500
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_an_edit_without_effect_can_be_drawn(tmp_path):
    changes = np.zeros((10, 3, 1, 1), np.float32)
    found = LayerRescoring("run", "svm", "w", ("eyes",), ("eyes",), [4, 4], 2.0, [(0, 0), (1, 1), (0, 1)], changes)
    assert draw_layers(tmp_path / "layers.png", found).is_file()


def test_numbers_are_short():
    assert [short(v) for v in (0.254, -0.3, -0.001, 1.104, -1.1, 0.999, 10.0)] == [
        ".25",
        "−.30",
        ".00",
        "1.10",
        "−1.10",
        "1.00",
        "10.00",
    ]
