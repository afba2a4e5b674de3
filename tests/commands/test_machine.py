"""What is there: the machine, and runs in a folder."""

import json
import os
import re
import threading
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from ohlora_gan.__main__ import main
from ohlora_gan.commands import machine
from ohlora_gan.directions.files import DirectionSet, save_directions
from ohlora_gan.models import checkpoint, zoo
from tests import tiny
from tests.judged_runs import judgement, write_run

FOREIGN = ("mediapipe; python_version < '3' and extra == 'landmarks'",)


class Answer(BaseHTTPRequestHandler):
    """Says that all is well."""

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_sound_machine_is_told_so(monkeypatch, capsys):
    monkeypatch.setattr("ohlora_gan.devices.bf16_speed", lambda: 0.01)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("all is well\n")
    for words in (
        "Python",
        "device=cpu_bf16 is refused",
        "v9: present and readable",
    ):
        assert words in said


def test_memory_is_told_and_what_auto_takes(monkeypatch):
    monkeypatch.setattr("ohlora_gan.devices.bf16_speed", lambda: 0.01)
    found = {finding.what: finding.found for finding in machine.findings()}
    assert float(found["memory"].removesuffix(" GB")) > 0.1
    assert found["device=auto"].split(" in ")[0] in ("cpu", "cuda", "mps")
    assert found["network"].startswith("not asked")


def test_each_extra_is_installed_or_said_to_be_missing(monkeypatch):
    class Package:
        metadata = Message()
        requires = ("torch>=2", "pytest; extra == 'dev'", "no-such-thing>=1; extra == 'explore'", *FOREIGN)

    for extra in ("dev", "explore", "landmarks"):
        Package.metadata["Provides-Extra"] = extra
    real = machine.distribution
    monkeypatch.setattr(machine, "distribution", lambda name: Package if name == "ohlora-gan" else real(name))
    found = {finding.what: finding.found for finding in machine.extras()}
    assert found == {
        "extra dev": "installed",
        "extra explore": "no-such-thing not installed, only needed to move sliders in a browser: "
        "pip install 'ohlora_gan[explore]'",
        "extra landmarks": "not for this Python",
    }


@pytest.mark.parametrize(("port", "told"), [(9, "does not answer"), (None, "answers: checkpoint=hf://")])
def test_the_network_is_asked_once(monkeypatch, port, told):
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port or server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert told in machine.network().found
    server.server_close()


def test_what_is_wrong_is_told_with_its_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("ohlora_gan.devices.bf16_speed", lambda: 2.0)
    monkeypatch.setattr(zoo, "ASSETS", tmp_path)
    path = checkpoint.save(tmp_path / "mine.safetensors", {"scorer": tiny.scorer()})
    path.with_suffix(".json").write_text(json.dumps({"sha256": "another"}))
    monkeypatch.setattr(machine, "LOW_DISK", 1e18)
    assert main(["doctor"]) == 2
    said = capsys.readouterr()
    assert "BAD shipped models   mine is another file than its provenance says" in said.out
    assert (
        said.err == "error: shipped models: get the project's files again; disk: free some space, runs and banks grow\n"
    )


@pytest.fixture
def folder(tmp_path):
    """Runs: one judged, one trained, one that failed, one that stopped."""
    write_run(tmp_path / "vectors", judgement("svm", "w", 1000, 2.5), task="find_vectors", method={"name": "svm"})
    (tmp_path / "vectors" / "metrics.json").write_text("{}")
    for name, files in {"trained": ["metrics.json"], "failed": ["failed.txt"], "stopped": ["last.ckpt"]}.items():
        run = tmp_path / name
        run.mkdir()
        config = {"task": "train", "model": {"name": "finetune_v9"}, "command": "python train.py"}
        OmegaConf.save(config, run / "config.yaml")
        for file in files:
            (run / file).write_text('{"test/r2_mean": 0.75}')
    long_ago = time.time() - 1000
    for file in [path for path in tmp_path.rglob("*") if path.is_file()]:
        os.utime(file, (long_ago, long_ago))
    return tmp_path


