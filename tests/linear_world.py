"""A world whose truth is known: a code of 16 values is its own picture, and scores are linear in it."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ohlora_gan import rng

SIZE, SIDE = 16, 4


def render(codes: np.ndarray, noise_seed: int | None = None, first: int = 0, noise: float = 0.0) -> Iterator[Tensor]:
    """Grey pictures ``[n, 3, 4, 4]`` whose pixels are the codes; with a draw of noise, those and some noise."""
    for start in range(0, len(codes), 30):
        pixels = torch.from_numpy(codes[start : start + 30])
        if noise_seed is not None:
            numbers = range(first + start, first + start + len(pixels))
            pixels = pixels + noise * rng.normal(0, f"noise/{noise_seed}", numbers, SIZE)
        yield pixels.reshape(-1, 1, SIDE, SIDE).expand(-1, 3, -1, -1)


class LinearJudge:
    """Scores ``pixels @ matrix``, then ``curve`` of them; pictures for which ``loses`` holds have no score."""

    def __init__(
        self,
        matrix: np.ndarray,
        names: tuple[str, ...],
        name: str = "linear",
        role: str = "finding",
        raw: bool = False,
        curve: Callable[[np.ndarray], np.ndarray] = lambda scores: scores,
        loses: Callable[[np.ndarray], np.ndarray] = lambda scores: np.zeros(len(scores), bool),
    ) -> None:
        self.matrix, self.property_names, self.name, self.role, self.raw = matrix, names, name, role, raw
        self.curve, self.loses = curve, loses
        self.num_pictures = 0

    def score(self, images: Tensor) -> np.ndarray:
        self.num_pictures += len(images)
        scores = self.curve(images[:, 0].flatten(1).numpy() @ self.matrix).astype(np.float32)
        scores[self.loses(scores)] = np.nan
        return scores
