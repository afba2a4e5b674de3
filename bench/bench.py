"""How fast sampling and training updates are, against a naive mode in the same run: a table, and JSON with --output.

    python bench/bench.py [--sizes mini full] [--threads N] [--repeats N] [--output FILE] [--quality]

Ways take turns within each repeat, so that ratios hold on a machine that is busy; with one thread the CPU's time
counts. Peak memory is that of a process of its own for each row. ``--quality`` measures besides how many seconds each
method takes until the sum of three correlations, by the judge, reaches 2.6 and 2.9. Run by ``make bench``.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import ohlora_gan as og
from ohlora_gan.devices import NAMED, Device, bf16_speed, gflops, keep_freed_memory
from ohlora_gan.files import write_json
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.gan import Discriminator, Generator
from ohlora_gan.models.scorers import MergedPropertyCNN
from ohlora_gan.models.zoo import open_checkpoint
from ohlora_gan.training.gan import GanModule

UPDATE_BATCH = 8
NUM_SAMPLES = {"mini": 160, "full": 20}
METHODS = ("svm", "ridge", "gradient", "mean_jacobian")
SIZES_OF_BANKS = (250, 500, 1000, 2000, 4000)
GOALS = (2.6, 2.9)  # of the sum of three correlations
Work = Callable[[], Any]


def devices() -> dict[str, Device]:
    """The ways to measure besides the naive one."""
    found = {"float32": Device()}
    if bf16_speed() >= 1:
        found["bf16"] = NAMED["cpu_bf16"]
    if torch.cuda.is_available():
        found |= {"CUDA float32": NAMED["cuda"], "CUDA bf16": NAMED["cuda_bf16"]}
    return found


def networks(size: str) -> tuple[Generator, Discriminator, Any]:
    """Generator, discriminator and scorer: the shipped ones, or of Oh-LoRA's size with random weights."""
    if size == "mini":
        v9: Any = open_checkpoint("v9")
        return v9.build("generator"), v9.build("discriminator"), open_checkpoint("property_cnn").build("scorer")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Generator(resolution=256), Discriminator(resolution=256), MergedPropertyCNN()


def sampling(size: str) -> dict[str, Work]:
    """Makes and scores `NUM_SAMPLES` faces, by way."""
    generator, _, scorer = networks(size)
    z = np.random.default_rng(0).standard_normal((NUM_SAMPLES[size], generator.z_dim)).astype(np.float32)
    plain = generator.eval(), scorer.eval()

    def work(device: Device) -> Work:
        made, _, scoring = networks(size)
        space = FaceSpace(made, scoring, device)
        label = torch.zeros(len(z), made.label_dim)
        return lambda: space.score_codes(W(), space.codes(W(), torch.from_numpy(z), label))

    return {"naive": lambda: naive.sample(*plain, z)} | {name: work(device) for name, device in devices().items()}


class Updates(pl.Callback):
    """Times the updates of a real training, and the naive ones in turn with them."""

    def __init__(self, clock: Callable[[], float], size: str, naive_too: bool):
        self.clock, self.size, self.naive_too = clock, size, naive_too
        self.seconds: dict[tuple[str, str], list[float]] = {}

    def timed(self, key: tuple[str, str], work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            started = self.clock()
            result = work(*given)
            self.seconds.setdefault(key, []).append(self.clock() - started)
            return result

        return wrapped

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        way = str(module.way)
        for which in ("d", "g"):
            name = f"{which}_update"
            setattr(module, name, self.timed((which, way), getattr(module, name)))
        self.g, self.d, _ = networks(self.size)
        for network, names in ((self.g, module.trainable["g"]), (self.d, module.trainable["d"])):  # type: ignore
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name in names)  # type: ignore[operator]

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if not self.naive_too:
            return
        z = torch.randn(UPDATE_BATCH, self.g.z_dim)
        noise = self.g.synthesis.draw_noise(UPDATE_BATCH, torch.Generator())
        for network in (self.g, self.d):
            network.zero_grad()
        self.timed(("d", "naive"), naive.d_update)(self.g, self.d, z, noise, batch[0], 10.0)
        self.timed(("g", "naive"), naive.g_update)(self.g, self.d, z, noise)


