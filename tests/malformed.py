"""A corpus of malformed inputs, made by code: (what it is, how it is made, who reads it). See test_malformed.py."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from ohlora_gan.data.datasets import Normalization, ParseFolder
from ohlora_gan.data.labels import ChosenLabels, choose, read_labels, read_partition
from ohlora_gan.data.pictures import Pictures, PictureSource, decode
from ohlora_gan.directions.arrays import arrays_of
from ohlora_gan.directions.files import load_directions, make_finder, read_directions
from ohlora_gan.files import claim
from ohlora_gan.latents.layers import layer_named
from ohlora_gan.latents.saved import read_cases, read_latents, read_medians
from ohlora_gan.models.checkpoint import METADATA_KEY as WEIGHTS
from ohlora_gan.models.zoo import open_filters, read_weights
from ohlora_gan.options import read_bounds, read_faces, read_hold, read_keep, read_strengths, read_tops
from ohlora_gan.pipelines.runs import SpaceSettings, describe, read_origins, settings_of
from tests import tiny


class Case(NamedTuple):
    """A file of this name and content, and what reads it; None: no file."""

    name: str
    content: Callable[[], bytes] | bytes | None
    read: Callable[[Path], Any]


def png(size: tuple[int, int] = (32, 32), mode: str = "RGB", format: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, format, **more)
    return buffer.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_claiming(shape: str, kind: str = "<f4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)


class Bomb:
    """Would write a file where it was unpickled by a reader that runs code."""

    def __reduce__(self):
        return exec, ("open('RAN', 'w').close()",)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
)
GARBAGE = {
    "0 bytes": b"",
    "1 byte": b"\x00",
    "8 zeros": bytes(8),
    "a page of zeros": bytes(4096),
    "text": b"this is no such file\n",
    "HTML": b"<html><body>404 Not Found</body></html>",
    "noise": np.random.default_rng(0).bytes(3000),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a huge header": struct.pack("<Q", 2**62) + b"{}",
    "a header of null": struct.pack("<Q", 4) + b"null",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(60),
    "PDF": b"%PDF-1.4\n" + bytes(40),
}
"""What any reader may be given; formats' own magic numbers included."""
FORMS: dict[str, Callable[[], bytes]] = {
    "PNG": png,
    "a zip": lambda: zipped({"a.txt": b"x"}),
    "a pickle of code": lambda: pickle.dumps(Bomb()),
    "JSON": lambda: b'{"a": 1}',
    "a table": lambda: b"a,b\n1,2\n",
}


def anything(
    kind: str, name: str, read: Callable[[Path], Any], but: tuple[str, ...] = ()
) -> Iterator[tuple[str, Case]]:
    """All of `GARBAGE` and `FORMS` for one reader, and no file at all."""
    for what, content in {**GARBAGE, **FORMS}.items():
        if what not in but:
            yield f"{kind}: {what}", Case(name, content, read)
    yield f"{kind}: missing", Case(name, None, read)


def cut(kind: str, name: str, whole: bytes, read: Callable[[Path], Any], places: tuple[float, ...]) -> Iterator[Any]:
    """A whole file, cut off at shares of its length."""
    for place in places:
        yield f"{kind}: cut at {place:.0%}", Case(name, whole[: int(place * len(whole))], read)


# --- Files of ours ---


def read_finder(path: Path) -> Any:
    return make_finder(json.loads(path.read_text()))


def build_all(path: Path) -> Any:
    return read_weights(path)


def weights(change: Callable[[dict, dict], None] = lambda tensors, told: None, network: Any = None) -> bytes:
    """A checkpoint of a tiny generator, with changes to its tensors and its description."""
    net = network or tiny.generator(label_dim=0, split=False, resolution=32)
    tensors = {f"generator.{key}": value.clone() for key, value in net.state_dict().items()}
    told = {"format": 1, "networks": {"generator": {"class": "Generator", "config": dict(net.config)}}, "seed": 0}
    change(tensors, told)
    return save_tensors(tensors, {WEIGHTS: told if isinstance(told, str) else json.dumps(told)})


def setting(name: str, value: Any) -> Callable[[dict, dict], None]:
    return lambda tensors, told: told["networks"]["generator"]["config"].update({name: value})


FIRST = "generator.mapping.dense0.weight"


def put(value: Any) -> Callable[[dict, dict], None]:
    """Another value in place of a tensor, a function of it."""

    def change(tensors: dict, told: dict) -> None:
        tensors[FIRST] = value(tensors[FIRST])

    return change


def spoil(place: int, value: float) -> Callable[[dict, dict], None]:
    def change(tensors: dict, told: dict) -> None:
        tensors[FIRST].view(-1)[place] = value

    return change


