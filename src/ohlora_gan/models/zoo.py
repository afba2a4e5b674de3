"""Weights by name or path: shipped models, our own files, and other people's formats (read without running code).

Foreign formats: genforce ``.pth`` (a dict of ``generator``, ``discriminator``, ``generator_smooth``), flat state dicts
of one network (a generator, a discriminator, the merged property CNN, or one fold of a filter), a run's ``last.ckpt``,
before the run has ended, whose tensor names are ours (the architecture is read off the shapes); and the ``.pkl`` of
NVIDIA's StyleGAN2-ADA and StyleGAN3, see `nvidia`.
Whatever is missing, damaged, would run code or is of no known layout raises `CheckpointError`. Another package adds a
format by an entry point in the group ``ohlora_gan.formats``: a function from a path to a `Checkpoint`, or to None where
the file is of another format.
"""

import pickle
import warnings
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError, load, load_info
from ohlora_gan.models.filters import FilterEnsemble, ReferenceFilterCNN
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.models.nvidia import read_nvidia
from ohlora_gan.models.scorers import FILTER_SPECS, TruthNet

FORMATS = "ohlora_gan.formats"
ASSETS = Path(__file__).parents[1] / "assets"
SERVES = {"generator": ("generator",), "scorer": ("scorer", "truth")}
"""What is asked for -> the kinds that serve; those who open filters and truth networks look at them themselves."""


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
    """The file of a shipped model's name (``v1``) or of a path; ``kind`` is what is asked for, see `kind_of`."""
    path = Path(name)
    shipped_path = ASSETS / f"{name}.safetensors"
    if path.suffix == "" and not path.exists() and shipped_path.is_file():
        path = shipped_path
    offered = shipped(kind)
    one_of = "give a file's path" + (f" or a shipped {kind or 'model'} ({', '.join(offered)})" if offered else "")
    if not path.is_file():
        near = get_close_matches(str(name), offered, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise CheckpointError(f"checkpoint {str(name)!r} does not exist: {guess}{one_of}")
    if path.suffix == ".safetensors" and kind in SERVES and (held := kind_of(path)) not in SERVES[kind]:
        raise CheckpointError(f"checkpoint {str(name)!r} holds a {held} network, expected a {kind}: {one_of}")
    return path


def open_checkpoint(name: str | Path, kind: str | None = None) -> Checkpoint:
    """Weights from a shipped model's name, a ``.safetensors`` of ours, or a foreign file; see `resolve`."""
    path = resolve(name, kind)
    return load(path) if path.suffix == ".safetensors" else load_foreign(path)


def open_generator(name: str | Path) -> GeneratorBase:
    """The generator to sample from, of a shipped model's name or a file."""
    weights = open_checkpoint(name, "generator")
    generator = weights.build(weights.generator_name)
    if not isinstance(generator, GeneratorBase):
        raise CheckpointError(f"{weights.source} holds a {type(generator).__name__}, expected a generator")
    return generator


def open_discriminator(name: str | Path) -> nn.Module | None:
    """The discriminator that a shipped model's name or a file holds beside its generator; None where there is none."""
    weights = open_checkpoint(name, "generator")
    return weights.build("discriminator") if "discriminator" in weights.networks else None


def open_scorer(name: str | Path) -> nn.Module:
    """The property network of a shipped model's name or a file."""
    return open_checkpoint(name, "scorer").build("scorer")


def is_truth(name: str | Path) -> bool:
    """Whether a shipped model's name or a file is a network of ``model=truth``."""
    path = resolve(name, "scorer")
    return path.suffix == ".safetensors" and kind_of(path) == "truth"


def open_truth(name: str | Path) -> TruthNet:
    """The network that reads everything about a face, of a shipped model's name or a file; in eval mode."""
    weights = open_checkpoint(name, "truth")
    network = weights.build("scorer") if "scorer" in weights.networks else None
    if not isinstance(network, TruthNet):
        held = ", ".join(str(net["class"]).rpartition(".")[2] for net in weights.networks.values())
        remedy = "make one with python train.py model=truth data.world=2"
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
    if Path(name).is_dir():
        folds = [load_foreign(path) for path in sorted(Path(name).iterdir()) if path.suffix in (".pth", ".pt")]
    else:
        weights = open_checkpoint(name, kind)
        if "filter" not in weights.networks or weights.info.get("stage") != "imported":
            return {part: weights.build(part) for part in weights.networks}, weights.info
        folds = [weights]
    nets: list[Any] = [fold.build("filter") for fold in folds]
    attributes = {str(net.config["name"]) for net in nets}
    if len(attributes) != 1:
        raise CheckpointError(
            f"{name} holds folds of {', '.join(sorted(attributes)) or 'no filter'}: expected .pth files of one filter"
        )
    ensemble = FilterEnsemble.of(nets, *attributes)
    return {ensemble.name: ensemble}, {"stage": "imported"}


def load_foreign(path: Path) -> Checkpoint:
    """Networks of others, or those of a GAN run's ``last.ckpt``; see above."""
    for format_of_others in entry_points(group=FORMATS):
        if (found := format_of_others.load()(path)) is not None:
            return found
    if (found := read_nvidia(path)) is not None:
        return found
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # the refusal below says it all
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path} holds more than tensors, so that loading it could run code, or is no torch file: "
            f"save its state_dict alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged or cut off: {str(error).splitlines()[0]}") from error
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__}, expected a dict of tensors")
    if isinstance(content.get("state_dict"), Mapping):
        content = split_lightning(content["state_dict"])
    for part, (_, mark, _) in FOREIGN.items():
        if mark in content:
            content = {part: content}
    parts = {k: v for k, v in content.items() if isinstance(v, Mapping) and k.partition("_")[0] in FOREIGN}
    if not parts:
        raise CheckpointError(
            f"checkpoint {path} has the keys {sorted(map(str, content))[:6]}, "
            f"expected generator, discriminator or generator_smooth, or the flat state dict of one network"
        )
    tensors, networks = {}, {}
    for part, state in parts.items():
        state = {k: v.float() for k, v in state.items() if isinstance(v, Tensor)}
        class_name, _, reader = FOREIGN[part.partition("_")[0]]
        lod = float(state.get("synthesis.lod", state.get("lod", torch.zeros(()))))
        try:
            if lod != 0.0:
                raise CheckpointError(f"the checkpoint's level of detail is {lod}, expected 0 (a fully grown network)")
            networks[part] = {"class": class_name, "config": reader(state)}
        except (KeyError, IndexError) as error:
            raise CheckpointError(f"checkpoint {path} ({part}) lacks {error}, part of the StyleGAN-1 layout") from error
        except CheckpointError as error:
            raise CheckpointError(f"checkpoint {path} ({part}) cannot be used: {error}") from error
        tensors[part] = state
    return Checkpoint(tensors, networks, {"stage": "imported"}, str(path))


