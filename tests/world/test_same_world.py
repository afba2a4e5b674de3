"""Networks that have learnt from faces that are drawn no more are refused: in every program."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from omegaconf import OmegaConf

from ohlora_gan import api
from ohlora_gan.__main__ import app, main
from ohlora_gan.data.datamodules import GeneratedDataModule
from ohlora_gan.directions.files import DirectionSet, save_directions
from ohlora_gan.explorer.engine import Engine
from ohlora_gan.models import checkpoint
from ohlora_gan.models.zoo import check_world, world_of
from ohlora_gan.pipelines.checks import chosen_judge
from ohlora_gan.pipelines.find_vectors import find_vectors
from ohlora_gan.pipelines.train import learnt_world, train
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


REMEDIES = {
    "generator": "model=pretrain, or give one of world 2 such as v9",
    "scorer": "model=property_cnn, or give one of world 2 such as property_cnn",
    "filter": "model=filter_cnn, or give one of world 2 such as filter_gender",
    "truth": "model=truth, or give one of world 2 such as truth",
}
REFUSALS = [  # program, its arguments, the network that is refused
    ("sample", "{g1} 3 --output {out}", "generator {g1}"),
    ("quality", "{g1} --n 10", "generator {g1}"),
    ("quality", "{g2} --scorer {s1} --pictures {out}", "scorer {s1}"),
    ("filter-means", "{g2} --filter {f1}", "filter {f1}"),
    ("filter-means", "{g2} {g1} --filter {f2}", "generator {g1}"),
    ("scorers", "{s2} {s1} --generator {g2}", "scorer {s1}"),
    ("scorers", "{s2} {s0} --generator {g1}", "generator {g1}"),
    ("join", "{s2} {s1} --output {out}.safetensors", "scorer {s1}"),
    ("import-vectors", "{out} --layer w --checkpoint {g1} --output {out}", "generator {g1}"),
    ("import-vectors", "{out} --layer w --checkpoint {g2} --scorer {s1} --sign measure --output {out}", "scorer {s1}"),
    ("edit", "--mode closed-loop --set eyes=+1 --checkpoint {g1} --output {out}", "generator {g1}"),
    ("edit", "{run} --set eyes=+1 --output {out}", "scorer {s1}"),
    ("rescore", "{run} --output {out}", "scorer {s1}"),
    ("rescore", "{run} --output {out} --checkpoint {g1} --scorer {s2}", "generator {g1}"),
    ("transfer", "{run} --to {g1} --output {out}", "generator {g1}"),
    ("transfer", "{run} --to {g2} --output {out}", "scorer {s1}"),
    ("distill", "--scorer {s1} --generator {g2} --output {out}", "scorer {s1}"),
    ("distill", "--scorer {s2} --generator {g1} --output {out}", "generator {g1}"),
    ("truth", "{s1} --generator {g2}", "truth {s1}"),
    ("truth", "--generator {g1}", "generator {g1}"),
    ("find_vectors", "checkpoint={g1}", "generator {g1}"),
    ("find_vectors", "checkpoint={g2} scorer={s1}", "scorer {s1}"),
    ("find_vectors", "checkpoint={g2} scorer={s2} judge={s1}", "scorer {s1}"),
    ("train", "model=finetune_v9 checkpoint={g1}", "generator {g1}"),
    ("train", "model=property_cnn checkpoint={s1}", "scorer {s1}"),
    ("train", "model=filter_cnn attribute=age checkpoint={f1}", "filter {f1}"),
    ("train", "model=pretrain scorer={s1}", "scorer {s1}"),
    ("train", "model=pretrain scorer={s2} filters=[{f1}]", "filter {f1}"),
    ("train", "data=generated data.checkpoint={g1}", "generator {g1}"),
    ("train", "data=generated data.checkpoint={g2} checkpoint={g2} scorer={s1}", "scorer {s1}"),
    ("train", "data=generated data.checkpoint={g2} checkpoint={g2} scorer={s2} filters=[{f1}]", "filter {f1}"),
]


def refused(network):
    """The sentence about a network of world 1."""
    said = "has learnt from world 1, whose faces are drawn no more: train it anew with python train.py"
    return f"{network} {said} {REMEDIES[network.partition(' ')[0]]}"


@pytest.mark.parametrize(("program", "arguments", "network"), REFUSALS)
def test_a_network_of_an_earlier_world_is_refused(files, tmp_path, capsys, program, arguments, network):
    given, expected = arguments.format(**vars(files)).split(), refused(network.format(**vars(files)))
    if program in HYDRA:
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            HYDRA[program](composed(program, *given, tmp_path=tmp_path))
    else:
        assert main([program, *given]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"error: {expected}"
    assert not any(tmp_path.iterdir())
    assert not Path(files.out).exists()


def test_every_program_in_which_networks_are_used_is_tried():
    commands = typer.main.get_command(app).commands
    programs = {name for name, command in commands.items() if any("--device" in p.opts for p in command.params)}
    assert programs - {"explore"} | {"join"} | set(HYDRA) == {program for program, *_ in REFUSALS}


def test_so_does_the_explorer_without_its_page(files, tmp_path):
    for generator, scorer, network in ((files.g1, None, "generator {g1}"), (files.g2, files.s1, "scorer {s1}")):
        with pytest.raises(ValueError, match=f"^{re.escape(refused(network.format(**vars(files))))}$"):
            Engine(generator, scorer=scorer, cache=tmp_path)


def test_the_front_door_is_closed_to_them_too(files):
    for generator, scorer, network in ((files.g1, None, "generator {g1}"), (files.g2, files.s1, "scorer {s1}")):
        with pytest.raises(ValueError, match=f"^{re.escape(refused(network.format(**vars(files))))}$"):
            api.load(generator, scorer)


def test_networks_of_no_known_world_go_with_any(files, tmp_path):
    arguments = [files.s0, files.s0, "--generator", files.g2, "--n", "10"]
    assert main(["scorers", *arguments]) == 0
    assert main(["join", files.s0, files.s2, "--output", str(tmp_path / "mean.safetensors")]) == 0
    assert world_of(tmp_path / "mean.safetensors") == check_world(files.s2, "scorer") == 2
    assert world_of(files.g0) is check_world(files.g0, "generator") is None
    assert world_of(tmp_path) is None  # a folder of a foreign filter's folds


def test_an_earlier_networks_file_can_be_looked_at_and_converted(files, tmp_path, capsys):
    assert main(["inspect", files.g1]) == 0
    assert "world: 1\n" in capsys.readouterr().out
    assert main(["convert", files.g1, "--output", str(tmp_path / "again.safetensors")]) == 0
    assert world_of(tmp_path / "again.safetensors") == 1


def test_the_truth_judges_faces_of_the_embedded_world(files):
    for settings, judge in (
        (["checkpoint={g2}"], ["property_cnn_judge", "truth"]),
        (["checkpoint={g0}"], "property_cnn_judge"),
        (["checkpoint={g2}", "scorer={s2}"], None),
        (["checkpoint={g2}", "judge=null"], None),
    ):
        assert chosen_judge(composed("find_vectors", *(text.format(**vars(files)) for text in settings))) == judge


# ---------------------------------------------------------------------- what training writes

SMALL = ["model=attribute_cnn", "resolution=32", "data.attributes=[eyes]", "model.module.net.width=4"]
SMALL += ["data.num_images=16", "data.num_val=8", "data.num_test=8", "data.batch_size=8", "model.test=false"]
SMALL += ["trainer.enable_progress_bar=false", "trainer.max_epochs=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that stopped after a batch."""
    folder = tmp_path_factory.mktemp("run")
    train(composed("train", *SMALL, "trainer.max_steps=1", tmp_path=folder))
    return folder


