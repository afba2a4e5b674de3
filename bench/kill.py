"""Whether work that is killed at any moment and started again ends as work that was not.

    python bench/kill.py [WORK ...] [--moments 3] [--often 1]

runs each work at a tiny size undisturbed, then kills it (SIGKILL, with all its processes) at random moments after a new
result, starts it again as its page says, --often times or until it ends, and compares every weight, shard, picture and
table of directions and tests to the bit.
Prints a table; what differs stays in --folder, and the exit code is 1.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[1]
TINY = ["resolution=32", "logger=csv", "trainer.enable_progress_bar=false"]
OFTEN = "callbacks.checkpoint.every_n_train_steps=3"
GAN = ["checkpoint=scratch", "scorer=null", "filters=[]", "model.module.generator.fmaps=[16,16,16,16]", OFTEN]
SCORER = ["data.num_images=480", "data.num_val=64", "data.num_test=64", "data.batch_size=16", OFTEN]
FILTER = ["attribute=gender", "data.num_images=240", "data.num_test=60", "data.batch_size=24", "trainer.max_epochs=6"]
SEARCH = [
    *["judge=null", "groups=none", "logger=csv", "num_calibration=8", "test.num_latents=4", "test.num_saturation=2"],
    *["strips.num_faces=2", "strips.steps=3"],
]
STAGES = ("property_cnn", "filter_gender")
SMALL = "resolution: 32, model.module.net.width: 4, data.num_images: 480"
WORKS = {
    "gan": [
        *["train.py", "model=finetune_v1", *TINY, *GAN],
        *["data.batch_size=8", "data.num_images=64", "trainer.max_epochs=3"],
    ],
    "scorer": ["train.py", "model=property_cnn", *TINY, *SCORER, "model.module.net.width=8", "trainer.max_epochs=6"],
    "filter": ["train.py", "model=filter_cnn", *TINY, *FILTER, "model.module.net.width=8", "model.folds.num_folds=3"],
    "sample": ["-m", "ohlora_gan", "sample", "v9", "400", "--output"],
    "search": ["find_vectors.py", "method=svm", "layer=w", "n=1500", *SEARCH],
    "sweep": ["find_vectors.py", "-m", "method=svm,ridge", "layer=w,mapping_split2", "n=750", *SEARCH],
    "chain": [
        *["-m", "ohlora_gan", "chain", f"only=[{','.join(STAGES)}]", "logger=csv", "device=cpu"],
        *[f"++stages.{stage}.settings={{{SMALL}}}" for stage in STAGES],
    ],
}
RESUMED = ("gan", "scorer")  # with ckpt_path=; the others by the same command
RESULTS = ("*.safetensors", "*.png", "vectors/*.csv", "test_result_*.csv")


def command(work: str, folder: Path) -> list[str]:
    """The program of a work, in a folder; a training goes on from the last checkpoint there."""
    words = [sys.executable, *WORKS[work]]
    if work == "sample":
        return [*words, str(folder)]
    words += [f"paths.output_dir={folder}"]
    if work in ("search", "sweep"):
        words += [f"paths.bank_dir={folder}/banks"]
    last = folder / "last.ckpt"
    if work in RESUMED and last.is_file():
        words = [*(word for word in words if not word.startswith("checkpoint=")), f"ckpt_path={last}"]
    return words


def run(work: str, folder: Path, seconds: float | None = None) -> tuple[float, bool]:
    """Runs a work, or kills it so many seconds after a new result; returns the seconds since, and if it was killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    before = versions(folder)
    with (folder.parent / f"{folder.name}.log").open("ab") as said:
        process = subprocess.Popen(
            command(work, folder), cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        while process.poll() is None and versions(folder) <= before:
            time.sleep(0.02)
        began = time.monotonic()
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return time.monotonic() - began, True
    if code != 0:
        raise SystemExit(f"{work} ended with exit code {code}, see {said.name}")
    return time.monotonic() - began, False


def versions(folder: Path) -> set[tuple[Path, int]]:
    """The files of results below a folder and when each was last written."""
    found = set()
    for path in results(folder, "last.ckpt"):
        with suppress(FileNotFoundError):  # replaced at this moment
            found.add((path, path.stat().st_mtime_ns))
    return found


def results(folder: Path, *more: str) -> list[Path]:
    """Files below a folder; not the summary of a test, which says how many seconds it took."""
    found = {path for pattern in (*RESULTS, *more) for path in folder.rglob(pattern)}
    return sorted(path for path in found if not path.name.startswith("test_result_summary_"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every tensor, picture and table below a folder."""
    found = {}
    for path in results(folder):
        name = str(path.relative_to(folder))
        if path.suffix != ".safetensors":
            found[name] = path.read_bytes()
            continue
        with safe_open(path, framework="numpy") as file:
            found |= {f"{name}: {key}": file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118
    return found


def tried(work: str, moments: int, often: int, folder: Path, draw: random.Random) -> int:
    """After how many of some moments a work ended identically; one that was killed more than once counts for each."""
    whole = folder / work / "whole"
    length, _ = run(work, whole)
    expected, identical, number = contents(whole), 0, 0
    while number < moments:
        killed, times = folder / work / f"from_{number}", []
        while len(times) < min(often, moments - number):
            seconds, was_killed = run(work, killed, draw.uniform(0, length / often))
            if not was_killed:
                break
            times.append(seconds)
        else:
            run(work, killed)
        if times:
            found = contents(killed)
            differ = [key for key in {*expected, *found} if expected.get(key) != found.get(key)]
            after, share = ", ".join(f"{seconds:.1f}" for seconds in times), f"{len(differ)} of {len(expected)}"
            print(f"{work}: killed after {after} of {length:.1f} s, {share} differ", flush=True)
            identical, number = identical + (not differ) * len(times), number + len(times)
            if differ:
                print("\n".join(sorted(differ)[:8]))
                continue
        else:
            length = seconds  # it was faster than the undisturbed run: no moment
        shutil.rmtree(killed)
    return identical


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"some of {', '.join(WORKS)}; all by default")
    parser.add_argument("--moments", type=int, default=3, help="kills a work (3)")
    parser.add_argument("--often", type=int, default=1, help="kills a run before it may end (1)")
    parser.add_argument("--seed", type=int, default=0, help="what the moments follow from (0)")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "kill", help="made anew; default: runs/kill")
    args = parser.parse_args()
    if unknown := set(args.works) - set(WORKS):
        parser.error(f"WORK is {', '.join(unknown)}, expected some of {', '.join(WORKS)}")
    rows = {}
    for work in args.works or WORKS:
        shutil.rmtree(args.folder / work, ignore_errors=True)
        (args.folder / work).mkdir(parents=True)
        rows[work] = tried(work, args.moments, args.often, args.folder.resolve(), random.Random(f"{args.seed} {work}"))
    print("| work | moments tried | identical |\n|---|---|---|")
    print("\n".join(f"| {work} | {args.moments} | {same} |" for work, same in rows.items()))
    sys.exit(any(same < args.moments for same in rows.values()))