def updates(size: str, repeats: int, clock: Callable[[], float], only: str | None = None) -> dict[str, Any]:
    """Seconds of D and G updates of `UPDATE_BATCH` images with R1, by update and way."""
    found: dict[str, Any] = {}
    for name, device in devices().items():
        if only not in (None, "naive", name):
            continue
        g, d, _ = networks(size)
        module = GanModule(g, d, max_d=1, max_g=1)
        module.way = name  # type: ignore[assignment]
        module = device.place(module).train()  # type: ignore[assignment]
        for network, which in ((g, "g"), (d, "d")):
            for key, parameter in network.named_parameters():
                parameter.requires_grad_(key in module.trainable[which])
        timer = Updates(clock, size, naive_too=only in (None, "naive"))
        images = torch.rand(UPDATE_BATCH * (repeats + 1), 3, g.resolution, g.resolution) * 2 - 1
        loader = DataLoader(TensorDataset(images, torch.zeros(len(images), 8)), UPDATE_BATCH)
        with tempfile.TemporaryDirectory() as folder:
            quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
            options = device.trainer_options() | quiet | {"enable_model_summary": False, "max_epochs": 1}
            pl.Trainer(default_root_dir=folder, callbacks=[timer], **options).fit(module, loader)
        for (which, way), seconds in timer.seconds.items():
            found.setdefault(f"{which} update", {}).setdefault(way, []).extend(seconds[1:])
        if only == "naive":
            break
    return found


def peaks(clock: Callable[[], float]) -> dict[str, float]:
    """GFLOP/s of the fastest of matrix products and 3x3 convolutions, by precision: the machine's limit in practice."""

    def best(work: Work, flops: float) -> float:
        rates = []
        for _ in range(6):
            started = clock()
            work()
            rates.append(flops / (clock() - started) / 1e9)
        return max(rates)

    found = {}
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        if dtype == torch.bfloat16 and bf16_speed() < 1:
            found[name] = gflops(dtype)
            continue
        a = torch.randn(1536, 1536).to(dtype)
        x, w = torch.randn(4, 256, 64, 64), torch.randn(256, 256, 3, 3)
        x, w = (t.to(dtype).contiguous(memory_format=torch.channels_last) for t in (x, w))
        convolve = lambda x=x, w=w: torch.nn.functional.conv2d(x, w, padding=1)  # noqa: E731
        product, convolution = best(lambda a=a: a @ a, 2 * 1536**3), best(convolve, 2 * 9 * 256**2 * 4 * 64**2)
        found |= {f"{name} matmul": product, f"{name} convolution": convolution, name: max(product, convolution)}
    return found


