import pytest
import torch
from torch import nn

from ohlora_gan.models.filters import Panel
from ohlora_gan.names import PROPERTIES
from tests import tiny


def test_columns_are_what_each_network_says():
    gender, age, scorer = tiny.filter_ensemble("gender"), tiny.filter_ensemble("age", seed=1), tiny.scorer()
    panel = Panel({"gender": gender, "age": age, "scorer": scorer}).eval()
    assert panel.property_names == ("gender", "age", *PROPERTIES)
    assert panel.resolution == 32
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        got = panel(images)
        torch.testing.assert_close(got[:, 0], gender(images))
        torch.testing.assert_close(got[:, 1], age(images))
        torch.testing.assert_close(got[:, 2:], scorer(images))


def test_networks_of_different_sizes_are_refused():
    small, large = nn.Identity(), nn.Identity()
    small.resolution, large.resolution = 32, 64
    with pytest.raises(ValueError, match="one size in pixels, got a 32, b 64"):
        Panel({"a": small, "b": large})
    with pytest.raises(ValueError, match="got none"):
        Panel({})
