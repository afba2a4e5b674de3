"""`device=auto`: a GPU where there is one, bfloat16 where it is measured to be faster."""

import logging
from typing import get_args

import pytest
import torch
from conftest import PROJECT
from hydra.utils import instantiate
from pytorch_lightning.strategies import DDPStrategy

from ohlora_gan import devices
from ohlora_gan.devices import DDP, NAMED, Device, DeviceUnavailableError
from ohlora_gan.options import DeviceName
from tests.test_configs import composed

no_gpu = pytest.mark.skipif(torch.cuda.is_available() or devices.has_mps(), reason="a GPU is there")


@no_gpu
@pytest.mark.parametrize(("speed", "precision"), [(2.3, "bf16-mixed"), (1.0, "32-true"), (0.002, "32-true")])
def test_auto_takes_bfloat16_where_it_is_faster(monkeypatch, caplog, speed, precision):
    monkeypatch.setattr(devices, "bf16_speed", lambda: speed)
    with caplog.at_level(logging.INFO):
        chosen = Device("auto", "auto", "auto").check()
    assert (chosen.accelerator, chosen.precision) == ("cpu", precision)
    assert f"device=auto: cpu, {precision} (bfloat16 is {speed:.3g} times as fast as float32 here)" in caplog.text


def test_slow_bfloat16_is_refused_with_both_figures(monkeypatch):
    device = Device("cpu_bf16", precision="bf16-mixed")
    monkeypatch.setattr(devices, "gflops", {torch.float32: 107.0, torch.bfloat16: 0.24}.__getitem__)
    with pytest.raises(DeviceUnavailableError, match=r"0\.24 GFLOP/s in bfloat16 and 107 in float32.*use device=auto"):
        device.check()
    monkeypatch.setattr(devices, "gflops", {torch.float32: 107.0, torch.bfloat16: 240.0}.__getitem__)
    assert device.check() == device


def test_float32_measures_nothing(monkeypatch):
    monkeypatch.setattr(devices, "gflops", lambda _: pytest.fail("was measured"))
    assert Device().check() == Device()


@pytest.mark.parametrize("name", ["devices", "num_nodes"])
@pytest.mark.parametrize("value", [True, 0, -1, 2.0, "auto", [0, 1], None])
def test_numbers_of_devices_are_whole(name, value):
    with pytest.raises(ValueError, match=f"device.{name} is .*, expected a whole number of 1 or more"):
        Device(**{name: value})


@pytest.mark.parametrize("more", [{"devices": 2}, {"num_nodes": 3}, {"strategy": DDP}])
def test_several_devices_alone_are_enough(more):
    strategy = Device(**more, timeout=7).trainer_options()["strategy"]
    assert isinstance(strategy, DDPStrategy)
    assert strategy._ddp_kwargs["find_unused_parameters"]
    assert strategy._timeout.total_seconds() == 7
    assert Device().trainer_options()["strategy"] == "auto"
    assert Device(**more | {"strategy": "fsdp"}).trainer_options()["strategy"] == "fsdp"


@pytest.mark.parametrize("value", [True, 0, -1, "60", None, float("nan"), float("inf")])
def test_a_timeout_is_in_seconds(value):
    with pytest.raises(ValueError, match=r"device.timeout is .*, expected seconds above 0"):
        Device(timeout=value)


def test_processes_that_train_together_take_no_apple_gpu(monkeypatch):
    monkeypatch.setattr(devices, "has_mps", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Device(accelerator="auto").check().accelerator == "mps"
    assert Device(accelerator="auto", devices=2).check().accelerator == "cpu"


def test_measuring_draws_no_random_numbers():
    devices.gflops.cache_clear()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert devices.bf16_speed() > 0
    assert torch.equal(torch.rand(2), expected)


def test_devices_of_commands_are_those_of_the_configs():
    conf = {path.stem for path in (PROJECT / "conf" / "device").glob("*.yaml")}
    conf -= {"ddp", "ddp_cpu", "multinode"}  # of several devices
    assert set(NAMED) == set(get_args(DeviceName)) == conf
    for name, device in NAMED.items():
        assert instantiate(composed("train", f"device={name}").device) == device
