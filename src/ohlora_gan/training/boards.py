"""Dashboards that a run may be logged to besides its CSV files: Weights & Biases, TensorBoard, MLflow.

All take figures, settings, pictures ``log_image``, histograms ``log_histograms``, tables ``log_table`` and pages
``log_page``; wandb besides takes what a figure aims at and what a run is made from and makes.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from ohlora_gan.errors import UserError

log = logging.getLogger(__name__)

MODES = ("offline", "online", "disabled")
FIGURES = "figures"


@dataclass(frozen=True)
class Thing:
    """What a run is made from or makes: a network, data, a bank, vectors, a report."""

    kind: str
    name: str  # alike for the run that makes it and those that use it
    files: tuple[Path, ...] = ()  # that do not change any more; empty: ``about`` says all
    about: Mapping[str, Any] = field(default_factory=dict)  # plain data, such as a hash

    @property
    def title(self) -> str:
        """Kind and name in the letters that artifacts may have."""
        return re.sub(r"[^\w.-]+", "-", f"{self.kind}-{self.name}")[:128]


def first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


class WandbRun(WandbLogger):
    """Lightning's logger for wandb, whose troubles end no run.

    Where wandb does not take the figures, nothing more is sent; where it does not take something else, such as tables,
    nothing more of that kind. Either is told once.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.refused: set[str] = set()

    def attempt(self, what: str, action: Callable[[Any], Any]) -> None:
        """Does something with wandb's run, unless it has refused figures, or the like, before."""
        if self.refused & {what, FIGURES} or getattr(rank_zero_only, "rank", 0) != 0:
            return
        try:
            action(self.experiment)
        except Exception as error:  # whatever the client makes of a full disk or of its own process' end
            self.refused.add(what)
            if what == FIGURES:
                logging.getLogger("wandb").setLevel(logging.CRITICAL)  # it would say so at every figure
            log.warning("wandb takes no more %s (%s): the run goes on", what, first_line(error))

    def log_hyperparams(self, params: Any) -> None:
        self.attempt("settings", lambda _: super(WandbRun, self).log_hyperparams(params))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.attempt(FIGURES, lambda _: super(WandbRun, self).log_metrics(metrics, step))

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self.attempt("pictures", lambda _: super(WandbRun, self).log_image(key, images, step, **kwargs))

    def log_histograms(self, values: Mapping[str, ArrayLike], step: int) -> None:
        """How numbers spread, NaN left out, by name."""
        import wandb

        known = {name: np.asarray(of, float) for name, of in values.items()}
        seen = {name: of[np.isfinite(of)] for name, of in known.items() if np.isfinite(of).any()}
        step_of = {"trainer/global_step": step}
        made = {name: wandb.Histogram(of) for name, of in seen.items()}
        self.attempt("histograms", lambda run: run.log(made | step_of))

    def log_table(self, key: str, columns: Any = None, data: Any = None, *_: Any, **__: Any) -> None:
        """Rows of words, numbers and pictures uint8 ``[H, W, 3]``."""

        def send(run: Any) -> None:
            import wandb

            rows = [[wandb.Image(cell) if isinstance(cell, np.ndarray) else cell for cell in row] for row in data]
            run.log({key: wandb.Table(columns=list(columns), data=rows)})

        self.attempt("tables", send)

    def log_page(self, key: str, path: Path) -> None:
        """An HTML page that needs no other file."""

        def send(run: Any) -> None:
            import wandb

            run.log({key: wandb.Html(path.read_text(encoding="utf-8"), inject=False)})

        self.attempt("pages", send)

    def aim(self, figures: Mapping[str, str]) -> None:
        """What the summary keeps of figures: ``max`` where more is better, ``min``, or ``last``."""

        def send(run: Any) -> None:
            for name, kind in figures.items():
                run.define_metric(name, step_metric="trainer/global_step", summary=kind)

        self.attempt("aims", send)

    def use(self, thing: Thing) -> None:
        """Says that the run is made from something."""
        # what run.use_artifact does with an artifact of one's own, which it refuses to do offline
        told = {"is_user_created": True, "use_after_commit": True}
        self.attempt("artifacts", lambda run: run._log_artifact(artifact_of(thing), **told))

    def make(self, thing: Thing) -> None:
        """Says that the run has made something."""
        self.attempt("artifacts", lambda run: run.log_artifact(artifact_of(thing)))


