"""What the programs of Hydra share: quiet logs, a run folder that can be written, errors in one sentence.

A program is a shell that calls a pipeline: ``train.py``, ``find_vectors.py``, and `chain` for ``ohlora chain``. How
errors end: see `errors`; this file explains those of Hydra's grammar.
"""

import contextlib
import errno
import functools
import logging
import os
import re
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from ohlora_gan import errors, settings, trust
from ohlora_gan.errors import FULL_DISK, as_typed, modules_of, one_line
from ohlora_gan.files import locked, write_text
from ohlora_gan.names import FAILED_FILE, LAST
from ohlora_gan.pipelines.records import RECORD, read_record, recorded

log = logging.getLogger(__name__)

PROBE_BYTES = 1 << 20
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
NOISY_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.trainer.connectors.checkpoint_connector",
    "lightning_fabric.utilities.rank_zero",
)
QUIET_LOGS = ("GPU available: False", "TPU available: False", "HPU available: False", "💡 Tip", "`weights_only` was")
QUIET_WARNINGS = (
    ".*does not have many workers.*",  # samples are made in the process: workers would only copy them
    ".*LeafSpec.*is deprecated.*",  # Lightning's business with torch
    ".*`val_dataloader` but have no `validation_step`.*",  # a GAN has no validation loss
)


class SweepEnd(Callback):
    """Hydra's callback at the end of a sweep: says which jobs failed and why, for the exit code of the program.

    A failed job returns None, so that the others run and a sweeper that looks for the best goes on: see `job`. Jobs may
    have run in other processes, whose words nobody sees here, so that their folders are asked.
    """

    exit_code = 0

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        jobs = {path.parent: read_record(path.parent) for path in sorted(Path(config.hydra.sweep.dir).rglob(RECORD))}
        failed = {folder: of for folder, of in jobs.items() if of.get("exit_code")}
        if failed:
            SweepEnd.exit_code = next(iter(failed.values()))["exit_code"]
            named = [f"{folder.relative_to(config.hydra.sweep.dir)} ({of['why']})" for folder, of in failed.items()]
            log.warning("%d of %d jobs failed, the others are whole: %s", len(failed), len(jobs), ", ".join(named))


