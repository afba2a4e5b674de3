"""Weights by name or path: shipped models, our own files, those of other people or of a run (`formats`), the `hub`'s.

Whatever is missing, damaged, would run code or is of no known layout raises `CheckpointError`. Another package adds a
format by an entry point in the group ``ohlora_gan.formats``: a function from a path to a `Checkpoint`, or to None where
the file is of another format.
"""

import pickle
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ohlora_gan.errors import near_file
from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError, is_ours, load, load_info
from ohlora_gan.models.filters import FilterEnsemble
from ohlora_gan.models.formats import load_foreign
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.models.hub import fetch, is_on_hub
from ohlora_gan.models.scorers import FILTER_SPECS, TruthNet
from ohlora_gan.models.wrapped import OURS, WrappedScorer, call_factory, file_of_factory, is_factory, open_factory
from ohlora_gan.names import WORLD

ASSETS = Path(__file__).parents[1] / "assets"
SERVES = {"generator": ("generator",), "scorer": ("scorer", "truth")}
"""What is asked for -> the kinds that serve; those who open filters and truth networks look at them themselves."""

MADE_BY = {
    "generator": ("pretrain", "v9"),
    "scorer": ("property_cnn", "property_cnn"),
    "filter": ("filter_cnn", "filter_gender"),
    "truth": ("truth", "truth"),
}
"""What networks are used as -> the model= that trains such, and a shipped one."""


def shipped(kind: str | None = None) -> list[str]:
    """Names of the models that come with the package; of one kind alone where it is given, see `kind_of`."""
    return sorted(p.stem for p in ASSETS.glob("*.safetensors") if kind is None or kind_of(p) == kind)


def kind_of(path: Path) -> str:
    """What the networks of one of our files are for: ``generator``, ``scorer``, ``filter`` or ``truth``.

    They make faces, score them, say which are good, or read everything off them. No tensor is read.
    """
    networks = load_info(path)["networks"]
    if "generator" in networks or "scorer" not in networks:
        return "generator" if "generator" in networks else "filter"
    return "truth" if networks["scorer"]["class"].rpartition(".")[2] == "TruthNet" else "scorer"


def resolve(name: str | Path, kind: str | None = None) -> Path:
    """The file of a shipped model's name (``v1``), of a path, of the module of a factory, see `wrapped`, or of the Hub,
    see `hub`; ``kind`` is what is asked for, see `kind_of`."""
    if is_factory(name) and kind in (None, "generator", "scorer"):
        return file_of_factory(str(name))
    path = fetch(name) if is_on_hub(name) else Path(name)
    shipped_path = ASSETS / f"{name}.safetensors"
    if path.suffix == "" and not path.is_file() and shipped_path.is_file():
        path = shipped_path
    offered = shipped(kind)
    one_of = "give a file's path" + (f" or a shipped {kind or 'model'} ({', '.join(offered)})" if offered else "")
    if not path.is_file():
        others = [*shipped("truth"), *OURS] if kind == "scorer" else []  # which judge and score, too
        near = get_close_matches(str(name), [*offered, *others], 1)
        guess = f"did you mean {near[0]}? " if near else near_file(path)
        raise CheckpointError(f"checkpoint {str(name)!r} does not exist: {guess}{one_of}")
    if kind in SERVES and is_ours(path) and (held := kind_of(path)) not in SERVES[kind]:
        raise CheckpointError(f"checkpoint {str(name)!r} holds a {held} network, expected a {kind}: {one_of}")
    return path


def open_checkpoint(name: str | Path, kind: str | None = None) -> Checkpoint:
    """Weights from a shipped model's name, a ``.safetensors`` of ours, or a foreign file; see `resolve`."""
    if is_factory(name):
        raise CheckpointError(f"{name} is code, expected weights: code of your own makes or scores faces, nothing else")
    path = resolve(name, kind)
    if kind:
        check_world(path, kind)
    return load(path) if is_ours(path) else load_foreign(path)


def world_of(name: str | Path, kind: str | None = None) -> int | None:
    """The version of the embedded world that a network has learnt from; None where its file says of none.

    ``name`` is a shipped model's, a file, or a folder of a foreign filter's folds; ``kind`` is what it is asked for,
    see `resolve`. CheckpointError if it is missing or damaged.
    """
    if Path(name).is_dir() or is_factory(name):
        return None
    path = resolve(name, kind)
    world = load_info(path).get("world") if is_ours(path) else _world_of_run(path)
    return world if type(world) is int else None


