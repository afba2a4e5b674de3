"""How what goes wrong is told: an error that a user can mend is one sentence on stderr and exit code 2.

The sentence names the value, what was expected, and what to do. Ctrl+C ends with 130, SIGTERM (as Slurm, a spot machine
or ``kill`` sends it) with 143, and both say how to go on. A programming error keeps its traceback and ends with 1;
``HYDRA_FULL_ERROR=1`` shows the traceback of a user's errors too. Commands end by `answering`, the programs of Hydra
(train, find-vectors, chain) by `pipelines.shells`.
"""

import errno
import functools
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from typing import ParamSpec

SHOW_TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1"
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
PROGRAMS = {"train.py": "ohlora train", "find_vectors.py": "ohlora find-vectors"}
"""Programs of Hydra -> the same as a command, for those who have the package without its repository."""
P = ParamSpec("P")


def look_in_working_folder() -> None:
    """Lets the words of a command name modules that lie in the working folder, as ``python -m`` does."""
    if (folder := os.getcwd()) not in sys.path:
        sys.path.append(folder)


def as_typed(text: str) -> str:
    """A text that calls programs as they can be called here: ``python train.py``, or ``ohlora train`` in a folder
    without that file."""
    for program, command in PROGRAMS.items():
        if not os.path.exists(program):
            text = re.sub(rf"(?<![\w./-])(python )?{re.escape(program)}\b", command, text)
    return text


class UserError(ValueError):
    """What a user can mend: its text is a sentence that names the value, what was expected, and what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: a program ends as after Ctrl+C, with another exit code."""


def hear_sigterm() -> None:
    """Lets SIGTERM end this program by `Terminated`; a second one ends it at once. In the main thread alone."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def exit_code_of(stop: BaseException | None) -> int | None:
    """The exit code after Ctrl+C or SIGTERM, where one is behind an error (Lightning makes ``SystemExit(1)`` of them);
    None where neither is."""
    while stop is not None:
        if isinstance(stop, KeyboardInterrupt):
            return 143 if isinstance(stop, Terminated) else 130
        if type(stop).__name__ == "SIGTERMException":  # Lightning's
            return 143
        stop = stop.__context__
    return None


def near_file(path: object) -> str:
    """``did you mean runs/own? ``: what lies where a mistyped path should, by the nearest name; nothing where none is
    near."""
    folder, name = os.path.split(os.fspath(str(path)).rstrip(os.sep))
    near = get_close_matches(name, os.listdir(folder or ".") if os.path.isdir(folder or ".") else [], 1, cutoff=0.75)
    return f"did you mean {os.path.join(folder, near[0])}? " if near and near[0] != name else ""


def tell(error: BaseException, where: str = "", explain: Callable[[BaseException], str | None] | None = None) -> int:
    """Writes an error to stderr, as a sentence if the user can mend it, else as a traceback; returns the exit code.

    ``where`` comes before the sentence, which ``explain`` makes (None: `sentence`).
    """
    message = (explain or sentence)(error)
    if message is None or SHOW_TRACEBACKS:
        traceback.print_exception(type(error), error, error.__traceback__)
    if message is None:
        return 1
    print(f"error: {where}{as_typed(one_line(message))}", file=sys.stderr)
    return 2


def sentence(error: BaseException) -> str | None:
    """What to tell the user about an error and how to mend it; None for a programming error.

    A user's errors are `UserError`, any ValueError that this project or Hydra raises itself, and what the system says
    of files.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        if error.errno is None or error.filename is None:
            return str(error)
        remedy = (
            "free some space, or choose another place" if error.errno in FULL_DISK else "give another file or folder"
        )
        return f"cannot use {error.filename} ({error.strerror}): {remedy}"
    if isinstance(error, ValueError):  # one out of a library is a programming error
        modules = modules_of(error)
        return str(error) if modules and modules[-1].startswith(("ohlora_gan.", "hydra.")) else None
    names = {cls.__name__ for cls in type(error).__mro__}  # importing the classes would take seconds
    if "MisconfigurationException" in names:  # Lightning's ValueError
        return str(error)
    if "OutOfMemoryError" in names or is_full_memory(error):
        return "memory is full: use a smaller batch size, fewer samples or another device="
    return None


FULL_MEMORY = re.compile(
    "out of memory|(can't|cannot) allocate memory|not enough memory|bad_alloc|could not create a primitive", re.I
)
"""How torch says it, whose error on a CPU is any RuntimeError; the last is oneDNN's, which makes its convolutions."""


def is_full_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the GPU or the machine is full."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(FULL_MEMORY.search(str(error))))


def is_lost_process(error: BaseException) -> bool:
    """Whether an error says that another of the processes that train together has ended, or does not answer."""
    names = {cls.__name__ for cls in type(error).__mro__}  # torch's, of NCCL and of the rendezvous; gloo has none
    return "DistError" in names or (isinstance(error, RuntimeError) and "gloo" in str(error))


def modules_of(error: BaseException) -> list[str]:
    """Names of the modules that an error passed through, innermost last."""
    return [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]


def one_line(text: str) -> str:
    return " ".join(text.split())


def answering(
    interrupted: str = "interrupted; the same command starts anew", warns: str | None = None
) -> Callable[[Callable[P, str]], Callable[P, int]]:
    """Decorator of a command: what it returns is printed, its errors are told, and the exit code comes back.

    Args:
        interrupted: what to say after Ctrl+C or SIGTERM: how to go on.
        warns: the name of a kind of warning that the user is told at the end, in a sentence each.
    """

    def decorate(command: Callable[P, str]) -> Callable[P, int]:
        @functools.wraps(command)
        def answer(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                with warnings.catch_warnings(record=warns is not None) as caught:
                    if warns is not None:
                        warnings.simplefilter("always", UserWarning)
                    print(command(*args, **kwargs))
            except KeyboardInterrupt as stop:
                print(interrupted, file=sys.stderr)
                return exit_code_of(stop) or 130
            except Exception as error:
                return tell(error)
            for warning in caught or ():
                if warning.category.__name__ == warns:
                    print(f"warning: {warning.message}", file=sys.stderr)
            return 0

        return answer

    return decorate
