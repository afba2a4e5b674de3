"""``run.json`` in a run's folder: its command, versions, machine, seed, device, time, and how it ended."""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.errors import as_typed
from ohlora_gan.files import write_json
from ohlora_gan.settings import FIXED

RECORD = "run.json"
PACKAGES = ("ohlora-gan", "torch", "pytorch-lightning", "hydra-core", "numpy", "scikit-learn", "wandb")
ONLY_PLACES = ("paths.", "ckpt_path=", f"++{FIXED}")
"""What of a command only says where files lie."""


def command_line() -> str:
    """The command that makes this run again, that of its own cell in a sweep, without where its files lie."""
    program, words = Path(sys.argv[0]).name, sys.argv[1:]
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:  # perhaps in a launcher's process
        program, words = f"{HydraConfig.get().job.name}.py", list(HydraConfig.get().overrides.task)
    start = (program if program.startswith("ohlora") else as_typed(f"python {program}")).split()
    return shlex.join([*start, *(word for word in words if not word.startswith(ONLY_PLACES))])


def versions() -> dict[str, str]:
    """Those of Python and of the packages that decide figures; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def about(cfg: DictConfig) -> dict[str, Any]:
    """What is known of a run when it begins, as plain data."""
    device = OmegaConf.select(cfg, "device.name") if OmegaConf.is_dict(cfg.get("device")) else cfg.get("device")
    return {
        "task": str(cfg.get("task", "unknown")),
        "command": command_line(),
        "seed": cfg.get("seed"),
        "device": device,
        "versions": versions(),
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
    }


@contextmanager
def recorded(folder: Path, cfg: DictConfig) -> Iterator[dict[str, Any]]:
    """Writes ``run.json`` at the beginning of a run and, with ``state`` and ``seconds``, at its end.

    The block may put more into what it yields: an ``exit_code``, and ``why``, the sentence that the run ended with.
    """
    began = time.monotonic()
    record = about(cfg) | {"started": datetime.now().isoformat(timespec="seconds"), "state": "running"}
    write_json(folder / RECORD, record)
    state = "interrupted"
    try:
        yield record
        state = "done"
    except Exception:
        state = "failed"
        raise
    finally:
        ended = {"state": "failed" if record.get("exit_code") else state, "seconds": round(time.monotonic() - began, 1)}
        try:
            write_json(folder / RECORD, record | ended)
        except OSError:  # a full disk: what the run itself could not write is told
            (folder / RECORD).unlink(missing_ok=True)


def read_record(folder: Path) -> dict[str, Any]:
    """``run.json`` of a folder; empty where it is missing or damaged."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
