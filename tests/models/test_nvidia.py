"""NVIDIA's pickles: recordings of the published programs, and made-up files, whole, odd, spoilt and evil."""

import json
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from conftest import PROJECT
from safetensors.torch import load_file

from ohlora_gan.models import checkpoint, zoo
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.inert import Placeholder, read_pickle
from ohlora_gan.registry import NETWORKS
from tests import nvidia_files as nv

FOLDER = PROJECT.parent / "shared" / "nvlabs"
RECORDED = ("stylegan2_plain_64", "stylegan2_cond_32", "stylegan3_t_64", "stylegan3_r_64")


def same_state(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture(params=RECORDED)
def recording(request):
    """A recorded file, what its networks give, and its settings; the folder is ``OHLORA_NVLABS``."""
    folder = type(FOLDER)(os.environ.get("OHLORA_NVLABS") or FOLDER)
    path = folder / f"{request.param}.pkl"
    if not path.exists():
        pytest.skip(f"no recording {path}: set OHLORA_NVLABS to the recordings' folder")
    return path, load_file(path.with_suffix(".safetensors")), json.loads(path.with_suffix(".json").read_text())


def close(got, want, relative):
    assert got.shape == want.shape
    assert (got - want).abs().max() <= (5e-4 * want.abs().max() if relative else 1e-5)


@pytest.mark.golden
@torch.no_grad()
def test_recordings(recording):
    path, t, settings = recording
    g, d = zoo.open_generator(path).eval(), zoo.open_discriminator(path).eval()
    assert {k: list(v.shape) for k, v in g.state_dict().items()} == settings["keys"]
    assert (g.num_layers, g.label_dim) == (settings["num_ws"], settings["kwargs"]["c_dim"])
    assert g.one_hot_labels
    w = g.map(t["in.z"], t.get("in.c"))
    close(g.truncate(w), t["out.ws"], relative=False)
    close(g.truncate(w, 0.6, g.num_layers), t["out.ws_psi06"], relative=False)
    close(g.truncate(w, 0.6, 4), t["out.ws_psi06_cutoff4"], relative=False)
    close(g.synthesize(w), t["out.image"], relative=True)
    close(g.synthesize(w, 0.6, g.num_layers), t["out.image_psi06"], relative=True)
    mixed = t["out.ws"].clone()
    mixed[:, 3:] = mixed[[1, 2, 0], 3:]
    close(g.synthesize(mixed), t["out.image_mixed_from3"], relative=True)
    close(d(t["out.image"], t.get("in.c")), t["out.d_score"], relative=True)


@pytest.mark.golden
def test_fresh_filters_are_the_recorded_ones(recording):
    path, _, _ = recording
    weights = zoo.open_checkpoint(path)
    for name in ("generator", "discriminator"):
        fresh = NETWORKS.make(weights.networks[name]).state_dict()
        filters = [key for key in fresh if key.endswith("_filter")]
        assert filters
        for key in filters:
            torch.testing.assert_close(fresh[key], weights.tensors[name][key], rtol=1e-5, atol=1e-8)


# --- Made-up files ---

GENERATORS = [
    (2, {}),
    (2, {"label_dim": 3, "mapping": {"num_layers": 3, "layer_features": 12, "embed_features": 5}}),
    (2, {"architecture": "resnet", "image_channels": 1, "conv_clamp": 4.0}),
    (2, {"architecture": "orig", "use_noise": False, "resample_filter": [1, 2, 1], "activation": "relu"}),
    (3, {}),
    (3, {"label_dim": 3, "conv_kernel": 1, "use_radial_filters": True, "margin_size": 6, "image_channels": 1}),
    (3, {"num_critical": 1, "filter_size": 5, "output_scale": 1.0, "conv_clamp": None, "first_cutoff": 1.5}),
]


@pytest.mark.parametrize(("nested", "protocol"), [(False, 2), (True, 3), (False, 4)])
@pytest.mark.parametrize(("kind", "changes"), GENERATORS)
def test_generators_of_all_settings_come_back(tmp_path, kind, changes, nested, protocol):
    made = nv.generator(kind, **changes)
    d = nv.discriminator(label_dim=made.label_dim, image_channels=made.image_channels)
    content = {
        "G": nv.store(nv.generator(kind, seed=5, **changes), nested),
        "D": nv.store(d),
        "G_ema": nv.store(made, nested),
        "augment_pipe": nv.Called("training.augment.AugmentPipe", 1, state={"p": torch.zeros(1)}),
        "training_set_kwargs": nv.Called("training.dataset.Settings", b"x", np.float64(3.5), np.arange(3)),
    }
    path = nv.write(
        tmp_path / "snapshot.pkl", content, protocol, ("training.augment.AugmentPipe", "training.dataset.Settings")
    )
    loaded = zoo.open_checkpoint(path)
    assert sorted(loaded.networks) == ["discriminator", "generator"]
    opened = loaded.build("generator")
    assert opened.config == made.config
    assert same_state(opened, made)
    assert same_state(zoo.open_discriminator(path), d)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "skip", "label_dim": 4},
        {"architecture": "orig", "mbstd_group_size": None, "conv_clamp": 3.0},
        {"label_dim": 2, "cmap_dim": 6, "mbstd_num_channels": 2, "last_activation": "swish", "activation": "relu"},
        {"mbstd_num_channels": 0, "resample_filter": [1, 1], "image_channels": 1},
    ],
)
def test_discriminators_of_all_settings_come_back(tmp_path, changes):
    made = nv.discriminator(**changes)
    opened = zoo.open_discriminator(nv.write(tmp_path / "d.pkl", {"D": nv.store(made)}))
    assert opened.config == made.config
    images = torch.randn(3, made.image_channels, 16, 16)
    assert torch.equal(opened(images), made(images))


