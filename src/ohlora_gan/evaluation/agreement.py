"""How far two scorers agree on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.evaluation.reliability import bootstrap_interval, pearson

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two scorers, a value a property; arrays are float64 ``[P]``.

    Attributes:
        names: the properties that both score.
        pearson: correlation of the two scores, NaN where one of them is constant.
        low, high: its bootstrap 95 % interval.
        slope, offset: the straight line that foretells the second score best from the first.
        r2: share of the second score's variance that the line explains.
        num: number of images.
    """

    names: tuple[str, ...]
    pearson: Floats
    low: Floats
    high: Floats
    slope: Floats
    offset: Floats
    r2: Floats
    num: int

    @classmethod
    def of(cls, first: NDArray, second: NDArray, names: Sequence[str], seed: int = 0) -> "Agreement":
        """From scores ``[N, P]`` of the same N images; ``seed`` decides the resamples.

        Raises:
            ValueError: for fewer than 10 images.
        """
        if len(first) < 10:
            raise ValueError(f"agreement of scorers needs at least 10 images, got {len(first)}: raise n")
        x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
        correlation = pearson(x, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = correlation * y.std(axis=0) / x.std(axis=0)
        offset = y.mean(axis=0) - slope * x.mean(axis=0)
        r2 = 1 - np.square(y - slope * x - offset).sum(axis=0) / np.square(y - y.mean(axis=0)).sum(axis=0)
        return cls(tuple(names), correlation, *bootstrap_interval(x, y, seed), slope, offset, r2, len(x))

    def columns(self) -> dict[str, list[float]]:
        """Columns of a table, a value a property."""
        arrays = {
            "pearson": self.pearson,
            "pearson_low": self.low,
            "pearson_high": self.high,
            "r2_after_line": self.r2,
            "slope": self.slope,
            "offset": self.offset,
        }
        return {name: array.tolist() for name, array in arrays.items()}

    def table(self) -> str:
        """The figures as text, for a terminal or a README."""
        lines = ["| property | Pearson, 95 % interval | R² after the best line | the line |", "|---|---|---|---|"]
        for i, name in enumerate(self.names):
            interval = f"{self.pearson[i]:.3f} [{self.low[i]:.3f}, {self.high[i]:.3f}]"
            lines.append(f"| {name} | {interval} | {self.r2[i]:.3f} | {self.slope[i]:.2f} x {self.offset[i]:+.2f} |")
        return "\n".join(lines)
