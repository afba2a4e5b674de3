"""Every config composes and instantiates; cross-field checks say what to do."""

import inspect
import json
import re
import sys
from dataclasses import fields
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import hydra
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from ohlora_gan.devices import Device, DeviceUnavailableError
from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.directions.files import recipe_of
from ohlora_gan.editing.closed_loop import ClosedLoop, Steps
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.metric import METRICS, SETTINGS, Measured
from ohlora_gan.pipelines.chain import read_stages
from ohlora_gan.pipelines.checks import (
    FINDING,
    METRIC_SETTINGS,
    TRAINING,
    check_find_vectors,
    check_names,
    check_train,
    check_used,
    chosen_judge,
    generation_plan,
    is_closed_loop,
)
from ohlora_gan.settings import EXPERIMENTS, own_experiments

CONF = Path(__file__).resolve().parents[1] / "conf"


PLUGINS = {
    "sweep_joblib": "hydra-joblib-launcher",
    "sweep_submitit": "hydra-submitit-launcher",
    "sweep_ray": "hydra-ray-launcher",
    "sweep_optuna": "hydra-optuna-sweeper",
}
"""Experiments that need a package of the extra ``sweeps``."""


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


NEEDS = {"property_cnn_256": ["resolution=256"]}
NEEDS |= {name: ["attribute=gender"] for name in ("filter_cnn", "filter_cnn_photo", "filter_cnn_texture")}
NEEDS["filter_cnn_256"] = ["attribute=gender", "resolution=256"]


def composed(name: str, *overrides: str, tmp_path: Path | None = None):
    """The config of a program, as its command line would give it; of a run in ``tmp_path`` with CSV files alone."""
    overrides = tuple(own_experiments(overrides, {"find_vectors": "vectors"}.get(name, name)))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        folder = [] if tmp_path is None else [f"paths.output_dir={tmp_path}"]
        if folder and name != "chain" and not any(word.startswith("logger") for word in overrides):
            folder.append("logger=csv")
        return compose(name, overrides=[*overrides, *folder])


@pytest.mark.parametrize("model", options("model"))
def test_models_and_their_data(model, tmp_path):
    cfg = composed("train", f"model={model}", *NEEDS.get(model, []), tmp_path=tmp_path)
    check_train(cfg)
    OmegaConf.to_container(cfg, resolve=True)
    with torch.device("meta"):
        module = instantiate(cfg.model.module)
    assert module.hparams["seed"] == cfg.data.seed == cfg.model.seed == (2 if model == "property_cnn_judge" else 0)
    data = instantiate(cfg.data)
    assert data.resolution == cfg.resolution
    assert data.num_images == cfg.model.num_images


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
            check_used(cfg, TRAINING if program == "train.py" else FINDING, list(stage.settings))


@pytest.mark.parametrize("group", ["callbacks", "logger", "trainer"])
def test_groups_of_train(group, tmp_path):
    for name in options(group):
        if group == "logger" and name not in ("csv", "wandb") and find_spec(name) is None:
            continue
        cfg = composed("train", f"{group}={name}", tmp_path=tmp_path)
        made = instantiate(cfg[group])
        if group == "trainer":
            assert made.max_epochs == cfg.model.max_epochs
        else:
            kinds = (Callback, Logger, str, type(None))
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
        check_find_vectors(cfg)
        assert cfg.method.name == name
        assert is_closed_loop(cfg) == (name == "closed_loop")
        if not is_closed_loop(cfg):
            finder = instantiate(cfg.method.finder)
            assert isinstance(finder, DirectionFinder)
            json.dumps(recipe_of(finder))  # what a file of its directions says of it
    for name in options("layer"):
        layer = instantiate(composed("find_vectors", f"layer={name}").layer)
        assert isinstance(layer, Layer)
        assert layer.name == name


def test_metrics():
    settings = {field.name for field in fields(Measured)}
    assert sorted(options("metric")) == sorted([*METRICS, "auto"])
    for name in METRICS:
        cfg = composed("find_vectors", f"metric={name}")
        assert cfg.metric.name == name
        assert set(cfg.metric) == {"name", *METRIC_SETTINGS[name]}
    assert set(composed("find_vectors").metric) == settings | {"region"}


@pytest.mark.parametrize("method", options("method"))
def test_a_method_has_a_metric_of_its_own(method):
    cfg = composed("find_vectors", f"method={method}")
    own = cfg.method.metric
    assert {key: value for key, value in cfg.metric.items() if value is not None} == own
    assert set(own) == {"name", *METRIC_SETTINGS[own.name]}


