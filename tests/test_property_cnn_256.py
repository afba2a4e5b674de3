"""The reference's property CNN by config: its state dict is a scorer as it is, and weights to train on from."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from ohlora_gan.models.scorers import MergedPropertyCNN
from ohlora_gan.models.zoo import open_checkpoint
from ohlora_gan.names import PROPERTIES
from ohlora_gan.pipelines.train import build_module

CONF = Path(__file__).resolve().parents[1] / "conf"


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """The path and the state of a flat state dict, as the reference system saves its merged network."""
    torch.manual_seed(0)
    path, state = tmp_path_factory.mktemp("foreign") / "property_cnn.pth", MergedPropertyCNN().state_dict()
    torch.save(state, path)
    return path, state


def test_a_flat_state_dict_is_a_scorer(flat):
    path, state = flat
    scorer = open_checkpoint(path).build("scorer")
    assert isinstance(scorer, MergedPropertyCNN)
    assert tuple(scorer.property_names) == PROPERTIES
    assert all(torch.equal(value, state[key]) for key, value in scorer.state_dict().items())


def test_training_goes_on_from_a_flat_state_dict(flat):
    path, state = flat
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=["model=property_cnn_256", "resolution=256", f"checkpoint={path}"])
    assert cfg.resolution == cfg.data.resolution == 256
    module = build_module(cfg)
    assert all(torch.equal(value, state[key]) for key, value in module.net.state_dict().items())
