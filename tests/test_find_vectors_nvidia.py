"""An NVIDIA pickle from the file to directions, pictures and refusals, by pipelines, commands and the front door."""

import numpy as np
import pytest
import torch
from PIL import Image

import ohlora_gan as og
from ohlora_gan.__main__ import main
from ohlora_gan.directions.files import load_directions
from ohlora_gan.models import checkpoint
from ohlora_gan.models.scorers import AttributeCNN
from ohlora_gan.pipelines.find_vectors import find_vectors
from ohlora_gan.pipelines.train import train
from tests import nvidia_files as nv
from tests.test_configs import composed


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of tiny networks, grey and with labels, one of StyleGAN3, and a scorer of one attribute."""
    folder = tmp_path_factory.mktemp("nvidia")
    grey = {"resolution": 32, "label_dim": 3, "image_channels": 1}
    parts = {"G_ema": nv.store(nv.generator(2, **grey)), "D": nv.store(nv.discriminator(**grey))}
    nv.write(folder / "two.pkl", parts)
    nv.write(folder / "three.pkl", {"G_ema": nv.store(nv.generator(3, resolution=32))})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        scorer = AttributeCNN(names=["glow"], resolution=32, width=4)
    with torch.no_grad():
        scorer.get_submodule("glow_score_cnn").fc_final.weight.mul_(20)
    checkpoint.save(folder / "scorer.safetensors", {"scorer": scorer})
    return folder


def run(files, folder, name, *overrides):
    small = ["judge=null", "groups=none", "properties=[glow]", "n=200", "num_calibration=4", "test.num_latents=3"]
    small += ["test.num_saturation=1", "strips.num_faces=1", "strips.steps=3", f"paths.bank_dir={files}/banks"]
    networks = [f"checkpoint={files}/{name}.pkl", f"scorer={files}/scorer.safetensors"]
    return find_vectors(composed("find_vectors", *networks, *small, *overrides, tmp_path=folder))


@pytest.mark.parametrize(("name", "layer", "size"), [
    ("two", "z", 11), ("two", "w", 8), ("two", "wplus", 64), ("three", "w", 8), ("three", "wplus", 48),
])  # fmt: skip
def test_directions_are_found_at_every_layer_that_there_is(files, tmp_path, name, layer, size):
    run(files, tmp_path, name, f"layer={layer}", "method=ridge")
    found = load_directions(tmp_path / "vectors.safetensors")
    assert found.directions.shape == (1, 1, size)
    assert (tmp_path / "report.html").is_file()


def test_derivatives_pass_through(files, tmp_path):
    few = ["method.finder.num_jacobians=8", "metric.num_latents=4", "metric.num_probes=4"]
    assert run(files, tmp_path, "three", "layer=w", "method=mean_jacobian", *few) > 0.5


def test_a_layer_that_it_lacks_is_refused(files, tmp_path):
    with pytest.raises(ValueError, match=r"mapping_split2 needs a generator with a split .* use layer=w"):
        run(files, tmp_path, "two", "layer=mapping_split2")


def test_training_another_architecture_is_refused(files, tmp_path):
    cfg = composed("train", "model=finetune_v9", f"checkpoint={files}/two.pkl", tmp_path=tmp_path)
    with pytest.raises(
        checkpoint.CheckpointError, match="holds a StyleGAN2Generator, but finetune_v9 trains StyleGAN-1"
    ):
        train(cfg)


def test_the_front_door_takes_it(files):
    gan = og.load(files / "two.pkl", scorer=files / "scorer.safetensors")
    faces = gan.sample(3, seed=1)
    assert faces.images.shape == (3, 32, 32, 3)
    assert faces.codes("wplus").shape == (3, 64)
    assert np.isfinite(faces.scores.to_numpy()).all()


def test_commands_take_it(files, tmp_path, capsys):
    made = tmp_path / "two.safetensors"
    assert main(["inspect", str(files / "two.pkl")]) == 0
    told = capsys.readouterr().out
    assert "StyleGAN2Generator" in told
    assert "StyleGAN2Discriminator" in told
    assert main(["convert", str(files / "two.pkl"), "--output", str(made)]) == 0
    for name, weights in (("theirs", files / "two.pkl"), ("ours", made)):
        assert main(["sample", str(weights), "3", "--output", str(tmp_path / name)]) == 0
    pictures = [np.asarray(Image.open(tmp_path / name / "sample_000002.png")) for name in ("theirs", "ours")]
    np.testing.assert_array_equal(*pictures)


def test_faces_are_edited_and_judged_by_its_own_discriminator(files, tmp_path):
    run(files, tmp_path / "run", "two", "layer=w", "method=ridge")
    words = ["--set", "glow=+0.5", "--faces", "0", "--steps", "3", "--output", str(tmp_path / "edit")]
    assert main(["edit", str(tmp_path / "run"), *words]) == 0