def test_a_method_says_what_suits_it_and_the_command_line_wins():
    assert composed("find_vectors", "method=ridge").metric.name == "euclid"
    cfg = composed("find_vectors", "method=mean_jacobian")
    assert (cfg.metric.name, cfg.groups, cfg.correct) == ("image", "none", True)
    cfg = composed("find_vectors", "method=mean_jacobian", "metric=cloud", "groups=medians", "correct=false")
    assert (cfg.metric.name, cfg.groups, cfg.correct) == ("cloud", "medians", False)
    loop = composed("find_vectors", "method=closed_loop", "metric=cloud", "method.loop.hold=[pose]").method.loop
    names = {"steps"} | {field.name for field in fields(Steps)}
    assert loop.keys() <= names | inspect.signature(ClosedLoop.edit).parameters.keys()
    assert loop.hold == ["pose"]


@pytest.mark.parametrize(
    ("shell", "name"),
    [(shell, name) for kind, shell in EXPERIMENTS.items() for name in options(f"experiment/{kind}")],
)
def test_experiments_compose(shell, name):
    plugin = PLUGINS.get(name)
    if plugin and plugin not in {package.name for package in distributions()}:
        pytest.skip(f"{plugin} is not installed")
    cfg = composed(shell.removesuffix(".py"), f"experiment={name}", "checkpoint=x", "scorer=y")
    OmegaConf.to_container(cfg, resolve=True)


def test_an_experiment_alone_speaks_for_other_groups():
    for path in CONF.rglob("*.yaml"):
        whole = {"experiment", "scale"} & set(path.relative_to(CONF).parts)
        assert bool(whole) == ("@package _global_" in path.read_text()), path


@pytest.mark.parametrize("path", [p for p in sorted(CONF.rglob("*.yaml")) if p.parent != CONF])
def test_a_choice_says_in_its_first_line_what_it_is(path):
    lines = [line for line in path.read_text().splitlines() if "@package" not in line]
    assert re.fullmatch(r"# .{10,105}[.:]", lines[0]), f"--help shows {lines[0]!r}"


def test_programs_have_the_same_defaults():
    train, find, chain = (composed(name) for name in ("train", "find_vectors", "chain"))
    assert train.seed == find.seed == chain.seed == 0
    assert {"csv", "wandb"} <= set(train.logger) == set(find.logger)
    assert (train.logger.mode, chain.logger) == ("offline", "wandb")
    for cfg in (train, find, chain):
        folder = str(OmegaConf.to_container(cfg, resolve=False)["paths"]["output_dir"])
        assert folder.startswith("runs/${task}/")


@pytest.mark.parametrize(
    ("name", "method", "layer", "n"),
    [("mixed", "mixed", "mapping_split1", 160_000), ("svm_ms2", "svm", "mapping_split2", 240_000)],
)
def test_published_final_runs(name, method, layer, n):
    cfg = composed("find_vectors", f"experiment={name}")
    assert (cfg.method.name, instantiate(cfg.layer).name, cfg.n) == (method, layer, n)
    assert (cfg.test.num_latents, cfg.test.max_passes) == (2000, 60)
    check_find_vectors(cfg)
    own = composed("find_vectors", f"experiment={name}", "method=gradient", "layer=w", "n=400")  # these win
    assert (own.method.name, instantiate(own.layer).name, own.n) == ("gradient", "w", 400)


def test_the_published_option_mixed_chooses_a_method_a_property():
    cfg = composed("find_vectors", "method=mixed", "seed=5", "method.parts.svm.finder.C=2")
    finder = instantiate(cfg.method.finder)
    kinds = {name: type(part).__name__ for name, part in finder.finders.items()}
    assert kinds == {"eyes": "GradientFinder", "mouth": "SvmFinder", "pose": "SvmFinder"}
    assert finder.finders["eyes"].train.seed == finder.finders["pose"].seed == 5
    assert finder.finders["mouth"].C == 2


def run_sweep(monkeypatch, *arguments):
    """Method, layer and n of the jobs that ``find_vectors.py`` would run."""
    jobs = []
    shell = hydra.main(version_base="1.3", config_path=str(CONF), config_name="find_vectors")(
        lambda cfg: jobs.append((cfg.method.name, instantiate(cfg.layer).name, cfg.n, cfg.test.num_latents))
    )
    arguments = own_experiments(arguments, "vectors")
    monkeypatch.setattr(sys, "argv", ["find_vectors.py", *arguments, "hydra/job_logging=none"])
    shell()
    return jobs


