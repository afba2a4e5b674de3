"""A data set's scores as N(0, 1), and new scores by the same statistics."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ohlora_gan.files import write_json


@dataclass(frozen=True)
class Normalization:
    """Mean and sample standard deviation of each property over a data set.

    Attributes:
        mean: property -> mean.
        std: property -> standard deviation (n - 1 in the denominator), above 0.
    """

    mean: Mapping[str, float]
    std: Mapping[str, float]

    def __post_init__(self) -> None:
        if set(self.mean) != set(self.std):
            raise ValueError(f"statistics have means of {', '.join(self.mean)} but deviations of {', '.join(self.std)}")
        for name in self.mean:
            mean, std = self.mean[name], self.std[name]
            if not (np.isfinite(mean) and np.isfinite(std) and std > 0):
                raise ValueError(
                    f"{name} has mean {mean} and deviation {std}: expected finite numbers, the second above 0"
                )

    def apply(self, scores: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
        """``(score - mean) / std`` of every property; NaN stays NaN.

        Raises:
            ValueError: for a property without statistics.
        """
        unknown = [name for name in scores if name not in self.mean]
        if unknown:
            known = ", ".join(self.mean)
            raise ValueError(f"no statistics for {', '.join(unknown)}, only for {known}: fit on scores that hold them")
        return {
            name: (np.asarray(values, dtype=np.float64) - self.mean[name]) / self.std[name]
            for name, values in scores.items()
        }

    def save(self, path: str | Path) -> None:
        """Writes the statistics as JSON: ``{"mean": {property: ...}, "std": {property: ...}}``."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Normalization":
        """Reads what ``save`` wrote.

        Raises:
            ValueError: if the file is missing or holds no such statistics.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            mean, std = ({str(k): float(v) for k, v in content[key].items()} for key in ("mean", "std"))
            return cls(mean, std)
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no usable statistics ({error}): expected JSON as Normalization.save writes it"
            ) from error


def fit_normalization(scores: Mapping[str, ArrayLike]) -> Normalization:
    """The statistics that give each property mean 0 and standard deviation 1 over a data set.

    Args:
        scores: property -> ``[N]``; NaN means unknown and is left out.

    Raises:
        ValueError: if a property has fewer than two known values, or the same value everywhere.
    """
    mean, std = {}, {}
    for name, values in scores.items():
        array = np.asarray(values, dtype=np.float64)
        known = array[~np.isnan(array)]
        if len(known) < 2:
            raise ValueError(f"{name} has {len(known)} known values, normalisation needs at least 2: leave {name} out")
        mean[name], std[name] = float(known.mean()), float(known.std(ddof=1))
        if np.ptp(known) == 0:  # not std == 0: rounding makes that 1e-17
            raise ValueError(
                f"{name} is {known[0]:g} in all {len(known)} faces, so it has no spread to normalise by: "
                f"leave {name} out, or add faces that differ in it"
            )
    return Normalization(mean, std)
