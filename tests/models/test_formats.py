"""Other people's files of weights: small ones of every layout, and what is said of those that do not fit."""

import argparse
import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ohlora_gan.__main__ import main
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.checkpoint import CheckpointError, weights_hash
from ohlora_gan.pipelines.checks import open_parents, start_gan
from tests import tiny


def saved(folder, content, name="x.pth"):
    torch.save(content, folder / name)
    return folder / name


def prefixed(state, prefix):
    return OrderedDict((prefix + key, value) for key, value in state.items())


def runner_file(**networks):
    """What genforce's runner saves."""
    models = {name: net.state_dict() for name, net in networks.items()}
    momenta = {"exp_avg": torch.zeros(3), "step": 7}
    optimizer = {"state": {0: momenta}, "param_groups": [{"lr": 0.001, "betas": (0.0, 0.99), "params": [0]}]}
    return {
        "models": models,
        "running_metadata": {"iter": 1000, "seen_img": 32000},
        "optimizers": {"generator": optimizer, "discriminator": optimizer},
        "learning_rates": {"generator": {"last_epoch": 1000, "_last_lr": [0.001]}},
    }


def test_what_genforces_runner_saves(tmp_path, capsys):
    g, smooth, d = tiny.generator(0, False), tiny.generator(0, False, seed=5), tiny.discriminator(0)
    path = saved(tmp_path, runner_file(generator=g, discriminator=d, generator_smooth=smooth))
    assert weights_hash(zoo.open_generator(path)) == weights_hash(smooth)
    found = zoo.open_checkpoint(path)
    assert weights_hash(found.build("generator")) == weights_hash(g)
    assert weights_hash(zoo.open_discriminator(path)) == weights_hash(d)
    assert main(["inspect", str(path)]) == 0
    assert "generator_smooth: genforce StyleGAN-1 generator: models.generator_smooth\n" in capsys.readouterr().out


LAYOUTS = {
    "flat": lambda state: state,
    "DataParallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "both": lambda state: prefixed(state, "module._orig_mod."),
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "state_dict of a module of several": lambda state: {"state_dict": prefixed(state, "generator._orig_mod.")},
    "g_ema": lambda state: {"g_ema": state, "g": {"other.weight": torch.zeros(2)}},
    "ema": lambda state: {"ema": prefixed(state, "module.")},
    "models": lambda state: {"models": {"generator_smooth": state}},
    "numbers of numpy and settings": lambda state: {
        "g": state,
        "args": argparse.Namespace(size=8),
        "fid": np.float64(1),
    },
    "half precision": lambda state: {"generator": {key: value.double() for key, value in state.items()}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_generator_is_found_wherever_it_lies(tmp_path, layout):
    net = tiny.generator(0, False)
    path = saved(tmp_path, LAYOUTS[layout](net.state_dict()))
    assert weights_hash(zoo.open_generator(path)) == weights_hash(net)


@pytest.mark.parametrize("layout", ["flat", "both"])
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_what_others_save_as_safetensors_is_read_as_theirs(tmp_path, layout, name):
    net = tiny.generator(0, False)
    save_file(dict(LAYOUTS[layout](net.state_dict())), tmp_path / name)
    assert weights_hash(zoo.open_generator(tmp_path / name)) == weights_hash(net)


def test_our_file_is_ours_whatever_it_is_called(tmp_path):
    net = tiny.generator()
    ours = checkpoint.save(tmp_path / "ours.safetensors", {"generator": net}).rename(tmp_path / "ours.pth")
    assert weights_hash(zoo.open_generator(ours)) == weights_hash(net)


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        ("both", "the file itself, prefix module._orig_mod."),
        ("state_dict of a module of several", "state_dict.generator, prefix _orig_mod."),
        ("ema", "ema, prefix module."),
        ("models", "models.generator_smooth"),
    ],
)
def test_where_it_lies_is_said(tmp_path, capsys, layout, told):
    path = saved(tmp_path, LAYOUTS[layout](tiny.generator(0, False).state_dict()))
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] == {"generator": f"genforce StyleGAN-1 generator: {told}"}
    ours = tmp_path / "ours.safetensors"
    assert main(["convert", str(path), "--output", str(ours)]) == 0
    assert weights_hash(zoo.open_generator(ours)) == weights_hash(zoo.open_generator(path))


