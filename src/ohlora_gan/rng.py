"""Random numbers from (seed, stream, index): no global generator decides a result.

Sample ``i`` of a stream depends on nothing but ``(seed, stream, i)``: not on batch size, number of workers or
processes, or on what was drawn before. Two streams never share numbers.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


def stream_key(seed: int, stream: str) -> int:
    """A 64-bit key for a stream of random numbers.

    Args:
        seed: any integer; 0 is a seed like any other.
        stream: what the numbers are for, for example ``"bank/z"``.
    """
    digest = hashlib.blake2b(f"{int(seed)}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def generator(seed: int, stream: str, index: int = 0) -> np.random.Generator:
    """The NumPy generator of sample ``index`` (at least 0) of a stream.

    Philox is counter based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): its key is
    the stream and the sample, so generators for different samples are independent and cheap to make.
    """
    if index < 0:
        raise ValueError(f"index is {index}, expected 0 or more")
    return np.random.Generator(np.random.Philox(key=[stream_key(seed, stream), index]))


def normal(seed: int, stream: str, indices: Iterable[int], size: int | tuple[int, ...]) -> Tensor:
    """Standard normal float32 numbers, one row a sample index: shape ``[len(indices), *size]``."""
    rows = [generator(seed, stream, int(i)).standard_normal(size, dtype=np.float32) for i in indices]
    shape = (size,) if isinstance(size, int) else size
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty((0, *shape))


def torch_generator(seed: int, stream: str, index: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for (seed, stream, index), for numbers that are drawn on the device itself."""
    state = int(generator(seed, stream, index).integers(0, 2**63 - 1))
    return torch.Generator(device=device).manual_seed(state)