def test_arguments_in_dicts_of_nvidias_own(tmp_path):
    easy = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    made = nv.generator(label_dim=2, conv_clamp=256)
    one = nv.store(made, nested=True)
    arguments = one.args[0]["state"]["_init_kwargs"]
    arguments |= {name: easy(arguments[name]) for name in ("synthesis_kwargs", "mapping_kwargs")}
    made.w_avg.note = 1  # what a tensor carries beside its numbers is left out
    path = tmp_path / "x.pkl"
    for protocol in (2, 4):
        with nv.named("dnnlib.util.EasyDict"):
            sys.modules["dnnlib.util"].EasyDict = easy
            nv.write(path, easy(G_ema=one, training_set_kwargs=easy(path="x")), protocol)
        opened = zoo.open_generator(path)
        assert opened.config == made.config
        assert same_state(opened, made)


def test_a_discriminator_of_another_kind_is_left_out_and_said(tmp_path):
    other = nv.store(nv.discriminator())
    other.args[0]["class_name"] = "ProjectedDiscriminator"
    path = nv.write(tmp_path / "x.pkl", {"G_ema": nv.store(nv.generator()), "D": other})
    loaded = zoo.open_checkpoint(path)
    assert sorted(loaded.networks) == ["generator"]
    assert "'ProjectedDiscriminator'" in loaded.info["found"]["discriminator"]
    with pytest.raises(CheckpointError, match=r"\(D\) holds a network of the class 'ProjectedDiscriminator'"):
        zoo.open_checkpoint(nv.write(tmp_path / "y.pkl", {"D": other}))


def test_a_limit_of_features_is_read_off_the_layers_where_no_argument_tells_it(tmp_path):
    g, d = nv.generator(conv_clamp=256), nv.discriminator(conv_clamp=256)
    parts = {"G": nv.store(g, left_out=("conv_clamp",)), "D": nv.store(d, left_out=("conv_clamp",))}
    loaded = zoo.open_checkpoint(nv.write(tmp_path / "x.pkl", parts))
    assert [net["config"]["conv_clamp"] for net in loaded.networks.values()] == [256, 256]


def test_one_network_alone_and_arguments_by_place(tmp_path):
    made = nv.generator()
    one = nv.store(made)
    state = one.args[0]["state"]
    names = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
    state["_init_args"] = tuple(state["_init_kwargs"].pop(name) for name in names)
    assert same_state(zoo.open_generator(nv.write(tmp_path / "G.pkl", one)), made)
    only = nv.write(tmp_path / "no_suffix", {"G": one, "G_ema": None, "D": None})
    assert same_state(zoo.open_generator(only), made)
    assert zoo.open_discriminator(only) is None


