"""Bootstrap resamples (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13)."""

import numpy as np
from numpy.typing import NDArray

from ohlora_gan import seeding

NUM_RESAMPLES = 1000


def resamples(num: int, seed: int, stream: str) -> NDArray[np.float64]:
    """How often each of ``num`` rows is drawn in each resample, ``[NUM_RESAMPLES, num]``; (seed, stream) decide."""
    rng = seeding.generator(seed, stream)
    return rng.multinomial(num, np.full(num, 1 / num), size=NUM_RESAMPLES).astype(np.float64)
