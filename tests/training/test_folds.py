"""Folds: how they are split, retrained, kept, taken up again and put together."""

import csv

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.filters import FilterEnsemble, SmallFilterCNN
from ohlora_gan.training import filters as folds
from ohlora_gan.training.filters import FIGURES, CrossValidation, FilterModule, binary_labels

LABELS = np.tile([0, 0, 0, 1, 0], 8)  # 20 % ones


class FakeFit:
    """Stands for a training: attempts have the given validation losses, in order, and weights of their own."""

    def __init__(self, *losses):
        self.losses, self.calls = list(losses), []

    def __call__(self, stream, data, seed):
        self.calls.append((stream, seed))
        torch.manual_seed(len(self.calls))
        module = FilterModule(SmallFilterCNN(resolution=32, width=1), stream=stream)
        loss = self.losses.pop(0)
        for epoch, value in enumerate((loss + 1, loss)):
            figures = {f"{stage}_{name}": 0.5 for stage in ("train", "val") for name in FIGURES}
            module.history.append({"epoch": float(epoch)} | figures | {"val_loss": value})
        module.best = module.history[-1]
        module.best_state = {k: v + 1 for k, v in module.net.state_dict().items()}
        return module


def data(labels=LABELS):
    images = torch.rand(len(labels), 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return TensorDataset(images, torch.tensor(labels)[:, None].float())


def scores(labels=LABELS):
    return np.asarray(labels, dtype=np.float32)[:, None]


def labelled(given=None):
    return folds.Labelled("lips", data(), scores() if given is None else given, 4)


def run(folder, fit, num_folds=2, settings=None, **plan):
    return folds.run_folds(CrossValidation(num_folds, **plan), labelled(), fit, folder, settings or {"lr": 1.0})


def test_folds_are_stratified_and_disjoint():
    parts = CrossValidation(4).split(LABELS)
    assert sorted(np.concatenate([val for _, val in parts])) == list(range(40))
    for train, val in parts:
        assert sorted([*train, *val]) == list(range(40))
        assert LABELS[val].sum() == 2
        assert LABELS[train].sum() == 6
    again, other = CrossValidation(4).split(LABELS), CrossValidation(4, seed=1).split(LABELS)
    assert all((a[1] == b[1]).all() for a, b in zip(parts, again, strict=True))
    assert any(list(a[1]) != list(b[1]) for a, b in zip(parts, other, strict=True))


def test_a_fold_is_retrained_until_it_is_good_enough(caplog):
    fit = FakeFit(0.5, 0.4, 0.3, 0.1)
    fold = CrossValidation(threshold=0.3, max_attempts=5).run_fold(1, folds.FoldData(labelled(), [0], [1]), fit)
    assert [stream for stream, _ in fit.calls] == [f"fold_1/attempt_{i}" for i in range(3)]
    assert len({seed for _, seed in fit.calls}) == 3
    assert (fold.best["attempt"], fold.best["epoch"], fold.best["val_loss"]) == (2, 1, 0.3)
    assert [row["val_loss"] for row in fold.rows] == [1.5, 0.5, 1.4, 0.4, 1.3, 0.3]
    assert fold.meets(0.3)
    assert not caplog.messages


def test_the_best_of_too_few_attempts_is_kept_with_a_warning(caplog):
    torch.manual_seed(2)
    second = SmallFilterCNN(resolution=32, width=1).state_dict()
    fold = CrossValidation(threshold=0.3, max_attempts=3).run_fold(
        0, folds.FoldData(labelled(), [0], [1]), FakeFit(0.6, 0.4, 0.5)
    )
    assert fold.best["attempt"] == 1
    assert not fold.meets(0.3)
    assert caplog.messages == [
        "fold 0: the best of 3 attempts has a validation loss of 0.400, above the threshold of 0.3"
    ]
    assert all(torch.equal(value, second[key] + 1) for key, value in fold.net.state_dict().items())


def test_without_a_threshold_there_is_one_attempt(caplog):
    fit = FakeFit(0.9, 0.1)
    assert CrossValidation().run_fold(0, folds.FoldData(labelled(), [0], [1]), fit).best["val_loss"] == 0.9
    assert len(fit.calls) == 1


def test_finished_folds_are_kept_and_taken_up_again(tmp_path):
    whole = run(tmp_path / "whole", FakeFit(0.1, 0.2, 0.3), 3)
    cut = tmp_path / "cut"
    with pytest.raises(IndexError):  # the third fold fails
        run(cut, FakeFit(0.1, 0.2), 3)
    assert sorted(path.name for path in cut.iterdir()) == ["fold_0.safetensors", "fold_1.safetensors", "folds.csv"]
    fit = FakeFit(0.3)
    again = run(cut, fit, 3)
    assert [stream for stream, _ in fit.calls] == ["fold_2/attempt_0"]
    assert [fold.rows for fold in again] == [fold.rows for fold in whole]
    assert (cut / "folds.csv").read_text() == (tmp_path / "whole" / "folds.csv").read_text()
    state = whole[1].net.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again[1].net.state_dict().items())
    with (cut / "folds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["fold"], row["attempt"], row["epoch"]) for row in rows] == [
        (str(fold), "0", str(epoch)) for fold in range(3) for epoch in range(2)
    ]


