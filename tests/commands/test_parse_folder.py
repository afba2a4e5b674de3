import csv

import numpy as np
import pytest
from PIL import Image

from ohlora_gan import progress
from ohlora_gan.__main__ import main
from ohlora_gan.data.parse_scores import score_maps
from ohlora_gan.names import PROPERTIES
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.painter import render_with_parse_map

NUM = 70  # more than a chunk


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of 70 faces, one of them without a map, and the maps and images of the rest."""
    folder = tmp_path_factory.mktemp("faces")
    images, maps = [], []
    for i in range(NUM):
        image, codes = render_with_parse_map(sample_attributes(2, i), 224)
        Image.fromarray(codes).save(folder / f"parsing_{i:06d}.png")
        Image.fromarray(image).save(folder / f"face_{i:06d}.png")
        images.append(image)
        maps.append(codes)
    (folder / f"parsing_{NUM - 1:06d}.png").unlink()
    return folder, np.stack(maps[:-1]), np.stack(images[:-1])


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return rows[0], [row[0] for row in rows[1:]], np.array([[float(v or "nan") for v in row[1:]] for row in rows[1:]])


def test_labels_are_normalised_and_name_their_faces(pairs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_drawn", lambda: True)
    folder, _, _ = pairs
    output = tmp_path / "new" / "labels.csv"
    assert main(["parse-folder", str(folder), "--output", str(output)]) == 0
    header, names, values = read(output)
    assert header == ["file", *PROPERTIES]
    assert names == [f"face_{i:06d}.png" for i in range(NUM - 1)]
    assert values.mean(axis=0) == pytest.approx(0, abs=1e-8)
    assert values.std(axis=0, ddof=1) == pytest.approx(1)
    assert f"face_{NUM - 1:06d}.png,no parse map" in (output.parent / "labels_skipped.csv").read_text()
    said = capsys.readouterr()
    assert "69 faces" in said.out
    assert "1 files left out" in said.out
    assert "69/69" in said.err


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_raw_scores_are_those_of_score_maps(pairs, tmp_path, generation):
    folder, maps, images = pairs
    output = tmp_path / "labels.csv"
    arguments = ["--raw", "--generation", generation, "--properties", "pose,hairstyle"]
    assert main(["parse-folder", str(folder), "--output", str(output), *arguments]) == 0
    header, _, values = read(output)
    assert header == ["file", "pose", "hairstyle"]
    want = score_maps(maps, images, generation)
    assert values == pytest.approx(np.stack([want["pose"], want["hairstyle"]], axis=1), abs=1e-8)
    assert not (tmp_path / "labels_normalization.json").exists()


def test_new_faces_are_normalised_by_the_saved_statistics(pairs, tmp_path, capsys):
    folder, maps, images = pairs
    assert main(["parse-folder", str(folder), "--output", str(tmp_path / "labels.csv")]) == 0
    _, _, first = read(tmp_path / "labels.csv")
    few = tmp_path / "few"
    few.mkdir()
    maps = maps[:2].copy()
    maps[1][maps[1] == 10] = 1  # no hair
    for i in range(2):
        Image.fromarray(maps[i]).save(few / f"parsing_{i}.png")
        Image.fromarray(images[i]).save(few / f"face_{i}.png")
    statistics = str(tmp_path / "labels_normalization.json")
    assert main(["parse-folder", str(few), "--output", str(tmp_path / "few.csv"), "--normalization", statistics]) == 0
    assert read(tmp_path / "few.csv")[2][0] == pytest.approx(first[0])
    again = ["--generation", "v1", "--raw"]
    assert main(["parse-folder", str(few), "--output", str(tmp_path / "few.csv"), *again]) == 0
    missing = np.isnan(read(tmp_path / "few.csv")[2])
    assert [PROPERTIES[i] for i in np.flatnonzero(missing[1])] == ["hair_color", "hair_length"]
    assert not missing[0].any()
    assert "warning: no value (NaN) for hair_color of 1, hair_length of 1 of 2 faces" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none is no folder"),
        (["--properties", "eyes,nose"], "properties has 'nose', expected some of eyes,hair_color"),
        (["--output", "."], "output . is a folder, expected a file: give labels.csv"),
        (["--normalization", "none.json"], "none.json holds no usable statistics"),
    ],
)
def test_errors_are_one_sentence(pairs, arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    folder = [] if arguments == ["none"] else [str(pairs[0])]
    assert main(["parse-folder", *folder, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


def test_faces_that_do_not_differ_cannot_be_normalised(pairs, tmp_path, capsys):
    _, maps, images = pairs
    for i in range(2):
        Image.fromarray(maps[0]).save(tmp_path / f"parsing_{i}.png")
        Image.fromarray(images[0]).save(tmp_path / f"face_{i}.png")
    assert main(["parse-folder", str(tmp_path), "--output", str(tmp_path / "labels.csv")]) == 2
    assert "in all 2 faces" in capsys.readouterr().err
    assert not (tmp_path / "labels.csv").exists()
