import torch

from ohlora_gan.models.filters import MeanScorer
from ohlora_gan.models.scorers import AttributeCNN, PhotoCNN
from ohlora_gan.registry import NETWORKS

NAMES = ["mouth", "turn"]
IMAGES = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


def nets() -> list[torch.nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return [PhotoCNN(NAMES, 32, width=4).eval(), AttributeCNN(NAMES, 32, width=4).eval()]


def test_it_says_the_mean_in_common_units():
    one, two = nets()
    scale, shift = torch.tensor([[1.0, 1.0], [2.0, -1.0]]), torch.tensor([[0.0, 0.0], [0.5, 3.0]])
    torch.testing.assert_close(MeanScorer.of([one, two])(IMAGES), (one(IMAGES) + two(IMAGES)) / 2)
    wanted = (one(IMAGES) + two(IMAGES) * scale[1] + shift[1]) / 2
    torch.testing.assert_close(MeanScorer.of([one, two], scale, shift)(IMAGES), wanted)


def test_it_has_the_interface_of_its_parts():
    one, two = nets()
    mean = MeanScorer.of([one, two])
    assert (mean.property_names, mean.resolution, mean.training) == (("mouth", "turn"), 32, False)
    torch.testing.assert_close(mean.features(IMAGES), torch.cat([one.features(IMAGES), two.features(IMAGES)], dim=1))


def test_its_description_rebuilds_it():
    mean = MeanScorer.of(nets(), scale=torch.full((2, 2), 1.5))
    again = NETWORKS.make(NETWORKS.describe(mean)).eval()
    again.load_state_dict(mean.state_dict())
    torch.testing.assert_close(again(IMAGES), mean(IMAGES))


def test_its_gradient_is_the_mean_of_its_parts_gradients():
    found = []
    for net in [*nets(), MeanScorer.of(nets())]:
        image = IMAGES.clone().requires_grad_()
        net(image)[:, 0].sum().backward()
        found.append(image.grad)
    torch.testing.assert_close(found[2], (found[0] + found[1]) / 2)