def test_folds_of_other_settings_are_refused(tmp_path):
    run(tmp_path, FakeFit(0.1, 0.2))
    with pytest.raises(CheckpointError, match=r"fold_0.safetensors was made with lr=1.0, now lr=2.0: give another"):
        run(tmp_path, FakeFit(), settings={"lr": 2.0})


def test_items_without_a_label_take_no_part(tmp_path):
    given, seen = scores(), []
    given[:10] = np.nan

    def fit(stream, parts, seed):
        train, val = parts.loaders(seed)
        assert (train.batch_size, val.batch_size, train.sampler.seed) == (4, 8, seed)
        seen.append([sorted(loader.dataset.indices) for loader in (train, val)])
        assert parts.base_rate == pytest.approx(0.2)
        return FakeFit(0.1)(stream, parts, seed)

    folds.run_folds(CrossValidation(3), labelled(given), fit, tmp_path, {})
    for train, val in seen:
        assert sorted(train + val) == list(range(10, 40))


def test_labels_are_zero_or_one():
    known, labels = binary_labels(np.array([[1], [np.nan], [0]], np.float32), "lips")
    assert (known.tolist(), labels.tolist()) == ([0, 2], [1, 0])
    with pytest.raises(ValueError, match=r"attribute=lips takes values such as 0\.5, expected 0 and 1"):
        binary_labels(np.array([[1], [0.5]], np.float32), "lips")
    with pytest.raises(ValueError, match="3 of 40 training pictures are labelled 1, expected at least 5"):
        CrossValidation().split(np.arange(40) < 3)
    for options in ({"num_folds": 1}, {"max_attempts": 0}):
        with pytest.raises(ValueError, match="expected at least"):
            CrossValidation(**options)


def test_the_ensemble_and_its_figures(tmp_path):
    done = run(tmp_path, FakeFit(0.1, 0.4), threshold=0.3, max_attempts=1)
    ensemble = FilterEnsemble.of([fold.net for fold in done], "lips")
    x = data().tensors[0]
    with torch.no_grad():
        expected = (done[0].net(x).sigmoid() + done[1].net(x).sigmoid()) / 2
        torch.testing.assert_close(ensemble(x), expected)
    given = scores()
    given[:5] = np.nan
    figures = folds.evaluate(ensemble, data(), given, torch.device("cpu"))
    truth = torch.tensor(LABELS[5:]).float()
    loss = torch.nn.functional.binary_cross_entropy(expected[5:], truth)
    assert figures["test/loss"] == pytest.approx(loss.item(), abs=1e-6)
    assert figures["test/base_rate"] == pytest.approx(0.2)
    assert figures["test/accuracy"] == pytest.approx(((expected[5:] > 0.5) == truth).float().mean().item())
    means = folds.summary(done, 0.3)
    assert means["val/loss"] == pytest.approx(0.25)
    assert means["folds_at_threshold"] == 1
    table = folds.format_folds(done, 0.3).splitlines()
    assert table[1].split()[-1] == "met"
    assert table[2].split()[-1] == "missed"
    saved = checkpoint.save(tmp_path / "model.safetensors", {"lips": ensemble})
    assert checkpoint.load(saved).build("lips").name == "lips"
