"""Other people's files of weights, read without running code: which networks they hold, where, and in whose layout.

A file is a dict of networks, a dict that holds such a dict (genforce's runner: ``models`` beside ``optimizers`` and
``running_metadata``; Lightning: ``state_dict``), or the flat state dict of one network. Names before the keys, such as
those of DataParallel and torch.compile, are taken off. A network is told by its tensors; how it is built is read off
their shapes. What tensors do not show is in docs/own_generator.md. Pickles of NVIDIA are read in `nvidia`.
"""

import argparse
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError, check_plain, load_strictly
from ohlora_gan.models.filters import ReferenceFilterCNN
from ohlora_gan.models.gan import Generator
from ohlora_gan.models.nvidia import read_nvidia
from ohlora_gan.models.rosinality import AVERAGE, Renaming, State, read_stylegan1, read_stylegan2
from ohlora_gan.models.scorers import FILTER_SPECS

FORMATS = "ohlora_gan.formats"
WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""
AVERAGED = re.compile(r"(^|_)(ema|smooth|running)(_|$)")
"""How a moving average of a generator is called: ``generator_smooth``, ``g_ema``, ``ema``, ``g_running``."""
NUMPY_NUMBER = np.float64(0).__reduce__()[0]
INERT: list[Any] = [
    argparse.Namespace,  # the settings that rosinality's programs keep beside the weights
    *(np.dtype, *{type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "bool")}),
    *((NUMPY_NUMBER, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""What a file may hold beside tensors and plain data: making one runs nothing."""
MAX_DEPTH, MAX_DICTS = 12, 10_000  # of dicts in dicts
REPORTED = 6  # keys in a sentence


@dataclass(frozen=True)
class Layout:
    """How one kind of network is laid out by somebody's program.

    Attributes:
        name: whose, and of what, as ``ohlora inspect`` says it.
        kind: what it is to us: generator, discriminator, scorer or filter.
        network: the class of ours that takes its tensors.
        marks: keys of which one is enough to tell it.
        read: from its tensors to the class's arguments, tensors and our keys -> the file's.
    """

    name: str
    kind: str
    network: str
    marks: tuple[str, ...]
    read: Callable[[State], tuple[dict[str, Any], State, Mapping[str, str]]]


@dataclass(frozen=True)
class Place:
    """A network in a file.

    Attributes:
        path: the names that lead to it, outermost first; empty where the file is its state dict.
        prefix: what stood before each of its keys.
        state: its tensors.
    """

    path: tuple[str, ...]
    prefix: str
    state: dict[str, Tensor]
    layout: Layout

    @property
    def part(self) -> str:
        """What we call it: its kind, and whether it is a moving average."""
        averaged = self.layout.kind == "generator" and any(AVERAGED.search(name.lower()) for name in self.path)
        return "generator_smooth" if averaged else self.layout.kind

    def __str__(self) -> str:
        where = ".".join(self.path) or "the file itself"
        return f"{where}, prefix {self.prefix}" if self.prefix else where


def load_foreign(path: Path) -> Checkpoint:
    """Networks of others, or those of a GAN run's ``last.ckpt``; CheckpointError for what is neither."""
    for format_of_others in entry_points(group=FORMATS):
        if (found := format_of_others.load()(path)) is not None:
            return found
    if (found := read_nvidia(path)) is not None:
        return found
    try:
        content = load_file(path)
    except SafetensorError:
        content = read_torch(path)
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__}, expected a dict of tensors")
    places: dict[str, Place] = {}
    for place in networks_in(content):
        if place.part in places:
            raise CheckpointError(
                f"checkpoint {path} holds two networks that could be its {place.part}, at {places[place.part]} and at "
                f"{place}: save the one that you want alone"
            )
        places[place.part] = place
    if not places:
        keys = [key for key, _ in islice(flat_keys(content), REPORTED + 1)]
        more = " and more" if len(keys) > REPORTED else ""
        raise CheckpointError(
            f"checkpoint {path} has the keys {', '.join(keys[:REPORTED])}{more}, expected those of "
            f"{', '.join(layout.name for layout in LAYOUTS)}: see docs/own_generator.md"
        )
    if "generator_smooth" in places and ("generator" not in places or "pytorch-lightning_version" in content):
        places["generator"] = places.pop("generator_smooth")
    found = _checkpoint(path, places)
    found.info["found"] |= dict.fromkeys(left_out(content, places.values()), "left out: of no layout that is known")
    return found


def left_out(content: Mapping[Any, Any], places: Iterable[Place]) -> Iterator[str]:
    """Names of what looks like networks in a dict and is none that is known."""
    known = {place.path[0] for place in places if place.path}
    for name, inner in content.items():
        if name not in known and isinstance(inner, Mapping) and any(isinstance(v, Tensor) for v in inner.values()):
            yield str(name)


EXPECTED = "expected .safetensors, a torch file (.pth, .pt, .ckpt), an NVIDIA .pkl, or a shipped model's name"
"""What can be opened as weights."""


def read_torch(path: Path) -> Any:
    """What a file of ``torch.save`` holds; CheckpointError where it could run code, is damaged or no such file."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(INERT):
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # the refusal below says it all
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            if not file.read(4).startswith((b"PK\x03\x04", b"\x80")):
                raise CheckpointError(f"checkpoint {path} is no file of weights: {EXPECTED}") from error
        named = re.search(r"GLOBAL (\S+)", str(error))
        held = f"{named[1]} beside its tensors" if named else "more than tensors"
        raise CheckpointError(
            f"checkpoint {path} holds {held}, so that loading it could run code: save its state_dict alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"checkpoint {path} is damaged or cut off: {said}") from error


def networks_in(
    content: Mapping[Any, Any], path: tuple[str, ...] = (), left: Iterator[int] | None = None
) -> Iterator[Place]:
    """All networks of known layouts in a dict, as deep as `MAX_DEPTH`; of no more than `MAX_DICTS` dicts in it, since
    one can stand in itself, or in endless places."""
    left = iter(range(MAX_DICTS)) if left is None else left
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        state, prefix = without_wrappers(tensors)
        layout = next((layout for layout in LAYOUTS if any(mark in state for mark in layout.marks)), None)
        if layout is not None:
            check_plain(state, ".".join(path) or "the file")
            yield Place(path, prefix, {key: value.float() for key, value in state.items()}, layout)
        else:
            for name, inner in split_by_name(state).items():
                yield from networks_in(inner, (*path, prefix + name), left)
    for name, inner in content.items():
        nested = isinstance(name, str) and isinstance(inner, Mapping) and len(path) < MAX_DEPTH
        if nested and next(left, None) is not None:
            for place in networks_in(inner, (*path, name), left):
                if place.layout.network == "StyleGAN2Generator" and AVERAGE in tensors:
                    place.state.setdefault(AVERAGE, tensors[AVERAGE].float())
                yield place


def without_wrappers(tensors: State) -> tuple[dict[str, Tensor], str]:
    """The tensors without what all keys begin with of `WRAPPERS`, and that."""
    state, prefix = dict(tensors), ""
    while wrapper := next((word for word in WRAPPERS if all(key.startswith(word) for key in state)), ""):
        state = {key.removeprefix(wrapper): value for key, value in state.items()}
        prefix += wrapper
    return state, prefix


def split_by_name(state: State) -> dict[str, dict[str, Tensor]]:
    """The networks of a module of several: by what stands before the first dot of a key."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, _, rest = key.partition(".")
        if rest:
            parts.setdefault(name, {})[rest] = value
    return parts


def flat_keys(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a dict of dicts, as deep as networks lie, under its whole name."""
    for key, value in content.items():
        if isinstance(value, Mapping) and value and prefix.count(".") < MAX_DEPTH:
            yield from flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _checkpoint(path: Path, places: Mapping[str, Place]) -> Checkpoint:
    """The networks at some places, as one checkpoint; a discriminator that cannot be used is left out, and said."""
    found = Checkpoint({}, {}, {"stage": "imported"}, str(path))
    said: dict[str, str] = {}
    for part, place in places.items():
        layout, shown = place.layout, ".".join((*place.path, place.prefix)) if place.path else place.prefix
        try:
            check_grown(place.state)
            config, tensors, names = layout.read(place.state)
        except KeyError as error:
            raise CheckpointError(
                f"checkpoint {path} ({part}) lacks {shown}{error.args[0]}, part of the {layout.name} layout"
            ) from error
        except (IndexError, ValueError, TypeError, RuntimeError, ArithmeticError) as error:
            if part == "discriminator" and len(places) > 1:
                said[part] = f"left out: {error}"
                continue
            raise CheckpointError(f"checkpoint {path} ({part}: {place}) cannot be used: {error}") from error
        found.tensors[part] = dict(tensors)
        found.networks[part] = {"class": layout.network, "config": config}
        found.file_keys[part] = {key: shown + names.get(key, key) for key in tensors}
        said[part] = f"{layout.name}: {place}"
    found.info["found"] = said
    return found


def check_grown(state: State) -> None:
    """CheckpointError for a network that has not grown to its full size (Karras et al. 2018, section 2)."""
    if (lod := float(state.get("synthesis.lod", state.get("lod", torch.zeros(()))))) != 0.0:
        raise CheckpointError(f"the checkpoint's level of detail is {lod}, expected 0 (a fully grown network)")


# --- What is read off the shapes ---


def read_generator(state: State) -> tuple[dict[str, Any], State, Mapping[str, str]]:
    """``Generator``'s arguments. Labels of nets whose embedding is as wide as z, genforce's own, are classes."""
    num_blocks = sum(key.startswith("synthesis.output") and key.endswith(".weight") for key in state)
    label, first = state.get("mapping.label_weight"), state["mapping.dense0.weight"]
    w_dim, w_avg = state["synthesis.layer0.style.weight"].shape[1], state["truncation.w_avg"]
    if w_avg.shape != (w_dim,):
        raise CheckpointError(
            f"truncation.w_avg has shape {list(w_avg.shape)}, expected {[w_dim]} (one w for all layers, repeat_w=True)"
        )
    embedding_dim = 16 if label is None else label.shape[1]
    z_dim = first.shape[1] - (embedding_dim if label is not None else 0)
    config = {
        "resolution": 2 << num_blocks,
        "z_dim": z_dim,
        "w_dim": w_dim,
        "mapping_dim": first.shape[0],
        "label_dim": 0 if label is None else label.shape[0],
        "split_mapping": "mapping.dense_new0.weight" in state,
        "mapping_layers": sum(re.fullmatch(r"mapping\.dense\d+\.weight", key) is not None for key in state),
        "fmaps": [state[f"synthesis.layer{2 * i}.bias"].shape[0] for i in range(num_blocks)],
        "image_channels": state["synthesis.output0.weight"].shape[0],
        "embedding_dim": embedding_dim,
        "one_hot_labels": label is not None and embedding_dim == z_dim and embedding_dim != 16,
    }
    return config, state, {}


def read_discriminator(state: State) -> tuple[dict[str, Any], State, Mapping[str, str]]:
    """``Discriminator``'s arguments."""
    num_blocks = sum(key.startswith("input") and key.endswith(".weight") for key in state)
    fmaps = [state[f"input{i}.weight"].shape[0] for i in reversed(range(num_blocks))]
    last = state[f"layer{2 * num_blocks}.weight"]
    if last.shape[0] != 1:
        raise CheckpointError(f"it gives {last.shape[0]} scores, one a class, expected one that its label goes into")
    config = {
        "resolution": 2 << num_blocks,
        "label_dim": last.shape[1] - fmaps[0],
        "fmaps": fmaps,
        "image_channels": state["input0.weight"].shape[1],
    }
    return config, state, {}


def read_filter(state: State) -> tuple[dict[str, Any], State, Mapping[str, str]]:
    """Which of the reference's four filters a fold is: no two have the same shapes."""
    shapes = {key: value.shape for key, value in state.items()}
    for name in FILTER_SPECS:
        with torch.device("meta"):
            own = ReferenceFilterCNN(name).state_dict()
        if {key: value.shape for key, value in own.items()} == shapes:
            return {"name": name}, state, {}
    raise CheckpointError(f"its shapes are those of no known filter, expected {', '.join(FILTER_SPECS)} at 256x256")


def renamed(
    read: Callable[[State], tuple[dict[str, Any], Renaming]],
) -> Callable[[State], tuple[dict[str, Any], State, Mapping[str, str]]]:
    """A reader that makes tensors of ours of theirs."""

    def reading(state: State) -> tuple[dict[str, Any], State, Mapping[str, str]]:
        config, found = read(state)
        return config, found.tensors, found.names

    return reading


LAYOUTS = (
    Layout(
        "genforce StyleGAN-1 generator",
        *("generator", "Generator"),
        ("mapping.dense0.weight", "synthesis.layer0.const", "truncation.w_avg"),
        read_generator,
    ),
    Layout(
        "genforce StyleGAN-1 discriminator", "discriminator", "Discriminator", ("input0.weight",), read_discriminator
    ),
    Layout(
        "rosinality style-based-gan generator",
        *("generator", "Generator"),
        ("generator.progression.0.conv1.input",),
        renamed(read_stylegan1),
    ),
    Layout(
        "rosinality StyleGAN2 generator",
        *("generator", "StyleGAN2Generator"),
        ("convs.0.conv.modulation.weight", "input.input"),
        renamed(read_stylegan2),
    ),
    Layout(
        "Oh-LoRA property CNN",
        *("scorer", "MergedPropertyCNN"),
        ("eyes_score_cnn.conv1.0.weight",),
        lambda state: ({}, state, {}),
    ),
    Layout("Oh-LoRA filter", "filter", "ReferenceFilterCNN", ("fc_final.0.weight",), read_filter),
)
"""All that are known; the first whose mark is there is it."""


# --- What the tensors do not show ---

WSCALE = "use_wscale"
"""genforce's setting, whether weights are equalised: ours always are."""


def with_settings(network: nn.Module, settings: Mapping[str, Any]) -> nn.Module:
    """A StyleGAN-1 generator of somebody's file again, with what its tensors do not show.

    Args:
        settings: fields of `Architecture`, such as ``final_tanh`` or ``fused_from``, and ``use_wscale`` (genforce's;
            where it is false, weights are divided by the scales that ours are multiplied with).

    Raises:
        CheckpointError: for another network, or a setting that does not fit its tensors.
    """
    if not isinstance(network, Generator):
        raise CheckpointError(
            f"{', '.join(settings)} are settings of StyleGAN-1 generators, but a {type(network).__name__} is held: "
            f"leave them out"
        )
    changed = {name: value for name, value in settings.items() if name != WSCALE}
    try:
        made = Generator(**{**network.config, **changed})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the settings {dict(settings)} cannot be used: {error}") from error
    load_strictly(made, network.state_dict(), f"the generator with {dict(settings)}")
    if settings.get(WSCALE, True):
        return made
    with torch.no_grad():
        for module in made.modules():
            if isinstance(scale := getattr(module, "weight_scale", None), float):
                module.weight.mul_(getattr(module, "bias_scale", 1.0) / scale)  # type: ignore[operator]
    return made
