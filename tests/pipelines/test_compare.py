"""Leaderboards of run folders: what is read, what is told of runs without figures, and the sweep's own one."""

import csv
import json
import sys

import hydra
import pytest
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ohlora_gan.__main__ import main
from ohlora_gan.pipelines import compare, shells
from ohlora_gan.pipelines import find_vectors as sweep_end
from tests.judged_runs import judgement, write_run


@pytest.fixture
def sweep(tmp_path):
    """Three judged runs, one that has stopped, one that is damaged, and a training run."""
    write_run(tmp_path / "0", judgement("svm", "w", 1000, 2.5))
    write_run(tmp_path / "1", judgement("svm", "w", 4000, 2.7))
    write_run(tmp_path / "2", None, "method=gradient", "layer=w")
    write_run(tmp_path / "3", judgement(), "method=ridge")
    (tmp_path / "3" / "judge.json").write_text('{"method": "rid')
    write_run(tmp_path / "10", judgement("ridge", "mapping_split2", 1000, 2.9))
    write_run(tmp_path / "trained", None, task="train")
    return tmp_path


def test_a_sweep_is_read_with_its_failures(sweep):
    cells, failed = compare.read_runs([sweep])
    assert [cell.folder.name for cell in cells] == ["0", "1", "10"]
    assert [cell.way for cell in cells] == ["svm", "svm", "ridge, decorrelated"]
    assert [item.folder.name for item in failed] == ["2", "3"]
    assert failed[0].asked == "method=gradient layer=w"
    assert failed[0].word == "no judge.json: the run ended before it was judged"
    assert "cut off or damaged" in failed[1].word
    (sweep / "2" / "failed.txt").write_text("n=200 is too small: raise n\n")
    assert compare.read_runs([sweep])[1][0].word == "n=200 is too small: raise n"


def test_a_folder_given_twice_counts_once(sweep):
    cells, _ = compare.read_runs([sweep, sweep / "0"])
    assert len(cells) == 3


@pytest.mark.parametrize("broken", ["config.yaml", ".hydra/overrides.yaml"])
def test_unreadable_settings_are_no_reason_to_drop_a_run(sweep, broken):
    (sweep / "0" / broken).write_text("{a: [")
    cells, failed = compare.read_runs([sweep / "0"])
    assert [cell.n for cell in cells] == [1000]
    assert not failed


def test_a_job_that_failed_before_it_kept_its_settings_is_found(tmp_path):
    folder = write_run(tmp_path / "0", None, "method=ridge")
    (folder / "config.yaml").rename(folder / ".hydra" / "config.yaml")
    _, failed = compare.read_runs([tmp_path])
    assert [item.asked for item in failed] == ["method=ridge"]


def test_cells_of_a_method_say_in_what_they_differ(tmp_path):
    ridge = {"name": "ridge", "finder": {"alpha": 1.0}}
    write_run(tmp_path / "0", judgement("ridge"), method=ridge, groups="none", layer={"name": "w"})
    write_run(tmp_path / "1", judgement("ridge"), method=ridge | {"finder": {"alpha": 9.0}}, groups="medians")
    write_run(tmp_path / "2", judgement("svm"), method={"name": "svm", "finder": {"C": 1.0}}, groups="medians")
    cells, _ = compare.read_runs([tmp_path])
    assert [cell.settings for cell in cells] == ["alpha=1.0, groups=none", "alpha=9.0, groups=medians", ""]
    assert cells[0].way == "ridge, decorrelated, alpha=1.0, groups=none"


