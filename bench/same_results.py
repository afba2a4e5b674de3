"""Whether a change of the code left every result as it was, bit for bit.

    python bench/same_results.py REVISION [NAME ...]

runs vector methods and trainings with equal seeds in the working tree and in a checkout of the git revision, and
compares every tensor and figure. NAME: some of the runs alone. The checkout lies in runs/same_results/REVISION, where
results are kept, so that the next comparison with that revision runs the working tree alone.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "runs" / "same_results"
TESTED = ["find_vectors.py", "test.num_latents=24", "strips.num_faces=2"]
VECTORS = [*TESTED, "n=500", "num_calibration=24"]
TRAINING = ["train.py", "trainer.max_steps=20", "trainer.enable_progress_bar=false"]
RUNS = {
    "svm": [*VECTORS, "method=svm"],
    "gradient": [*VECTORS, "method=gradient"],
    "ridge": [*VECTORS, "method=ridge"],
    "mean_jacobian": [*VECTORS, "method=mean_jacobian"],
    "closed_loop": [*TESTED, "method=closed_loop"],
    "finetune_v9": [*TRAINING, "model=finetune_v9", "model.num_images=200"],
    "property_cnn": [*TRAINING, "model=property_cnn", "model.num_images=2000"],
}
RESULTS = ("vectors.safetensors", "model.safetensors", "judge.json")
TIMED = "seconds"  # figures that differ from run to run


def run(name: str, tree: Path, folder: Path) -> None:
    """Runs one of `RUNS` with the code of a tree, unless its results are there."""
    if any((folder / file).is_file() for file in RESULTS):
        return
    command = [sys.executable, *RUNS[name], f"paths.output_dir={folder}"]
    if name not in ("finetune_v9", "property_cnn"):
        command.append(f"paths.bank_dir={folder.parent / 'banks'}")
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {tree}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def results(folder: Path) -> dict[str, Any]:
    """Every tensor and figure of a run's folder, by file and name."""
    found: dict[str, Any] = {}
    for file in (folder / name for name in RESULTS):
        if file.suffix == ".safetensors" and file.is_file():
            found |= {f"{file.name}: {key}": tensor for key, tensor in load_file(file).items()}
        elif file.is_file():
            found |= {f"{file.name}: {key}": value for key, value in leaves(json.loads(file.read_text()))}
    return found


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """The numbers and words in nested JSON, by their path, less those that tell a time."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [(path, value)]
    return [leaf for key, item in items if key != TIMED for leaf in leaves(item, f"{path}/{key}")]


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return type(first) is type(second) and (first == second or (first != first and second != second))  # NaN is NaN


def checkout(revision: str) -> Path:
    """A checkout of a revision, made where it is not there."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], cwd=ROOT, capture_output=True, text=True
    )
    if found.returncode:
        sys.exit(f"error: {revision!r} is no revision of this repository: give a commit, a branch or a tag")
    commit = found.stdout.strip()
    tree = KEPT / commit[:12] / "tree"
    if not tree.exists():
        tree.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(tree)], check=True)
        subprocess.run(["git", "checkout", "--quiet", commit], cwd=tree, check=True)
    return tree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RUNS))
    given = parser.parse_args()
    if unknown := set(given.names) - set(RUNS):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(RUNS)}")
    tree = checkout(given.revision)
    new = KEPT / "working_tree"
    subprocess.run(["rm", "-rf", str(new)], check=True)
    differing = 0
    for name in given.names or RUNS:
        run(name, tree, tree.parent / "runs" / name)
        run(name, ROOT, new / name)
        before, after = results(tree.parent / "runs" / name), results(new / name)
        changed = [key for key in {**before, **after} if not same(before.get(key), after.get(key))]
        differing += len(changed)
        verdict = "the same" if not changed else f"{len(changed)} differ: {', '.join(changed[:5])}"
        print(f"{name:14} {len(before)} tensors and figures: {verdict}", flush=True)
    print("all the same" if not differing else f"{differing} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
