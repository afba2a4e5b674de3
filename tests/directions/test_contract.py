"""The finder contract on every finder: a new finder class in the package is tested without a change here."""

import numpy as np
import pytest

from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.directions.derivatives import GradientFinder
from ohlora_gan.directions.linear import SvmFinder
from ohlora_gan.registry import FINDERS
from ohlora_gan.testing import FinderContract
from ohlora_gan.training.gradient_net import NetTrainer

NETS = NetTrainer(max_epochs=2, lr=3e-3)
SETTINGS: dict[str, dict] = {
    "GradientFinder": {"train": NETS},
    "MixedFinder": {"finders": {"eyes": GradientFinder(NETS), "mouth": SvmFinder(), "pose": SvmFinder()}},
    # 8 attributes in 6 dimensions cannot all be held
    "RidgeFinder": {"decorrelate": "none"},
    "MeanJacobianFinder": {"decorrelate": "none"},
    "LocalJacobianFinder": {"decorrelate": "none"},
}
"""By class name: settings for small data, where a finder's defaults are too slow for a test."""


class TestFinders(FinderContract):
    @pytest.fixture(params=FINDERS.ours)
    def make(self, request):
        return lambda: FINDERS.find(request.param)(**SETTINGS.get(request.param, {}))


class PerGroup(DirectionFinder):
    """A finder that has been fitted on two groups."""

    def __init__(self):
        self.directions_ = np.stack([np.eye(3, dtype=np.float32), -np.eye(3, dtype=np.float32)], axis=1)
        self.group_names_ = ["a", "b"]

    def _fit(self, samples):
        """Fitted already."""


def test_a_group_is_looked_up():
    np.testing.assert_array_equal(PerGroup().direction(np.zeros(3), "a"), np.eye(3))
    np.testing.assert_array_equal(PerGroup().direction(np.zeros(3), "b"), -np.eye(3))


@pytest.mark.parametrize("group", [None, "c"])
def test_a_group_that_fit_did_not_see_is_refused(group):
    with pytest.raises(ValueError, match="expected one of a, b"):
        PerGroup().direction(np.zeros(3), group)
