"""A generator's faces beside a reference, from the command line."""

import json

import pytest
from PIL import Image

from ohlora_gan.__main__ import main


@pytest.mark.slow
def test_figures_and_a_sheet(tmp_path, capsys):
    assert main(["quality", "v9", "--n", "100", "--keep", "gender=1,quality=1", "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    figures = json.loads((tmp_path / "quality.json").read_text())
    assert (figures["world"], figures["n"], figures["keep"]) == (2, 100, {"gender": 1, "quality": 1})
    assert f"| Fréchet | {figures['frechet']:.3f} | {figures['frechet_floor']:.3f} |" in said
    assert said.endswith(f"written: {tmp_path}\n")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * (10 * 66 - 2) + 24


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--n", "0"], "n is 0, expected at least 1"),
        (["--n", "20"], "distances need at least 100 images a set, got 20"),
        (["--keep", "gender"], "--keep gender, expected NAME=VALUE such as gender=1,quality=1"),
        (["--pictures", "nowhere"], "nowhere is no folder"),
    ],
)
def test_mistakes_end_in_one_sentence(capsys, words, told):
    assert main(["quality", "v9", *words]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
