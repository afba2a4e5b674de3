"""Scorers of the user's own, by ``package.module:factory``: what they are taken for, and who takes them."""

import logging

import numpy as np
import pytest

import ohlora_gan as og
from ohlora_gan.__main__ import main
from ohlora_gan.directions.files import load_directions
from ohlora_gan.directions.linear import RidgeFinder
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FIND, FaceSpace, score_jacobian
from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.checkpoint import CheckpointError, weights_hash
from ohlora_gan.models.wrapped import WrappedScorer
from ohlora_gan.options import Distilling
from ohlora_gan.pipelines import distill
from ohlora_gan.pipelines import find_vectors as program
from ohlora_gan.pipelines.runs import SpaceSettings
from tests import tiny
from tests.test_configs import composed

OWN = '''
import hashlib
import numpy as np
import torch
from torch import nn

class Colours(nn.Module):
    """Differentiable: how bright a picture is, and how much brighter its upper half is."""
    property_names = ("bright", "sky")
    def forward(self, images):
        rows = images.mean(dim=(1, 3))
        half = rows.shape[1] // 2
        return torch.stack([7 + rows.mean(dim=1) / 100, rows[:, :half].mean(dim=1) - rows[:, half:].mean(dim=1)], dim=1)

def scorer():
    return Colours()

class Counted:
    """Numbers of numpy, of pictures that are not too dark; and one that no network can foretell."""
    property_names = ("bright", "sky", "luck")
    def __call__(self, images):
        pictures = images.numpy()
        rows = pictures.mean(axis=(1, 3))
        half = rows.shape[1] // 2
        luck = [hashlib.sha256(picture.tobytes()).digest()[0] for picture in pictures]
        table = np.stack([rows.mean(axis=1), rows[:, :half].mean(axis=1) - rows[:, half:].mean(axis=1), luck], axis=1)
        table[rows.mean(axis=1) < DARK, 0] = np.nan
        return table

DARK = -0.6
counted = Counted()

def ready(images): return [[float(i)] for i in range(len(images))]
ready.property_names = ["number"]

def made(table, names=("a", "b")):
    def score(images): return table(len(images))
    score.property_names = names
    return score
def narrow(): return made(lambda n: np.zeros((n, 3)))
def infinite(): return made(lambda n: np.full((n, 2), np.inf))
def nameless(): return lambda images: images
def twice(): return made(lambda n: np.zeros((n, 2)), ("a", "a"))
def constant(): return made(lambda n: np.ones((n, 2)))
def blind(): return made(lambda n: np.full((n, 2), np.nan))
'''


@pytest.fixture(autouse=True)
def own(own_module, tmp_path):
    """A scorer of the user's, and a generator."""
    own_module("own_scores", OWN)
    checkpoint.save(tmp_path / "g.safetensors", {"generator": tiny.generator(label_dim=0, split=False)})


def space(scorer, **settings) -> FaceSpace:
    return FaceSpace(tiny.generator(label_dim=0, split=False), zoo.open_scorer(scorer), **settings)


@pytest.mark.parametrize(("name", "differentiable"), [
    ("own_scores:scorer", True), ("own_scores:Colours", True),
    ("own_scores:counted", False), ("own_scores:ready", False),
])  # fmt: skip
def test_factories_classes_and_functions(name, differentiable):
    scorer = zoo.open_scorer(name)
    assert isinstance(scorer, WrappedScorer)
    assert scorer.differentiable == differentiable


def test_scores_are_in_standard_deviations_over_the_generators_own_pictures():
    plain = space("own_scores:scorer")
    scores = plain.score_codes(W(), plain.w("units", range(300)))
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=0.02)
    other = space("own_scores:scorer", seed=5, truncation_psi=0.5, batch_size=7)
    assert weights_hash(other.scorer) == weights_hash(plain.scorer)  # whatever is made with it, and a batch at a time
    assert weights_hash(space("own_scores:counted").scorer) != weights_hash(plain.scorer)


