"""What is read off pictures of the embedded world, and how far pictures are from the rendering of what was read."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ohlora_gan.__main__ import main
from ohlora_gan.models import checkpoint
from ohlora_gan.models.scorers import TruthNet
from ohlora_gan.world.face import BINARY, CONTINUOUS, SPREADS, sample_attributes
from ohlora_gan.world.truth import (
    ATTRIBUTES,
    KINDS,
    Truth,
    face_of,
    render_faces,
    residuals,
    spoil,
    values_of,
    weathered,
)
from tests import tiny

FIRST = 70_000_000
NUMBERS = len(CONTINUOUS)


@pytest.fixture(scope="module")
def known():
    return np.array([values_of(sample_attributes(0, FIRST + i)) for i in range(48)])


@pytest.fixture(scope="module")
def faces(known):
    return render_faces(known, 64)


@pytest.fixture(scope="module")
def reading(faces):
    return Truth.open().read(faces[0])


def errors(reading, known):
    return (reading.values - known)[:, :NUMBERS] / [SPREADS[name].deviation for name in CONTINUOUS]


def test_attributes_are_read(reading, known):
    r2 = 1 - np.square(errors(reading, known)).mean(axis=0)
    assert dict(zip(CONTINUOUS, r2 > 0.9, strict=True)) == dict.fromkeys(CONTINUOUS, True)
    assert r2.mean() > 0.97
    assert (reading.values == known)[:, NUMBERS:].mean() > 0.98


def test_rounds_of_refinement_bring_the_reading_nearer(faces, reading, known):
    first = Truth.open(rounds=0).read(faces[0])
    assert np.square(errors(reading, known)).mean() < 0.5 * np.square(errors(first, known)).mean()
    distances = [np.square(found.rendered.astype(float) - faces[0]).mean((1, 2, 3)) for found in (first, reading)]
    assert (distances[1] <= distances[0]).all()


def test_the_rendering_is_that_of_what_was_read(reading):
    rendered, codes = render_faces(reading.values[:3], 64)
    assert np.array_equal(rendered, reading.rendered[:3])
    assert np.array_equal(codes, reading.codes[:3])
    assert values_of(reading.face(1)) == reading.values[1].tolist()


def test_a_reading_depends_on_its_picture_alone(faces, reading):
    told = []
    found = Truth.open().read(faces[0][5:22], SimpleNamespace(update=told.append))
    assert told == [16, 1]
    assert np.array_equal(found.values, reading.values[5:22])


def test_standard_deviations(reading):
    for name in ("pose", "gender"):
        column = ATTRIBUTES.index(name)
        expected = [(face_of(row).__dict__[name]) for row in reading.values]
        if name in CONTINUOUS:
            expected = [(value - SPREADS[name].mean) / SPREADS[name].deviation for value in expected]
        assert reading.standardized[:, column] == pytest.approx(expected)
    assert reading.standardized.shape == (48, NUMBERS + len(BINARY))


def test_residuals_of_a_face_and_its_like(faces):
    pictures, codes = faces
    nothing = residuals(pictures, pictures, codes)
    assert max(nothing.whole.max(), nothing.head.max(), nothing.worst.max()) == 0
    beside, far = (residuals(np.roll(pictures, shift, axis=2), pictures, codes).head for shift in (1, 4))
    assert (beside < 0.4 * far).all()  # a pixel beside its place is hardly damage
    assert residuals(np.roll(pictures, 1, axis=0), pictures, codes).head.min() > 2 * beside.mean()


def test_spoilt_pictures_stand_out(faces, known):
    whole = known[:, ATTRIBUTES.index("quality")] == 1
    pictures, codes = (part[whole] for part in faces)
    truth = Truth.open()
    worn = np.stack([weathered(picture, 0, i) for i, picture in enumerate(pictures[:32])])
    base = truth.read(worn).residuals.worst
    spoilt = [spoil(picture, codes[i], kind, 0, i) for kind in KINDS for i, picture in enumerate(worn[:16])]
    values = truth.read(np.stack(spoilt)).residuals.worst
    means = dict(zip(KINDS, values.reshape(len(KINDS), -1).mean(axis=1), strict=True))
    assert {kind: mean > 2 * base.mean() for kind, mean in means.items()} == dict.fromkeys(KINDS, True)
    assert roc_auc_score(np.arange(len(base) + len(values)) >= len(base), np.concatenate([base, values])) > 0.95


@pytest.mark.parametrize("change", [weathered, *KINDS])
def test_pictures_are_spoilt_alike_each_time(faces, change):
    picture, codes = faces[0][0], faces[1][0]

    def changed(index):
        return change(picture, 0, index) if callable(change) else spoil(picture, codes, change, 0, index)

    first, again, other = changed(1), changed(1), changed(2)
    assert first.dtype == np.uint8
    assert first.shape == picture.shape
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, picture)


def test_what_cannot_be_read_is_said(faces):
    truth = Truth.open()
    for pictures in (faces[0][:0], faces[0][:, :32], faces[0].astype(np.float32), faces[0][0]):
        with pytest.raises(ValueError, match=r"expected uint8 \[N, 64, 64, 3\]"):
            truth.read(pictures)
    with pytest.raises(
        ValueError, match=r"the network does not read roll, .*: give one of python train.py model=truth"
    ):
        Truth(TruthNet(width=4))
    with pytest.raises(ValueError, match="kind is 'burnt', expected one of smeared_eyes"):
        spoil(faces[0][0], faces[1][0], "burnt", 0, 0)
    with pytest.raises(ValueError, match=r"picture uint8 \[64, 64, 3\] and parse map \[32, 32\]"):
        spoil(faces[0][0], faces[1][0][:32, :32], "ghost", 0, 0)


def test_the_command_writes_figures_and_a_sheet(tmp_path, capsys):
    assert main(["truth", "--n", "10", "--rounds", "1", "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    figures = json.loads((tmp_path / "truth.json").read_text())
    assert set(figures["r2"]) == set(CONTINUOUS)
    assert set(figures["residuals"]) == {"rendered", "weathered", *KINDS}
    assert f"AUROC of all kinds of damage against weathered pictures: {figures['auroc']:.4f}" in said
    assert f"| eyes | {figures['r2_first']['eyes']:.3f} | {figures['r2']['eyes']:.3f} |" in said
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--n", "9"], "--n is 9, expected 10 or more"),
        (["--rounds", "0"], "--rounds is 0, expected 1 or more"),
        (
            ["property_cnn"],
            "holds SmallPropertyCNN, expected a TruthNet: make one with python train.py model=truth\n",
        ),
        (["nowhere"], "checkpoint 'nowhere' does not exist"),
        (["--generator", "{small}"], "truth reads pictures of 64 pixels, "),
    ],
)
def test_what_the_command_cannot_do(arguments, sentence, capsys, tmp_path):
    small = checkpoint.save(tmp_path / "small.safetensors", {"generator": tiny.generator()}, world=2)
    assert main(["truth", *(word.format(small=small) for word in arguments)]) == 2
    assert sentence in capsys.readouterr().err
