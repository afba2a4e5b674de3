import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ohlora_gan.data.datamodules import GeneratedDataModule
from ohlora_gan.latents.bank import ImageBank, read_image
from ohlora_gan.models import checkpoint
from ohlora_gan.names import PROPERTIES
from tests import tiny
from tests.conftest import PROJECT


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(ImageBank, "shard", 20)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of a tiny generator, scorer and two filters."""
    folder = tmp_path_factory.mktemp("weights")
    networks = {"generator": tiny.generator(), "scorer": tiny.scorer()}
    networks |= {name: tiny.filter_ensemble(name, seed) for seed, name in enumerate(("gender", "glass"))}
    return {name: checkpoint.save(folder / f"{name}.safetensors", {name: net}) for name, net in networks.items()}


def module(weights, tmp_path, **changes):
    options = {
        "checkpoint": weights["generator"],
        "scorer": weights["scorer"],
        "filters": [weights["gender"], weights["glass"]],
        "num_generated": 50,
        "require": {},
        "resolution": 32,
        "num_val": 6,
        "num_test": 4,
        "cache_dir": tmp_path / "cache",
    }
    return GeneratedDataModule(**(options | changes))


def halves(weights, tmp_path):
    """Bounds that keep about half of the images each."""
    data = module(weights, tmp_path)
    bank, filters = data.open_bank()
    medians = np.median(bank.scores(50)[:, :2], axis=0)
    return dict(zip(filters, [f">={medians[0]:.9f}", f"<={medians[1]:.9f}"], strict=True))


def test_every_item_is_a_kept_image_with_its_scores(weights, tmp_path):
    data = module(weights, tmp_path, require=halves(weights, tmp_path))
    assert data.labelled
    assert data.attribute_names == PROPERTIES
    bank, _ = data.open_bank()
    all_scores = bank.scores(50)
    bounds = [float(text[2:]) for text in data.require.values()]
    kept = np.flatnonzero((all_scores[:, 0] >= bounds[0]) & (all_scores[:, 1] <= bounds[1]))
    parts = [data.dataset(split) for split in ("val", "test", "train")]
    assert [len(part) for part in parts] == [6, 4, len(kept) - 10]
    assert np.concatenate([part.indices for part in parts]).tolist() == kept.tolist()
    for part in parts:
        assert np.array_equal(part.scores, all_scores[part.indices, 2:])
        image, scores = part[1]
        assert image.dtype == torch.float32
        pixels = read_image(bank.folder, int(part.indices[1]))
        assert np.array_equal(((image.permute(1, 2, 0).numpy() + 1) * 127.5).round(), pixels)
        assert np.array_equal(scores.numpy(), part.scores[1])


def test_more_images_keep_every_image_in_its_split(weights, tmp_path):
    small = module(weights, tmp_path)
    large = module(weights, tmp_path, num_generated=75)
    for split in ("val", "test"):
        assert np.array_equal(small.dataset(split).indices, large.dataset(split).indices)
    assert set(small.dataset("train").indices) < set(large.dataset("train").indices)


def test_the_summary_says_what_the_filters_did(weights, tmp_path, caplog):
    caplog.set_level("INFO")
    data = module(weights, tmp_path, require=halves(weights, tmp_path), summary=tmp_path / "run" / "generated.json")
    data.prepare_data()
    found = json.loads((tmp_path / "run" / "generated.json").read_text())
    scores = data.open_bank()[0].scores(50)
    kept = np.concatenate([data.dataset(split).indices for split in ("val", "test", "train")])
    assert (found["generated"], found["kept"], found["share"]) == (50, len(kept), len(kept) / 50)
    for i, name in enumerate(("gender", "glass")):
        assert found["filters"][name]["mean_before"] == pytest.approx(scores[:, i].mean(), abs=1e-6)
        assert found["filters"][name]["mean_after"] == pytest.approx(scores[kept, i].mean(), abs=1e-6)
        assert found["filters"][name]["share_within"] == pytest.approx(0.5, abs=0.03)
    assert f"{len(kept)} of 50 generated images are kept" in caplog.text


def test_no_image_within_the_bounds(weights, tmp_path):
    data = module(weights, tmp_path, require={"gender": ">=0", "glass": ">1"})
    with pytest.raises(ValueError, match=r"0 of 50 .*100\.0% are >=0.*0\.0% are >1.*loosen data\.require"):
        data.prepare_data()


def test_too_few_for_the_splits(weights, tmp_path):
    with pytest.raises(ValueError, match=r"expected more than data\.num_val \+ data\.num_test = 50"):
        module(weights, tmp_path, num_val=40, num_test=10).dataset("train")


def test_a_bound_without_its_filter(weights, tmp_path):
    data = module(weights, tmp_path, filters=[], require={"gender": ">=0.9"})
    with pytest.raises(
        ValueError, match=r"data\.require has a bound for 'gender', but the filters given judge nothing"
    ):
        data.dataset("train")


def test_without_bounds_the_published_ones_of_the_given_filters_hold(weights, tmp_path):
    smiling = checkpoint.save(tmp_path / "smiling.safetensors", {"smiling": tiny.filter_ensemble("smiling", 2)})
    for require in (None, {"glass": "<=0.01"}):
        data = module(weights, tmp_path, filters=[weights["glass"], smiling], require=require)
        with pytest.raises(ValueError, match=r"0 of 50 .*<=0\.01"):
            data.prepare_data()


def test_own_bounds_are_given_on_the_command_line():
    own = "data.require={smiling: '>=0.5'}"
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("train", overrides=["data=generated", "data.checkpoint=v1", own])
    assert dict(cfg.data.require) == {"smiling": ">=0.5"}


def test_another_resolution(weights, tmp_path):
    with pytest.raises(ValueError, match=r"resolution is 64.*32 pixels: set resolution=32"):
        module(weights, tmp_path, resolution=64).dataset("train")


def test_loaders_deal_batches_and_mirror_for_training_alone(weights, tmp_path):
    data = module(weights, tmp_path, batch_size=4, mirror=True)
    assert sum(len(scores) for _, scores in data.train_dataloader()) == 80
    assert len(data.val_dataloader()) == 1
    with pytest.raises(ValueError, match=r"num_test is 3.*batches of 4: set data\.num_test"):
        module(weights, tmp_path, batch_size=4, num_test=3).test_dataloader()
    both, once = data.training_data(), data.dataset("train")
    image, scores = both[len(once) + 2]
    assert torch.equal(image, once[2][0].flip(2))
    pose = PROPERTIES.index("pose")
    assert scores[pose] == -once[2][1][pose]
    assert scores[0] == once[2][1][0]
    with pytest.raises(ValueError, match=r"mirror_signs\.mouth=0"):
        module(weights, tmp_path, mirror=True, mirror_signs={"mouth": 0}).training_data()


def test_preparing_leaves_the_global_generator_alone(weights, tmp_path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    data = module(weights, tmp_path)
    assert data.attribute_names
    data.prepare_data()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_config_makes_it(weights, tmp_path):
    given = [f"data.checkpoint={weights['generator']}", f"scorer={weights['scorer']}", "resolution=32"]
    bounds = ["data.filters=[]", "data.num_generated=20"]
    folders = [f"paths.output_dir={tmp_path}", f"data.cache_dir={tmp_path}/cache", "data.num_val=2", "data.num_test=2"]
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("train", overrides=["data=generated", "model=finetune_v1", *given, *bounds, *folders])
    data = instantiate(cfg.data)
    data.prepare_data()
    assert len(data.dataset("train")) == 16
    assert data.batch_size == cfg.model.batch_size
    assert (tmp_path / "generated.json").is_file()


def test_faces_need_a_scorer(weights, tmp_path):
    with pytest.raises(ValueError, match=r"data\.scorer is null, expected .+: give data\.scorer=property_cnn"):
        module(weights, tmp_path, scorer=None)
