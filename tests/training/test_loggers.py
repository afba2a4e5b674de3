"""Loggers: figures, pictures and files arrive, offline too; runs stay apart; a dead network ends nothing."""

import json
import logging
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pytorch_lightning.loggers import WandbLogger

from ohlora_gan.errors import UserError
from ohlora_gan.training.boards import Thing, mlflow_logger, tensorboard_logger, wandb_logger
from ohlora_gan.training.callbacks import SampleGrid
from ohlora_gan.training.loggers import WholeCSVLogger, log_image, open_loggers, show
from ohlora_gan.training.vitals import Vitals
from tests.offline_runs import OfflineRun
from tests.training.tiny_training import fit, gan

pytestmark = pytest.mark.filterwarnings("ignore")

PICTURE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home directory, the working directory too, so that stray files show."""
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def files(folder, pattern="*"):
    return sorted(path for path in Path(folder).rglob(pattern) if path.is_file())


def offline_runs(folder):
    """Contents of the folder's offline runs."""
    return [path.read_bytes() for path in files(folder, "*.wandb")]


def test_csv_logger_keeps_figures_without_a_trainer(tmp_path):
    with open_loggers([WholeCSVLogger(tmp_path, name="csv")]) as loggers:
        loggers[0].log_metrics({"test/eyes": 0.5})
        log_image(loggers, "samples", PICTURE, step=1)  # no place for pictures: left out
        show(loggers, "make", Thing("vectors", "a"))  # nor for what runs make
        loggers[0].save()
        loggers[0].log_metrics({"loss": 2.0}, 3)
    table = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text()
    assert table.split() == ["loss,step,test/eyes", ",0,0.5", "2.0,3,"]


def test_csv_logger_writes_while_it_runs_and_keeps_nothing_in_memory(tmp_path):
    logger = WholeCSVLogger(tmp_path, name="csv", flush_logs_every_n_steps=4)
    path = tmp_path / "csv" / "version_0" / "metrics.csv"
    for step in range(0, 26, 2):  # of two optimizers: never a step that Lightning's rule would write at
        logger.log_metrics({"loss": 0.5} | ({"=late": 1.0} if step == 10 else {}), step)
        assert len(logger.experiment.metrics) < 4
        assert not any(len(value) > 3 for value in vars(logger).values() if isinstance(value, list))
    rows = [f"{'1.0' if step == 10 else ''},0.5,{step}" for step in range(0, 26, 2)]
    assert path.read_text().split() == ["'=late,loss,step", *rows[:-1]]
    logger.finalize("success")
    assert path.read_text().split()[1:] == rows


