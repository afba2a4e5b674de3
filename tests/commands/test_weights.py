"""Files of weights: what is in one, other formats as ours, and the shipped ones."""

import json
import shutil

import pytest
import torch

from ohlora_gan.__main__ import main
from ohlora_gan.models import checkpoint, zoo
from tests import tiny


@pytest.fixture
def foreign(tmp_path):
    """A genforce file of the tiny networks."""
    networks = {"generator": tiny.generator(), "discriminator": tiny.discriminator()}
    path = tmp_path / "gan.pth"
    torch.save({name: net.state_dict() for name, net in networks.items()}, path)
    return path


def inspected(capsys, *words):
    assert main(["inspect", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_shipped_model_says_what_it_is(capsys):
    found = inspected(capsys, "v9")
    assert (found["kind"], found["world"], found["stage"]) == ("weights", 2, "finetune_v9")
    generator = found["networks"]["generator"]
    assert (generator["class"], generator["resolution"], generator["w_dim"]) == ("Generator", 64, 256)
    assert found["sha256"] == json.loads((zoo.ASSETS / "v9.json").read_text())["sha256"]
    assert main(["inspect", "v9"]) == 0
    assert "    resolution: 64\n" in capsys.readouterr().out


def test_other_peoples_weights_become_ours(foreign, tmp_path, capsys):
    out = tmp_path / "new" / "ours.safetensors"
    assert main(["convert", str(foreign), "--output", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f": {out}\n")
    loaded = checkpoint.load(out)
    assert checkpoint.weights_hash(loaded.build("generator")) == checkpoint.weights_hash(tiny.generator())
    assert loaded.info["parent"] == checkpoint.file_hash(foreign)
    before, after = (inspected(capsys, path)["networks"] for path in (foreign, out))
    assert before == after
    half = tmp_path / "half.safetensors"
    assert main(["convert", str(out), "--output", str(half), "--half"]) == 0
    assert half.stat().st_size < 0.6 * out.stat().st_size


def test_a_world_is_kept(tmp_path):
    path = checkpoint.save(tmp_path / "w2.safetensors", {"scorer": tiny.scorer()}, world=2, seed=7)
    assert main(["convert", str(path), "--output", str(tmp_path / "again.safetensors")]) == 0
    info = checkpoint.load_info(tmp_path / "again.safetensors")
    assert (info["world"], info["seed"]) == (2, 7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect", "nowhere"], "'nowhere' does not exist"),
        (["inspect", "{here}/broken.safetensors"], "is damaged or cut off"),
        (["convert", "v9", "--output", "{here}"], "expected a file such as"),
        (["convert", "v9", "--output", "{here}/v9.pth"], "expected a file such as"),
        (["convert", "{here}/broken.pth", "--output", "{here}/o.safetensors"], "broken.pth"),
        (["ship", "{here}", "x"], "model.safetensors does not exist"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, capsys, words, message):
    for name in ("broken.safetensors", "broken.pth"):
        (tmp_path / name).write_bytes(b"nothing")
    assert main([word.format(here=tmp_path) for word in words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert message in told
    assert told.count("\n") == 1


def test_a_run_is_shipped_with_its_provenance(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "ASSETS", tmp_path / "assets")
    info = {"stage": "finetune_v9", "command": "one", "metrics": {"a": 1}}
    checkpoint.save(tmp_path / "run" / "model.safetensors", {"generator": tiny.generator()}, **info)
    (tmp_path / "figures.json").write_text('{"faces": 10}')
    words = ["--figures", str(tmp_path / "figures.json"), "--command", "two commands"]
    assert main(["ship", str(tmp_path / "run"), "mine", *words]) == 0
    path = tmp_path / "assets" / "mine.safetensors"
    assert capsys.readouterr().out.endswith(f": {path}\n")
    told = json.loads(path.with_suffix(".json").read_text())
    assert (told["name"], told["command"], told["figures"]) == ("mine", "two commands", {"faces": 10})
    assert told["sha256"] == checkpoint.file_hash(path)
    assert "metrics" not in told


def test_a_filters_folds_become_an_ensemble(tmp_path, capsys):
    ensemble = zoo.open_filters(["filter_gender"])["gender"]
    path = checkpoint.save(tmp_path / "filter.safetensors", {"gender": ensemble})
    assert inspected(capsys, path)["networks"]["gender"]["num_folds"] == len(ensemble.folds)


def test_an_open_copy_is_no_other_file(tmp_path, capsys):
    shutil.copyfile(zoo.ASSETS / "filter_age.safetensors", tmp_path / "copy.safetensors")
    one, two = (inspected(capsys, name) for name in ("filter_age", tmp_path / "copy.safetensors"))
    assert one["sha256"] == two["sha256"]
