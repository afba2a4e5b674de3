"""Hydra's launchers and the optuna sweeper, where they are installed: folders, exit code, what a failed job leaves,
what Ctrl+C ends, and one leaderboard of one sweep."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import distributions

import pytest
import yaml
from conftest import PROJECT

from ohlora_gan.models import checkpoint
from tests import tiny

INSTALLED = {package.name for package in distributions()}
SHELL = """
import time
import hydra
from ohlora_gan.pipelines.shells import job, run

@hydra.main(version_base="1.3", config_path="conf", config_name="main")
@job
def main(cfg):
    if cfg.n == 2:
        raise OSError("two is too few")
    if cfg.n > 100:
        time.sleep(cfg.n)
    return float(cfg.n)

if __name__ == "__main__":
    run(main)
"""
CONFIG = """
defaults: [_self_]
task: sweep
seed: 0
n: 1
paths: {output_dir: none}
hydra:
  run: {dir: "${paths.output_dir}"}
  sweep: {dir: "${paths.output_dir}", subdir: "${job_folder:}"}
  callbacks: {end: {_target_: ohlora_gan.pipelines.shells.SweepEnd}}
"""


def needing(package: str, *values: object) -> object:
    """A test's values that need a package; where it is not installed the test is skipped."""
    reason = f"{package} is not installed: pip install 'ohlora-gan[sweeps,ray]'"
    return pytest.param(*values, marks=pytest.mark.skipif(package not in INSTALLED, reason=reason))


LAUNCHERS = [
    "basic",
    needing("hydra-joblib-launcher", "joblib"),
    needing("hydra-submitit-launcher", "submitit_local"),
    needing("hydra-ray-launcher", "ray"),
]


def own_environment(folder) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT / "src"), "HOME": str(folder)}


def small_program(folder, *words: str) -> list[str]:
    """Writes a small program; returns the command of a sweep of it."""
    (folder / "conf").mkdir()
    (folder / "conf" / "main.yaml").write_text(CONFIG)
    (folder / "shell.py").write_text(SHELL)
    return [sys.executable, "shell.py", "-m", *words, "seed=3", f"paths.output_dir={folder / 'out'}"]


