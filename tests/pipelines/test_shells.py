"""Every error of a user is one sentence and exit code 2; programming errors keep their traceback."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import hydra
import pytest
from conftest import PROJECT
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.files import locked
from ohlora_gan.models.checkpoint import load
from ohlora_gan.pipelines import shells

CONFIG = """
seed: 0
checkpoint: ???
twin: ${seed}
part: {size: 3}
paths: {output_dir: none}
hydra:
  run: {dir: "${paths.output_dir}"}
  sweep: {dir: "${paths.output_dir}", subdir: "${job_folder:}"}
  callbacks: {end: {_target_: ohlora_gan.pipelines.shells.SweepEnd}}
defaults: [_self_, method: svm, override hydra/job_logging: none, override hydra/hydra_logging: none]
"""


@pytest.fixture
def start(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """``start(function, *arguments) -> (exit code, stderr)``: a shell round the function, in this process."""
    conf = tmp_path / "conf"
    (conf / "method").mkdir(parents=True)
    (conf / "main.yaml").write_text(CONFIG)
    for name in ("svm", "gradient"):
        (conf / "method" / f"{name}.yaml").write_text(f"name: {name}\n")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored after the test

    def call(function: Callable[[DictConfig], object], *arguments: str) -> tuple[int, str]:
        folder = [] if any("output_dir=" in a for a in arguments) else [f"paths.output_dir={tmp_path / 'run'}"]
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments, *folder])
        shell = hydra.main(version_base="1.3", config_path=str(conf), config_name="main")(shells.job(function))
        with pytest.raises(SystemExit) as stop, warnings.catch_warnings():
            shells.run(shell)
        return stop.value.code, capsys.readouterr().err

    return call


def sentence_of(outcome: tuple[int, str]) -> str:
    """The sentence of a user's error, which must be all that stderr holds."""
    code, err = outcome
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("method=svn", ["unknown method 'svn'", "gradient, svm", "(method=svm)"]),
        ("part.sise=1", ["unknown key 'part.sise'", "part.size=?", "+part.sise="]),
        ("size=1", ["unknown key 'size'", "part.size=?"]),
        ("zzz=1", ["unknown key 'zzz': `python train.py --cfg job`"]),
        ("model=gan", ["'model'"]),
        ("a b=,", ["cannot read 'a b=,'", "key=value"]),
        ("seed", ["cannot read 'seed'"]),
        ("seed=1,2", ["--multirun"]),
        ("+seed=1", ["already at 'seed'"]),
        ("method=3", ["must be a string"]),
        ("hydra.mode=x", ["hydra.mode", "RUN, MULTIRUN"]),
    ],
)
def test_wrong_argument(start, argument, words):
    err = sentence_of(start(lambda cfg: None, argument))
    for word in words:
        assert word in err


def test_missing_value(start):
    assert "checkpoint= must be given: a file's path" in sentence_of(start(lambda cfg: cfg.checkpoint))
    assert "seed= must be given" in sentence_of(start(lambda cfg: cfg.twin, "seed=???"))
    assert "'nope'" in sentence_of(start(lambda cfg: cfg.seed, "seed=${nope}"))


def test_own_value_error(start):
    assert "checkpoint nope.safetensors does not exist" in sentence_of(start(lambda cfg: load("nope.safetensors")))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"_target_": "ohlora_gan.devices.Device", "precision": "8"}, "device.precision is '8'"),
        ({"_target_": "ohlora_gan.devices.Device", "colour": 1}, "unexpected keyword argument 'colour'"),
        ({"_target_": "ohlora_gan.devices.Nothing"}, "Error locating target 'ohlora_gan.devices.Nothing'"),
    ],
)
def test_instantiation(start, config, words):
    assert words in sentence_of(start(lambda cfg: instantiate(config)))


@pytest.mark.parametrize(
    "fail",
    [
        lambda: int("x"),  # a ValueError, but not of our package
        lambda: {}["key"],
        lambda: OmegaConf.create({}, flags={"struct": True}).nope,
        lambda: Path("nope").read_text(),
    ],
)
def test_programming_error_keeps_its_traceback(start, fail):
    code, err = start(lambda cfg: fail())
    assert code == 1
    assert "Traceback" in err
    assert not err.startswith("error: ")


@pytest.mark.parametrize("name", ["MisconfigurationException", "OutOfMemoryError"])
def test_errors_known_by_name(start, name):
    def fail(cfg: DictConfig) -> None:
        raise type(name, (Exception,), {})("too much")

    sentence_of(start(fail))


