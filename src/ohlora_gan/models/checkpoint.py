"""Our checkpoints: safetensors with a JSON description in the metadata. Nothing in them can run code.

The description says how each network is built (``networks``), and where the weights come from: ``stage``, ``seed``,
``images_seen``, ``metrics``, ``parent`` (SHA-256 of the checkpoint that training started from), and ``world`` (which
version of the embedded world was learnt from). Other people's formats are read in ``zoo`` alone.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from ohlora_gan.errors import UserError
from ohlora_gan.files import replacing
from ohlora_gan.reading import UnreadableError, check_described, metadata_of, opened_tensors
from ohlora_gan.registry import NETWORKS

FORMAT = 1
METADATA_KEY = "ohlora_gan"


class CheckpointError(UserError):
    """A checkpoint that cannot be used, with the reason."""


@dataclass
class Checkpoint:
    """Weights of one or several networks and their description.

    ``tensors`` maps network name -> key -> float32 tensor; ``networks`` maps network name -> ``{"class", "config"}``;
    ``file_keys`` says what a file of another layout calls a key: network name -> key -> the file's key.
    """

    tensors: dict[str, dict[str, Tensor]]
    networks: dict[str, dict[str, Any]]
    info: dict[str, Any] = field(default_factory=dict)
    source: str = "memory"
    file_keys: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def generator_name(self) -> str:
        """The generator to sample and to train on from: genforce's moving average where there is one."""
        return "generator_smooth" if "generator_smooth" in self.tensors else "generator"

    def build(self, name: str) -> nn.Module:
        """The network ``name`` as it was saved."""
        if name not in self.networks:
            raise CheckpointError(f"{self.source} holds {sorted(self.networks)}, expected a {name!r} among them")
        called = self.file_keys.get(name, {})
        check_plain(self.tensors[name], f"{self.source} ({name})", called)
        check_finite(self.tensors[name], f"{self.source} ({name})", called)
        try:
            with torch.device("meta"):  # takes no memory, however wide the network is said to be
                planned = NETWORKS.make(self.networks[name])
            check_fit(planned, self.tensors[name], f"{self.source} ({name})", called=called)
            network = NETWORKS.make(self.networks[name])
        except CheckpointError:
            raise
        except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, KeyError, IndexError) as error:
            raise CheckpointError(f"{self.source} describes a network that cannot be built: {error}") from error
        load_strictly(network, self.tensors[name], f"{self.source} ({name})", called=called)
        return network


