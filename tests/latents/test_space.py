import numpy as np
import pytest
import torch

from ohlora_gan.latents.layers import MappingSplit1, MappingSplit2, W
from ohlora_gan.latents.space import FaceSpace
from tests import tiny

LAYERS = [W(), MappingSplit1(), MappingSplit2()]


@pytest.fixture(scope="module")
def space():
    return FaceSpace(tiny.generator(), tiny.scorer(), batch_size=8)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_unmoved_codes_give_the_generators_own_image(space, layer):
    z, label = space.latents("test", range(5))
    codes = space.codes(layer, z, label)
    assert codes.shape == (5, layer.size(space.generator))
    with torch.no_grad():
        want = space.generator(z, label)
    got = torch.cat(list(space.render(layer, codes)))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_sizes_at_full_width():
    g = tiny.generator(z_dim=512, w_dim=512, mapping_dim=512)
    assert [layer.size(g) for layer in LAYERS] == [512, 2560, 1024]


def test_mapping_split2_edits_are_w_edits(space):
    z, label = space.latents("test", range(4))
    split, w = space.codes(MappingSplit2(), z, label), space.codes(W(), z, label)
    edit = np.random.default_rng(0).standard_normal(split.shape).astype(np.float32)
    half = edit.shape[1] // 2
    a = space.score_codes(MappingSplit2(), split + edit)
    b = space.score_codes(W(), w + edit[:, :half] + edit[:, half:])
    assert np.abs(a - b).max() < 1e-4
    assert np.abs(a - space.score_codes(W(), w)).max() > 1e-2
    assert MappingSplit2().equivalent_to_w
    assert not MappingSplit1().equivalent_to_w


def test_split_layers_need_a_split_mapping():
    plain = FaceSpace(tiny.generator(split=False), tiny.scorer())
    with pytest.raises(ValueError, match="use layer=w"):
        plain.codes(MappingSplit1(), *plain.latents("x", range(2)))


def test_latents_depend_on_seed_stream_and_index_alone(space):
    z, label = space.latents("a", range(6))
    later, _ = space.latents("a", [4, 2])
    assert torch.equal(later, z[[4, 2]])
    assert not torch.equal(space.latents("b", range(6))[0], z)
    assert label.shape == (6, 7)
    other = FaceSpace(tiny.generator(), tiny.scorer(), seed=1)
    assert not torch.equal(other.latents("a", range(6))[0], z)


def test_unconditional_generators_have_no_label():
    space = FaceSpace(tiny.generator(label_dim=0, split=False), tiny.scorer())
    z, label = space.latents("a", range(3))
    assert label is None
    assert space.score_codes(W(), space.codes(W(), z, label)).shape == (3, 8)


def test_everything_runs_in_eval_mode_and_leaves_the_networks_alone():
    generator, scorer = tiny.generator().train(), tiny.scorer().train()
    before = generator.truncation.w_avg.clone()
    space = FaceSpace(generator, scorer)
    z, label = space.latents("a", range(3))
    first = space.score_codes(W(), space.codes(W(), z, label))
    assert np.array_equal(first, space.score_codes(W(), space.codes(W(), z, label)))
    assert not generator.training
    assert not scorer.training
    assert torch.equal(generator.truncation.w_avg, before)


def test_scorer_of_another_size_is_refused():
    with pytest.raises(ValueError, match="32 pixels, the generator makes 16"):
        FaceSpace(tiny.generator(resolution=16, fmaps=[8, 8, 8]), tiny.scorer())


def test_a_generator_that_is_not_fully_grown_is_refused():
    generator = tiny.generator()
    generator.synthesis.lod.fill_(1.0)
    with pytest.raises(ValueError, match=r"level of detail is 1\.00"):
        FaceSpace(generator, tiny.scorer())