WEIGHT_CHANGES: dict[str, Callable[[dict, dict], None]] = {
    "one NaN": spoil(3, float("nan")),
    "one infinity": spoil(0, float("inf")),
    "an empty tensor": put(lambda t: t[:0]),
    "a tensor of 0x0": put(lambda t: torch.zeros(0, 0)),
    "a scalar": put(lambda t: t[0, 0]),
    "whole numbers": put(lambda t: t.long()),
    "yes and no": put(lambda t: t > 0),
    "another shape": put(lambda t: t[:3].clone()),
    "a tensor less": lambda t, d: t.pop(FIRST),
    "a tensor more": lambda t, d: t.update({"generator.more": torch.zeros(2)}),
    "a tensor of no network": lambda t, d: t.update({"other.weight": torch.zeros(2)}),
    "a tensor without a name": lambda t, d: t.update({"": torch.zeros(2)}),
    "no tensor at all": lambda t, d: t.clear(),
    "no networks": lambda t, d: d.pop("networks"),
    "networks as a list": lambda t, d: d.update(networks=[1]),
    "networks null": lambda t, d: d.update(networks=None),
    "a network as a number": lambda t, d: d.update(networks={"generator": 1}),
    "a class as a number": lambda t, d: d["networks"]["generator"].update({"class": 1}),
    "a class that runs code": lambda t, d: d["networks"]["generator"].update({"class": "os.system"}),
    "a class of ours that is no network": lambda t, d: d["networks"]["generator"].update({"class": "call_factory"}),
    "no class": lambda t, d: d["networks"]["generator"].pop("class"),
    "no config": lambda t, d: d["networks"]["generator"].pop("config"),
    "a config as a list": lambda t, d: d["networks"]["generator"].update(config=[1]),
    "no format": lambda t, d: d.pop("format"),
    "a format of tomorrow": lambda t, d: d.update(format=99),
    "a format as text": lambda t, d: d.update(format="1"),
    "a seed as text": lambda t, d: d.update(seed="x"),
    "a world as text": lambda t, d: d.update(world="earth"),
    "a setting that there is not": setting("depth", 3),
    **{
        f"{name} {value!r}": setting(name, value)
        for name, values in {
            "resolution": (0, -32, 33, 10**9, "32", None, 32.0, True, [32]),
            "w_dim": (0, -1, 10**12, 65_536, "16", 1.5),
            "z_dim": (0, 60_000),
            "label_dim": (-1, 10**9, True),
            "mapping_layers": (0, -3, 10**9),
            "fmaps": (5, [8], [8, 8, 8, "x"], [10**9] * 4, [0, 0, 0, 0], "8888"),
            "image_channels": (0, 2, 1000),
            "norm_epsilon": ("x", None),
            "split_mapping": ("no", 2),
        }.items()
        for value in values
    },
}
METADATA = {
    "null": "null",
    "a list": "[1]",
    "a text": '"x"',
    "no JSON": "{",
    "deep": "[" * 100_000,
    "not finite": '{"format": NaN, "networks": {}}',
    "empty": "{}",
}


def directions(change: Callable[[dict, dict], None]) -> bytes:
    tensors = {"directions": np.eye(4, dtype=np.float32)[:2].reshape(2, 1, 4), "slopes": np.ones((2, 1), np.float32)}
    told: dict[str, Any] = {"properties": ["eyes", "mouth"], "group_names": ["all"], "layer": "w", "method": "svm"}
    change(tensors, told)
    return save_arrays(tensors, {"ohlora_gan_directions": json.dumps(told)})


DIRECTION_CHANGES: dict[str, Callable[[dict, dict], None]] = {
    **{
        f"{name} {value!r}": (lambda t, d, n=name, v=value: d.update({n: v}))
        for name, values in {
            "free": ([1], [1, 2, 3], [3, 1], [0, 99], [-1, 2], ["a", "b"], 5, "ab"),
            "layer": (None, 5, "../../up", ["w"], ""),
            "method": (None, 1, "a/b"),
            "properties": (None, "eyes", ["eyes"], ["eyes", "eyes"], ["eyes", 5], ["eyes", "../x"], ["eyes", ""]),
            "group_names": (None, [], ["all", "more"], [1], ["/etc/passwd"]),
            "medians": ([1], "x", {"eyes": "high"}, {"eyes": None}),
            "names": (5, "eyes", [1]),
            "recipe": (5, "x", [1]),
            "provenance": (5, None, "x"),
        }.items()
        for value in values
    },
    **{f"no {name}": (lambda t, d, n=name: d.pop(n)) for name in ("layer", "method", "group_names")},
    "no directions": lambda t, d: t.pop("directions"),
    "zeros": lambda t, d: t.update(directions=t["directions"] * 0),
    "not of unit length": lambda t, d: t.update(directions=t["directions"] * 2),
    "NaN": lambda t, d: t.update(directions=t["directions"] * np.float32("nan")),
    "whole numbers": lambda t, d: t.update(directions=t["directions"].astype(np.int64)),
    "another shape": lambda t, d: t.update(directions=t["directions"][0]),
    "no values": lambda t, d: t.update(directions=t["directions"][..., :0]),
    "slopes of 0": lambda t, d: t.update(slopes=t["slopes"] * 0),
    "slopes of whole numbers": lambda t, d: t.update(slopes=t["slopes"].astype(np.int32)),
    "slopes of another shape": lambda t, d: t.update(slopes=np.ones(3, np.float32)),
    "spreads of another shape": lambda t, d: t.update(spreads=np.ones(3, np.float32)),
}
RECIPES: dict[str, Any] = {
    "no class": {"settings": {}},
    "a class that runs code": {"class": "os.system", "settings": {"command": "touch RAN"}},
    "no settings": {"class": "RidgeFinder"},
    "settings as a list": {"class": "RidgeFinder", "settings": [1]},
    "a setting that there is not": {"class": "RidgeFinder", "settings": {"depth": 1}},
    "a setting of another type": {"class": "RidgeFinder", "settings": {"damping": "x"}},
    "a setting out of range": {"class": "SvmFinder", "settings": {"ratio": -1}},
    "parts as a number": {"class": "MixedFinder", "settings": {"finders": 3}},
    "a part that is none": {"class": "MixedFinder", "settings": {"finders": {"eyes": 3}}},
}


