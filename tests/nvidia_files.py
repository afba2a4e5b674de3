"""Files in NVIDIA's layout, made of networks of ours: pickles that name classes which are not there."""

import pickle
import sys
from collections import OrderedDict
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ohlora_gan.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ohlora_gan.models.stylegan3 import StyleGAN3Generator

TRAP = "raise RuntimeError('code from the file was executed')\n"
THEIRS = {"label_dim": "c_dim", "resolution": "img_resolution", "image_channels": "img_channels"}
APART = ("z_dim", "w_dim", "label_dim", "resolution", "image_channels", "mapping")
SMALL = {"resolution": 16, "z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8}


class Called:
    """Pickles as a call of a function that is named, not imported."""

    def __init__(self, name: str, *args: Any, state: Any = None):
        self.name, self.args, self.state = name, args, state

    def __reduce__(self) -> tuple:
        module, _, own = self.name.rpartition(".")
        return (getattr(sys.modules[module], own), self.args, self.state)


@contextmanager
def named(*names: str):
    """Lets pickle write names of functions in modules that are not there; those that are there stay."""
    made = []
    for name in names:
        module, _, own = name.rpartition(".")
        for part in accumulate(module.split("."), "{}.{}".format):
            if part not in sys.modules:
                sys.modules[part] = ModuleType(part)
                made.append(part)
        if not hasattr(sys.modules[module], own):
            stand_in = type(own, (), {"__module__": module, "__qualname__": own})
            setattr(sys.modules[module], own, stand_in)
    yield
    for module in made:
        del sys.modules[module]


PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


def stored(network: nn.Module, class_name: str, **arguments: Any) -> Called:
    """A network as NVIDIA's programs store it; ``arguments`` are those of its constructor."""
    state: dict[str, Any] = {
        "training": False,
        "_parameters": OrderedDict(network._parameters),
        "_buffers": OrderedDict(network._buffers),
        "_non_persistent_buffers_set": set(),
        "_modules": OrderedDict((k, stored(m, type(m).__name__)) for k, m in network._modules.items()),
        "_init_args": (),
        "_init_kwargs": arguments,
    }
    if hasattr(network, "conv_clamp"):
        state["conv_clamp"] = network.conv_clamp
    meta = {"type": "class", "version": 6, "module_src": TRAP, "class_name": class_name, "state": state}
    return Called(PERSISTENT, meta)


def arguments_of(config: dict[str, Any], nested: bool = False, left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """The constructor's arguments by NVIDIA's names; ``nested``: those of the synthesis network apart."""
    given = {THEIRS.get(k, k): v for k, v in config.items() if k in APART and k != "mapping"}
    inner = {k: v for k, v in config.items() if k not in APART and k not in left_out}
    given["mapping_kwargs"] = {**config["mapping"], "w_avg_beta": 0.995}
    return given | ({"synthesis_kwargs": inner} if nested else inner)


def store(network: nn.Module, nested: bool = False, left_out: tuple[str, ...] = ()) -> Called:
    """A generator or a discriminator of ours as NVIDIA's programs store it."""
    config = dict(network.config)  # type: ignore[arg-type]
    if not isinstance(network, StyleGAN2Discriminator):
        return stored(network, "Generator", **arguments_of(config, nested, left_out), num_fp16_res=4)
    blocks = {name: config.pop(name) for name in ("activation", "resample_filter")}
    last = {"activation": config.pop("last_activation")}
    last |= {name: config.pop(name) for name in ("mbstd_group_size", "mbstd_num_channels")}
    given = arguments_of(config, left_out=left_out)
    return stored(network, "Discriminator", **given, block_kwargs=blocks | {"freeze_layers": 0}, epilogue_kwargs=last)


def write(path: Path, content: Any, protocol: int = 4, names: tuple[str, ...] = ()) -> Path:
    """Writes a pickle whose calls are of the given names besides NVIDIA's."""
    with named(PERSISTENT, *names), path.open("wb") as file:
        pickle.dump(content, file, protocol=protocol)
    return path


def randomized(network: nn.Module, seed: int) -> nn.Module:
    """The network with every parameter and average random, so that nothing in it is without effect."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith(("bias", "noise_strength", "w_avg", "input.affine.weight")):
                value.add_(torch.randn(value.shape, generator=rng) * 0.5)
            if name.endswith("magnitude_ema"):
                value.fill_(0.7)
    return network.eval().requires_grad_(False)


def generator(kind: int = 2, seed: int = 0, **changes: Any) -> nn.Module:
    """A tiny generator of StyleGAN2 or 3."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == 3:
            return randomized(StyleGAN3Generator(**{**SMALL, "num_layers": 4, **changes}), seed)
        return randomized(StyleGAN2Generator(**{**SMALL, "mapping": {"num_layers": 2}, **changes}), seed)


def discriminator(seed: int = 1, **changes: Any) -> nn.Module:
    """A tiny discriminator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = {k: v for k, v in SMALL.items() if k not in ("z_dim", "w_dim")}
        return randomized(StyleGAN2Discriminator(**{**built, **changes}), seed)
