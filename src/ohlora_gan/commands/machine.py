"""What is there: files of weights, runs in a folder, the installation and the machine."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Any

import typer

from ohlora_gan.commands import JsonOrNone, written
from ohlora_gan.errors import UserError, answering, one_line

PYTHONS = ((3, 10), (3, 13))
LOW_DISK = 2e9
USES = {
    "landmarks": "label photographs, score and judge by landmarks",
    "explore": "move sliders in a browser",
    "sweeps": "run sweeps in parallel, on a cluster, or by search",
    "ray": "run sweeps by ray",
    "loggers": "log to TensorBoard or MLflow",
    "dashboard": "lay out the dashboard on wandb's site",
    "docs": "build the site of the docs",
    "dev": "run the tests and the notebook",
}
"""Extras of the package -> what each is needed for."""
HUB = "https://huggingface.co"
PATIENCE = 3.0
"""Seconds that the network has to answer in."""


@dataclass(frozen=True)
class Finding:
    """Something that was looked at, how it is, and what to do where it is wrong."""

    what: str
    found: str
    remedy: str | None = None


@answering()
def doctor(output: JsonOrNone = None) -> str:
    """Looks at Python, PyTorch, devices, the fastest precision, memory, disk, shipped models, extras and the network.

    Ends with exit code 2 where something is wrong, and says what to do.

    \b
    Examples:
      ohlora doctor
    """
    from ohlora_gan.files import write_json

    seen, wrong = [], []
    for finding in findings():
        seen.append(asdict(finding))
        print(f"{'BAD' if finding.remedy else 'ok '} {finding.what:16} {finding.found}")
        wrong += [f"{finding.what}: {finding.remedy}"] if finding.remedy else []
    if output:
        write_json(output, seen)
    if wrong:
        raise UserError("; ".join(wrong))
    return written("all is well", output)


def findings() -> Iterator[Finding]:
    """What there is, a thing at a time."""
    import torch

    from ohlora_gan.devices import WORTH_IT, Device, bf16_speed, gflops, has_mps

    low, high = (".".join(map(str, version)) for version in PYTHONS)
    fits = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    yield Finding("Python", platform.python_version(), None if fits else f"use Python {low} to {high}")
    yield Finding("PyTorch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.get_device_name(i) for i in range(num_gpus)]
    yield Finding("devices", ", ".join(["cpu", *gpus, *(["mps"] if has_mps() else [])]))
    speed = bf16_speed()
    if speed < 1:
        choice = "device=auto leaves it, device=cpu_bf16 is refused"
    else:
        choice = "device=auto uses it" if speed >= WORTH_IT else "device=auto leaves it: no gain"
    both = f"{gflops(torch.bfloat16):.3g} GFLOP/s, float32 {gflops(torch.float32):.3g}"
    yield Finding("bfloat16 on CPU", f"{both}, {speed:.3g} times as fast: {choice}")
    chosen = Device("auto", "auto", "auto").check()
    yield Finding("device=auto", f"{chosen.accelerator} in {chosen.precision}")
    yield from memory(num_gpus)
    yield from shipped_models()
    yield from extras()
    yield network()
    free = shutil.disk_usage(Path.cwd()).free
    remedy = "free some space, runs and banks grow" if free < LOW_DISK else None
    yield Finding("disk", f"{free / 1e9:.1f} GB free here", remedy)


def memory(num_gpus: int) -> Iterator[Finding]:
    """What the machine and its GPUs have, as far as the system says."""
    import torch

    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Finding("memory", f"{total / 1e9:.1f} GB")
    for i in range(num_gpus):
        free, total = torch.cuda.mem_get_info(i)
        yield Finding(f"memory of GPU {i}", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free")


def extras() -> Iterator[Finding]:
    """Which extras are installed, by what the installed package says of itself."""
    from packaging.requirements import Requirement

    try:
        package = distribution("ohlora-gan")
    except PackageNotFoundError:
        yield Finding("extras", "unknown: the package is not installed, only imported")
        return
    wanted: dict[str, list[Requirement]] = {extra: [] for extra in package.metadata.get_all("Provides-Extra") or []}
    for requirement in map(Requirement, package.requires or []):
        for extra, needed in wanted.items():
            if requirement.marker and requirement.marker.evaluate({"extra": extra}):
                needed.append(requirement)
    for extra, needed in wanted.items():
        missing = [requirement.name for requirement in needed if not is_installed(requirement.name)]
        use = f", only needed to {USES[extra]}" if extra in USES else ""
        lacks = f"{', '.join(missing)} not installed{use}: pip install 'ohlora_gan[{extra}]'"
        yield Finding(f"extra {extra}", (lacks if missing else "installed") if needed else "not for this Python")


def is_installed(name: str) -> bool:
    """Whether there is a distribution of this name."""
    try:
        return distribution(name) is not None
    except PackageNotFoundError:
        return False


def network() -> Finding:
    """Whether the Hugging Face Hub answers; all else works without a network."""
    from urllib.request import Request, urlopen

    what = "checkpoint=hf://... beyond the cache, logger.mode=online"
    address = os.environ.get("HF_ENDPOINT", HUB)
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding("network", "not asked (HF_HUB_OFFLINE=1); hf:// takes files of the cache")
    try:
        with urlopen(Request(address, method="HEAD"), timeout=PATIENCE):
            return Finding("network", f"{address} answers: {what} work")
    except (OSError, ValueError) as error:
        return Finding("network", f"{address} does not answer ({one_line(str(error))}): all works but {what}")


def shipped_models() -> Iterator[Finding]:
    """Whether each shipped model is the file that its provenance names, and opens."""
    import json

    from ohlora_gan.models.checkpoint import file_hash
    from ohlora_gan.models.zoo import ASSETS, read_weights, shipped

    bad = {}
    for name in shipped():
        path = ASSETS / f"{name}.safetensors"
        try:
            told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
            if told != file_hash(path):
                bad[name] = "is another file than its provenance says"
            read_weights(name)
        except (OSError, ValueError, KeyError) as error:
            bad[name] = str(error)
    said = "; ".join(f"{name} {why}" for name, why in bad.items()) if shipped() else "none"
    remedy = "get the project's files again" if said else None
    yield Finding("shipped models", said or f"{', '.join(shipped())}: present and readable", remedy)


@answering()
def runs(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="where to look, at any depth")] = Path("runs"),
    output: JsonOrNone = None,
) -> str:
    """Lists runs: when they began, how long they took, task, model or method, main figure, state and folder, the oldest
    first; below one that failed or stopped, the sentence that it ended with.

    \b
    Examples:
      ohlora runs
      ohlora runs runs/chain/smoke
    """
    from ohlora_gan.files import write_json
    from ohlora_gan.pipelines.runs import find_runs

    rows = [run.row() for run in find_runs(path)]
    if output:
        write_json(output, rows)
    return written("\n".join([*table_of(rows), "", f"{len(rows)} runs: {path}"]), output)


def table_of(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Runs as lines of a table, with what a state says besides its word on a line of its own."""
    names = ("date", "took", "task", "what", "figure", "state", "folder")
    cut = [{**row, "state": row["state"].partition(": ")[0]} for row in rows]
    wide = {name: max(len(row[name]) for row in ({name: name}, *cut)) for name in names}
    for row, whole in zip(({name: name for name in names}, *cut), ({"state": ""}, *rows), strict=True):
        yield "  ".join(f"{row[name]:{wide[name]}}" for name in names).rstrip()
        if why := whole["state"].partition(": ")[2]:
            yield f"    {why}"


