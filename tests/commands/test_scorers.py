import csv

import numpy as np
import pytest

from ohlora_gan.__main__ import main
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.names import PROPERTIES
from tests import tiny


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    networks = {"a": tiny.scorer(), "b": tiny.scorer(seed=8)}
    made = [checkpoint.save(folder / f"{name}.safetensors", {"scorer": net}) for name, net in networks.items()]
    generator = checkpoint.save(folder / "g.safetensors", {"generator": tiny.generator()})
    return [str(path) for path in (*made, generator)]


def test_agreement_of_two_scorers(files, tmp_path, capsys):
    a, b, generator = files
    assert main(["scorers", a, b, "--generator", generator, "--n", "60", "--output", str(tmp_path)]) == 0
    with (tmp_path / "agreement.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["property"] for row in rows] == list(PROPERTIES)
    scores = []
    for seed in (2, 8):
        space = FaceSpace(tiny.generator(), tiny.scorer(seed), quantize=True)
        scores.append(space.score_codes(W(), space.codes(W(), *space.latents("scorers", range(60)))))
    want = [np.corrcoef(x, y)[0, 1] for x, y in zip(scores[0].T, scores[1].T, strict=True)]
    np.testing.assert_allclose([float(row["pearson"]) for row in rows], want, atol=1e-3)
    assert capsys.readouterr().out == (tmp_path / "agreement.md").read_text() + f"\nwritten: {tmp_path}\n"


def test_a_scorer_agrees_with_itself(files, tmp_path):
    a, _, generator = files
    assert main(["scorers", a, a, "--generator", generator, "--n", "20", "--output", str(tmp_path)]) == 0
    with (tmp_path / "agreement.csv").open() as file:
        assert all(float(row["r2_after_line"]) == pytest.approx(1) for row in csv.DictReader(file))


def test_mistakes_end_in_one_sentence(files, tmp_path, capsys):
    a, b, generator = files
    assert main(["scorers", a, "none", "--generator", generator]) == 2
    assert "error: checkpoint 'none' does not exist" in capsys.readouterr().err
    assert main(["scorers", a, b, "--generator", generator, "--n", "5"]) == 2
    assert "at least 10 images, got 5" in capsys.readouterr().err
    assert main(["scorers", a, "property_cnn", "--generator", generator, "--n", "20"]) == 2
    assert "images of one size in pixels" in capsys.readouterr().err
