"""One command line: help at once, words that are suggested, exit codes, and programs of Hydra behind it."""

import os
import resource
import subprocess
import sys
from dataclasses import dataclass

import pytest
import typer
from conftest import PROJECT

from ohlora_gan import __main__ as command_line
from ohlora_gan import options
from ohlora_gan.__main__ import app, main
from ohlora_gan.commands import flat
from ohlora_gan.errors import Terminated, UserError

COMMANDS = typer.main.get_command(app).commands
HYDRA = {"train": "train.py", "find-vectors": "find_vectors.py", "chain": "chain"}
HEAVY = ("torch", "numpy", "hydra", "omegaconf", "sklearn", "matplotlib", "pandas", "PIL", "safetensors")
LOADED = "import atexit, sys; atexit.register(lambda: print('LOADED', *(m for m in {heavy} if m in sys.modules)))"


def python(*arguments, **more):
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    environment["PYTHONPATH"] = str(PROJECT / "src")
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **more)


def children_seconds() -> float:
    """User CPU time of the processes started until now."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


@pytest.fixture(scope="module")
def torch_seconds() -> float:
    """What importing torch alone takes: the yardstick, on a busy machine too."""
    before = children_seconds()
    assert python("-c", "import torch").returncode == 0
    return children_seconds() - before


def test_every_help_comes_without_a_network_and_in_a_part_of_its_time(torch_seconds):
    before = children_seconds()
    helps = [[], *([name] for name in COMMANDS if name not in HYDRA)]
    calls = "; ".join(f"main({[*words, '--help']})" for words in helps)
    loaded = LOADED.format(heavy=HEAVY)
    result = python("-c", f"{loaded}; from ohlora_gan.__main__ import main; {calls}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].split() == ["LOADED"]
    assert children_seconds() - before < len(helps) * torch_seconds / 3


@pytest.mark.parametrize("name", HYDRA)
def test_the_help_of_hydras_programs_comes_before_torch_would_be_imported(name, torch_seconds):
    start = "from ohlora_gan.__main__ import main; main(['chain', '--help'])"
    if name != "chain":
        program = HYDRA[name]
        start = f"import runpy; sys.argv = ['{program}', '--help']; runpy.run_path('{program}', run_name='__main__')"
    before = children_seconds()
    result = python("-c", f"{LOADED.format(heavy=('torch', 'sklearn', 'matplotlib'))}; {start}", cwd=PROJECT)
    assert "KEY=VALUE" in result.stdout, result.stderr
    assert result.stdout.splitlines()[-1].split() == ["LOADED"]
    assert children_seconds() - before < torch_seconds


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - HYDRA))
def test_every_command_has_examples_and_common_options(name, capsys):
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Examples:" in said
    assert f"ohlora {name}" in said.partition("Examples:")[2]
    given = {word for param in COMMANDS[name].params for word in param.opts}
    if "--device" in given:
        assert "--seed" in given
    assert "--output" in given or name == "ship"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sampel"], "no such command 'sampel'. Did you mean 'sample'? `ohlora --help`"),
        (["sample", "v9", "3", "--ouput", "x"], "no such option: --ouput (Possible options: --output): `ohlora sample"),
        (["sample", "v9", "3"], "missing option '--output': `ohlora sample --help` says what it takes"),
        (["sample", "v9", "many", "--output", "x"], "N is many, expected a whole number: `ohlora sample --help`"),
        (["sample", "v9", "3.5", "--output", "x"], "N is 3.5, expected a whole number: `ohlora sample --help`"),
        (["sample", "v9", "3", "--output", "x", "--seed="], "--seed is empty, expected a whole number"),
        (["sample", "v9", "3", "--output", "x", "--psi", "0,7"], "--psi is 0,7, expected a number: `ohlora sample"),
        (["sample", "v9", "-5", "--output", "x"], "-5 stands where a number of 0 or more, or an option, is expected"),
        (["render", "-.5", "--output", "x"], "-.5 stands where a number of 0 or more, or an option, is expected"),
        (
            ["sample", "v9", "3", "-output", "x"],
            "-output is no option: options begin with two dashes, such as --output",
        ),
        (["compare", "x", "--judge"], "--judge has no value: give one behind it: `ohlora compare --help`"),
        (["sample", "v9", "3", "4", "5", "--output", "x"], "unexpected 4 5, expected GENERATOR, N: `ohlora sample"),
        (["doctor", "all"], "unexpected all, expected options alone: `ohlora doctor --help`"),
        (["dashboard", "--local", "nix"], "nix is no folder: give one that holds runs"),
        (["runs", "pyproject.toml"], "pyproject.toml is no folder: give one that holds runs"),
        (["inspect", "train.py"], "train.py is no file of weights: expected .safetensors, a torch file"),
        (["inspect", "conf"], "conf is a folder without weights: expected a run folder"),
        (["render", "3", "--output", "train.py"], "--output train.py is a file: choose a new or an empty folder"),
        (["sample", "v9", "3", "--output", "x", "--seed", "-1"], "--seed is -1, expected 0 to"),
        (["sample", "v9", "3", "--output", "x", "--device", "tpu"], "'tpu' is not one of 'auto', 'cpu'"),
        (["label", "a", "--output", "x", "--top", "mouth"], "--top mouth, expected NAME=VALUE such as mouth=10"),
        (["label", "a", "--output", "x", "--top", "mouth=0"], "--top asks for 0 pictures"),
        (["label", "a", "--output", "x", "--maps", "b", "--segmenter", "c:d"], "both say where maps come from"),
        (["parse-folder", "a", "--raw", "--normalization", "b"], "--raw and --normalization contradict each other"),
    ],
)
def test_wrong_words_end_in_one_sentence(monkeypatch, capsys, words, told):
    monkeypatch.chdir(PROJECT)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["sample", "my_genrator.pth", "1", "--output", "x"], "my_generator.pth"),
        (["inspect", "my_generator.pt"], "my_generator.pth"),
        (["edit", "runs/vectrs", "--set", "eyes=1"], "runs/vectors"),
        (["compare", "runs/vectosr", "--output", "x"], "runs/vectors"),
        (["runs", "rusn"], "runs"),
        (["label", "runs/vectorss", "--output", "x"], "runs/vectors"),
        (["import-vectors", "my_genrator.pth", "--layer", "w"], "my_generator.pth"),
    ],
)
def test_a_mistyped_file_is_answered_with_the_one_that_is_there(words, near, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_generator.pth").write_bytes(b"")
    (tmp_path / "runs" / "vectors").mkdir(parents=True)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"did you mean {near}? " in said
    assert said.count("\n") == 1


def test_a_device_that_is_not_there(capsys, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["sample", "v9", "3", "--output", str(tmp_path / "x"), "--device", "cuda"]) == 2
    assert "--device cuda needs 1 CUDA GPU(s), 0 found: use --device auto" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from here\n"),
        (Terminated(), 143, "interrupted; the same command goes on from here\n"),
        (RuntimeError("a mistake of ours"), 1, "Traceback"),
        (ValueError("out of a library"), 1, "Traceback"),
        (PermissionError(13, "Permission denied", "x"), 2, "error: cannot use x (Permission denied): give another"),
        (OSError(28, "No space left on device", "x"), 2, "free some space"),
    ],
)
def test_exit_codes(monkeypatch, capsys, error, code, told):
    def fail(*_):
        raise error

    monkeypatch.setattr("ohlora_gan.commands.faces.write_samples", fail)
    assert main(["sample", "v9", "3", "--output", "x"]) == code
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train", "find-vectors"])
def test_words_of_a_hydra_program_are_handed_over(name, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(command_line.os, "execv", lambda program, words: seen.append((program, words)))
    monkeypatch.chdir(tmp_path)  # the configs are found from anywhere
    words = ["-m", "model=a,b", "+x.y=[1,2]", "~z", "--cfg", "job", "--help", "hydra.mode=RUN"]
    assert main([name, *words]) == 0
    assert seen == [(sys.executable, [sys.executable, str(PROJECT / HYDRA[name]), *words])]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["train", "modle=pretrain"], 2, "did you mean model=? `ohlora train --cfg job`"),
        (["find-vectors", "method=svn"], 2, "unknown method 'svn'"),
        (["chain", "scale=nope"], 2, "unknown scale 'nope': expected one of celeba64, mini, reference, smoke"),
        (["chain", "scael=smoke"], 2, "unknown key 'scael': did you mean scale=? `ohlora chain --cfg job`"),
        (["chain", "only=[nope]", "device=cpu"], 2, "only names nope, expected some of pretrain"),
        (["chain", "--cfg", "job", "device=cpu", "logger=none"], 0, ""),
    ],
)
def test_real_programs(words, code, told, tmp_path):
    folder = [] if "--cfg" in words else [f"paths.output_dir={tmp_path / 'out'}"]
    result = python("-m", "ohlora_gan", *words, *folder, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert told in result.stderr
    if "device=cpu" in words and not code:
        assert "common:\n  device: cpu\n  logger: none\n" in result.stdout


def test_an_installed_package_reads_its_own_configs(monkeypatch, tmp_path):
    assert command_line.project() == PROJECT
    monkeypatch.setattr(command_line, "__file__", str(tmp_path / "ohlora_gan" / "__main__.py"))
    (tmp_path / "ohlora_gan" / "project").mkdir(parents=True)
    assert command_line.project() == tmp_path / "ohlora_gan" / "project"


def test_bounds_and_pairs():
    assert options.read_counts("--keep", "gender=1, quality=1", "a=1") == {"gender": 1, "quality": 1}
    assert options.read_counts("--keep", "", "a=1") == {}
    assert options.read_faces("4, 7") == (4, 7)


def test_the_entry_point_is_the_command_line():
    assert 'ohlora = "ohlora_gan.__main__:main"' in (PROJECT / "pyproject.toml").read_text()


@dataclass(frozen=True)
class Frame:
    width: int = options.option(2, "of the frame", between=(1, 9))
    thin: bool = options.option(False, "no frame at all")


@dataclass(frozen=True)
class Sheet:
    faces: tuple[int, ...] = options.option((0, 1), "which", "NUMBERS", typed=str, read=options.read_faces)
    frame: Frame = options.group(Frame, "Frames")
    given: str = "not an option"


def test_fields_of_dataclasses_are_options(capsys):
    seen = []

    def draw(name: str, sheet: Sheet, *, loud: bool = False) -> int:
        """Draws."""
        seen.append((name, sheet, loud))
        return 0

    drawing = typer.Typer()
    drawing.command()(flat(draw))
    command = typer.main.get_command(drawing)
    assert [param.name for param in command.params][:5] == ["name", "faces", "width", "thin", "loud"]
    assert command.main(["a"], standalone_mode=False) == 0
    assert command.main(["b", "--faces", "4, 7", "--thin", "--width", "9"], standalone_mode=False) == 0
    assert seen == [("a", Sheet(), False), ("b", Sheet((4, 7), Frame(9, True)), False)]
    with pytest.raises(UserError, match="--width is 10, expected 1 to 9"):
        command.main(["c", "--width", "10"], standalone_mode=False)
