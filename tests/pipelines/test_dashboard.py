"""The page over run folders, and the wandb workspace as code."""

import re

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from ohlora_gan.__main__ import main
from ohlora_gan.files import write_json, write_text
from ohlora_gan.pipelines import workspace
from ohlora_gan.reports.dashboard import SECTIONS
from tests.judged_runs import judgement, write_run


@pytest.fixture
def root(tmp_path):
    """Runs of every kind: a sweep with a job that failed, a generator, a scorer, a filter, one that is broken."""
    sweep = tmp_path / "find_vectors" / "one"
    for number, (method, good) in enumerate((("svm", 2.5), ("ridge", 2.75))):
        folder = write_run(sweep / str(number), judgement(method, "w", 1000, good), task="find_vectors")
        write_text(folder / "report.html", "<p>report</p>")
        write_json(folder / "metrics.json", {})
    write_run(sweep / "2", None, task="find_vectors", method={"name": "svm"})
    write_text(sweep / "2" / "failed.txt", "n=5 is too small\n")
    write_text(sweep / "multirun.yaml", "{}")
    runs = {
        "v9": ({"model": {"name": "finetune_v9"}}, {"train/images_seen": 160}),
        "scorer": ({"model": {"name": "property_cnn"}}, {"test/r2_mean": 0.9876}),
        "glass": ({"model": {"name": "filter_cnn"}, "attribute": "glass"}, {"test/auroc": 0.913, "test/accuracy": 0.8}),
    }
    for name, (config, metrics) in runs.items():
        folder = tmp_path / "train" / name
        write_json(folder / "metrics.json", metrics)
        OmegaConf.save({"task": "train", **config}, folder / "config.yaml")
        write_json(folder / "run.json", {"state": "done", "seconds": 3725.0, "started": "2026-01-02T03:04:05"})
    steps = range(1000)
    losses = "\n".join(f"{i},{i % 7},{i % 5}," for i in steps)
    write_text(tmp_path / "train/v9/csv/version_0/metrics.csv", f"step,train/d_loss,train/g_loss,x\n{losses}\n")
    write_text(tmp_path / "train/scorer/csv/version_0/metrics.csv", "step,val/r2_mean\n1,0.5\n2,0.9\n")
    write_text(tmp_path / "train/glass/csv/version_0/metrics.csv", "\0broken")
    (tmp_path / "train/v9/samples").mkdir()
    Image.fromarray(np.zeros((66, 66, 3), np.uint8)).save(tmp_path / "train/v9/samples/batch_000050.png")
    return tmp_path


def test_the_page_shows_all_runs_and_needs_nothing_else(root, capsys):
    assert main(["dashboard", str(root), "--local"]) == 0
    path = root / "dashboard.html"
    assert str(path) in capsys.readouterr().out
    page = path.read_text()
    for id in ("runs", *SECTIONS):
        assert f'<section id="{id}">' in page
        assert f'<a href="#{id}">' in page
    words = ["1 h 02 min", "2026-01-02 03:04", "n=5 is too small", "glass", "0.913", "0.988", "5 done, 1 failed"]
    assert [word for word in words if word not in page] == []
    assert page.index("ridge") < page.index(">svm")  # the best first
    assert 'href="find_vectors/one/1/report.html"' in page
    assert re.findall(r'(?:src|href)="(?!data:|#|find_vectors/)[^"]*', page) == []
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) >= 3  # losses, R², the grid
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)
    assert "loading=" not in page  # a picture that waits to be seen is missing in print
    assert len(page) < 300_000
    assert "prefers-color-scheme: dark" in page


def test_a_sweep_by_optuna_is_one_too(root):
    sweep = root / "find_vectors" / "one"
    (sweep / "multirun.yaml").rename(sweep / "optimization_results.yaml")
    assert main(["dashboard", str(root), "--local"]) == 0
    assert '<section id="sweep">' in (root / "dashboard.html").read_text()


def test_where_it_is_written_is_chosen(root, tmp_path_factory):
    output = tmp_path_factory.mktemp("elsewhere") / "page.html"
    assert main(["dashboard", str(root / "train"), "--local", "--output", str(output)]) == 0
    page = output.read_text()
    assert '<section id="filters">' in page
    assert '<section id="vectors">' not in page
    assert not (root / "train" / "dashboard.html").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--local"], "holds no run: start one with"),
        (["--local", "nowhere"], "nowhere is no folder"),
        ([], "whose workspace is it? give --entity NAME"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert main(["dashboard", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_the_workspace_is_made_offline(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    path = tmp_path / "workspace.json"
    code = main(["dashboard", "--output", str(path)])
    if code:
        assert "needs wandb-workspaces: pip install 'ohlora-gan[dashboard]'" in capsys.readouterr().err
        pytest.skip("wandb-workspaces is not installed")
    spec = workspace.spec(project="mine")
    sections = spec["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections][: len(SECTIONS)] == list(SECTIONS)
    panels = {section["name"]: section["panels"] for section in sections}
    assert [panel["config"].get("chartTitle") for panel in panels["training"][:3]] == [
        "losses of D and G",
        "real or generated",
        "the same faces",
    ]
    assert panels["vectors"][0]["config"]["metrics"] == ["judged/sum_corr"]
    assert len(panels["sweep"]) == 6
    report = workspace.report("me", "mine")
    titles = [block.text for block in report.blocks if type(block).__name__ == "H1"]
    assert titles == [name.capitalize() for name in SECTIONS]
