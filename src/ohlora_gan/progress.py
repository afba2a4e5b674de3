"""A progress bar that can be handed to what knows nothing of bars: a function of (done, total)."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(what: str, total: int, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for as long as the context lasts; it is told how much is done, and of how much."""
    with tqdm(total=total, desc=what, file=sys.stderr, disable=not show) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
