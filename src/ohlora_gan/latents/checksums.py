"""Arrays on disk with a checksum: one that is damaged or was changed is named, and then made again."""

import functools
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

log = logging.getLogger(__name__)


def checksum_of(*arrays: NDArray[Any]) -> str:
    """CRC-32 of arrays one after another."""
    return str(functools.reduce(lambda crc, array: zlib.crc32(np.ascontiguousarray(array).data, crc), arrays, 0))


def with_checksum(name: str, array: NDArray[Any], *of: NDArray[Any]) -> bytes:
    """A file that holds an array, and the checksum of it and of those that lie elsewhere."""
    return save({name: array}, {"checksum": checksum_of(*of, array)})


def read_array(path: Path, name: str, *of: NDArray[Any]) -> NDArray[Any] | None:
    """What `with_checksum` wrote; None where there is no such file, or where it or the others are damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            array, checksum = file.get_tensor(name), (file.metadata() or {}).get("checksum")
    except (OSError, SafetensorError) as error:
        tell_damaged(path, error)
        return None
    if checksum != checksum_of(*of, array):
        tell_damaged(path, "its content has changed" if checksum else "it has no checksum")
        return None
    return array


def tell_damaged(path: Path, why: object) -> None:
    log.warning("%s is damaged (%s) and is made again", path, why)