@pytest.mark.parametrize(("code", "remedy"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "choose another")])
def test_disk_error_without_a_file_name(start, tmp_path, code, remedy):
    def fail(cfg: DictConfig) -> None:
        raise OSError(code, os.strerror(code))

    err = sentence_of(start(fail))
    assert str(tmp_path / "run") in err
    assert remedy in err


def test_library_sentence_about_a_file(start):
    def fail(cfg: DictConfig) -> None:
        raise FileNotFoundError("Checkpoint file not found: last.ckpt")

    assert sentence_of(start(fail)) == "error: Checkpoint file not found: last.ckpt\n"


@pytest.mark.parametrize("mode", [[], ["--multirun"]])
def test_run_folder_that_cannot_be_made(start, tmp_path, mode):
    (tmp_path / "file").touch()
    err = sentence_of(start(lambda cfg: None, f"paths.output_dir={tmp_path / 'file' / 'run'}", *mode))
    assert str(tmp_path / "file") in err
    assert "paths.output_dir=FOLDER" in err


def test_run_folder_on_a_full_disk(start, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shells.tempfile, "NamedTemporaryFile", full)
    assert str(tmp_path / "run") in sentence_of(start(lambda cfg: None))
    monkeypatch.undo()
    monkeypatch.setattr("hydra.core.utils._save_config", full)  # Hydra's own writing
    assert str(tmp_path / "run") in sentence_of(start(lambda cfg: None))


