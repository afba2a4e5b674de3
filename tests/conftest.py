"""Fixtures that every test may use."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

PROJECT = Path(__file__).resolve().parents[1]


@cache
def load_golden(folder: Path, name: str) -> tuple[dict, dict[str, Tensor]]:
    """The settings and the tensors of one recorded set (no tensors where the set has only settings)."""
    settings = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    tensors = folder / f"{name}.safetensors"
    return settings, load_file(tensors) if tensors.exists() else {}


@pytest.fixture(scope="session")
def golden() -> Callable[[str], tuple[dict, dict[str, Tensor]]]:
    """``golden(name) -> (settings, tensors)``: recordings of the reference system.

    A set is loaded once a session, so a test must not change what it gets. The folder is ``OHLORA_GOLDEN``,
    by default ``shared/golden`` beside the project.
    """
    folder = Path(os.environ.get("OHLORA_GOLDEN") or PROJECT.parent / "shared" / "golden")

    def load(name: str) -> tuple[dict, dict[str, Tensor]]:
        if not (folder / f"{name}.json").exists():
            pytest.skip(f"no golden set {name!r} in {folder}: set OHLORA_GOLDEN to the recordings' folder")
        return load_golden(folder, name)

    return load
