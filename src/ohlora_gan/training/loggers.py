"""Loggers of a run: CSV files, and Weights & Biases where asked for, which never ends a run."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from ohlora_gan.files import write_records

log = logging.getLogger(__name__)

MODES = ("offline", "online", "disabled")


class WholeCSVLogger(CSVLogger):
    """Lightning's logger of CSV files, whose ``metrics.csv`` is whole at any moment: it is written anew each time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rows: list[dict[str, float]] = []

    @rank_zero_only
    def save(self) -> None:
        """Writes all figures so far, a column a name."""
        new, self.experiment.metrics = self.experiment.metrics, []
        self._rows += new
        if new:
            columns = sorted({name for row in self._rows for name in row})
            write_records(self.experiment.metrics_file_path, self._rows, columns)


def wandb_logger(
    save_dir: str | Path,
    mode: str = "offline",
    project: str = "ohlora_gan",
    timeout: float = 30.0,
    **options: Any,
) -> WandbLogger:
    """A Weights & Biases logger that starts when `open_loggers` opens it.

    Args:
        save_dir: the run's folder; nothing is written elsewhere.
        mode: ``offline`` needs no account and no network (``wandb sync`` uploads later), ``online`` uploads
            while training, ``disabled`` does nothing.
        timeout: seconds to wait for the network, at the start and at the end of the run.
        options: further arguments of ``wandb.init``, such as ``name``, ``group`` or ``tags``.
    """
    if mode not in MODES:
        raise ValueError(f"logger mode is {mode!r}, expected one of {', '.join(MODES)}")
    settings = {"silent": True, "init_timeout": timeout, "login_timeout": timeout, "finish_timeout": timeout}
    # ``mode`` as an argument: Lightning's ``offline=True`` would switch the whole process by a variable.
    logger = WandbLogger(save_dir=str(save_dir), project=project, mode=mode, settings=settings, **options)
    logger._wandb_init.pop("anonymous", None)  # its mere presence makes wandb print a warning
    return logger


@contextmanager
def open_loggers(loggers: Iterable[Logger]) -> Iterator[list[Logger]]:
    """The loggers of one run, started, and finished at the end of the block, whatever happens in it."""
    opened = list(loggers)
    runs = [logger for logger in opened if isinstance(logger, WandbLogger)]
    exit_code = 1
    with wandb_apart(runs):
        try:
            for run in runs:
                start(run)
            yield opened
            exit_code = 0
        finally:
            for logger in opened:
                logger.finalize("failed" if exit_code else "success")
            for run in runs:
                finish(run, exit_code)


@contextmanager
def wandb_apart(runs: Sequence[WandbLogger]) -> Iterator[None]:
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


def first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@rank_zero_only
def start(logger: WandbLogger) -> None:
    """Starts the run; offline where going online fails."""
    folder = Path(logger.save_dir or ".")
    folder.mkdir(parents=True, exist_ok=True)  # wandb goes to a temporary folder where it is missing
    try:
        _ = logger.experiment
    except Exception as error:  # whatever the client makes of a missing network, account or server
        if logger._wandb_init["mode"] != "online":
            raise
        log.warning("wandb cannot go online (%s): this run is logged offline to %s", first_line(error), folder)
        logger._wandb_init["mode"] = "offline"
        _ = logger.experiment


@rank_zero_only
def finish(logger: WandbLogger, exit_code: int) -> None:
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


def log_image(loggers: Iterable[Logger], name: str, picture: NDArray[np.uint8], step: int) -> None:
    """Shows a uint8 ``[H, W, 3]`` picture in every logger that can."""
    for logger in loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(key=name, images=[picture], step=step)


@rank_zero_only
def log_files(loggers: Iterable[Logger], files: Sequence[str | Path], name: str) -> None:
    """Keeps files that exist, such as a report and the vectors found, as one artifact with every wandb run."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb  # slow: only where it is used

            artifact = wandb.Artifact(name, "result")
            for file in files:
                artifact.add_file(str(file))
            logger.experiment.log_artifact(artifact)