def test_classes_have_an_embedding_as_wide_as_z(tmp_path):
    """Conditional nets of genforce: ``mapping.label_weight [5, 512]``."""
    net = tiny.generator(5, False, z_dim=24, embedding_dim=24, mapping_layers=4)
    assert net.mapping.label_weight.shape == (5, 24)
    read = zoo.open_generator(saved(tmp_path, {"generator": net.state_dict()}))
    assert (read.label_dim, read.z_dim, read.config["mapping_layers"]) == (5, 24, 4)
    assert weights_hash(read) == weights_hash(net)
    labels = FaceSpace(read).latents("t", range(6))[1]
    assert torch.equal(labels.sum(dim=1), torch.ones(6))
    assert ((labels == 0) | (labels == 1)).all()
    ours = checkpoint.save(tmp_path / "ours.safetensors", {"generator": read})
    assert zoo.open_generator(ours).one_hot_labels


def test_grey_pictures_are_shown_in_three_equal_colours(tmp_path):
    net = tiny.generator(0, False, image_channels=1)
    read = zoo.open_generator(saved(tmp_path, {"generator_smooth": net.state_dict()}))
    assert read.image_channels == 1
    space = FaceSpace(read)
    images = space.images(*sampled(space))
    assert images.shape == (2, 32, 32, 3)
    assert (images == images[..., :1]).all()


def sampled(space):
    from ohlora_gan.latents.layers import W

    return W(), space.w("t", range(2))


def test_a_discriminator_of_four_channels_does_not_judge_edits(tmp_path):
    parts = {"generator": tiny.generator(image_channels=4), "discriminator": tiny.discriminator(image_channels=4)}
    path = saved(tmp_path, {name: net.state_dict() for name, net in parts.items()})
    assert zoo.open_discriminator(path) is None
    assert zoo.open_checkpoint(path).build("discriminator").config["image_channels"] == 4


def test_a_discriminator_of_classes_is_left_out(tmp_path, capsys):
    d = tiny.discriminator(0).state_dict()
    d["layer8.weight"], d["layer8.bias"] = torch.zeros(5, 8), torch.zeros(5)
    path = saved(tmp_path, {"generator": tiny.generator(5, False, embedding_dim=16).state_dict(), "discriminator": d})
    assert zoo.open_discriminator(path) is None
    assert main(["inspect", str(path)]) == 0
    assert "discriminator: left out: it gives 5 scores, one a class" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="it gives 5 scores"):
        zoo.open_checkpoint(saved(tmp_path, d, "d.pth"))


def changed(change):
    state = dict(tiny.generator(0, False).state_dict())
    change(state)
    return {"models": {"generator_smooth": prefixed(state, "module.")}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("truncation.w_avg"), "lacks models.generator_smooth.module.truncation.w_avg, part of"),
        (lambda s: s.pop("synthesis.layer2.bias"), "lacks models.generator_smooth.module.synthesis.layer2.bias"),
        (
            lambda s: s.update({"synthesis.layer3.weight": torch.zeros(8, 8, 5, 5)}),
            "models.generator_smooth.module.synthesis.layer3.weight [8, 8, 5, 5] instead of [8, 8, 3, 3]",
        ),
        (lambda s: s.update({"extra": torch.zeros(1)}), "left over: models.generator_smooth.module.extra"),
        (lambda s: s["synthesis.lod"].fill_(2.0), "level of detail is 2.0"),
        (lambda s: s.update({"truncation.w_avg": torch.zeros(128)}), r"has shape [128], expected [16]"),
        (
            lambda s: s["synthesis.layer3.weight"].view(-1)[:3].fill_(float("nan")),
            "3 of the 576 weights of models.generator_smooth.module.synthesis.layer3.weight are not finite",
        ),
    ],
)
def test_what_does_not_fit_is_named_as_the_file_names_it(tmp_path, change, told):
    with pytest.raises(CheckpointError) as caught:
        zoo.open_generator(saved(tmp_path, changed(change)))
    assert told in str(caught.value)


