"""What the Hydra programs answer to wrong settings: one sentence that says what was meant or what is expected."""

import logging
import sys
from collections.abc import Callable

import hydra
import pytest
from conftest import PROJECT

from ohlora_gan.pipelines import shells
from ohlora_gan.pipelines.checks import check_find_vectors, check_train
from ohlora_gan.world.face import ATTRIBUTES

pytestmark = pytest.mark.usefixtures("forgotten")
CHECKS = {"train": check_train, "find_vectors": check_find_vectors}

ANSWERS = {
    # a key that there is not
    "train.py trainer.max_epoch=1": "unknown key 'trainer.max_epoch': did you mean trainer.max_epochs=? "
    "`python train.py --cfg job` shows every key, +trainer.max_epoch= adds one",
    "train.py ckpt_pat=last.ckpt": "unknown key 'ckpt_pat': did you mean ckpt_path=? "
    "`python train.py --cfg job` shows every key",
    "find_vectors.py num_latents=10": "unknown key 'num_latents': did you mean test.num_latents=? "
    "`python find_vectors.py --cfg job` shows every key",
    "train.py +sead=1": "+sead= adds a key that nothing reads: did you mean seed=? leave it out",
    "train.py --model pretrain": "--model is no option, expected KEY=VALUE: give model=pretrain",
    "find_vectors.py --num-calibration=9": "--num-calibration is no option, expected KEY=VALUE: give num_calibration=9",
    "train.py model = pretrain": "cannot read 'model': expected key=value without spaces, special characters in "
    "quotes: 'checkpoint=\"a=b.pth\"'",
    # a key of another choice
    "find_vectors.py layer=w layer.first=1": "layer.first= is a setting of layer=wplus: leave it out, or give "
    "layer=wplus",
    "train.py model=property_cnn model.module.r1_gamma=5": "model.module.r1_gamma= is a setting of model=finetune_v1, "
    "model=finetune_v9, model=pretrain: leave it out, or choose one of them",
    "train.py data.folder=photos": "data.folder= is a setting of data=celeba, data=image_folder: leave it out, or "
    "choose one of them",
    # a group or choice that there is not
    "train.py modle=pretrain": "unknown key 'modle': did you mean model=? `python train.py --cfg job` shows every key",
    "train.py layer=w": "train.py has no group 'layer': it is one of find_vectors.py",
    "find_vectors.py layer=mapping_split": "unknown layer 'mapping_split': expected one of mapping_split1, "
    "mapping_split2, w, wplus, z (layer=mapping_split2)",
    "find_vectors.py +layer=w": "+layer=w adds to what is chosen already: give layer=w, without the plus",
    "find_vectors.py +n=4000": "+n= adds a key, but it is already at 'n': give n=, without the plus",
    # an experiment of the other program, or of none
    "find_vectors.py experiment=demo": "experiment=demo is for train.py: find_vectors.py has demo_vectors, mixed, "
    "published_sweep, reference_256, svm_ms2, sweep_joblib, sweep_optuna, sweep_ray, sweep_submitit",
    "train.py experiment=mixed": "experiment=mixed is for find_vectors.py: train.py has demo, reference_256",
    "train.py experiment=dmeo": "unknown experiment 'dmeo': expected one of demo, reference_256 (experiment=demo)",
    # a value that cannot be
    "train.py seed=-1": "seed is -1, expected 0 or more",
    "find_vectors.py groups=median": "groups is 'median', did you mean medians? expected one of medians, none",
    "find_vectors.py test.grid=sigmas": "test.grid is 'sigmas', did you mean sigma? expected one of sigma, reference",
    "train.py model=filter_cnn attribute=glas": "attribute=glas, did you mean glass? expected one of "
    + ", ".join(ATTRIBUTES),
    "train.py model=filter_cnn": "model=filter_cnn learns one attribute: give attribute=gender, quality, age, glass or "
    "a column of your labels",
    "train.py model=property_cnn_256": "model=property_cnn_256 takes 256x256 images, resolution is 64: give "
    "resolution=256",
    "find_vectors.py device=ddp": "device=ddp is of several devices, faces are sampled on one: take another",
    # a setting that the others make useless
    "train.py model=pretrain attribute=glass": "attribute= is ignored by model=pretrain: it is what a filter learns "
    "(model=filter_cnn); leave it out",
    "train.py model=property_cnn scorer=other.safetensors": "scorer= is ignored by model=property_cnn: it scores a "
    "generator's faces (model=finetune_v9, or data=generated); leave it out",
    "train.py data=image_folder data.folder=photos model.thin={}": "model.thin= is ignored by data that are not "
    "rendered: it chooses among rendered faces (data=faces); leave it out",
    "train.py model=pretrain data.attributes=[eyes]": "data.attributes= is ignored by model=pretrain: it says what is "
    "learnt of rendered faces (model=property_cnn, or finetune_v1); leave it out",
    "find_vectors.py groups=none medians={hair_color:0.5}": "medians= is ignored by groups=none: it makes groups of "
    "faces (groups=medians); leave it out",
    "find_vectors.py method=closed_loop n=1000": "n= is ignored by method=closed_loop: it is for methods that find "
    "directions (method=mean_jacobian); leave it out",
    "find_vectors.py method=gradient metric=image": "metric= is ignored by method=gradient: it says what a step costs "
    "(method=ridge, mean_jacobian, local_jacobian, closed_loop, or svm with method.finder.decorrelate=all); leave it "
    "out",
    "find_vectors.py method=ridge metric=cloud metric.num_probes=9": "metric.num_probes= is a setting of metric=image: "
    "leave it out, or give metric=image",
    "find_vectors.py test.landmarks_pose=tilt": "test.landmarks_pose= is ignored by judge=auto: it is about landmarks "
    "(judge=landmarks); leave it out",
}


