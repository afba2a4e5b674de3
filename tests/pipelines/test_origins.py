"""A run folder opens from any working folder, and after it and its networks were moved."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from ohlora_gan.__main__ import main
from ohlora_gan.models import checkpoint
from ohlora_gan.pipelines.find_vectors import find_vectors
from ohlora_gan.pipelines.runs import MADE_FROM, Origin, SpaceSettings, read_origins, settings_of, write_origins
from tests import tiny
from tests.test_configs import composed

SMALL = ["layer=w", "n=200", "groups=none", "num_calibration=4", "test.num_latents=3", "test.num_saturation=2"]
SMALL += ["strips.num_faces=2", "strips.steps=3", "test.retest=false"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """``runs/trained/model.safetensors`` and ``scorers/scorer.safetensors``, and a search in ``runs/found`` that was
    given both by relative paths."""
    root = tmp_path_factory.mktemp("made")
    checkpoint.save(root / "runs" / "trained" / "model.safetensors", {"generator": tiny.generator()})
    scorer = tiny.scorer()
    with torch.no_grad():
        list(scorer.parameters())[-2].mul_(20)
    checkpoint.save(root / "scorers" / "scorer.safetensors", {"scorer": scorer})
    files = ["checkpoint=runs/trained/model.safetensors", "scorer=scorers/scorer.safetensors"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        found = [*files, "judge=null", *SMALL, "paths.bank_dir=banks"]
        find_vectors(composed("find_vectors", *found, tmp_path=root / "runs" / "found"))
    return root


@pytest.fixture
def moved(made, tmp_path, monkeypatch):
    """All of it in another place, the scorer beside the run; the working folder is elsewhere."""
    archive = tmp_path / "on" / "another" / "disk" / "archive"
    shutil.copytree(made / "runs", archive / "all")
    shutil.copy(made / "scorers" / "scorer.safetensors", archive / "all" / "found")
    made.rename(made.with_name("away"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield archive / "all" / "found"
    made.with_name("away").rename(made)


def test_a_run_keeps_what_it_was_made_from(made):
    kept = read_origins(made / "runs" / "found")
    generator = made / "runs" / "trained" / "model.safetensors"
    name = "runs/trained/model.safetensors"
    assert kept["checkpoint"] == Origin(name, str(generator), generator.stat().st_size, checkpoint.file_hash(generator))
    assert kept["judge"] == []


def test_a_run_opens_where_it_is_from_another_working_folder(made, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = SpaceSettings.of(settings_of(made / "runs" / "found"))
    assert settings.checkpoint == str(made / "runs" / "trained" / "model.safetensors")
    settings.open()


def test_a_moved_run_is_edited_rescored_and_compared(moved, capsys):
    for words in (
        ["edit", f"{moved}", "--set", "eyes=+1", "--faces", "0", "--steps", "3", "--frames", "2", "--output", "edited"],
        ["rescore", f"{moved}", "--n", "10", "--output", "rescored"],
        ["compare", f"{moved}", "--output", "compared"],
    ):
        assert main(words) == 0, capsys.readouterr().err
    assert Path("edited", "edit.json").is_file()
    assert Path("compared", "leaderboard.html").is_file()
    assert Path("rescored", "winners.md").is_file()
    settings = SpaceSettings.of(settings_of(moved))
    assert settings.checkpoint == str(moved.parent / "trained" / "model.safetensors")
    assert settings.scorer == str(moved / "scorer.safetensors")


def test_a_network_that_is_nowhere_is_described(moved):
    (moved / "scorer.safetensors").unlink()
    origin = read_origins(moved)["scorer"]
    with pytest.raises(
        ValueError, match=r"the run's scorer scorers/scorer\.safetensors \(SHA-256 \w{12}\) is no longer at"
    ):
        SpaceSettings.of(settings_of(moved))
    with pytest.raises(ValueError, match=r"give it with --scorer FILE \(in Hydra's programs: scorer=FILE\)"):
        origin.find(moved, "scorer")
    assert SpaceSettings.of(settings_of(moved), scorer="property_cnn").scorer == "property_cnn"


def test_a_file_of_the_same_name_is_not_taken_for_it(moved):
    checkpoint.save(moved.parent / "trained" / "model.safetensors", {"generator": tiny.generator(0)})
    with pytest.raises(ValueError, match=r"the run's checkpoint runs/trained/model\.safetensors"):
        SpaceSettings.of(settings_of(moved))


def test_a_file_that_has_changed_in_its_place_is_not_taken_for_it(tmp_path):
    path = tmp_path / "a" / "g.safetensors"
    checkpoint.save(path, {"generator": tiny.generator()}, seed=str(tmp_path))
    origin = Origin.of(path)
    (tmp_path / "run").mkdir()
    assert origin.find(tmp_path / "run", "checkpoint") == str(path)
    checkpoint.save(path, {"generator": tiny.generator()}, seed=1)
    with pytest.raises(ValueError, match="has changed since"):
        origin.find(tmp_path / "run", "checkpoint")


def test_a_shipped_model_stays_a_name(tmp_path):
    write_origins(tmp_path, {"checkpoint": "v9", "filters": ["filter_age"], "scorer": None})
    kept = read_origins(tmp_path)
    assert kept["checkpoint"].find(tmp_path, "checkpoint") == "v9"
    assert [origin.name for origin in kept["filters"]] == ["filter_age"]
    assert "scorer" not in kept


def test_a_folder_of_folds_is_known_by_its_files(tmp_path):
    for fold in range(2):
        (tmp_path / "folds").mkdir(exist_ok=True)
        (tmp_path / "folds" / f"{fold}.pth").write_bytes(bytes([fold]))
    origin = Origin.of(tmp_path / "folds")
    (tmp_path / "run").mkdir()
    (tmp_path / "folds").rename(tmp_path / "run" / "folds")
    assert origin.find(tmp_path / "run", "filters") == str(tmp_path / "run" / "folds")


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / MADE_FROM).write_text(json.dumps({"checkpoint": {"nom": 1}}))
    with pytest.raises(ValueError, match=r"made_from\.json cannot be read"):
        read_origins(tmp_path)
