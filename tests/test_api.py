"""The front door: what a notebook types, with small networks where figures do not matter."""

import subprocess
import sys
from functools import partial

import nbformat
import numpy as np
import pytest
from conftest import PROJECT
from nbclient import NotebookClient

import ohlora_gan as og
from ohlora_gan.directions.files import DirectionSet, save_directions
from ohlora_gan.directions.linear import RidgeFinder
from ohlora_gan.editing.invert import Inversion, Inverter
from tests import tiny


@pytest.fixture(scope="module")
def gan():
    return og.load(tiny.generator(), tiny.scorer())


@pytest.fixture(scope="module")
def found(gan, tmp_path_factory):
    return gan.find("ridge", layer="w", n=60, properties=["eyes", "mouth"], cache=tmp_path_factory.mktemp("cache"))


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_package_opens_without_torch():
    assert fresh("import ohlora_gan, sys; assert not {'torch', 'numpy', 'hydra'} & set(sys.modules)").returncode == 0


def test_all_names_are_there_and_typed():
    assert set(og.__all__) <= set(dir(og))
    for name in og.__all__:
        assert getattr(og, name).__doc__
    assert (PROJECT / "src" / "ohlora_gan" / "py.typed").exists()
    with pytest.raises(AttributeError, match="has no attribute 'lead'"):
        _ = og.lead


def alike(images, others):
    """Equal up to the rounding of sums, which depends on how many images are made at once."""
    return np.abs(images.astype(int) - others).max() <= 2


def test_faces(gan):
    faces, more = gan.sample(3, seed=5), gan.sample(4, seed=5)
    assert faces.images.shape == (3, 32, 32, 3)
    assert alike(faces.images, more.images[:3])
    assert not alike(faces.images, gan.sample(3, seed=6).images)
    assert alike(more[2].images[0], more.images[2])
    assert np.allclose(more[1:3].codes("w"), more.codes("w")[1:3], atol=1e-5)
    assert list(faces.scores.columns) == list(gan.properties)
    assert len(faces.scores) == len(faces) == 3
    assert faces._repr_png_().startswith(b"\x89PNG")
    assert "images uint8 [3, 32, 32, 3]" in repr(faces)
    with pytest.raises(ValueError, match="num is 0, expected at least 1"):
        gan.sample(0)


def test_faces_need_no_scorer(tmp_path):
    alone = og.load(tiny.generator())
    assert alone.properties == ()
    assert alone.sample(2).images.shape == (2, 32, 32, 3)
    with pytest.raises(ValueError, match="nothing scores these faces: give a scorer"):
        _ = alone.sample(2).scores
    with pytest.raises(ValueError, match="has no scorer, so there is nothing to find"):
        alone.find(cache=tmp_path)


def test_directions_are_saved_and_opened(gan, found, tmp_path):
    assert found.vectors.shape == (2, 1, 16)
    assert np.allclose(np.linalg.norm(found.vectors, axis=2), 1)
    assert list(found.slopes.index) == ["eyes", "mouth"]
    again = gan.open(found.save(tmp_path / "d.safetensors"))
    assert np.array_equal(again.vectors, found.vectors)
    assert (again.slopes == found.slopes).all().all()
    assert repr(again) == repr(found)


def test_directions_of_others(gan, tmp_path):
    """Opened with strengths, edited and judged, also what is not scored, and without a scorer."""
    raw = np.random.default_rng(0).standard_normal((2, 1, 16))
    unit = raw / np.linalg.norm(raw, axis=2, keepdims=True)
    path = save_directions(
        tmp_path / "theirs.safetensors", DirectionSet(unit, ["all"], "w", "imported", properties=("mouth", "age"))
    )
    theirs = gan.open(path)
    assert (theirs.slopes > 0).all().all()
    assert "age" not in theirs.judge(by=None, num_latents=2).figures["by"]["scorer"]["corr"]
    alone = og.load(tiny.generator())
    edit = alone.open(path).edit(alone.sample(2), age=1.0)
    deviation = alone.sample(500).codes("w").dot(unit[1, 0]).std()
    moved = np.linalg.norm(edit.codes - alone.sample(2).codes("w"), axis=1)
    np.testing.assert_allclose(moved, deviation, rtol=0.25)