def latents(change: Callable[[dict, dict], None]) -> bytes:
    tensors = {
        "z": np.ones((3, 4), np.float32),
        "label": np.zeros((3, 0), np.float32),
        "cases": np.arange(3),
        "corrs": np.full((1, 3), 0.5),
    }
    told: dict[str, Any] = {"groups": ["all"] * 3, "properties": ["eyes"], "origin": {}}
    change(tensors, told)
    return save_arrays(tensors, {"ohlora_gan_latents": json.dumps(told)})


LATENT_CHANGES: dict[str, Callable[[dict, dict], None]] = {
    "yes and no": lambda t, d: t.update(z=t["z"] > 0),
    "whole numbers": lambda t, d: t.update(z=t["z"].astype(np.int64)),
    "times 1e30": lambda t, d: t.update(z=t["z"] * np.float32(1e30)),
    "NaN": lambda t, d: t.update(z=t["z"] * np.float32("nan")),
    "no rows": lambda t, d: t.update(z=t["z"][:0]),
    "one dimension": lambda t, d: t.update(z=t["z"][0]),
    "labels of fewer rows": lambda t, d: t.update(label=t["label"][:2]),
    "labels of whole numbers": lambda t, d: t.update(label=np.zeros((3, 2), np.int64)),
    "cases as floats": lambda t, d: t.update(cases=t["cases"].astype(np.float32)),
    "fewer cases": lambda t, d: t.update(cases=t["cases"][:2]),
    "more correlations than names": lambda t, d: t.update(corrs=np.ones((2, 3))),
    "fewer correlations than latents": lambda t, d: t.update(corrs=np.ones((1, 2))),
    **{f"no {name}": (lambda t, d, n=name: t.pop(n)) for name in ("z", "label", "cases", "corrs")},
    **{f"{name} missing": (lambda t, d, n=name: d.pop(n)) for name in ("groups", "properties", "origin")},
    **{f"{name} null": (lambda t, d, n=name: d.update({n: None})) for name in ("groups", "properties", "origin")},
    **{f"{name} a number": (lambda t, d, n=name: d.update({n: 5})) for name in ("groups", "properties", "origin")},
    "groups of numbers": lambda t, d: d.update(groups=[1, 2, 3]),
    "groups of odd names": lambda t, d: d.update(groups=["../x", "all", "hh"]),
    "fewer groups": lambda t, d: d.update(groups=["all"]),
    "properties of numbers": lambda t, d: d.update(properties=[1]),
    "a property twice": lambda t, d: (d.update(properties=["a", "a"]), t.update(corrs=np.ones((2, 3)))),
}


def files_of_ours() -> Iterator[tuple[str, Case]]:
    yield from anything("weights", "x.safetensors", build_all)
    yield from cut("weights", "x.safetensors", weights(), build_all, (0.001, 0.01, 0.1, 0.5, 0.999))
    for what, change in WEIGHT_CHANGES.items():
        yield f"weights: {what}", Case("x.safetensors", lambda c=change: weights(c), build_all)
    for what, text in METADATA.items():
        held = save_tensors({"a": torch.zeros(1)}, {WEIGHTS: text})
        yield f"weights: description {what}", Case("x.safetensors", held, build_all)
        held = save_arrays({"directions": np.ones((1, 1, 1))}, {"ohlora_gan_directions": text})
        yield f"directions: description {what}", Case("v.safetensors", held, load_directions)
        held = save_arrays({"z": np.ones((1, 1))}, {"ohlora_gan_latents": text})
        yield f"latents: description {what}", Case("l.safetensors", held, read_latents)
    yield from anything("directions", "v.safetensors", load_directions)
    yield from anything("latents", "l.safetensors", read_latents)
    yield from anything("inspect", "x.safetensors", lambda path: describe(str(path)))
    for what, change in DIRECTION_CHANGES.items():
        yield f"directions: {what}", Case("v.safetensors", lambda c=change: directions(c), load_directions)
    for what, recipe in RECIPES.items():
        yield (
            f"finder: {what}",
            Case("r.json", json.dumps(recipe).encode(), lambda p: make_finder(json.loads(p.read_text()))),
        )
    for what, change in LATENT_CHANGES.items():
        yield f"latents: {what}", Case("l.safetensors", lambda c=change: latents(c), read_latents)


# --- Files of other people ---


