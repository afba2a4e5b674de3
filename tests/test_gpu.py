"""What only a GPU can show; skipped where there is none."""

import csv

import numpy as np
import pytest
import torch

from ohlora_gan.devices import Device
from ohlora_gan.latents.layers import MappingSplit1, W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import load
from ohlora_gan.pipelines.train import train
from tests import tiny
from tests.test_configs import composed
from tests.test_end_to_end import TINY, TINY_GAN

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


@pytest.mark.parametrize("device", ["cuda", "cuda_bf16", "cuda_amp"])
@pytest.mark.parametrize("model", ["pretrain", "finetune_v9"])
def test_gan_trains(device, model, tmp_path):
    overrides = [*TINY, *TINY_GAN, "checkpoint=scratch", f"device={device}", "trainer.max_epochs=3"]
    if model == "pretrain":
        overrides.append("model.module.grow_images=[]")
    train(composed("train", f"model={model}", *overrides, tmp_path=tmp_path))
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/d_loss"]]
    assert len(rows) == 12
    assert all(np.isfinite(float(row[key])) for row in rows for key in ("train/d_loss", "train/g_loss"))
    weights = load(tmp_path / "model.safetensors").tensors
    assert all(torch.isfinite(value).all() for part in weights.values() for value in part.values())
    assert len({row["train/d_loss"] for row in rows}) > 6


@pytest.mark.parametrize("layer", [W(), MappingSplit1()], ids=lambda layer: layer.name)
def test_gpu_and_cpu_give_the_same_scores(layer):
    spaces = [FaceSpace(tiny.generator(), tiny.scorer(), device) for device in (Device(), Device("cuda", "cuda"))]
    cpu, gpu = (space.score_codes(layer, space.codes(layer, *space.latents("t", range(20)))) for space in spaces)
    assert np.abs(cpu - gpu).max() < 1e-2


def test_bf16_sampling_stays_near_float32():
    spaces = [
        FaceSpace(tiny.generator(), tiny.scorer(), Device("cuda", "cuda", precision))
        for precision in ("32-true", "bf16-mixed")
    ]
    exact, rough = (space.score_codes(W(), space.codes(W(), *space.latents("t", range(64)))) for space in spaces)
    assert np.corrcoef(exact.ravel(), rough.ravel())[0, 1] > 0.95