def test_published_sweep_is_a_multirun_where_the_command_line_wins(monkeypatch, tmp_path):
    jobs = run_sweep(monkeypatch, "experiment=published_sweep", "n=1000", f"paths.output_dir={tmp_path}")
    layers = ("w", "mapping_split1", "mapping_split2")
    assert jobs == [(method, layer, 1000, 100) for method in ("svm", "gradient") for layer in layers]
    own = ("layer=w", "method=svm", "n=400,500", "test.num_latents=7")
    jobs = run_sweep(monkeypatch, "-m", "experiment=published_sweep", *own, f"paths.output_dir={tmp_path}")
    assert jobs == [("svm", "w", 400, 7), ("svm", "w", 500, 7)]


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
        (["test.num_latents=0"], "num_latents is 0"),
        (["strips.num_faces=0"], "num_faces is 0"),
        (["test.num_latents=two"], "test.num_latents is 'two', expected a whole number"),
        (["n=1.5"], "n is 1.5, expected a whole number"),
        (["test.strengths=loud"], "'loud'"),
        (["seed=half"], "seed is 'half'"),
        (["properties=eyes"], "properties is 'eyes', expected a list"),
        (["properties=[]"], "properties is"),
        (["properties=[eyes,eyes]"], "different names"),
        (["properties=[a/b]"], "properties names 'a/b'"),
        (["group_by=[a,b,c,d,e]", "n=319"], "n=319 is too small for 32 groups, expected at least 320"),
        (["medians={hair_color: 0.5}"], "medians lack hair_length"),
        (["seed=-1"], "seed is -1, expected 0 or more"),
        (["test.strengths={nose: [0, 1]}"], "test.strengths names nose"),
        (["test.thresholds={eyes: 2}"], "test.thresholds of eyes is 2.0"),
        (["test.thresholds=0.5"], r"test.thresholds is 0\.5"),
        (["test.grid=loud"], "test.grid is 'loud', expected one of sigma, reference"),
        (["num_calibration=1"], "num_calibration is 1, expected a whole number of at least 2"),
        (["num_calibration=many"], "num_calibration is 'many', expected a whole number"),
        (["metric=image", "metric.region=nose"], "metric.region is 'nose', expected one of all, face, border"),
        (["method=closed_loop", "test.grid=reference"], "closed loop knows no lengths: give test.grid=sigma"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        check_find_vectors(composed("find_vectors", *overrides))


def test_a_scorer_has_to_measure_what_is_edited_and_grouped_by():
    names = ("lip_color", "hat")
    published = "properties=[eyes,mouth,pose]"
    with pytest.raises(ValueError, match=r"edit: eyes, mouth, pose, expected some of .*: lip_color, hat"):
        check_names(composed("find_vectors", published, "group_by=[hat]"), names)
    with pytest.raises(ValueError, match=r"does not measure hair_color.*groups=none, or group_by=\[\.\.\.\]"):
        check_names(composed("find_vectors", "properties=[lip_color]", "group_by=[hair_color]"), names)
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
    with pytest.raises(ValueError, match=r"^ckpt_path=none\.ckpt does not exist: expected the last\.ckpt of the run"):
        check_train(composed("train", "ckpt_path=none.ckpt"))
    for path in (cut, weights):
        with pytest.raises(ValueError, match=r"no run's last\.ckpt"):
            check_train(composed("train", f"ckpt_path={path}"))


@pytest.mark.parametrize("flag", ["max_epochs", "max_steps"])
def test_lengths_are_whole_numbers(flag):
    with pytest.raises(ValueError, match=f"{flag} is 'many'"):
        check_train(composed("train", f"trainer.{flag}=many"))


def test_the_shipped_judge_judges_the_shipped_scorer_alone():
    assert chosen_judge(composed("find_vectors")) == ["property_cnn_judge", "truth"]
    assert chosen_judge(composed("find_vectors", "scorer=mine.safetensors")) is None
    assert chosen_judge(composed("find_vectors", "judge=[landmarks,other.safetensors]")) == [
        "landmarks",
        "other.safetensors",
    ]
    assert chosen_judge(composed("find_vectors", "judge=null")) is None
    assert chosen_judge(composed("find_vectors", "judge=[judge,truth]")) == ["property_cnn_judge", "truth"]
    with pytest.raises(ValueError, match="judge=judge is the shipped judge of a shipped scorer"):
        chosen_judge(composed("find_vectors", "scorer=mine.safetensors", "judge=judge"))


@pytest.mark.parametrize("name", SETTINGS)
def test_metrics_are_measured_alike_by_hydra_and_in_python(name):
    assert dict(composed("find_vectors", f"metric={name}", "method=ridge").metric) == {"name": name, **SETTINGS[name]}