def foreign(change: Callable[[dict], None] = lambda state: None, wrap: Callable[[dict], Any] = lambda s: s) -> bytes:
    state = {k: v.clone() for k, v in tiny.generator(label_dim=0, split=False, resolution=32).state_dict().items()}
    change(state)
    return saved(wrap(state))


def cyclic() -> bytes:
    content: dict[str, Any] = {"a": torch.zeros(1)}
    content["self"] = content
    return saved(content)


def shared(levels: int = 40) -> bytes:
    content: dict[str, Any] = {"a": torch.zeros(1)}
    for _ in range(levels):
        content = {"left": content, "right": content}
    return saved(content)


DENSE = "mapping.dense0.weight"
FOREIGN: dict[str, Callable[[], bytes]] = {
    "whole numbers as keys": lambda: saved({0: torch.zeros(1), 1: torch.zeros(2)}),
    "an empty dict": lambda: saved({}),
    "a list": lambda: saved([torch.zeros(1)]),
    "a number": lambda: saved(5),
    "a tensor": lambda: saved(torch.zeros(3)),
    "unknown keys": lambda: saved({"weight": torch.zeros(3)}),
    "unknown keys, many": lambda: saved({f"k{i}": torch.zeros(1) for i in range(99)}),
    "itself inside": cyclic,
    "one dict in 2^40 places": shared,
    "a meta tensor": lambda: foreign(lambda s: s.update({DENSE: s[DENSE].to("meta")})),
    "a sparse tensor": lambda: foreign(lambda s: s.update({DENSE: s[DENSE].to_sparse()})),
    "a complex tensor": lambda: foreign(lambda s: s.update({DENSE: s[DENSE].to(torch.complex64)})),
    "a tensor of 0x0": lambda: foreign(lambda s: s.update({DENSE: torch.zeros(0, 0)})),
    "a scalar": lambda: foreign(lambda s: s.update({DENSE: torch.zeros(())})),
    "all tensors of 0x0": lambda: foreign(lambda s: s.update({k: torch.zeros(0, 0) for k in s})),
    "all tensors scalars": lambda: foreign(lambda s: s.update({k: torch.zeros(()) for k in s})),
    "one NaN": lambda: foreign(lambda s: s[DENSE].view(-1)[:1].fill_(float("nan"))),
    "one infinity": lambda: foreign(lambda s: s[DENSE].view(-1)[:1].fill_(float("inf"))),
    "a tensor less": lambda: foreign(lambda s: s.pop(DENSE)),
    "a tensor more": lambda: foreign(lambda s: s.update(more=torch.zeros(1))),
    "two generators": lambda: foreign(wrap=lambda s: {"a": s, "b": dict(s)}),
    "marks alone": lambda: saved({"truncation.w_avg": torch.zeros(4)}),
    "a discriminator's mark alone": lambda: saved({"input0.weight": torch.zeros(4)}),
    "a filter's mark alone": lambda: saved({"fc_final.0.weight": torch.zeros(4)}),
    "a scorer's mark alone": lambda: saved({"eyes_score_cnn.conv1.0.weight": torch.zeros(4)}),
    "rosinality's mark alone": lambda: saved({"input.input": torch.zeros(4)}),
    "rosinality's StyleGAN-1 mark alone": lambda: saved({"generator.progression.0.conv1.input": torch.zeros(4)}),
    "code beside": lambda: saved({"state_dict": {}, "hook": Bomb()}),
    "code in a zip": lambda: zipped({"archive/data.pkl": pickle.dumps(Bomb()), "archive/version": b"3\n"}),
    "a pickle of code, protocol 0": lambda: pickle.dumps(Bomb(), 0),
    "a pickle of plain data": lambda: pickle.dumps({"a": 1}),
    "a pickle that opens a file": lambda: b"c__builtin__\nopen\n(S'RAN'\nS'w'\ntR.",
    "a pickle without end": lambda: b"\x80\x04" + b"(" * 5000,
}


def weights_of_others() -> Iterator[tuple[str, Case]]:
    for suffix in (".pth", ".pt", ".pkl", ".ckpt"):
        yield from anything(f"{suffix} weights", f"x{suffix}", build_all)
    for what, make in FOREIGN.items():
        for suffix in (".pth", ".pkl") if "pickle" in what else (".pth",):
            yield f"{suffix} weights: {what}", Case(f"x{suffix}", make, build_all)
    yield from cut(".pth weights", "x.pth", foreign(), build_all, (0.1, 0.5, 0.9, 0.999))
    yield "filters: none in the file", Case("x.safetensors", weights, lambda path: open_filters([path]))


def boundary(path: Path) -> Any:
    return list(arrays_of(path))


