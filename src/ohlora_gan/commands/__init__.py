"""Options that several commands share, and how words such as ``eyes=+1`` are read. Nothing here imports a network."""

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from ohlora_gan.errors import UserError

DeviceName = Literal["auto", "cpu", "cpu_bf16", "cuda", "cuda_bf16", "cuda_amp", "mps"]
Generation = Literal["v1", "v2"]


def between(low: float, high: float) -> Callable[..., float | None]:
    """What checks that an option's or argument's number is in a range.

    Raises:
        UserError: naming the option, its value and the range.
    """

    def check(param: typer.CallbackParam, value: float | None) -> float | None:
        if value is not None and not low <= value <= high:
            name = param.opts[0] if param.opts[0].startswith("-") else param.metavar or param.name
            raise UserError(f"{name} is {value:g}, expected {low:g} to {high:g}")
        return value

    return check


Device = Annotated[DeviceName, typer.Option(help="where networks run: auto takes a GPU where there is one")]
Psi = Annotated[float, typer.Option(help="truncation of w toward its average: 1 is none")]
Seed = Annotated[int, typer.Option(help="of all random numbers", callback=between(0, 2**63 - 1))]
OtherSeed = Annotated[
    int | None,
    typer.Option(help="of all random numbers", show_default="the run's", callback=between(0, 2**63 - 1)),
]
Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="where to write")]
FolderOrNone = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="where to write, too", show_default="nowhere")
]
GeneratorName = Annotated[str, typer.Argument(metavar="GENERATOR", help="a shipped model's name or a file")]
OtherGenerator = Annotated[
    str | None, typer.Option(metavar="MODEL", help="the generator: a name or a file", show_default="the run's")
]
OtherScorer = Annotated[
    str | None, typer.Option(metavar="MODEL", help="the property network: a name or a file", show_default="the run's")
]
GenerationOption = Annotated[Generation, typer.Option(help="of the scores' algorithms")]


def given_options(ctx: typer.Context) -> set[str]:
    """Names of the options that the user gave, with underscores."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def read_strengths(pairs: Iterable[str]) -> dict[str, float]:
    """``["eyes=+1", "mouth=-0.5"]`` as property -> strength in score sigmas.

    Raises:
        UserError: for what is no such pair, a strength of 0, or a property that is named twice.
    """
    found: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not re.fullmatch(r"\w+", name):
            raise UserError(f"--set {pair}, expected PROPERTY=STRENGTH such as --set eyes=+1 or --set mouth=-0.5")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"--set {pair}, expected a strength in score sigmas such as --set {name}=+1")
        if value == 0:
            raise UserError(f"--set {pair} changes nothing: leave it out, or give a strength such as {name}=+1")
        if name in found:
            raise UserError(f"--set {name}= is given twice: give it once")
        found[name] = value
    return found


def read_counts(option: str, text: str, example: str) -> dict[str, int]:
    """``gender=1,quality=1`` as name -> whole number.

    Raises:
        UserError: for anything else.
    """
    pairs = [re.fullmatch(r"(\w+)=(\d+)", part.strip()) for part in text.split(",") if text]
    if not all(pairs):
        raise UserError(f"{option} {text}, expected NAME=VALUE such as {example}")
    return {pair[1]: int(pair[2]) for pair in pairs if pair}


def read_numbers(option: str, text: str) -> tuple[int, ...]:
    """``0,1,2`` as numbers; see `read_counts`."""
    if not re.fullmatch(r"\d+(\s*,\s*\d+)*", text.strip()):
        raise UserError(f"{option} {text}, expected whole numbers of 0 or more such as {option} 0,1,2")
    return tuple(int(number) for number in text.split(","))


def read_bounds(bounds: Iterable[str]) -> dict[str, str]:
    """``["gender>=0.92", "age<0.1"]`` as filter -> bound; see `read_counts`."""
    found = {}
    for text in bounds:
        match = re.fullmatch(r"\s*(\w+)\s*([<>].*)", text)
        if not match:
            raise UserError(f"--require {text!r}, expected a bound in quotes such as 'gender>=0.92'")
        found[match[1]] = match[2]
    return found
