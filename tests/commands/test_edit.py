import json
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from ohlora_gan.__main__ import main
from ohlora_gan.directions.files import DirectionSet, save_directions
from ohlora_gan.editing.invert import Inversion, Inverter
from ohlora_gan.editing.moves import StraightMover
from ohlora_gan.editing.search import made_ready
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace, score_jacobian
from ohlora_gan.models import checkpoint
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES
from ohlora_gan.options import Loop
from ohlora_gan.pipelines.edit import NUM_CALIBRATION, metric_settings
from ohlora_gan.reports import edits
from tests import tiny

FEW = ["--faces", "0,4", "--steps", "3", "--frames", "3"]


@cache
def gradients():
    """Unit directions [3, 1, 16] along which eyes, mouth and pose of the tiny networks rise."""
    space = FaceSpace(tiny.generator(), tiny.scorer())
    _, jacobian = score_jacobian(space, W(), space.codes(W(), *space.latents("bank", range(20))))
    found = jacobian.mean(axis=0)[[PROPERTIES.index(name) for name in EDITED_PROPERTIES], None]
    return found / np.linalg.norm(found, axis=2, keepdims=True)


def directions(**changes):
    made = {"directions": gradients(), "group_names": ["all"], "layer": "w", "method": "mean_jacobian"}
    return DirectionSet(**(made | changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of vectors and settings, with its networks."""
    folder = tmp_path_factory.mktemp("run")
    generator = checkpoint.save(folder / "g.safetensors", {"generator": tiny.generator()})
    scorer = checkpoint.save(folder / "s.safetensors", {"scorer": tiny.scorer()})
    save_directions(folder / "vectors.safetensors", directions())
    (folder / "config.yaml").write_text(f"checkpoint: {generator}\nscorer: {scorer}\n")
    return folder


def sizes(folder):
    found = {}
    for path in folder.iterdir():
        if path.suffix != ".json":
            with Image.open(path) as picture:
                found[path.name] = (*picture.size, getattr(picture, "n_frames", 1))
    return found


def columns(width):
    """How many 128 pixel faces stand side by side in a picture (its words take less room than a face)."""
    return width // 131


def test_joint(run, tmp_path, capsys):
    assert (
        main(["edit", f"{run}", "--set", "eyes=+0.01", "--set", "mouth=-0.01", "--output", f"{tmp_path / 'new'}", *FEW])
        == 0
    )
    found = sizes(tmp_path / "new")
    assert sorted(found) == ["animation.gif", "animation.webp", "grid_seed_0.png", "grid_seed_4.png", "joint.png"]
    assert columns(found["grid_seed_0.png"][0]) == 5
    assert found["animation.gif"][:2] == found["animation.webp"][:2]
    content = json.loads((tmp_path / "new" / "edit.json").read_text())
    assert [edit["face"] for edit in content["edits"]] == ["seed 0", "seed 4"]
    first = content["edits"][0]
    assert first["asked"] == {"eyes": 0.01, "mouth": -0.01}
    assert sorted(first["besides"]) == sorted(set(PROPERTIES) - {"eyes", "mouth"})
    assert first["wanted"]["eyes"] == pytest.approx(first["before"]["eyes"] + 0.01, abs=2e-4)
    printed = capsys.readouterr().out
    assert "reached" in printed
    assert f"{first['reached']['eyes']:+.2f}" in printed


def test_what_is_not_scored_moves_by_deviations_of_the_codes(run, tmp_path, capsys):
    """Also beside what is scored and goes the other way, which is turned and said."""
    space = FaceSpace(tiny.generator(), tiny.scorer())
    found = directions(directions=gradients()[:2], properties=("eyes", "age"), method="imported")
    theirs = made_ready(space, W(), found, NUM_CALIBRATION)[0].directions * [[[-1.0]], [[1.0]]]
    found = replace(found, directions=theirs)
    file = save_directions(tmp_path / "theirs.safetensors", found)
    networks = ["--checkpoint", f"{run / 'g.safetensors'}", "--scorer", f"{run / 's.safetensors'}"]
    for mode, changes in (("joint", ["eyes=0.01", "age=+2"]), ("independent", ["age=-1"]), ("jitter", ["age=1"])):
        words = [word for change in changes for word in ("--set", change)]
        output = tmp_path / mode
        assert main(["edit", f"{file}", *words, "--mode", mode, *networks, *FEW, "--output", f"{output}"]) == 0
        said = capsys.readouterr().out
        assert "age: not scored, strengths are standard deviations of the codes" in said
        assert "eyes goes the other way here: turned round" in said
        edit = json.loads((output / "edit.json").read_text())["edits"][0]
        assert "age" not in {**edit["wanted"], **edit["reached"]}
    assert main(["edit", f"{file}", "--set", "age=1", "--mode", "closed-loop", *networks, *FEW]) == 2
    assert "'age' is no property that the scorer measures" in capsys.readouterr().err
    ready, _ = made_ready(space, W(), found, NUM_CALIBRATION)
    codes = space.codes(W(), *space.latents("choose", range(NUM_CALIBRATION)))
    deviation = (codes @ theirs[1, 0]).std()
    moved = StraightMover(ready)(codes[:1], ["all"], {"age": [2.0]}).codes[0, 0]
    np.testing.assert_allclose(moved - codes[0], 2 * deviation * theirs[1, 0], atol=1e-5)
    np.testing.assert_allclose(ready.directions[0], -theirs[0])


def test_independent_has_a_strip_a_property(run, tmp_path):
    arguments = [
        "--mode",
        "independent",
        "--set",
        "eyes=0.01",
        "--set",
        "pose=-0.01",
        "--steps",
        "5",
        "--frames",
        "3",
        "--faces",
        "3",
    ]
    assert main(["edit", f"{run / 'vectors.safetensors'}", *arguments, "--output", f"{tmp_path}"]) == 0
    found = sizes(tmp_path)
    assert sorted(found) == ["animation.gif", "animation.webp", "strip_eyes.png", "strip_pose.png"]
    assert columns(found["strip_eyes.png"][0]) == 5
    edits = json.loads((tmp_path / "edit.json").read_text())["edits"]
    assert [edit["asked"] for edit in edits] == [{"eyes": 0.01}, {"pose": -0.01}]


def test_jitter_has_versions(run, tmp_path):
    arguments = ["--mode", "jitter", "--set", "eyes=0.01", "--versions", "4", "--jitter", "1", *FEW]
    assert main(["edit", f"{run}", *arguments, "--output", f"{tmp_path}"]) == 0
    assert columns(sizes(tmp_path)["jitter.png"][0]) == 6
    edits = json.loads((tmp_path / "edit.json").read_text())["edits"]
    assert [len(edit["versions"]) for edit in edits] == [4, 4]
    scores = [version["eyes"] for version in edits[0]["versions"]]
    assert len(set(scores)) == 4


def test_a_closed_loop_needs_no_vectors(run, tmp_path):
    networks = ["--checkpoint", f"{run / 'g.safetensors'}", "--scorer", f"{run / 's.safetensors'}"]
    arguments = ["--mode", "closed-loop", "--set", "eyes=0.002", "--metric", "euclid", "--layer", "w", *networks, *FEW]
    assert main(["edit", *arguments, "--output", f"{tmp_path}"]) == 0
    assert sorted(sizes(tmp_path)) == ["animation.gif", "animation.webp", "strip_eyes.png"]
    (edit, _) = json.loads((tmp_path / "edit.json").read_text())["edits"]
    assert edit["reached"]["eyes"] == pytest.approx(edit["wanted"]["eyes"], abs=1e-3)


def test_a_closed_loop_with_a_discriminator_says_how_real_faces_look(run, tmp_path, capsys):
    networks = {"generator": tiny.generator(), "discriminator": tiny.discriminator()}
    path = checkpoint.save(tmp_path / "gan.safetensors", networks)
    space = FaceSpace(tiny.generator(), tiny.scorer())
    eyes = float(space.score_codes(W(), space.codes(W(), *space.latents("bank", range(20))))[:, 0].mean())
    arguments = [
        "--mode",
        "closed-loop",
        "--set",
        f"eyes={eyes}",
        "--targets",
        "score",
        "--metric",
        "cloud",
        "--seed",
        "5",
    ]
    where = ["--checkpoint", f"{path}", "--scorer", f"{run / 's.safetensors'}", "--bank-dir", f"{tmp_path / 'banks'}"]
    assert main(["edit", *arguments, *where, *FEW, "--output", f"{tmp_path / 'out'}"]) == 0
    content = json.loads((tmp_path / "out" / "edit.json").read_text())
    assert (content["seed"], content["targets"], content["truncation_psi"]) == (5, "score", 1.0)
    for edit in content["edits"]:
        assert edit["wanted"] == pytest.approx({"eyes": eyes}, abs=1e-4)
        assert isinstance(edit["realism"], float)
        assert (edit["realism"] < 0) == ("less real" in edit.get("note", ""))
    assert f"{content['edits'][0]['realism']:+.2f}" in capsys.readouterr().out
    (stored,) = (tmp_path / "banks").glob("*/metric_z_*.safetensors")
    before = stored.stat().st_mtime_ns
    assert main(["edit", *arguments, *where, *FEW, "--output", f"{tmp_path / 'again'}"]) == 0
    assert stored.stat().st_mtime_ns == before


def test_faces_are_the_runs_own(run, tmp_path):
    found = {}
    for name, more in {"plain": [], "psi": ["--truncation-psi", "0.5"], "seed": ["--seed", "1"]}.items():
        arguments = [f"{run}", "--set", "eyes=0.01", *FEW, "--output", f"{tmp_path / name}"]
        assert main(["edit", *arguments, *more]) == 0
        found[name] = json.loads((tmp_path / name / "edit.json").read_text())
    config = (run / "config.yaml").read_text()
    other = tmp_path / "run"
    other.mkdir()
    (other / "config.yaml").write_text(f"{config}seed: 1\n")
    save_directions(other / "vectors.safetensors", directions())
    assert main(["edit", f"{other}", "--set", "eyes=0.01", *FEW, "--output", f"{tmp_path / 'other'}"]) == 0
    assert json.loads((tmp_path / "other" / "edit.json").read_text())["edits"] == found["seed"]["edits"]
    before = [found[name]["edits"][0]["before"]["eyes"] for name in ("plain", "psi", "seed")]
    assert len(set(before)) == 3
    assert found["plain"]["edits"][0]["realism"] is None


def test_the_metric_is_that_of_the_closed_loop_of_find_vectors():
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("find_vectors", ["method=closed_loop"])
    assert metric_settings(Loop()) == OmegaConf.to_container(cfg.metric, resolve=True)


def test_grouped_directions_follow_each_face(run, tmp_path):
    both = gradients().repeat(2, axis=1)
    grouped = directions(directions=both, group_names=["h", "l"], medians={"eyes": 0.0})
    path = save_directions(tmp_path / "grouped.safetensors", grouped)
    networks = ["--checkpoint", f"{run / 'g.safetensors'}", "--scorer", f"{run / 's.safetensors'}"]
    assert main(["edit", f"{path}", *networks, "--set", "mouth=0.01", *FEW, "--output", f"{tmp_path}"]) == 0
    for edit in json.loads((tmp_path / "edit.json").read_text())["edits"]:
        assert edit["group"] == ("h" if edit["before"]["eyes"] >= 0 else "l")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "eyes=9", "--beyond", "refuse"], "beyond what faces of this generator show"),
        (["--set", "hair_color=1"], "has no direction for hair_color, it has eyes, mouth, pose"),
        (["--set", "eyse=1"], "did you mean eyes?"),
        (["--set", "eyes=1", "nowhere"], "directions file nowhere does not exist"),
        (["--set", "eyes=1", "--latents", "nowhere.safetensors"], "nowhere.safetensors do not exist"),
        (
            ["--set", "eyes=1", "--checkpoint", "v9", "--scorer", "property_cnn"],
            "holds directions of 16 values, layer w",
        ),
        (["--set", "eyes=x"], "expected a strength"),
    ],
)
def test_mistakes_end_in_one_sentence(run, tmp_path, capsys, arguments, message):
    vectors = [] if "nowhere" in arguments else [f"{run}"]
    assert main(["edit", *vectors, *arguments, "--output", f"{tmp_path / 'none'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_groups_without_medians_are_said(run, tmp_path, capsys):
    grouped = directions(directions=gradients().repeat(2, axis=1), group_names=["h", "l"])
    path = save_directions(tmp_path / "grouped.safetensors", grouped)
    networks = ["--checkpoint", f"{run / 'g.safetensors'}", "--scorer", f"{run / 's.safetensors'}"]
    assert main(["edit", f"{path}", *networks, "--set", "mouth=0.01"]) == 2
    assert "has groups of faces but not the medians" in capsys.readouterr().err


def test_unreadable_settings_are_named(tmp_path, capsys):
    save_directions(tmp_path / "vectors.safetensors", directions())
    (tmp_path / "config.yaml").write_text("checkpoint: [unclosed")
    assert main(["edit", f"{tmp_path}", "--set", "eyes=1"]) == 2
    assert "config.yaml cannot be read" in capsys.readouterr().err


def test_vectors_of_another_generator_are_told(run, tmp_path, capsys):
    path = save_directions(tmp_path / "v.safetensors", directions(provenance={"generator": "another"}))
    networks = ["--checkpoint", f"{run / 'g.safetensors'}", "--scorer", f"{run / 's.safetensors'}"]
    assert main(["edit", f"{path}", *networks, "--set", "eyes=0.01", *FEW, "--output", f"{tmp_path}"]) == 0
    assert "found with another generator: strengths are measured anew" in capsys.readouterr().out


def test_without_arguments_it_says_how(capsys):
    assert main(["edit"]) == 0
    assert "--set eyes=+1" in capsys.readouterr().out


def test_a_single_fall_leads_from_the_face_to_what_was_asked(run, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(edits, "labelled_grid", lambda *words: shown.append(words) or np.zeros((9, 9, 3), np.uint8))
    assert main(["edit", f"{run}", "--set", "eyes=-0.5", "--output", f"{tmp_path}", *FEW]) == 0
    (images, _, columns, title, captions) = shown[0]
    assert (columns[0], columns[-1], title) == ("before", "after", "asked for: eyes -0.50 (score sigmas)")
    assert images.shape[1] == len(columns) == len(captions[0])
    fall = json.loads((tmp_path / "edit.json").read_text())["edits"][0]
    assert captions[0][0] == ""
    change = fall["reached"]["eyes"] - fall["before"]["eyes"]
    assert captions[0][-1].partition(" (")[0] == f"eyes {edits.signed(change)}"


# --- Photographs, and latents of others ---


@pytest.fixture
def quick(monkeypatch):
    """Inverting in a few steps, with nothing learnt."""
    monkeypatch.setattr("ohlora_gan.pipelines.edit.Inverter", partial(Inverter, how=Inversion(2, 2)))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "aunt.png"
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((80, 60), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize("way", ["straight", "closed-loop"])
def test_a_photograph(run, photo, tmp_path, quick, capsys, way):
    output = tmp_path / "new"
    mode = ["--mode", "closed-loop", "--metric", "euclid"] if way == "closed-loop" else [f"{run}"]
    networks = ["--checkpoint", f"{run / 'g.safetensors'}", "--scorer", f"{run / 's.safetensors'}"]
    words = [
        *mode,
        *networks,
        "--image",
        f"{photo}",
        "--crop",
        "center",
        "--learn",
        "0",
        "--paste",
        "--set",
        "eyes=+0.01",
    ]
    assert main(["edit", *words, *FEW[2:], "--output", f"{output}"]) == 0
    said = capsys.readouterr().out
    content = json.loads((output / "edit.json").read_text())
    (about,) = content["photographs"]
    assert about["face"] == content["edits"][0]["face"] == "aunt"
    assert about["crop"] == "center"
    assert 0 < about["residual"] < 1
    assert set(about["scores"]) == set(PROPERTIES)
    assert "aunt" in said
    assert "another face" in said  # in so few steps
    with Image.open(output / "pasted_aunt_eyes.png") as pasted, Image.open(photo) as before:
        assert pasted.size == before.size
    assert sizes_of(output, "photographs.png")

    # what was found is edited again without inverting
    again = [*mode, *networks, "--latents", f"{output / 'latents.safetensors'}", "--set", "eyes=+0.01"]
    assert main(["edit", *again, *FEW[2:], "--output", f"{tmp_path / 'again'}"]) == 0
    one, other = content["edits"][0], json.loads((tmp_path / "again" / "edit.json").read_text())["edits"][0]
    for key in ("before", "reached"):
        assert other[key] == pytest.approx(one[key], abs=2e-3)


def sizes_of(folder, name):
    with Image.open(folder / name) as picture:
        return picture.size


@pytest.mark.parametrize(("name", "shape", "number"), [("w.npy", (2, 16), 2), ("any.npy", (8, 16), 1)])
def test_latents_of_others(run, tmp_path, name, shape, number):
    np.save(tmp_path / name, np.random.default_rng(0).normal(size=shape).astype(np.float32))
    words = ["--latents", f"{tmp_path / name}", "--set", "eyes=+0.01", "--output", f"{tmp_path / 'new'}"]
    assert main(["edit", f"{run}", *words, *FEW[2:]]) == 0
    content = json.loads((tmp_path / "new" / "edit.json").read_text())
    assert [edit["face"] for edit in content["edits"]] == [f"latent {i}" for i in range(number)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image", "PHOTO", "--faces", "1"], "--faces and --image both say which faces"),
        (["--image", "PHOTO", "--latents", "w.npy"], "--latents and --image both say which faces"),
        (["--paste"], "--paste is a setting of --image"),
        (["--crop", "center"], "--crop is a setting of --image"),
        (["--learn", "9"], "--learn is a setting of --image"),
        (["--latents-layer", "w"], "--latents-layer is a setting of --latents"),
        (["--image", "none.png"], "none.png cannot be read"),
        (["--latents", "none.npy"], "none.npy cannot be read"),
        (["--latents", "none.csv"], "none.csv"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_of_photographs(run, photo, tmp_path, quick, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    words = [str(photo) if word == "PHOTO" else word for word in words]
    assert main(["edit", f"{run}", "--set", "eyes=1", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