ARRAYS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "npy that claims 7 TiB": ("a.npy", lambda: npy_claiming("(1000000000000,)", "<f8")),
    "npy that claims more than there is": ("a.npy", lambda: npy_claiming("(1, 512)")),
    "npy of negative size": ("a.npy", lambda: npy_claiming("(-1, 512)")),
    "npy of an odd shape": ("a.npy", lambda: npy_claiming("'x'")),
    "npy of a long shape": ("a.npy", lambda: npy_claiming("(" + "1," * 33 + ")")),
    "npy of an odd type": ("a.npy", lambda: npy_claiming("(2,)", "zz")),
    "npy with a header that is code": ("a.npy", lambda: npy_claiming("__import__('os').system('touch RAN')")),
    "npy of zeros": ("a.npy", lambda: npy(np.zeros(8, np.float32))),
    "npy of NaN": ("a.npy", lambda: npy(np.full(8, np.nan, np.float32))),
    "npy of whole numbers": ("a.npy", lambda: npy(np.ones(8, np.int64))),
    "npy of yes and no": ("a.npy", lambda: npy(np.ones(8, bool))),
    "npy of text": ("a.npy", lambda: npy(np.array(["a", "b"]))),
    "npy of complex numbers": ("a.npy", lambda: npy(np.ones(8, np.complex64))),
    "npy of four dimensions": ("a.npy", lambda: npy(np.ones((1, 2, 2, 2), np.float32))),
    "npy of no numbers": ("a.npy", lambda: npy(np.ones((0, 4), np.float32))),
    "npy of a scalar": ("a.npy", lambda: npy(np.float32(3))),
    "npy with code": ("a.npy", lambda: npy_object(Bomb())),
    "npz that claims 7 TiB": ("a.npz", lambda: zipped({"a.npy": npy_claiming("(1000000000000,)", "<f8")})),
    "npz of no arrays": ("a.npz", lambda: zipped({"a.npy": b"x"})),
    "npz, empty": ("a.npz", lambda: zipped({})),
    "npz with code": ("a.npz", lambda: zipped({"a.npy": npy_object(Bomb())})),
    "npz that is to fill the memory": ("a.npz", lambda: zipped({"a.npy": bytes(2**28 + 9)})),
    "pt of a sparse tensor": ("a.pt", lambda: saved(torch.eye(4).to_sparse())),
    "pt of a meta tensor": ("a.pt", lambda: saved(torch.zeros(4, device="meta"))),
    "pt of text": ("a.pt", lambda: saved("x")),
    "pt of nothing": ("a.pt", lambda: saved({})),
    "pkl of code": ("a.pkl", lambda: pickle.dumps(Bomb())),
    "pkl of code in a dict": ("a.pkl", lambda: pickle.dumps({"boundary": Bomb()})),
    "pkl of text": ("a.pkl", lambda: pickle.dumps("x")),
    "pkl of None": ("a.pkl", lambda: pickle.dumps(None)),
    "csv with two rows": ("a.csv", lambda: b",0,1\n0,1,2\n1,3,4\n"),
    "csv of text": ("a.csv", lambda: b",0,1\n0,a,b\n"),
    "csv with gaps": ("a.csv", lambda: b",0,1\n0,1,\n"),
    "csv of infinity": ("a.csv", lambda: b",0,1\n0,1,inf\n"),
    "csv cut off": ("a.csv", lambda: b",0,1\n0,1,2"),
}


def npy_object(content: Any) -> bytes:
    array = np.empty((), object)
    array[()] = content
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def directions_of_others() -> Iterator[tuple[str, Case]]:
    for suffix in (".npy", ".npz", ".pt", ".pkl", ".csv"):
        yield from anything(f"{suffix} directions", f"a{suffix}", boundary)
    for what, (name, make) in ARRAYS.items():
        yield f"directions: {what}", Case(name, make, boundary)
    for name in ("eyes_change_w_vector_all.csv", "readme.csv"):
        for what, content in GARBAGE.items():
            case = Case(f"folder/{name}", content, lambda path: read_directions(path.parent, "w"))
            yield f"{name}: {what}", case


# --- Tables and text ---


def chosen(path: Path) -> Any:
    """Labels as a training reads them, of pictures a.png to d.png."""
    return ChosenLabels(read_labels(path), None, [f"{c}.png" for c in "abcd"])