def test_derivatives_pass_or_end_in_a_sentence():
    plain = space("own_scores:scorer")
    codes = plain.w(FIND, range(3))
    assert np.abs(score_jacobian(plain, W(), codes)[1]).min(axis=2).max() > 0
    with pytest.raises(ValueError, match=r"own_scores:counted has no derivatives.*`ohlora distill --scorer own_scores"):
        score_jacobian(space("own_scores:counted"), W(), codes)
    gan = og.load("g.safetensors", scorer="own_scores:counted")
    with pytest.raises(ValueError, match="ohlora distill"):
        gan.find("mean_jacobian", layer="w", n=40, cache="cache")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("own_scores:nothing", "has no attribute 'nothing', expected a function that makes a network or scorer"),
        ("own_scores:narrow", "makes a table [4, 3] of 4 pictures, expected [4, 2]: a column for each of a, b"),
        ("own_scores:infinite", "makes infinite values"),
        ("own_scores:nameless", "is a function with property_names None, expected a function from pictures"),
        ("own_scores:twice", "whose attribute property_names lists P different names"),
        ("own_scores:constant", "gives all pictures of this generator the same a: leave it out"),
        ("own_scores:blind", "can score 0 of 300 pictures of this generator, expected at least 10"),
    ],
)
def test_what_is_no_scorer_ends_in_a_sentence(name, told):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        space(name).scorer  # noqa: B018
    assert told in str(caught.value)


def test_no_file_can_name_code(tmp_path):
    path = checkpoint.save(tmp_path / "x.safetensors", {"scorer": with_config(zoo.open_scorer("own_scores:scorer"))})
    with pytest.raises(CheckpointError, match="'WrappedScorer' is not known"):
        zoo.open_scorer(path)
    with pytest.raises(
        ValueError, match="the run's scorer own_scores:scorer is code, which no file may start: give it"
    ):
        SpaceSettings.of({"checkpoint": "v9", "scorer": "own_scores:scorer"})
    assert SpaceSettings.of({"checkpoint": "v9", "scorer": "landmarks"}).scorer == "landmarks"  # ours


def with_config(scorer):
    scorer.config = {}
    return scorer


SMALL = ["judge=null", "layer=w", "n=250", "num_calibration=12", "test.num_latents=6", "test.num_saturation=2"]
SMALL += ["strips.num_faces=2", "strips.steps=3", "checkpoint=g.safetensors", "paths.bank_dir=banks"]


def test_lost_pictures_are_left_out_and_counted(tmp_path, caplog):
    """Directions are those of the samples that can be scored; properties and groups need not be named."""
    caplog.set_level(logging.INFO)
    cfg = composed("find_vectors", *SMALL, "scorer=own_scores:counted", "method=ridge", tmp_path=tmp_path / "run")
    assert np.isfinite(program.find_vectors(cfg))
    assert (cfg.properties, cfg.groups) == (["bright", "sky", "luck"], "none")
    assert "faces are not grouped: own_scores:counted does not measure hair_color" in caplog.text
    found, plain = load_directions(tmp_path / "run" / "vectors.safetensors"), space("own_scores:counted")
    scores, codes = plain.score_codes(W(), plain.w(FIND, range(250))), plain.w(FIND, range(250))
    seen = ~np.isnan(scores).any(axis=1)
    assert 10 < seen.sum() < 240
    assert f"{250 - seen.sum()} of 250 samples are left out: the scorer has nothing to say of them" in caplog.text
    expected = RidgeFinder().fit(codes[seen], scores[seen], names=plain.property_names, edited=plain.property_names)
    np.testing.assert_allclose(found.directions, expected.directions_, atol=1e-4)
    assert np.isfinite(found.slopes).all()


def test_a_run_is_edited_and_rescored_with_it(tmp_path, capsys):
    folder = tmp_path / "run"
    program.find_vectors(composed("find_vectors", *SMALL, "scorer=own_scores:counted", "method=ridge", tmp_path=folder))
    words = ["edit", "run", "--set", "bright=+0.5", "--faces", "0,1", "--steps", "3", "--output", "edited"]
    assert main(words) == 2
    assert "own_scores:counted is code, which no file may start" in capsys.readouterr().err
    assert main([*words, "--scorer", "own_scores:counted"]) == 0
    words = ["rescore", "run", "--output", "rescored", "--n", "40", "--scorer", "own_scores:counted"]
    assert main(words) == 0
    assert "bright" in capsys.readouterr().out


