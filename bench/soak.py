"""Whether memory, open files and processes stay where they are in long work: watched from outside, a table.

    python bench/soak.py [WORK ...] [--share 1.0]

``gan``: 20,000 batches of ``train.py``, a tiny generator with all callbacks. ``bank``: a million samples' scores are
kept, and read again; pictures are left out, so that what is left is the bookkeeping. ``explorer``: 200 edits of the
explorer's engine, half of them by the closed loop, with locks, other faces and files that are saved. ``--share``: so
much of each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
STEPS, SAMPLES, EDITS = 20_000, 1_000_000, 200
EVERY = 2.0  # seconds between two looks
PLACES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the time that a work took
GAN = [
    *["train.py", "model=finetune_v1", "checkpoint=scratch", "resolution=32", "scorer=null", "filters=[]"],
    *["model.module.generator.fmaps=[8,8,8,8]", "model.module.generator.mapping_dim=16"],
    *["data.num_images=64", "data.batch_size=4"],
    *["trainer.max_epochs=-1", "trainer.enable_progress_bar=false", "logger=csv"],
    *["callbacks.samples.every_n_batches=500", "callbacks.samples.num_images=4", "callbacks.samples.columns=2"],
]


@dataclass(frozen=True)
class Look:
    """A process at a moment: seconds, MB in memory, open files, threads, child processes."""

    seconds: float
    memory: float
    files: int
    threads: int
    children: int


def bank(share: float) -> None:
    """Samples' scores, as many as a share of a million, written in one go and read in another."""
    from ohlora_gan.latents.bank import ScoreBank
    from ohlora_gan.latents.space import FaceSpace
    from ohlora_gan.models.zoo import open_generator, open_scorer

    space = FaceSpace(open_generator("v9"), open_scorer("property_cnn"))
    space.score_codes = lambda layer, codes: codes[:, : len(space.property_names)].copy()  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        for start in range(2):
            print(start, len(ScoreBank(folder, space).scores(int(SAMPLES * share))), flush=True)


def explorer(share: float) -> None:
    """Edits, as many as a share of 200: a new face every tenth, files every twentieth."""
    from ohlora_gan.explorer.engine import Asked, Engine

    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(cache=Path(folder))
        names, face = engine.movable(closed=True), engine.face(0)
        for number in range(int(EDITS * share)):
            if number % 10 == 0:
                face = engine.face(number)
            name, other = names[number % len(names)], names[(number // 3 + 1) % len(names)]
            asked = Asked({name: 1.0 - number % 3}, [other] if number % 4 > 1 and other != name else [], number % 2 > 0)
            engine.edit(face, asked)
            if number % 20 == 10:
                engine.save(face, Asked({"eyes": 1.0}))
            print(number, flush=True)


def command(work: str, share: float, folder: str) -> list[str]:
    if work == "gan":
        return [sys.executable, *GAN, f"trainer.max_steps={int(STEPS * share)}", f"paths.output_dir={folder}/run"]
    return [sys.executable, __file__, "--here", work, "--share", str(share)]


def watched(work: str, share: float) -> list[Look]:
    """What is seen of a work until it ends; SystemExit where it fails, or a process of it lives on."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    looks: list[Look] = []
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said").open("w+") as said:
        began = time.monotonic()
        started = subprocess.Popen(
            command(work, share, folder), cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        process = psutil.Process(started.pid)
        seen: set[psutil.Process] = set()
        while started.poll() is None:
            time.sleep(EVERY)
            try:
                children, memory = process.children(recursive=True), process.memory_info().rss / 1e6
                counts = process.num_fds(), process.num_threads(), len(children)
            except psutil.Error:  # it has ended
                continue
            seen.update(children)
            if memory:  # it has not ended meanwhile
                looks.append(Look(time.monotonic() - began, memory, *counts))
        said.seek(0)
        if started.returncode:
            raise SystemExit(f"{work} ended with exit code {started.returncode}: {said.read()[-2000:]}")
    if left := [child for child in seen if child.is_running()]:
        raise SystemExit(f"{work} left processes behind: {left}")
    return looks


if __name__ == "__main__":
    works = {"gan": None, "bank": bank, "explorer": explorer}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"some of {', '.join(works)}; all by default")
    parser.add_argument("--share", type=float, default=1.0, help="of each (1.0)")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        works[args.here](args.share)
        sys.exit()
    print("| work | minutes | MB | open files | threads | child processes |\n|---|--:|--:|--:|--:|--:|", flush=True)
    for work in args.works or works:
        looks = watched(work, args.share)
        for place in PLACES:
            at = looks[min(int(place * len(looks)), len(looks) - 1)]
            cells = f"{at.seconds / 60:.1f} | {at.memory:.0f} | {at.files} | {at.threads} | {at.children}"
            print(f"| {work}, {place:.0%} | {cells} |", flush=True)