ROWS = "".join(f"{c}.png,{i}\n" for i, c in enumerate("abcd"))
LABELS = {
    "no rows": "file,lip\n",
    "no column": "file\na.png\n",
    "a column without a name": "file,\na.png,1\n",
    "a column twice": "file,lip,lip\na.png,1,2\n",
    "a row too long": "file,lip\na.png,1,2\n",
    "a row too short": "file,lip,eye\na.png,1\n",
    "text": "file,lip\na.png,red\nb.png,blue\n",
    "text among numbers": "file,lip\na.png,1\nb.png,red\n",
    "infinity": "file,lip\na.png,1\nb.png,inf\n",
    "decimal commas": "file;lip\na.png;0,5\nb.png;0,7\n",
    "-999 for unknown": "file,lip\na.png,0.1\nb.png,0.3\nc.png,-999\nd.png,0.2\n",
    "-999 for unknown, tabs": "file\tlip\na.png\t0.1\nb.png\t0.3\nc.png\t-999\nd.png\t0.2\n",
    "9999 for unknown": "file,age\na.png,20\nb.png,30\nc.png,9999\nd.png,9999\n",
    "a row twice": "file,lip\na.png,1\na.png,2\n",
    "no picture of these": "file,lip\nx.png,1\ny.png,2\n",
    "a path that climbs": "file,lip\n../../a.png,1\n",
    "an empty row's name": "file,lip\n,1\n",
    "all cells empty": "file,lip\na.png,\nb.png,\n",
    "an open quote": 'file,lip\n"a.png,1\n',
    "a name with a slash": "file,lip/left\na.png,1\nb.png,2\n",
    "a name with a dot": "file,lip.left\na.png,1\nb.png,2\n",
    "CelebA's count wrong": "3\nMale\na.png 1\n",
    "CelebA's head alone": "0\n",
    "spaces between cells": "file lip\na.png 1\n",
    "a cell of a megabyte": f"file,lip\na.png,{'1' * 10**6}\n",
    "numbers of letters": "file,lip\na.png,0x10\nb.png,0x20\n",
}
TABLES: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "latents as csv, columns": ("z.csv", "0,2\n1,2\n", lambda p: read_latents(p, None, (1, 1))),
    "latents as csv, width": ("z.csv", "0,1,2\n1,2,3\n", lambda p: read_latents(p, None, (1, 1))),
    "latents as csv, text": ("z.csv", "0,1\n1,x\n", lambda p: read_latents(p, None, (1, 1))),
    "latents as csv, huge": ("z.csv", "0,1\n1,1e30\n", lambda p: read_latents(p, None, (1, 1))),
    "latents as csv, NaN": ("z.csv", "0,1\n1,nan\n", lambda p: read_latents(p, None, (1, 1))),
    "cases without a mark": ("t.csv", "case,group_name,passed,eyes_corr,sum_abs_corr\n0,all,?,0.5,0.5\n", read_cases),
    "cases that fall": (
        "t.csv",
        "case,group_name,passed,eyes_corr,sum_abs_corr\n3,all,O,0.5,0.5\n1,all,O,0.5,0.5\n",
        read_cases,
    ),
    "cases with a correlation of 2": (
        "t.csv",
        "case,group_name,passed,eyes_corr,sum_abs_corr\n0,all,O,2,2\n",
        read_cases,
    ),
    "cases with a wrong sum": ("t.csv", "case,group_name,passed,eyes_corr,sum_abs_corr\n0,all,O,0.5,0.9\n", read_cases),
    "cases with an odd group": ("t.csv", "case,group_name,passed,eyes_corr,sum_abs_corr\n0,x,O,0.5,0.5\n", read_cases),
    "cases with half a number": (
        "t.csv",
        "case,group_name,passed,eyes_corr,sum_abs_corr\n0.5,all,O,0.5,0.5\n",
        read_cases,
    ),
    "cases without correlations": ("t.csv", "case,group_name,passed,sum_abs_corr\n0,all,O,0.5\n", read_cases),
    "medians without a median": ("m.csv", "value_type,eyes\nmean,1\n", read_medians),
    "medians twice": ("m.csv", "value_type,eyes\nmedian,1\nmedian,2\n", read_medians),
    "medians of text": ("m.csv", "value_type,eyes\nmedian,high\n", read_medians),
    "a partition of four": ("p.txt", "a.png 3\n", lambda p: read_partition(p, ["a.png"])),
    "a partition that leaves one out": ("p.txt", "a.png 0\n", lambda p: read_partition(p, ["a.png", "b.png"])),
    "a partition of other pictures": ("p.txt", "x.png 0\n", lambda p: read_partition(p, ["a.png"])),
    "a partition of three cells": ("p.txt", "a.png 0 1\n", lambda p: read_partition(p, ["a.png"])),
    "statistics of text": ("n.json", '{"mean": {"a": "x"}, "std": {"a": 1}}', Normalization.load),
    "statistics of a deviation of 0": ("n.json", '{"mean": {"a": 0}, "std": {"a": 0}}', Normalization.load),
    "statistics that are not finite": ("n.json", '{"mean": {"a": NaN}, "std": {"a": 1}}', Normalization.load),
    "statistics of different names": ("n.json", '{"mean": {"a": 0}, "std": {"b": 1}}', Normalization.load),
    "statistics as a list": ("n.json", "[1]", Normalization.load),
    "statistics, deep": ("n.json", "[" * 100_000, Normalization.load),
    "a column that there is not": ("l.csv", "file,lip\na.png,1\n", lambda p: choose(read_labels(p), ["lop"])),
    "not of a column that is not binary": (
        "l.csv",
        "file,lip\na.png,1\nb.png,5\n",
        lambda p: choose(read_labels(p), {"x": "not lip"}),
    ),
}
NOT_UTF_8 = "a,b\n\xe4,1\n".encode("latin-1")


def tables() -> Iterator[tuple[str, Case]]:
    yield from anything("labels", "labels.csv", chosen)
    for what, text in LABELS.items():
        yield f"labels: {what}", Case("labels.csv", text.encode(), chosen)
    for what, (name, text, read) in TABLES.items():
        yield f"table: {what}", Case(name, text.encode(), read)
    readers: dict[str, Callable[[Path], Any]] = {"labels": chosen, "cases": read_cases, "medians": read_medians}
    readers |= {"latents": read_latents, "partition": lambda p: read_partition(p, ["a.png"])}
    for what, reader in readers.items():
        yield f"{what}: not UTF-8", Case("t.csv", NOT_UTF_8, reader)
        yield f"{what}: UTF-16", Case("t.csv", "a,b\n1,2\n".encode("utf-16"), reader)
    yield from anything("medians", "m.csv", read_medians)
    yield from anything("cases", "t.csv", read_cases)
    yield from anything("statistics", "n.json", Normalization.load)


