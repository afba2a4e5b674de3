"""Photographs as faces of a generator: cut out, inverted, and with their edited faces pasted back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.data.alignment import Crop, Cut, cut, read_photo
from ohlora_gan.editing.invert import Inverted, Inverter

Bytes = NDArray[np.uint8]
SCORES_OFF, PIXELS_OFF, FAR = 0.5, 0.06, 1.0
"""More than this, a mean over scores or pixels, or so far out, and the face that was found is another one."""


@dataclass(frozen=True)
class Photos:
    """N photographs and the faces that were found for them.

    Attributes:
        names: what to call them.
        cuts: where the face is in each.
        pictures: the faces, cut out, uint8 ``[N, R, R, 3]``.
        found: what the generator makes of them.
        notes: sentences of what may be wrong.
    """

    names: list[str]
    cuts: list[Cut]
    pictures: Bytes
    found: Inverted
    notes: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which: Sequence[int]) -> "Photos":
        names, cuts = [self.names[n] for n in which], [self.cuts[n] for n in which]
        return Photos(names, cuts, self.pictures[which], self.found[which], self.notes)

    @property
    def scores_off(self) -> NDArray[np.float32]:
        """How far the scores of what was found are from the photographs', a mean in sigmas, ``[N]``; 0 without."""
        if not self.found.scores.shape[1]:
            return np.zeros(len(self), dtype=np.float32)
        return np.abs(self.found.scores - self.found.wanted).mean(axis=1)

    def pasted(self, edited: Bytes) -> list[Bytes]:
        """The photographs with what changed in their faces, uint8 ``[N, R, R, 3]``, see `Cut.pasted`."""
        before = self.found.images.astype(np.float32)
        return [where.pasted(change) for where, change in zip(self.cuts, edited - before, strict=True)]

    def figures(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """How near what was found comes to each; ``names`` are those of the scores."""
        return [
            {
                "face": self.names[n],
                "crop": self.cuts[n].how,
                "residual": round(float(self.found.residual[n]), 4),
                "scores_off": round(float(self.scores_off[n]), 4),
                "scores": {
                    name: {"photograph": round(float(own), 4), "made_again": round(float(got), 4)}
                    for name, own, got in zip(names, self.found.wanted[n], self.found.scores[n], strict=True)
                },
                "distance": round(float(self.found.distance[n]), 4),
                "start": self.found.starts[n],
                "seconds": round(self.found.seconds, 2),
            }
            for n in range(len(self))
        ]

    def table(self) -> list[str]:
        """How near what was found comes, a line each."""
        lines = [f"{'photograph':20} {'crop':9} {'residual':>8} {'scores off':>10} {'distance':>8} {'seconds':>7}"]
        rows = zip(self.names, self.cuts, self.found.residual, self.scores_off, self.found.distance, strict=True)
        lines += [
            f"{name[:20]:20} {where.how:9} {residual:8.3f} {off:10.2f} {far:8.2f} {self.found.seconds:7.1f}"
            for name, where, residual, off, far in rows
        ]
        return lines


def take_photos(inverter: Inverter, sources: Sequence[Any], crop: Crop = "auto") -> Photos:
    """Finds the faces of photographs: files, Pillow images, or arrays uint8 ``[H, W, 3]``.

    Raises:
        UserError: for one that cannot be read or has no face to take, see `data.alignment`.
    """
    names, cuts, notes = [], [], []
    for number, source in enumerate(sources):
        name = Path(source).stem if isinstance(source, str | Path) else f"photo {number}"
        where, said = cut(read_photo(source), crop, inverter.layout)
        names.append(f"{name} {number}" if name in names else name)
        cuts.append(where)
        notes += [f"{name}: {said}"] if said else []
    pictures = np.stack([where.picture(inverter.space.generator.resolution) for where in cuts])
    found = inverter.invert(pictures)
    photos = Photos(names, cuts, pictures, found, notes)
    for n, name in enumerate(names):
        wrong = [
            *([f"pixels differ by {found.residual[n]:.3f}"] if found.residual[n] > PIXELS_OFF else []),
            *([f"scores by {photos.scores_off[n]:.2f} sigmas"] if photos.scores_off[n] > SCORES_OFF else []),
            *([f"it is {found.distance[n]:.2f} times as far out as sampled faces"] if found.distance[n] > FAR else []),
        ]
        if wrong:
            notes.append(f"{name}: what the generator makes of it is another face: {', '.join(wrong)}")
    return photos