def save(path: str | Path, networks: Mapping[str, nn.Module], half: bool = False, **info: Any) -> Path:
    """Writes networks and their description to a ``.safetensors`` file, whole or not at all.

    Args:
        half: store floats as float16 (loading gives float32 again).
        info: plain data for the description: stage, seed, images_seen, metrics, parent, ...
    """
    path = Path(path)
    tensors = {
        f"{name}.{key}": (value.half() if half and value.is_floating_point() else value).cpu().contiguous().clone()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    description = {"format": FORMAT, "networks": {n: NETWORKS.describe(net) for n, net in networks.items()}, **info}
    with replacing(path) as partial:
        partial.write_bytes(to_bytes(tensors, metadata={METADATA_KEY: json.dumps(description)}))
    return path


def is_ours(path: str | Path) -> bool:
    """Whether `load` is who reads a file, or says what is wrong with it: a ``.safetensors`` that is not whole, or that
    this project wrote; what others have saved so is a foreign file, whatever its name ends in."""
    path = Path(path)
    try:
        return any(key.startswith(METADATA_KEY) for key in metadata_of(path))
    except (UnreadableError, OSError):
        return path.suffix == ".safetensors"


def load(path: str | Path) -> Checkpoint:
    """Reads one of our checkpoints; CheckpointError if the file is missing, cut off, or not one of ours."""
    with _opened(Path(path)) as (file, info):
        flat = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    networks = info.pop("networks")
    tensors: dict[str, dict[str, Tensor]] = {name: {} for name in networks}
    for key, value in flat.items():
        name, _, rest = key.partition(".")
        if name not in tensors:
            raise CheckpointError(f"checkpoint {path} holds {key}, which belongs to none of its networks: make it anew")
        tensors[name][rest] = value.float() if value.is_floating_point() else value
    return Checkpoint(tensors, networks, info, str(path))


def load_info(path: str | Path) -> dict[str, Any]:
    """What one of our checkpoints says of itself, its ``networks`` among it; no tensor is read. Errors as in `load`."""
    with _opened(Path(path)) as (_, info):
        return info


@dataclass
class Description:
    """What the description of one of our checkpoints must say, and what it may."""

    format: int
    networks: Mapping[str, Mapping[str, Any]]
    stage: str | None = None
    seed: int | None = None
    images_seen: int | None = None
    parent: str | None = None
    world: int | None = None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The file of a checkpoint, and its description."""
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist: give the path of a file, or a shipped model's name")
    try:
        with opened_tensors(path, METADATA_KEY, "pt") as (file, info):
            check_described(Description, info, ("format", "networks"))
            for name, network in info["networks"].items():
                if not isinstance(network.get("class"), str) or not isinstance(network.get("config"), dict):
                    raise UnreadableError(f"it does not say of which class and with what config {name} is")
            if info.pop("format") != FORMAT:
                raise UnreadableError(f"it has another format than {FORMAT}: use the version that wrote it")
            yield file, info
    except UnreadableError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def weights_hash(network: nn.Module) -> str:
    """SHA-256 of a network's state, independent of device and file."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_finite(tensors: Mapping[str, Tensor], source: str, called: Mapping[str, str] | None = None) -> None:
    """CheckpointError for weights that are not all numbers; ``called`` says what the file calls a key."""
    bad = {key: num for key, value in tensors.items() if (num := int((~value.isfinite()).sum()))}
    if bad:
        first = next(iter(bad))
        others = f", and {len(bad) - 1} more of its tensors" if len(bad) > 1 else ""
        raise CheckpointError(
            f"{source}: {bad[first]} of the {tensors[first].numel()} weights of {(called or {}).get(first, first)}"
            f"{others} are not finite, as after a training that has diverged: give an earlier snapshot"
        )


def check_plain(tensors: Mapping[str, Tensor], source: str, called: Mapping[str, str] | None = None) -> None:
    """CheckpointError for tensors that are not dense numbers in memory, such as sparse ones or those of no device."""
    for key, value in tensors.items():
        kind = "without numbers" if value.is_meta else "quantized" if value.is_quantized else ""
        kind = kind or ("sparse" if value.layout != torch.strided else "complex" if value.is_complex() else "")
        if kind:
            raise CheckpointError(
                f"{source}: {(called or {}).get(key, key)} is a tensor {kind}, expected plain numbers: save the state "
                f"dict of the network on the CPU, as in torch.save(net.cpu().state_dict(), FILE)"
            )


def load_strictly(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    fresh: Iterable[str] = (),
    called: Mapping[str, str] | None = None,
) -> list[str]:
    """Loads every tensor of a network; those named ``fresh`` may be missing or of another shape, and stay as they are.

    ``called`` says what the file calls a key, for what is told of it.

    Returns:
        The fresh tensors that stayed as initialised.

    Raises:
        CheckpointError: listing the keys that are missing, left over or of another shape; nothing is loaded then.
    """
    stayed = check_fit(network, tensors, source, fresh, called)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key not in stayed:
                value.copy_(tensors[key])
    return stayed


def check_fit(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    fresh: Iterable[str] = (),
    called: Mapping[str, str] | None = None,
) -> list[str]:
    """What `load_strictly` would find: the fresh tensors that would stay, or its CheckpointError. Nothing is loaded."""
    own, fresh, called = network.state_dict(), set(fresh), called or {}
    stayed = [k for k in own if k in fresh and (k not in tensors or tensors[k].shape != own[k].shape)]
    wrong = {
        "missing": [k for k in own if k not in tensors and k not in fresh],
        "left over": [called.get(k, k) for k in tensors if k not in own and k not in fresh],
        "of another shape": [
            f"{called.get(k, k)} {list(tensors[k].shape)} instead of {list(own[k].shape)}"
            for k in own
            if k in tensors and k not in stayed and tensors[k].shape != own[k].shape
        ],
        "of another type": [
            f"{called.get(k, k)} {tensors[k].dtype} instead of {own[k].dtype}"
            for k in own
            if k in tensors and k not in stayed and tensors[k].is_floating_point() != own[k].is_floating_point()
        ],
    }
    problems = [
        f"{word}: {', '.join(keys[:12])}{f' and {len(keys) - 12} more' if len(keys) > 12 else ''}"
        for word, keys in wrong.items()
        if keys
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit {type(network).__name__}: " + "; ".join(problems))
    return stayed
