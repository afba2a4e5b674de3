"""Loggers: figures, pictures and files arrive, offline too; runs stay apart; a dead network ends nothing."""

import json
import logging
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from pytorch_lightning.loggers import WandbLogger

from ohlora_gan.training.callbacks import SampleGrid
from ohlora_gan.training.loggers import WholeCSVLogger, log_files, log_image, open_loggers, wandb_logger
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
        log_files(loggers, [tmp_path / "missing"], "vectors")  # nor for files
        loggers[0].save()
        loggers[0].log_metrics({"loss": 2.0}, 3)
    table = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text()
    assert table.split() == ["loss,step,test/eyes", ",0,0.5", "2.0,3,"]


def test_an_offline_run_holds_everything_and_stays_in_its_folder(tmp_path, home):
    run = tmp_path / "run"
    (tmp_path / "report.html").write_text("<p>report</p>")
    with open_loggers([wandb_logger(run)]) as loggers:
        assert "WANDB_MODE" not in os.environ
        module = gan()
        fit(run, module, [SampleGrid(run, 100, 1)], logger=loggers, max_steps=1)
        loggers[0].log_hyperparams({"resolution": 4321})
        log_files(loggers, [tmp_path / "report.html"], "report-of-run")
    (content,) = offline_runs(run)
    for expected in (b"train/d_loss", b"4321", b"report-of-run", b"images/separated"):
        assert expected in content
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
    assert [r.getMessage() for r in caplog.records] == [f"wandb did not finish (gone): {tmp_path} may be incomplete"]
    finish()


def test_without_a_network_an_online_run_goes_offline(tmp_path, monkeypatch, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")  # bound, not listening
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        with caplog.at_level(logging.WARNING), open_loggers([wandb_logger(tmp_path, "online", timeout=2)]) as loggers:
            loggers[0].log_metrics({"kept/anyway": 1.0}, step=1)
    messages = [r.getMessage() for r in caplog.records if "wandb" in r.name + r.getMessage()]
    assert len(messages) == 1
    assert messages[0].startswith("wandb cannot go online (")
    assert "\n" not in messages[0]
    assert any(b"kept/anyway" in content for content in offline_runs(tmp_path))


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mode is 'onlin', expected one of offline, online, disabled"):
        wandb_logger(tmp_path, "onlin")


def test_nothing_starts_before_the_block(tmp_path):
    logger = wandb_logger(tmp_path / "run")
    assert isinstance(logger, WandbLogger)
    assert logger.version is None
    assert not (tmp_path / "run").exists()
    assert json.dumps(logger._wandb_init)  # plain settings