Safetensors = Annotated[Path, typer.Option(metavar="FILE", help="the file: NAME.safetensors")]


@answering()
def inspect(
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="weights, directions, latents, a run folder, or a shipped model's name"),
    ],
    json: Annotated[bool, typer.Option("--json", help="as JSON, with all that the file says of itself")] = False,
    output: JsonOrNone = None,
) -> str:
    """What a file or folder is: networks and their sizes, dimensions, where it comes from, its world and hash.

    Reads our weights, directions and latents, runs' last.ckpt, and other people's weights. No code in a file is run.

    \b
    Examples:
      ohlora inspect v9
      ohlora inspect runs/find_vectors/DATE
      ohlora inspect generator_v1.pth --json
    """
    from json import dumps

    from ohlora_gan.files import write_text
    from ohlora_gan.pipelines.runs import describe, lines_of

    found = describe(path)
    whole = dumps(found, indent=2, default=str)
    if output:
        write_text(output, whole + "\n")
    return written(whole if json else "\n".join(lines_of(found)), output)


@answering()
def convert(
    weights: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="a .pth, last.ckpt, .safetensors, a name, or a folder of folds")
    ],
    output: Safetensors,
    half: Annotated[bool, typer.Option("--half", help="store in half precision: half as large")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="what a StyleGAN-1 generator's tensors do not show"),
    ] = None,
) -> str:
    """Any weights that can be read, as one .safetensors file of ours that says how its networks are built.

    How a generator was trained may be more than its tensors show: --set final_tanh=true, --set use_wscale=false, --set
    fused_from=4 (fused upsampling everywhere; 2048: nowhere).

    \b
    Examples:
      ohlora convert generator_v1.pth --output generator_v1.safetensors
      ohlora convert generator_v1.pth --output generator_v1.safetensors --set final_tanh=true
      ohlora convert runs/train/DATE/last.ckpt --output snapshot.safetensors --half
    """
    from ohlora_gan.models import checkpoint
    from ohlora_gan.models.formats import with_settings
    from ohlora_gan.models.wrapped import is_factory
    from ohlora_gan.models.zoo import read_weights, resolve, world_of

    check_name(output)
    if is_factory(weights):
        raise UserError(f"{weights} is code, which no file of weights can hold: give this name where a generator goes")
    networks, info = read_weights(weights)
    if settings:
        given = dict(map(read_setting, settings))
        networks |= {name: with_settings(net, given) for name, net in networks.items() if name.startswith("generator")}
        info = {**info, "set": given}
    if not Path(weights).is_dir():
        info = {**info, "parent": checkpoint.file_hash(resolve(weights))}
    if (world := world_of(weights)) is not None:
        info["world"] = world
    checkpoint.save(output, networks, half=half, **info)
    kinds = ", ".join(f"{name} ({type(net).__name__})" for name, net in networks.items())
    return f"{kinds}, {output.stat().st_size / 1e6:.1f} MB: {output}"


