"""The main path at 32x32: pretrain, v1, v9, a scorer, directions, the page."""

import json

import numpy as np
import pytest

from ohlora_gan.directions.files import load_directions
from ohlora_gan.models import checkpoint
from ohlora_gan.pipelines.find_vectors import find_vectors
from ohlora_gan.pipelines.train import train
from tests.test_configs import composed

TINY = [
    "resolution=32",
    "scorer=null",
    "data.num_val=64",
    "data.num_test=64",
    "trainer.enable_progress_bar=false",
    "callbacks.samples.num_images=4",
]
TINY_GAN = [
    "model.module.generator.fmaps=[16,16,16,16]",
    "model.module.generator.z_dim=64",
    "model.module.generator.w_dim=64",
    "model.module.generator.mapping_dim=64",
    "data.batch_size=8",
    "data.num_images=32",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of one run of each stage."""
    root = tmp_path_factory.mktemp("runs")

    def run(name, *overrides):
        train(composed("train", f"model={name}", *TINY, *overrides, tmp_path=root / name))
        return root / name

    run("pretrain", *TINY_GAN, "model.module.grow_images=[]", "trainer.max_epochs=1")
    run("finetune_v1", *TINY_GAN, f"checkpoint={root}/pretrain/model.safetensors")
    run("finetune_v9", *TINY_GAN, f"checkpoint={root}/finetune_v1/model.safetensors")
    run("property_cnn", "model.module.net.width=8", "data.num_images=640", "trainer.max_epochs=4")
    return root


def test_stages_build_on_each_other(runs):
    parents = {}
    for stage in ("pretrain", "finetune_v1", "finetune_v9"):
        loaded = checkpoint.load(runs / stage / "model.safetensors")
        assert loaded.info["stage"] == stage
        assert loaded.info["images_seen"] == 32
        parents[stage] = loaded.info["parent"]
        assert (runs / stage / "last.ckpt").is_file()
        assert sorted(p.name for p in (runs / stage / "samples").iterdir()) == ["batch_000000.png", "batch_000004.png"]
        assert (runs / stage / "csv" / "version_0" / "metrics.csv").is_file()
    assert parents["pretrain"] is None
    assert parents["finetune_v1"] == checkpoint.file_hash(runs / "pretrain" / "model.safetensors")
    assert parents["finetune_v9"] == checkpoint.file_hash(runs / "finetune_v1" / "model.safetensors")


def test_the_scorer_learns(runs):
    metrics = json.loads((runs / "property_cnn" / "metrics.json").read_text())
    assert metrics["test/r2/background_mean"] > 0.5
    assert metrics["test/r2/hair_color"] > 0.5


def test_directions_and_page(runs, tmp_path):
    overrides = [
        f"checkpoint={runs}/finetune_v9/model.safetensors",
        f"scorer={runs}/property_cnn/model.safetensors",
        f"paths.bank_dir={tmp_path}/banks",
        "judge=null",
        "groups=none",
        "n=250",
        "num_calibration=4",
        "test.num_latents=3",
        "test.num_saturation=2",
        "strips.num_faces=2",
        "strips.steps=5",
    ]
    for layer, size in (("w", 64), ("mapping_split1", 320), ("mapping_split2", 128)):
        folder = tmp_path / layer
        find_vectors(composed("find_vectors", f"layer={layer}", *overrides, tmp_path=folder))
        found = load_directions(folder / "vectors.safetensors")
        assert found.directions.shape == (3, 1, size)
        np.testing.assert_allclose(np.linalg.norm(found.directions, axis=2), 1.0, atol=1e-5)
        assert found.provenance["n"] == 250
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["bank_samples_reused"] == (0 if layer == "w" else 250)
        assert metrics["test"]["num_cases"] == 3
        names = {path.name for path in folder.rglob("*")}
        assert {"report.html", "strip_eyes.png", f"pose_change_{layer}_vector_all.csv", "config.yaml"} <= names
        page = (folder / "report.html").read_text()
        assert layer in page
        assert page.count("<img") > 30
