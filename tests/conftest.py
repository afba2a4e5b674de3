"""Fixtures that every test may use."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hydra.core.singleton import Singleton
from safetensors.torch import load_file
from torch import Tensor

PROJECT = Path(__file__).resolve().parents[1]


@cache
def load_golden(folder: Path, name: str) -> tuple[dict, dict[str, Tensor]]:
    """The settings and the tensors of one recorded set (no tensors where the set has only settings)."""
    settings = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    tensors = folder / f"{name}.safetensors"
    return settings, load_file(tensors) if tensors.exists() else {}


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Ctrl+C is heard, by what a test starts, too: a shell's job in the background ignores it, and Lightning leaves a
    process deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Hydra knows its last job for as long as the process lives: for the tests that follow it is forgotten."""
    state = dict(Singleton.get_state())
    yield
    Singleton.set_state(state)


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


@pytest.fixture
def own_module(tmp_path, monkeypatch) -> Iterator[Callable[[str, str], None]]:
    """``own_module(name, code)`` writes a module of the user's into his working folder, which the test then is in."""
    written = []

    def write(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        sys.modules.pop(name, None)
        written.append(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield write
    for name in written:
        sys.modules.pop(name, None)