def _world_of_run(path: Path) -> Any:
    """What a run's ``last.ckpt`` says; None for other files, which say nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
        return None  # what is wrong with the file is said where it is opened
    for key in ("callbacks", "ExportWeights", "world"):
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def check_world(name: str | Path, use: str, kind: str | None = None) -> int | None:
    """The world that a network has learnt from, see `world_of`; CheckpointError where it is drawn no more.

    ``use`` is what the network is used as, see `MADE_BY`.
    """
    world = world_of(name, kind)
    if world not in (None, WORLD):
        model, example = MADE_BY[use]
        raise CheckpointError(
            f"{use} {name} has learnt from world {world}, whose faces are drawn no more: train it anew with "
            f"python train.py model={model}, or give one of world {WORLD} such as {example}"
        )
    return world


def open_generator(name: str | Path) -> GeneratorBase:
    """The generator to sample from, of a shipped model's name, a file, or ``package.module:factory``."""
    if is_factory(name):
        return open_factory(str(name))
    weights = open_checkpoint(name, "generator")
    generator = weights.build(weights.generator_name)
    if not isinstance(generator, GeneratorBase):
        raise CheckpointError(f"{weights.source} holds a {type(generator).__name__}, expected a generator")
    return generator


def open_discriminator(name: str | Path) -> nn.Module | None:
    """The discriminator that a shipped model's name or a file holds beside its generator; None where there is none, or
    one that looks at more than the three colours or the grey of a picture."""
    if is_factory(name):
        return None
    weights = open_checkpoint(name, "generator")
    if weights.networks.get("discriminator", {}).get("config", {}).get("image_channels", 3) > 3:
        return None
    return weights.build("discriminator") if "discriminator" in weights.networks else None


def open_scorer(name: str | Path) -> nn.Module:
    """The property network of a shipped model's name or a file, or what ``landmarks`` and ``package.module:factory``
    name, see `wrapped.WrappedScorer`."""
    if is_factory(name):
        return WrappedScorer(call_factory(str(name)), str(name))
    return open_checkpoint(name, "scorer").build("scorer")


def is_truth(name: str | Path) -> bool:
    """Whether a shipped model's name or a file is a network of ``model=truth``."""
    path = resolve(name, "scorer")
    return not is_factory(name) and is_ours(path) and kind_of(path) == "truth"


def open_truth(name: str | Path) -> TruthNet:
    """The network that reads everything about a face, of a shipped model's name or a file; in eval mode."""
    weights = open_checkpoint(name, "truth")
    network = weights.build("scorer") if "scorer" in weights.networks else None
    if not isinstance(network, TruthNet):
        held = ", ".join(str(net["class"]).rpartition(".")[2] for net in weights.networks.values())
        remedy = "make one with python train.py model=truth"
        raise CheckpointError(f"{weights.source} holds {held}, expected a TruthNet: {remedy}")
    return network.eval().requires_grad_(False)


def shipped_filters() -> list[str]:
    """Names of the shipped filters, in the reference system's order."""
    return [name for name in (f"filter_{kind}" for kind in FILTER_SPECS) if name in shipped()]


def open_filters(names: Iterable[str | Path]) -> dict[str, FilterEnsemble]:
    """Filter ensembles by the attribute that each judges, in the order of the names; in eval mode, without gradients.

    Names are those of shipped models (``filter_gender``), files of ours, or the folder of a foreign filter's folds
    (one ``.pth`` or ``.pt`` each); a foreign file alone is an ensemble of one fold.
    """
    found: dict[str, FilterEnsemble] = {}
    for name in names:
        for ensemble in read_filters(name):
            if ensemble.name in found:
                raise CheckpointError(f"{str(name)!r} is a second filter of {ensemble.name!r}: give one of them")
            found[ensemble.name] = ensemble.eval().requires_grad_(False)
    return found


def read_filters(name: str | Path) -> list[FilterEnsemble]:
    """The ensembles of one file, or the one of a folder of foreign folds."""
    networks, _ = read_weights(name, "filter")
    ensembles = [net for net in networks.values() if isinstance(net, FilterEnsemble)]
    if not ensembles:
        raise CheckpointError(
            f"{resolve(name)} holds {sorted(networks)}, expected a filter ensemble: "
            f"one is made by python train.py model=filter_cnn"
        )
    return ensembles


def read_weights(name: str | Path, kind: str | None = None) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """All networks of anything that can be read, by name, and what the file says of itself; see `open_filters`."""
    if is_factory(name):
        info = {"stage": "imported", "factory": str(name)}
        if hasattr(made := call_factory(str(name)), "property_names"):
            return {"scorer": WrappedScorer(made, str(name))}, info
        return {"generator": open_factory(str(name))}, info
    if Path(name).is_dir():
        folds = [load_foreign(path) for path in sorted(Path(name).iterdir()) if path.suffix in (".pth", ".pt")]
    else:
        weights = open_checkpoint(name, kind)
        if "filter" not in weights.networks or weights.info.get("stage") != "imported":
            return {part: weights.build(part) for part in weights.networks}, weights.info
        folds = [weights]
    if not folds:
        raise CheckpointError(
            f"{name} is a folder without weights: expected a run folder (config.yaml, model.safetensors) or .pth "
            f"files of a filter's folds"
        )
    nets: list[Any] = [fold.build("filter") for fold in folds]
    attributes = {str(net.config["name"]) for net in nets}
    if len(attributes) != 1:
        raise CheckpointError(
            f"{name} holds folds of {', '.join(sorted(attributes))}: expected .pth files of one filter"
        )
    ensemble = FilterEnsemble.of(nets, *attributes)
    return {ensemble.name: ensemble}, {"stage": "imported"}
