"""Pickles read without running code: a class that is no plain data becomes an inert `Placeholder`, never imported.

What a pickle names (Python's ``pickle`` protocols 0 to 4) is looked up in `Reader.find_class` alone. It knows plain
containers, NumPy's numbers and arrays of numbers, and PyTorch's tensors, whose bytes go through a restricted
``torch.load``, since the ``torch.storage._load_from_bytes`` that files name would unpickle anything. Every other
name, ``os.system`` among them, stands for a placeholder that keeps what the file gave it and does nothing.
"""

import codecs
import io
import math
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ohlora_gan.models.checkpoint import CheckpointError

MAX_NAMES = 10_000
"""So many different names may a pickle hold; networks hold about twenty."""


class Placeholder:
    """Stands for an object of a class that was not imported, or for what a function that was not called returns.

    Attributes:
        name: what the file calls the class or function, such as ``os.system``.
        args: what it would have been called with.
        state: what the file sets it to afterwards.
    """

    name = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> "Placeholder":
        made = object.__new__(cls)
        made.args, made.state = args, {}
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes anything: `__new__` has kept it."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any, **_: Any) -> "Placeholder":
        return Placeholder(self, *args)

    def leave_out(self, *_: Any) -> None:
        """Takes what a file puts into an object of an unknown class."""

    __setitem__ = append = extend = add = leave_out


class NumberType:
    """NumPy's type of numbers as files describe it: its code (``f8``), and its byte order, which follows as state."""

    def __init__(self, code: str, *_: Any) -> None:
        if not (isinstance(code, str) and re.fullmatch(r"[<>|=]?[biuf](1|2|4|8)", code)):
            raise pickle.UnpicklingError(f"an array of the type {code!r}, expected numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class NumberArray:
    """A NumPy array of numbers: ``array``, once the file has given its state."""

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, NumberType):
            raise pickle.UnpicklingError("an array of other things than numbers")
        self.array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")


def read_number(kind: NumberType, data: bytes) -> float | int | bool:
    """A NumPy number as Python's."""
    return np.frombuffer(data, kind.dtype)[0].item()


def read_storage(data: bytes) -> Tensor:
    """The numbers of a tensor in a row, which PyTorch saves as a file within the file, in its old, plain format."""
    if data.startswith(b"PK"):
        raise pickle.UnpicklingError("the numbers of a tensor in an archive, expected PyTorch's old format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that storages are deprecated, or that the bytes are odd, which then fails
        storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return torch.empty(0, dtype=storage.dtype).set_(storage.untyped())


def read_tensor(numbers: Tensor, offset: int, shape: Sequence[int], stride: Sequence[int], *_: Any) -> Tensor:
    """A tensor on its numbers; one that repeats numbers to be larger than what is stored is refused."""
    if math.prod(shape) > numbers.numel():
        raise pickle.UnpicklingError(f"a tensor of shape {list(shape)} of {numbers.numel()} stored numbers")
    return numbers.new_empty(0).set_(numbers.untyped_storage(), offset, tuple(shape), tuple(stride))


def read_latin(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, which pickles of protocol 2 hold as a text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes as a text of {encoding!r}, expected latin1")
    return codecs.encode(text, "latin1")


class Known:
    """A function or class that a file may call; the file can neither look into it nor change it."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("a file changes what reads it")


PLAIN: dict[str, type] = {
    "collections.OrderedDict": OrderedDict,
    "builtins.dict": dict,
    "builtins.list": list,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "__builtin__.dict": dict,
    "__builtin__.list": list,
    "__builtin__.set": set,
    "__builtin__.frozenset": frozenset,
}
"""Containers, as files name them."""

MAKERS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": read_latin,
    "__builtin__.bytes": lambda: b"",  # of protocol 2; others than the empty ones are encoded
    "builtins.bytes": lambda: b"",
    "torch.Size": tuple,
    "torch.storage._load_from_bytes": read_storage,
    "torch._utils._rebuild_tensor_v2": read_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": lambda rebuild, _, args, __: rebuild(*args),  # with attributes of its own
    "numpy.dtype": NumberType,
    **{
        f"{module}.{name}": make
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, make in (("scalar", read_number), ("_reconstruct", NumberArray))
    },
}
"""What makes numbers, arrays, tensors and bytes of what files hold."""


class Reader(pickle.Unpickler):
    """Unpickles plain data, numbers and tensors; all else becomes placeholders."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.known: dict[str, Any] = {**PLAIN, **{name: Known(make) for name, make in MAKERS.items()}}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if name == "EasyDict":  # NVIDIA's dict whose keys are attributes, wherever its program lies
            return dict
        if full not in self.known:
            if len(self.known) > MAX_NAMES:
                raise pickle.UnpicklingError(f"more than {MAX_NAMES} different names")
            self.known[full] = type("Placeholder", (Placeholder,), {"name": full})
        return self.known[full]


def read_pickle(path: Path) -> Any:
    """What a pickle holds, see above; CheckpointError for a file that is cut off or no pickle of this kind."""
    try:
        with path.open("rb") as file:
            return Reader(file).load()
    except Exception as error:  # a spoilt pickle can ask for any operation on anything
        words = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"checkpoint {path} is damaged or cut off ({words}): get the file again") from error
