import numpy as np
import pytest
import torch

from ohlora_gan.latents.layers import MappingSplit1, MappingSplit2, W
from ohlora_gan.latents.space import FaceSpace, score_jacobian
from tests import tiny

LAYERS = [W(), MappingSplit1(), MappingSplit2()]


@pytest.fixture(scope="module")
def space():
    return FaceSpace(tiny.generator(), tiny.scorer(), batch_size=8)


def test_sizes_at_full_width():
    g = tiny.generator(z_dim=512, w_dim=512, mapping_dim=512)
    assert [layer.size(g) for layer in LAYERS] == [512, 2560, 1024]


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


@pytest.mark.parametrize(("resolution", "fmaps"), [(16, [8] * 3), (64, [8] * 5)])
def test_a_scorer_of_another_size_is_shown_resized_pictures(resolution, fmaps, caplog):
    generator, scorer = tiny.generator(resolution=resolution, fmaps=fmaps), tiny.scorer()
    space = FaceSpace(generator, scorer)
    assert f"pictures of {resolution} pixels are resized to 32 for the scorer" in caplog.text
    codes = space.w("test", range(3))
    images = next(space.render(W(), codes))
    resized = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    np.testing.assert_allclose(space.score_codes(W(), codes), scorer(resized).numpy(), atol=1e-6)
    if resolution == 64:  # antialiased: a fine chequerboard is grey
        grey = 2.0 * (torch.arange(64)[:, None] + torch.arange(64)[None]).remainder(2).expand(1, 3, 64, 64) - 1
        assert space.scorer.resized(grey).abs().max() < 0.3
    assert space.property_names == scorer.property_names
    assert np.isfinite(score_jacobian(space, W(), codes)[1]).all()


def test_pictures_of_four_channels_lose_the_last_and_of_two_are_refused(caplog):
    space = FaceSpace(tiny.generator(image_channels=4), tiny.scorer())
    assert "it is left out" in caplog.text
    codes = space.w("test", range(2))
    with torch.no_grad():
        whole = space.generator.synthesize(torch.from_numpy(codes))
    torch.testing.assert_close(next(space.render(W(), codes)), whole[:, :3], rtol=0, atol=5e-5)
    with pytest.raises(ValueError, match="have 2 channels, expected 1"):
        FaceSpace(tiny.generator(image_channels=2))


def test_pictures_that_are_not_finite_are_refused():
    space = FaceSpace(tiny.generator(), tiny.scorer())
    codes = space.w("test", range(4))
    codes[2] = np.nan
    with pytest.raises(ValueError, match="1 of 4 pictures hold values that are not finite"):
        space.images(W(), codes)
    with pytest.raises(ValueError, match="not finite"):
        space.score_codes(W(), codes)


def test_a_generator_that_is_not_fully_grown_is_refused():
    generator = tiny.generator()
    generator.synthesis.lod.fill_(1.0)
    with pytest.raises(ValueError, match=r"level of detail is 1\.00"):
        FaceSpace(generator, tiny.scorer())


def test_fresh_noise_depends_on_its_number_and_the_images_alone():
    generator = tiny.generator()
    for name, weight in generator.named_parameters():
        if name.endswith("apply_noise.weight"):
            torch.nn.init.constant_(weight, 0.3)
    space = FaceSpace(generator, tiny.scorer(), batch_size=5)
    codes = space.w("test", range(6))

    def scores(codes, *noise):
        return np.concatenate([space.score(images).numpy() for images in space.render(W(), codes, *noise)])

    fixed, fresh = space.score_codes(W(), codes), scores(codes, 3)
    assert np.array_equal(fixed, scores(codes))
    assert np.abs(fixed - fresh).max() > 1e-2
    space.batch_size = 2
    assert np.abs(scores(codes, 3) - fresh).max() < 1e-5
    assert np.abs(scores(codes[4:], 3, 4) - fresh[4:]).max() < 1e-5
    assert np.abs(scores(codes, 4) - fresh).max() > 1e-2
    space.seed = 1
    assert np.abs(scores(codes, 3) - fresh).max() > 1e-2
    assert np.array_equal(scores(codes, 3, 2)[:2], scores(codes[:2], 3, 2))


def test_fresh_noise_is_standard_normal():
    space = FaceSpace(tiny.generator(), tiny.scorer())
    noise = space.noise(0, range(100))
    assert [part.shape[2:] for part in noise] == [(r, r) for r in (4, 4, 8, 8, 16, 16, 32, 32)]
    values = torch.cat([part.flatten() for part in noise])
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01