def test_infinite_weights_of_our_own_files_are_refused(tmp_path):
    net = tiny.generator()
    with torch.no_grad():
        net.synthesis.output0.bias[0] = float("inf")
    path = checkpoint.save(tmp_path / "g.safetensors", {"generator": net})
    with pytest.raises(CheckpointError, match=r"1 of the 3 weights of synthesis\.output0\.bias are not finite"):
        zoo.open_generator(path)


def converted(tmp_path, net, *settings):
    path, ours = saved(tmp_path, {"generator": net.state_dict()}), tmp_path / "ours.safetensors"
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["convert", str(path), "--output", str(ours), *words]) == 0
    return zoo.open_generator(ours)


def test_what_tensors_do_not_show_is_said(tmp_path, capsys):
    """``final_tanh``, forced ``fused_scale`` and ``use_wscale=False``."""
    net, w = tiny.generator(0, False), torch.randn(2, 16)
    other = converted(tmp_path, net, "final_tanh=true", "fused_from=8")
    same = tiny.generator(0, False, final_tanh=True, fused_from=8)
    with torch.no_grad():
        assert torch.equal(other.synthesize(w), same.synthesize(w))
        assert (other.synthesize(w) - net.synthesize(w)).abs().max() > 0.1
        assert (same.synthesize(w) - tiny.generator(0, False).synthesize(w).tanh()).abs().max() > 0.01
    plain = converted(tmp_path, net, "use_wscale=false")
    for name, module in plain.named_modules():
        if hasattr(module, "weight_scale"):  # what the layer multiplies with is what the file holds
            held = net.get_submodule(name).weight * getattr(module, "bias_scale", 1.0)
            torch.testing.assert_close(module.weight * module.weight_scale, held)
    path = str(saved(tmp_path, {"generator": net.state_dict()}))
    for setting, told in (
        ("final_tanh", "expected NAME=VALUE"),
        ("hats=2", "has no setting 'hats'"),
        ("z_dim=9", "fit"),
    ):
        assert main(["convert", path, "--output", str(tmp_path / "x.safetensors"), "--set", setting]) == 2
        assert told in capsys.readouterr().err


def test_two_averages_are_not_chosen_from(tmp_path):
    states = [tiny.generator(seed, False).state_dict() for seed in (0, 1)]
    with pytest.raises(CheckpointError, match="at g_ema and at ema: save the one that you want alone"):
        zoo.open_generator(saved(tmp_path, dict(zip(("g_ema", "ema"), states, strict=True))))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "damaged"),
        (b"a text of no network at all\n", "checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "checkpoint"),
        (b"PK\x03\x04" + bytes(100), "damaged"),
        ({"a.weight": torch.zeros(2), "b.bias": torch.zeros(1)}, "has the keys a.weight, b.bias, expected those of"),
        ({"epoch": 3}, "has the keys epoch, expected"),
        (torch.zeros(3), "holds a Tensor, expected a dict"),
        (nn.Linear(2, 2), "holds torch.nn.modules.linear.Linear beside its tensors, so that loading it could run code"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "sample"])
def test_a_file_that_is_no_network_ends_in_a_sentence(tmp_path, capsys, content, told, command):
    path = tmp_path / "x.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    words = [str(path)] if command == "inspect" else [str(path), "3", "--output", str(tmp_path / "out")]
    assert main([command, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: checkpoint ")
    assert told in said
    assert said.count("\n") == 1


def test_training_starts_from_a_net_that_computes_alike(tmp_path):
    theirs = tiny.generator(0, False, norm_epsilon=1e-5, bias_before_blur=True)
    path = checkpoint.save(tmp_path / "g.safetensors", {"generator": theirs, "discriminator": tiny.discriminator(0)})
    parent, own = open_parents(path)[0], tiny.discriminator(0)
    with pytest.raises(CheckpointError, match=r"norm_epsilon 1e-05, the one to train has 1e-08: give .*=1e-05"):
        start_gan("pretrain", tiny.generator(0, False), own, parent)
    start_gan("pretrain", tiny.generator(0, False, norm_epsilon=1e-5, bias_before_blur=True), own, parent)
    parent.tensors["discriminator"]["layer0.weight"][0] = float("nan")
    with pytest.raises(CheckpointError, match=r"weights of layer0\.weight are not finite"):
        start_gan("pretrain", tiny.generator(0, False, norm_epsilon=1e-5, bias_before_blur=True), own, parent)
