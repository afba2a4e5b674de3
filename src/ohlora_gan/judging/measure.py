"""Pictures of moved latents: each is rendered once and scored by all judges, a batch of latents at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from ohlora_gan.data import landmarks
from ohlora_gan.devices import Device
from ohlora_gan.judging.figures import lost_pictures
from ohlora_gan.latents.metric import Region
from ohlora_gan.latents.space import change_map
from ohlora_gan.models.gan import from_uint8, to_uint8
from ohlora_gan.models.wrapped import wrapped_in
from ohlora_gan.world.truth import ATTRIBUTES, Truth

Scores = NDArray[np.float32]
Role = Literal["finding", "judging"]


class Judge(Protocol):
    """Scores pictures."""

    name: str  # unique among the judges of a test
    property_names: tuple[str, ...]  # what its P scores are
    role: Role  # ``"finding"`` for the scorer that the directions were found with, ``"judging"`` for any other
    # whether scores are measures in units of their own, to be expressed in standard deviations over the unedited faces
    # of the test. If not, they are in sigmas already.
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
        net: images [n, 3, R, R] in [-1, 1] to scores [n, P]; its ``property_names`` say what they are.
        device: where and in which precision it runs.
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
        known = scores[~lost_pictures(scores)] if wrapped_in(self.net) else scores
        if num_bad := np.count_nonzero(~np.isfinite(known)):
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


DAMAGE = "damage"
"""The last score of a judge that sees damage: how far a picture is from one of a whole face, in a unit of its own."""
POSES = ("turn", "tilt")


class LandmarkJudge:
    """MediaPipe's face mesh as a judge: nobody's network of this project (extra ``landmarks``).

    It measures eyes (eye_aspect), mouth (mouth_opening), pose, and the other one of turn and tilt under its own name.
    The last of its scores is ``DAMAGE``: how far the meshes of a picture and of its mirror image differ
    (`landmarks.mirror_distance`).

    Args:
        pose: the measure that ``pose`` is: ``"turn"``, as in the labels of aligned photographs, or ``"tilt"``, as in
            the scores of parse maps and the embedded world. None: all that `landmarks.LandmarkScorer` tells, by its
            names.

    Raises:
        ValueError: for another pose, or if MediaPipe is not installed.
    """

    name = "landmarks"
    role: Role = "judging"
    raw = True

    def __init__(self, pose: str | None = "turn") -> None:
        if pose not in (None, *POSES):
            raise ValueError(f"pose is {pose!r}, expected one of {', '.join(POSES)}")
        told = landmarks.LandmarkScorer().property_names
        chosen = list(told) if pose is None else ["eyes", "mouth", pose, POSES[1 - POSES.index(pose)]]
        self._columns = [*(landmarks.LandmarkScorer.columns[name] for name in chosen), "doubt"]
        self.property_names = (*("pose" if name == pose else name for name in chosen), DAMAGE)

    def score(self, images: Tensor) -> Scores:
        """Raw measures, see ``landmarks.measure``; NaN where there is not exactly one face."""
        return landmarks.measured(images, self._columns)


class TruthJudge:
    """What pictures of the embedded world truly show, whatever a scorer makes of them: see `world.truth.Truth`.

    Its scores are all attributes of a face, those that no scorer sees included: continuous ones in standard deviations
    from their mean, binary ones 0 or 1. The last one is ``DAMAGE``, how far the picture is apart from that face, in
    levels of 255 (`Residuals`): a face that was edited and is whole is as near to one of the world as it was before.
    """

    name = "truth"
    role: Role = "judging"
    raw = False
    property_names = (*ATTRIBUTES, DAMAGE)

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def score(self, images: Tensor) -> Scores:
        """See ``Judge.score``; no picture is lost, however bad it is."""
        reading = self.truth.read(to_uint8(images).cpu().numpy())
        return np.column_stack([reading.standardized, reading.residuals.apart]).astype(np.float32)


KINDS = ("whole", "face", "outside", "features")


def pixel_change(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """Mean change of the pixels of pictures ``[n, 3, R, R]``, see ``change_map``: everywhere, inside a mask bool
    ``[R, R]``, outside of it; ``[n, 3]``, NaN where no pixel lies inside, or none outside."""
    change = change_map(before, after)
    inside = mask.to(change.device, change.dtype)
    parts = [change.mean(dim=(1, 2))]
    parts += [(change * weight).sum(dim=(1, 2)) / weight.sum() for weight in (inside, 1 - inside)]
    return torch.stack(parts, dim=1)


def mean_distance(features: NDArray[np.float32]) -> float:
    """Mean Euclidean distance of two different rows of ``[N, F]``; NaN for fewer than two rows."""
    return float(torch.pdist(torch.from_numpy(features)).mean()) if len(features) > 1 else float("nan")


@dataclass
class ChangeMeter:
    """Collects, latent by latent, how far edited pictures are from the unedited one.

    The distance of features is Euclidean, between the activations of the last hidden layer of a judge's network,
    divided by the mean distance of two different unedited faces of the test: 1 is as far as another person. What was
    asked for is part of it: open eyes are far from closed ones.
    """

    region: Region = field(default_factory=Region)  # where the face is
    net: NetworkJudge | None = None  # whose features are compared; None: features are not
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
        """By the names of ``KINDS``: mean change of the pictures of each latent, of those that were begun first,
        ``[num_latents]``; NaN where it is not known. Each latent has ``num_pictures``."""
        changes = np.concatenate(self._changes).astype(np.float64).reshape(-1, num_pictures, len(KINDS))
        means = changes[:num_latents].mean(axis=1)
        means[:, 3] /= mean_distance(np.concatenate(self._features)[:num_latents]) if self._features else np.nan
        return dict(zip(KINDS, means.T, strict=True))


Render = Callable[[np.ndarray, int | None, int], Iterator[Tensor]]
"""Codes ``[M, D]``, the number of a draw of noise (None: the fixed noise) and of the first picture, to pictures
``[m, 3, R, R]`` in about [-1, 1], batch by batch."""

Move = Callable[[np.ndarray, Sequence[str] | np.ndarray], np.ndarray]
"""Codes ``[n, D]`` and their groups ``[n]`` to all K edits of each: float32 ``[n, K, D]``."""

SECOND_DRAW = 1  # the number of the noise of the second draw


@dataclass(frozen=True)
class Seen:
    """What one judge saw of N latents; the row of a lost picture is NaN."""

    name: str  # the judge's
    role: Role
    names: tuple[str, ...]  # what its P scores are
    unedited: Scores  # scores of the unedited faces, float32 ``[N, P]``
    scores: Scores  # scores of the edited faces, float32 ``[N, K, P]``
    again: Scores | None = None  # the same with fresh noise, ``[N, K, P]``; None where there was no second draw

    @property
    def lost(self) -> float:
        """Share of the edited pictures without a score, 0 to 1."""
        return float(lost_pictures(self.scores).mean())

    def standardised(self, scores: Scores) -> Scores:
        """Raw measures ``[..., P]`` in standard deviations over the unedited faces, from their mean, but ``DAMAGE`` as
        it is; ValueError where fewer than two of these have scores, or they do not differ."""
        known = self.unedited[~lost_pictures(self.unedited)].astype(np.float64)
        mean, spread = (known.mean(axis=0), known.std(axis=0)) if len(known) else (0.0, np.zeros(1))
        scaled = np.array([name != DAMAGE for name in self.names])
        if len(known) < 2 or (spread[scaled] == 0).any():
            raise ValueError(
                f"{self.name} measured {len(known)} of {len(self.unedited)} unedited faces, too few that differ to "
                f"say what a standard deviation is: raise test.num_latents, or judge by a network"
            )
        return np.where(scaled, (scores - mean) / np.where(scaled, spread, 1), scores).astype(np.float32)

    def without_last(self) -> "Seen":
        """The same without the last of the P scores."""
        again = None if self.again is None else self.again[..., :-1]
        fewer = self.unedited[..., :-1], self.scores[..., :-1]
        return Seen(self.name, self.role, self.names[:-1], *fewer, again)

    def in_sigmas(self) -> "Seen":
        """The same with all scores standardised."""
        again = None if self.again is None else self.standardised(self.again)
        unedited, scores = self.standardised(self.unedited), self.standardised(self.scores)
        return replace(self, unedited=unedited, scores=scores, again=again)


@dataclass
class Scoring:
    """What makes pictures of codes, and who scores them."""

    render: Render  # what makes pictures of vectors
    # at least one; none may be ``raw`` where it comes first and ``measure`` is to end with enough
    judges: Sequence[Judge]
    meter: ChangeMeter | None = None  # told of every picture of the first draw and of the unedited one it came from
    latents_per_batch: int = 8  # how many latents' codes are held at a time, at least 1; it has no part in the result

    def measure(
        self,
        codes: np.ndarray,
        groups: Sequence[str] | np.ndarray,
        move: Move,
        retest: bool = False,
        enough: Callable[[int, Scores], bool] | None = None,
        progress: tqdm | None = None,
    ) -> list[Seen]:
        """Moves latents, float32 ``[N, D]`` of groups ``[N]``, and has every judge score every picture.

        Args:
            retest: make every edited picture a second time, with fresh noise.
            enough: told the number and the first judge's scores ``[K, P]`` of each latent in turn; True ends the test
                with that latent.
            progress: told of each latent.

        Returns:
            What each judge saw of the latents tested, in their own units where they are ``raw``.
        """
        judges, at_once = self.judges, self.latents_per_batch
        if len(groups) != len(codes) or not len(codes) or not judges or at_once < 1:
            raise ValueError(
                f"there are {len(codes)} codes, {len(groups)} groups, {len(judges)} judges and {at_once} latents "
                f"a batch: expected as many groups as codes, and at least 1 of each"
            )
        draws: list[list[list[Scores]]] = []  # of each batch: unedited, edited and, with a retest, edited again
        num, done = 0, False
        while num < len(codes) and not done:
            batch = slice(num, num + at_once)
            faces = torch.cat(list(self.render(codes[batch], None, num)))
            moved = move(codes[batch], groups[batch])
            first = num * moved.shape[1]
            if self.meter is not None:
                self.meter.start(faces)
            draws.append([[judge.score(faces) for judge in judges], self.score(moved, None, first, self.meter)])
            if retest:
                draws[-1].append(self.score(moved, SECOND_DRAW, first))
            for of_latent in draws[-1][1][0]:
                done = enough is not None and enough(num, of_latent)
                num += 1
                if progress is not None:
                    progress.update()
                if done:
                    break
        return [
            Seen(
                *(judge.name, judge.role, judge.property_names),
                *(np.concatenate([of[j] for of in draw])[:num] for draw in zip(*draws, strict=True)),
            )
            for j, judge in enumerate(judges)
        ]

    def score(
        self, moved: np.ndarray, noise_seed: int | None = None, first: int = 0, meter: ChangeMeter | None = None
    ) -> list[Scores]:
        """Every judge's scores float32 ``[n, K, P]`` of the pictures of codes ``[n, K, D]``, of which a meter is told;
        ``noise_seed`` and ``first`` as in ``Render``."""
        num_latents, num_strengths, size = moved.shape
        parts, position = [], 0
        for images in self.render(moved.reshape(-1, size), noise_seed, first):
            if meter is not None:
                meter.compare(images, torch.arange(position, position + len(images)) // num_strengths)
            position += len(images)
            parts.append([judge.score(images) for judge in self.judges])
        results = []
        for judge, of_judge in zip(self.judges, zip(*parts, strict=True), strict=True):
            scores = np.concatenate(of_judge, dtype=np.float32)
            expected = (num_latents * num_strengths, len(judge.property_names))
            if scores.shape != expected:
                raise ValueError(f"{judge.name} gave scores of shape {list(scores.shape)}, expected {list(expected)}")
            results.append(scores.reshape(num_latents, num_strengths, -1))
        return results
