"""The ``.pkl`` files of NVIDIA's StyleGAN2-ADA and StyleGAN3 (PyTorch), read without running a line of what they hold.

Such a file is a pickle: a dict of the networks ``G``, ``D`` and ``G_ema`` (``G``'s moving average) beside training
settings, or one network. Each network is a call of ``torch_utils.persistence._reconstruct_persistent_obj`` with its
class's name, the source text of its module (which is not looked at), and its state: arguments of the constructor,
parameters, buffers and modules within. The networks of ours, `StyleGAN2Generator` and so on, take these arguments.
"""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError, check_finite, load_strictly
from ohlora_gan.models.inert import NumberArray, Placeholder, read_pickle
from ohlora_gan.registry import NETWORKS

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
MARKS = (b"torch_utils.persistence", b"dnnlib.tflib", b"dnnlib.util")
"""What such a file, or one of the TensorFlow programs, names somewhere."""
TORCH_FILES = (b"PK", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19")
"""How files of ``torch.save`` start, in its new and its old format."""
PARTS = {"generator": ("G_ema", "G"), "discriminator": ("D",)}
"""Our names of networks, and theirs, the best first."""
MAX_DEPTH = 16  # of modules within modules

RENAMED = {"c_dim": "label_dim", "img_resolution": "resolution", "img_channels": "image_channels"}
GROUPS = ("mapping_kwargs", "synthesis_kwargs")
WITHOUT_EFFECT = {
    *("num_fp16_res", "fp16_channels_last", "use_fp16", "channels_last", "fused_modconv_default"),
    *("freeze_layers", "w_avg_beta", "magnitude_ema_beta", "num_ws"),
}
"""Arguments about training, speed and half precision: pictures in float32 do not depend on them."""


def is_nvidia(path: Path) -> bool:
    """Whether a file is a plain pickle that names NVIDIA's helper modules."""
    with path.open("rb") as file:
        start = file.read(16)
        if not start or start.startswith(TORCH_FILES):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(mark) >= 0 for mark in MARKS)


def read_nvidia(path: Path) -> Checkpoint | None:
    """The networks of a file as ``generator`` and ``discriminator``; None for a file of another kind.

    A discriminator that is not StyleGAN2's is left out where there is a generator, and ``info`` says so.
    CheckpointError for a file that is cut off, of the TensorFlow programs, of a network of another class or setting, or
    whose tensors do not fit or are not finite.
    """
    if not is_nvidia(path):
        return None
    found = Checkpoint({}, {}, {"stage": "imported"}, str(path))
    said: dict[str, str] = {}
    for part, called, value in parts(path, read_pickle(path)):
        try:
            network = Stored.of(value, path, called)
            description, tensors = network.fitting()
        except CheckpointError as error:
            if part != "discriminator" or "generator" not in found.networks:
                raise
            said[part] = f"left out: {error}"
            continue
        check_finite(tensors, f"checkpoint {path} ({network.called})")
        found.networks[part], found.tensors[part] = description, tensors
        said[part] = f"NVIDIA's {description['class']}: {called}"
    found.info["found"] = said
    return found


def parts(path: Path, content: Any) -> Iterator[tuple[str, str, Any]]:
    """Our name, their name and the network of all that a file holds for us, the generator first."""
    if old := [value.name for value in outermost(content) if value.name.startswith("dnnlib.tflib")]:
        raise CheckpointError(
            f"checkpoint {path} is of NVIDIA's TensorFlow programs (it holds a {old[0]}), expected one of "
            f"StyleGAN2-ADA or StyleGAN3 for PyTorch: convert it with their legacy.py --source=OLD.pkl --dest=NEW.pkl"
        )
    if isinstance(content, Placeholder):
        meta = persistent(content) or {}
        yield "discriminator" if meta.get("class_name") == "Discriminator" else "generator", "its network", content
        return
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"checkpoint {path} holds a {type(content).__name__}, expected a dict with G, D or G_ema, or a network"
        )
    held = {part: next((n for n in names if content.get(n) is not None), None) for part, names in PARTS.items()}
    if not any(held.values()):
        raise CheckpointError(
            f"checkpoint {path} holds {sorted(map(str, content))[:8]}, expected G, D or G_ema among them: "
            f"give a network-snapshot-*.pkl"
        )
    yield from ((part, name, content[name]) for part, name in held.items() if name is not None)


