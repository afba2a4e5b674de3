"""The commands of ``ohlora``, and how options are made of dataclasses' fields. Nothing here imports a network."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import Field, fields, is_dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ohlora_gan.errors import UserError
from ohlora_gan.options import DEVICE, SEED, DeviceName


def between(low: float, high: float) -> Callable[..., float | None]:
    """What checks that an option's or argument's number is in a range, and raises UserError."""

    def check(param: typer.CallbackParam, value: float | None) -> float | None:
        if value is not None and not low <= value <= high:
            name = param.opts[0] if param.opts[0].startswith("-") else param.metavar or param.name
            raise UserError(f"{name} is {value:g}, expected {low:g} to {high:g}")
        return value

    return check


def typer_option(name: str, **how: Any) -> Any:
    """`typer.Option` of a field's name and the metadata of `options.option`."""
    if "between" in how:
        how["callback"] = between(*how.pop("between"))
    words = how.pop("flag", f"--{name.replace('_', '-')}")
    return typer.Option(words, **{key: value for key, value in how.items() if key not in ("typed", "text", "read")})


Device = Annotated[DeviceName, typer_option("device", **DEVICE)]
Seed = Annotated[int, typer_option("seed", **SEED)]
Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="where to write")]
FolderOrNone = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="where to write, too", show_default="nowhere")
]
JsonOrNone = Annotated[
    Path | None, typer.Option(metavar="FILE", help="where to write it as JSON, too", show_default="nowhere")
]
GeneratorName = Annotated[str, typer.Argument(metavar="GENERATOR", help="a shipped model's name or a file")]


def flat(command: Callable[..., int]) -> Callable[..., int]:
    """A command whose parameters that are dataclasses of options are an option a field, as Typer needs them."""
    hints, parameters = get_type_hints(command, include_extras=True), signature(command).parameters

    @functools.wraps(command)
    def call(**given: Any) -> int:
        groups = {name: filled(hints[name], given) for name in parameters if is_dataclass(hints[name])}
        return command(**{name: groups[name] if name in groups else given[name] for name in parameters})

    options: list[Parameter] = []
    for name, parameter in parameters.items():
        if is_dataclass(hints[name]):
            options += options_of(hints[name])
        else:
            options.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))
    call.__signature__ = Signature(options)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in options}
    return call


def options_of(kind: Any, panel: str | None = None) -> Iterator[Parameter]:
    """An option for each field of a dataclass, and of those in it, that `options` describes."""
    for field, hint in described_fields(kind):
        how = dict(field.metadata)
        if is_dataclass(hint):
            yield from options_of(hint, **how)
        else:
            hint, default = (how["typed"] | None, how.get("text")) if "typed" in how else (hint, field.default)
            option = typer_option(field.name, rich_help_panel=panel, **how)
            yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, option])


def filled(kind: Any, given: dict[str, Any]) -> Any:
    """A dataclass of options with what the command line gave; what is None there is as by default."""
    values = {}
    for field, hint in described_fields(kind):
        if is_dataclass(hint):
            values[field.name] = filled(hint, given)
        elif given[field.name] is not None:
            read = field.metadata.get("read", lambda value: value)
            values[field.name] = read(given[field.name])
    return kind(**values)


def described_fields(kind: Any) -> Iterator[tuple[Field[Any], Any]]:
    """Fields of a dataclass that are options or groups of them, and their types."""
    hints = get_type_hints(kind)
    return ((field, hints[field.name]) for field in fields(kind) if field.metadata)


def written(text: str, output: Path | None) -> str:
    """A command's answer: the text and, where something was written, where it lies."""
    return text if output is None else f"{text}\n\nwritten: {output}"


def given_options(ctx: typer.Context) -> set[str]:
    """Names of the options that the user gave, with underscores."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
