"""Where memory is full, pictures are made, scored and differentiated fewer at a time; what comes out is the same."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import PROJECT

from ohlora_gan.editing.closed_loop import ClosedLoop
from ohlora_gan.errors import sentence
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.metric import image_gram
from ohlora_gan.latents.space import FaceSpace, score_jacobian
from tests import tiny

MESSAGES = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
    "convolution": RuntimeError("could not create a primitive"),
    "numpy": MemoryError("Unable to allocate 2 GiB for an array"),
}
WORK = {
    "scores": lambda space, w: space.score_codes(W(), w),
    "images": lambda space, w: space.images(W(), w),
    "jacobian": lambda space, w: score_jacobian(space, W(), w)[1],
    "metric": lambda space, w: image_gram(space, W(), w, 2),
    "closed loop": lambda space, w: ClosedLoop(space, W(), None).edit(w, {"eyes": 0.3}).codes,
}


def space(part=None, most=3, error=None):
    """A face space, one of whose networks has room for so many pictures."""
    found = FaceSpace(tiny.generator(), tiny.scorer(), batch_size=32)

    def refuse(_, inputs):
        if len(inputs[0]) > most:
            raise error

    if part == "scorer":
        found.scorer.register_forward_pre_hook(refuse)
    if part == "generator":
        found.synthesize = lambda *inputs: refuse(None, inputs) or FaceSpace.synthesize(found, *inputs)
    return found


@pytest.mark.parametrize("part", ["generator", "scorer"])
@pytest.mark.parametrize("name", WORK)
def test_batches_are_halved(name, part, caplog):
    whole = space()
    w = whole.w("bank", range(13))
    cramped = space(part, 3, MESSAGES["cpu"])
    expected, got = WORK[name](whole, w), WORK[name](cramped, w)
    off = np.abs(got.astype(float) - expected) / (1 + np.abs(expected.astype(float)))
    assert np.quantile(off, 0.7) < 1e-4  # feedback and rounding to 8 bits enlarge some differences of rounding
    if part == "generator" or name in ("scores", "jacobian", "closed loop"):
        assert cramped.batch_size <= 3
        assert "memory is full: " in caplog.text


@pytest.mark.parametrize("error", MESSAGES.values(), ids=MESSAGES)
def test_no_room_for_one_picture_is_told(error):
    with pytest.raises(type(error)) as caught:
        WORK["scores"](space("generator", 0, error), np.zeros((5, 16), np.float32))
    assert "memory is full: use a smaller batch size" in sentence(caught.value)


def test_other_errors_are_raised_at_once():
    with pytest.raises(RuntimeError, match="shapes"):
        WORK["scores"](space("generator", 0, RuntimeError("shapes do not fit")), np.zeros((5, 16), np.float32))


LIMITED = """
import resource
from pathlib import Path
import numpy as np, torch
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from tests import tiny

torch.set_num_threads(1)
networks = tiny.generator(fmaps=[128] * 4), tiny.scorer()
small, large = (FaceSpace(*networks, batch_size=size) for size in (4, 200))
w = small.w("bank", range(200))
expected = small.score_codes(W(), w[:16])
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (200 << 20), resource.RLIM_INFINITY))
scores = large.score_codes(W(), w)
print(large.batch_size, np.abs(scores[:16] - expected).max())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux's")
def test_a_real_limit_halves_the_batches():
    words = [sys.executable, "-c", LIMITED]
    environment = os.environ | {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    size, off = done.stdout.split()
    assert 1 <= int(size) < 200
    assert float(off) < 1e-5