@pytest.fixture
def answer(tmp_path, monkeypatch, capsys) -> Callable[[str], tuple[int, str]]:
    """``answer(command line) -> (exit code, stderr)``: a program up to its checks, in this process."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored after the test

    def call(line: str) -> tuple[int, str]:
        name = line.partition(".py")[0]
        experiments = {"train": "train", "find_vectors": "vectors"}[name]
        monkeypatch.setattr(sys, "argv", [*line.split(), f"paths.output_dir={tmp_path}", "hydra/job_logging=none"])
        shell = hydra.main(version_base="1.3", config_path=str(PROJECT / "conf"), config_name=name)
        with pytest.raises(SystemExit) as stop:
            shells.run(shell(shells.job(lambda cfg: CHECKS[name](cfg))), experiments=experiments)
        return stop.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("line", ANSWERS)
def test_a_wrong_setting_is_answered_in_a_sentence(answer, line):
    assert answer(line) == (2, f"error: {ANSWERS[line]}\n")


def test_several_devices_in_a_sweep(answer):
    code, err = answer("train.py -m device.devices=2 seed=0,1")
    assert code == 2
    first, second, *_ = err.splitlines()  # Hydra adds a line
    for number, line in enumerate((first, second)):
        assert line.startswith(f"error: job {number} (device.devices=2 seed={number} ")
        assert line.endswith(
            "device=cpu is of several devices, whose processes would start the whole sweep anew: give "
            "device.devices=1, or start the jobs one after another without -m"
        )


@pytest.mark.parametrize(
    "line",
    [
        "train.py model=filter_cnn attribute=glass model.module.lr=0.01",
        "train.py model=pretrain experiment=demo scorer=null filters=[] callbacks.samples.num_images=9",
        "train.py model=property_cnn_judge seed=3 logger=wandb logger.mode=online",
        "find_vectors.py experiment=demo_vectors metric.num_probes=9 layer=wplus layer.first=1",
        "find_vectors.py method=closed_loop metric=cloud layer=w judge=[landmarks] test.landmarks_pose=tilt",
        "find_vectors.py method=svm method.finder.decorrelate=all metric=image groups=medians group_by=[eyes]",
    ],
)
def test_settings_that_go_together_are_taken(answer, line):
    assert answer(line) == (0, "")


@pytest.mark.parametrize("name", CHECKS)
def test_help_says_a_line_of_everything_that_can_be_chosen(answer, capsys, monkeypatch, name):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit):
        shells.run(hydra.main(version_base="1.3", config_path=str(PROJECT / "conf"), config_name=name)(print))
    told = capsys.readouterr().out.splitlines()
    groups = ("model", "data", "experiment/train") if name == "train" else ("method", "layer", "metric")
    for group in (*groups, "device", "logger"):
        assert f"  {group.partition('/')[0]}=" in told
        for path in (PROJECT / "conf" / group).glob("*.yaml"):
            first = next(line for line in path.read_text().splitlines() if "@package" not in line)
            assert f"    {path.stem:21} {first[2:]}" in [line[2:] for line in told]


def test_the_last_line_of_a_run_says_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored after the test
    monkeypatch.setattr(sys, "argv", ["train.py", f"paths.output_dir={tmp_path}"])
    shell = hydra.main(version_base="1.3", config_path=str(PROJECT / "conf"), config_name="train")
    with pytest.raises(SystemExit) as stop:
        shells.run(shell(shells.job(lambda cfg: logging.getLogger("work").info("done"))))
    assert stop.value.code == 0
    (file,) = tmp_path.glob("*.log")
    done, last = file.read_text().splitlines()
    assert done.endswith("done")
    assert last.endswith(f"the run's folder: {tmp_path}")
