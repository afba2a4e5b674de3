"""Random numbers from (seed, stream, index): no global generator decides a result.

Sample ``i`` of a stream depends on nothing but ``(seed, stream, i)``: not on batch size, number of workers or
processes, or on what was drawn before. Two streams never share numbers.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


def stream_key(seed: int, name: str) -> int:
    """A 64-bit key for a stream of random numbers; ``name`` says what they are for, for example ``"bank/z"``."""
    digest = hashlib.blake2b(f"{int(seed)}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def stream(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """The random numbers of sample ``index`` (at least 0) of a stream.

    Philox is counter based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): its key is
    the stream and the sample, so generators for different samples are independent and cheap to make.
    """
    if index < 0:
        raise ValueError(f"index is {index}, expected 0 or more")
    return np.random.Generator(np.random.Philox(key=[stream_key(seed, name), index]))


def normal(seed: int, name: str, indices: Iterable[int], size: int | tuple[int, ...]) -> Tensor:
    """Standard normal float32 numbers, one row a sample index: shape ``[len(indices), *size]``."""
    rows = [stream(seed, name, int(i)).standard_normal(size, dtype=np.float32) for i in indices]
    shape = (size,) if isinstance(size, int) else size
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty((0, *shape))


def torch_stream(seed: int, name: str, index: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for (seed, stream, index), for numbers that are drawn on the device itself."""
    state = int(stream(seed, name, index).integers(0, 2**63 - 1))
    return torch.Generator(device=device).manual_seed(state)
