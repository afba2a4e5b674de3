import numpy as np
import pytest
import torch

from ohlora_gan.latents.layers import MappingSplit1, MappingSplit2, W, WPlus, Z, layer_named
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.testing import LayerContract
from tests import tiny
from tests.recordings import image_and_styles

LAYERS = [Z(), W(), MappingSplit1(), MappingSplit2(), WPlus(), WPlus(2, 5)]


@pytest.fixture(scope="module")
def space():
    return FaceSpace(tiny.generator(), tiny.scorer(), batch_size=8)


def images(space, layer, codes):
    return torch.cat(list(space.render(layer, codes)))


def edit_of(codes, seed=0):
    return np.random.default_rng(seed).standard_normal(codes.shape).astype(np.float32)


class TestLayers(LayerContract):
    @pytest.fixture(params=[*LAYERS, WPlus(4)], ids=lambda layer: layer.name)
    def layer(self, request):
        return request.param


def test_mapping_split2_edits_are_w_edits(space):
    latents = space.latents("test", range(4))
    split, w = space.codes(MappingSplit2(), *latents), space.codes(W(), *latents)
    edit = edit_of(split)
    half = edit.shape[1] // 2
    a = images(space, MappingSplit2(), split + edit)
    torch.testing.assert_close(a, images(space, W(), w + edit[:, :half] + edit[:, half:]), rtol=0, atol=1e-4)
    assert (a - images(space, W(), w)).abs().max() > 1e-2
    assert MappingSplit2().equivalent_to_w
    assert not any(layer.equivalent_to_w for layer in LAYERS if not isinstance(layer, MappingSplit2))


def test_z_edits_are_edits_of_latent_and_label(space):
    z, label = space.latents("test", range(4))
    codes = space.codes(Z(), z, label)
    edit = edit_of(codes)
    with torch.no_grad():
        want = space.generator(z + torch.from_numpy(edit[:, :16]), label + torch.from_numpy(edit[:, 16:]))
    torch.testing.assert_close(images(space, Z(), codes + edit), want, rtol=0, atol=5e-5)


def test_z_of_an_unconditional_generator_has_no_label():
    space = FaceSpace(tiny.generator(label_dim=0, split=False), tiny.scorer())
    z, label = space.latents("test", range(3))
    codes = space.codes(Z(), z, label)
    assert np.array_equal(codes, z.numpy())
    with torch.no_grad():
        torch.testing.assert_close(images(space, Z(), codes), space.generator(z))


def test_the_same_edit_in_every_synthesis_layer_is_a_w_edit(space):
    latents = space.latents("test", range(4))
    w, wp = space.codes(W(), *latents), space.codes(WPlus(), *latents)
    edit = edit_of(w)
    a = images(space, WPlus(), wp + np.tile(edit, space.generator.num_layers))
    torch.testing.assert_close(a, images(space, W(), w + edit), rtol=0, atol=1e-5)


def test_an_edit_of_some_synthesis_layers_changes_their_styles_alone(space):
    layer, generator = WPlus(2, 3), space.generator
    codes = space.codes(layer, *space.latents("test", range(2)))
    moved = codes.copy()
    moved[:, layer.free(generator)] += 1.0
    with torch.no_grad():
        styles = [image_and_styles(generator, layer.to_w(generator, torch.from_numpy(v)))[1] for v in (codes, moved)]
    changed = [not torch.equal(a, b) for a, b in zip(*styles, strict=True)]
    assert changed == [False, False, True, True, False, False, False, False]


def test_free_values(space):
    assert [layer.free(space.generator) for layer in LAYERS] == [
        slice(0, 23),
        slice(0, 16),
        slice(0, 80),
        slice(0, 32),
        slice(0, 128),
        slice(32, 96),
    ]
    assert WPlus(7).free(space.generator) == slice(112, 128)


@pytest.mark.parametrize(("first", "last"), [(-1, None), (4, 3), (0, 8), (8, None)])
def test_ranges_that_a_generator_lacks(space, first, last):
    with pytest.raises(ValueError, match=r"generator's 8 synthesis layers, expected 0 <= first <= last <= 7"):
        space.codes(WPlus(first, last), *space.latents("test", range(2)))


@pytest.mark.parametrize("name", ["", "v", "wplus_", "wplus_4", "wplus_last_4", "W"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="expected z, w, mapping_split1, mapping_split2, wplus, or a range of it"):
        layer_named(name)
