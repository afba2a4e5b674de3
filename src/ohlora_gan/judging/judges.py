"""Judges: what scores pictures in the test. One of them found the directions, the others had no part in it."""

from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ohlora_gan.data import landmarks
from ohlora_gan.devices import Device
from ohlora_gan.models.generator import from_uint8, to_uint8

Scores = NDArray[np.float32]
Role = Literal["finding", "judging"]


class Judge(Protocol):
    """Scores pictures.

    Attributes:
        name: unique among the judges of a test.
        property_names: what its P scores are.
        role: ``"finding"`` for the scorer that the directions were found with, ``"judging"`` for any other.
        raw: whether scores are measures in units of their own, to be expressed in standard deviations over the
            unedited faces of the test. If not, they are in sigmas already.
    """

    name: str
    property_names: tuple[str, ...]
    role: Role
    raw: bool

    def score(self, images: Tensor) -> Scores:
        """Scores ``[n, P]`` of images ``[n, 3, R, R]`` in about [-1, 1]; a row of NaN for a picture without a face."""
        ...


class NetworkJudge:
    """A property network as a judge.

    How far its word goes depends on what it learnt from. The shipped ``property_cnn_judge`` has seen rendered faces
    alone, never a generated one, with other weights, another width and other faces than the scorer that finds
    directions: in the embedded world it stands for the renderer's truth.

    Args:
        name: of the judge.
        net: images [n, 3, R, R] in [-1, 1] to scores [n, P]; its ``property_names`` say what they are.
        device: where and in which precision it runs.
        role: see ``Judge``.
        quantize: score 8-bit pictures, as files would hold them.
    """

    raw = False

    def __init__(
        self, name: str, net: nn.Module, device: Device | None = None, role: Role = "judging", quantize: bool = False
    ) -> None:
        self.name, self.role, self.quantize = name, role, quantize
        self.device = device or Device()
        self.net = self.device.place(net)
        names: Any = net.property_names
        self.property_names = tuple(map(str, names))

    @torch.no_grad()
    def score(self, images: Tensor) -> Scores:
        """See ``Judge.score``; ValueError if a score is not finite, which means that the network is broken."""
        with self.device.autocast():
            scores = self.net(self._seen(images)).float().cpu().numpy()
        num_bad = np.count_nonzero(~np.isfinite(scores))
        if num_bad:
            raise ValueError(f"{num_bad} of {scores.size} scores of {self.name} are not finite: use device=cpu")
        return scores

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor | None:
        """Activations of the last hidden layer, float32 ``[n, F]``; None where the network does not tell them."""
        if not hasattr(self.net, "features"):
            return None
        with self.device.autocast():
            return self.net.features(self._seen(images)).float()  # type: ignore[operator]

    def _seen(self, images: Tensor) -> Tensor:
        return from_uint8(to_uint8(images)) if self.quantize else images


MEASURED = {"eyes": "eye_aspect", "mouth": "mouth_opening"}
POSES = ("turn", "tilt")


class LandmarkJudge:
    """MediaPipe's face mesh as a judge: nobody's network of this project (extra ``landmarks``).

    It measures eyes (eye_aspect), mouth (mouth_opening), pose, and the other one of turn and tilt under its own name.

    Args:
        pose: the measure that ``pose`` is: ``"turn"``, as in the labels of aligned photographs, or ``"tilt"``, as in
            the scores of parse maps and the embedded world.

    Raises:
        ValueError: for another pose, or if MediaPipe is not installed.
    """

    name = "landmarks"
    role: Role = "judging"
    raw = True

    def __init__(self, pose: str = "turn") -> None:
        if pose not in POSES:
            raise ValueError(f"pose is {pose!r}, expected one of {', '.join(POSES)}")
        other = POSES[1 - POSES.index(pose)]
        self.columns = MEASURED | {"pose": pose, other: other}
        self.property_names = tuple(self.columns)
        landmarks.detector()  # says at once what is not installed

    def score(self, images: Tensor) -> Scores:
        """Raw measures, see ``landmarks.measure``; NaN where there is not exactly one face."""
        found = landmarks.measure(to_uint8(images).cpu().numpy())
        return np.stack([found[column] for column in self.columns.values()], axis=1).astype(np.float32)