# --- Pictures ---


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG whose first chunk after the header is of this kind."""
    import zlib

    whole = png()
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return whole[:33] + chunk + whole[33:]


def sized(width: int, height: int) -> bytes:
    """A PNG that says it is so large."""
    import zlib

    whole = png()
    head = b"IHDR" + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + head + struct.pack(">I", zlib.crc32(head)) + whole[33:]


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(RAN) (w) file closefile\nshowpage\n%%EOF\n"
PICTURES: dict[str, Callable[[], bytes] | bytes] = {
    "PostScript": POSTSCRIPT,
    "PostScript with a preview": b"\xc5\xd0\xd3\xc6"
    + struct.pack("<IIIIII", 30, len(POSTSCRIPT), 0, 0, 0, 0)
    + POSTSCRIPT,
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>',
    "a Windows metafile": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "a PPM": lambda: png(format="PPM"),
    "a TGA": lambda: png(format="TGA"),
    "a PCX": lambda: png(format="PCX"),
    "an ICO": lambda: png(format="ICO"),
    "a JPEG 2000": lambda: png(format="JPEG2000"),
    "a FLI": struct.pack("<IH", 128, 0xAF11) + bytes(122),
    "a Photoshop file": b"8BPS\x00\x01" + bytes(60),
    "a gigapixel": lambda: sized(65_000, 65_000),
    "no width": lambda: sized(0, 32),
    "a side of 2 billion": lambda: sized(2**31 - 1, 1),
    "a text chunk that is to fill the memory": lambda: with_chunk(b"zTXt", b"a\x00\x00" + _packed(2**24)),
    "one pixel": lambda: png((1, 1)),
    "floating point": lambda: _float_tiff(),
    "a GIF's head": b"GIF89a",
    "a JPEG's head": b"\xff\xd8\xff\xe0",
    "a WebP's head": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "a TIFF's head": b"II*\x00\x08\x00\x00\x00\xff\xff",
    "a TIFF in a circle": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
    "a BMP's head": b"BM" + bytes(52),
}


def _packed(size: int) -> bytes:
    import zlib

    return zlib.compress(bytes(size))


def _float_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ones((32, 32), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def look(path: Path) -> Any:
    with path.open("rb") as file:
        return decode(file, 16)


def look_all(path: Path) -> Any:
    """All pictures of a folder or zip, none of which may be left out."""
    source = PictureSource(path)
    return Pictures(source, source.names, 16, strict=True)


def look_at_pair(path: Path) -> Any:
    """A parse map beside a whole face."""
    path.with_name("face_1.png").write_bytes(png())
    return list(ParseFolder(path.parent))


LISTED = b"PK\x01\x02\x14\x03\x14\x00"
"""How an entry of a zip's list begins; its flags and its compression follow."""
ZIPS: dict[str, Callable[[], bytes]] = {
    "no pictures": lambda: zipped({"a.txt": b"x"}),
    "names that climb": lambda: zipped(dict.fromkeys(("../../a.png", "/etc/b.png", "c:/d.png", "..\\e.png"), png())),
    "a picture of 300 MB of zeros": lambda: zipped({"a.png": bytes(3 * 10**8)}),
    "a WebP of 200 MB of zeros": lambda: zipped({"a.webp": b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(2 * 10**8)}),
    "PostScript": lambda: zipped({"a.png": POSTSCRIPT}),
    "a link": lambda: zipped({"a.png": b"/etc/passwd"}),
    "a zip in a zip": lambda: zipped({"a.png": zipped({"a.png": png()})}),
    "an empty picture": lambda: zipped({"a.png": b""}),
    "a picture cut off": lambda: zipped({"a.png": png((200, 200))[:100]}),
    "a damaged picture": lambda: zipped({"a.png": png()}, zipfile.ZIP_STORED).replace(b"IDAT", b"IDXX"),
    "an encrypted picture": lambda: zipped({"a.png": png()}).replace(LISTED + b"\0", LISTED + b"\1"),
    "an unknown compression": lambda: zipped({"a.png": png()}).replace(LISTED + b"\0\0\x08", LISTED + b"\0\0\x63"),
    "a name of two lines": lambda: zipped({"a\nb.png": png()}),
}


def pictures() -> Iterator[tuple[str, Case]]:
    yield from anything("picture", "a.png", look, but=("PNG",))
    for what, content in PICTURES.items():
        yield f"picture: {what}", Case("a.png", content, look)
        yield f"picture in a folder: {what}", Case("folder/a.png", content, lambda p: look_all(p.parent))
    for format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        whole = png((99, 99), format=format)
        yield from cut(f"{format} picture", "a.png", whole, look, (0.02, 0.3, 0.6))
    yield from anything("pictures", "p.zip", look_all)
    for what, make in ZIPS.items():
        yield f"zip: {what}", Case("p.zip", make, look_all)
    yield from cut("zip", "p.zip", zipped({"a.png": png()}), look_all, (0.3, 0.9))
    for what, content in {"text": b"x", "PostScript": POSTSCRIPT, "colours": png()}.items():
        case = Case(
            "folder/parsing_1.png",
            content,
            lambda p: (p.with_name("face_1.png").write_bytes(png()), list(ParseFolder(p.parent))),
        )
        yield f"parse map: {what}", case


