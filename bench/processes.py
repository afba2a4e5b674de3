"""How much faster two one-thread processes fill a bank than one does.

    python bench/processes.py [--samples N] [--turns N]

One process and two take turns, each time with a new bank of the shipped v9's faces and their scores; each process has a
core of its own where the system allows it. Two ratios: of the seconds from the start to the last file, which hold on a
free machine, and of CPU seconds, those of one process by those of the busier one of two: what it would take on a free
core.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.zoo import open_generator, open_scorer


def work(number: int, orders: Connection) -> None:
    """In a process: fills the banks that it is told of, and answers with its CPU seconds."""
    torch.set_num_threads(1)
    with suppress(AttributeError, OSError):  # not on every system
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})
    space = FaceSpace(open_generator("v9"), open_scorer("property_cnn"))
    orders.send(0.0)
    while (order := orders.recv()) is not None:
        folder, samples = order
        began = time.process_time()
        ScoreBank(folder, space).scores(samples)
        orders.send(time.process_time() - began)


def turn(workers: Sequence[Connection], samples: int) -> tuple[float, float]:
    """Seconds that some processes take for a new bank, and the CPU seconds of the busiest."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        for worker in workers:
            worker.send((Path(folder), samples))
        spent = max([worker.recv() for worker in workers])
        return time.monotonic() - began, spent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000, help="of each bank (4000)")
    parser.add_argument("--turns", type=int, default=5, help="of each (5)")
    args = parser.parse_args()
    context, workers = get_context("spawn"), []
    for number in range(2):
        here, there = Pipe()
        context.Process(target=work, args=(number, there), daemon=True).start()
        here.recv()
        workers.append(here)
    turn(workers, 250)
    ratios: list[tuple[float, float]] = []
    print(
        "| turn | one process, s (CPU s) | two, s (CPU s of the busier) | ratio (of CPU s) |\n|--:|--:|--:|--:|",
        flush=True,
    )
    for number in range(args.turns):
        (one, one_cpu), (two, two_cpu) = turn(workers[number % 2 :][:1], args.samples), turn(workers, args.samples)
        ratios.append((one / two, one_cpu / two_cpu))
        cells = f"{one:.1f} ({one_cpu:.1f}) | {two:.1f} ({two_cpu:.1f}) | {one / two:.2f} ({one_cpu / two_cpu:.2f})"
        print(f"| {number + 1} | {cells} |", flush=True)
    wall, cpu = (statistics.median(found) for found in zip(*ratios, strict=True))
    print(f"median ratio {wall:.2f}, of CPU seconds {cpu:.2f}")
    for worker in workers:
        worker.send(None)
