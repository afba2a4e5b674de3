"""Sample grids, and the means of what property network and filters say of a GAN's images."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_gan import rng
from ohlora_gan.files import grid
from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.gan import from_uint8, to_uint8
from ohlora_gan.names import PROPERTIES
from ohlora_gan.training.callbacks import LastCheckpoint, SampleGrid, ScoreMeans, draw_images, open_panel
from tests import tiny
from tests.training.test_callbacks import Fail, Pictures
from tests.training.tiny_training import Record, fit, gan, state

pytestmark = pytest.mark.filterwarnings("ignore")


# ---------------------------------------------------------------------- samples


def expected_images(module, seed, stream, n):
    """uint8 images from the state of a module, drawn one at a time."""
    g, images = module.sampling_generator, []
    for i in range(n):
        z, label = (rng.normal(seed, f"{stream}/{k}", [i], d) for k, d in (("z", g.z_dim), ("label", g.label_dim)))
        with torch.no_grad():
            images.append(to_uint8(g(z, label if g.label_dim else None)))
    return torch.cat(images)


@pytest.mark.parametrize(("label_dim", "ema"), [(7, 0.0), (0, 8.0)])
def test_sample_grid(tmp_path, label_dim, ema):
    module, logger = gan(label_dim, ema_images=ema), Pictures()
    first = grid(expected_images(module, 5, "samples", 6).numpy(), 3)
    fit(tmp_path, module, [SampleGrid(tmp_path, 2, 6, 3, seed=5, batch_size=4)], logger=logger)
    names = [f"batch_00000{step}.png" for step in (0, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == names
    pictures = [np.asarray(Image.open(tmp_path / "samples" / name)).astype(int) for name in names]
    last = grid(expected_images(module, 5, "samples", 6).numpy(), 3).astype(int)
    assert abs(pictures[0] - first).max() <= 1  # rounding differs with the batch size
    assert abs(pictures[2] - last).max() <= 1
    assert abs(pictures[2] - first).max() > 1
    assert [(name, step) for name, step, _ in logger.pictures] == [("samples", step) for step in (0, 2, 3)]
    assert all((a == b).all() for a, (_, _, b) in zip(pictures, logger.pictures, strict=True))


def test_a_resumed_run_draws_no_first_grid(tmp_path):
    fit(tmp_path, gan(), [LastCheckpoint(tmp_path)])
    again = tmp_path / "again"
    fit(again, gan(), [SampleGrid(again, 2, 1)], ckpt_path=tmp_path / "last.ckpt", max_epochs=2)
    assert sorted(path.name for path in (again / "samples").iterdir()) == ["batch_000004.png", "batch_000006.png"]


def test_drawing_leaves_modes_alone():
    module = gan()
    module.generator.synthesis.layer1.eval()
    before = [m.training for m in module.modules()]
    seen = []
    module.generator.synthesis.register_forward_pre_hook(lambda m, args: seen.append(m.training))
    draw_images(module, 0, "samples", range(5), 2)
    assert seen == [False] * 3
    assert [m.training for m in module.modules()] == before


@pytest.fixture(scope="module")
def scorer_file(tmp_path_factory):
    return checkpoint.save(tmp_path_factory.mktemp("scorer") / "tiny.safetensors", {"scorer": tiny.scorer()})


def test_drawing_and_scoring_do_not_change_training(tmp_path, scorer_file):
    """Same weights, w_avg and global random numbers with and without."""
    results = []
    for callbacks in ([], [SampleGrid(tmp_path, 1, 3), ScoreMeans(tmp_path, scorer_file, 1, 4)]):
        module = gan(ema_images=8.0)
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        fit(tmp_path, module, callbacks)
        results.append((state(module), torch.rand(3), np.random.random(3)))  # noqa: NPY002
    (plain, torch_numbers, numpy_numbers), (other, torch_again, numpy_again) = results
    assert all(torch.equal(plain[name], other[name]) for name in plain)
    assert torch.equal(torch_numbers, torch_again)
    assert (numpy_numbers == numpy_again).all()


# ---------------------------------------------------------------------- property means


def rows(folder):
    with (folder / "train_log.csv").open() as file:
        return list(csv.DictReader(file))


def test_property_means(tmp_path, scorer_file):
    module, record, logger = gan(), Record(), Pictures()
    fit(tmp_path, module, [ScoreMeans(tmp_path, scorer_file, 3, 6, seed=4, batch_size=4), record], logger=logger)
    figures = record.figures[-1]
    indices = range(3 * 6, 4 * 6)  # samples of batch 3
    images = from_uint8(draw_images(module, 4, "scores", indices, 6))
    scores = tiny.scorer().eval()(images).detach().numpy()
    for k, name in enumerate(PROPERTIES):
        assert figures[f"scores/mean/{name}"] == pytest.approx(scores[:, k].mean(), abs=1e-5)
        assert figures[f"scores/std/{name}"] == pytest.approx(scores[:, k].std(), abs=1e-5)
        assert logger.figures[3][f"scores/mean/{name}"] == figures[f"scores/mean/{name}"]
    row = rows(tmp_path)[-1]
    assert (row["epoch"], row["idx"]) == ("0", "2")
    assert float(row["real_fake_auroc"]) == round(figures["train/auroc"], 4)
    for name in ("d_loss", "g_loss", "d_train_count", "g_train_count", "real_scores_mean", "fake_scores_mean"):
        assert float(row[name]) == round(figures[f"train/{name}"], 4)
    assert float(row["mean_eyes_score"]) == round(figures["scores/mean/eyes"], 4)


def test_the_first_epoch_is_scored_five_times_as_often(tmp_path, scorer_file):
    fit(tmp_path, gan(), [ScoreMeans(tmp_path, scorer_file, 10, 2)], max_epochs=2)
    assert [(row["epoch"], row["idx"]) for row in rows(tmp_path)] == [("0", "0"), ("0", "2"), ("1", "0")]


def test_the_log_outlives_a_kill_and_goes_on_without_doubles(tmp_path, scorer_file):
    def means(folder):
        return ScoreMeans(folder, scorer_file, 1, 2)

    whole, first, second = (tmp_path / name for name in ("whole", "first", "second"))
    fit(whole, gan(), [means(whole)], max_epochs=2)
    assert len(rows(whole)) == 6
    with pytest.raises(RuntimeError, match="broken"):  # two batches after the last checkpoint
        fit(first, gan(), [means(first), LastCheckpoint(first, 100), Fail(6)], max_epochs=2)
    assert rows(first) == rows(whole)[:5]
    for folder in (second, first):  # in a new folder, or in the old one
        fit(folder, gan(), [means(folder)], ckpt_path=first / "last.ckpt", max_epochs=2)
        assert rows(folder) == rows(whole)


@pytest.fixture(scope="module")
def filter_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    nets = {name: tiny.filter_ensemble(name) for name in ("gender", "lip_color")}
    return [checkpoint.save(folder / f"{name}.safetensors", {name: net}) for name, net in nets.items()]


@pytest.mark.parametrize("with_scorer", [False, True])
def test_filters_judge_the_same_images(tmp_path, scorer_file, filter_files, with_scorer):
    module, record, logger = gan(), Record(), Pictures()
    means = ScoreMeans(tmp_path, scorer_file if with_scorer else None, 3, 6, seed=4, filters=filter_files)
    fit(tmp_path, module, [means, record], logger=logger)
    images = from_uint8(draw_images(module, 4, "scores", range(3 * 6, 4 * 6), 6))
    row = rows(tmp_path)[-1]
    for name in ("gender", "lip_color"):
        scores = tiny.filter_ensemble(name).eval()(images).detach()
        assert logger.figures[3][f"scores/mean/{name}"] == pytest.approx(scores.mean().item(), abs=1e-5)
        assert logger.figures[3][f"scores/std/{name}"] == pytest.approx(scores.std(correction=0).item(), abs=1e-5)
        assert float(row[f"mean_{name}_score"]) == pytest.approx(scores.mean().item(), abs=1e-4)
    names = [f"mean_{name}_score" for name in (*(PROPERTIES if with_scorer else ()), "gender", "lip_color")]
    assert list(row)[2:] == [*ScoreMeans.TRAIN_FIGURES, *names]


def test_a_log_goes_on_with_other_scorers(tmp_path, scorer_file, filter_files):
    first, second = tmp_path / "first", tmp_path / "second"
    fit(first, gan(), [ScoreMeans(first, scorer_file, 1, 2), LastCheckpoint(first, 100)])
    means = ScoreMeans(second, None, 1, 2, filters=filter_files[:1])
    fit(second, gan(), [means], ckpt_path=first / "last.ckpt", max_epochs=2)
    old, new = rows(first), rows(second)
    assert list(new[0])[-1] == "mean_gender_score"
    assert "mean_eyes_score" not in new[0]
    assert [row["mean_gender_score"] != "" for row in new] == [False] * 3 + [True] * 3
    assert [row["d_loss"] for row in new[:3]] == [row["d_loss"] for row in old]


def test_filters_that_cannot_be_used_are_refused(tmp_path, scorer_file, filter_files):
    eyes = checkpoint.save(tmp_path / "eyes.safetensors", {"eyes": tiny.filter_ensemble("eyes")})
    with pytest.raises(ValueError, match="both the scorer and a filter score eyes: leave that filter out"):
        open_panel(scorer_file, [eyes], 32)
    with pytest.raises(ValueError, match=r"takes 32x32 images, .* makes 64x64: set filters to .* or to \[\]"):
        open_panel(None, filter_files, 64)


def test_by_default_shipped_filters_of_that_size_judge(monkeypatch, filter_files):
    monkeypatch.setattr(zoo, "shipped_filters", lambda: filter_files)
    assert open_panel(None, None, 32).property_names == ("gender", "lip_color")
    assert open_panel(None, None, 64) is None
    assert open_panel(None, [], 32) is None


def test_a_scorer_of_another_size_is_refused(tmp_path, scorer_file):
    other = gan()
    other.generator.resolution = 64
    with pytest.raises(ValueError, match=r"takes 32x32 images, the generator makes 64x64: set scorer_checkpoint"):
        fit(tmp_path, other, [ScoreMeans(tmp_path, scorer_file)])


def test_without_a_scorer_nothing_is_scored(tmp_path):
    record = Record()
    fit(tmp_path, gan(), [ScoreMeans(tmp_path, None, 1), record])
    assert not (tmp_path / "train_log.csv").exists()
    assert not any(name.startswith("scores/") for name in record.figures[-1])
