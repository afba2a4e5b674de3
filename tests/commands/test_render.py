"""Rendered faces as a folder of labelled pictures."""

import csv

import numpy as np
import pytest
from PIL import Image

from ohlora_gan.__main__ import main
from ohlora_gan.commands.faces import Wanted, write_rendered
from ohlora_gan.data.datamodules import ImageFolderDataModule
from ohlora_gan.names import PROPERTIES
from ohlora_gan.world.face import ATTRIBUTES, sample_attributes, standardized
from ohlora_gan.world.painter import render


def rows_of(folder):
    with (folder / "labels.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_faces_are_written_with_their_attributes(tmp_path, capsys):
    out = tmp_path / "a" / "faces"
    assert main(["render", "6", "--output", str(out), "--size", "32", "--seed", "5", "--start", "3"]) == 0
    rows = rows_of(out)
    assert list(rows) == [f"{i:06d}.png" for i in range(3, 9)]
    assert list(rows["000003.png"])[:9] == ["file", *PROPERTIES]
    assert set(rows["000003.png"]) == {"file", *ATTRIBUTES}
    face = sample_attributes(5, 7)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "000007.png")), render(face, 32))
    assert float(rows["000007.png"]["lips"]) == pytest.approx(standardized("lips", face.lips), rel=1e-5)
    assert float(rows["000007.png"]["gender"]) == face.gender
    assert "6 faces, 32x32 pixels" in capsys.readouterr().out


def test_the_same_faces_whatever_the_number(tmp_path):
    write_rendered(3, Wanted(size=32), tmp_path / "few")
    write_rendered(5, Wanted(size=32), tmp_path / "many")
    for path in (tmp_path / "few").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes()


def test_only_asked_faces_and_columns(tmp_path):
    keep = ["--keep", "gender=1,quality=1"]
    assert (
        main(
            ["render", "8", "--output", str(tmp_path), "--size", "32", *keep, "--column", "lips", "--column", "gender"]
        )
        == 0
    )
    rows = rows_of(tmp_path)
    assert len(rows) == 8
    assert {tuple(row)[1:] for row in rows.values()} == {("lips", "gender")}
    assert {row["gender"] for row in rows.values()} == {"1"}


def test_the_folder_is_one_that_models_learn_from(tmp_path):
    write_rendered(20, Wanted(size=32), tmp_path)
    module = ImageFolderDataModule(
        tmp_path, 32, labels=tmp_path / "labels.csv", attributes={"lip_color": "lips", "gender": "gender"}
    )
    assert module.attribute_names == ("lip_color", "gender")
    assert len(module.dataset("train")) == 16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["0"], "N is 0, expected 1 to"),
        (["3", "--start", "-1"], "--start is -1, expected 0 to"),
        (["3", "--size", "16"], "--size is 16, expected 32 to 512 pixels"),
        (["3", "--keep", "eyes=1"], "--keep has eyes=1, expected 0 or 1 for some of gender"),
        (["3", "--keep", "gender=2"], "--keep has gender=2, expected 0 or 1"),
        (["3", "--column", "lip"], "--column names 'lip', expected some of eyes"),
        (["3", "--keep", "hat=1"], "--keep has hat=1, expected 0 or 1 for some of gender"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, capsys, arguments, words):
    out = tmp_path / "out"
    assert main(["render", *arguments, "--output", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {words}")
    assert not out.exists()


def test_keep_is_written_as_names_and_values(tmp_path, capsys):
    assert main(["render", "3", "--output", str(tmp_path), "--keep", "gender"]) == 2
    assert "expected NAME=VALUE such as gender=1,quality=1" in capsys.readouterr().err


def test_a_full_folder_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.png").write_bytes(b"")
    assert main(["render", "3", "--output", str(tmp_path)]) == 2
    assert "is not empty: choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
