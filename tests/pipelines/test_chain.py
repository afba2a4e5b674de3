import json
import os
import subprocess
import sys
import textwrap
import time

import pytest
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.errors import UserError
from ohlora_gan.files import locked
from ohlora_gan.pipelines.chain import Stage, StageError, literal, run_chain

WORKER = """
    import json, os, pathlib, sys
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    folder = pathlib.Path(given["paths.output_dir"])
    with open("calls.jsonl", "a") as file:
        file.write(json.dumps(given | {"full_error": os.environ.get("HYDRA_FULL_ERROR")}) + "\\n")
    if given.get("end") == "early" and "ckpt_path" not in given:
        (folder / "last.ckpt").write_text("half")
        sys.exit(130)
    if given.get("end") == "badly":
        sys.exit(2)
    if given.get("end") != "empty":
        (folder / "model.safetensors").write_text("made with " + given.get("size", "nothing"))
    (folder / "metrics.json").write_text(json.dumps({"quality": 0.5}))
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text(textwrap.dedent(WORKER))
    return tmp_path


def chain(root, only=None, skip=None, **settings) -> DictConfig:
    """Two stages, the second of which starts from the first one's output."""
    first = {"program": "work.py", "settings": {"size": 1} | settings, "figures": ["quality"]}
    start = "${paths.output_dir}/first/model.safetensors"
    second = {"program": "work.py", "settings": {"checkpoint": start}}
    stages = {"first": first, "second": second, "left_out": None}
    return OmegaConf.create(
        {"paths": {"output_dir": str(root / "out")}, "common": {}, "only": only, "skip": skip, "stages": stages}
    )


def calls(root) -> list[dict[str, str]]:
    path = root / "calls.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_each_stage_runs_once(root):
    run_chain(chain(root), root)
    assert [call["paths.output_dir"] for call in calls(root)] == ["out/first", "out/second"]
    run_chain(chain(root), root)
    assert calls(root) == []


def test_stages_run_in_the_environment_that_is_given(root):
    run_chain(chain(root), root, {**os.environ, "HYDRA_FULL_ERROR": "no"})
    assert [call["full_error"] for call in calls(root)] == ["no"] * 2


def test_a_change_runs_what_depends_on_it_and_keeps_the_old_folder(root):
    run_chain(chain(root), root)
    calls(root)
    run_chain(chain(root, size=2), root)
    assert len(calls(root)) == 2
    assert (root / "out" / "first.1" / "model.safetensors").read_text() == "made with 1"
    assert (root / "out" / "first" / "model.safetensors").read_text() == "made with 2"


def test_a_change_with_the_same_output_leaves_later_stages(root):
    run_chain(chain(root), root)
    calls(root)
    run_chain(chain(root, note="no effect"), root)
    assert [call["paths.output_dir"] for call in calls(root)] == ["out/first"]


def test_a_lost_output_is_made_again(root):
    run_chain(chain(root), root)
    calls(root)
    (root / "out" / "first" / "model.safetensors").unlink()
    run_chain(chain(root), root)
    assert [call["paths.output_dir"] for call in calls(root)] == ["out/first"]


def test_an_interrupted_training_goes_on_from_its_checkpoint(root):
    with pytest.raises(KeyboardInterrupt):
        run_chain(chain(root, end="early", checkpoint="pretrain"), root)
    assert calls(root)[0]["checkpoint"] == "pretrain"
    run_chain(chain(root, end="early", checkpoint="pretrain"), root)
    first, second = calls(root)
    assert first["ckpt_path"] == "out/first/last.ckpt"
    assert "checkpoint" not in first
    assert second["checkpoint"] == "out/first/model.safetensors"


@pytest.mark.parametrize(("end", "message"), [("badly", "exit code 2"), ("empty", "ended without")])
def test_a_failure_stops_the_chain(root, end, message):
    with pytest.raises(StageError, match=message):
        run_chain(chain(root, end=end), root)
    assert len(calls(root)) == 1


def test_a_shared_cache_is_no_input_but_a_folder_of_pictures_is(root):
    (root / "out" / "cache").mkdir(parents=True)
    (root / "pictures").mkdir()
    settings = {"data.cache_dir": str(root / "out" / "cache"), "data.folder": str(root / "pictures")}
    run_chain(chain(root, **settings), root)
    calls(root)
    (root / "out" / "cache" / "shard").write_text("more")
    run_chain(chain(root, **settings), root)
    assert calls(root) == []
    (root / "pictures" / "new.png").write_text("picture")
    run_chain(chain(root, **settings), root)
    assert [call["paths.output_dir"] for call in calls(root)] == ["out/first"]


def test_where_a_stage_is_logged_decides_nothing(tmp_path):
    stages = [Stage("a", "train.py", tmp_path / "a", {"seed": 1, "logger": name}) for name in ("csv", "wandb")]
    other = Stage("a", "train.py", tmp_path / "a", {"seed": 2, "logger": "csv"})
    assert stages[0].key() == stages[1].key() != other.key()


def test_some_stages_only(root):
    run_chain(chain(root, skip=["second"]), root)
    run_chain(chain(root, only=["second"]), root)
    assert [call["paths.output_dir"] for call in calls(root)] == ["out/first", "out/second"]
    with pytest.raises(StageError, match="third, expected some of first, second"):
        run_chain(chain(root, only=["third"]), root)


HOLDER = """
    import pathlib, subprocess, sys, time
    from ohlora_gan.files import locked
    with locked(pathlib.Path(sys.argv[1])) as lock:
        stage = "import sys; sys.stdin.read()"
        subprocess.Popen([sys.executable, "-c", stage], stdin=sys.stdin, stdout=subprocess.DEVNULL, pass_fds=[lock])
        print("started", flush=True)
        time.sleep(600)
"""


def test_a_stage_that_outlives_a_killed_chain_holds_the_folder(root):
    holder = [sys.executable, "-c", textwrap.dedent(HOLDER), str(root / "out")]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout.readline() == b"started\n"
        killed.kill()
        killed.wait()
        with pytest.raises(UserError, match="another process works in"):
            run_chain(chain(root), root)
    for _ in range(100):  # until the stage, whose input has ended, is gone
        try:
            with locked(root / "out"):
                break
        except UserError:
            time.sleep(0.1)
    run_chain(chain(root), root)


def test_two_chains_do_not_work_in_one_folder(root):
    with locked(root / "out"), pytest.raises(UserError, match="another process works in"):
        run_chain(chain(root), root)
    run_chain(chain(root), root)


def test_generated_pictures_are_settings_of_the_data(root):
    cfg = chain(root)
    cfg.stages.second["generate"] = {"num_generated": 5, "require": {"gender": ">=0.5"}}
    run_chain(cfg, root)
    second = calls(root)[1]
    assert second["data"] == "generated"
    assert second["data.num_generated"] == "5"
    assert second["data.require"] == "{gender:'>=0.5'}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        (2e-3, "0.002"),
        ("a/b.zip", "a/b.zip"),
        ([1, "x"], "[1,x]"),
        ({"gender": ">=0.92"}, "{gender:'>=0.92'}"),
        ("not Male", "'not Male'"),
    ],
)
def test_values_are_written_as_hydra_reads_them(value, text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert literal(value) == text
    assert OverridesParser.create().parse_override(f"key={text}").value() == value
