import csv

import numpy as np
import pytest
import torch

from ohlora_gan.__main__ import main
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.options import read_bounds
from tests import tiny


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    networks = {"one": tiny.generator(split=False), "two": tiny.generator(seed=5)}
    made = [checkpoint.save(folder / f"{name}.safetensors", {"generator": net}) for name, net in networks.items()]
    filters = [tiny.filter_ensemble("gender"), tiny.filter_ensemble("hat", seed=6)]
    made += [checkpoint.save(folder / f"filter_{f.name}.safetensors", {f.name: f}) for f in filters]
    return [str(path) for path in made]


def test_the_table_is_that_of_fresh_images(files, tmp_path, capsys):
    one, two, gender, hat = files
    assert (
        main(["filter-means", one, two, "--filter", gender, "--filter", hat, "--n", "60", "--output", str(tmp_path)])
        == 0
    )
    with (tmp_path / "filter_means.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["generator"], row["filter"]) for row in rows] == [
        (name, column) for name in (one, two) for column in ("gender", "hat", "all")
    ]
    ensemble = tiny.filter_ensemble("hat", seed=6)
    ensemble.property_names = ("hat",)
    space = FaceSpace(tiny.generator(seed=5), ensemble, quantize=True)
    with torch.no_grad():
        scores = space.score_codes(W(), space.codes(W(), *space.latents("filter_means", range(60))))
    assert float(rows[4]["mean"]) == pytest.approx(np.mean(scores), abs=1e-4)
    assert (rows[0]["bound"], rows[4]["bound"], rows[0]["n"]) == (">=0.92", "", "60")
    assert capsys.readouterr().out == (tmp_path / "filter_means.md").read_text() + f"\nwritten: {tmp_path}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "0"], "n is 0, expected at least 1"),
        (["--require", "hat"], "expected a bound in quotes such as 'gender>=0.92'"),
        (["--require", "cap>=0.5"], "bound for 'cap', but the filters given judge gender"),
        (["--filter", "filter_none"], "'filter_none' does not exist"),
    ],
)
def test_mistakes_end_in_one_sentence(files, arguments, message, capsys):
    assert main(["filter-means", files[0], "--filter", files[2], *arguments]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert message in error[-1]


def test_bounds_of_the_command_line():
    assert read_bounds(["gender>=0.9", "age <0.1"]) == {"gender": ">=0.9", "age": "<0.1"}
    with pytest.raises(ValueError, match=r"'>=0\.9'"):
        read_bounds(["age<=0.1", ">=0.9"])
