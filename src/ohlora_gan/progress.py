"""Progress of long work: a bar in a terminal or notebook, a line a minute in a log, nothing for what is short.

A bar draws itself anew many times a second, which a terminal shows in one place and a log file or a CI job as
thousands of lines. There `Lines` takes the bar's place.
"""

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

SECONDS = 60.0
"""Between two lines of a log."""


def is_drawn() -> bool:
    """Whether stderr shows a bar in one place: a terminal does, and a notebook."""
    ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return sys.stderr.isatty() or "IPKernelApp" in getattr(ipython, "config", {})


class Lines:
    """What tqdm writes to in place of a terminal: a line on stderr at most every `SECONDS`, the first after as many."""

    def __init__(self) -> None:
        self._next = time.monotonic() + SECONDS

    def write(self, text: str) -> None:
        line = text.strip()
        if line and time.monotonic() >= self._next:
            print(line, file=sys.stderr, flush=True)
            self._next = time.monotonic() + SECONDS

    def flush(self) -> None:
        """Nothing waits."""


def shown_on() -> Any:
    """What a bar writes to: stderr, so that what a program says on stdout can be kept, or `Lines`."""
    return sys.stderr if is_drawn() else Lines()


class Bar(tqdm):
    """tqdm's bar, with its arguments: done, total, time left and rate; see `Lines` for where no bar can be drawn."""

    def __init__(self, iterable: Iterable[Any] | None = None, **settings: Any):
        super().__init__(iterable, **{"file": shown_on(), **settings})