def test_the_command_writes_page_and_tables(sweep, capsys):
    assert main(["compare", str(sweep)]) == 0
    assert capsys.readouterr().out == f"leaderboard: {sweep / 'leaderboard.html'}\n"
    with (sweep / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["10", "1", "0", "2", "3"]
    assert (sweep / "leaderboard.md").is_file()


def test_several_folders_are_compared_elsewhere(sweep, tmp_path, capsys):
    out = tmp_path / "new" / "compared"
    assert main(["compare", str(sweep / "0"), str(sweep / "10"), "--output", str(out), "--judge", "property_cnn"]) == 0
    capsys.readouterr()
    assert 'href="../../10/report.html"' in (out / "leaderboard.html").read_text()
    assert (out / "leaderboard.md").read_text().startswith("| # | method | layer | samples | sum of r, property_cnn |")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "is no folder: expected a run folder"),
        (["2"], "no judge.json: the run ended before it was judged: give run folders of find_vectors.py"),
        (["trained"], "no judged run under"),
        (["0", "1"], "say with --output FOLDER where to write"),
        (["0", "--judge", "me"], "--judge is 'me', expected one of the scorers of these runs: judge_cnn, property_cnn"),
    ],
)
def test_mistakes_end_in_one_sentence(sweep, capsys, arguments, words):
    arguments = [str(sweep / a) if a.isalnum() and a != "me" else a for a in arguments]
    assert main(["compare", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told
    assert told.count("\n") == 1
    assert not list(sweep.rglob("leaderboard.*"))


CONFIG = """
task: find_vectors
n: 1
seed: 0
paths: {output_dir: none}
hydra:
  run: {dir: "${paths.output_dir}"}
  sweep: {dir: "${paths.output_dir}", subdir: "${job_folder:}"}
  callbacks:
    end: {_target_: ohlora_gan.pipelines.shells.SweepEnd}
    leaderboard: {_target_: ohlora_gan.pipelines.find_vectors.Leaderboard}
defaults: [_self_, override hydra/job_logging: none, override hydra/hydra_logging: none]
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """``start(*arguments) -> exit code``: a shell in this process whose jobs judge, except those with n=2."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "main.yaml").write_text(CONFIG)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored after the test
    monkeypatch.setattr("ohlora_gan.errors.SHOW_TRACEBACKS", False)

    def work(cfg) -> None:
        if cfg.n == 2:
            raise OSError("two is too few")
        with open(f"{cfg.paths.output_dir}/judge.json", "w") as file:
            json.dump(judgement(n=cfg.n), file)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["main.py", *arguments, f"paths.output_dir={tmp_path / 'out'}"])
        shell = hydra.main(version_base="1.3", config_path=str(tmp_path / "conf"), config_name="main")(shells.job(work))
        with pytest.raises(SystemExit) as stop:
            shells.run(shell)
        return stop.value.code

    return call


@pytest.fixture
def warned(monkeypatch):
    """What the callback warns of."""
    told: list[str] = []
    monkeypatch.setattr(sweep_end.log, "warning", lambda text, *values: told.append(text % values))
    return told


def test_a_sweep_ends_with_its_leaderboard(start, tmp_path, warned):
    assert start("-m", "n=1,3") == 0
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        assert [row["n"] for row in csv.DictReader(file)] == ["1", "3"]
    assert not warned


def test_a_sweep_with_a_failed_job_has_its_leaderboard_too(start, tmp_path):
    assert start("-m", "n=1,2,3") == 2
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == ["1", "3", ""]
    assert rows[2]["failed"] == "n=2: two is too few"
    assert (tmp_path / "out" / "leaderboard.html").is_file()


def test_a_sweep_without_a_judged_job_says_so(start, tmp_path, warned):
    assert start("-m", "n=2", "seed=0,1") == 2
    assert not (tmp_path / "out" / "leaderboard.html").exists()
    assert len(warned) == 1
    assert warned[0].startswith("no leaderboard: no judged run under")


def test_a_single_run_has_no_leaderboard(start, tmp_path):
    assert start("n=1") == 0
    assert not (tmp_path / "out" / "leaderboard.html").exists()


def test_the_real_program_has_the_callback():
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("find_vectors", return_hydra_config=True)
    assert isinstance(instantiate(cfg.hydra.callbacks.leaderboard), sweep_end.Leaderboard)
