"""Faces that are given as latents: our own files, and arrays that encoders and projectors of others have saved.

What an array is, z, one w, or one w a synthesis layer, is told by its shape and its name; where both leave it open it
has to be said.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from ohlora_gan.directions.arrays import read
from ohlora_gan.editing.invert import anchored
from ohlora_gan.files import replacing
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.saved import METADATA_KEY, LatentsError, SavedLatents, read_latents
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.reading import UnreadableError, opened_tensors

Kind = Literal["z", "w", "wplus"]
ARRAYS = (".npy", ".npz", ".pt", ".pth", ".pkl")
KEYS = ("wplus", "w_plus", "wp", "w", "z", "latent", "latents", "latent_codes", "projected_w", "ws")
"""What others call their latents; of a dict's arrays one of these is taken, else its only one."""
NAMED = re.compile(r"(?:^|_)(z|w|wp|wplus|w_plus)s?(?:$|_)")


@dataclass(frozen=True)
class Sizes:
    """What a generator takes; ``layers`` None: not known."""

    z: int
    label: int
    w: int
    layers: int | None

    @classmethod
    def of(cls, generator: GeneratorBase | None) -> "Sizes":
        """A generator's, or where there is none the published one's, of any number of layers."""
        if generator is None:
            return cls(512, 7, 512, None)
        return cls(generator.z_dim, generator.label_dim, generator.w_dim, generator.num_layers)

    def __str__(self) -> str:
        z = f"z [N, {self.z}]" + (f" or [N, {self.z + self.label}] with its label" if self.label else "")
        return f"{z}, w [N, {self.w}], or one w a layer [N, {self.layers or 'L'}, {self.w}]"


@dataclass(frozen=True)
class GivenW:
    """Faces as w, float32 ``[N, w_dim]``, or one a synthesis layer, ``[N, L, w_dim]``."""

    w: NDArray[np.float32]
    origin: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.w)

    def check(self, generator: GeneratorBase) -> None:
        """Raises LatentsError where a generator takes other w."""
        num, size = generator.num_layers, generator.w_dim
        if self.w.shape[-1] != size or (self.w.ndim == 3 and self.w.shape[1] != num):
            raise LatentsError(
                f"latents are w of shape {list(self.w.shape)}, the generator takes [N, {size}] or [N, {num}, {size}]: "
                f"give the generator that they were made with, as --checkpoint"
            )


Given = SavedLatents | GivenW


def read_given(
    path: str | Path, generator: GeneratorBase | None, kind: Kind | None = None, groups: str | None = None
) -> Given:
    """Faces of a file: of ours, Oh-LoRA's CSV, or an array of others.

    Args:
        path: ``.safetensors``, ``.csv``, or one of `ARRAYS`.
        generator: that they are for; None: the published one.
        kind: what an array is; None: told by its shape and name.
        groups: Oh-LoRA's group names, of a CSV alone.

    Raises:
        ValueError: naming the file, where it cannot be used.
    """
    path, sizes = Path(path), Sizes.of(generator)
    if path.suffix in ARRAYS:
        if groups:
            raise LatentsError(f"groups are of latents in a .csv, {path} is none: leave {groups} out")
        return of_array(*named_array(path), path, sizes, kind)
    if kind is not None:
        raise LatentsError(f"{path} says itself what its latents are: {kind} is said of arrays ({', '.join(ARRAYS)})")
    if path.suffix == ".safetensors" and not groups and (found := _load_w(path)) is not None:
        return found
    if path.suffix not in (".safetensors", ".csv"):
        raise LatentsError(f"latents {path} are of an unknown kind, expected .safetensors, .csv, {', '.join(ARRAYS)}")
    return read_latents(path, groups, (sizes.z, sizes.label))


def named_array(path: Path) -> tuple[str, NDArray[np.float32]]:
    """The only array of latents in a file, and what it is called there; empty where it has no name."""
    content: Any = read(path)
    if (
        isinstance(content, Mapping)
        and len(content) == 1
        and isinstance(inner := next(iter(content.values())), Mapping)
    ):
        content = inner  # a projector's {picture: {"latent": ..., "noise": ...}}
    name = ""
    if isinstance(content, Mapping):
        held = {str(key): value for key, value in content.items() if isinstance(value, np.ndarray | Tensor)}
        known = [key for key in KEYS if key in held] or list(held)
        if len(known) != 1:
            raise LatentsError(
                f"{path} holds {', '.join(map(str, content)) or 'nothing'}, expected one array of latents, called "
                f"{', '.join(KEYS[:5])}: save it alone, as in numpy.save('w.npy', w)"
            )
        name, content = known[0], held[known[0]]
    if isinstance(content, Tensor):
        content = content.detach().float().cpu().numpy()
    if not isinstance(content, np.ndarray) or content.dtype.kind != "f" or not content.size:
        what = content.dtype if isinstance(content, np.ndarray) else f"a {type(content).__name__}"
        raise LatentsError(f"{path} holds {what}, expected an array of floats: latents of faces")
    if num_bad := np.count_nonzero(~np.isfinite(content)):
        raise LatentsError(f"{path}: {num_bad} of its numbers are not finite")
    return name, content.astype(np.float32)


