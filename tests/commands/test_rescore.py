import csv

import numpy as np
import pytest
from omegaconf import OmegaConf

from ohlora_gan.__main__ import main
from ohlora_gan.directions.base import Geometry
from ohlora_gan.directions.derivatives import LocalJacobianFinder
from ohlora_gan.directions.files import DirectionSet, load_directions, recipe_of, save_directions
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace, free_jacobian
from ohlora_gan.models.checkpoint import save, weights_hash
from ohlora_gan.names import PROPERTIES
from tests import tiny


@pytest.fixture
def networks(tmp_path):
    save(tmp_path / "g.safetensors", {"generator": tiny.generator()})
    save(tmp_path / "s.safetensors", {"scorer": tiny.scorer()})
    return {"checkpoint": str(tmp_path / "g.safetensors"), "scorer": str(tmp_path / "s.safetensors")}


def make_run(folder, networks, layer="w", size=16, groups=("all",), medians=None, seed=0, **provenance):
    """A run folder with random directions for eyes and mouth."""
    folder.mkdir(parents=True)
    raw = np.random.default_rng(seed).standard_normal((2, len(groups), size))
    raw /= np.linalg.norm(raw, axis=2, keepdims=True)
    provenance = {"generator": weights_hash(tiny.generator())} | provenance
    found = DirectionSet(raw, list(groups), layer, "svm", medians or {}, provenance, ("eyes", "mouth"))
    save_directions(folder / "vectors.safetensors", found)
    if networks:
        OmegaConf.save(OmegaConf.create({"seed": 3, **networks}), folder / "config.yaml")
    return folder


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_runs_of_all_layers_compete(tmp_path, networks, capsys):
    make_run(tmp_path / "runs" / "a", networks, groups=("h", "l"), medians={"pose": 0.0})
    make_run(tmp_path / "runs" / "b", networks, layer="mapping_split1", size=80)
    one = make_run(tmp_path / "c", networks, layer="wplus_2_5", size=128)
    out = tmp_path / "out"
    assert main(["rescore", str(tmp_path / "runs"), str(one), "--n", "12", "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    table = rows(out / "rescoring.csv")
    assert [(r["run"], r["layer"], r["group"]) for r in table[::2]] == [
        ("a", "w", "own"),
        ("a", "w", "h"),
        ("a", "w", "l"),
        ("b", "mapping_split1", "all"),
        ("c", "wplus_2_5", "all"),
    ]
    for name in ("eyes", "mouth"):
        best = max((r for r in table if r["property"] == name), key=lambda r: float(r["ds"]))
        assert (
            f"| {name} | {best['run']} (svm) | {best['layer']} | {best['group']} | {float(best['ds']):.3f}" in printed
        )
    assert (out / "winners.md").read_text() in printed + "\n"
    assert not (out / "layers.csv").exists()


def test_directions_that_depend_on_the_face_compete(tmp_path, networks):
    space = FaceSpace(tiny.generator(), tiny.scorer())
    codes = space.codes(W(), *space.latents("bank", range(10)))
    finder = LocalJacobianFinder(num_jacobians=4, share=1.0)
    finder.fit(
        codes, space.score_codes(W(), codes), edited=("eyes", "mouth"), geometry=Geometry(free_jacobian(space, W()))
    )
    own = {"recipe": recipe_of(finder), "state": finder.state_, "names": PROPERTIES}
    for name, kept in {"own": own, "mean": {}}.items():
        folder = make_run(tmp_path / "runs" / name, networks)
        found = DirectionSet(finder.directions_, finder.group_names_, "w", name, properties=("eyes", "mouth"), **kept)
        save_directions(folder / "vectors.safetensors", found)
    assert main(["rescore", str(tmp_path / "runs"), "--n", "10", "--output", str(tmp_path)]) == 0
    ds = {(row["run"], row["property"]): float(row["ds"]) for row in rows(tmp_path / "rescoring.csv")}
    assert len(ds) == 4
    assert ds["own", "eyes"] != ds["mean", "eyes"]


def test_by_layer_for_one_property(tmp_path, networks):
    run = make_run(tmp_path / "a", networks)
    out = tmp_path / "out"
    arguments = [str(run), "--n", "10", "--output", str(out), "--property", "mouth", "--by-layer", "--match"]
    assert main(["rescore", *arguments]) == 0
    assert [r["property"] for r in rows(out / "rescoring.csv")] == ["mouth"]
    layers = rows(out / "layers.csv")
    assert len(layers) == 15
    assert {r["property"] for r in layers} == {"mouth"}
    assert (out / "layers_a.png").is_file()
    assert "images changed as much" in (out / "winners.md").read_text()


def test_runs_of_the_same_name_are_told_apart(tmp_path, networks):
    runs = [make_run(tmp_path / sweep / "0", networks) for sweep in ("x", "y")]
    assert main(["rescore", *map(str, runs), "--n", "10", "--output", str(tmp_path / "out")]) == 0
    assert [r["run"] for r in rows(tmp_path / "out" / "rescoring.csv")] == ["x/0", "x/0", "y/0", "y/0"]


def test_a_directions_file_alone_needs_networks(tmp_path, networks, capsys):
    file = make_run(tmp_path / "a", None) / "vectors.safetensors"
    arguments = [str(file), "--n", "10", "--output", str(tmp_path / "out")]
    assert main(["rescore", *arguments]) == 2
    assert "a has no config.yaml that names its checkpoint: give --checkpoint" in capsys.readouterr().err
    assert main(["rescore", *arguments, "--checkpoint", networks["checkpoint"], "--scorer", networks["scorer"]]) == 0


def test_imported_directions_get_strengths(tmp_path, networks, capsys):
    """Of what is scored, of what is not, and of what is not alone; as a folder that edits."""
    np.savez(tmp_path / "theirs.npz", eyes=np.ones(16), age=np.arange(16.0))
    np.save(tmp_path / "age.npy", np.arange(16.0))
    given = ["--checkpoint", networks["checkpoint"], "--scorer", networks["scorer"], "--n", "10"]
    for name, winners in (("theirs.npz", True), ("age.npy", False)):
        file = tmp_path / f"{name[:-4]}.safetensors"
        assert main(["import-vectors", str(tmp_path / name), *given[:2], "--output", str(file)]) == 0
        assert main(["rescore", str(file), *given, "--output", str(tmp_path / "out")]) == 0
        said = capsys.readouterr().out
        assert ("| eyes | " in said) == winners
        assert f"strengths measured: {tmp_path / 'out' / file.stem}" in said
        ready = load_directions(tmp_path / "out" / file.stem / "vectors.safetensors")
        space = FaceSpace(tiny.generator(), tiny.scorer())
        codes = space.codes(W(), *space.latents("choose", range(100)))
        age = np.arange(16) / np.linalg.norm(np.arange(16))
        assert ready.slopes[-1, 0] == pytest.approx(1 / (codes @ age).std(), rel=1e-4)
        more = ["--set", "age=1", "--faces", "0", "--steps", "3", "--frames", "2", "--output", str(tmp_path / "edit")]
        assert main(["edit", str(tmp_path / "out" / file.stem), *more]) == 0
        assert "measured anew" not in capsys.readouterr().out


def test_faces_are_those_of_the_runs_seed_or_of_the_given_one(tmp_path, networks):
    run = make_run(tmp_path / "a", networks)
    found = []
    for i, more in enumerate(([], ["--seed", "3"], ["--seed", "4"])):
        assert main(["rescore", str(run), "--n", "10", "--output", str(tmp_path / str(i)), *more]) == 0
        found.append((tmp_path / str(i) / "rescoring.csv").read_text())
    assert found[0] == found[1] != found[2]


def test_users_errors_are_one_sentence(tmp_path, networks, capsys):
    run = make_run(tmp_path / "a", networks)
    other = make_run(tmp_path / "b", networks, generator="0" * 64)
    wide = make_run(tmp_path / "c", networks, size=17)
    flat = make_run(tmp_path / "d", networks, layer="wplus_2_9", size=160)
    odd = make_run(tmp_path / "e", networks, layer="v")
    broken = make_run(tmp_path / "f", networks)
    (broken / "config.yaml").write_text("seed: [")
    (tmp_path / "empty").mkdir()
    cases = [
        ([run, "--n", "5"], "n is 5, expected at least 10"),
        ([tmp_path / "empty"], "holds no vectors.safetensors: give folders of find_vectors.py runs"),
        ([run, other], "b has directions of 16 values at w that were found with another generator"),
        ([wide], "c has directions of 17 values at w that were found with another generator (this one has 16)"),
        ([flat], "generator's 8 synthesis layers"),
        ([odd], "layer is 'v', expected z, w,"),
        ([broken], ": expected the settings of a run"),
        ([run, "--property", "pose"], "no candidate for pose: the runs have directions for eyes, mouth"),
    ]
    for arguments, message in cases:
        assert main(["rescore", *map(str, arguments), "--output", str(tmp_path / "out")]) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("error: ")
        assert message in told
