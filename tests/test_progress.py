"""Bars in a terminal, a line a minute in a log."""

import ast
import sys
from types import SimpleNamespace

import pytest
from conftest import PROJECT

from ohlora_gan import progress
from ohlora_gan.progress import Bar


@pytest.fixture
def clock(monkeypatch):
    """``clock(seconds)`` moves the time that log lines go by."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_a_log_gets_a_line_a_minute_and_short_work_none(capsys, clock):
    with Bar(desc="sampling", total=100) as bar:
        for _ in range(100):
            clock(1)
            bar.set_postfix(loss=1)  # which draws a bar at once
            bar.update()
    said = capsys.readouterr()
    assert not said.out
    assert "\r" not in said.err
    lines = said.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("sampling: ")
    assert "/100 [" in lines[0]
    with Bar(desc="short", total=2) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(Bar(["a", "b"], desc="reading")) == ["a", "b"]
    said = capsys.readouterr().err
    assert "\rreading: 100%" in said
    assert "2/2 [" in said


def test_no_work_draws_a_bar_of_its_own():
    source, found = PROJECT / "src" / "ohlora_gan", []
    for path in source.rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        found += [path.name for call in calls if isinstance(call, ast.Name) and call.id in ("tqdm", "trange", "track")]
    assert found == []


@pytest.mark.parametrize(("config", "drawn"), [({"IPKernelApp": {}}, True), ({}, False), (None, False)])
def test_a_notebook_draws_bars_and_a_module_that_is_there_does_not(monkeypatch, config, drawn):
    shell = None if config is None else SimpleNamespace(config=config)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    assert progress.is_drawn() is drawn