def run(shell: Callable[[], None], experiments: str | None = None) -> None:
    """Calls a function under ``hydra.main`` and exits with 0, 2 for a user's error, or 1 for a programming error.

    After Ctrl+C it exits with 130, after SIGTERM with 143.

    Args:
        shell: the function.
        experiments: the folder of ``conf/experiment`` that holds the program's own, see `settings.EXPERIMENTS`.
    """
    errors.hear_sigterm()
    if experiments is not None:
        sys.argv[1:] = settings.own_experiments(sys.argv[1:], experiments)
    sys.argv[1:] = settings.with_fixed_keys(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise what it would print
    errors.look_in_working_folder()
    SweepEnd.exit_code = code = 0
    try:
        trust.check_words(sys.argv[1:])
        trust.guard()
        settings.check_options(sys.argv[1:])
        shell()
        code = SweepEnd.exit_code
    except Exception as error:
        code = tell(error)
    except KeyboardInterrupt as stop:
        print("interrupted before anything was done", file=sys.stderr)
        code = errors.exit_code_of(stop) or 130
    sys.exit(code)


def environment() -> dict[str, str]:
    """The environment of a program that a job starts: ``HYDRA_FULL_ERROR`` as the user gave it, not as `run` set it."""
    return {**os.environ, "HYDRA_FULL_ERROR": str(int(errors.SHOW_TRACEBACKS))}


def job(function: Callable[[DictConfig], Any], locks: bool = True) -> Callable[[DictConfig], Any]:
    """Decorator of a shell's function, below ``hydra.main``, which would add lines of its own to errors.

    They are told here. A single run's leave Hydra as an exit code at once; a job of a sweep returns None instead, and
    its code waits in its folder for the end of the sweep, see `SweepEnd`. Ctrl+C and SIGTERM are told with the command
    that goes on. Two programs never work in one folder, which a function that ``locks`` no folder sees to itself.
    """

    show_tracebacks = errors.SHOW_TRACEBACKS

    @functools.wraps(function)
    def guarded(cfg: DictConfig) -> Any:
        errors.SHOW_TRACEBACKS = show_tracebacks  # a launcher's process took it from the environment that `run` set
        try:
            quiet()
            folder = task_folder(cfg)
            if not is_first_process():
                return function(cfg)
            with locked(folder) if locks else contextlib.nullcontext(), recorded(folder, cfg) as record:
                (folder / FAILED_FILE).unlink(missing_ok=True)  # of the job before in the same folder
                try:
                    result = function(cfg)
                except (KeyboardInterrupt, SystemExit) as stop:
                    if errors.exit_code_of(stop) is not None:
                        record["why"] = f"interrupted; {how_to_go_on()}"
                    raise
                except Exception as error:
                    record["why"] = as_typed(one_line(sentence(error) or repr(error)))
                    hydra_cfg = HydraConfig.get()
                    if hydra_cfg.mode != RunMode.MULTIRUN:
                        raise
                    keep_failure(folder, record["why"])
                    where = f"job {hydra_cfg.job.num} ({' '.join(hydra_cfg.overrides.task)}): "
                    record["exit_code"] = tell(error, where=where)
                    return None
            log.info("the run's folder: %s", folder)
            return result
        except (KeyboardInterrupt, SystemExit) as stop:
            code = errors.exit_code_of(stop)
            if code is None:
                raise
            if is_first_process():
                print(f"interrupted; {how_to_go_on()}", file=sys.stderr)
            raise SystemExit(code) from stop
        except Exception as error:
            raise SystemExit(tell(error)) from error

    return guarded


def is_first_process() -> bool:
    """Whether this is the first of the processes that train together, or the only one."""
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return next(filter(None, ranks), "0") == "0"


def how_to_go_on() -> str:
    """What to do after a job was interrupted: the command that goes on."""
    cfg = HydraConfig.get()
    is_sweep = cfg.mode == RunMode.MULTIRUN
    folder = Path(cfg.sweep.dir if is_sweep else cfg.runtime.output_dir).absolute()
    words, given = ["paths.output_dir=", f"++{settings.FIXED}="], [f"paths.output_dir={folder}"]
    if not is_sweep and (last := folder / LAST).is_file():
        words, given = [*words, "ckpt_path=", "checkpoint="], [f"ckpt_path={last}", *given]
    kept = [word for word in sys.argv[1:] if not word.startswith(tuple(words))]
    program = sys.argv[0].split() if sys.argv[0].startswith("ohlora") else ["python", sys.argv[0]]
    if started_by_torchrun():
        program[:1] = ["torchrun", "..."]
    return f"what was made is kept, go on with: {shlex.join([*program, *kept, *given])}"


def task_folder(cfg: DictConfig) -> Path:
    """Sets ``cfg.paths.output_dir`` to the job's own folder, absolute, and writes a trial file there."""
    output_dir = Path(HydraConfig.get().runtime.output_dir)
    cfg.paths.output_dir = str(output_dir)
    with tempfile.NamedTemporaryFile(dir=output_dir, prefix=".probe") as probe:
        probe.write(bytes(PROBE_BYTES))
    return output_dir


def keep_failure(folder: Path, why: str) -> None:
    """Keeps why a job of a sweep failed in its folder, for the leaderboard, where that folder can be written to."""
    with contextlib.suppress(OSError):  # which is then the error that is told anyway
        write_text(folder / FAILED_FILE, why + "\n")


def quiet() -> None:
    """Hides the messages of Lightning that tell a user of this project nothing; real warnings stay."""
    for message in QUIET_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).addFilter(lambda record: not record.getMessage().startswith(QUIET_LOGS))
    logging.getLogger("wandb").setLevel(logging.WARNING)  # its service reports every connection


def tell(error: Exception, where: str = "") -> int:
    """Tells an error of a program, see `errors.tell`; returns the exit code."""
    return errors.tell(error, where, sentence)


