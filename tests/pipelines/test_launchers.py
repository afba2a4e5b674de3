"""Hydra's launchers and the optuna sweeper, where they are installed: folders, exit code, what a failed job leaves."""

import json
import subprocess
import sys
from importlib.metadata import distributions

import pytest
import yaml
from conftest import PROJECT

INSTALLED = {package.name for package in distributions()}
SHELL = """
import hydra
from ohlora_gan.pipelines.shells import job, run

@hydra.main(version_base="1.3", config_path="conf", config_name="main")
@job
def main(cfg):
    if cfg.n == 2:
        raise OSError("two is too few")
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


def sweep(folder, package: str, *words: str) -> subprocess.CompletedProcess:
    """A sweep of a small program in a process of its own."""
    if package not in INSTALLED:
        pytest.skip(f"{package} is not installed: pip install 'ohlora-gan[sweeps,ray]'")
    (folder / "conf").mkdir()
    (folder / "conf" / "main.yaml").write_text(CONFIG)
    (folder / "shell.py").write_text(SHELL)
    command = [sys.executable, "shell.py", "-m", *words, "seed=3", f"paths.output_dir={folder / 'out'}"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT / "src"), "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "launcher"),
    [
        ("hydra-core", "basic"),
        ("hydra-joblib-launcher", "joblib"),
        ("hydra-submitit-launcher", "submitit_local"),
        ("hydra-ray-launcher", "ray"),
    ],
)
def test_a_failed_job_leaves_the_others_and_says_so(tmp_path, package, launcher):
    done = sweep(tmp_path, package, f"hydra/launcher={launcher}", "n=1,2,3")
    assert done.returncode == 2, done.stderr
    assert "1 of 3 jobs failed, the others are whole: 1_n-2 (two is too few)\n" in done.stdout + done.stderr
    records = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/run.json")}
    assert {name: of["state"] for name, of in records.items()} == {"0_n-1": "done", "1_n-2": "failed", "2_n-3": "done"}
    assert records["2_n-3"]["command"] == "python shell.py n=3 seed=3"
    assert records["2_n-3"]["seed"] == 3
    assert (tmp_path / "out" / "1_n-2" / "failed.txt").read_text() == "two is too few\n"


@pytest.mark.slow
def test_optuna_looks_for_the_highest_and_goes_on_after_a_failed_job(tmp_path):
    words = ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=6"]
    words += ["hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=1.0", "hydra.sweeper.sampler.seed=0"]
    done = sweep(tmp_path, "hydra-optuna-sweeper", *words, "n=choice(1,2,3)")
    assert done.returncode in (0, 2), done.stderr  # 2 where it has tried n=2
    folders = sorted(path.name for path in (tmp_path / "out").glob("*_n-*"))
    assert len(folders) == 6
    tried = {name.rpartition("-")[2] for name in folders}
    assert (done.returncode == 2) == ("2" in tried)
    found = yaml.safe_load((tmp_path / "out" / "optimization_results.yaml").read_text())
    assert found["best_value"] == max(float(n) for n in tried - {"2"})