def test_a_method_that_differentiates_distils_by_itself(tmp_path, monkeypatch, caplog):
    asked = []

    def distil(generator, scorer, how):
        asked.append((generator, scorer, how))
        figures = {"bright": 0.9, "sky": 0.8, "luck": 0.01}
        told = {name: {"r2": r2, "pearson": r2, "reliability": 1.0} for name, r2 in figures.items()}
        return distill.Distilled(tmp_path / "scorer.safetensors", told)

    monkeypatch.setattr(program, "distil", distil)
    overrides = ["scorer=own_scores:counted", "layer=w", "checkpoint=g.safetensors", "distill.n=700", "seed=3"]
    for method in ("mean_jacobian", "local_jacobian", "closed_loop", "ridge", "svm"):
        cfg = composed("find_vectors", *overrides, f"method={method}")
        program.settle_names(cfg)
        program.distil_scorer(cfg, free=True)
        differentiates = method not in ("ridge", "svm")
        assert cfg.scorer == (str(tmp_path / "scorer.safetensors") if differentiates else "own_scores:counted")
        assert cfg.judge == ("own_scores:counted" if differentiates else "auto")
        assert cfg.properties == ["bright", "sky", *([] if differentiates else ["luck"])]
    how = Distilling(700, 12, 3, "cpu", distill.Path("runs/distilled"))
    assert asked == 3 * [("g.safetensors", "own_scores:counted", how)]
    cfg = composed("find_vectors", *overrides[1:], "scorer=own_scores:scorer", "method=mean_jacobian")
    program.settle_names(cfg)
    program.distil_scorer(cfg, free=True)  # it has derivatives
    assert cfg.scorer == "own_scores:scorer"


def test_the_layer_may_be_left_out(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    cfg, generator = composed("find_vectors"), tiny.generator(label_dim=0, split=False)
    for given, told in ((["checkpoint"], "w"), (["checkpoint", "layer"], None), (["experiment/vectors"], None)):
        monkeypatch.setattr(program, "given_keys", lambda cfg, given=given: given)
        if told:
            assert program.open_layer(cfg.copy(), generator).name == told
            assert "layer=w: layer mapping_split2 needs a generator with a split" in caplog.text
        else:
            with pytest.raises(ValueError, match="mapping_split2 needs a generator with a split"):
                program.open_layer(cfg.copy(), generator)


@pytest.mark.slow
def test_distilled_and_used(tmp_path, capsys):
    """What can be learnt is, what cannot is left out, and the file is a scorer like any other."""
    words = ["distill", "--scorer", "own_scores:counted", "--generator", "g.safetensors", "--n", "1600"]
    assert main([*words, "--epochs", "8", "--output", "kept"]) == 0
    told = capsys.readouterr().out
    assert "| luck |" in told
    assert "cannot be learnt: left out" in told
    (path,) = tmp_path.glob("kept/*/scorer.safetensors")
    assert str(path.relative_to(tmp_path)) in told
    assert main([*words, "--epochs", "8", "--output", "kept"]) == 0  # a second time nothing is trained
    assert capsys.readouterr().out == told
    assert zoo.open_scorer(path).property_names == ("bright", "sky")
    gan = og.load("g.safetensors", scorer=path)
    found = gan.find("mean_jacobian", layer="w", n=60, cache="cache", num_jacobians=40)
    judged = found.judge(by="own_scores:counted", num_latents=20)
    by = judged.judgement.by["own_scores:counted"]
    assert by["corr"]["bright"].value > 0.7
    with pytest.raises(ValueError, match="n is 100, epochs 8, expected at least 500 pictures"):
        distill.distil("g.safetensors", "own_scores:counted", Distilling(100, 8))