def test_runs_are_listed(folder, capsys):
    assert main(["runs", str(folder)]) == 0
    said = capsys.readouterr().out
    rows = {Path(line.split()[-1]).name: line for line in said.splitlines() if line.startswith("2")}
    assert "svm at w" in rows["vectors"]
    assert "sum of correlations 2.50 of 3  done" in rows["vectors"]
    assert "finetune_v9  R² 0.750" in rows["trained"]
    assert f"  failed      {folder / 'failed'}\n    {{" in said  # what failed.txt says
    assert f"  unfinished  {folder / 'stopped'}\n    go on with ckpt_path={folder / 'stopped' / 'last.ckpt'}\n" in said
    assert said.endswith(f"4 runs: {folder}\n")
    record = {"state": "interrupted", "seconds": 200.4, "started": "2026-01-02T03:04:05"}
    (folder / "stopped" / "run.json").write_text(json.dumps(record))
    assert main(["runs", str(folder)]) == 0
    first, why = capsys.readouterr().out.splitlines()[1:3]  # by when they began
    assert first.startswith("2026-01-02 03:04  3 min 20 s  train")
    assert "  unfinished  " in first
    assert why.startswith("    go on with")
    (folder / "stopped" / "run.json").unlink()
    (folder / "stopped" / "last.ckpt").touch()
    assert main(["runs", str(folder)]) == 0
    assert "  running  " in capsys.readouterr().out


@pytest.mark.parametrize(("state", "shown"), [("failed", "failed"), ("interrupted", "unfinished")])
def test_the_sentence_that_a_run_ended_with_is_shown(folder, capsys, state, shown):
    (folder / "stopped" / "last.ckpt").unlink()
    why = "n is 0, expected 1 or more: see <docs>"
    record = {"state": state, "seconds": 2.0, "started": "2026-01-02T03:04:05", "why": why}
    (folder / "stopped" / "run.json").write_text(json.dumps(record))
    assert main(["runs", str(folder), "--output", str(folder / "runs.json")]) == 0
    assert re.search(rf"  {shown} +{folder / 'stopped'}\n    {why}\n", capsys.readouterr().out)
    assert f"{shown}: {why}" in [row["state"] for row in json.loads((folder / "runs.json").read_text())]
    assert main(["dashboard", str(folder), "--local"]) == 0
    assert "n is 0, expected 1 or more: see &lt;docs&gt;" in (folder / "dashboard.html").read_text()
    capsys.readouterr()
    assert main(["inspect", str(folder / "stopped")]) == 0
    assert why in capsys.readouterr().out


def test_no_runs_are_told(tmp_path, capsys):
    for path, words in ((tmp_path, "holds no run: start one"), (tmp_path / "no", "is no folder")):
        assert main(["runs", str(path)]) == 2
        assert words in capsys.readouterr().err


def test_a_run_folder_is_described_with_what_it_holds(folder, capsys):
    found = DirectionSet(np.eye(16)[:3, None], ["all"], "w", "svm", provenance={"seed": 3})
    save_directions(folder / "vectors" / "vectors.safetensors", found)
    assert main(["inspect", str(folder / "vectors"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["run"]["state"]) == ("run folder", "done")
    assert said["vectors.safetensors"]["directions"]["values"] == 16
    assert said["vectors.safetensors"]["seed"] == 3


def test_what_is_there_is_written_as_json_too(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("ohlora_gan.devices.bf16_speed", lambda: 0.01)
    write_run(tmp_path / "runs" / "one", judgement())
    for name, words in {"doctor": [], "runs": [str(tmp_path / "runs")], "inspect": ["v9"]}.items():
        path = tmp_path / f"{name}.json"
        assert main([name, *words, "--output", str(path)]) == 0
        assert capsys.readouterr().out.endswith(f"written: {path}\n")
    read = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("doctor", "runs", "inspect")}
    assert read["doctor"][0]["what"] == "Python"
    assert [row["task"] for row in read["runs"]] == ["find_vectors"]
    assert read["inspect"]["networks"]
