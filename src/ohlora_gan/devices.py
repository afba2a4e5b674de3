"""One place that reads ``conf/device``: what training and sampling run on, checked before anything starts."""

import ctypes
import functools
import logging
import math
import platform
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch.nn import functional

from ohlora_gan.errors import UserError

log = logging.getLogger(__name__)

AUTO = "auto"
DDP = "ddp_find_unused_parameters_true"
PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
WORTH_IT = 1.2
"""So many times as fast as in float32 must convolutions in bfloat16 be to be chosen."""


class DeviceUnavailableError(UserError):
    """The machine lacks what the device config asks for."""


@dataclass
class Device:
    """Settings of ``conf/device``, read by training and by sampling alike.

    Args:
        accelerator: ``cpu``, ``cuda``, ``mps``, or ``auto``: a GPU where there is one.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed`` (Lightning's names), or ``auto``: bfloat16 where it is
            measured to be faster. R1, losses and instance-norm statistics stay in float32 whatever the precision.
        devices, num_nodes, strategy, deterministic: settings of Lightning's Trainer; with several devices ``auto`` is
            a process each, whose gradients are averaged (DDP).
        timeout: seconds that processes which train together wait for one of them that says nothing; one that has ended
            is seen at once.
        compile: compile the networks with torch.compile (needs a C++ compiler on the CPU).
        channels_last: memory format of the networks.
    """

    name: str = "cpu"
    accelerator: str = "cpu"
    precision: str = "32-true"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    timeout: float = 300
    compile: bool = False
    deterministic: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        if self.precision not in (*PRECISIONS, AUTO):
            raise ValueError(f"device.precision is {self.precision!r}, expected one of {sorted((*PRECISIONS, AUTO))}")
        for name in ("devices", "num_nodes"):
            if type(number := getattr(self, name)) is not int or number < 1:
                raise ValueError(f"device.{name} is {number!r}, expected a whole number of 1 or more")
        if type(self.timeout) not in (int, float) or not 0 < self.timeout < math.inf:
            raise ValueError(f"device.timeout is {self.timeout!r}, expected seconds above 0")
        if self.accelerator not in ("cpu", "cuda", "mps", AUTO):
            raise ValueError(f"device.accelerator is {self.accelerator!r}, expected 'cpu', 'cuda', 'mps' or 'auto'")

    def check(self) -> "Device":
        """The device with its ``auto`` settings chosen; DeviceUnavailableError for what this machine lacks, and for
        bfloat16 where it is slower than float32."""
        accelerator, precision, why = self.accelerator, self.precision, ""
        if accelerator == AUTO:
            accelerator = "cuda" if torch.cuda.is_available() else "cpu"
            if accelerator == "cpu" and has_mps() and self.num_processes == 1:  # Apple GPUs do not train together
                accelerator = "mps"
        if precision == AUTO and accelerator == "cpu":
            precision = "bf16-mixed" if bf16_speed() >= WORTH_IT else "32-true"
            why = f" (bfloat16 is {bf16_speed():.3g} times as fast as float32 here)"
        elif precision == AUTO:
            has_bf16 = accelerator == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16-mixed" if has_bf16 else "32-true"
        if AUTO in (self.accelerator, self.precision):
            log.info("device=%s: %s, %s%s", self.name, accelerator, precision, why)
        chosen = replace(self, accelerator=accelerator, precision=precision)
        chosen._check_is_there()
        if accelerator == "cpu" and self.precision == "bf16-mixed" and bf16_speed() < 1:
            raise DeviceUnavailableError(
                f"device={self.name}: this CPU computes {gflops(torch.bfloat16):.3g} GFLOP/s in bfloat16 and "
                f"{gflops(torch.float32):.3g} in float32, so bfloat16 is slower here: use device=auto or device=cpu"
            )
        return chosen

    def _check_is_there(self) -> None:
        if self.accelerator == "cuda":
            found = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if found < self.devices:
                raise DeviceUnavailableError(
                    f"device={self.name} needs {self.devices} CUDA GPU(s), {found} found: use device=auto"
                )
        if self.accelerator == "mps" and not has_mps():
            raise DeviceUnavailableError(f"device={self.name} needs an Apple GPU (MPS), none found: use device=cpu")
        if self.accelerator == "cpu" and self.precision == "16-mixed":
            raise DeviceUnavailableError("16-mixed precision needs a GPU: use device=auto or device=cpu")

    @property
    def num_processes(self) -> int:
        """Processes of a training, on all machines."""
        return self.devices * self.num_nodes

    @property
    def torch_device(self) -> torch.device:
        """The device that sampling uses."""
        return torch.device(self.accelerator)

    def autocast(self) -> torch.autocast:
        """Autocast to the configured precision, for sampling and scoring."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.accelerator, dtype=dtype, enabled=dtype is not None)

    def place(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network in eval mode, on the device, in its memory format, without gradients."""
        network = network.to(self.torch_device).eval().requires_grad_(False)
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def trainer_options(self) -> dict[str, Any]:
        """Keyword arguments of ``pytorch_lightning.Trainer``."""
        strategy: Any = DDP if self.strategy == AUTO and self.num_processes > 1 else self.strategy
        if strategy == DDP:
            from pytorch_lightning.strategies import DDPStrategy

            # the networks of a GAN take turns: in an update those of the other one are not used
            strategy = DDPStrategy(find_unused_parameters=True, timeout=timedelta(seconds=self.timeout))
        return {
            "accelerator": "gpu" if self.accelerator == "cuda" else self.accelerator,
            "precision": self.precision,
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            "strategy": strategy,
            "deterministic": self.deterministic,
        }


