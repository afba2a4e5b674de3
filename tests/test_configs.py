"""Every config composes and instantiates; cross-field checks say what to do."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from ohlora_gan.chain import read_stages
from ohlora_gan.config import check_find_vectors, check_names, check_train, generation_plan
from ohlora_gan.devices import Device, DeviceUnavailableError
from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.latents.layers import Layer

CONF = Path(__file__).resolve().parents[1] / "conf"


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(name: str, *overrides: str, tmp_path: Path | None = None):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        folder = [] if tmp_path is None else [f"paths.output_dir={tmp_path}"]
        return compose(name, overrides=[*overrides, *folder])


@pytest.mark.parametrize("model", options("model"))
def test_models_and_their_data(model, tmp_path):
    cfg = composed("train", f"model={model}", tmp_path=tmp_path)
    check_train(cfg)
    OmegaConf.to_container(cfg, resolve=True)
    with torch.device("meta"):
        module = instantiate(cfg.model.module)
    assert module.hparams["seed"] == cfg.seed
    data = instantiate(cfg.data)
    assert data.resolution == cfg.resolution
    assert data.sizes["train"] == cfg.model.num_images


@pytest.mark.parametrize("scale", options("scale"))
def test_every_stage_of_a_chain_has_settings_that_its_program_knows(scale, tmp_path):
    needs = "data_folder: ???" in (CONF / "scale" / f"{scale}.yaml").read_text()
    given = ["data_folder=PICTURES"] if needs else []
    stages = read_stages(composed("chain", f"scale={scale}", *given, tmp_path=tmp_path), CONF.parent)
    assert {"pretrain", "v1", "v9", "vectors"} <= {stage.name for stage in stages}
    for stage in stages:
        if stage.program.endswith(".py"):
            program, *overrides = stage.command(resumed=False)
            cfg = composed(Path(program).stem, *overrides)
            OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("group", ["callbacks", "logger", "trainer"])
def test_groups_of_train(group, tmp_path):
    for name in options(group):
        cfg = composed("train", f"{group}={name}", tmp_path=tmp_path)
        made = instantiate(cfg[group])
        if group == "trainer":
            assert made.max_epochs == cfg.model.max_epochs
        else:
            kinds = (Callback, Logger, str)
            assert all(isinstance(value, kinds) for value in made.values())


@pytest.mark.parametrize("name", options("device"))
def test_devices_serve_training_and_sampling_alike(name):
    devices = [instantiate(composed(shell, f"device={name}").device) for shell in ("train", "find_vectors")]
    assert devices[0] == devices[1]
    assert isinstance(devices[0], Device)
    assert devices[0].name == name


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("name", ["cuda", "cuda_bf16", "cuda_amp"])
def test_a_missing_gpu_is_said_at_once(name):
    with pytest.raises(DeviceUnavailableError, match=f"device={name} needs 1 CUDA"):
        instantiate(composed("train", f"device={name}").device).check()


def test_methods_and_layers():
    for name in options("method"):
        cfg = composed("find_vectors", f"method={name}")
        assert isinstance(instantiate(cfg.method.finder), DirectionFinder)
        assert cfg.method.name == name
    for name in options("layer"):
        layer = instantiate(composed("find_vectors", f"layer={name}").layer)
        assert isinstance(layer, Layer)
        assert layer.name == name


@pytest.mark.parametrize("name", options("experiment"))
def test_experiments_compose_with_both_shells(name):
    for shell in ("train", "find_vectors"):
        cfg = composed(shell, f"experiment={name}", "checkpoint=x")
        OmegaConf.to_container(cfg, resolve=True)


def test_reference_256_is_the_published_network(tmp_path):
    cfg = composed("train", "experiment=reference_256", "checkpoint=x", tmp_path=tmp_path)
    with torch.device("meta"):
        module = instantiate(cfg.model.module)
    assert sum(p.numel() for p in module.generator.parameters()) == 28_194_245
    assert sum(p.numel() for p in module.discriminator.parameters()) == 23_052_360


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["n=100"], "n=100 is too small for 16 groups"),
        (["n=5", "groups=none"], "n=5 is too small"),
        (["groups=some"], "groups is 'some'"),
        (["test.num_latents=0"], "num_latents=0"),
        (["strips.num_faces=500"], "num_faces=500"),
        (["test.strengths=loud"], "'loud'"),
        (["seed=half"], "seed is 'half'"),
        (["properties=eyes"], "properties is eyes, expected a list"),
        (["properties=[]"], "properties is"),
        (["properties=[eyes,eyes]"], "different names"),
        (["properties=[a/b]"], "properties names 'a/b'"),
        (["group_by=[a,b,c,d,e]", "n=319"], "n=319 is too small for 32 groups, expected at least 320"),
        (["medians={hair_color: 0.5}"], "medians lack hair_length"),
        (["test.strengths={nose: [0, 1]}"], "test.strengths names nose"),
        (["test.thresholds={eyes: 2}"], "test.thresholds of eyes is 2.0"),
        (["test.thresholds=0.5"], r"test.thresholds is 0\.5"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        check_find_vectors(composed("find_vectors", *overrides))


def test_a_scorer_has_to_measure_what_is_edited_and_grouped_by():
    names = ("lip_color", "hat")
    with pytest.raises(ValueError, match=r"edit: eyes, mouth, pose, expected some of .*: lip_color, hat"):
        check_names(composed("find_vectors"), names)
    with pytest.raises(ValueError, match=r"does not measure hair_color.*groups=none, or group_by=\[\.\.\.\]"):
        check_names(composed("find_vectors", "properties=[lip_color]"), names)
    check_names(composed("find_vectors", "properties=[lip_color]", "groups=none"), names)
    check_names(composed("find_vectors", "properties=[lip_color]", "group_by=[hat]"), names)


def test_strengths_and_thresholds_are_given_by_property():
    overrides = ["properties=[eyes,lip_color]", "test.strengths={lip_color: [-3, 0, 3]}", "test.thresholds={eyes: 0.5}"]
    plan = generation_plan(composed("find_vectors", *overrides))
    assert plan.strengths == {"eyes": (-1.2, 1.2), "lip_color": (-3.0, 0.0, 3.0)}
    assert plan.thresholds == {"eyes": 0.5, "lip_color": 0.88}


def test_a_run_is_either_resumed_or_started():
    with pytest.raises(ValueError, match="give one of them"):
        check_train(composed("train", "checkpoint=v1", "ckpt_path=last.ckpt"))


def test_a_run_is_resumed_from_a_whole_checkpoint_alone(tmp_path):
    whole, cut, weights = (tmp_path / name for name in ("last.ckpt", "cut.ckpt", "model.safetensors"))
    torch.save({"a": torch.zeros(1000)}, whole)
    cut.write_bytes(whole.read_bytes()[:2000])
    weights.write_bytes(b"weights")
    check_train(composed("train", f"ckpt_path={whole}"))
    for path in (cut, weights):
        with pytest.raises(ValueError, match=r"no run's last\.ckpt"):
            check_train(composed("train", f"ckpt_path={path}"))


@pytest.mark.parametrize("flag", ["max_epochs", "max_steps"])
def test_lengths_are_whole_numbers(flag):
    with pytest.raises(ValueError, match=f"{flag} is 'many'"):
        check_train(composed("train", f"trainer.{flag}=many"))
