"""Directions of one checkpoint on another, at 32x32: figures, a run folder that edits, and what has no place."""

import json

import numpy as np
import pytest
import torch

import ohlora_gan as og
from ohlora_gan.__main__ import main
from ohlora_gan.directions.files import DirectionSet, load_directions, save_directions
from ohlora_gan.editing.search import calibrate, decorrelated
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import CHOOSE, FaceSpace, score_jacobian
from ohlora_gan.models import checkpoint
from ohlora_gan.names import PROPERTIES
from ohlora_gan.pipelines.find_vectors import find_vectors
from tests import tiny
from tests.test_configs import composed

SMALL = [
    "layer=w",
    "groups=none",
    "method=ridge",
    "method.finder.decorrelate=none",
    "n=200",
    "num_calibration=10",
    "test.num_latents=6",
]
SMALL += [
    "test.num_saturation=0",
    "test.retest=false",
    "strips.num_faces=1",
    "strips.steps=3",
    "properties=[mouth,background_std]",
]
FEW = ["--samples", "10"]


def scorer(seed=2):
    """Whose scores differ from face to face by about 1."""
    net = tiny.scorer(seed)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("fc_final.weight"):
                value.mul_(300)
    return net


def generator(moved=0.0):
    """Whose styles hardly depend on w, so that scores are nearly linear in it; ``moved`` on by so much of training."""
    net = tiny.generator()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        for scale in (0.02, moved):
            for name, value in net.named_parameters():
                value.mul_(0.03 if scale == 0.02 and name.endswith("style.weight") else 1)
                value.add_(scale * torch.randn_like(value))
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints, scorers, and a run on the first checkpoint."""
    folder = tmp_path_factory.mktemp("transfer")
    nets = {"first": generator(), "tuned": generator(0.003), "wide": tiny.generator(w_dim=24)}
    nets |= {"plain": tiny.generator(7, False)}
    for name, net in nets.items():
        checkpoint.save(folder / f"{name}.safetensors", {"generator": net})
    checkpoint.save(folder / "scorer.safetensors", {"scorer": scorer()})
    checkpoint.save(folder / "judge.safetensors", {"scorer": scorer(9)})
    search(folder, "first", "run")
    return folder


def search(folder, name, to, *overrides):
    files = [f"checkpoint={folder}/{name}.safetensors", f"scorer={folder}/scorer.safetensors"]
    files += [f"judge={folder}/judge.safetensors", f"paths.bank_dir={folder}/banks"]
    find_vectors(composed("find_vectors", *files, *SMALL, *overrides, tmp_path=folder / to))


def transfer(folder, run, to, output, *more):
    words = ["transfer", str(folder / run), "--to", str(folder / f"{to}.safetensors"), "--output", str(output)]
    return main([*words, *more])


def test_a_fine_tuned_checkpoint(folder, tmp_path, capsys):
    assert transfer(folder, "run", "tuned", tmp_path / "moved", *FEW) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == f"transferred: {tmp_path / 'moved'}"
    content = json.loads((tmp_path / "moved" / "transfer.json").read_text())
    assert content["recalibrated_by"] == {"samples": 10}
    assert set(content["by"]) == {"scorer", "judge"}
    source, there = (
        load_directions(path / "vectors.safetensors") for path in (folder / "run", tmp_path / "moved/there")
    )
    for i, name in enumerate(("mouth", "background_std")):
        stages = content["by"]["scorer"][name]
        assert list(stages) == ["run", "as_is", "recalibrated", "there"]
        assert stages["there"]["cosine"] == pytest.approx(1)
        assert stages["as_is"]["cosine"] == pytest.approx(source.directions[i, 0] @ there.directions[i, 0], abs=1e-5)
        low, value, high = (stages["as_is"]["slope_ratio"][k] for k in (1, 0, 2))
        assert low <= value <= high
        for stage in stages.values():
            assert set(stage) >= {"corr", "pass_share", "leakage"}
    assert set(content["by"]["scorer"]["all"]) == {"run", "as_is", "recalibrated", "there"}
    assert "| mouth | found there | 1.000 |" in said
    moved = load_directions(tmp_path / "moved" / "vectors.safetensors")
    np.testing.assert_array_equal(moved.directions, source.directions)
    space = FaceSpace(generator(0.003), scorer())
    np.testing.assert_allclose(moved.slopes, calibrate(space, W(), source, 10).slopes, rtol=1e-4)
    # a run like any other: it edits and is compared
    words = ["--set", "mouth=0.5", "--faces", "0", "--steps", "3", "--frames", "2", "--output", str(tmp_path / "edit")]
    assert main(["edit", str(tmp_path / "moved"), *words]) == 0
    assert "measured anew" not in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "moved"), "--output", str(tmp_path / "compared")]) == 0
    assert main(["runs", str(tmp_path)]) == 0
    assert "ridge at w" in capsys.readouterr().out


def test_a_run_that_is_there_already_and_jacobians(folder, tmp_path):
    search(folder, "tuned", "there")
    more = ["--there", str(folder / "there"), "--jacobians", "8", "--n", "4"]
    assert transfer(folder, "run", "tuned", tmp_path, *more) == 0
    content = json.loads((tmp_path / "transfer.json").read_text())
    assert content["recalibrated_by"] == {"jacobians": 8}
    assert not (tmp_path / "there").exists()
    space = FaceSpace(generator(0.003), scorer())
    _, jacobian = score_jacobian(space, W(), space.codes(W(), *space.latents(CHOOSE, range(8))))
    moved = load_directions(tmp_path / "vectors.safetensors")
    for name, direction in zip(moved.properties, moved.directions[:, 0], strict=True):
        response = jacobian.mean(axis=0) @ direction
        own = PROPERTIES.index(name)
        assert np.abs(np.delete(response, own)).max() < 1e-3 * abs(response[own])


def test_mixed_directions_are_mixed_again(folder, tmp_path):
    search(folder, "first", "mixed", "correct=true")
    search(folder, "tuned", "mixed_there", "correct=true")
    assert transfer(folder, "mixed", "tuned", tmp_path, "--there", str(folder / "mixed_there"), "--samples", "20") == 0
    runs = (load_directions(run / "vectors.safetensors").directions[:, 0] for run in (folder / "mixed", tmp_path))
    source, moved = (directions.astype(float) for directions in runs)
    weights = np.linalg.lstsq(source.T, moved.T, rcond=None)[0]
    np.testing.assert_allclose(weights.T @ source, moved, atol=1e-5)
    assert np.abs(weights - np.eye(2)).max() > 1e-3


def test_directions_of_others_are_tested_without_a_search(folder, tmp_path, capsys):
    found = load_directions(folder / "run" / "vectors.safetensors")
    both = np.concatenate(
        [-found.directions[:1], found.directions[1:]]
    )  # the mouth goes the other way, age is not scored
    theirs = DirectionSet(both, ["all"], "w", "imported", properties=("mouth", "age"))
    save_directions(tmp_path / "theirs.safetensors", theirs)
    words = ["transfer", str(tmp_path / "theirs.safetensors"), "--to", str(folder / "tuned.safetensors")]
    words += ["--output", str(tmp_path / "moved"), "--n", "4", *FEW]
    assert main(words) == 2
    assert "say which it was with --scorer FILE" in capsys.readouterr().err
    assert main([*words, "--scorer", str(folder / "scorer.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "mouth goes the other way here: turned round" in said
    stages = json.loads((tmp_path / "moved" / "transfer.json").read_text())["by"]["scorer"]
    assert list(stages["mouth"]) == list(stages["age"]) == ["recalibrated"]
    assert stages["age"]["recalibrated"]["corr"] is None
    moved = load_directions(tmp_path / "moved" / "vectors.safetensors")
    np.testing.assert_allclose(moved.directions, found.directions, atol=1e-6)
    assert main(["compare", str(tmp_path / "moved"), "--output", str(tmp_path / "compared")]) == 0


@pytest.mark.parametrize(
    ("to", "more", "message"),
    [
        (
            "wide",
            [],
            "holds directions of 16 values, layer w of this generator has 24: give a generator of the same layout",
        ),
        ("none", [], "none.safetensors' does not exist"),
        ("tuned", ["--samples", "1"], "--samples is 1, expected 2"),
        ("tuned", ["--there", "nowhere"], "directions file nowhere does not exist"),
    ],
)
def test_what_has_no_place_ends_in_one_sentence(folder, tmp_path, capsys, to, more, message):
    assert transfer(folder, "run", to, tmp_path / "moved", *more) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert not (tmp_path / "moved" / "vectors.safetensors").exists()


def test_another_layer_and_another_search(folder, tmp_path, capsys):
    search(folder, "first", "split", "layer=mapping_split2")
    assert transfer(folder, "split", "plain", tmp_path) == 2
    assert "layer mapping_split2 needs a generator with a split (v9) mapping" in capsys.readouterr().err
    assert transfer(folder, "run", "tuned", tmp_path, "--there", str(folder / "split"), *FEW) == 2
    told = "has background_std, mouth (1 groups) at mapping_split2, expected a search with the settings"
    assert told in capsys.readouterr().err


def test_the_front_door(folder):
    gan, other = (og.load(folder / f"{name}.safetensors", scorer()) for name in ("first", "tuned"))
    found = gan.open(folder / "run")
    moved = found.transfer(other, samples=10)
    assert (moved.gan, moved.properties) == (other, found.properties)
    assert not np.allclose(moved.slopes, found.slopes)
    np.testing.assert_array_equal(moved.vectors, found.vectors)
    assert len(moved.edit(other.sample(2), mouth=0.1).images) == 2
    with pytest.raises(ValueError, match="give a generator of the same layout"):
        found.transfer(og.load(folder / "wide.safetensors", scorer()))


def test_directions_lose_what_others_respond_to():
    space = FaceSpace(generator(), scorer())
    raw = np.random.default_rng(0).standard_normal((1, 2, 16))
    found = DirectionSet(raw / np.linalg.norm(raw, axis=2, keepdims=True), ["h", "l"], "w", "x", properties=("pose",))
    _, jacobian = score_jacobian(space, W(), space.codes(W(), *space.latents(CHOOSE, range(4))))
    others = np.delete(jacobian.mean(axis=0), PROPERTIES.index("pose"), axis=0)
    rid = decorrelated(space, W(), found, 4).directions[0]
    assert np.abs(others @ rid.T).max() < 1e-4 * np.abs(others).max()
    age = DirectionSet(found.directions, ["h", "l"], "w", "x", properties=("age",))
    np.testing.assert_array_equal(decorrelated(space, W(), age, 4).directions, age.directions)
