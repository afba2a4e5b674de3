"""Two machines train one GAN, each a network namespace of its own: one is killed, or its cable is pulled."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import PROJECT

from ohlora_gan.models import checkpoint
from ohlora_gan.pipelines.shells import environment

pytestmark = pytest.mark.slow  # each training starts torchrun and Python on both

ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}
SETTINGS = [
    *["model=finetune_v1", "resolution=32", "scorer=null", "filters=[]", "model.module.generator.fmaps=[16,16,16,16]"],
    *["data.num_images=64", "data.batch_size=8", "trainer.max_epochs=10", "trainer.enable_progress_bar=false"],
    *["callbacks.samples=null", "callbacks.checkpoint.every_n_train_steps=3", "logger=csv"],
    *["device=multinode", "device.accelerator=cpu"],
]


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True, timeout=20).stdout


class Machine:
    """A namespace, with one end of the cable between the two."""

    def __init__(self, name):
        self.name, self.space, self.cable = name, f"ohlora{os.getpid()}{name}", f"v{os.getpid()}{name}"
        ip("netns", "add", self.space)

    def join(self):
        ip("-n", self.space, "addr", "add", f"{ADDRESSES[self.name]}/24", "dev", self.cable)
        ip("-n", self.space, "link", "set", "lo", "up")
        ip("-n", self.space, "link", "set", self.cable, "up")

    def train(self, folder, *words):
        host = self.name == "a"
        command = [
            *["ip", "netns", "exec", self.space, sys.executable, "-m", "torch.distributed.run"],
            *["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES['a']}:29500"],
            *[f"--rdzv-conf=is_host={int(host)},timeout=60", f"--local-addr={ADDRESSES[self.name]}"],
            *["train.py", *SETTINGS, f"paths.output_dir={folder}", *words],
        ]
        more = {"PYTHONPATH": str(PROJECT / "src"), "GLOO_SOCKET_IFNAME": self.cable, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, cwd=PROJECT, env=environment() | more, text=True, stderr=subprocess.PIPE)

    def kill(self):
        for process in ip("netns", "pids", self.space).split():
            os.kill(int(process), signal.SIGKILL)

    def remove(self):
        self.kill()
        ip("netns", "del", self.space)


@pytest.fixture
def machines():
    made = []
    try:
        if shutil.which("ip") is None:
            pytest.skip("no program `ip`, which makes network namespaces")
        try:
            made += [Machine("a")]
            made += [Machine("b")]
            ends = ["type", "veth", "peer", "name", made[1].cable, "netns", made[1].space]
            ip("link", "add", made[0].cable, "netns", made[0].space, *ends)
            for machine in made:
                machine.join()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
        yield made
    finally:
        for machine in made:
            machine.remove()


def both(machines, folder, *words):
    """Trains on both to the end."""
    running = [machine.train(folder, *words) for machine in machines]
    for process in running:
        said = process.communicate(timeout=200)[1]
        assert process.returncode == 0, said


def alone(machines, folder, lose, *words):
    """Trains on both, loses the second, and returns the seconds until the first has ended, and what it said."""
    first, second = [machine.train(folder, *words) for machine in machines]
    until = time.monotonic() + 120
    while not (folder / "last.ckpt").is_file():
        assert first.poll() is None, first.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    lose(machines[1])
    began = time.monotonic()
    said = first.communicate(timeout=60)[1]
    took = time.monotonic() - began
    machines[1].kill()
    second.communicate(timeout=20)
    assert first.returncode != 0
    assert int(torch.load(folder / "last.ckpt", weights_only=True)["global_step"]) < 40, "lost too late"
    return took, said


def sentence(said):
    (found,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert 'File "' + str(PROJECT / "src") not in said  # no traceback of ours besides
    return found


def test_the_other_ends_with_a_sentence_and_both_go_on(machines, tmp_path):
    both(machines, tmp_path / "whole", "checkpoint=scratch")
    _, said = alone(machines, folder := tmp_path / "killed", Machine.kill, "checkpoint=scratch")
    last = folder / "last.ckpt"
    assert sentence(said).startswith("error: another process of this training has ended")
    assert f"ckpt_path={last}" in said
    assert "torchrun ... train.py" in said
    both(machines, folder, f"ckpt_path={last}")
    whole, resumed = (checkpoint.load(tmp_path / name / "model.safetensors").tensors for name in ("whole", "killed"))
    for network, tensors in whole.items():
        for name, value in tensors.items():
            assert torch.equal(value, resumed[network][name]), f"{network}.{name}"


def test_a_machine_that_says_nothing_is_waited_for_as_long_as_the_setting_says(machines, tmp_path):
    def unplug(machine):
        ip("-n", machine.space, "link", "set", machine.cable, "down")

    took, said = alone(machines, tmp_path / "run", unplug, "checkpoint=scratch", "device.timeout=5")
    assert 3 < took < 30
    assert "said nothing for device.timeout seconds" in sentence(said)
