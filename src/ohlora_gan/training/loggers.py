"""Loggers of a run: CSV files always, and dashboards (see `boards`), which end no run."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from ohlora_gan.files import add_records, read_table, write_records
from ohlora_gan.training.boards import WandbRun, first_line

log = logging.getLogger(__name__)


class WholeCSVLogger(CSVLogger):
    """Lightning's logger of CSV files, whose ``metrics.csv`` is whole at any moment and whose memory does not grow.

    Rows are written whenever ``flush_logs_every_n_steps`` of them wait: Lightning asks the step instead, which in a
    GAN counts every optimizer's and may never be such a number. They are added to the file in one go; a figure that is
    new gets its column in a file that takes the old one's place.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._columns: list[str] = []

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Tensor | float], step: int | None = None) -> None:  # type: ignore[override]
        """Keeps figures; writes where enough of them wait."""
        super().log_metrics(metrics, step)
        if len(self.experiment.metrics) >= self._flush_logs_every_n_steps:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Writes all figures so far, a column a name."""
        new, self.experiment.metrics = self.experiment.metrics, []
        if not new:
            return
        path, named = Path(self.experiment.metrics_file_path), {name for row in new for name in row}
        if named <= set(self._columns):
            add_records(path, new, self._columns)
            return
        before = read_table(path) if self._columns else None
        kept = [] if before is None else [dict(zip(before.header, row, strict=True)) for row in before.rows]
        self._columns = sorted(named.union(self._columns))
        write_records(path, [*kept, *new], self._columns)


@contextmanager
def open_loggers(loggers: Iterable[Logger]) -> Iterator[list[Logger]]:
    """The loggers of one run, started, and finished at the end of the block, whatever happens in it.

    A wandb run that cannot be started is told of and left out.
    """
    asked = list(loggers)
    runs = [logger for logger in asked if isinstance(logger, WandbRun)]
    exit_code = 1
    with wandb_apart(runs):
        lost = [run for run in runs if start(run) is False]  # None: of another process
        opened = [logger for logger in asked if logger not in lost]
        try:
            yield opened
            exit_code = 0
        finally:
            for logger in opened:
                logger.finalize("failed" if exit_code else "success")
            for run in runs:
                finish(run, exit_code)


@contextmanager
def wandb_apart(runs: Sequence[WandbRun]) -> Iterator[None]:
    """What else wandb writes (its log, staged files) goes to the runs' folders, and none of its messages to our log.

    Afterwards all that this takes is as before, and so is wandb's mode.
    """
    names, library = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_MODE"), logging.getLogger("wandb")
    before, propagates = {name: os.environ.get(name) for name in names}, library.propagate
    library.propagate = False
    for run in runs:
        folder = Path(run.save_dir or ".") / "wandb"
        os.environ.update(WANDB_CACHE_DIR=str(folder / "cache"), WANDB_DATA_DIR=str(folder / "data"))
    try:
        yield
    finally:
        library.propagate = propagates
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def start(logger: WandbRun) -> bool:
    """Starts the run, offline where going online fails; whether it has started."""
    folder = Path(logger.save_dir or ".")
    try:
        folder.mkdir(parents=True, exist_ok=True)  # wandb goes to a temporary folder where it is missing
        _ = logger.experiment
        return True
    except Exception as error:  # whatever the client makes of a missing network, account, server or disk
        if logger._wandb_init["mode"] == "online":
            log.warning("wandb cannot go online (%s): this run is logged offline to %s", first_line(error), folder)
            logger._wandb_init["mode"] = "offline"
            return start(logger)
        log.warning("wandb cannot start (%s): the run goes on, its figures are in csv/", first_line(error))
        return False


@rank_zero_only
def finish(logger: WandbRun, exit_code: int) -> None:
    """Ends the run, so that a later one in this process does not join it."""
    if logger._experiment is None:
        return
    import wandb  # slow: only where it is used

    try:
        logger._experiment.finish(exit_code=exit_code)
        if logger._wandb_init["mode"] == "offline":
            wandb.teardown()  # the last figures are on the disk only when wandb's own process has ended
    except Exception as error:  # the run's own results are safe: what it logged may not be complete
        log.warning("wandb did not finish (%s): %s may be incomplete", first_line(error), logger.save_dir)
    logger._experiment = None


def show(loggers: Iterable[Logger], what: str, *values: Any, **named: Any) -> None:
    """Calls a method, such as ``log_table`` or ``make``, of every logger that has it, see `boards`."""
    for logger in loggers:
        if hasattr(logger, what):
            getattr(logger, what)(*values, **named)


def log_image(
    loggers: Iterable[Logger], name: str, picture: NDArray[np.uint8], step: int | None, caption: str = ""
) -> None:
    """Shows a uint8 ``[H, W, 3]`` picture in every logger that can."""
    show(loggers, "log_image", key=name, images=[picture], step=step, caption=[caption])
