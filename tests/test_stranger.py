"""Another package: its finder, layer, network and generator format, used by a config, saved, and opened again."""

import importlib
import sys

import numpy as np
import pytest
from hydra.utils import instantiate

import ohlora_gan as og
from ohlora_gan import registry
from ohlora_gan.directions.files import DirectionSet, open_directions, recipe_of, save_directions
from ohlora_gan.latents.layers import W, layer_named
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.testing import FinderContract, LayerContract
from tests import tiny

MODULE = '''
import numpy as np
import torch
from torch import nn

from ohlora_gan.directions.base import ALL, DirectionFinder
from ohlora_gan.latents.layers import W
from ohlora_gan.models.checkpoint import Checkpoint
from ohlora_gan.models.formats import read_generator


class Slopes(DirectionFinder):
    """Directions by least squares; they know where they were asked for, so that files name their class."""

    pointwise = True

    def __init__(self, ridge=1e-6):
        self.ridge = ridge

    def _fit(self, samples):
        samples.expect(1)
        X, scores = (values - values.mean(axis=0) for values in (samples.X, samples.scores))
        found = np.linalg.solve(X.T @ X + self.ridge * np.eye(X.shape[1]), X.T @ scores).T
        rows = found[[samples.names.index(name) for name in samples.edited]]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self.metrics_ = {f"slopes_{name}_ridge": self.ridge for name in samples.edited}
        samples.tell()
        self.restore(rows[:, None], [ALL], samples.names, samples.edited, {"seen": np.array([1.0])})


class HalfW(W):
    """w at half its length."""

    name = "half_w"

    def codes(self, generator, z, label):
        return super().codes(generator, z, label) / 2

    def to_w(self, generator, codes):
        return 2 * codes


class Brightness(nn.Module):
    """Scores how bright a picture is."""

    property_names = ("bright",)

    def __init__(self, resolution=32):
        super().__init__()
        self.config, self.resolution = {"resolution": resolution}, resolution
        self.gain = nn.Parameter(nn.init.ones_(nn.Linear(1, 1).weight.detach()))

    def forward(self, images):
        return self.gain * images.mean(dim=(1, 2, 3))[:, None]


def read_arrays(path):
    """A generator kept as arrays, each under its name with slashes."""
    if path.suffix != ".npz":
        return None
    with np.load(path, allow_pickle=False) as arrays:
        state = {name.replace("/", "."): torch.from_numpy(array) for name, array in arrays.items()}
    network = {"class": "Generator", "config": read_generator(state)[0]}
    return Checkpoint({"generator": state}, {"generator": network}, {"stage": "imported"}, str(path))
'''
ENTRY_POINTS = """[ohlora_gan.finders]
slopes = stranger.parts:Slopes
[ohlora_gan.layers]
half_w = stranger.parts:HalfW
[ohlora_gan.networks]
brightness = stranger.parts:Brightness
[ohlora_gan.formats]
arrays = stranger.parts:read_arrays
"""


@pytest.fixture(autouse=True)
def stranger(tmp_path, monkeypatch):
    """An installed package of the name ``stranger``."""
    site = tmp_path / "site"
    for path, text in {
        "stranger/__init__.py": "",
        "stranger/parts.py": MODULE,
        "stranger-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n",
        "stranger-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
    }.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield
    for name in ("stranger.parts", "stranger"):
        sys.modules.pop(name, None)


class TestStrangersFinder(FinderContract):
    @pytest.fixture
    def make(self):
        return lambda: instantiate({"_target_": "stranger.parts.Slopes", "ridge": 1e-3})


class TestStrangersLayer(LayerContract):
    @pytest.fixture
    def layer(self):
        return instantiate({"_target_": "stranger.parts.HalfW"})


def test_a_network_is_saved_and_opened(tmp_path):
    network = instantiate({"_target_": "stranger.parts.Brightness", "resolution": 32})
    opened = checkpoint.load(checkpoint.save(tmp_path / "net.safetensors", {"scorer": network}))
    assert opened.networks["scorer"] == {"class": "stranger.parts.Brightness", "config": {"resolution": 32}}
    assert type(opened.build("scorer")) is type(network)


def test_a_generator_in_its_own_format_is_opened(tmp_path):
    generator = tiny.generator()
    arrays = {name.replace(".", "/"): value.numpy() for name, value in generator.state_dict().items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    gan = og.load(tmp_path / "weights.npz", scorer=None)
    pictures = FaceSpace(generator).images(W(), gan.sample(3, seed=5).codes("w"))
    np.testing.assert_array_equal(gan.sample(3, seed=5).images, pictures)
    (tmp_path / "other.pth").write_bytes(b"nothing of the kind")
    with pytest.raises(checkpoint.CheckpointError, match="is no file of weights"):
        og.load(tmp_path / "other.pth", scorer=None)


def test_directions_are_saved_and_opened_at_its_layer(tmp_path):
    layer = instantiate({"_target_": "stranger.parts.HalfW"})
    scorer = instantiate({"_target_": "stranger.parts.Brightness"})
    space = FaceSpace(tiny.generator(), scorer)
    codes = space.codes(layer, *space.latents("bank", range(60)))
    finder = instantiate({"_target_": "stranger.parts.Slopes"})
    finder.fit(codes, space.score_codes(layer, codes), names=("bright",), edited=("bright",))
    found = DirectionSet(
        finder.directions_, ["all"], layer.name, "slopes", properties=("bright",), names=("bright",), finder=finder
    )
    found.recipe, found.state = recipe_of(finder), finder.state_
    path = save_directions(tmp_path / "vectors.safetensors", found)
    opened = open_directions(path, space, layer_named("half_w"))
    assert type(opened.finder) is type(finder)
    assert opened.recipe["class"] == "stranger.parts.Slopes"
    np.testing.assert_array_equal(opened.direction(codes[0]), found.direction(codes[0]))


def test_what_no_entry_point_offers_is_not_made():
    with pytest.raises(ValueError, match=r"the finder 'stranger\.parts\.HalfW' is not known, expected one of"):
        registry.FINDERS.find("stranger.parts.HalfW")
