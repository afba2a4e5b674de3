"""What the explorer shows and saves, without its page."""

import json
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_gan.__main__ import main
from ohlora_gan.editing.given import read_given
from ohlora_gan.editing.invert import Inversion, Inverter
from ohlora_gan.explorer import engine as engines
from ohlora_gan.explorer.engine import Asked, Engine, open_first, runs_in
from tests import explored


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return explored.run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def engine(run, tmp_path_factory):
    return explored.engine(run, tmp_path_factory.mktemp("explored"))


def test_a_run_is_opened_with_its_networks(engine, run):
    assert engine.vectors == run / "vectors.safetensors"
    assert engine.movable(closed=False) == ("eyes", "mouth", "pose")
    assert engine.movable(closed=True) == engine.space.property_names
    assert list(runs_in([run])) == [f"mean_jacobian at w: {run.name}"]


def test_the_gallery_has_every_face_once(engine):
    numbers = [number for number, _, _ in engine.gallery]
    assert sorted(numbers) == list(range(engines.GALLERY))
    number, image, _ = engine.gallery[3]
    assert np.abs(engine.face(number).image.astype(int) - image).max() <= 2


def test_the_good_ones_come_first(engine):
    """Where no filters fit the generator, these are faces near the average."""
    codes = np.array([[3.0, 0.0], [0.1, 0.0], [-3.1, 0.0]], dtype=np.float32)
    good = engine._goodness(codes, np.zeros((3, 32, 32, 3), np.uint8))
    assert good.argmax() == 1


@pytest.mark.parametrize("closed", [False, True])
def test_an_edit_goes_where_it_is_asked_to(engine, closed):
    face = engine.face(0)
    p = list(engine.properties).index("eyes")
    low, high = engine.range_of(face, "eyes")
    assert low <= 0 <= high
    aim = 0.2 * high if high > -low else 0.2 * low
    edited = engine.edit(face, Asked({"eyes": aim}, closed=closed))
    if closed:
        assert edited.scores[p] - face.faces.scores[0, p] == pytest.approx(aim, abs=0.3 * abs(aim))
    else:
        step = edited.code - face.faces.codes[0]
        along = engine.found.directions[0, 0] * aim / engine.found.slopes[0, 0]
        np.testing.assert_allclose(step, along, atol=1e-5)
    assert np.abs(edited.image.astype(int) - face.image).max() > 0
    plain = engine.edit(face, Asked({"eyes": 0.0}, closed=closed))
    np.testing.assert_array_equal(plain.code, engine.placed(face, closed).faces.codes[0])
    beyond = engine.edit(face, Asked({"eyes": high + 5}, closed=closed))
    assert "held there" in beyond.note


def test_locked_scores_stay(engine):
    face = engine.face(1)
    low, high = engine.range_of(face, "eyes")
    changes = {"eyes": 0.3 * (high if high > -low else low)}
    names = list(engine.properties)
    others = [names.index(name) for name in ("mouth", "pose")]
    free = engine.edit(face, Asked(changes)).scores - face.faces.scores[0]
    held = engine.edit(face, Asked(changes, ["mouth", "pose"])).scores - face.faces.scores[0]
    assert np.abs(held[others]).max() < 0.5 * np.abs(free[others]).max()
    looped = engine.edit(face, Asked(changes, ["mouth", "pose"], closed=True)).scores - face.faces.scores[0]
    assert np.abs(looped[others]).max() < 0.5 * np.abs(free[others]).max()


def test_what_is_saved_is_made_again_by_its_command(engine, tmp_path, monkeypatch):
    face = engine.face(2)
    low, high = engine.range_of(face, "eyes")
    value = round(0.3 * (high if high > -low else low), 3)
    for asked in (Asked({"eyes": value}), Asked({"eyes": value}, ["pose"]), Asked({"eyes": value}, ["pose"], True)):
        paths, words = engine.save(face, asked)
        names = {path.name for path in paths}
        assert {"picture.png", "animation.gif", "edited.safetensors", "edit.json"} <= names
        folder = paths[0].parent
        before = json.loads((folder / "edit.json").read_text())
        assert main([*shlex.split(words)[1:], "--output", f"{tmp_path / 'again'}"]) == 0
        again = json.loads((tmp_path / "again" / "edit.json").read_text())
        assert again["edits"] == before["edits"]
        found = read_given(folder / "edited.safetensors", engine.space.generator)
        edited = engine.edit(face, Asked({"eyes": round(value, 2)}, asked.locked, asked.closed))
        layer = engine.placed(face, asked.closed).layer
        w = layer.to_w(engine.space.generator, torch.from_numpy(edited.code[None])).detach().numpy()
        np.testing.assert_allclose(found.w.reshape(w.shape), w, atol=1e-5)
        with Image.open(folder / "picture.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), edited.image)
    with pytest.raises(ValueError, match="nothing is changed"):
        engine.save(face, Asked({"eyes": 0.0}))


def test_a_photograph_is_a_face(engine, monkeypatch):
    own = engine.face(4).image
    monkeypatch.setitem(engine.__dict__, "inverter", Inverter(engine.space, None, Inversion(5, 5), None))
    face = engine.photograph(own, "none")
    assert face.photo is not None
    low, high = engine.range_of(face, "eyes")
    paths, words = engine.save(face, Asked({"eyes": 0.3 * (high if high > -low else low)}))
    assert {"face.safetensors", "pasted.png"} <= {path.name for path in paths}
    assert "--latents" in words


def test_without_a_run_directions_are_found_and_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "NUM_FIND", 60)
    monkeypatch.setattr(engines, "NUM_CALIBRATION", 2)
    networks = {"generator": str(run / "g.safetensors"), "scorer": str(run / "s.safetensors")}
    first = Engine(**networks, cache=tmp_path)
    assert first.found.method == "ridge"
    assert first.movable(closed=False) == first.space.property_names
    monkeypatch.setattr(engines, "find_directions", lambda *_: pytest.fail("they were found again"))
    np.testing.assert_array_equal(Engine(**networks, cache=tmp_path).found.directions, first.found.directions)


def test_what_cannot_be_opened_is_told(run, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        open_first([tmp_path / "none"], None, None, tmp_path)
    with pytest.raises(ValueError, match="mapping_split1 needs a generator with a split"):
        Engine("pretrain", layer="mapping_split1", cache=tmp_path)
