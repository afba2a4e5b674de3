"""Networks and rendered faces of two versions of the embedded world do not meet: in no program."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from omegaconf import OmegaConf

from ohlora_gan.__main__ import app, main
from ohlora_gan.data.datamodules import GeneratedDataModule
from ohlora_gan.directions.files import DirectionSet, save_directions
from ohlora_gan.models import checkpoint
from ohlora_gan.models.zoo import ASSETS, shipped
from ohlora_gan.pipelines.checks import check_worlds, data_members, start_member
from ohlora_gan.pipelines.find_vectors import find_vectors
from ohlora_gan.pipelines.train import train
from ohlora_gan.world.versions import check_same_world, network, networks, world_of
from tests import tiny
from tests.test_configs import composed

HYDRA = {"train": train, "find_vectors": find_vectors}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Networks g, s and f (generator, scorer, filter) of worlds 1 and 2 (g1, g2) and of none (g0); a run of g2 and s1;
    ``out``, where nothing must be written."""
    folder = tmp_path_factory.mktemp("worlds")
    made = {
        "g": {"generator": tiny.generator(), "discriminator": tiny.discriminator()},
        "s": {"scorer": tiny.scorer()},
        "f": {"hat": tiny.filter_ensemble("hat")},
    }
    paths = {
        f"{kind}{world}": checkpoint.save(
            folder / f"{kind}{world}.safetensors", nets, **({"world": world} if world else {})
        )
        for kind, nets in made.items()
        for world in (0, 1, 2)
    }
    run = folder / "run"
    save_directions(
        run / "vectors.safetensors", DirectionSet(np.eye(16)[:1, None], ["all"], "w", "svm", {}, {}, ("eyes",))
    )
    OmegaConf.save({"checkpoint": str(paths["g2"]), "scorer": str(paths["s1"])}, run / "config.yaml")
    return SimpleNamespace(**{name: str(path) for name, path in paths.items()}, run=str(run), out=str(folder / "out"))


