"""The command line: ``ohlora COMMAND``, or ``python -m ohlora_gan COMMAND``.

A command is a function of `commands`, which imports what it needs when it is called: help comes at once. Train,
find-vectors and chain are programs of Hydra, which get their words as they are.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException

from ohlora_gan.commands import boards, explore, faces, flat, machine, scoring, vectors
from ohlora_gan.errors import UserError, exit_code_of, hear_sigterm, look_in_working_folder, tell

HYDRA = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""Words of any kind, ``--help`` too, are left to the program."""

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fine-tune a StyleGAN face generator, score attributes, find latent directions, and edit faces with them.",
    epilog="ohlora COMMAND --help says what a command takes, with examples.",
)


def train(context: typer.Context) -> int:
    """Trains a model: ohlora train model=finetune_v9 checkpoint=v1 (as python train.py ...)."""
    return hand_over("train.py", context.args)


def find_vectors(context: typer.Context) -> int:
    """Finds latent directions: ohlora find-vectors checkpoint=v9 method=svm (as python find_vectors.py ...)."""
    return hand_over("find_vectors.py", context.args)


def chain(context: typer.Context) -> int:
    """Runs every stage from pictures to directions: ohlora chain scale=smoke."""
    from ohlora_gan.pipelines import shells

    shells.chain(project(), context.args)
    return 0


def hand_over(program: str, words: Sequence[str]) -> int:
    """Becomes a program of the project's folder, so that signals and copies for more GPUs are its own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(project() / program), *words])


def project() -> Path:
    """The folder of ``conf`` and ``train.py``: the package's own where it was installed, else the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "project"
    return installed if installed.is_dir() else package.parents[1]


def unwrapped(text: str) -> str:
    """A docstring whose paragraphs are lines, so that they fill any terminal; those after ``\\b`` stay."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith("\b") else " ".join(part.split()) for part in paragraphs)


COMMANDS: dict[str, tuple[Callable[..., int], ...]] = {
    "Train and search (KEY=VALUE, --help lists the keys)": (train, find_vectors, chain),
    "Faces": (explore.explore, faces.sample, vectors.edit, faces.render),
    "Directions": (vectors.compare, vectors.rescore, vectors.transfer, vectors.import_vectors),
    "Scores and quality": (scoring.scorers, scoring.distill, scoring.filter_means, scoring.quality, scoring.truth),
    "Pictures of your own": (scoring.label, scoring.parse_folder),
    "Files, runs and the machine": (
        *(machine.inspect, machine.convert, machine.join, machine.ship),
        *(machine.runs, boards.dashboard, machine.doctor),
    ),
}
for panel, functions in COMMANDS.items():
    for function in functions:
        settings = HYDRA if function in (train, find_vectors, chain) else None
        app.command(
            function.__name__.replace("_", "-"),
            rich_help_panel=panel,
            context_settings=settings,
            add_help_option=settings is None,
            no_args_is_help=function is vectors.edit,
            help=unwrapped(function.__doc__ or ""),
        )(flat(function))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, 2 for a user's error, 1 for a programming error, 130 after Ctrl+C,
    143 after SIGTERM."""
    hear_sigterm()
    look_in_working_folder()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(app(args=words, prog_name="ohlora", standalone_mode=False) or 0)
    except TyperException as error:
        return tell(UserError(sentence(error, words))) if error.format_message() else 0
    except UserError as error:
        return tell(error)
    except (KeyboardInterrupt, typer.Abort) as stop:
        print("interrupted", file=sys.stderr)
        return exit_code_of(stop) or 130


NUMBER = re.compile(r"-\.?\d")
"""How a negative number begins, which stands where an option could."""
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
"""How the library that reads numbers names a type, at the start of the name of its error -> in words."""


def sentence(error: TyperException, words: Sequence[str]) -> str:
    """A wrong word of the command line, what comes near it, and where to look.

    Args:
        words: the whole line, the command first.
    """
    context = getattr(error, "ctx", None)
    commands = {command.name for command in app.registered_commands}
    path = f"ohlora {words[0]}" if words and words[0] in commands else "ohlora"
    said = wrong_word(error, context, words) or error.format_message().replace("Value error, ", "").rstrip(".")
    end = " " if said.endswith("?") else ": "
    return f"{said[:1].lower() if said[1:2].islower() else said[:1]}{said[1:]}{end}`{path} --help` says what it takes"


def wrong_word(error: TyperException, context: typer.Context | None, words: Sequence[str]) -> str | None:
    """A mistake that the library tells badly, in our words; None for one that it tells well."""
    of_library: Any = error.__cause__
    param = getattr(error, "param", None)
    if param is not None and hasattr(of_library, "errors"):  # of a number
        first = of_library.errors()[0]
        name = param.opts[0] if param.opts[0].startswith("-") else param.metavar or param.name
        if kind := KINDS.get(first["type"].partition("_")[0]):
            return f"{name} is {first['input'] or 'empty'}, expected {kind}"
    name = str(getattr(error, "option_name", None) or "")
    given = next((word for word in words if name and word.startswith(name)), name)
    if NUMBER.match(given):
        return f"{given} stands where a number of 0 or more, or an option, is expected"
    if name and len(given) > 2 and given[1] != "-":
        return f"{given} is no option: options begin with two dashes, such as -{given}"
    if name and given == words[-1]:
        return f"{name} has no value: give one behind it"
    extra = re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", error.format_message())
    if extra and context is not None:
        known = [p.metavar or str(p.name).upper() for p in context.command.params if p.param_type_name == "argument"]
        return f"unexpected {extra[1]}, expected {', '.join(known) if known else 'options alone'}"
    return None


if __name__ == "__main__":
    sys.exit(main())
