"""Two processes with half the batch each train what one does with the whole batch, to rounding."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import PROJECT

from ohlora_gan.files import read_table
from ohlora_gan.pipelines.shells import environment
from ohlora_gan.rng import torch_stream
from ohlora_gan.training.scorers import Share, augment, roughen

TINY = [
    *["resolution=32", "logger=csv", "trainer.enable_progress_bar=false", "trainer.max_epochs=1"],
    "data.num_images=64",
]
GAN = [
    *["model=finetune_v1", "checkpoint=scratch", "scorer=null", "filters=[]", "callbacks.samples=null"],
    *["model.module.generator.fmaps=[16,16,16,16]", "model.module.generator_resolution=null"],
    *["model.module.discriminator_resolution=null", "model.module.max_d=4", "model.module.lr=1e-3"],
    "model.module.mapping_lr_scale=100",
    "+model.module.discriminator.group_size=4",  # divides both batches: the groups are the same
]
SCORER = ["model=property_cnn", "model.module.net.width=4", "data.num_val=16", "data.num_test=16"]
WORKS = {"gan": GAN, "regressor": SCORER}


def trained(work, folder, *words):
    """The tensors of a training's last checkpoint, and its logged losses."""
    command = [sys.executable, "train.py", *WORKS[work], *TINY, f"paths.output_dir={folder}", *words]
    more = {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment() | more, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    last = torch.load(folder / "last.ckpt", weights_only=True)
    assert last["global_step"] == 8
    table = read_table(next(folder.glob("csv/*/metrics.csv")))
    return last["state_dict"], table.numbers(["train/d_loss", "train/g_loss"]) if work == "gan" else None


def apart(state, other):
    """The distance of two states as a share of the second's length, over all floats."""
    names = [name for name, value in state.items() if value.is_floating_point() and value.numel() > 1]
    off = sum(float((state[name] - other[name]).double().square().sum()) for name in names)
    return (off / sum(float(other[name].double().square().sum()) for name in names)) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
def test_two_with_half_the_batch_equal_one(tmp_path, work):
    one, losses = trained(work, tmp_path / "one", "device=cpu", "data.batch_size=8")
    two, others = trained(work, tmp_path / "two", "device=ddp_cpu", "data.batch_size=4")
    # eight batches move the weights by 8e-3 and .3 of their length; Adam enlarges the rounding of small gradients
    assert apart(two, one) < {"gan": 5e-4, "regressor": 1e-6}[work]
    if losses is not None:
        np.testing.assert_allclose(others[:2], losses[:2], rtol=1e-5)
        np.testing.assert_allclose(others, losses, rtol=0.02)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("change", [lambda *given: augment(*given)[0], roughen], ids=["augment", "roughen"])
def test_pictures_are_changed_alike_however_many_processes_there_are(change, world_size):
    for number in range(8):
        images = torch.rand(6, 3, 32, 32, generator=torch_stream(number, "images")) * 2 - 1
        whole = change(images, 1.0, torch_stream(number, "test"))
        for rank in range(world_size):
            share = Share(rank, world_size)
            own = change(images[share.rows], 1.0, torch_stream(number, "test"), share)
            torch.testing.assert_close(own, whole[share.rows], rtol=0, atol=1e-6)