def test_a_trained_network_says_its_world(trained):
    assert world_of(trained / "model.safetensors") == 2
    assert world_of(trained / "last.ckpt") == 2
    assert checkpoint.load_info(trained / "model.safetensors")["world"] == 2


def test_a_resumed_run_keeps_its_world(trained, tmp_path):
    train(composed("train", *SMALL, f"ckpt_path={trained}/last.ckpt", "trainer.max_steps=2", tmp_path=tmp_path))
    assert world_of(tmp_path / "model.safetensors") == world_of(tmp_path / "last.ckpt") == 2


def test_a_run_of_an_earlier_world_is_not_resumed(trained, tmp_path):
    content = torch.load(trained / "last.ckpt", weights_only=True)
    content["callbacks"]["ExportWeights"]["world"] = 1
    torch.save(content, tmp_path / "old.ckpt")
    cfg = composed("train", *SMALL, f"ckpt_path={tmp_path}/old.ckpt", tmp_path=tmp_path / "run")
    with pytest.raises(ValueError, match=f"^{re.escape(refused(f'scorer {tmp_path}/old.ckpt'))}$"):
        train(cfg)
    assert not (tmp_path / "run").exists()


def test_pictures_of_no_known_world_leave_that_of_the_start_weights(files):
    photographs = SimpleNamespace(world=None)

    def learnt(*settings, data=photographs):
        return learnt_world(composed("train", "model=finetune_v9", "filters=[]", *settings), data)

    assert learnt(f"checkpoint={files.g2}", "scorer=null") == 2
    assert learnt(f"checkpoint={files.g0}", "scorer=null") is None
    assert learnt(f"checkpoint={files.g0}", f"scorer={files.s2}") is None  # what scores the faces is not learnt from
    generated = GeneratedDataModule(files.g2, scorer=files.s0, filters=[files.f0])
    settings = [f"data.checkpoint={files.g2}", f"data.scorer={files.s0}", f"data.filters=[{files.f0}]"]
    assert learnt("data=generated", f"checkpoint={files.g0}", f"scorer={files.s0}", *settings, data=generated) == 2
