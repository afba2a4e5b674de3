"""How much faster batched sampling is than one image at a time in float32: ratios within one run.

Run by ``make bench``. Generator and scorer are the shipped ones; an image counts when it is made and scored.
"""

import time

from ohlora_gan.devices import Device, keep_freed_memory
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.zoo import open_checkpoint

VARIANTS = {
    "one by one, float32": (Device(channels_last=False), 1),
    "batches of 64, float32": (Device(channels_last=False), 64),
    "batches of 64, float32, channels last": (Device(), 64),
    "batches of 64, bf16, channels last": (Device(name="cpu_bf16", precision="bf16-mixed"), 64),
}
SECONDS = 8.0


def images_per_second(device: Device, batch_size: int) -> float:
    """Images made and scored a second, after a warm-up."""
    generator, scorer = open_checkpoint("v9").build("generator"), open_checkpoint("property_cnn").build("scorer")
    space = FaceSpace(generator, scorer, device, batch_size)  # type: ignore[arg-type]
    codes = space.codes(W(), *space.latents("bench", range(256)))
    space.score_codes(W(), codes[: 2 * batch_size])
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        part = codes[: max(batch_size, 16)]
        space.score_codes(W(), part)
        done += len(part)
    return done / (time.perf_counter() - start)


def main() -> None:
    keep_freed_memory()
    rates = {name: images_per_second(*variant) for name, variant in VARIANTS.items()}
    slowest = rates["one by one, float32"]
    print(f"{'sampling and scoring':42} {'ratio':>8}")
    for name, rate in rates.items():
        print(f"{name:42} {rate / slowest:8.1f}")


if __name__ == "__main__":
    main()
