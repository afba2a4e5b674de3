import pytest
import torch

from ohlora_gan.models.filters import FilterEnsemble
from ohlora_gan.models.scorers import PhotoCNN, PhotoFilterCNN
from ohlora_gan.registry import NETWORKS


def images(num: int, side: int) -> torch.Tensor:
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_scores_and_features(resolution):
    net = PhotoCNN(["mouth", "turn"], resolution, width=4).eval()
    x = images(3, resolution)
    assert net(x).shape == (3, 2)
    assert net.features(x).shape == (3, 64 * 4)
    assert net.property_names == ("mouth", "turn")


def test_a_score_depends_on_its_picture_alone():
    net = PhotoCNN(width=4).eval()
    x = images(4, 64)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]), atol=1e-5, rtol=1e-5)


def test_a_gradient_reaches_every_parameter():
    net = PhotoCNN(width=4)
    net(images(2, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_it_is_rebuilt_from_its_description():
    net = PhotoCNN(["a"], 32, 4).eval()
    again = NETWORKS.make(NETWORKS.describe(net)).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(images(2, 32)), net(images(2, 32)))


def test_folds_of_a_filter():
    fold = PhotoFilterCNN(32, 4)
    ensemble = FilterEnsemble(NETWORKS.describe(fold), num_folds=2, name="glass").eval()
    with torch.no_grad():
        probability = ensemble(images(3, 32))
    assert probability.shape == (3,)
    assert ((probability > 0) & (probability < 1)).all()


@pytest.mark.parametrize(("resolution", "width"), [(48, 4), (16, 4), (64, 0)])
def test_sizes_out_of_range(resolution, width):
    with pytest.raises(ValueError, match="expected 1 or more, and a power of two from 32 on"):
        PhotoCNN(resolution=resolution, width=width)