def sentence(error: BaseException | None) -> str | None:
    """What to tell the user about an error and how to mend it; None for a programming error."""
    if error is not None and (told := plugin_error(error)):
        return told
    for kind, explain in EXPLANATIONS:
        if isinstance(error, kind):
            return explain(error)
    return None if error is None else errors.sentence(error)


def instantiation(error: InstantiationException) -> str | None:
    """The sentence of what went wrong in a constructor."""
    cause = error.__cause__
    if cause is None:
        return str(error)
    if isinstance(cause, ImportError):
        return str(error).partition(", set env var")[0]
    if isinstance(cause, (ValueError, TypeError)):
        return str(cause)
    return sentence(cause)


def disk_error(error: OSError) -> str | None:
    """A run folder that cannot be made or written, or a library's own sentence about a file."""
    if error.errno is None:
        return str(error)
    modules = [m for m in modules_of(error) if m.partition(".")[0] not in sys.stdlib_module_names]
    in_run_folder = bool(modules) and (modules[-1] == __name__ or modules[-1].startswith("hydra."))
    if not in_run_folder and error.errno not in (*FULL_DISK, *NO_RIGHT):
        return None
    remedy = "choose another folder with paths.output_dir=FOLDER"
    if error.errno in FULL_DISK:
        remedy = f"free some space, or {remedy}"
    return f"cannot write to {error.filename or run_folder(error)} ({error.strerror}): {remedy}"


def plugin_error(error: BaseException) -> str | None:
    """What a sweeper or launcher of Hydra's says of its own settings; None for what a job or this project raised."""
    modules = modules_of(error)
    plugins = [place for place, module in enumerate(modules) if module.startswith("hydra_plugins.")]
    if not plugins or any(module.startswith("ohlora_gan.") for module in modules[plugins[0] :]):
        return None
    name = modules[plugins[0]].split(".")[1]
    said = one_line(str(error)) or type(error).__name__
    return (
        f"Hydra's plugin {name} says: {said}; mend its settings (hydra.sweeper, hydra.launcher), or choose "
        "hydra/sweeper=basic hydra/launcher=basic"
    )


def lost_process(error: RuntimeError) -> str | None:
    """A training whose other processes, or the network to them, are gone."""
    if not errors.is_lost_process(error):
        return errors.sentence(error)
    where = " on every machine" if started_by_torchrun() else ""
    return (
        "another process of this training has ended, or has said nothing for device.timeout seconds: "
        f"see what its machine says; {how_to_go_on()}{where}"
    )


def started_by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def run_folder(error: OSError) -> str:
    """The folder of the run that an error ended; a failed write does not name its file."""
    if HydraConfig.initialized():
        return HydraConfig.get().runtime.output_dir
    # Hydra has forgotten its config by now, but the frame that wrote to the folder knows it.
    folders = [frame.f_locals.get("output_dir") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(next(filter(None, reversed(folders)), "the run folder"))


EXPLANATIONS: tuple[tuple[Any, Callable[[Any], str | None]], ...] = (
    (InstantiationException, instantiation),
    *settings.EXPLANATIONS,
    (OSError, disk_error),
    (RuntimeError, lost_process),
)
"""Kinds of errors and what explains them; the first that fits counts."""


def chain(project: Path, words: Sequence[str]) -> None:
    """Runs every stage from pictures to directions, and exits: ``ohlora chain scale=smoke``.

    Args:
        project: the folder of ``conf`` and ``train.py``.
        words: what the user gave, in Hydra's grammar.
    """

    @hydra.main(version_base="1.3", config_path=str(project / "conf"), config_name="chain")
    @functools.partial(job, locks=False)
    def main(cfg: DictConfig) -> None:
        from ohlora_gan.pipelines.chain import run_chain  # here, so that --help and errors in keys come at once

        run_chain(cfg, project, environment())

    # device and logger are settings of the stages here; conf/ has groups of these names, which Hydra would look for
    sys.argv = ["ohlora chain", *(re.sub(r"^(device|logger)=", r"common.\1=", word) for word in words)]
    run(main)