def test_converted_files_are_the_same_networks(tmp_path):
    made = nv.generator(3, label_dim=2)
    path = nv.write(tmp_path / "x.pkl", {"G_ema": nv.store(made)})
    networks, info = zoo.read_weights(path)
    again = zoo.open_generator(checkpoint.save(tmp_path / "x.safetensors", networks, **info))
    assert again.config == made.config
    assert same_state(again, made)


# --- Files that cannot be used, and files that mean harm ---


class Runs:
    """Opens a file when it is unpickled as Python does."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


class Executes(Runs):
    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("evil", [Runs, Executes])
def test_code_in_a_file_does_not_run(tmp_path, evil):
    made = nv.generator()
    content = {"G": nv.store(made), "training_set_kwargs": {"x": evil(tmp_path / "ran")}}
    assert same_state(zoo.open_generator(nv.write(tmp_path / "x.pkl", content)), made)
    inside = nv.store(made)
    inside.args[0]["state"]["_parameters"]["weight"] = evil(tmp_path / "ran")
    with pytest.raises(CheckpointError, match="holds weight as a Placeholder, expected a tensor"):
        zoo.open_generator(nv.write(tmp_path / "y.pkl", {"G": inside}))
    with pytest.raises(CheckpointError, match=r"\(G\) holds a (io|posix)\.(open|system), expected a network"):
        zoo.open_generator(nv.write(tmp_path / "z.pkl", {"G": evil(tmp_path / "ran"), "D": nv.store(made)}))
    assert not (tmp_path / "ran").exists()


class Reads:
    """A tensor whose bytes are a pickle that would run code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (torch.storage._load_from_bytes, (pickle.dumps(Runs(self.path)),))


def test_bytes_of_tensors_are_read_without_code(tmp_path):
    content = {"G": nv.store(nv.generator()), "other": Reads(tmp_path / "ran")}
    path = nv.write(tmp_path / "x.pkl", content)
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        zoo.open_generator(path)
    assert not (tmp_path / "ran").exists()


def test_unknown_classes_are_placeholders_and_imported_nowhere(tmp_path):
    deep = nv.Called("a_package.of_others.Thing", 1, state={"weights": [1, 2]})
    path = nv.write(tmp_path / "x.pkl", [deep, {"d": np.arange(6.0).reshape(2, 3)}], 4, ("a_package.of_others.Thing",))
    thing, rest = read_pickle(path)
    assert isinstance(thing, Placeholder)
    assert (thing.name, thing.args, thing.state) == ("a_package.of_others.Thing", (1,), {"weights": [1, 2]})
    np.testing.assert_array_equal(rest["d"].array, np.arange(6.0).reshape(2, 3))
    assert "a_package.of_others" not in sys.modules


def test_a_tensor_that_says_it_is_huge_is_refused(tmp_path):
    class Huge:
        def __reduce__(self):
            storage = torch.zeros(1).storage()
            return (torch._utils._rebuild_tensor_v2, (storage, 0, (1 << 20, 1 << 20), (0, 0), False, None))

    path = nv.write(tmp_path / "x.pkl", {"G": nv.store(nv.generator()), "x": Huge()})
    with pytest.raises(CheckpointError, match="of 1 stored numbers"):
        zoo.open_generator(path)


def spoilt(change):
    """A stored tiny generator whose meta data were changed."""
    one = nv.store(nv.generator())
    change(one.args[0], one.args[0]["state"])
    return one


def first_module(state, *names):
    for name in names:
        state = state["_modules"][name].args[0]["state"]
    return state


def rename_tensor(meta, state):
    inner = first_module(state, "synthesis", "b4", "conv1")["_parameters"]
    inner["wait"] = inner.pop("weight")


def enlarge(meta, state):
    first_module(state, "synthesis", "b4")["_parameters"]["const"] = torch.zeros(8, 4, 5)


def poison(meta, state):
    first_module(state, "mapping", "fc0")["_parameters"]["weight"] = torch.full((8, 8), torch.nan)


def double(meta, state):
    inner = first_module(state, "synthesis")["_modules"]
    inner["b8"] = inner["b4"]


def nest(meta, state):
    for _ in range(20):
        state["_modules"] = {"more": nv.stored(torch.nn.Module(), "More")}
        state = state["_modules"]["more"].args[0]["state"]
    state["_modules"] = {"fc": nv.stored(torch.nn.Linear(2, 2), "Linear")}