def artifact_of(thing: Thing) -> Any:
    """A wandb artifact. Its files stay where they are: an upload takes them from there."""
    import wandb

    made = wandb.Artifact(thing.title, thing.kind, metadata=json.loads(json.dumps(dict(thing.about), default=str)))
    for file in thing.files:
        made.add_file(str(file), policy="immutable", skip_cache=True)
    if not thing.files:
        with made.new_file("about.json", mode="w") as about:
            json.dump(dict(thing.about), about, indent=2, default=str)
    return made


def wandb_logger(
    save_dir: str | Path, mode: str = "offline", project: str = "ohlora_gan", timeout: float = 30.0, **options: Any
) -> WandbRun:
    """A Weights & Biases logger that starts when `loggers.open_loggers` opens it.

    Args:
        save_dir: the run's folder; nothing is written elsewhere.
        mode: ``offline`` needs no account and no network (``wandb sync`` uploads later), ``online`` uploads
            while training, ``disabled`` does nothing.
        timeout: seconds to wait for the network, at the start and at the end of the run.
        options: further arguments of ``wandb.init``, such as ``name``, ``group`` or ``tags``.
    """
    if mode not in MODES:
        raise ValueError(f"logger.mode is {mode!r}, expected one of {', '.join(MODES)}")
    settings = {"silent": True, "init_timeout": timeout, "login_timeout": timeout, "finish_timeout": timeout}
    options = {name: list(value) if name == "tags" else value for name, value in options.items() if value is not None}
    # ``mode`` as an argument: Lightning's ``offline=True`` would switch the whole process by a variable.
    logger = WandbRun(save_dir=str(save_dir), project=project, mode=mode, settings=settings, **options)
    logger._wandb_init.pop("anonymous", None)  # its mere presence makes wandb print a warning
    return logger


def check_installed(choice: str, module: str) -> None:
    """Raises UserError where the package of a choice of loggers is missing."""
    if find_spec(module) is None:
        raise UserError(f"logger={choice} needs {module}: pip install 'ohlora-gan[loggers]', or give logger=csv")


class TensorBoardRun(TensorBoardLogger):
    """Lightning's logger for TensorBoard, with pictures, histograms and tables."""

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[Any], step: int | None = None, **_: Any) -> None:
        for number, image in enumerate(images):
            self.experiment.add_image(f"{key}/{number}" if number else key, image, step, dataformats="HWC")

    @rank_zero_only
    def log_histograms(self, values: Mapping[str, ArrayLike], step: int) -> None:
        for name, of in values.items():
            known = np.asarray(of, float)
            if np.isfinite(known).any():
                self.experiment.add_histogram(name, known[np.isfinite(known)], step)

    @rank_zero_only
    def log_table(self, key: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        words = [[("picture" if isinstance(cell, np.ndarray) else str(cell)) for cell in row] for row in data]
        lines = [list(columns), ["---"] * len(columns), *words]
        self.experiment.add_text(key, "\n".join(f"| {' | '.join(line)} |" for line in lines))


def tensorboard_logger(save_dir: str | Path) -> TensorBoardRun:
    """A logger to ``tensorboard/`` in the run's folder; UserError where the package is missing."""
    check_installed("tensorboard", "tensorboard")
    return TensorBoardRun(str(save_dir), name="tensorboard", version="")


class MlflowRun(MLFlowLogger):
    """Lightning's logger for MLflow, with pictures, tables and pages."""

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[Any], step: int | None = None, **_: Any) -> None:
        for number, image in enumerate(images):
            file = f"{key}/{'' if step is None else f'{step:06d}_'}{number}.png"
            self.experiment.log_image(self.run_id, Image.fromarray(image), file)

    @rank_zero_only
    def log_table(self, key: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        words = [[str(cell) for cell in row if not isinstance(cell, np.ndarray)] for row in data]
        self.experiment.log_text(self.run_id, "\n".join(map(",".join, [list(columns), *words])), f"{key}.csv")

    @rank_zero_only
    def log_page(self, key: str, path: Path) -> None:
        self.experiment.log_artifact(self.run_id, str(path))


def mlflow_logger(
    save_dir: str | Path,
    project: str = "ohlora_gan",
    tracking_uri: str | None = None,
    name: str | None = None,
    **tags: Any,
) -> MlflowRun:
    """A logger to ``mlruns/`` in the run's folder, or to a server; UserError where the package is missing."""
    check_installed("mlflow", "mlflow")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder a run needs no data base
    told = {key: str(value) for key, value in tags.items() if value is not None}
    where = tracking_uri or f"file:{Path(save_dir).absolute() / 'mlruns'}"
    return MlflowRun(project, run_name=name, tracking_uri=where, tags=told)
