"""Networks of the user's own: any callable from z to pictures, by ``package.module:factory``."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PROJECT
from torch import nn

import ohlora_gan as og
from ohlora_gan.__main__ import main
from ohlora_gan.latents.layers import W, Z
from ohlora_gan.latents.space import FaceSpace, score_jacobian
from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.wrapped import WrappedGenerator, is_factory
from tests import tiny

OWN = '''
import torch
from torch import nn

class Dcgan(nn.Module):
    """z [N, 12, 1, 1] to [N, 3, 32, 32], as DCGANs take it."""
    def __init__(self, end=None):
        super().__init__()
        torch.manual_seed(0)
        self.main = nn.Sequential(
            nn.ConvTranspose2d(12, 8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 4), end or nn.Tanh()
        )
    def forward(self, z):
        return self.main(z)

class Flat(nn.Module):
    latent_dim = 6
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.colours = nn.Linear(6, 16 * 16)
    def forward(self, z):
        return self.colours(z).tanh().view(-1, 1, 16, 16)

made = Flat()
def make(): return Dcgan()
def broken(): raise ValueError("the weights are gone")
def needs(path): return Dcgan()
def from_0_to_1(): return Dcgan(nn.Sigmoid())
def no_net(): return 3
def text(): return nn.Flatten()
def spoilt():
    net = Dcgan()
    net.main[0].weight.data[0, 0, 0, 0] = float("nan")
    return net
'''


@pytest.fixture(autouse=True)
def own(own_module):
    own_module("own_net", OWN)


def test_a_dcgan_is_a_generator():
    net = zoo.open_generator("own_net:make")
    assert (net.z_dim, net.w_dim, net.num_layers, net.resolution, net.label_dim) == (12, 12, 1, 32, 0)
    space = FaceSpace(net, tiny.scorer())
    codes = space.codes(Z(), *space.latents("t", range(5)))
    images = next(space.render(Z(), codes))
    expected = net.network(torch.from_numpy(codes).view(5, 12, 1, 1))
    assert torch.equal(images, expected)
    assert np.array_equal(space.images(W(), codes), space.images(Z(), codes))
    assert np.isfinite(score_jacobian(space, Z(), codes)[1]).all()
    assert torch.equal(net.synthesize(torch.from_numpy(codes), 0.5, 1), net.synthesize(torch.from_numpy(codes) * 0.5))


@pytest.mark.parametrize("name", ["own_net:Flat", "own_net:made"])
def test_classes_networks_and_flat_z(name):
    net = zoo.open_generator(name)
    assert (net.z_dim, net.resolution, net.image_channels) == (6, 16, 1)
    assert FaceSpace(net).images(Z(), np.zeros((2, 6), dtype=np.float32)).shape == (2, 16, 16, 3)


def test_a_generator_of_ours_stays_as_it_is(tmp_path):
    (tmp_path / "own_net.py").write_text("from tests import tiny\ndef make(): return tiny.generator(0, False)\n")
    assert type(zoo.open_generator("own_net:make")).__name__ == "Generator"


def test_the_front_door_finds_and_edits(tmp_path):
    scorer = checkpoint.save(tmp_path / "s.safetensors", {"scorer": tiny.scorer()})
    gan = og.load("own_net:make", scorer=scorer)
    found = gan.find("ridge", layer="z", n=200, properties=("eyes",), cache=tmp_path)
    edited = found.edit(gan.sample(1)[0], eyes=1.0)
    assert edited.images.shape[-3:] == (32, 32, 3)


def test_commands_take_it(tmp_path, capsys):
    assert main(["sample", "own_net:make", "3", "--output", str(tmp_path / "faces")]) == 0
    assert len(list((tmp_path / "faces").glob("*.png"))) == 3
    assert main(["inspect", "own_net:make"]) == 0
    assert "class: WrappedGenerator" in capsys.readouterr().out
    assert main(["convert", "own_net:make", "--output", "x.safetensors"]) == 2
    assert "own_net:make is code, which no file of weights can hold" in capsys.readouterr().err


def test_no_file_can_name_code(tmp_path):
    """A file of weights that says it holds a wrapped generator is refused before anything is imported."""
    net = zoo.open_generator("own_net:make")
    path = checkpoint.save(tmp_path / "x.safetensors", {"generator": net})
    sys.modules.pop("own_net")
    with pytest.raises(CheckpointError, match="'WrappedGenerator' is not known"):
        zoo.open_generator(path)
    assert "own_net" not in sys.modules
    from ohlora_gan.pipelines.runs import SpaceSettings

    with pytest.raises(ValueError, match="own_net:make is code, which no file may start: give it with --checkpoint"):
        SpaceSettings.of({"checkpoint": "own_net:make", "scorer": "property_cnn"})
    assert SpaceSettings.of({"scorer": "property_cnn"}, checkpoint="own_net:make").checkpoint == "own_net:make"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere_net:make", "nowhere_net cannot be imported"),
        ("own_net:nothing", "has no attribute 'nothing', expected a function that makes a network"),
        ("own_net:needs", "cannot be called without arguments: missing a required argument: 'path'"),
        ("own_net:from_0_to_1", "expected about -1 (black) to 1 (white)"),
        ("own_net:no_net", "is a int, expected a network"),
        ("own_net:text", "does not say how long its z is"),
        ("own_net:spoilt", "are not finite"),
    ],
)
def test_what_is_no_generator_ends_in_a_sentence(tmp_path, capsys, name, told):
    assert main(["sample", name, "3", "--output", str(tmp_path / "faces")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert told in said
    assert said.count("\n") == 1


def test_pictures_of_no_use_are_named():
    class Makes(nn.Module):
        z_dim = 4

        def __init__(self, *shape):
            super().__init__()
            self.shape = shape

        def forward(self, z):
            return torch.randn(len(z), *self.shape)

    for shape, told in (((5, 8, 8), "shape [5, 8, 8]"), ((3, 8, 9), "shape [3, 8, 9]"), ((7,), "makes no pictures")):
        with pytest.raises(CheckpointError) as caught:
            WrappedGenerator(Makes(*shape))
        assert told in str(caught.value)


def test_a_generator_that_nobody_here_wrote():
    """The DCGAN of the PyPI package gan_face_generate 1.1.1, the example of docs/own_generator.md."""
    pytest.importorskip("gan_face_generate", reason="pip install --no-deps gan_face_generate==1.1.1")
    page = (PROJECT / "docs" / "own_generator.md").read_text(encoding="utf-8")
    Path("my_net.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    sys.modules.pop("my_net", None)
    gan = og.load("my_net:dcgan", scorer="property_cnn")
    assert (gan.space.generator.z_dim, gan.resolution) == (100, 64)
    faces = gan.sample(16)
    assert faces.images.std(axis=0).mean() > 20  # they differ
    assert faces.images.reshape(16, -1).std(axis=1).min() > 10
    assert np.isfinite(faces.scores.to_numpy()).all()


def test_names_of_factories():
    assert is_factory("package.module:factory")
    assert not any(map(is_factory, ("v9", "runs/x:y.pth", "C:\\weights.pth", "a.safetensors", Path("x.pkl"))))
