"""A model and the data that it is given must fit; the error says what does."""

import re

import numpy as np
import pytest

from ohlora_gan.data.datamodules import FacesDataModule
from ohlora_gan.models.scorers import AttributeCNN, TruthNet
from ohlora_gan.pipelines.checks import check_data
from ohlora_gan.training.scorers import RegressorModule, TruthModule
from tests import tiny
from tests.training.tiny_training import gan


def faces(*attributes):
    return FacesDataModule(resolution=32, num_images=12, batch_size=4, attributes=attributes or None)


def regressor(*names):
    return RegressorModule(AttributeCNN(names, resolution=32, width=2))


def test_what_fits_is_let_through():
    check_data("property_cnn", RegressorModule(tiny.scorer()), faces())
    check_data("attribute_cnn", regressor("lips", "pose"), faces("lips", "pose"))
    check_data("finetune_v1", gan(label_dim=2, label_source="data"), faces("lips", "gender"))
    check_data("finetune_v9", gan(label_dim=7), faces("lips"))  # takes no label from the data


def test_the_property_net_wants_the_eight_properties():
    message = "model=property_cnn scores eyes, .+ but the data have lips: use model=attribute_cnn"
    with pytest.raises(ValueError, match=message):
        check_data("property_cnn", RegressorModule(tiny.scorer()), faces("lips"))


def test_binary_attributes_are_for_filters():
    data = faces("lips", "gender")
    assert np.isin(data.dataset("train").scores[:, 1], (0, 1)).all()
    with pytest.raises(ValueError, match="use model=filter_cnn attribute=gender"):
        check_data("attribute_cnn", regressor("lips", "gender"), data)


def truth(names, binary):
    return TruthModule(TruthNet(names, binary, 32, width=2))


def test_yes_or_no_is_learnt_where_the_network_gives_logits():
    data = faces("lips", "gender")
    check_data("truth", truth(["lips", "gender"], ["gender"]), data)
    with pytest.raises(ValueError, match="gender is binary, which model=truth cannot learn"):
        check_data("truth", truth(["lips", "gender"], []), data)
    with pytest.raises(ValueError, match=r"lips has other values than 0 and 1.+leave it out of model\.module\.net"):
        check_data("truth", truth(["lips", "gender", "pose"], ["lips", "gender"]), faces("lips", "gender", "pose"))
    with pytest.raises(ValueError, match=r"nothing but yes or no to learn \(gender\), .+ use model=filter_cnn"):
        truth(["gender"], ["gender"])


def test_labels_need_enough_scores():
    with pytest.raises(ValueError, match=r"the first 7 scores .+ but the data have 1 \(lips\)"):
        check_data("finetune_v1", gan(label_dim=7, label_source="data"), faces("lips"))


@pytest.mark.parametrize(
    ("weight", "latents", "message"),
    [
        (0.0, 28, "data.latents=28 has no effect without model.module.pixel_weight"),
        (5.0, None, "is for pictures that come with the latents they stand for, 16 numbers by this generator"),
        ([[0, 5.0]], 28, "data.latents is 28: give data=faces data.latents=16"),
    ],
)
def test_latents_are_for_pixels_and_of_the_generators_length(weight, latents, message):
    data = FacesDataModule(attributes=["lips"], num_images=4, latents=latents)
    with pytest.raises(ValueError, match=re.escape(message)):
        check_data("pretrain", gan(label_dim=0, pixel_weight=weight), data)