def test_an_offline_run_holds_everything_and_stays_in_its_folder(tmp_path, home):
    run, page = tmp_path / "run", tmp_path / "report.html"
    page.write_text("<p>report</p>")
    who = {"name": "a run", "group": "sweep/1", "job_type": "finetune", "tags": ["v9"], "notes": "python train.py"}
    with open_loggers([wandb_logger(run, **who)]) as loggers:
        assert "WANDB_MODE" not in os.environ
        module = gan()
        loggers[0].log_hyperparams({"resolution": 4321, "run": {"versions": {"python": "3"}}})
        show(loggers, "aim", {"val/loss": "min", "test/auroc": "max"})
        show(loggers, "use", Thing("generator", "v1 of mine", (page,), {"sha256": "abc"}))
        fit(run, module, [SampleGrid(run, 100, 1), Vitals(1)], logger=loggers, max_steps=2)
        show(loggers, "log_histograms", {"scores/spread/eyes": [0.0, 1.0, np.nan], "none": [np.nan]}, 2)
        show(loggers, "log_table", "judges", ["judge", "r", "faces"], [["truth", 0.9, PICTURE]])
        show(loggers, "log_page", "report", page)
        show(loggers, "make", Thing("report", "run", (page,)))
        show(loggers, "make", Thing("bank", "b", about={"seed": 3}))
    found = OfflineRun(run)
    told = found.run
    assert (told.display_name, told.run_group, told.job_type, list(told.tags), told.notes) == tuple(who.values())
    assert found.config["resolution"] == 4321
    assert found.config["run"] == {"versions": {"python": "3"}}
    trained = {f"train/{name}" for name in ("d_loss", "g_loss", "d_train_count", "g_train_count", "images_seen")}
    vitals = {"lr/g", "lr/d", "gradient_norm/g", "gradient_norm/d", "speed/images_per_second", "memory/mb"}
    media = {"samples/captions", "scores/spread/eyes/values", "judges/nrows", "report/path"}
    assert trained | vitals | media <= found.keys
    assert "none/values" not in found.keys
    assert [len(found.of(name)) for name in ("train/d_loss", "lr/g", "samples/captions")] == [2, 2, 2]
    assert found.of("lr/g") == [module.settings.lr] * 2
    assert all(0 < norm < 1e6 for norm in found.of("gradient_norm/d"))
    assert found.of("samples/captions")[1] == ["1 faces after 2 batches, always the same z (seed 0)"]
    assert sum(found.of("scores/spread/eyes/values")[0]) == 2
    assert found.aims == {"val/loss": "min", "test/auroc": "max"}
    assert found.used() == {"generator-v1-of-mine": "generator"}
    assert found.made() == {"report-run": "report", "bank-b": "bank"}
    assert json.loads(found.artifacts["generator-v1-of-mine"].metadata) == {"sha256": "abc"}
    assert found.artifacts["generator-v1-of-mine"].manifest.contents[0].path == "report.html"
    assert found.artifacts["generator-v1-of-mine"].digest == found.artifacts["report-run"].digest
    assert found.exit_code == 0
    assert len(files(run, "*.table.json")) == 1
    assert len(files(run, "samples_*.png")) == 2  # at the start and at the end
    assert files(home) == []
    assert "WANDB_MODE" not in os.environ
    assert "WANDB_CACHE_DIR" not in os.environ


def test_a_second_run_does_not_join_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")  # the user's, which is there again afterwards
    ids = []
    for name in ("a", "b"):
        with open_loggers([wandb_logger(tmp_path / name)]) as loggers:
            loggers[0].log_metrics({f"only/{name}": 1.0}, step=1)
            ids.append(loggers[0].version)
    assert ids[0] != ids[1]
    (a,), (b,) = offline_runs(tmp_path / "a"), offline_runs(tmp_path / "b")
    assert b"only/a" in a
    assert b"only/b" not in a
    assert b"only/b" in b
    assert os.environ["WANDB_MODE"] == "online"


def test_a_failed_run_is_finished_too(tmp_path):
    import wandb

    def failing():
        with open_loggers([wandb_logger(tmp_path)]):
            assert wandb.run is not None
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        failing()
    assert wandb.run is None


def test_a_run_that_wandb_cannot_finish_ends_all_the_same(tmp_path, caplog):
    def broken(exit_code):
        raise BrokenPipeError("gone\nfor good")

    with open_loggers([wandb_logger(tmp_path)]) as (logger,):
        finish, logger.experiment.finish = logger.experiment.finish, broken
    finish()  # for the tests that follow
    told = [r.getMessage() for r in caplog.records if r.name.startswith("ohlora_gan")]
    assert told == [f"wandb did not finish (gone): {tmp_path} may be incomplete"]