def memory(work: str, way: str, size: str, threads: int) -> float:
    """Peak resident memory in GB of a process that does a work once, less what the program alone takes."""
    command = [sys.executable, __file__, "--once", work, way, "--sizes", size, "--threads", str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def once(work: str, way: str, size: str) -> None:
    """Does a work once and prints how many GB that took beyond the imports."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if work == "sampling":
        sampling(size)[way]()
    else:
        updates(size, 1, time.perf_counter, only=way)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)


def flops(size: str) -> dict[str, float]:
    """GFLOP of one image's picture and scores, as the naive way and as ours computes them."""
    counted = {}
    for way, work in sampling(size).items():
        if way in ("naive", "float32"):
            with FlopCounterMode(display=False) as counter:
                work()
            counted[way] = counter.get_total_flops() / NUM_SAMPLES[size] / 1e9
    return counted


def measure(size: str, repeats: int, threads: int, with_memory: bool) -> list[dict[str, Any]]:
    """The rows of one size."""
    clock = time.process_time if threads == 1 else time.perf_counter
    ways, seconds = sampling(size), {}
    for i in range(repeats + 1):
        for name, work in ways.items():
            started = clock()
            work()
            if i:  # the first is a warm-up
                seconds.setdefault(name, []).append((clock() - started) / NUM_SAMPLES[size])
    limit, arithmetic = peaks(clock), flops(size)
    found = {"sampling": seconds} | updates(size, repeats, clock)
    rows = []
    for work, by_way in found.items():
        for way, taken in by_way.items():
            ratios = [a / b for a, b in zip(by_way["naive"], taken, strict=False)]
            row = {"size": size, "work": work, "way": way, "seconds": statistics.median(taken)}
            row |= {"per_second": 1 / row["seconds"], "ratio": statistics.median(ratios)}
            if work == "sampling":
                rate = arithmetic["naive" if way == "naive" else "float32"] / row["seconds"]
                row |= {"gflops": rate, "of_peak": rate / limit["bf16" if "bf16" in way else "float32"]}
            if with_memory and work != "g update":
                row["peak_gb"] = memory(work, way, size, threads)
            rows.append(row)
    return [*rows, {"size": size, "peaks": limit, "gflop_an_image": arithmetic}]


def quality(methods: Sequence[str] = METHODS, sizes: Sequence[int] = SIZES_OF_BANKS) -> list[dict[str, Any]]:
    """Seconds, sampling included, that directions at w took, and their sum of correlations by the judge; a method ends
    with the size that reaches the last of `GOALS`."""
    rows = []
    for method in methods:
        for n in sizes:
            started = time.perf_counter()
            try:
                with tempfile.TemporaryDirectory() as folder:
                    found = og.load("v9", device="auto").find(method, layer="w", n=n, cache=folder)
            except ValueError as error:  # too few samples for the method's groups
                print(f"{method} with n={n}: {error}", file=sys.stderr)
                continue
            seconds = time.perf_counter() - started
            reached = float(found.judge(num_latents=40).summary["sum_corr"].iloc[-1])
            rows.append({"method": method, "n": n, "seconds": seconds, "sum_corr": reached})
            if reached >= GOALS[-1]:
                break
    return rows


def quality_table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'method':14}" + "".join(f" {f'seconds to {goal}':>16}" for goal in GOALS)]
    for method in dict.fromkeys(row["method"] for row in rows):
        of_method = [row for row in rows if row["method"] == method]
        firsts = [next((row for row in of_method if row["sum_corr"] >= goal), None) for goal in GOALS]
        told = ["never" if row is None else f"{row['seconds']:.0f} (n={row['n']})" for row in firsts]
        lines.append(f"{method:14}" + "".join(f" {text:>16}" for text in told))
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    heads = f"{'size':5} {'work':9} {'way':12} {'s each':>8} {'a second':>9} {'ratio':>6}"
    lines = [f"{heads} {'GFLOP/s':>8} {'of peak':>8} {'GB':>6}"]
    for row in rows:
        if "peaks" in row:
            lines.append(f"{row['size']:5} peaks: " + ", ".join(f"{k} {v:.0f}" for k, v in row["peaks"].items()))
            lines.append(f"{row['size']:5} GFLOP an image: {row['gflop_an_image']}")
            continue
        rate = f"{row['gflops']:8.1f} {row['of_peak']:8.2f}" if "gflops" in row else f"{'':8} {'':8}"
        memory = f"{row['peak_gb']:6.2f}" if "peak_gb" in row else ""
        figures = f"{row['seconds']:8.4f} {row['per_second']:9.2f} {row['ratio']:6.2f}"
        lines.append(f"{row['size']:5} {row['work']:9} {row['way']:12} {figures} {rate} {memory}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=("mini", "full"), default=["mini", "full"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="FILE", help="the same as JSON")
    parser.add_argument("--quality", action="store_true", help="seconds to a quality, too")
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--once", nargs=2, metavar=("WORK", "WAY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    if given.once:
        return once(*given.once, given.sizes[0])
    rows: list[dict[str, Any]] = []
    for size in given.sizes:
        rows += measure(size, given.repeats, given.threads, not given.no_memory)
    print(table(rows))
    if given.quality:
        reached = quality()
        print(quality_table(reached))
        rows += reached
    print(json.dumps({"cuda": torch.cuda.is_available(), "threads": given.threads, "torch": torch.__version__}))
    if given.output:
        write_json(given.output, rows)


if __name__ == "__main__":
    main()
