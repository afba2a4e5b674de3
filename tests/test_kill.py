"""``bench/kill.py``: what it compares, and a training that it kills."""

import importlib.util
import random
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT
from safetensors.numpy import save_file

SCRIPT = PROJECT / "bench" / "kill.py"
spec = importlib.util.spec_from_file_location("kill", SCRIPT)
kill = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kill)


@pytest.mark.parametrize(("often", "runs"), [(1, 3), (2, 2)])
@pytest.mark.parametrize(("value", "identical"), [(1.0, 3), (1.5, 0)])
def test_it_tells_other_weights(tmp_path, monkeypatch, value, identical, often, runs):
    def run(work, folder, seconds=None):
        folder.mkdir(exist_ok=True)
        save_file({"weight": np.array([1.0 if folder.name == "whole" else value])}, folder / "model.safetensors")
        return 1.0, seconds is not None

    monkeypatch.setattr(kill, "run", run)
    (tmp_path / "gan").mkdir()
    assert kill.tried("gan", 3, often, tmp_path, random.Random(0)) == identical
    assert len(list((tmp_path / "gan").glob("from_*"))) == (0 if identical else runs)  # what differs is kept


@pytest.mark.slow
def test_a_killed_training_ends_identically(tmp_path):
    words = [sys.executable, str(SCRIPT), "scorer", "--moments", "1", "--folder", str(tmp_path)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "| scorer | 1 | 1 |"
