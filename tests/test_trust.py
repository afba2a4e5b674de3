"""What a stranger's configs may start: nothing but what is ours, or of packages that the user trusts by name."""

import re
import sys

import hydra
import pytest
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ohlora_gan import trust
from ohlora_gan.errors import UserError
from ohlora_gan.pipelines import shells

pytestmark = pytest.mark.usefixtures("forgotten")
EVIL = {
    "a finder": ("method.finder", {"_target_": "subprocess.check_output", "args": ["touch", "RAN"]}),
    "a helper of ours that imports anything": ("layer", {"_target_": "ohlora_gan.models.wrapped.call_factory"}),
    "a part of a part": ("strips", {"rows": [{"_target_": "builtins.eval", "_args_": ["1"]}]}),
    "a callback of Hydra": ("hydra", {"callbacks": {"x": {"_target_": "pathlib.Path.touch", "self": "RAN"}}}),
    "a launcher": ("hydra", {"launcher": {"_target_": "os.system"}}),
    "a reference": ("hydra", {"callbacks": {"x": "${oc.create:{_target_:os.system}}"}}),
    "a log handler": ("hydra", {"job_logging": {"handlers": {"x": {"()": "os.system", "command": "touch RAN"}}}}),
    "a class of logging": ("hydra", {"hydra_logging": {"handlers": {"x": {"class": "logging.handlers.SMTPHandler"}}}}),
    "what logging imports": ("hydra", {"job_logging": {"handlers": {"console": {"stream": "ext://os.environ"}}}}),
    "an environment": ("hydra", {"job": {"env_set": {"LD_PRELOAD": "x.so"}}}),
}


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """``start(config, *words) -> (exit code, stderr)``: find_vectors.py with a stranger's whole config."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.chdir(tmp_path)

    def call(content, *words):
        (tmp_path / "configs").mkdir(exist_ok=True)
        head = "defaults: [find_vectors, _self_]\n"
        (tmp_path / "configs" / "theirs.yaml").write_text(head + OmegaConf.to_yaml(OmegaConf.create(content)))
        folder = ["--config-dir", "configs", "--config-name", "theirs", f"paths.output_dir={tmp_path / 'run'}"]
        monkeypatch.setattr(sys, "argv", ["find_vectors.py", *folder, *words])
        shell = hydra.main(version_base="1.3", config_path=str(PROJECT / "conf"), config_name="find_vectors")
        with pytest.raises(SystemExit) as stop:
            shells.run(shell(shells.job(lambda cfg: trust.instantiate(cfg.layer))), experiments="vectors")
        return stop.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("what", EVIL)
def test_a_strangers_config_starts_nothing(start, tmp_path, what):
    key, node = EVIL[what]
    content = node
    for name in reversed(key.split(".")):
        content = {name: content}
    code, said = start(content)
    assert code == 2
    assert re.fullmatch("error: .*(which no config may start|by the command line alone): leave it out\n", said)
    assert not (tmp_path / "RAN").exists()
    assert not (tmp_path / "run").exists()


def test_what_a_reference_comes_to_is_checked(start):
    code, said = start({"layer": "${oc.create:{_target_:pathlib.Path}}"})
    assert (code, "_target_ is pathlib.Path, which no config may start" in said) == (2, True)


def test_a_package_is_trusted_by_name_and_on_the_command_line_alone(start, own_module):
    own_module("their_layers", "from ohlora_gan.latents.layers import W as Layer\n")
    layer = {"layer": {"_target_": "their_layers.Layer"}}
    code, said = start(layer)
    assert code == 2
    assert "layer._target_ is their_layers.Layer, which no config may start" in said
    assert "trust=their_layers" in said
    assert start(layer | {"trust": ["their_layers"]})[0] == 2
    assert start(layer, "trust=[their_layers]") == (0, "")


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("+logger.wandb.api_key=abc", "would be kept in the run's files"),
        ("logger.token=abc", "would be kept in the run's files"),
        ("--experimental-rerun=config.pickle", "unpickles a file"),
    ],
)
def test_words_that_no_command_line_should_have(word, answer):
    with pytest.raises(UserError, match=answer):
        trust.check_words(["n=10", word])


def test_a_token_of_the_environment_is_kept_nowhere(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    with pytest.raises(UserError, match="the settings hold the value of WANDB_API_KEY"):
        trust.check_secrets("command: python train.py x=0123456789abcdef\n")
    trust.check_secrets("command: python train.py\n")


@pytest.mark.parametrize("program", ["-c 'import os'", "evil.py", "../train.py", None])
def test_a_stage_of_the_chain_is_one_of_our_programs(program):
    with pytest.raises(UserError, match=r"expected train\.py, find_vectors\.py"):
        trust.check_stage("v9", {"program": program})
    with pytest.raises(UserError, match="may not say whom to trust"):
        trust.check_stage("v9", {"program": "train.py", "settings": {"trust": ["os"]}})


def test_all_our_configs_are_allowed():
    """Each choice of each group, and the programs' own."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        for path in sorted((PROJECT / "conf").rglob("*.yaml")):
            content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
            for key, node in trust.nodes(content):
                if "_target_" in node:
                    trust.check_target(key, node["_target_"], ())
        for name in ("train", "find_vectors", "chain"):
            trust.check_composed(compose(name, return_hydra_config=True))