NAMED = {
    AUTO: Device(AUTO, AUTO, AUTO),
    "cpu": Device(),
    "cpu_bf16": Device("cpu_bf16", "cpu", "bf16-mixed"),
    "cuda": Device("cuda", "cuda"),
    "cuda_bf16": Device("cuda_bf16", "cuda", "bf16-mixed"),
    "cuda_amp": Device("cuda_amp", "cuda", "16-mixed"),
    "mps": Device("mps", "mps"),
}
"""The choices of ``conf/device`` that work on one device, for commands that read no config."""


def open_device(name: str) -> Device:
    """A device of `NAMED`, as `Device.check` gives it; ValueError for another name."""
    if name not in NAMED:
        raise ValueError(f"--device {name}, expected one of {', '.join(NAMED)}")
    try:
        return NAMED[name].check()
    except DeviceUnavailableError as error:
        raise DeviceUnavailableError(str(error).replace("device=", "--device ")) from error


def has_mps() -> bool:
    """Whether there is an Apple GPU that PyTorch can use."""
    return torch.backends.mps.is_available()


@functools.cache
def gflops(dtype: torch.dtype) -> float:
    """How many billion additions and multiplications a second a CPU does when it trains a convolution in a precision.

    Measured once a process, in a tenth of a second; one that takes longer is measured once.
    """
    with torch.random.fork_rng(devices=[]):
        images = torch.randn(16, 64, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
        layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    best, until = float("inf"), time.perf_counter() + 0.1
    while best == float("inf") or time.perf_counter() < until:
        started = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            made = functional.conv2d(images, layer.weight, layer.bias, padding=1)
        torch.autograd.grad(made.float().sum(), [images, layer.weight])
        best = min(best, time.perf_counter() - started)
    passes = 3  # forward, to the images, to the weights
    return passes * 2 * layer.weight.numel() * images[:, 0].numel() / best / 1e9


def bf16_speed() -> float:
    """How many times as fast a CPU trains a convolution in bfloat16 as in float32.

    From above 2 where the CPU computes in bfloat16 to below .01 where PyTorch has no fast path for it.
    """
    return gflops(torch.bfloat16) / gflops(torch.float32)


def keep_freed_memory() -> bool:
    """Lets glibc keep freed memory instead of giving every big tensor back to the kernel; False for other C libraries.

    Training on a CPU frees and takes the same buffers again and again; page faults then cost more than the arithmetic.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # mallopt's parameter numbers, malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)
