"""The wheel holds all that the commands need: what is unpacked from it works in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import PROJECT

MAX_WHEEL = 45_000_000
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
KEPT = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "train.py", "find_vectors.py", "conf", "src")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the project, as ``pip wheel .`` makes it."""
    pytest.importorskip("setuptools", minversion="68")
    copy, made = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in KEPT:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        source = PROJECT / name
        shutil.copytree(source, copy / name, ignore=ignored) if source.is_dir() else shutil.copy(source, copy)
    built = subprocess.run([sys.executable, "-c", BUILD, str(made)], cwd=copy, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return made / built.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def ohlora(wheel, tmp_path_factory):
    """``ohlora(*words)``: the command line of the unpacked wheel, in an empty folder."""
    place, empty = tmp_path_factory.mktemp("site-packages"), tmp_path_factory.mktemp("empty")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)

    def call(*words: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(place), "HYDRA_FULL_ERROR": "0"}
        command = [sys.executable, "-m", "ohlora_gan", *words]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=300)

    return call


def test_everything_is_in_it_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = PROJECT / "src" / "ohlora_gan"
    wanted = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    configs = list((PROJECT / "conf").rglob("*.yaml"))
    programs = [PROJECT / "train.py", PROJECT / "find_vectors.py"]
    expected = {f"ohlora_gan/{path.relative_to(source)}" for path in wanted}
    expected |= {f"ohlora_gan/project/{path.relative_to(PROJECT)}" for path in (*configs, *programs)}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert wheel.stat().st_size < MAX_WHEEL


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["find-vectors", "--cfg", "job"], 0, "checkpoint: v9"),
        (["train", "--help"], 0, "  ohlora train model=finetune_v1"),
        (["train", "modle=v9"], 2, "unknown key 'modle': did you mean model=? `ohlora train --cfg job`"),
        (["find-vectors", "model=v9"], 2, "ohlora find-vectors has no group 'model': it is one of ohlora train\n"),
        (["chain", "--cfg", "job"], 0, "pretrain/model.safetensors"),
        (["chain", "only=[nope]"], 2, "only names nope, expected some of pretrain"),
        (["sample", "v9", "1", "--output", "faces"], 0, "faces"),
    ],
)
def test_it_works_in_an_empty_folder(ohlora, words, code, told):
    result = ohlora(*words)
    assert result.returncode == code, result.stderr
    assert told in result.stdout + result.stderr


def test_a_stage_of_the_chain_finds_its_program(ohlora):
    result = ohlora("chain", "only=[v9]", "device=cpu")
    assert result.returncode == 2
    assert "[1/1] v9: ohlora train device=cpu" in result.stdout
    assert "error: checkpoint 'runs/chain/smoke/v1/model.safetensors' does not exist" in result.stderr
    assert "error: stage v9 failed (exit code 2)" in result.stderr


def test_each_extra_is_named_in_the_docs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    extras = re.findall(r"^Provides-Extra: (\S+)$", metadata, flags=re.MULTILINE)
    page = (PROJECT / "docs" / "get_started.md").read_text(encoding="utf-8")
    assert {"dev", "docs", "landmarks"} <= set(extras)
    assert [extra for extra in extras if f"`[{extra}]`" not in page] == []
