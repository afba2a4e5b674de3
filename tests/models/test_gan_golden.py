"""Generator and discriminator reproduce the recorded reference system, key for key and number for number."""

import pytest
import torch

from ohlora_gan.models.gan import Discriminator, Generator, from_uint8, to_uint8
from tests.recordings import build_generator, image_and_styles, state_of

pytestmark = pytest.mark.golden


def close(got, want, tolerance):
    assert got.shape == want.shape
    assert (got - want).abs().max().item() <= tolerance


@pytest.mark.parametrize("resolution", [64, 256])
@pytest.mark.parametrize("version", ["v1", "v9"])
def test_generator(golden, version, resolution):
    info, t = golden(f"generator_{version}_{resolution}")
    net = build_generator(info["constructor"], version == "v9").eval()
    assert list(net.state_dict()) == info["key_order"]
    net.load_state_dict(state_of(t), strict=True)
    with torch.no_grad():
        m = net.mapping(t["in.z"], t["in.label"])
        close(net.mapping.embed(t["in.label"], t["in.z"]), t["out.embedding"], 1e-5)
        for name in ("z_norm", "w", "w1", "w2", "w1_", "w2_"):
            if f"out.{name}" in t:
                close(getattr(m, name), t[f"out.{name}"], 1e-5)
        close(net.truncation(m.w).contiguous(), t["out.wp"], 1e-5)
        image, styles = image_and_styles(net, net.truncation(m.w))
        for i, style in enumerate(styles):
            close(style, t[f"out.style{i:02d}"], 1e-5)
        cut = net(t["in.z"], t["in.label"], psi=0.7, num_truncated=8)
        close(net.truncation(m.w, 0.7, 8), t["out.wp_trunc"], 1e-5)
    close(image[: len(t["out.image"])], t["out.image"], 2e-4)
    if resolution == 256:
        close(image[:, :, ::4, ::4], t["out.image_stride4"], 2e-4)
        close(cut[:, :, ::4, ::4], t["out.image_trunc_stride4"], 2e-4)
    else:
        close(cut, t["out.image_trunc"], 2e-4)
    if "out.image_u8" in t:
        off = (to_uint8(image[:1]).int() - t["out.image_u8"].int()).abs()
        assert off.max() <= 1
        assert (off > 0).float().mean() <= 1e-3
    net.truncation.update(m.w, 0.995)
    close(net.truncation.w_avg, t["out.w_avg_after_train_forward"], 1e-5)


@pytest.mark.parametrize("resolution", [64, 256])
def test_discriminator(golden, resolution):
    info, t = golden(f"discriminator_{resolution}")
    net = Discriminator(**info["constructor"]).eval()
    assert list(net.state_dict()) == info["key_order"]
    net.load_state_dict(state_of(t), strict=True)
    x = (t["in.image_u8"].float() / 255 - 0.5) / 0.5
    if resolution == 256:
        x = torch.cat([x, x.flip(3) * 0.5])
    label = t["in.label"]
    with torch.no_grad():
        close(net(x, label), t["out.score_b8"], 1e-5)
        close(net(x), t["out.score_b8_zero_label"], 1e-5)
        close(net(x[:1], label[:1]), t["out.score_b1"], 1e-5)
        close(net(x[:3], label[:3]), t["out.score_b3"], 1e-5)
        if "out.score_b32" in t:
            big = torch.cat([torch.roll(x, 3 * i, -1) for i in range(4)])
            labels = torch.cat([label * (1 + i) for i in range(4)])
            close(net(big, labels), t["out.score_b32"], 1e-5)
            with pytest.raises(ValueError, match="batch of 20"):
                net(big[:20], labels[:20])


def test_v1_into_v9(golden):
    info, t = golden("v1_to_v9")
    v1 = build_generator(info["constructor"], False).eval()
    v9 = build_generator(info["constructor"], True).eval()
    v1.load_state_dict(state_of(t, "state_v1."), strict=True)
    missing, unexpected = v9.load_state_dict(state_of(t, "state_v1."), strict=False)
    assert sorted(missing) == sorted(info["missing_keys"])
    assert unexpected == info["unexpected_keys"]
    v9.load_state_dict(state_of(t, "state_v1.") | state_of(t, "state_v9_new."), strict=True)
    with torch.no_grad():
        m = v9.mapping(t["in.z"], t["in.label"])
        for name in ("z_norm", "w", "w1", "w2", "w1_", "w2_"):
            close(getattr(m, name), t[f"out.v9.{name}"], 1e-5)
        close(v9.synthesize(m.w), t["out.v9.image"], 2e-4)
        close(v1.mapping(t["in.z"], t["in.label"]).w, t["out.v1.w"], 1e-5)
        close(v1(t["in.z"], t["in.label"]), t["out.v1.image"], 2e-4)


@pytest.mark.parametrize("name", ["generator_v1", "generator_v9", "discriminator"])
def test_manifest_of_full_size_networks(golden, name):
    info, _ = golden("manifest_full")
    with torch.device("meta"):
        net = Discriminator() if name == "discriminator" else Generator(split_mapping=name.endswith("v9"))
    state = net.state_dict()
    assert {k: list(v.shape) for k, v in state.items()} == info["manifests"][name]
    assert list(state) == list(info["manifests"][name])
    assert sum(p.numel() for p in net.parameters()) == info["parameter_counts"][name]
    assert [k for k in state if k not in dict(net.named_parameters())] == info["buffers"][name]


def test_uint8_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 1, 256, 3)
    assert torch.equal(to_uint8(from_uint8(levels)), levels)


def test_a_setting_that_a_generator_lacks_is_named():
    with pytest.raises(ValueError, match=r"no setting 'colour', expected some of resolution, z_dim, .*image_channels"):
        Generator(resolution=32, colour=3)
