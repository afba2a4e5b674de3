"""Progress of work that is done in parts, one after the other, of which none knows its length beforehand."""

from ohlora_gan.directions.base import Progress


class PartsProgress:
    """Adds up the progress of parts; a part still to come is taken to be as long as the present one.

    It is called as a part's own progress; ``next`` goes between two parts.

    Args:
        progress: told of the whole; None: nobody is told.
        num_parts: at least 1.
    """

    def __init__(self, progress: Progress | None, num_parts: int) -> None:
        self.progress, self.num_left = progress, num_parts
        self.before, self.done = 0, 0

    def __call__(self, done: int, total: int) -> None:
        self.done = done
        if self.progress is not None:
            self.progress(self.before + done, self.before + total * self.num_left)

    def next(self) -> None:
        self.before, self.done, self.num_left = self.before + self.done, 0, self.num_left - 1