def outermost(content: Any) -> list[Placeholder]:
    """The placeholders that a file's outermost object is or holds."""
    values = (
        content.values() if isinstance(content, Mapping) else content if isinstance(content, Sequence) else [content]
    )
    return [value for value in values if isinstance(value, Placeholder)]


# --- A network as it is stored ---


@dataclass(frozen=True)
class Stored:
    """A network of a file: its class's name and its state."""

    class_name: str
    state: Mapping[str, Any]
    path: Path
    called: str  # its name in the file

    @classmethod
    def of(cls, value: Any, path: Path, called: str) -> "Stored":
        """The network that a value of a file is; CheckpointError for what is none."""
        meta = persistent(value)
        if meta is None:
            what = f"a {value.name}" if isinstance(value, Placeholder) else f"a {type(value).__name__}"
            raise CheckpointError(
                f"checkpoint {path} ({called}) holds {what}, expected a network as NVIDIA's programs store it"
            )
        state, name = state_of(value), str(meta.get("class_name"))
        if name not in ("Generator", "Discriminator") or meta.get("type", "class") != "class":
            raise CheckpointError(
                f"checkpoint {path} ({called}) holds a network of the class {name!r}, expected Generator or "
                f"Discriminator of StyleGAN2-ADA or StyleGAN3: other networks are not known here"
            )
        return cls(name, state, path, called)

    def error(self, text: str) -> CheckpointError:
        return CheckpointError(f"checkpoint {self.path} ({self.called}) {text}")

    def fitting(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Class and config of our network of the same architecture, and its tensors, which are known to fit it."""
        description, tensors = self.description(), self.tensors()
        try:
            with torch.device("meta"):  # nothing is as large as a file says before its tensors are seen to fit
                empty = NETWORKS.make(description)
        except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise self.error(f"describes a network that cannot be built: {error}") from error
        load_strictly(empty, tensors, f"checkpoint {self.path} ({self.called})")
        return description, tensors

    def tensors(self) -> dict[str, Tensor]:
        """Its parameters and buffers, float32, by the names that they have in the published networks."""
        found: dict[str, Tensor] = {}
        for key, value in self.named(self.state, "", set()):
            if not isinstance(value, Tensor):
                raise self.error(f"holds {key} as a {type(value).__name__}, expected a tensor")
            found[key] = value.detach().float().contiguous()
        return found

    def named(self, state: Mapping[str, Any], prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
        """Names and values of parameters and buffers of a module and of those within.

        ``seen`` are the modules that were met: a file could let each hold the next one many times.
        """
        passing = state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            left_out = passing if kind == "_buffers" and isinstance(passing, set | frozenset) else ()
            yield from ((f"{prefix}{k}", v) for k, v in dict_in(state, kind).items() if k not in left_out)
        for name, module in modules(state).items():
            if id(module) in seen or prefix.count(".") > MAX_DEPTH:
                raise self.error(f"holds the module {prefix}{name} in several places or {MAX_DEPTH} deep")
            seen.add(id(module))
            yield from self.named(state_of(module), f"{prefix}{name}.", seen)

    def description(self) -> dict[str, Any]:
        """Class and config of our network of the same architecture."""
        if self.class_name == "Discriminator":
            return {"class": "StyleGAN2Discriminator", "config": self.discriminator()}
        inner = modules(state_of(modules(self.state).get("synthesis")))
        if "input" in inner:
            return {"class": "StyleGAN3Generator", "config": self.generator()}
        if "b4" in inner:
            return {"class": "StyleGAN2Generator", "config": self.generator()}
        raise self.error(
            f"is a Generator whose synthesis network has the modules {sorted(map(str, inner))[:6]}, expected b4 "
            f"(StyleGAN2) or input (StyleGAN3): other networks are not known here"
        )

    def generator(self) -> dict[str, Any]:
        """The config of a generator; arguments of its synthesis network lie apart in StyleGAN2-ADA alone."""
        given = self.arguments(("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", *GROUPS))
        given |= self.group(given, "synthesis_kwargs")
        mapping = self.renamed(self.group(given, "mapping_kwargs"))
        first = modules(state_of(modules(self.state).get("synthesis"))).get("b4")
        return self.completed(given, modules(state_of(first)).get("conv1")) | {"mapping": mapping}

    def discriminator(self) -> dict[str, Any]:
        """The config of a discriminator."""
        given = self.arguments(("c_dim", "img_resolution", "img_channels", "architecture"))
        mapping = self.renamed(self.group(given, "mapping_kwargs"))
        last = self.group(given, "epilogue_kwargs")
        given |= self.group(given, "block_kwargs")
        if "activation" in last:
            last["last_activation"] = last.pop("activation")
        epilogue = modules(self.state).get("b4")
        return self.completed(given | last, modules(state_of(epilogue)).get("conv")) | {"mapping": mapping}

    def arguments(self, order: Sequence[str]) -> dict[str, Any]:
        """The constructor's arguments by name; those that are given by place are in the published ``order``."""
        by_place = self.state.get("_init_args", self.state.get("init_args")) or ()
        by_name = self.state.get("_init_kwargs", self.state.get("init_kwargs")) or {}
        if not isinstance(by_place, list | tuple) or not isinstance(by_name, Mapping) or len(by_place) > len(order):
            raise self.error("does not tell the arguments of its constructor, expected init_kwargs in its state")
        given = dict(zip(order, by_place, strict=False)) | dict(by_name)
        needed = [name for name in order if name.startswith(("z_", "c_", "w_", "img_"))]
        given |= {name: self.state[name] for name in needed if name not in given and name in self.state}
        if missing := [name for name in needed if name not in given]:
            raise self.error(f"lacks the argument {missing[0]} of its constructor, expected it in init_kwargs")
        return given

    def group(self, given: dict[str, Any], name: str) -> dict[str, Any]:
        """Takes a group of arguments, such as ``mapping_kwargs``, out of those that are given."""
        group = given.pop(name, None) or {}
        if not isinstance(group, Mapping):
            raise self.error(f"has the argument {name} as a {type(group).__name__}, expected a dict")
        return dict(group)

    def renamed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by our names and as plain data, without those that have no effect here."""
        return {
            RENAMED.get(name, str(name)): self.simple(name, value)
            for name, value in given.items()
            if name not in WITHOUT_EFFECT
        }

    def simple(self, name: str, value: Any) -> Any:
        """An argument as plain data."""
        if isinstance(value, NumberArray | Tensor):
            value = (value.array if isinstance(value, NumberArray) else value).tolist()
        numbers = value if isinstance(value, list | tuple) else [value]
        if not all(item is None or isinstance(item, bool | int | float | str) for item in numbers):
            raise self.error(f"has the argument {name} as a {type(value).__name__}, expected plain numbers or words")
        return list(value) if isinstance(value, tuple) else value

    def completed(self, given: Mapping[str, Any], layer: Any) -> dict[str, Any]:
        """Arguments as `renamed` gives them. The limit of features has two defaults, so one of its layers tells it."""
        config = self.renamed(given)
        if "conv_clamp" not in config and "conv_clamp" in state_of(layer):
            config["conv_clamp"] = self.simple("conv_clamp", state_of(layer)["conv_clamp"])
        return config


def persistent(value: Any) -> Mapping[str, Any] | None:
    """What an object of one of NVIDIA's classes is made of; None for any other."""
    if isinstance(value, Placeholder) and value.name.endswith(PERSISTENT) and value.args:
        return value.args[0] if isinstance(value.args[0], Mapping) else None
    return None


def state_of(value: Any) -> Mapping[str, Any]:
    """The state of a stored module; empty for what has none."""
    meta = persistent(value)
    state = meta.get("state") if meta is not None else value.state if isinstance(value, Placeholder) else None
    return state if isinstance(state, Mapping) else {}


def modules(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The modules within a stored module."""
    return dict_in(state, "_modules")


def dict_in(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a stored module keeps under a name, without what is None; empty where that is no dict."""
    held = state.get(name)
    return {key: value for key, value in held.items() if value is not None} if isinstance(held, Mapping) else {}
