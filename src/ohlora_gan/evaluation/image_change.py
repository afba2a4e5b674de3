"""What an edit does to the picture besides its scores: how many pixels it changes, where, and how far the face moves
away from itself."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ohlora_gan.evaluation.judges import NetworkJudge
from ohlora_gan.latents.metric import Weights
from ohlora_gan.latents.pixels import change_map

FAINT = 0.1  # what is not to stay still counts a little, or nothing would hold it
PARTS = ("all", "face", "border")
"""What of a picture is to stay: all of it, the face, or what surrounds the face."""
KINDS = ("whole", "face", "outside", "features")


@dataclass(frozen=True)
class Region:
    """An ellipse in a square picture, by its edges in shares of the picture's side.

    The default holds the face (skin, brows, eyes, nose and mouth, not the hair) in the embedded world: over 1,500
    rendered faces .99 of those pixels of their parse maps lie inside, and it covers .28 of the picture.
    """

    top: float = 0.22
    bottom: float = 0.86
    left: float = 0.22
    right: float = 0.78

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1):
            raise ValueError(
                f"the face's region is top {self.top}, bottom {self.bottom}, left {self.left}, right {self.right}: "
                f"expected shares of the picture's side from 0 to 1, top above bottom and left before right"
            )

    def mask(self, side: int) -> Tensor:
        """Which pixels' centres lie inside, bool ``[side, side]``."""
        center = (torch.arange(side) + 0.5) / side
        down = (center - (self.top + self.bottom) / 2) / ((self.bottom - self.top) / 2)
        across = (center - (self.left + self.right) / 2) / ((self.right - self.left) / 2)
        return down[:, None] ** 2 + across[None] ** 2 <= 1

    def weights(self, part: str) -> Weights | None:
        """What says how much a change of each block counts, see ``latents.metric``: for one of ``PARTS``."""
        return {"all": None, "face": self.face_weights, "border": self.border_weights}[part]

    def face_weights(self, side: int) -> NDArray[np.floating]:
        """How much a change counts where the face is to stay: 1 inside, ``FAINT`` outside, ``[side, side]``."""
        return np.where(self.mask(side).numpy(), 1.0, FAINT)

    def border_weights(self, side: int) -> NDArray[np.floating]:
        """How much a change counts where what surrounds the face is to stay: 1 outside, ``FAINT`` inside."""
        return np.where(self.mask(side).numpy(), FAINT, 1.0)


def pixel_change(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute change of a picture's pixels: everywhere, inside a mask, outside of it.

    Args:
        before, after: images ``[n, 3, R, R]`` in [-1, 1]; values beyond are cut off, as files cut them off.
        mask: bool ``[R, R]``.

    Returns:
        float32 ``[n, 3]`` on the scale of pixels in [0, 1]: 0 is no change, 1 is black against white. NaN where no
        pixel lies inside, or none outside.
    """
    change = change_map(before, after)
    inside = mask.to(change.device, change.dtype)
    parts = [change.mean(dim=(1, 2))]
    parts += [(change * weight).sum(dim=(1, 2)) / weight.sum() for weight in (inside, 1 - inside)]
    return torch.stack(parts, dim=1)


def mean_distance(features: NDArray[np.float32]) -> float:
    """Mean Euclidean distance of two different rows of ``[N, F]``; NaN for fewer than two rows."""
    if len(features) < 2:
        return float("nan")
    return float(torch.pdist(torch.from_numpy(features)).mean())


@dataclass
class ChangeMeter:
    """Collects, latent by latent, how far edited pictures are from the unedited one.

    The distance of features is Euclidean, between the activations of the last hidden layer of a judge's network,
    divided by the mean distance of two different unedited faces of the test: 1 is as far as another person. What was
    asked for is part of it: open eyes are far from closed ones.

    Args:
        region: where the face is.
        net: whose features are compared; None: features are not.
    """

    region: Region = field(default_factory=Region)
    net: NetworkJudge | None = None
    _changes: list[NDArray[np.float32]] = field(default_factory=list)
    _features: list[NDArray[np.float32]] = field(default_factory=list)

    def start(self, unedited: Tensor) -> None:
        """Begins the latents of these pictures ``[n, 3, R, R]``."""
        self._unedited = unedited
        self._mask = self.region.mask(unedited.shape[-1])
        self._before = None if self.net is None else self.net.features(unedited)
        if self._before is not None:
            self._features.append(self._before.cpu().numpy())

    def compare(self, images: Tensor, of: Tensor) -> None:
        """Compares edited pictures ``[m, 3, R, R]`` with the unedited ones of the numbers ``of [m]``."""
        change = torch.full((len(images), len(KINDS)), torch.nan)
        change[:, :3] = pixel_change(self._unedited[of], images, self._mask).cpu()
        if self._before is not None and self.net is not None:
            after = self.net.features(images)
            assert after is not None
            change[:, 3] = (after - self._before[of]).norm(dim=1).cpu()
        self._changes.append(change.numpy())

    def result(self, num_latents: int, num_pictures: int) -> dict[str, NDArray[np.float64]]:
        """By the names of ``KINDS``: mean change of each latent's pictures, ``[N]``; NaN where it is not known.

        Args:
            num_latents: N, of those that were begun first.
            num_pictures: pictures a latent.
        """
        changes = np.concatenate(self._changes).astype(np.float64).reshape(-1, num_pictures, len(KINDS))
        means = changes[:num_latents].mean(axis=1)
        means[:, 3] /= mean_distance(np.concatenate(self._features)[:num_latents]) if self._features else np.nan
        return dict(zip(KINDS, means.T, strict=True))
