"""Filters by name: files of ours, and the folds of others."""

import pytest
import torch

from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.filters import ReferenceFilterCNN
from tests import tiny
from tests.models.test_filters_256 import images


def test_ensembles_keep_the_order_of_their_names(tmp_path):
    saved = {name: tiny.filter_ensemble(name) for name in ("lips", "age")}
    paths = [checkpoint.save(tmp_path / f"{name}.safetensors", {name: net}) for name, net in saved.items()]
    found = zoo.open_filters(reversed(paths))
    assert list(found) == ["age", "lips"]
    for name, net in found.items():
        assert not net.training
        assert not any(p.requires_grad for p in net.parameters())
        assert torch.equal(net(images(2, 32)), saved[name](images(2, 32)))


def test_foreign_folds_are_an_ensemble(tmp_path):
    folds = []
    for i in range(2):
        torch.manual_seed(i)
        folds.append(ReferenceFilterCNN("glass").eval())
        torch.save(folds[i].state_dict(), tmp_path / f"glass_{i}.pth")
    (tmp_path / "notes.txt").write_text("two folds")
    found = zoo.open_filters([tmp_path])
    x = images(2, 256)
    expected = sum(fold(x).sigmoid() for fold in folds) / 2
    assert list(found) == ["glass"]
    torch.testing.assert_close(found["glass"](x), expected)
    alone = zoo.open_filters([tmp_path / "glass_1.pth"])["glass"]
    torch.testing.assert_close(alone(x), folds[1](x).sigmoid())


@pytest.mark.parametrize("name", ["gender", "quality", "age", "glass"])
def test_a_foreign_fold_is_told_by_its_shapes(tmp_path, name):
    torch.save(ReferenceFilterCNN(name).state_dict(), tmp_path / "fold.pt")
    assert list(zoo.open_filters([tmp_path / "fold.pt"])) == [name]


def test_what_is_no_filter_is_refused(tmp_path):
    scorer = checkpoint.save(tmp_path / "scorer.safetensors", {"scorer": tiny.scorer()})
    with pytest.raises(CheckpointError, match=r"holds \['scorer'\], expected a filter ensemble"):
        zoo.open_filters([scorer])
    one = checkpoint.save(tmp_path / "one.safetensors", {"age": tiny.filter_ensemble("age")})
    with pytest.raises(CheckpointError, match="a second filter of 'age'"):
        zoo.open_filters([one, one])
    with pytest.raises(CheckpointError, match=r"is a folder without weights: expected a run folder"):
        zoo.open_filters([tmp_path])
    for name in ("age", "glass"):
        torch.save(ReferenceFilterCNN(name).state_dict(), tmp_path / f"{name}.pth")
    with pytest.raises(CheckpointError, match="folds of age, glass"):
        zoo.open_filters([tmp_path])
    with pytest.raises(CheckpointError, match="does not exist"):
        zoo.open_filters(["filter_none"])
    state = ReferenceFilterCNN("age").state_dict()
    state.pop("conv1.0.bias")
    torch.save(state, tmp_path / "age.pth")
    with pytest.raises(CheckpointError, match="no known filter"):
        zoo.open_filters([tmp_path / "age.pth"])


@pytest.mark.parametrize(
    ("use", "name", "words"),
    [
        (zoo.open_generator, "truth", "'truth' holds a truth network, expected a generator: .*pretrain, v1, v9"),
        (zoo.open_generator, "filter_age", "'filter_age' holds a filter network, expected a generator"),
        (zoo.open_scorer, "v9", "'v9' holds a generator network, expected a scorer: .*property_cnn"),
    ],
)
def test_networks_of_another_kind_are_named(use, name, words):
    with pytest.raises(CheckpointError, match=words):
        use(name)


@pytest.mark.parametrize(
    ("typed", "meant"), [("landmark", "landmarks"), ("trut", "truth"), ("property_cn", "property_cnn")]
)
def test_whatever_scores_or_judges_is_suggested(typed, meant):
    with pytest.raises(
        CheckpointError, match=rf"does not exist: did you mean {meant}\? give a file's path or a shipped"
    ):
        zoo.open_scorer(typed)


def test_a_folder_of_the_same_name_does_not_hide_a_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v9").mkdir()
    assert zoo.resolve("v9", "generator") == zoo.ASSETS / "v9.safetensors"