def test_a_finder_of_ones_own(gan, found, tmp_path):
    own = gan.find(RidgeFinder(), layer="w", n=60, properties=["eyes", "mouth"], cache=tmp_path)
    assert np.array_equal(own.vectors, found.vectors)


def test_edits(gan, found):
    faces = gan.sample(3)
    edit = found.edit(faces, eyes=0.5)
    direction = found.vectors[0, 0] * 0.5 / found.slopes.loc["eyes"].iloc[0]
    assert np.allclose(edit.codes, faces.codes("w") + direction, atol=1e-5)
    assert edit.images.shape == (3, 32, 32, 3)
    assert np.allclose(edit.moved, edit.scores - faces.scores)
    assert edit._repr_png_().startswith(b"\x89PNG")
    closed = found.edit(faces, closed_loop=True, hold="none", eyes=0.2)
    assert (closed.moved["eyes"] > 0).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "no change is given: give some of eyes, mouth, such as eyes=1.0"),
        ({"nose": 1}, "there is no direction for 'nose': give some of eyes, mouth"),
    ],
)
def test_edits_that_cannot_be(gan, found, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        found.edit(gan.sample(1), **changes)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"method": "smv"}, "method is 'smv', expected one of svm, ridge, gradient"),
        ({"method": "ridge", "colour": 1}, "method 'ridge' does not take these settings: .*colour"),
        ({"layer": "x"}, "layer is 'x', expected z, w"),
        ({"properties": ["nose"]}, "properties has 'nose', expected some of"),
    ],
)
def test_searches_that_cannot_be(gan, tmp_path, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        gan.find(**({"n": 60, "layer": "w", "cache": tmp_path} | arguments))


def test_a_judgement_shows_figures_and_writes_its_page(found, tmp_path):
    judged = found.judge(by=None, num_latents=4)
    assert judged.figures["by"]["scorer"]["role"] == "finding"
    assert list(judged.summary.index) == ["scorer"]
    low, value, high = (judged.summary[f"sum_corr{end}"].iloc[0] for end in ("_low", "", "_high"))
    assert low <= value <= high
    assert "<table" in judged._repr_html_()
    assert judged.html(tmp_path / "page.html").stat().st_size > 10_000


def test_names_that_are_not_there():
    with pytest.raises(
        ValueError, match="'v10' does not exist: did you mean v1\\? give a file's path or a shipped generator"
    ):
        og.load("v10")
    assert "v9" in og.shipped()


def test_the_tour_runs(tmp_path, monkeypatch):
    notebook = nbformat.read(PROJECT / "docs" / "notebooks" / "tour.ipynb", as_version=4)
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert len([line for line in lines if line.strip()]) < 40
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "report.html").exists()


def test_photographs(gan, found, tmp_path, monkeypatch):
    quick = partial(Inverter, how=Inversion(2, 2), learning=None)
    monkeypatch.setattr("ohlora_gan.api.Inverter", quick)
    pictures = gan.sample(2, seed=3).images
    own = gan.invert(*pictures, crop="none", cache=tmp_path)
    assert isinstance(own, og.Inverted)
    assert own.w.shape == (2, 8, 16)
    assert own.codes("w").shape == (2, 16)
    assert list(own.agreement.columns) == ["residual", "scores_off", "distance"]
    assert alike(own.images, own.photos.found.images)
    edit = found.edit(own, eyes=0.5)
    assert edit.images.shape == (2, 32, 32, 3)
    assert not alike(edit.images, own.images)
    assert [picture.shape for picture in own.paste(edit)] == [(32, 32, 3)] * 2
    assert alike(found.edit(own[1], eyes=0.5).images, edit.images[1:])
    closed = found.edit(own[:1], closed_loop=True, eyes=0.1)
    assert closed.moved["eyes"].iloc[0] == pytest.approx(0.1, abs=0.1)
    assert "photo 0" in repr(own)
    with pytest.raises(ValueError, match="no picture to invert"):
        gan.invert()