def test_task_folder_is_absolute_and_each_job_has_its_own(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    assert start(lambda cfg: seen.append(cfg.paths.output_dir), "paths.output_dir=runs/a") == (0, "")
    assert start(lambda cfg: seen.append(cfg.paths.output_dir), "-m", "paths.output_dir=runs/b", "seed=1,2") == (0, "")
    assert seen == [str(tmp_path / "runs" / name) for name in ("a", "b/0_seed-1", "b/1_seed-2")]
    assert not list(tmp_path.glob("runs/**/.probe*"))


def test_sweep_goes_on_after_a_failing_job_and_fails(start, tmp_path):
    done = []

    def fail_once(cfg: DictConfig) -> None:
        if cfg.seed == 1:
            load("nope.safetensors")
        done.append(cfg.seed)

    code, err = start(fail_once, "-m", "seed=0,1,2")
    assert code == 2
    assert done == [0, 2]
    assert err.count("error: ") == 1
    assert "error: job 1 (" in err
    (kept,) = tmp_path.rglob("failed.txt")
    assert kept.parent.name == "1_seed-1"
    assert "nope.safetensors" in kept.read_text()
    assert "Traceback" not in err
    states = {path.parent.name: json.loads(path.read_text())["state"] for path in tmp_path.rglob("run.json")}
    assert states == {"0_seed-0": "done", "1_seed-1": "failed", "2_seed-2": "done"}
    assert start(lambda cfg: None, "-m", "seed=0,1") == (0, "")
    assert not kept.exists()


@pytest.mark.parametrize(("argument", "code"), [("seed=1", 2), ("seed=2", 1), ("seed=0", 0)])
def test_a_run_says_in_its_folder_what_it_was_and_how_it_ended(start, tmp_path, argument, code):
    def work(cfg: DictConfig) -> None:
        running = json.loads((tmp_path / "run" / "run.json").read_text())
        assert running["state"] == "running"
        assert "seconds" not in running
        if cfg.seed == 1:
            load("nope.safetensors")
        if cfg.seed == 2:
            raise RuntimeError("a bug")

    assert start(work, argument, "checkpoint='a b'")[0] == code
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["state"] == ("failed" if code else "done")
    told = {0: None, 1: "RuntimeError('a bug')"}.get(code, record.get("why"))
    assert record.get("why") == told
    assert code != 2 or "nope.safetensors" in told
    assert record["command"] == f"python train.py {argument} 'checkpoint='\"'\"'a b'\"'\"''"
    assert record["seed"] == int(argument[-1])
    assert 0 <= record["seconds"] < 60
    assert {"python", "torch", "hydra-core"} <= record["versions"].keys()
    assert record["machine"]["cpus"] == os.cpu_count()


def test_a_job_folder_is_named_by_what_sets_it_apart_and_can_be_given_as_it_is(start, tmp_path):
    seen = []
    words = ["checkpoint=runs/a b/x.pth,y.pth", "+extra={a:[1,2]},null", "seed=1", "method=svm"]
    assert start(lambda cfg: seen.append(Path(cfg.paths.output_dir).name), "-m", *words) == (0, "")
    assert seen[0] == "0_checkpoint-runs-a-b-x.pth_extra-a-1-2"
    assert start(lambda cfg: seen.append(cfg.checkpoint), f"checkpoint={tmp_path}/run/{seen[0]}/model.safetensors") == (
        0,
        "",
    )
    assert start(lambda cfg: seen.append(Path(cfg.paths.output_dir).name), "-m", f"checkpoint=a,{'long' * 99}") == (
        0,
        "",
    )
    assert len(seen[-1]) == 120


@pytest.mark.skipif("hydra-joblib-launcher" in {d.name for d in distributions()}, reason="the plugin is installed")
def test_a_missing_launcher_says_what_to_install(start):
    err = sentence_of(start(lambda cfg: None, "-m", "hydra/launcher=joblib", "seed=0,1"))
    assert err == (
        "error: hydra/launcher=joblib is not installed: pip install hydra-joblib-launcher, or pip install "
        "'ohlora-gan[sweeps]'\n"
    )


@pytest.mark.parametrize("turned_into_exit", [False, True])
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(start, tmp_path, number, expected, turned_into_exit):
    def interrupt(cfg: DictConfig) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        except KeyboardInterrupt:
            if turned_into_exit:  # as Lightning does
                sys.exit(1)
            raise

    code, err = start(interrupt, "seed=3", "checkpoint=v1")
    assert code == expected
    told = "interrupted; what was made is kept, go on with: python train.py seed=3"
    go_on = f"{told} {{}}paths.output_dir={tmp_path}/run\n"
    assert err == go_on.format("checkpoint=v1 ")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["why"] == err.rstrip("\n")
    last = tmp_path / "run" / "last.ckpt"
    last.touch()
    _, err = start(interrupt, "checkpoint=v1", "seed=3")
    assert err == go_on.format(f"ckpt_path={last} ")
    code, err = start(interrupt, "-m", "seed=3,4", f"paths.output_dir={tmp_path / 'sweep'}")
    assert code == expected
    assert err.endswith(f"go on with: python train.py -m seed=3,4 paths.output_dir={tmp_path / 'sweep'}\n")


@pytest.fixture(autouse=True)
def own_handler():
    """Puts back what the shell does at SIGTERM, and tests of ours may end."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_two_runs_never_work_in_one_folder(start, tmp_path):
    with locked(tmp_path / "run"):
        err = sentence_of(start(lambda cfg: pytest.fail("ran")))
    assert f"another process works in {tmp_path / 'run'}: wait for it or stop it" in err
    assert start(lambda cfg: None) == (0, "")


def test_further_processes_of_one_training_share_its_folder(start, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with locked(tmp_path / "run"):
        assert start(lambda cfg: None) == (0, "")


@pytest.mark.parametrize("asked", [False, True])
def test_programs_of_a_job_show_tracebacks_only_where_the_user_asked(monkeypatch, asked):
    monkeypatch.setattr("ohlora_gan.errors.SHOW_TRACEBACKS", asked)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # as run sets it
    assert shells.environment() == {**os.environ, "HYDRA_FULL_ERROR": str(int(asked))}


def test_exit_codes_of_the_shell_pass_through(start):
    assert start(lambda cfg: sys.exit(7)) == (7, "")


def test_quiet_hides_known_noise_only(caplog):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shells.quiet()
        for message in ("`isinstance(treespec, LeafSpec)` is deprecated, use another", "The loss is not finite"):
            warnings.warn(message, stacklevel=1)
    assert [str(w.message) for w in caught] == ["The loss is not finite"]
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    with caplog.at_level(logging.INFO, logger=log.name):
        for message in ("GPU available: False, used: False", "GPU available: True (cuda), used: False", "💡 Tip: buy"):
            log.info(message)
    assert [r.getMessage() for r in caplog.records] in ([], ["GPU available: True (cuda), used: False"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("find_vectors.py method=nope", "unknown method 'nope'"),
        ("train.py trainer.max_epoch=1", "did you mean trainer.max_epochs=?"),
        ("train.py experiment=mixed", "experiment=mixed is for find_vectors.py: train.py has demo, reference_256"),
        ("train.py paths.output_dir={file}/run", "paths.output_dir=FOLDER"),
        ("find_vectors.py checkpoint=nope paths.output_dir={folder}/run", "checkpoint 'nope' does not exist"),
    ],
)
def test_real_shells(tmp_path, command, words):
    (tmp_path / "file").touch()
    arguments = command.format(file=tmp_path / "file", folder=tmp_path).split()
    environment = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert words in errors[0]


def test_shells_are_small():
    for name in ("train.py", "find_vectors.py"):
        assert len(Path(PROJECT / name).read_text().splitlines()) < 40
