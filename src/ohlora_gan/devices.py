"""One place that reads ``conf/device``: what training and sampling run on, checked before anything starts."""

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class DeviceUnavailableError(ValueError):
    """The machine lacks what the device config asks for."""


@dataclass
class Device:
    """Settings of ``conf/device``, read by training and by sampling alike.

    Args:
        accelerator: ``cpu``, ``cuda`` or ``mps``.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed`` (Lightning's names). R1, losses and instance-norm
            statistics stay in float32 whatever the precision.
        devices, num_nodes, strategy: Lightning Trainer settings.
        compile: compile the networks with torch.compile (needs a C++ compiler on the CPU).
        deterministic: deterministic algorithms only.
        channels_last: memory format of the networks.
    """

    name: str = "cpu"
    accelerator: str = "cpu"
    precision: str = "32-true"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    compile: bool = False
    deterministic: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"device.precision is {self.precision!r}, expected one of {sorted(PRECISIONS)}")
        if self.accelerator not in ("cpu", "cuda", "mps"):
            raise ValueError(f"device.accelerator is {self.accelerator!r}, expected 'cpu', 'cuda' or 'mps'")

    def check(self) -> "Device":
        """Says at once what is not there.

        Raises:
            DeviceUnavailableError: with the remedy.
        """
        if self.accelerator == "cuda":
            found = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if found < self.devices:
                raise DeviceUnavailableError(
                    f"device={self.name} needs {self.devices} CUDA GPU(s), {found} found: use device=cpu or cpu_bf16"
                )
        if self.accelerator == "mps" and not torch.backends.mps.is_available():
            raise DeviceUnavailableError(f"device={self.name} needs an Apple GPU (MPS), none found: use device=cpu")
        if self.accelerator == "cpu" and self.precision == "16-mixed":
            raise DeviceUnavailableError("16-mixed precision needs a GPU: use device=cpu or device=cpu_bf16")
        return self

    @property
    def torch_device(self) -> torch.device:
        """The device that sampling uses."""
        return torch.device(self.accelerator)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Autocast to the configured precision, for sampling and scoring."""
        dtype = PRECISIONS[self.precision]
        with torch.autocast(self.accelerator, dtype=dtype, enabled=dtype is not None):
            yield

    def place(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network in eval mode, on the device, in its memory format, without gradients."""
        network = network.to(self.torch_device).eval().requires_grad_(False)
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def trainer_options(self) -> dict[str, Any]:
        """Keyword arguments of ``pytorch_lightning.Trainer``."""
        return {
            "accelerator": "gpu" if self.accelerator == "cuda" else self.accelerator,
            "precision": self.precision,
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            "strategy": self.strategy,
            "deterministic": self.deterministic,
        }


def keep_freed_memory() -> bool:
    """Lets glibc keep freed memory instead of giving every big tensor back to the kernel.

    Training on a CPU frees and takes the same buffers again and again; page faults then cost more than the
    arithmetic. Does nothing (False) where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # mallopt's parameter numbers, malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)
