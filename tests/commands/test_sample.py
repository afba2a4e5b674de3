"""Faces of a generator as a folder of pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from ohlora_gan import files as images
from ohlora_gan.__main__ import main
from ohlora_gan.commands.faces import Samples, write_samples
from ohlora_gan.data.datamodules import ImageFolderDataModule
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from tests import tiny


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    return str(checkpoint.save(path, {"generator": tiny.generator()}))


def pictures_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def test_pictures_are_those_of_the_stream(weights, tmp_path, capsys):
    out = tmp_path / "a" / "faces"
    assert main(["sample", weights, "3", "--output", str(out), "--seed", "5", "--start", "7", "--psi", "1.5"]) == 0
    assert list(pictures_of(out)) == [f"sample_{i:06d}.png" for i in (7, 8, 9)]
    space = FaceSpace(tiny.generator(), tiny.scorer(), seed=5)
    wanted = space.images(W(), space.w("sample", [8], psi=1.5))[0]
    np.testing.assert_array_equal(np.asarray(Image.open(out / "sample_000008.png")), wanted)
    assert json.loads((out / "sample.json").read_text())["psi"] == 1.5
    assert capsys.readouterr().out == f"3 faces of 32x32 pixels, 3 of them new: {out}\n"


def test_an_interrupted_run_goes_on(weights, tmp_path, monkeypatch, capsys):
    write_samples(weights, 60, Samples(), tmp_path / "whole")
    write, written = images.save_png, []

    def write_25(path, image):
        if len(written) == 25:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, image)

    monkeypatch.setattr(images, "save_png", write_25)
    arguments = [weights, "60", "--output", str(tmp_path / "part")]
    assert main(["sample", *arguments]) == 130
    assert len(pictures_of(tmp_path / "part")) == 25
    monkeypatch.undo()
    assert main(["sample", *arguments]) == 0
    assert capsys.readouterr().out.endswith(f"60 faces of 32x32 pixels, 35 of them new: {tmp_path / 'part'}\n")
    assert pictures_of(tmp_path / "part") == pictures_of(tmp_path / "whole")


def test_streams_and_seeds_have_other_faces(weights, tmp_path):
    for name, changes in {"a": {}, "b": {"seed": 1}, "c": {"stream": "other"}}.items():
        write_samples(weights, 1, Samples(**changes), tmp_path / name)
    assert len({picture for name in "abc" for picture in pictures_of(tmp_path / name).values()}) == 3


def test_the_folder_is_one_that_models_learn_from(weights, tmp_path):
    write_samples(weights, 4, Samples(), tmp_path)
    assert len(ImageFolderDataModule(tmp_path, 32).dataset("train")) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["0"], "N is 0, expected 1 to"),
        (["3", "--start", "-1"], "--start is -1, expected 0 to"),
        (["3", "--psi", "11"], "--psi is 11, expected 0 to 10"),
    ],
)
def test_mistakes_end_in_one_sentence(weights, tmp_path, capsys, arguments, words):
    out = tmp_path / "out"
    assert main(["sample", weights, *arguments, "--output", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {words}")
    assert not out.exists()


def test_a_folder_of_other_pictures_is_left_alone(weights, tmp_path, capsys):
    write_samples(weights, 1, Samples(), tmp_path / "faces")
    assert main(["sample", weights, "1", "--output", str(tmp_path / "faces"), "--seed", "3"]) == 2
    assert "holds pictures made with seed=0: choose another --output" in capsys.readouterr().err
    assert main(["sample", weights, "1", "--output", str(tmp_path)]) == 2
    assert "holds other things than samples" in capsys.readouterr().err
    assert main(["sample", "nobody", "1", "--output", str(tmp_path / "new")]) == 2
    assert "'nobody' does not exist" in capsys.readouterr().err
