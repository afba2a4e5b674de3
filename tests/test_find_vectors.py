"""An attribute of one's own at 32x32: a scorer of it alone, a direction, a strip of faces, the page."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_gan.directions.files import load_directions, open_directions
from ohlora_gan.directions.foreign import read_sources
from ohlora_gan.editing import search as direction_search
from ohlora_gan.latents import metric
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.models.scorers import AttributeCNN
from ohlora_gan.models.zoo import open_generator, open_scorer
from ohlora_gan.pipelines.find_vectors import find_vectors
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
    properties = tiny.scorer()
    with torch.no_grad():
        list(properties.parameters())[-2].mul_(20)
    checkpoint.save(folder / "generator.safetensors", {"generator": tiny.generator()})
    checkpoint.save(folder / "properties.safetensors", {"scorer": properties})
    checkpoint.save(folder / "scorer.safetensors", {"scorer": scorer})
    return folder


def run(weights, folder, *overrides):
    files = [f"checkpoint={weights}/generator.safetensors", f"scorer={weights}/scorer.safetensors"]
    small = ["judge=null", "layer=w", "n=250", "num_calibration=4", "test.num_latents=4", "test.num_saturation=2"]
    small += ["strips.num_faces=2", "strips.steps=5"]
    return find_vectors(
        composed("find_vectors", *files, *small, f"paths.bank_dir={weights}/banks", *overrides, tmp_path=folder)
    )


def test_from_a_scorer_to_a_page(weights, tmp_path):
    score = run(weights, tmp_path, "properties=[lip_color]", "groups=none")
    vectors = load_directions(tmp_path / "vectors.safetensors")
    assert vectors.properties == ("lip_color",)
    assert vectors.directions.shape == (1, 1, 16)
    header, row = (tmp_path / "vectors" / "lip_color_change_w_vector_all.csv").read_text().splitlines()
    assert len(header.split(",")) == len(row.split(",")) == 17
    imported = read_sources([str(tmp_path / "vectors")], generator=tiny.generator())
    np.testing.assert_allclose(imported.directions, vectors.directions, atol=1e-6)  # of the same sign
    assert (imported.layer, imported.medians) == (vectors.layer, vectors.medians)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["test"]["lip_color_mean_corr"] == pytest.approx(score)
    assert score > 0.5  # the score follows the strength on faces that the direction was not found with
    assert np.shape(metrics["response"]) == (1, 1)
    judge = json.loads((tmp_path / "judge.json").read_text())
    (found,) = judge["by"].values()
    assert (found["role"], judge["edited"], judge["num_latents"]) == ("finding", ["lip_color"], 4)
    assert found["sum_corr"][0] == pytest.approx(score)
    with Image.open(tmp_path / "strips" / "strip_lip_color.png") as strip:
        assert strip.size == (5 * 34 - 2, 2 * 34 - 2)
    page = (tmp_path / "report.html").read_text()
    assert "Directions that change lip color" in page
    assert "(5 pictures)" in page


def test_any_scorer_has_defaults(weights, tmp_path, caplog):
    caplog.set_level("INFO")
    run(weights, tmp_path, "n=40")
    found = load_directions(tmp_path / "vectors.safetensors")
    assert (found.properties, found.group_names) == (("lip_color",), ["all"])
    assert "faces are not grouped" in caplog.text


def test_a_scorer_can_group_by_what_it_measures(weights, tmp_path):
    run(weights, tmp_path, "properties=[lip_color]", "group_by=[lip_color]")
    found = load_directions(tmp_path / "vectors.safetensors")
    assert found.group_names == ["h", "l"]
    assert list(found.medians) == ["lip_color"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["properties=[eyes]"], "edit: eyes, expected some of what the scorer measures: lip_color"),
        (["group_by=[hair_color]"], "does not measure hair_color, which faces are to be grouped by: give groups=none"),
    ],
)
def test_what_the_scorer_does_not_measure_is_said_before_sampling(weights, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        run(weights, tmp_path, *overrides)
    assert not (tmp_path / "config.yaml").exists()


TINY = ["n=200", "groups=none", "test.num_latents=3", "strips.steps=3"]
TINY += ["test.strengths={eyes: [-1, 1], mouth: [-1, 1], pose: [-1, 1]}", "test.retest=false"]
METHODS = {
    "svm": [],
    "gradient": ["method.finder.train.max_epochs=1"],
    "mixed": ["method.parts.gradient.finder.train.max_epochs=1"],
    "ridge": ["metric=cloud", "metric.num_latents=4", "correct=true"],
    "mean_jacobian": ["method.finder.num_jacobians=20", "metric.num_latents=4", "metric.num_probes=4"],
    "local_jacobian": ["method.finder.num_jacobians=20", "metric.num_latents=4", "metric.num_probes=4"],
    "closed_loop": ["metric.region=face", "metric.num_latents=4", "metric.num_probes=4"],
}
PROPERTIES = ("eyes", "mouth", "pose")


def run_method(weights, folder, method, *overrides):
    """A search for the published properties, by a scorer of all eight."""
    scorer = f"scorer={weights}/properties.safetensors"
    return run(weights, folder, f"method={method}", *TINY, scorer, *METHODS[method], *overrides)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_its_results(weights, tmp_path, method):
    score = run_method(weights, tmp_path, method)
    judge = json.loads((tmp_path / "judge.json").read_text())
    assert (judge["method"], judge["n"], judge["edited"]) == (method, 200, list(PROPERTIES))
    (found,) = judge["by"].values()
    assert found["sum_corr"][0] == pytest.approx(score)
    assert np.shape(found["response"]) == (3, 8)
    assert np.isfinite(found["response"]).all()
    assert "</html>" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "strips" / "strip_pose.png").is_file()
    path = tmp_path / "vectors.safetensors"
    assert path.exists() == (tmp_path / "vectors").exists() == (method != "closed_loop")
    if method != "closed_loop":
        networks = (open_generator(weights / "generator.safetensors"), open_scorer(weights / "properties.safetensors"))
        space = FaceSpace(*networks)
        vectors = open_directions(path, space, W())
        assert vectors.properties == PROPERTIES
        assert (vectors.finder is not None) == (method in ("gradient", "mixed", "local_jacobian"))
        assert vectors.slopes.shape == vectors.spreads.shape == (3, 1)
        x = space.codes(W(), *space.latents("test", range(1)))[0]
        np.testing.assert_allclose(np.linalg.norm(vectors.direction(x), axis=1), 1, atol=1e-5)
        assert judge["slopes"] == pytest.approx(dict(zip(PROPERTIES, vectors.slopes[:, 0].tolist(), strict=True)))


def test_a_sweep_takes_derivatives_and_metric_once(weights, tmp_path, monkeypatch):
    """The second job asks for other directions of the same derivatives; nothing is measured anew."""
    alike = (f"paths.bank_dir={tmp_path}/banks", "correct=false", "method.finder.reach=0")
    run_method(weights, tmp_path / "first", "mean_jacobian", *alike)

    def never(*_, **__):
        raise AssertionError("measured anew")

    monkeypatch.setattr(metric, "make_metric", never)
    monkeypatch.setattr(direction_search, "free_jacobian", lambda *_: never)
    run_method(weights, tmp_path / "second", "mean_jacobian", *alike, "method.finder.steadiness=0")
    first, second = (load_directions(tmp_path / job / "vectors.safetensors") for job in ("first", "second"))
    assert np.abs(first.directions - second.directions).max() > 1e-4
    with pytest.raises(AssertionError, match="measured anew"):
        run_method(weights, tmp_path / "third", "mean_jacobian", *alike, "metric.num_probes=5")


def test_jobs_of_other_sizes_share_derivatives_where_edits_lead(weights, tmp_path, monkeypatch):
    alike = (f"paths.bank_dir={tmp_path}/banks", "correct=false", "method.finder.num_jacobians=20")
    run_method(weights, tmp_path / "first", "mean_jacobian", *alike, "n=100")

    def never(*_, **__):
        raise AssertionError("measured anew")

    monkeypatch.setattr(direction_search, "free_jacobian", lambda *_: never)
    run_method(weights, tmp_path / "second", "mean_jacobian", *alike, "n=150")
    first, second = (load_directions(tmp_path / job / "vectors.safetensors") for job in ("first", "second"))
    np.testing.assert_array_equal(first.directions, second.directions)


def test_a_range_of_synthesis_layers_is_moved_alone(weights, tmp_path):
    run_method(weights, tmp_path, "ridge", "layer=wplus", "layer.first=1", "layer.last=2", "test.grid=reference")
    found = load_directions(tmp_path / "vectors.safetensors")
    generator = open_generator(weights / "generator.safetensors")
    assert (found.layer, found.free) == ("wplus_1_2", (16, 48))
    assert found.directions.shape == (3, 1, generator.num_layers * 16)
    assert not np.delete(found.directions, np.r_[16:48], axis=2).any()
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=2), 1, atol=1e-5)
    assert json.loads((tmp_path / "judge.json").read_text())["grid"] == "reference"


@pytest.mark.parametrize("method", ["local_jacobian", "gradient"])
def test_directions_of_each_face_cannot_be_mixed(weights, tmp_path, method):
    with pytest.raises(ValueError, match=f"method {method} gives each face its own directions.*correct=false"):
        run_method(weights, tmp_path, method, "correct=true", f"paths.bank_dir={tmp_path}/banks")
    assert not (tmp_path / "banks").exists()  # it is said before anything is sampled
