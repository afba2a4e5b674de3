"""Labelling a folder: with a segmenter of the test's own, without MediaPipe."""

import csv
import json
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from ohlora_gan.__main__ import main
from ohlora_gan.data.landmarks import MEASURES, NoFace, SeveralFaces
from ohlora_gan.names import PROPERTIES
from ohlora_gan.options import Labelling
from ohlora_gan.pipelines import label
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.painter import render_with_parse_map

TRUTH = {}
SEGMENTER = "a_segmenter:segment"


def segment(image):
    """Finds the map by the picture's mean colour, as if by magic."""
    if image.mean() < 5:
        raise NoFace
    if image.mean() > 250:
        raise SeveralFaces
    return TRUTH[round(float(image.mean()), 6)]


@pytest.fixture(autouse=True)
def _segmenter(monkeypatch):
    monkeypatch.setitem(sys.modules, "a_segmenter", sys.modules[__name__])


@pytest.fixture
def pictures(tmp_path):
    """Five faces in two folders, and four pictures that cannot be labelled."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for i in range(5):
        image, codes = render_with_parse_map(sample_attributes(3, i), 224)
        TRUTH[round(float(image.mean()), 6)] = codes
        Image.fromarray(image).save(folder / ("more" if i > 2 else "") / f"{i}.png")
    Image.new("RGB", (64, 64), "black").save(folder / "nobody.png")
    Image.new("RGB", (64, 64), "white").save(folder / "crowd.png")
    Image.new("RGB", (8, 8), "red").save(folder / "tiny.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def rows_of(path):
    with path.open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_becomes_labels_maps_and_sheets(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    tops = ("--top", "mouth=2", "--top", "pose=1")
    assert main(["label", str(pictures), "--output", str(out), "--segmenter", SEGMENTER, *tops]) == 0
    rows = rows_of(out / "labels.csv")
    assert list(rows) == ["0.png", "1.png", "2.png", "more/3.png", "more/4.png"]
    assert list(rows["0.png"]) == ["file", *PROPERTIES]
    truth = [sample_attributes(3, i).mouth for i in range(5)]
    assert np.corrcoef(truth, [float(row["mouth"]) for row in rows.values()])[0, 1] > 0.8
    skipped = {name: row["reason"] for name, row in rows_of(out / "skipped.csv").items()}
    assert skipped["nobody.png"] == "no face"
    assert skipped["crowd.png"] == "several faces"
    assert "too small" in skipped["tiny.png"]
    assert "not a picture" in skipped["broken.jpg"]
    drawn = np.asarray(Image.open(out / "maps" / "more" / "4.png"))
    np.testing.assert_array_equal(drawn, render_with_parse_map(sample_attributes(3, 4), 224)[1])
    assert Image.open(out / "sheet.png").width > Image.open(out / "top_pose.png").width > 0
    assert "5 of 9 pictures" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_to_the_same_result(pictures, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    label.label(str(pictures), whole, Labelling(segmenter=SEGMENTER))
    seen = []

    def stops(image):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(image)
        return segment(image)

    monkeypatch.setattr(sys.modules["a_segmenter"], "interrupted", stops, raising=False)
    command = [str(pictures), "--output", str(cut), "--segmenter", "a_segmenter:interrupted"]
    assert main(["label", *command]) == 130
    with (cut / "labels.csv").open("a") as file:
        file.write("more/4.png,1.5,2")  # as a run leaves it that is killed while it writes
    monkeypatch.setattr(sys.modules["a_segmenter"], "interrupted", lambda image: seen.append(0) or segment(image))
    assert main(["label", *command]) == 0
    assert len(seen) == 7, "a picture was segmented twice"
    names = ("label.json",)
    assert {k: v for k, v in files_of(cut).items() if k not in names} == {
        k: v for k, v in files_of(whole).items() if k not in names
    }


def test_new_pictures_join_and_removed_ones_leave(pictures, tmp_path):
    out = tmp_path / "out"
    (pictures / "0.png").rename(tmp_path / "kept.png")
    label.label(str(pictures), out, Labelling(segmenter=SEGMENTER))
    (tmp_path / "kept.png").rename(pictures / "0.png")
    (pictures / "1.png").unlink()
    label.label(str(pictures), out, Labelling(segmenter=SEGMENTER))
    assert list(rows_of(out / "labels.csv")) == ["0.png", "2.png", "more/3.png", "more/4.png"]


def test_ready_maps_give_the_same_labels(pictures, tmp_path):
    label.label(str(pictures), tmp_path / "first", Labelling(segmenter=SEGMENTER))
    label.label(str(pictures), tmp_path / "second", Labelling(maps=tmp_path / "first" / "maps"))
    first, second = ((tmp_path / name / "labels.csv").read_bytes() for name in ("first", "second"))
    assert first == second
    assert rows_of(tmp_path / "second" / "skipped.csv")["nobody.png"]["reason"] == "no parse map nobody.png"


def test_a_zip_file_is_read_in_place(pictures, tmp_path):
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in pictures.rglob("*.*"):
            file.write(path, path.relative_to(pictures))
    label.label(str(pictures), tmp_path / "a", Labelling(segmenter=SEGMENTER))
    label.label(str(archive), tmp_path / "b", Labelling(segmenter=SEGMENTER))
    assert (tmp_path / "a" / "labels.csv").read_bytes() == (tmp_path / "b" / "labels.csv").read_bytes()


def test_two_pictures_of_one_stem_have_two_maps():
    assert label.map_names_of(["a.jpg", "a.png", "b/a.jpg"]) == {
        "a.jpg": "a.jpg.png",
        "a.png": "a.png.png",
        "b/a.jpg": "b/a.png",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--segmenter", "nowhere:segment"], "--segmenter nowhere:segment cannot be imported"),
        (["--segmenter", "a_segmenter:nothing"], "expected landmarks or MODULE:CALLABLE"),
        (["--segmenter", "np"], "expected landmarks or MODULE:CALLABLE"),
        (["--segmenter", "a_segmenter:wrong"], "is no uint8 array [224, 224]"),
        (["--maps", "/nowhere"], "--maps /nowhere is no folder"),
        (["--segmenter", SEGMENTER, "--top", "tilt=3"], "--top names tilt, expected some of eyes"),
        (["--segmenter", "a_segmenter:nobody"], "none of 9 pictures can be labelled"),
    ],
)
def test_mistakes_end_in_one_sentence(pictures, tmp_path, capsys, monkeypatch, arguments, words):
    def nobody(image):
        raise NoFace

    monkeypatch.setattr(sys.modules["a_segmenter"], "wrong", lambda image: image, raising=False)
    monkeypatch.setattr(sys.modules["a_segmenter"], "nobody", nobody, raising=False)
    assert main(["label", str(pictures), "--output", str(tmp_path / "out"), *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last


def test_another_runs_folder_is_left_alone(pictures, tmp_path):
    out = tmp_path / "out"
    label.label(str(pictures), out, Labelling(segmenter=SEGMENTER))
    before = files_of(out)
    with pytest.raises(ValueError, match="generation=v2: choose another --output"):
        label.label(str(pictures), out, Labelling(segmenter=SEGMENTER, generation="v1"))
    assert files_of(out) == before


def test_a_folder_of_other_landmarks_gets_no_more(pictures, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(label, "by_landmarks", lambda name, image: (dict.fromkeys(MEASURES, 0.5), segment(image)))
    label.label(str(pictures), out, Labelling())
    before = files_of(out)
    monkeypatch.setattr(label, "LANDMARKS_METHOD", "three views")
    with pytest.raises(ValueError, match="landmarks=mean with mirror image, six measures: choose another --output"):
        label.label(str(pictures), out, Labelling())
    settings = json.loads((out / "label.json").read_text())
    del settings["landmarks"]  # as a folder is that was begun before it was kept
    (out / "label.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="landmarks=unknown: choose another --output"):
        label.label(str(pictures), out, Labelling())
    assert {**files_of(out), "label.json": before["label.json"]} == before


def test_a_place_without_pictures_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"PICTURES: .* is no folder"):
        label.label(str(tmp_path / "nowhere"), tmp_path / "out", Labelling(segmenter=SEGMENTER))


def test_a_segmenter_is_found_in_the_working_folder(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lying_here.py").write_text("import numpy as np\n\n\ndef segment(image):\n    return np.ones((9, 9))\n")
    labels = ["label", str(pictures), "--output", "out", "--segmenter", "lying_here:segment"]
    assert main(labels) == 2  # found, and its map is refused
    assert "lying_here" in sys.modules