def test_without_a_network_an_online_run_goes_offline(tmp_path, monkeypatch, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")  # bound, not listening
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        with caplog.at_level(logging.WARNING), open_loggers([wandb_logger(tmp_path, "online", timeout=2)]) as loggers:
            loggers[0].log_metrics({"kept/anyway": 1.0}, step=1)
    messages = [r.getMessage() for r in caplog.records if r.name.startswith("ohlora_gan")]
    assert len(messages) == 1
    assert messages[0].startswith("wandb cannot go online (")
    assert "\n" not in messages[0]
    assert any(b"kept/anyway" in content for content in offline_runs(tmp_path))


def test_a_run_that_wandb_leaves_goes_on(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("wandb"), "level", logging.WARNING)  # restored after the test
    with open_loggers([WholeCSVLogger(tmp_path, name="csv"), wandb_logger(tmp_path)]) as loggers:
        monkeypatch.setattr(loggers[1].experiment, "log", lambda *_, **__: (_ for _ in ()).throw(OSError("no space")))
        for step in range(3):
            for logger in loggers:
                logger.log_metrics({"loss": float(step)}, step)
        log_image(loggers, "samples", PICTURE, 3)
        show(loggers, "log_table", "t", ["a"], [[1]])
    told = [r.getMessage() for r in caplog.records if r.name.startswith("ohlora_gan")]
    assert told == ["wandb takes no more figures (no space): the run goes on"]
    table = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text()
    assert table.split() == ["loss,step", "0.0,0", "1.0,1", "2.0,2"]


def test_what_wandb_does_not_take_leaves_the_rest(tmp_path, caplog):
    with open_loggers([wandb_logger(tmp_path)]) as loggers:
        for number in range(2):
            show(loggers, "use", Thing("generator", "gone", (tmp_path / "gone.pth",)))
            loggers[0].log_metrics({"loss": float(number)}, number)
    (told,) = [r.getMessage() for r in caplog.records if r.name.startswith("ohlora_gan")]
    assert told.startswith("wandb takes no more artifacts (")
    assert OfflineRun(tmp_path).of("loss") == [0, 1]


def test_a_full_disk_of_wandbs_ends_no_run(tmp_path):
    """wandb's own process may write no file of more than 4 kB, which is a full disk to it."""
    code = f"""
import resource
from ohlora_gan.errors import UserError
from ohlora_gan.training.boards import wandb_logger
from ohlora_gan.training.loggers import open_loggers
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with open_loggers([wandb_logger({str(tmp_path)!r}, timeout=5)]) as loggers:
    for step in range(500):
        loggers[0].log_metrics({{"loss": float(step)}}, step)
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
    assert [len(content) for content in offline_runs(tmp_path)] == [4096]


def test_a_folder_that_wandb_cannot_write_to_ends_no_run(tmp_path, caplog):
    (tmp_path / "file").touch()
    with open_loggers([WholeCSVLogger(tmp_path, name="csv"), wandb_logger(tmp_path / "file")]) as loggers:
        assert [type(logger) for logger in loggers] == [WholeCSVLogger]
    (told,) = [r.getMessage() for r in caplog.records if r.name.startswith("ohlora_gan")]
    assert told.startswith("wandb cannot start (")


def test_a_wrong_key_ends_no_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with open_loggers([wandb_logger(tmp_path, "online", timeout=2)]) as (logger,):
        logger.log_metrics({"kept/anyway": 1.0}, step=1)
    (told,) = [r.getMessage() for r in caplog.records if r.name.startswith("ohlora_gan")]
    assert told.startswith("wandb cannot go online (")
    assert OfflineRun(tmp_path).of("kept/anyway") == [1]


@pytest.mark.parametrize(
    ("make", "module", "files_of"),
    [
        (tensorboard_logger, "tensorboard", {"tensorboard/events.*"}),
        (mlflow_logger, "mlflow", {"mlruns/*/*/metrics/loss", "mlruns/*/*/artifacts/samples/000001_0.png"}),
    ],
)
def test_other_dashboards(tmp_path, make, module, files_of):
    if find_spec(module) is None:
        with pytest.raises(UserError, match=f"logger={module} needs {module}: pip install 'ohlora-gan"):
            make(tmp_path)
        return
    with open_loggers([make(tmp_path)]) as loggers:
        loggers[0].log_hyperparams({"seed": 1})
        loggers[0].log_metrics({"loss": 1.0}, 1)
        log_image(loggers, "samples", PICTURE, 1, "a caption")
        show(loggers, "log_histograms", {"scores": [1.0, 2.0]}, 1)
        show(loggers, "log_table", "judges", ["judge", "faces"], [["truth", PICTURE]])
    for pattern in files_of:
        assert list(tmp_path.glob(pattern)), sorted(tmp_path.rglob("*"))


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mode is 'onlin', expected one of offline, online, disabled"):
        wandb_logger(tmp_path, "onlin")


def test_nothing_starts_before_the_block(tmp_path):
    logger = wandb_logger(tmp_path / "run")
    assert isinstance(logger, WandbLogger)
    assert logger.version is None
    assert not (tmp_path / "run").exists()
    assert json.dumps(logger._wandb_init)  # plain settings
