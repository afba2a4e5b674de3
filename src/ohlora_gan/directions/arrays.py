"""Single directions in other people's files: arrays out of ``.npy``, ``.npz``, ``.pt``, ``.pkl`` and ``.csv``.

No code of a file runs: pickles, which HiGAN's boundaries are, are read by an unpickler that knows arrays, dicts, lists,
numbers and text, and nothing else. What an array is, a direction of w or one a layer, is told by its shape.
"""

import math
import pickle
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor, float16

from ohlora_gan.directions.files import DirectionsError, read_direction
from ohlora_gan.errors import near_file
from ohlora_gan.models.checkpoint import check_plain
from ohlora_gan.models.formats import read_torch

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".pkl", ".csv")
SHAPES = "[D], [1, D], [L, D] or [1, L, D]"
BOUNDARY, ABOUT = "boundary", "meta_data"
"""Keys of a HiGAN dict: the array, and what belongs to it."""
TRAINED_ON = re.compile(r"^(?:stylegan\d?|pggan|styleganinv)_(?:ada_)?[a-z]+\d*_")
OF_LAYER = re.compile(r"_(z|w|wp|wplus)$")
MAX_BYTES = 2**28  # of a file of directions, which has some kilobytes
TOO_LARGE = f"expected {MAX_BYTES:,} at most: it is no file of directions"
DAMAGE = (
    *(ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, ImportError, MemoryError, RecursionError),
    *(OverflowError, RuntimeError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy, pickle and zip raise for files that are damaged, or forged."""
EQUAL = 1e-4  # rows that differ by less of their largest value are equal, also in half precision
ARRAYS = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("collections", "OrderedDict")),
}
"""All that a pickle of arrays may name."""


@dataclass(frozen=True)
class Found:
    """An array of a file.

    Attributes:
        name: the property that it is for, by the file or by its key there.
        path: the file.
        array: floats of one of `SHAPES`.
        layer: of which it is by the file's name (``z``, ``w``, ``wplus``); empty where that says nothing.
        moved: the first and the last synthesis layer that its author moved; None where he does not say.
    """

    name: str
    path: Path
    array: np.ndarray
    layer: str = ""
    moved: tuple[int, int] | None = None

    @property
    def shape(self) -> str:
        """Type and shape, such as ``float64 [1, 18, 512]``."""
        return f"{self.array.dtype} {list(self.array.shape)}"

    def rows(self) -> np.ndarray:
        """float64 ``[L, D]``: one row where it is one direction, or the same for all layers."""
        rows = self.array.astype(np.float64).reshape(-1, self.array.shape[-1])
        same = np.abs(rows - rows[0]).max() <= EQUAL * np.abs(rows).max()
        return rows[:1] if same else rows


def boundary_property(path: str | Path) -> str:
    """The property that a boundary's file is named after: ``smile`` for ``stylegan_ffhq_smile_w_boundary.npy``."""
    return OF_LAYER.sub("", TRAINED_ON.sub("", Path(path).stem.removesuffix("_boundary")))


def boundary_layer(path: str | Path) -> str:
    """The layer that a boundary's file is named after: ``w`` for ``smile_w_boundary.npy``; empty where it says none.

    InterFaceGAN's name the network, too, and those of z say no layer: ``stylegan_ffhq_smile_boundary.npy``.
    """
    stem = Path(path).stem
    if not stem.endswith("_boundary"):
        return ""
    if named := OF_LAYER.search(stem.removesuffix("_boundary")):
        return {"wp": "wplus"}.get(named[1], named[1])
    return "z" if TRAINED_ON.search(stem) else ""


def arrays_of(path: Path, name: str = "") -> Iterator[Found]:
    """The directions of a file, each checked: finite floats, not all zero, of a known shape.

    ``name`` is the property; without it the file, or its keys where it holds several arrays, say what it is for, in
    letters, digits and ``_``.
    DirectionsError, which names the file, for one that cannot be used.
    """
    content: Any = read(path)
    about: Any = {}
    if isinstance(content, Mapping) and BOUNDARY in content:
        content, about = content[BOUNDARY], content.get(ABOUT)
    if not isinstance(content, Mapping):
        content = {name or boundary_property(path): content}
    elif arrays := {key: held for key, held in content.items() if isinstance(held, np.ndarray | Tensor)}:
        content = arrays  # without what their author noted beside them
    if len(content) == 1:
        content = {name or boundary_property(path): next(iter(content.values()))}
    elif name:
        raise DirectionsError(f"{path} holds {len(content)} arrays, expected the one of {name}: give the file alone")
    if not content:
        raise DirectionsError(f"{path} holds no arrays, expected one or more of shape {SHAPES}")
    for key, array in content.items():
        if isinstance(array, Tensor):
            check_plain({str(key): array}, str(path))
            known = array.dtype == float16 or array.element_size() >= 4  # to NumPy
            array = (array if known else array.float()).detach().numpy()
        prop = re.sub(r"\W+", "_", str(key))
        yield Found(prop, path, checked(array, path), boundary_layer(path), layers_moved(about))


def read(path: Path) -> Any:
    """What a file holds: an array, a tensor, or a dict of them."""
    try:
        if path.suffix in (".pt", ".pth"):
            path.open("rb").close()
            return read_torch(path)
        if path.suffix == ".csv":
            return read_direction(path)
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return {info.filename.removesuffix(".npy"): member(archive, info) for info in archive.infolist()}
        with path.open("rb") as file:
            if path.suffix == ".npy" and file.peek(6)[:6] == b"\x93NUMPY":
                return read_npy(file, path.stat().st_size)
            return ArrayUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise DirectionsError(
            f"{path} cannot be read ({error.strerror or error}): {near_file(path)}"
            f"give a file such as {', '.join(SUFFIXES)}"
        ) from error
    except pickle.UnpicklingError as error:
        raise DirectionsError(
            f"{path} is damaged, or a pickle of more than arrays ({error}), whose loading could run code: save its "
            f"array alone, as in numpy.save('boundary.npy', content['boundary'])"
        ) from error
    except DAMAGE as error:
        if isinstance(error, DirectionsError) or type(error).__module__.startswith("ohlora_gan"):
            raise
        raise DirectionsError(f"{path} is damaged, or no file of arrays: {error}") from error


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    """An array of an ``.npz`` file, whose size is bounded before it is unpacked."""
    if info.file_size > MAX_BYTES:
        raise DirectionsError(f"{archive.filename} holds {info.filename} of {info.file_size:,} bytes, {TOO_LARGE}")
    with archive.open(info) as file:
        return read_npy(file, info.file_size)


def read_npy(file: IO[bytes], size: int) -> Any:
    """An array of an ``.npy`` file of so many bytes; what it holds where it is a pickled object, read inertly."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if not dtype.hasobject:
        if (claimed := math.prod(shape) * dtype.itemsize) > min(size, MAX_BYTES):
            raise DirectionsError(f"{file.name} is to hold {claimed:,} bytes but has {size:,}: get a whole copy")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    content = ArrayUnpickler(file, encoding="latin1").load()
    return content.item() if isinstance(content, np.ndarray) and content.size == 1 else content


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of arrays and plain data; UnpicklingError for any class or function beside those of `ARRAYS`."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def layers_moved(about: Any) -> tuple[int, int] | None:
    """The range of HiGAN's ``manipulate_layers``, such as ``6-11``; None where it says none."""
    said = about.get("manipulate_layers") if isinstance(about, Mapping) else None
    match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", str(said))
    return (int(match[1]), int(match[2])) if match else None


def checked(array: Any, path: Path) -> np.ndarray:
    """An array of floats of one of `SHAPES`; DirectionsError for anything else."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        held = array.dtype if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
        raise DirectionsError(f"{path} holds {held}, expected arrays of floats")
    if array.ndim not in (1, 2, 3) or (array.ndim == 3 and array.shape[0] != 1) or array.size == 0:
        raise DirectionsError(f"{path} holds an array of shape {list(array.shape)}, expected {SHAPES}")
    if array.nbytes > MAX_BYTES:
        raise DirectionsError(f"{path} holds an array of {array.nbytes:,} bytes, {TOO_LARGE}")
    if num_bad := np.count_nonzero(~np.isfinite(array)):
        raise DirectionsError(f"{path}: {num_bad} of its numbers are not finite")
    if not array.any():
        raise DirectionsError(f"{path} holds only zeros, which is no direction")
    return array
