"""Files that programs write again and again: a kill at any moment leaves the old one or the new one, whole."""

import ast
import json
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import PROJECT
from omegaconf import OmegaConf
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ohlora_gan.data.datasets import Normalization
from ohlora_gan.data.labels import Rows
from ohlora_gan.data.pictures import write_skipped
from ohlora_gan.directions.files import DirectionSet, save_directions
from ohlora_gan.errors import sentence
from ohlora_gan.files import (
    MACHINE,
    add_records,
    claim,
    remove_leftovers,
    replacing,
    save_png,
    write_json,
    write_records,
    write_rows,
    write_text,
)
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.saved import SavedLatents, append_sweep_row, save_latents
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from ohlora_gan.pipelines.chain import Stage
from ohlora_gan.pipelines.train import save_config
from ohlora_gan.reports.pages import save_animation, write_page
from ohlora_gan.training.callbacks import LastCheckpoint, ScoreMeans
from ohlora_gan.training.loggers import WholeCSVLogger
from tests import tiny


def save_run(folder, content):
    """Saves as trainers do once `LastCheckpoint` has set them up."""
    trainer = SimpleNamespace(strategy=SimpleNamespace(checkpoint_io=TorchCheckpointIO()))
    LastCheckpoint(folder).setup(trainer, None, "fit")
    trainer.strategy.checkpoint_io.save_checkpoint({"content": content}, folder / "last.ckpt")


def log_figures(folder, version):
    logger = WholeCSVLogger(folder, name="csv", version=0)
    logger.experiment.metrics_file_path = str(folder / "metrics.csv")
    logger.log_metrics({"loss": version}, 0)
    logger.save()


def score(folder, version):
    scores = ScoreMeans(folder)
    scores.rows = [{"epoch": version}]
    scores.write()


def keep_rows(folder, version):
    rows = Rows(folder / "labels.csv", ["eyes"])
    rows.cells = {str(version): ("1",)}
    rows.keep(rows.cells)


WRITERS = {
    "text": lambda folder, v: write_text(folder / "winners.md", str(v)),
    "json": lambda folder, v: write_json(folder / "metrics.json", {"v": np.float32(v)}),
    "table": lambda folder, v: write_rows(folder / "t.csv", [["v"], [v]]),
    "records": lambda folder, v: write_records(folder / "folds.csv", [{"v": v}]),
    "sweep": lambda folder, v: append_sweep_row(folder / "summary.csv", {"n": v}),
    "labels": keep_rows,
    "skipped": lambda folder, v: write_skipped(folder / "skipped.csv", {"a.png": str(v)}),
    "claim": lambda folder, _: claim(folder, "sample.json", {}, "pictures"),
    "stage": lambda folder, v: Stage("v1", "train.py", folder).write_record(key=v),
    "config": lambda folder, v: save_config(OmegaConf.create({"paths": {"output_dir": str(folder)}, "seed": v}), {}),
    "normalization": lambda folder, v: Normalization({"eyes": v}, {"eyes": 1.0}).save(folder / "normalization.json"),
    "picture": lambda folder, v: save_png(folder / "a.png", np.full((8, 8, 3), v, np.uint8)),
    "gif": lambda folder, v: save_animation(folder / "a.gif", np.full((2, 8, 8, 3), v, np.uint8)),
    "webp": lambda folder, v: save_animation(folder / "a.webp", np.full((2, 8, 8, 3), 60 * v, np.uint8)),
    "page": lambda folder, v: write_page(
        folder / "report.html", "base.html.j2", title=str(v), subtitle="", created="", sections={}
    ),
    "weights": lambda folder, v: checkpoint.save(folder / "m.safetensors", {"scorer": tiny.scorer(seed=v)}),
    "directions": lambda folder, v: save_directions(
        folder / "vectors.safetensors", DirectionSet(np.eye(3)[:, None], ["all"], "w", f"method {v}", {})
    ),
    "latents": lambda folder, v: save_latents(
        folder / "latents.safetensors", SavedLatents(np.full((1, 4), v), np.zeros((1, 0)), [], np.zeros(1), {}, {})
    ),
    "bank": lambda folder, v: ScoreBank(folder, FaceSpace(tiny.generator(), tiny.scorer())).write(
        folder / "scores.safetensors", bytes([v])
    ),
    "last.ckpt": save_run,
    "metrics.csv": log_figures,
    "train_log.csv": score,
}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_fails_before_its_end_leaves_the_old_file(tmp_path, monkeypatch, write):
    write(tmp_path, 1)
    before = contents(tmp_path)
    assert before
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, 2)
    assert contents(tmp_path) == before


def fail(*_):
    raise KeyboardInterrupt