def of_array(name: str, array: NDArray[np.float32], path: Path, sizes: Sizes, kind: Kind | None) -> Given:
    """What an array of a file is."""
    shape, origin = list(array.shape), {"imported": {"source": path.name}}
    wrong = LatentsError(f"{path} holds {shape}, expected {sizes}: give the generator that it is for, as --checkpoint")
    if array.ndim == 1:
        array = array[None]
    if array.ndim == 3 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (2, 3):
        raise wrong
    kind = kind or kind_of(name, array, path, sizes)
    if kind == "wplus" and array.ndim == 2 and len(array) > 1:
        array = array[None]
    if kind == "z":
        if array.ndim != 2 or array.shape[1] not in (sizes.z, sizes.z + sizes.label):
            raise wrong
        label = array[:, sizes.z :]
        return SavedLatents(
            array[:, : sizes.z], label if label.shape[1] else np.zeros((len(array), sizes.label)), origin=origin
        )
    layers = array.shape[1] if array.ndim == 3 else None
    if array.shape[-1] != sizes.w or (layers is not None and sizes.layers not in (None, layers)):
        raise wrong
    return GivenW(array, origin)


def kind_of(name: str, array: NDArray[np.float32], path: Path, sizes: Sizes) -> Kind:
    """What an array ``[N, D]`` or ``[N, L, D]`` is, by its shape, the key and the file's name."""
    if array.ndim == 3:
        return "wplus"
    said = next((found[1] for text in (name, path.stem) if (found := NAMED.search(text.lower()))), None)
    num, size = array.shape
    one_a_layer = size == sizes.w and num > 1 and num == sizes.layers
    if said is not None and not (said == "w" and one_a_layer):
        return "z" if said == "z" else "w" if said == "w" else "wplus"
    if one_a_layer:  # [18, 512] of an encoder
        return "wplus"
    fits: list[Kind] = ["z"] if size in (sizes.z, sizes.z + sizes.label) else []
    if size == sizes.w:
        fits += ["w", "wplus"] if num > 1 and sizes.layers is None else ["w"]
    if len(fits) > 1:
        raise LatentsError(
            f"{path} holds [{num}, {size}], which may be {' or '.join(fits)}: say which with --latents-layer "
            f"(of import-vectors: --layer), or name the file or its key so, as in faces_w.npy"
        )
    if not fits:
        raise LatentsError(
            f"{path} holds [{num}, {size}], expected {sizes}: give the generator that it is for, as --checkpoint"
        )
    return fits[0]


def codes_of(given: Given, space: FaceSpace, layer: Layer) -> tuple[Layer, NDArray[np.float32]]:
    """The layer at which given faces are edited as those of ``layer`` are, and their codes there.

    Raises:
        LatentsError: where the generator takes others.
    """
    given.check(space.generator)
    if isinstance(given, SavedLatents):
        label = torch.from_numpy(given.label) if space.generator.label_dim else None
        return layer, space.codes(layer, torch.from_numpy(given.z), label)
    w = given.w if given.w.ndim == 3 else np.repeat(given.w[:, None], space.generator.num_layers, axis=1)
    return anchored(space, layer, w)


def save_w(path: str | Path, given: GivenW) -> Path:
    """Writes one safetensors file, which `read_given` reads."""
    with replacing(path) as partial:
        save_file({"w": given.w}, partial, metadata={METADATA_KEY: json.dumps({"origin": given.origin})})
    return Path(path)


def _load_w(path: Path) -> GivenW | None:
    """What `save_w` wrote; None where the file holds something else, of which `read_latents` says what is wrong."""
    try:
        with opened_tensors(path, METADATA_KEY) as (file, description):
            if "w" not in file.keys():  # noqa: SIM118 (no mapping)
                return None
            return GivenW(file.get_tensor("w"), description.get("origin") or {})
    except (UnreadableError, OSError):
        return None
