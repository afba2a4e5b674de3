"""Attributes of one's own by config alone: pictures and a CSV in, a network that knows its attributes out."""

import csv
import json

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from test_configs import composed

from ohlora_gan.models import checkpoint
from ohlora_gan.pipelines.checks import check_train, filter_attributes
from ohlora_gan.pipelines.train import train

SMALL = [
    *("resolution=32", "model.batch_size=8", "model.module.net.width=2", "trainer.max_epochs=1"),
    *("trainer.enable_progress_bar=false", "data=image_folder"),
]


@pytest.fixture
def pictures(tmp_path):
    """40 pictures; ``glow`` is their brightness, ``dark`` whether that is under a half."""
    rows = []
    for i, value in enumerate(np.random.default_rng(0).integers(0, 256, 40)):
        Image.new("RGB", (32, 32), (int(value),) * 3).save(tmp_path / f"{i:02d}.png")
        rows.append([f"{i:02d}.png", value / 255, int(value < 128)])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "glow", "dark"), *rows])
    return tmp_path


def config(pictures, *overrides):
    paths = [f"data.folder={pictures}", f"data.labels={pictures / 'labels.csv'}"]
    return composed("train", *SMALL, *paths, *overrides, tmp_path=pictures / "run")


def test_a_column_becomes_a_regressor(pictures):
    boxes = "model.module.net.boxes={glow: [0,16,0,16]}"
    train(config(pictures, "model=attribute_cnn", "data.attributes=[glow]", boxes))
    saved = checkpoint.load(pictures / "run" / "model.safetensors")
    scorer = saved.build("scorer")
    assert scorer.property_names == ("glow",)
    assert scorer.config["boxes"] == {"glow": [0, 16, 0, 16]}
    assert saved.info["data"]["attribute_names"] == ["glow"]
    assert 0.3 < saved.info["data"]["normalization"]["mean"]["glow"] < 0.7
    assert "test/r2/glow" in json.loads((pictures / "run" / "metrics.json").read_text())


def test_what_no_regressor_can_learn_is_said_before_anything_is_trained(pictures):
    with pytest.raises(ValueError, match="use model=filter_cnn attribute=dark"):
        train(config(pictures, "model=attribute_cnn"))
    with pytest.raises(ValueError, match="use model=attribute_cnn"):
        train(config(pictures, "model=property_cnn", "data.attributes=[glow]"))
    with pytest.raises(ValueError, match=r"give data\.labels=FILE\.csv"):
        train(config(pictures, "model=attribute_cnn", "data.labels=null"))
    assert not (pictures / "run" / "model.safetensors").exists()


def test_a_filter_picks_its_attribute_among_those_of_the_data():
    cfg = composed("train", "model=filter_cnn", "data=celeba", "data.folder=x", "attribute=gender")
    check_train(cfg)
    assert filter_attributes(cfg) == {"gender": "not Male"}
    assert filter_attributes(composed("train", "model=filter_cnn", "attribute=dark")) == ["dark"]
    cfg.model.auxiliary = ["Smiling", "age"]
    assert filter_attributes(cfg) == {"gender": "not Male", "Smiling": "Smiling", "age": "not Young"}


def test_celebas_attributes_can_be_replaced_by_a_list_or_a_mapping():
    def attributes(*overrides):
        cfg = composed("train", "data=celeba", "data.folder=x", *overrides)
        return OmegaConf.to_container(cfg.data, resolve=True)["attributes"]

    assert attributes()["quality"] == "not Blurry"
    assert attributes("data.attributes=[Smiling,Young]") == ["Smiling", "Young"]
    assert attributes("data.attributes={serious: not Smiling}") == {"serious": "not Smiling"}


PHOTO_FILTER = [
    *("model=filter_cnn_photo", "attribute=dark", "model.folds.num_folds=2", "data.num_val=0", "data.num_test=8")
]


def test_a_filter_learns_other_columns_beside_its_own(pictures):
    rows = list(csv.DictReader((pictures / "labels.csv").open()))
    with (pictures / "labels.csv").open("w", newline="") as file:
        table = [[r["file"], r["glow"], r["dark"], int(float(r["glow"]) > 0.7)] for r in rows]
        csv.writer(file).writerows([("file", "glow", "dark", "bright"), *table])
    train(config(pictures, *PHOTO_FILTER, "model.auxiliary=[bright]"))
    saved = checkpoint.load(pictures / "run" / "model.safetensors")
    assert not [key for key in saved.tensors["dark"] if "auxiliary" in key]
    assert "test/auroc" in json.loads((pictures / "run" / "metrics.json").read_text())
    with pytest.raises(ValueError, match="attribute=glow takes values such as"):
        train(config(pictures, *PHOTO_FILTER, "model.auxiliary=[glow]"))


@pytest.mark.parametrize("key", ["lr", "auxiliary_weight", "augmentation"])
def test_a_filters_numbers_are_numbers(key):
    with pytest.raises(ValueError, match=rf"model\.module\.{key} is 'abc', expected a number"):
        check_train(composed("train", *PHOTO_FILTER, f"model.module.{key}=abc"))


@pytest.mark.parametrize(
    ("auxiliary", "message"),
    [
        ("dark", r"model\.auxiliary is 'dark', expected a list"),
        ("[bright,dark]", "names the filter's own attribute=dark"),
        ("[bright,bright]", "names bright twice"),
        ("[1]", r"model\.auxiliary is \[1\], expected a list"),
    ],
)
def test_auxiliary_attributes_are_checked(auxiliary, message):
    with pytest.raises(ValueError, match=message):
        check_train(composed("train", *PHOTO_FILTER, f"model.auxiliary={auxiliary}"))