def half(path):
    with replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path):
    path = write_text(tmp_path / "new" / "a.txt", "old")
    with pytest.raises(ZeroDivisionError):
        half(path)
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_errors_name_the_file_that_was_to_be_written(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path, "text")
    assert str(caught.value).endswith(f"Is a directory: '{tmp_path}'")
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match=r"exists: '\S+/a'$|directory: '\S+/a'$"):
        write_text(tmp_path / "a" / "b.txt", "text")


def started(work, *arguments):
    """A process that works."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def kill_own(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_file(write, folder):
    """Writes, and is killed when all but the last step is done."""
    Path.replace = kill_own
    write(folder, 2)


@pytest.mark.parametrize("name", ["last.ckpt", "bank", "weights", "json"])
def test_a_kill_before_the_end_leaves_the_old_file_and_the_next_program_clears_up(tmp_path, monkeypatch, name):
    # as where the folder of temporary files is on another disk: nothing may go through it
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    WRITERS[name](tmp_path, 1)
    before = contents(tmp_path)
    process = started(half_a_file, WRITERS[name], tmp_path)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    after = contents(tmp_path)
    (left,) = set(after) - set(before)
    assert left.endswith(f"-{process.pid}.partial")
    assert {file: after[file] for file in before} == before
    remove_leftovers.cache_clear()  # as in the next program
    WRITERS[name](tmp_path, 1)
    assert contents(tmp_path) == before


def test_what_others_are_writing_is_left_alone(tmp_path):
    names = [f"a.{MACHINE}-{os.getppid()}.partial", "a.0123ab-999999999.partial", "my.partial"]
    old = tmp_path / "b.0123ab-999999999.partial"
    for path in (*(tmp_path / name for name in names), old):
        path.touch()
    os.utime(old, (0, 0))
    write_text(tmp_path / "a", "text")
    assert {path.name for path in tmp_path.iterdir()} == {*names, "a"}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_files_are_for_others_to_read_as_the_user_lets_them(tmp_path, write):
    before = os.umask(0o027)
    try:
        write(tmp_path, 1)
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o640, path


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_told_with_the_file_and_leaves_the_old_one(tmp_path, write):
    write(tmp_path, 1)
    before, (_, most) = contents(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        with pytest.raises((OSError, ValueError)) as caught:
            write(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert contents(tmp_path) == before
    assert str(tmp_path) in str(sentence(caught.value))


def test_rows_are_added_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.csv"
    write_records(path, [{"a": 1, "b": "=x"}])
    add_records(path, [{"b": "=y"}], ["a", "b"])
    assert path.read_text() == "a,b\n1,'=x\n,'=y\n"
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))  # as on a full disk, but for the word
    try:
        with pytest.raises(OSError, match=str(path)):
            add_records(path, [{"a": 123456789}], ["a", "b"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_text() == "a,b\n1,'=x\n,'=y\n"


def write_for_ever(path):
    for number in range(10**9):
        write_json(path, [number] * 20_000)


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "metrics.json"
    for milliseconds in range(1, 30, 7):
        process = started(write_for_ever, path)
        while not path.exists():
            time.sleep(0.001)
        time.sleep(milliseconds / 1000)
        process.kill()
        process.join(60)
        content = json.loads(path.read_text())
        assert content == [content[0]] * 20_000


# ---------------------------------------------------------------------- no program writes otherwise

WRITES = {"write_text", "write_bytes", "save_file", "savefig"}
ELSEWHERE = {  # what is no file that anybody reads, or grows line by line and is mended when it is opened
    "data/landmarks.py": "open",  # os.devnull
    "data/labels.py": "open",  # adds rows
    "files.py": "open",  # add_records: whole lines, by one call
    "reports/plots.py": "savefig",  # into memory
}
SOURCE = PROJECT / "src" / "ohlora_gan"


def direct_writes(node, inside=False):
    """Names of the calls that write a file in no ``with replacing(...)``."""
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items]
        inside |= any(isinstance(c, ast.Call) and getattr(c.func, "id", "") == "replacing" for c in calls)
    if isinstance(node, ast.Call) and not inside:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        modes = {value.value for value in given if isinstance(value, ast.Constant)} & {"w", "a", "x", "wb", "ab", "xb"}
        is_function = isinstance(node.func, ast.Name) and name in ("write_text", "write_bytes")  # ours
        if (name in WRITES and not is_function) or (name == "open" and modes):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from direct_writes(child, inside)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_writes_into_a_file_that_is_there(path):
    allowed = ELSEWHERE.get(path.relative_to(SOURCE).as_posix())
    found = [name for name in direct_writes(ast.parse(path.read_text(encoding="utf-8"))) if name != allowed]
    assert not found, f"{path.name} calls {', '.join(found)}: write with ohlora_gan.files.replacing"
