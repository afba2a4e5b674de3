"""The end of a sweep (``python find_vectors.py -m ...``): Hydra's callback that writes a leaderboard."""

import logging
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class Leaderboard(Callback):
    """Writes the leaderboard of all jobs into the sweep's folder once the last one has ended.

    Hydra calls ``on_multirun_end`` only where every job went well, so after a failed one the leaderboard is written
    again with each job. What went wrong in writing is told, and ends no sweep.
    """

    def __init__(self) -> None:
        self.has_failed = False
        self.told = ""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.has_failed |= job_return.status == JobStatus.FAILED
        if self.has_failed and config.hydra.mode == RunMode.MULTIRUN:
            self._write(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        self._write(config)

    def _write(self, config: DictConfig) -> None:
        from ohlora_gan import compare  # here, so that --help and errors in keys come at once

        try:
            page = compare.run([config.hydra.sweep.dir])
        except (ValueError, OSError) as error:
            if self.told != str(error):
                log.warning("no leaderboard: %s", error)
            self.told = str(error)
        else:
            log.info("leaderboard: %s", page)
