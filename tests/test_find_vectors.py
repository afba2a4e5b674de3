"""An attribute of one's own at 32x32: a scorer of it alone, a direction, a strip of faces, the page."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_gan import checkpoint
from ohlora_gan.directions.storage import load_directions
from ohlora_gan.models.attribute_cnn import AttributeCNN
from ohlora_gan.pipeline import find_vectors
from tests import tiny
from tests.test_configs import composed


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A generator, and a scorer of one attribute, told apart well enough by a random network's large outputs."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        scorer = AttributeCNN(names=["lip_color"], resolution=32, width=4)
    with torch.no_grad():
        scorer.get_submodule("lip_color_score_cnn").fc_final.weight.mul_(20)
    checkpoint.save(folder / "generator.safetensors", {"generator": tiny.generator()})
    checkpoint.save(folder / "scorer.safetensors", {"scorer": scorer})
    return folder


def run(weights, folder, *overrides):
    files = [f"checkpoint={weights}/generator.safetensors", f"scorer={weights}/scorer.safetensors"]
    small = ["layer=w", "n=250", "test.num_latents=4", "strips.num_faces=2", "strips.steps=5"]
    return find_vectors(
        composed("find_vectors", *files, *small, f"paths.bank_dir={weights}/banks", *overrides, tmp_path=folder)
    )


def test_from_a_scorer_to_a_page(weights, tmp_path):
    score = run(weights, tmp_path, "properties=[lip_color]", "groups=none")
    found = load_directions(tmp_path / "vectors.safetensors")
    assert found.properties == ("lip_color",)
    assert found.directions.shape == (1, 1, 16)
    header, row = (tmp_path / "vectors" / "lip_color_change_w_vector_all.csv").read_text().splitlines()
    assert len(header.split(",")) == len(row.split(",")) == 17
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["test"]["lip_color_mean_corr"] == pytest.approx(score)
    assert score > 0.5  # the score follows the strength on faces that the direction was not found with
    assert np.shape(metrics["response"]) == (1, 1)
    with Image.open(tmp_path / "strips" / "strip_lip_color.png") as strip:
        assert strip.size == (5 * 34 - 2, 2 * 34 - 2)
    page = (tmp_path / "report.html").read_text()
    assert "Directions that change lip color" in page
    assert "(5 pictures)" in page


def test_a_scorer_can_group_by_what_it_measures(weights, tmp_path):
    run(weights, tmp_path, "properties=[lip_color]", "group_by=[lip_color]")
    found = load_directions(tmp_path / "vectors.safetensors")
    assert found.group_names == ["h", "l"]
    assert list(found.medians) == ["lip_color"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "edit: eyes, mouth, pose, expected some of what the scorer measures: lip_color"),
        (["properties=[lip_color]"], "groups=none"),
    ],
)
def test_what_the_scorer_does_not_measure_is_said_before_sampling(weights, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        run(weights, tmp_path, *overrides)
    assert not (tmp_path / "config.yaml").exists()