# --- What folders of runs say ---


def space(path: Path) -> Any:
    return SpaceSettings.of(settings_of(path.parent))


CONFIGS = {
    "aliases without end": LAUGHS,
    "an alias of itself": "a: &a [*a]\n",
    "deep": "[" * 2000,
    "deep mappings": "\n".join(" " * i + "a:" for i in range(3000)),
    "an open list": "seed: [",
    "a tag that runs code": "!!python/object/apply:os.system ['touch RAN']\n",
    "an open reference": "a: ${b\n",
    "tabs": "a:\n\t- b\n",
    "a list": "[1, 2]\n",
    "a text": "hello\n",
    "nothing": "",
    "a seed of text": "checkpoint: v9\nscorer: property_cnn\nseed: x\n",
    "a seed as a list": "checkpoint: v9\nscorer: property_cnn\nseed: [1]\n",
    "a batch size of text": "checkpoint: v9\nscorer: property_cnn\nbatch_size: many\n",
    "a checkpoint as a number": "checkpoint: 5\nscorer: property_cnn\n",
    "a checkpoint as a mapping": "checkpoint: {a: 1}\nscorer: property_cnn\n",
    "a checkpoint that is code": "checkpoint: os:getcwd\nscorer: property_cnn\n",
    "a scorer that is code": "checkpoint: v9\nscorer: os:getcwd\n",
    "no scorer": "checkpoint: v9\n",
    "a seed below 0": "checkpoint: v9\nscorer: property_cnn\nseed: -1\n",
    "a batch size of 0": "checkpoint: v9\nscorer: property_cnn\nbatch_size: 0\n",
    "a seed of true": "checkpoint: v9\nscorer: property_cnn\nseed: true\n",
    "psi not finite": "checkpoint: v9\nscorer: property_cnn\ntruncation_psi: .nan\n",
    "psi of 7": "checkpoint: v9\nscorer: property_cnn\ntruncation_psi: 7\n",
}
ORIGINS = {
    "a list": "[1]",
    "a number": "5",
    "a network as a number": '{"checkpoint": 5}',
    "no name": '{"checkpoint": {"path": "x"}}',
    "a name as a number": '{"checkpoint": {"name": 5}}',
    "a size as text": '{"checkpoint": {"name": "x", "path": "x", "size": "big"}}',
    "a path as a list": '{"checkpoint": {"name": "x", "path": [1]}}',
    "a field that there is not": '{"checkpoint": {"name": "x", "command": "rm"}}',
    "cut off": '{"checkpoint": {"na',
    "deep": "[" * 100_000,
    "not UTF-8": b"\xff\xfe\x00",
}
WORDS: dict[str, Callable[[], Any]] = {
    "--set without a value": lambda: read_strengths(["eyes"]),
    "--set of text": lambda: read_strengths(["eyes=much"]),
    "--set of infinity": lambda: read_strengths(["eyes=inf"]),
    "--set of 0": lambda: read_strengths(["eyes=0"]),
    "--set twice": lambda: read_strengths(["eyes=1", "eyes=2"]),
    "--set of a path": lambda: read_strengths(["../x=1"]),
    "--faces of text": lambda: read_faces("a"),
    "--faces below 0": lambda: read_faces("-1"),
    "--faces empty": lambda: read_faces(""),
    "--keep of text": lambda: read_keep("gender=x"),
    "--top of 0": lambda: read_tops(["mouth=0"]),
    "--hold of rest and more": lambda: read_hold(["rest", "eyes"]),
    "--require without a bound": lambda: read_bounds(["gender"]),
    "a layer that there is not": lambda: layer_named("nothing"),
}


def runs() -> Iterator[tuple[str, Case]]:
    yield from anything("config", "config.yaml", space)
    for what, text in CONFIGS.items():
        yield f"config: {what}", Case("config.yaml", text.encode(), space)
    for what, text in ORIGINS.items():
        content = text if isinstance(text, bytes) else text.encode()
        yield f"made_from: {what}", Case("made_from.json", content, lambda p: read_origins(p.parent))
    yield from anything("made_from", "made_from.json", lambda p: read_origins(p.parent), but=("JSON",))
    for what, content in {"a list": b"[1]", "cut off": b'{"a', "not UTF-8": b"\xff", "deep": b"[" * 10**5}.items():
        yield f"claim: {what}", Case("c.json", content, lambda p: claim(p.parent, p.name, {"a": 1}, "labels"))
    for what, call in WORDS.items():
        yield f"word: {what}", Case("unused", None, lambda path, c=call: c())


def corpus() -> dict[str, Case]:
    """All of it, by what it is."""
    return dict([*files_of_ours(), *weights_of_others(), *directions_of_others(), *tables(), *pictures(), *runs()])