def sweep(folder, *words: str) -> subprocess.CompletedProcess:
    """A sweep of a small program in a process of its own."""
    how = {"env": own_environment(folder), "capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(small_program(folder, *words), cwd=folder, **how)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_failed_job_leaves_the_others_and_says_so(tmp_path, launcher):
    done = sweep(tmp_path, f"hydra/launcher={launcher}", "n=1,2,3")
    assert done.returncode == 2, done.stderr
    assert "1 of 3 jobs failed, the others are whole: 1_n-2 (two is too few)\n" in done.stdout + done.stderr
    records = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/run.json")}
    assert {name: of["state"] for name, of in records.items()} == {"0_n-1": "done", "1_n-2": "failed", "2_n-3": "done"}
    assert records["2_n-3"]["command"] == "python shell.py n=3 seed=3"
    assert records["2_n-3"]["seed"] == 3
    assert (tmp_path / "out" / "1_n-2" / "failed.txt").read_text() == "two is too few\n"


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", [needing("hydra-optuna-sweeper", "optuna")])
def test_optuna_looks_for_the_highest_and_goes_on_after_a_failed_job(tmp_path, sweeper):
    words = [f"hydra/sweeper={sweeper}", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=6"]
    words += ["hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=1.0", "hydra.sweeper.sampler.seed=0"]
    done = sweep(tmp_path, *words, "n=choice(1,2,3)")
    assert done.returncode in (0, 2), done.stderr  # 2 where it has tried n=2
    folders = sorted(path.name for path in (tmp_path / "out").glob("*_n-*"))
    assert len(folders) == 6
    tried = {name.rpartition("-")[2] for name in folders}
    assert (done.returncode == 2) == ("2" in tried)
    found = yaml.safe_load((tmp_path / "out" / "optimization_results.yaml").read_text())
    assert found["best_value"] == max(float(n) for n in tried - {"2"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("+hydra.sweeper.sampler.seed=0", "unexpected keyword argument 'seed'"),
        ("hydra.sweeper.direction=up", "'minimize' or 'maximize'"),
    ],
)
@pytest.mark.parametrize("sweeper", [needing("hydra-optuna-sweeper", "optuna")])
def test_what_a_sweeper_cannot_do_is_a_sentence(tmp_path, sweeper, word, why):
    grid = [f"hydra/sweeper={sweeper}", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_jobs=1"]
    done = sweep(tmp_path, *grid, word, "n=choice(1,3)")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert re.search(f"error: Hydra's plugin hydra_optuna_sweeper says: .*({why})", done.stderr)
    assert "hydra/sweeper=basic" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("plugin", [*LAUNCHERS, needing("hydra-optuna-sweeper", "optuna")])
def test_ctrl_c_ends_a_sweep_with_a_word(tmp_path, plugin):
    group = "sweeper" if plugin == "optuna" else "launcher"
    command = small_program(tmp_path, f"hydra/{group}={plugin}", "n=choice(200,300)")
    how = {"env": own_environment(tmp_path), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **how) as started:
        try:
            for _ in range(600):
                if list((tmp_path / "out").glob("*/run.json")):
                    break
                time.sleep(0.2)
            time.sleep(1.0)
            os.killpg(started.pid, signal.SIGINT)  # as a terminal does
            said, _ = started.communicate(timeout=120)
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 130, said
    assert "interrupted" in said
    states = [json.loads(path.read_text())["state"] for path in (tmp_path / "out").glob("*/run.json")]
    assert "done" not in states


SEARCHES = ["groups=none", "layer=w", "judge=null", "num_calibration=4", "test.num_latents=4", "test.num_saturation=2"]
SEARCHES += ["strips.num_faces=2", "strips.steps=5", "logger=csv", "properties=[eyes,mouth]"]


def leaderboard(folder, *words: str) -> dict[tuple[str, str], dict[str, str]]:
    """A sweep of find_vectors.py with tiny networks, a failed cell in it: its leaderboard's rows but the seconds, by
    method and number of samples."""
    scorer = tiny.scorer()
    list(scorer.parameters())[-2].data.mul_(20)
    networks = {"checkpoint": {"generator": tiny.generator()}, "scorer": {"scorer": scorer}}
    files = [f"{name}={checkpoint.save(folder / f'{name}.safetensors', of)}" for name, of in networks.items()]
    places = [f"paths.output_dir={folder / 'out'}", f"paths.bank_dir={folder / 'banks'}"]
    command = [sys.executable, "find_vectors.py", "-m", *words, *SEARCHES, *files, *places]
    environment = own_environment(folder) | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "others are whole" in done.stdout + done.stderr
    with (folder / "out" / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        name = row["run"].partition("_")[2]
        assert not row["failed"] or "n=2 is too small" in row["failed"]
        figures = {key: value for key, value in row.items() if "seconds" not in key and key not in ("run", "failed")}
        assert found.setdefault(name, figures) == figures  # optuna may try a cell again
    return found


@pytest.fixture(scope="module")
def one_after_the_other(tmp_path_factory):
    return leaderboard(tmp_path_factory.mktemp("basic"), "method=svm,ridge", "n=250,2")


CELLS = ["method=svm,ridge", "n=250,2"]
CHOICES = ["method=choice(svm,ridge)", "n=choice(250,2)", "hydra.sweeper.n_trials=6"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        needing("hydra-joblib-launcher", "sweep_joblib", CELLS),
        needing("hydra-submitit-launcher", "sweep_submitit", CELLS),
        needing("hydra-ray-launcher", "sweep_ray", CELLS),
        needing("hydra-optuna-sweeper", "sweep_optuna", CHOICES),
    ],
)
def test_one_sweep_has_one_leaderboard(tmp_path, one_after_the_other, experiment, words):
    found = leaderboard(tmp_path, f"experiment={experiment}", *words)
    assert found == {name: one_after_the_other[name] for name in found}
    assert len(found) == 4 or words is CHOICES
    assert len([name for name, row in found.items() if row["n"]]) == 2
