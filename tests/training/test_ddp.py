"""Two processes train one GAN: same updates, same weights, but data and latents of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ohlora_gan.models import checkpoint

pytestmark = pytest.mark.slow  # two more processes that import torch

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.ddp_script", str(folder)],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)], folder


def test_ranks_take_the_same_updates(ranks):
    (first, second), _ = ranks
    # latents to mix with are drawn or not by each rank for itself
    updates = [[update for update, _ in rank["z"] if "mix" not in update] for rank in (first, second)]
    assert updates[0] == updates[1]
    for figures, others in zip(first["figures"], second["figures"], strict=True):
        for name in ("train/d_train_count", "train/g_train_count", "train/d_loss", "train/g_loss"):
            assert figures[name] == others[name]
        assert figures["train/real_scores_mean"] != others["train/real_scores_mean"]  # each has images of its own
    assert len({figures["train/d_train_count"] for figures in first["figures"]}) > 1


def test_a_signal_to_one_rank_stops_both(ranks):
    (first, second), folder = ranks
    assert first["steps"] == second["steps"] == [1, 2, 3]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 3


def test_weights_are_the_same_on_both_ranks(ranks):
    (first, second), folder = ranks
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    exported = checkpoint.load(folder / "model.safetensors").tensors["discriminator"]
    assert all(torch.equal(value, first["state"][f"discriminator.{name}"]) for name, value in exported.items())


def test_ranks_see_images_and_latents_of_their_own(ranks):
    (first, second), _ = ranks
    for batch, other in zip(first["data"], second["data"], strict=True):
        assert not set(batch) & set(other)
    z = torch.cat([z for _, z in first["z"] + second["z"]])
    assert len(torch.unique(z, dim=0)) == len(z)
    assert int(first["state"]["images_seen"]) == 3 * 2 * 4