def split_lightning(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The networks of a Lightning module; its moving average, where there is one, is the generator."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if rest:
            parts.setdefault(part, {})[rest] = value
    if "generator_ema" in parts:
        parts["generator"] = parts.pop("generator_ema")
    return parts


def generator_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """``Generator``'s arguments, read off the shapes of its tensors."""
    num_blocks = sum(k.startswith("synthesis.output") and k.endswith(".weight") for k in state)
    label = state.get("mapping.label_weight")
    return {
        "resolution": 2 << num_blocks,
        "z_dim": state["mapping.dense0.weight"].shape[1] - (label.shape[1] if label is not None else 0),
        "w_dim": state["truncation.w_avg"].shape[0],
        "mapping_dim": state["mapping.dense0.weight"].shape[0],
        "label_dim": 0 if label is None else label.shape[0],
        "split_mapping": "mapping.dense_new0.weight" in state,
        "mapping_layers": sum(k.startswith("mapping.dense") and k[13].isdigit() and "weight" in k for k in state),
        "fmaps": [state[f"synthesis.layer{2 * i}.bias"].shape[0] for i in range(num_blocks)],
        "image_channels": state["synthesis.output0.weight"].shape[0],
    }


def discriminator_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """``Discriminator``'s arguments, read off the shapes of its tensors."""
    num_blocks = sum(k.startswith("input") and k.endswith(".weight") for k in state)
    fmaps = [state[f"input{i}.weight"].shape[0] for i in reversed(range(num_blocks))]
    return {
        "resolution": 2 << num_blocks,
        "label_dim": state[f"layer{2 * num_blocks}.weight"].shape[1] - fmaps[0],
        "fmaps": fmaps,
        "image_channels": state["input0.weight"].shape[1],
    }


def filter_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Which of the reference's four filters a fold is: no two have the same shapes."""
    shapes = {key: value.shape for key, value in state.items()}
    for name in FILTER_SPECS:
        with torch.device("meta"):
            own = ReferenceFilterCNN(name).state_dict()
        if {key: value.shape for key, value in own.items()} == shapes:
            return {"name": name}
    raise CheckpointError(f"its shapes are those of no known filter, expected {', '.join(FILTER_SPECS)} at 256x256")


Reader = Callable[[Mapping[str, Tensor]], dict[str, Any]]
FOREIGN: dict[str, tuple[str, str, Reader]] = {
    "generator": ("Generator", "mapping.dense0.weight", generator_config),
    "discriminator": ("Discriminator", "input0.weight", discriminator_config),
    "scorer": ("MergedPropertyCNN", "eyes_score_cnn.conv1.0.weight", lambda state: {}),
    "filter": ("ReferenceFilterCNN", "fc_final.0.weight", filter_config),
}
"""Networks of others: the class, a tensor by which a flat state dict is told, and what reads the arguments."""