GENERATOR_1 = "give a generator of world 1, such as v9"
GENERATOR_2 = "give a generator of world 2, such as one of python train.py model=pretrain data.world=2"
SCORER_1 = "give a scorer of world 1, such as property_cnn"
SCORER_2 = "give a scorer of world 2, such as one of python train.py model=property_cnn data.world=2"
JUDGE_2 = "give a judge of world 2, such as one of python train.py model=property_cnn_judge data.world=2"
FILTER_1 = "give a filter of world 1, such as filter_gender"
FILTER_2 = "give a filter of world 2, such as one of python train.py model=filter_cnn data.world=2"
TRUTH_2 = "give a truth of world 2, such as truth"
NO_SCORES, NO_FILTERS = "or scorer=null filters=[] for none", "or filters=[] for none"
FRESH = "or start from other weights (checkpoint=scratch: none)"
MEETINGS = [  # program, its arguments, the sentence
    ("quality", "{g2} --n 10", "scorer property_cnn world 1, checkpoint {g2} world 2", SCORER_2),
    ("quality", "{g1} --scorer {s2} --pictures {out}", "scorer {s2} world 2, checkpoint {g1} world 1", SCORER_1),
    ("quality", "{g2} --scorer {s2} --world 1", "checkpoint {g2} world 2, --world 1 renders world 1", GENERATOR_1),
    ("quality", "{g2} --scorer {s1} --world 2", "scorer {s1} world 1, --world 2 renders world 2", SCORER_2),
    ("filter-means", "{g2} --filter {f1}", "filter {f1} world 1, generator {g2} world 2", FILTER_2),
    ("filter-means", "v1 {g2} --filter {f1}", "generator {g2} world 2, generator v1 world 1", GENERATOR_1),
    ("filter-means", "{g0} --filter {f2} --filter {f1}", "filter {f1} world 1, filter {f2} world 2", FILTER_2),
    ("scorers", "{s2} {s0}", "generator v9 world 1, scorer {s2} world 2", GENERATOR_2),
    ("scorers", "{s0} {s1} --generator {g2}", "generator {g2} world 2, scorer {s1} world 1", GENERATOR_1),
    ("scorers", "{s1} {s2}", "scorer {s2} world 2, scorer {s1} world 1", SCORER_1),
    ("join", "{s2} property_cnn --output {out}.safetensors",
     "scorer property_cnn world 1, scorer {s2} world 2", SCORER_2),
    ("import-vectors", "{out} --layer w --checkpoint {g1} --scorer {s2} --sign measure --output {out}",
     "scorer {s2} world 2, generator {g1} world 1", SCORER_1),
    ("edit", "--mode closed-loop --set eyes=+1 --checkpoint {g2} --output {out}",
     "scorer property_cnn world 1, checkpoint {g2} world 2", SCORER_2),
    ("edit", "{run} --set eyes=+1 --output {out}", "scorer {s1} world 1, checkpoint {g2} world 2", SCORER_2),
    ("edit", "{run} --set eyes=+1 --checkpoint {g1} --scorer {s2}", "scorer {s2} world 2, checkpoint {g1} world 1",
     SCORER_1),
    ("rescore", "{run} --output {out}", "scorer {s1} world 1, checkpoint {g2} world 2", SCORER_2),
    ("rescore", "{run} --output {out} --checkpoint v9 --scorer {s2}", "scorer {s2} world 2, checkpoint v9 world 1",
     SCORER_1),
    ("truth", "{s2} --generator {g1}", "generator {g1} world 1, it renders world 2", GENERATOR_2),
    ("truth", "{s1} --generator {g2}", "truth {s1} world 1, it renders world 2", TRUTH_2),
    ("find_vectors", "checkpoint={g2}", "scorer property_cnn world 1, checkpoint {g2} world 2", SCORER_2),
    ("find_vectors", "scorer={s2}", "scorer {s2} world 2, checkpoint v9 world 1", SCORER_1),
    ("find_vectors", "checkpoint={g2} scorer={s2} judge=[landmarks,{s1}]",
     "judge {s1} world 1, checkpoint {g2} world 2", f"{JUDGE_2}, or judge=null for none"),
    ("train", "model=finetune_v9 data.world=2", "checkpoint v1 world 1, data.world=2 renders world 2",
     f"give data.world=1, {FRESH}"),
    ("train", "model=property_cnn checkpoint={s2}", "checkpoint {s2} world 2, data.world=1 renders world 1",
     f"give data.world=2, {FRESH}"),
    ("train", "model=filter_cnn attribute=age checkpoint={f1} data.world=2",
     "checkpoint {f1} world 1, data.world=2 renders world 2",
     f"give data.world=1, {FRESH}"),
    ("train", "model=pretrain data.world=2", "scorer property_cnn world 1, data.world=2 renders world 2",
     f"{SCORER_2}, {NO_SCORES}"),
    ("train", "model=pretrain scorer={s2}", "scorer {s2} world 2, data.world=1 renders world 1",
     f"{SCORER_1}, {NO_SCORES}"),
    ("train", "model=pretrain data.world=2 scorer={s2}", "filter filter_gender world 1, data.world=2 renders world 2",
     f"{FILTER_2}, {NO_FILTERS}"),
    ("train", "model=pretrain filters=[{f2}]", "filter {f2} world 2, data.world=1 renders world 1",
     f"{FILTER_1}, {NO_FILTERS}"),
    ("train", "data=generated data.checkpoint={g2} checkpoint={g2}",
     "scorer property_cnn world 1, data.checkpoint {g2} world 2", SCORER_2),
    ("train", "data=generated data.checkpoint={g2} checkpoint={g2} scorer={s2} filters=[{f1}]",
     "filter {f1} world 1, data.checkpoint {g2} world 2", f"{FILTER_2}, {NO_FILTERS}"),
    ("train", "data=generated data.checkpoint={g2} scorer={s2} filters=[]",
     "checkpoint v1 world 1, data.checkpoint {g2} world 2", f"give a data.checkpoint of world 1, {FRESH}"),
]  # fmt: skip


def said(sentence, names):
    """``scorer a world 1, generator b world 2`` at length."""
    at_length = re.sub(r"(?<!renders) world (\d)", r" has learnt from world \1", sentence.format(**names))
    return ", but ".join(at_length.split(", "))