@answering()
def join(
    scorers: Annotated[
        list[str], typer.Argument(metavar="SCORERS", help="property networks: shipped models' names or files")
    ],
    output: Safetensors,
) -> str:
    """Several property networks of the same attributes as one scorer, their mean.

    Scores are in the units of the first: where the files say by which mean and deviation their scores were normalised,
    the others' are converted.

    \b
    Examples:
      ohlora join A.safetensors B.safetensors --output mean.safetensors
    """
    from ohlora_gan.models import checkpoint
    from ohlora_gan.models.filters import mean_of
    from ohlora_gan.models.zoo import open_checkpoint, resolve

    check_name(output)
    opened = [open_checkpoint(name, "scorer") for name in scorers]
    mean, data = mean_of(opened), opened[0].info.get("data")
    parents = [checkpoint.file_hash(resolve(name)) for name in scorers]
    world = next((one.info["world"] for one in opened if one.info.get("world")), None)
    checkpoint.save(output, {"scorer": mean}, stage="joined", parents=parents, data=data, world=world)
    return f"the mean of {len(opened)} networks scores {', '.join(mean.property_names)}: {output}"


@answering()
def ship(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder that holds model.safetensors")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of the shipped model")],
    figures: Annotated[Path | None, typer.Option(metavar="JSON", help="file of measured figures")] = None,
    command: Annotated[
        str | None, typer.Option(metavar="TEXT", help="what made the weights, where it was more than one command")
    ] = None,
) -> str:
    """Puts a run's weights into the package, in half precision, with a provenance file.

    \b
    Examples:
      ohlora ship runs/chain/mini/v9 v9 --figures figures.json
    """
    import json

    from ohlora_gan.files import write_json
    from ohlora_gan.models import checkpoint
    from ohlora_gan.models.zoo import ASSETS

    loaded = checkpoint.load(run / "model.safetensors")
    networks = {part: loaded.build(part) for part in loaded.networks}
    info = {key: value for key, value in loaded.info.items() if key != "metrics"}
    if command:
        info["command"] = command
    path = checkpoint.save(ASSETS / f"{name}.safetensors", networks, half=True, **info)
    path.chmod(0o644)
    measured = json.loads(figures.read_text(encoding="utf-8")) if figures else {}
    provenance = {"name": name, "sha256": checkpoint.file_hash(path), **info, "figures": measured}
    write_json(path.with_suffix(".json"), provenance)
    return f"{name}, {path.stat().st_size / 1e6:.1f} MB: {path}"


def read_setting(text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``; UserError for anything else."""
    import json

    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError as error:
        raise UserError(f"--set {text}, expected NAME=VALUE such as final_tanh=true or fused_from=4") from error


def check_name(output: Path) -> None:
    """Raises UserError where an output is no ``.safetensors`` file."""
    if output.suffix != ".safetensors" or output.is_dir():
        raise UserError(f"--output {output}, expected a file such as {output.with_suffix('.safetensors')}")
