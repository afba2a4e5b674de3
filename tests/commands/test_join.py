"""Several property networks as one scorer."""

import pytest
import torch

from ohlora_gan.__main__ import main
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.models.filters import MeanScorer
from ohlora_gan.models.scorers import PhotoCNN
from ohlora_gan.models.zoo import open_scorer
from tests import tiny

NAMES = ["mouth", "smiling"]


def save(folder, name, seed, units=None, names=NAMES):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = PhotoCNN(names, 32, width=4)
    data = None if units is None else {"normalization": {"mean": {"mouth": units[0]}, "std": {"mouth": units[1]}}}
    return str(checkpoint.save(folder / f"{name}.safetensors", {"scorer": net}, data=data))


def test_scores_come_into_the_units_of_the_first(tmp_path, capsys):
    files = [save(tmp_path, "a", 1, (10.0, 2.0)), save(tmp_path, "b", 2, (13.0, 6.0))]
    out = tmp_path / "joined" / "model.safetensors"
    assert main(["join", *files, "--output", str(out)]) == 0
    assert capsys.readouterr().out == f"the mean of 2 networks scores mouth, smiling: {out}\n"
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    joined, a, b = (open_scorer(name).eval()(images) for name in (out, *files))
    mouths = torch.stack([a[:, 0] * 2 + 10, b[:, 0] * 6 + 13]).mean(dim=0)
    torch.testing.assert_close(joined[:, 0] * 2 + 10, mouths)
    torch.testing.assert_close(joined[:, 1], (a[:, 1] + b[:, 1]) / 2)
    info = checkpoint.load(out).info
    assert info["parents"] == [checkpoint.file_hash(name) for name in files]
    assert info["data"]["normalization"]["std"] == {"mouth": 2.0}


def test_the_joined_scorer_scores_faces_of_a_generator(tmp_path):
    files = [save(tmp_path, name, seed) for seed, name in enumerate("abc")]
    assert main(["join", *files, "--output", str(tmp_path / "all.safetensors")]) == 0
    space = FaceSpace(tiny.generator(), open_scorer(tmp_path / "all.safetensors"))
    parts = [FaceSpace(tiny.generator(), open_scorer(name)) for name in files]
    w = space.w("test", range(4))
    scores = torch.stack([torch.from_numpy(part.score_codes(W(), w)) for part in parts])
    torch.testing.assert_close(torch.from_numpy(space.score_codes(W(), w)), scores.mean(dim=0), atol=1e-5, rtol=1e-5)


def test_mistakes_end_in_one_sentence(tmp_path, capsys):
    known, silent = save(tmp_path, "known", 1, (0.0, 1.0)), save(tmp_path, "silent", 2)
    other = save(tmp_path, "other", 3, names=["eyes"])
    for scorers, words in {
        (known,): "1 scorer is given, expected two or more",
        (known, silent): "silent.safetensors does not say by what its scores were normalised",
        (silent, other): "nets score mouth, smiling at 32 pixels and eyes at 32 pixels: expected the same of all",
    }.items():
        assert main(["join", *scorers, "--output", str(tmp_path / "no.safetensors")]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "no.safetensors").exists()


def test_networks_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match=r"the network 'torch\.nn\.Linear' is not known, expected one of Generator"):
        MeanScorer([{"class": "torch.nn.Linear", "config": {}}])