def nest_below(meta, state):
    nest(meta, first_module(state, "mapping"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda meta, state: meta.update(class_name="StyleNeRF"), "the class 'StyleNeRF', expected Generator or"),
        (rename_tensor, r"missing: synthesis\.b4\.conv1\.weight; left over: synthesis\.b4\.conv1\.wait"),
        (enlarge, r"synthesis\.b4\.const \[8, 4, 5\] instead of \[8, 4, 4\]"),
        (poison, r"64 of the \d+ weights of mapping\.fc0\.weight are not finite"),
        (nest_below, "holds the module .*more in several places or 16 deep"),
        (double, r"holds the module synthesis\.b8 in several places"),
        (lambda meta, state: state.update(_modules=[1]), r"has the modules \[\], expected b4"),
        (lambda meta, state: state.update(_init_kwargs=None, _init_args=[1] * 9), "does not tell the arguments"),
        (lambda meta, state: state["_init_kwargs"].pop("z_dim"), "lacks the argument z_dim"),
        (lambda meta, state: state["_init_kwargs"].update(rotate=True), "no setting 'rotate'"),
        (lambda meta, state: state["_init_kwargs"].update(img_resolution=1 << 20), "resolution is 1048576"),
        (lambda meta, state: state["_init_kwargs"].update(img_resolution=48), "resolution is 48, expected a power"),
        (lambda meta, state: state["_init_kwargs"].update(img_channels=2), "2 channels, expected 1"),
        (lambda meta, state: state["_init_kwargs"].update(architecture="deep"), "architecture is 'deep'"),
        (lambda meta, state: state["_init_kwargs"].update(mapping_kwargs=[1]), "mapping_kwargs as a list"),
        (lambda meta, state: state["_init_kwargs"].update(conv_clamp=object), "conv_clamp as a type|plain numbers"),
        (lambda meta, state: state["_init_kwargs"].update(num_layers=10**9), "num_layers is 1000000000"),
        (
            lambda meta, state: first_module(state, "synthesis")["_modules"].pop("b4"),
            r"whose synthesis network has the modules \['b16', 'b8'\], expected b4",
        ),
    ],
)
def test_what_is_wrong_with_a_network_is_one_sentence(tmp_path, change, words):
    path = nv.write(tmp_path / "x.pkl", {"G": spoilt(change)})
    with pytest.raises(CheckpointError, match=words) as told:
        zoo.open_generator(path)
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)


def test_files_of_other_kinds_are_named(tmp_path):
    network = "dnnlib.tflib.network.Network"
    old = nv.write(tmp_path / "old.pkl", tuple(nv.Called(network) for _ in range(3)), 2, (network,))
    with pytest.raises(CheckpointError, match=r"TensorFlow programs .*legacy\.py"):
        zoo.open_generator(old)
    for content, words in (
        ({"weights": nv.store(nv.generator())}, r"holds \['weights'\], expected G, D or G_ema among them"),
        ([nv.store(nv.generator())], "holds a list, expected a dict with G, D or G_ema"),
    ):
        with pytest.raises(CheckpointError, match=words):
            zoo.open_generator(nv.write(tmp_path / "x.pkl", content))
    only = nv.write(tmp_path / "d.pkl", {"D": nv.store(nv.discriminator())})
    with pytest.raises(CheckpointError, match=r"holds \['discriminator'\], expected a 'generator'"):
        zoo.open_generator(only)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_cut_off_files_are_named(tmp_path, share):
    path = nv.write(tmp_path / "x.pkl", {"G": nv.store(nv.generator())})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"x\.pkl is damaged or cut off"):
        zoo.open_generator(path)


def test_spoilt_bytes_never_end_in_a_traceback(tmp_path):
    content = bytearray(nv.write(tmp_path / "x.pkl", {"G": nv.store(nv.generator())}).read_bytes())
    draws = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        other = content.copy()
        for place in draws.integers(len(content), size=4):
            other[place] = draws.integers(256)
        path = tmp_path / "y.pkl"
        path.write_bytes(other)
        try:
            zoo.open_generator(path)
        except CheckpointError:
            refused += 1
    assert refused > 10
