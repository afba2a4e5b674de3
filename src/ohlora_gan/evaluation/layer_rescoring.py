"""Rescoring by synthesis layer: an edit given to the w of some layers only shows which of them carry a property.

HiGAN (arXiv 1911.09267, section 4.1): early layers carry layout, middle ones objects, late ones colour. An edit at any
extraction layer is first turned into what it adds to w.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ohlora_gan.evaluation.bootstrap import resamples
from ohlora_gan.evaluation.candidates import Source, batches, check_sampling, chosen_properties, compare
from ohlora_gan.latents.layers import Layer, WPlus
from ohlora_gan.latents.space import FaceSpace

Floats = NDArray[np.float64]
Range = tuple[int, int]
"""The first and the last of some synthesis layers."""


@dataclass(frozen=True)
class LayerRescoring:
    """What a run's directions do where they reach some synthesis layers only.

    Attributes:
        run, method, layer: where the directions come from.
        names: the P scored properties.
        properties: the k whose directions were taken.
        resolutions: of the L synthesis layers.
        step: length of the moves.
        ranges: the R sets of layers that were moved.
        changes: score differences float32 ``[n, R, k, P]``, after minus before.
        seed: of the bootstrap.
    """

    run: str
    method: str
    layer: str
    names: tuple[str, ...]
    properties: tuple[str, ...]
    resolutions: list[int]
    step: float
    ranges: list[Range]
    changes: NDArray[np.float32]
    seed: int = 0

    def own(self) -> NDArray[np.float32]:
        """Each direction's change of its own property, ``[n, R, k]``."""
        columns = [self.names.index(name) for name in self.properties]
        return np.stack([self.changes[:, :, k, column] for k, column in enumerate(columns)], axis=2)

    def ds(self) -> Floats:
        """``ds`` of each direction's own property, ``[R, k]``; see ``rescoring``."""
        return np.maximum(self.own(), 0).mean(axis=0, dtype=np.float64)

    def intervals(self) -> tuple[Floats, Floats]:
        """The ends of ds' bootstrap 95 % intervals, ``[R, k]`` each."""
        gains = np.maximum(self.own(), 0).astype(np.float64)
        draws = resamples(len(gains), self.seed, "rescoring") @ gains.reshape(len(gains), -1) / len(gains)
        low, high = np.quantile(draws.reshape(-1, *gains.shape[1:]), (0.025, 0.975), axis=0)
        return low, high

    def slopes(self) -> Floats:
        """Mean change of every property a unit of length along each direction, ``[R, k, P]``."""
        return self.changes.mean(axis=0, dtype=np.float64) / self.step

    def of_single_layers(self) -> list[int]:
        """Places of layers 0 to L-1, each moved alone, among the ranges."""
        return [self.ranges.index((i, i)) for i in range(len(self.resolutions))]

    def of_first_layers(self) -> list[int]:
        """Places of layers 0 to i, moved together, for i from 0 to L-1; the last is the whole edit."""
        return [self.ranges.index((0, i)) for i in range(len(self.resolutions))]

    def rows(self) -> list[list[str]]:
        """A table, header first: a row for each property's direction and range of layers."""
        ds, (low, high), slopes = self.ds(), self.intervals(), self.slopes()
        head = [
            "run",
            "method",
            "layer",
            "property",
            "first",
            "last",
            "first_resolution",
            "last_resolution",
            "step",
            "ds",
            "low",
            "high",
        ]
        rows = [[*head, *(f"slope_{name}" for name in self.names)]]
        for k, name in enumerate(self.properties):
            for r, (first, last) in enumerate(self.ranges):
                sides = self.resolutions[first], self.resolutions[last]
                numbers = [self.step, ds[r, k], low[r, k], high[r, k], *slopes[r, k]]
                rows.append(
                    [
                        self.run,
                        self.method,
                        self.layer,
                        name,
                        *map(str, (first, last, *sides)),
                        *(f"{v:.4f}" for v in numbers),
                    ]
                )
        return rows


def rescore_layers(
    space: FaceSpace,
    source: Source,
    n: int,
    step: float,
    properties: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LayerRescoring:
    """Moves n faces along a run's directions in each synthesis layer alone, and in the first 1, 2, ... L of them.

    Args:
        space: generator and scorer.
        source: the directions, of any extraction layer.
        n: number of faces, at least 10.
        step: length of the moves at the directions' own layer.
        properties: whose directions are taken; None: all.
        progress: called as ``progress(done, n)``.

    Raises:
        ValueError: for too few faces, a step that is not positive, no direction, or scores that are not finite.
    """
    check_sampling(n, step)
    ((_, columns),) = chosen_properties(space, [source], properties)
    num = space.generator.num_layers
    ranges = list(dict.fromkeys([*((i, i) for i in range(num)), *((0, i) for i in range(num))]))
    parts = []
    for batch in batches(space, n):
        codes, directions = source.directions(space, batch)
        base = to_wplus(space, source.layer, codes)
        added = [to_wplus(space, source.layer, codes + np.float32(step) * directions[:, k]) - base for k in columns]
        found = [
            compare(space, batch, WPlus(), (base + only(delta, layers)).reshape(len(base), -1))[0]
            for layers in ranges
            for delta in added
        ]
        parts.append(np.stack(found, axis=1).reshape(len(base), len(ranges), len(columns), -1))
        if progress:
            progress(sum(map(len, parts)), n)
    names = tuple(source.found.properties[k] for k in columns)
    sides = [side for side in space.generator.synthesis.resolutions for _ in range(2)]
    origin = source.run, source.found.method, source.layer.name
    return LayerRescoring(*origin, space.property_names, names, sides, step, ranges, np.concatenate(parts), space.seed)


def to_wplus(space: FaceSpace, layer: Layer, codes: np.ndarray) -> np.ndarray:
    """wp [n, L, w_dim] of vectors [n, D] at a layer."""
    with torch.no_grad():
        v = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)).to(space.device.torch_device)
        w = layer.to_w(space.generator, v).float()
    wp = w if w.ndim == 3 else w.unsqueeze(1).expand(-1, space.generator.num_layers, -1)
    return wp.cpu().numpy()


def only(delta: np.ndarray, layers: Range) -> np.ndarray:
    """What is added to wp [n, L, w_dim], in some layers only."""
    kept = np.zeros_like(delta)
    kept[:, layers[0] : layers[1] + 1] = delta[:, layers[0] : layers[1] + 1]
    return kept
