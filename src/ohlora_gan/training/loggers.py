"""Loggers of a run: CSV files, and Weights & Biases where asked for, which never ends a run."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
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
        project: name of the project.
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
    variables = {name: value for run in runs for name, value in wandb_folders(run).items()}
    with environment(variables), own_log_only("wandb"):
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
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for a while; wandb's mode, too, is afterwards what it was."""
    before = {name: os.environ.get(name) for name in (*variables, "WANDB_MODE")}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def own_log_only(name: str) -> Iterator[None]:
    """Keeps a library's log messages (tracebacks of errors that are handled here, too) to the library's own file."""
    library = logging.getLogger(name)
    before, library.propagate = library.propagate, False
    try:
        yield
    finally:
        library.propagate = before


def wandb_folders(logger: WandbLogger) -> dict[str, str]:
    """Where wandb keeps what else it writes (its own log, staged files): by default in the home directory."""
    folder = Path(logger.save_dir or ".") / "wandb"
    return {"WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_DATA_DIR": str(folder / "data")}


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
    if logger._experiment is not None:
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
def log_files(loggers: Iterable[Logger], files: Iterable[str | Path], name: str, kind: str = "result") -> None:
    """Keeps files, such as a report and the vectors found, as one artifact with every wandb run.

    Args:
        loggers: opened.
        files: what to keep; a file that does not exist raises ValueError.
        name: the artifact's name.
        kind: the artifact's type.
    """
    files = [Path(file) for file in files]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb  # slow: only where it is used

            artifact = wandb.Artifact(name, kind)
            for file in files:
                artifact.add_file(str(file))
            logger.experiment.log_artifact(artifact)
