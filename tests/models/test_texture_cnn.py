"""The filter of fine texture: what it is shown, and that it can learn what shows there alone."""

import pytest
import torch
import torch.nn.functional as F

from ohlora_gan.models.filters import FilterEnsemble, TextureFilterCNN
from ohlora_gan.registry import NETWORKS


def noise(num, side, seed=0):
    return (0.4 * torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(seed))).clamp(-1, 1)


@pytest.mark.parametrize("resolution", [32, 64, 89])
def test_logits_depend_on_the_picture_alone(resolution):
    net = TextureFilterCNN(resolution, 4).eval()
    x = noise(4, resolution)
    assert net(x).shape == (4,)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]), atol=1e-5, rtol=1e-5)


def test_detail_tells_blur_and_no_brightness():
    net = TextureFilterCNN(64, 4)
    sharp = noise(3, 64) / 2
    blurred = F.avg_pool2d(F.pad(sharp, [2] * 4, mode="reflect"), 5, 1)
    (_, strength, share), (_, weaker, less), (detail, brighter, same) = (
        net.detail(x).transpose(0, 1) for x in (sharp, blurred, sharp + 0.3)
    )
    assert (strength.mean((1, 2)) - weaker.mean((1, 2)) > 1).all()
    assert (share.mean((1, 2)) > less.mean((1, 2))).all()
    torch.testing.assert_close(net.detail(sharp), torch.stack([detail, brighter, same], 1), atol=1e-4, rtol=1e-4)


def test_a_flat_picture_is_no_trouble():
    net = TextureFilterCNN(32, 4)
    net(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_a_gradient_reaches_every_parameter():
    net = TextureFilterCNN(64, 4)
    net(noise(4, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_an_ensemble_is_made_of_it():
    ensemble = FilterEnsemble.of([TextureFilterCNN(32, 4), TextureFilterCNN(32, 4)], "quality")
    assert NETWORKS.describe(ensemble)["config"]["net"]["config"] == {"resolution": 32, "width": 4}
    with torch.no_grad():
        probability = ensemble(noise(3, 32))
    assert ((probability > 0) & (probability < 1)).all()
    assert not any("blur" in name for name in ensemble.state_dict())


@pytest.mark.parametrize(("resolution", "width"), [(16, 4), (64, 0)])
def test_sizes_out_of_range(resolution, width):
    with pytest.raises(ValueError, match="expected 1 or more, 32 or more"):
        TextureFilterCNN(resolution, width)
