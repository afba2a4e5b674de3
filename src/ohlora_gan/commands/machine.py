"""What is there: the machine, the installation, and the runs in a folder."""

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ohlora_gan.errors import UserError, answering

PYTHONS = ((3, 10), (3, 13))
LOW_DISK = 2e9
EXTRAS = {
    "mediapipe": "label photographs by landmarks: make landmarks",
    "wandb": "a dashboard: pip install wandb",
    "nbclient": "run the notebook: pip install nbclient ipykernel",
}


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        what: the thing.
        found: how it is.
        remedy: what to do where it is wrong; None: it is well.
    """

    what: str
    found: str
    remedy: str | None = None

    def line(self) -> str:
        mark = "ok " if self.remedy is None else "BAD"
        return f"{mark} {self.what:16} {self.found}"


@answering()
def doctor() -> str:
    """Looks at Python, PyTorch, devices, the speed of bfloat16, shipped models, optional extras and the disk.

    Ends with exit code 2 where something is wrong, and says what to do.

    \b
    Examples:
      ohlora doctor
    """
    wrong = []
    for finding in findings():
        print(finding.line())
        if finding.remedy is not None:
            wrong.append(f"{finding.what}: {finding.remedy}")
    if wrong:
        raise UserError("; ".join(wrong))
    return "all is well"


def findings() -> Iterator[Finding]:
    """What there is, a thing at a time."""
    import torch

    from ohlora_gan.devices import WORTH_IT, bf16_speed, has_mps

    low, high = (".".join(map(str, version)) for version in PYTHONS)
    fits = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    yield Finding("Python", platform.python_version(), None if fits else f"use Python {low} to {high}")
    yield Finding("PyTorch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    yield Finding("devices", ", ".join(["cpu", *gpus, *(["mps"] if has_mps() else [])]))
    speed = bf16_speed()
    choice = "device=auto and cpu_bf16 use it" if speed >= WORTH_IT else "device=auto leaves it, so should you"
    yield Finding("bfloat16 on CPU", f"{speed:.3g} times as fast as float32: {choice}")
    yield from shipped_models()
    for module, use in EXTRAS.items():
        yield Finding(f"extra {module}", "installed" if find_spec(module) else f"not installed, only needed to {use}")
    free = shutil.disk_usage(Path.cwd()).free
    remedy = "free some space, runs and banks grow" if free < LOW_DISK else None
    yield Finding("disk", f"{free / 1e9:.1f} GB free here", remedy)


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
    said = "; ".join(f"{name} {why}" for name, why in bad.items())
    if not shipped():
        said = "none"
    remedy = "get the project's files again" if said else None
    yield Finding("shipped models", said or f"{', '.join(shipped())}: present and readable", remedy)


@answering()
def runs(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="where to look, at any depth")] = Path("runs"),
) -> str:
    """Lists runs: date, task, model or method, main figure, state and folder, the oldest first.

    \b
    Examples:
      ohlora runs
      ohlora runs runs/chain/smoke
    """
    from ohlora_gan.pipelines.overview import find_runs

    rows = [run.row() for run in find_runs(path)]
    names = ("date", "task", "what", "figure", "state", "folder")
    wide = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    lines = [{name: name for name in names}, *rows]
    table = "\n".join("  ".join(f"{row[name]:{wide[name]}}" for name in names).rstrip() for row in lines)
    return f"{table}\n\n{len(rows)} runs: {path}"