@pytest.mark.parametrize(("program", "arguments", "meet", "remedy"), MEETINGS)
def test_two_worlds_do_not_meet(files, tmp_path, capsys, program, arguments, meet, remedy):
    given, expected = arguments.format(**vars(files)).split(), f"{said(meet, vars(files))}: {remedy}"
    if program in HYDRA:
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            HYDRA[program](composed(program, *given, tmp_path=tmp_path))
    else:
        assert main([program, *given]) == 2
        assert capsys.readouterr().err == f"error: {expected}\n"
    assert not any(tmp_path.iterdir())
    assert not Path(files.out).exists()


def test_every_program_in_which_networks_meet_is_tried():
    alone = {"sample"}  # of one network
    commands = typer.main.get_command(app).commands
    programs = {name for name, command in commands.items() if any("--device" in p.opts for p in command.params)}
    assert programs - alone | {"join"} | set(HYDRA) == {program for program, *_ in MEETINGS}


def test_networks_of_no_known_world_go_with_any(files, tmp_path, capsys):
    arguments = [files.s0, files.s0, "--generator", files.g2, "--n", "10"]
    assert main(["scorers", *arguments]) == 0
    assert main(["join", files.s0, files.s2, "--output", str(tmp_path / "mean.safetensors")]) == 0
    assert world_of(tmp_path / "mean.safetensors") == 2
    none = network("scorer", files.s0)
    assert check_same_world(none, network("generator", files.g1), none) == 1
    assert check_same_world(none, none) is None


def test_shipped_models_that_say_nothing_are_of_the_first_world(tmp_path, files):
    said = {name: checkpoint.load_info(ASSETS / f"{name}.safetensors").get("world", 1) for name in shipped()}
    assert said == {name: world_of(name) for name in shipped()}
    assert said["v9"] == said["property_cnn"] == 1
    assert world_of(files.g0) is None
    assert world_of(tmp_path) is None  # a folder of a foreign filter's folds


# ---------------------------------------------------------------------- what training writes

SMALL = ["model=attribute_cnn", "resolution=32", "data.attributes=[eyes]", "model.module.net.width=4"]
SMALL += ["data.num_images=16", "data.num_val=8", "data.num_test=8", "data.batch_size=8", "model.test=false"]
SMALL += ["trainer.enable_progress_bar=false", "trainer.max_epochs=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that learnt from world 2 and stopped after a batch."""
    folder = tmp_path_factory.mktemp("run")
    train(composed("train", *SMALL, "data.world=2", "trainer.max_steps=1", tmp_path=folder))
    return folder


def test_a_trained_network_says_its_world(trained):
    assert world_of(trained / "model.safetensors") == 2
    assert world_of(trained / "last.ckpt") == 2
    assert checkpoint.load_info(trained / "model.safetensors")["world"] == 2


def test_a_resumed_run_keeps_its_world(trained, tmp_path):
    resumed = [f"ckpt_path={trained}/last.ckpt", "trainer.max_steps=2"]
    train(composed("train", *SMALL, *resumed, "data.world=2", tmp_path=tmp_path))
    assert world_of(tmp_path / "model.safetensors") == world_of(tmp_path / "last.ckpt") == 2
    expected = (
        f"ckpt_path {trained}/last.ckpt has learnt from world 2, but data.world=1 renders world 1: give data.world=2, "
        f"or resume another run"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        train(composed("train", *SMALL, *resumed, tmp_path=tmp_path))


def test_pictures_of_no_known_world_leave_that_of_the_start_weights(files):
    photographs = SimpleNamespace(world=None)
    assert check_worlds(photographs, [start_member(files.g2, photographs)]) == 2
    assert check_worlds(photographs, []) is None
    generated = GeneratedDataModule(files.g2, scorer=files.s2, filters=[files.f0])
    assert check_worlds(generated, [start_member(files.g0, generated)]) == generated.world == 2
    assert len(data_members(generated)) == 3
    starts = [start_member(name, photographs) for name in (files.g1, files.g2)]
    with pytest.raises(
        ValueError, match=r"g1\S* has learnt from world 1: start from other weights \(checkpoint=scratch"
    ):
        check_worlds(photographs, starts, networks("scorer", [files.s2]))
