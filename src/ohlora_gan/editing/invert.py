"""Faces of pictures: w, one a synthesis layer, from which a generator makes a given picture again.

Pictures are met by optimisation (Abdal et al. 2019, arXiv 1904.03189), first with one w for all layers, then with one a
layer, which start from it and are held near it. An `Encoder`, which has learnt on the generator's own faces, says where
to begin; w_avg and the most alike of those faces compete with it. What is moved are the independent directions of
sampled w in their standard deviations, so that a prior on how far out a face may lie is the square of what is moved.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from ohlora_gan.data.alignment import NUM_LOOKED_AT, layout_of
from ohlora_gan.files import replacing
from ohlora_gan.latents.layers import Anchored, Layer, W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.gan import from_uint8, to_uint8
from ohlora_gan.models.scorers import resized
from ohlora_gan.progress import Bar

STREAM = "invert"  # directions are neither found nor judged on its faces
SEED = 0  # of those faces, so that all runs share one encoder
SEEN = 32  # pixels a side that the encoder looks at
LEAST_SPREAD = 1e-3  # of the mean variance of w: directions in which samples vary less are not moved
NUM_NEAR = 4000  # sampled w, of which the nearest stands for a face at layers that w does not tell


@dataclass(frozen=True)
class Inversion:
    """How pictures are met.

    Attributes:
        steps: with one w for all layers, at least 0.
        layer_steps: with one a layer, at least 0; where they are 0, all layers have the same w.
        lr: of Adam, in standard deviations of w; it falls to a tenth.
        scores: how much a sigma of a score that the face is off weighs, squared, beside the mean difference of pixels.
        out: how much the mean square of w weighs, 1 where faces lie that are sampled.
        apart: how much layers that part weigh, likewise.
    """

    steps: int = 60
    layer_steps: int = 90
    lr: float = 0.08
    scores: float = 0.02
    out: float = 0.01
    apart: float = 0.03


@dataclass(frozen=True)
class Learning:
    """How the encoder learns: from so many faces of the generator, at least 1, in so many passes."""

    num: int = 4000
    epochs: int = 12
    batch_size: int = 50
    lr: float = 2e-3


class Encoder(nn.Module):
    """Pictures ``[N, 3, R, R]`` in [-1, 1] to w, in standard deviations along their independent directions."""

    def __init__(self, size: int, width: int = 24):
        super().__init__()
        sides: list[nn.Module] = []
        channels = 3
        for out in (width, 2 * width, 4 * width):
            sides += [nn.Conv2d(channels, out, 3, padding=1), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
            channels = out
        self.net = nn.Sequential(*sides, nn.Flatten(), nn.Linear(channels * (SEEN // 8) ** 2, 256), nn.LeakyReLU(0.2))
        self.last = nn.Linear(256, size)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.net(resized(images, SEEN)))


@dataclass(frozen=True)
class Spread:
    """Where sampled w lie: ``w = mean + u @ axes``, with u ``[N, K]`` of mean 0 and variance 1."""

    mean: Tensor  # [w_dim]
    axes: Tensor  # [K, w_dim]
    outermost: float  # root mean square of u within which .999 of the samples lie

    @classmethod
    def of(cls, w: Tensor) -> "Spread":
        mean = w.mean(dim=0)
        values, vectors = torch.linalg.eigh(torch.cov((w - mean).T.double()))
        kept = values > LEAST_SPREAD * values.mean()
        axes = (vectors[:, kept] * values[kept].sqrt()).T.float()
        spread = cls(mean, axes, 1.0)
        return cls(mean, axes, float(spread.out(w).quantile(0.999)))

    def w(self, u: Tensor) -> Tensor:
        return self.mean + u @ self.axes

    def u(self, w: Tensor) -> Tensor:
        return (w - self.mean) @ torch.linalg.pinv(self.axes)

    def out(self, w: Tensor) -> Tensor:
        """How far out w ``[..., w_dim]`` are, ``[...]``: root mean square of u."""
        return self.u(w).square().mean(dim=-1).sqrt()


@dataclass(frozen=True)
class Inverted:
    """Faces found for N pictures.

    Attributes:
        w: one a synthesis layer, float32 ``[N, L, w_dim]``.
        images: what the generator makes of them, uint8 ``[N, R, R, 3]``.
        residual: mean difference of a pixel from the given picture, black to white being 1, ``[N]``.
        wanted, scores: the scorer's of the given pictures and of those found, ``[N, P]``; of no columns without one.
        distance: of the layer furthest out, 1 being as far as the outermost sampled faces, ``[N]``.
        starts: where each began: ``encoder``, ``sample`` or ``average``.
        seconds: a picture, without learning.
    """

    w: NDArray[np.float32]
    images: NDArray[np.uint8]
    residual: NDArray[np.float32]
    wanted: NDArray[np.float32]
    scores: NDArray[np.float32]
    distance: NDArray[np.float32]
    starts: list[str]
    seconds: float

    def __getitem__(self, which: Sequence[int]) -> "Inverted":
        arrays = {name: getattr(self, name)[which] for name in ARRAYS}
        return Inverted(**arrays, starts=[self.starts[n] for n in which], seconds=self.seconds)


ARRAYS = ("w", "images", "residual", "wanted", "scores", "distance")


@dataclass
class Inverter:
    """Finds faces for pictures; what it has learnt of a generator is kept in a folder.

    Args:
        space: generator and, where there is one, scorer.
        folder: where the encoder is kept; None: it is learnt anew.
        learning: None: there is no encoder.
    """

    space: FaceSpace
    folder: Path | None = None
    how: Inversion = field(default_factory=Inversion)
    learning: Learning | None = field(default_factory=Learning)

    def __post_init__(self) -> None:
        self.space = self.space.seeded(SEED)
        num = NUM_NEAR if self.learning is None else max(self.learning.num, NUM_NEAR)
        self.sampled = torch.from_numpy(self.space.w(STREAM, range(num))).to(self.space.device.torch_device)
        self.spread = Spread.of(self.sampled)
        self.learnt: tuple[Encoder, Tensor] | None = None

    @cached_property
    def _layout(self) -> NDArray[np.float64] | None:
        return layout_of(self.space.images(W(), self.sampled[:NUM_LOOKED_AT].cpu().numpy()))

    def layout(self) -> NDArray[np.float64] | None:
        """Where eyes and mouth lie in the generator's pictures, see `alignment.layout_of`; found at first use."""
        return self._layout

    def invert(self, pictures: NDArray[np.uint8]) -> Inverted:
        """The faces of pictures uint8 ``[N, R, R, 3]``.

        Raises:
            ValueError: for pictures of another size.
        """
        side = self.space.generator.resolution
        if pictures.shape[1:] != (side, side, 3) or not len(pictures):
            raise ValueError(f"pictures have shape {list(pictures.shape)}, expected [N, {side}, {side}, 3]")
        if self.learning is not None and self.learnt is None:
            self.learnt = self.opened()
        found, size = [], self.space.batch_size
        total = -(-len(pictures) // size) * (self.how.steps + self.how.layer_steps)
        with Bar(desc="inverting", total=total, unit="step") as bar:
            for first in range(0, len(pictures), size):
                batch = torch.from_numpy(pictures[first : first + size]).to(self.space.device.torch_device)
                found.append(self._invert(from_uint8(batch), bar))
        arrays = {name: np.concatenate([getattr(part, name) for part in found]) for name in ARRAYS}
        seconds = sum(part.seconds * len(part.w) for part in found) / len(pictures)
        return Inverted(**arrays, starts=[start for part in found for start in part.starts], seconds=seconds)

    def _invert(self, wanted: Tensor, bar: tqdm) -> Inverted:
        started = time.monotonic()
        with torch.no_grad():
            scores = self.scores(wanted)
            u, starts = self.begin(wanted, scores)

        def loss(u: Tensor, apart: Tensor) -> Tensor:
            return self.loss(wanted, scores, u, apart)

        u = self.descend(loss, u, torch.zeros_like(u[:, None]), self.how.steps, bar)[0]
        apart = u.new_zeros(len(u), self.space.generator.num_layers, u.shape[1])
        u, apart = self.descend(loss, u, apart, self.how.layer_steps, bar)
        with torch.no_grad():
            w = self.spread.w(u[:, None] + apart)
            images = self.space.synthesize(w)
            shown = from_uint8(to_uint8(images))
            residual = (shown - wanted).abs().mean(dim=(1, 2, 3)) / 2
            far = self.spread.out(w).amax(dim=1) / self.spread.outermost
            tensors = w, to_uint8(images), residual, scores, self.scores(images), far
        arrays = {name: tensor.cpu().numpy() for name, tensor in zip(ARRAYS, tensors, strict=True)}
        return Inverted(**arrays, starts=starts, seconds=(time.monotonic() - started) / len(wanted))

    def scores(self, images: Tensor) -> Tensor:
        """Differentiable scores ``[N, P]`` of images; of no columns where nothing scores faces."""
        if not self.space.property_names:
            return images.new_zeros(len(images), 0)
        with self.space.device.autocast():
            return self.space.scorer(images).float()

    def begin(self, wanted: Tensor, scores: Tensor) -> tuple[Tensor, list[str]]:
        """u ``[N, K]``, the best of those that are offered, and where each comes from."""
        offered = {"average": torch.zeros(len(wanted), len(self.spread.axes), device=wanted.device)}
        if self.learnt is not None:
            encoder, seen = self.learnt
            offered["encoder"] = encoder(wanted)
            small = F.adaptive_avg_pool2d(wanted, seen.shape[-1]).flatten(1)
            nearest = torch.cdist(small, seen.flatten(1)).argmin(dim=1)
            offered["sample"] = self.spread.u(self.sampled[nearest])
        losses = torch.stack([self.loss(wanted, scores, u, torch.zeros_like(u[:, None])) for u in offered.values()])
        best = losses.argmin(dim=0)
        u = torch.stack(list(offered.values()))[best, torch.arange(len(wanted), device=wanted.device)]
        return u, [list(offered)[i] for i in best.tolist()]

    def loss(self, wanted: Tensor, scores: Tensor, u: Tensor, apart: Tensor) -> Tensor:
        """Of each picture, ``[N]``; ``apart`` ``[N, 1 or L, K]`` is what the layers add to u ``[N, K]``."""
        w = self.spread.w(u[:, None] + apart)
        images = self.space.synthesize(w.expand(-1, self.space.generator.num_layers, -1))
        total = self.how.out * u.square().mean(dim=1) + self.how.apart * apart.square().mean(dim=(1, 2))
        clipped = (wanted.abs() >= 1) & (images * wanted.sign() > 1)  # as files clip it, so it is no fault
        side, images_, wanted_ = images.shape[-1], torch.where(clipped, wanted, images), wanted
        while side >= 8:
            total = total + (images_ - wanted_).abs().mean(dim=(1, 2, 3))
            images_, wanted_, side = F.avg_pool2d(images_, 2), F.avg_pool2d(wanted_, 2), side // 2
        if scores.shape[1] and not self.space.may_lose:
            total = total + self.how.scores * (self.scores(images) - scores).square().mean(dim=1)
        return total

    def descend(
        self, loss_of: Callable[[Tensor, Tensor], Tensor], u: Tensor, apart: Tensor, steps: int, bar: tqdm
    ) -> tuple[Tensor, Tensor]:
        """The best u and ``apart`` on the way down; ``apart`` stays where it has one layer."""
        u = u.detach().clone().requires_grad_()
        moved = [u]
        if apart.shape[1] > 1:
            moved.append(apart := apart.detach().clone().requires_grad_())
        adam = torch.optim.Adam(moved, lr=self.how.lr, betas=(0.9, 0.99))
        best = torch.full((len(u),), torch.inf, device=u.device)
        kept = [tensor.detach().clone() for tensor in (u, apart)]
        for step in range(steps + 1):
            last = step == steps
            with torch.set_grad_enabled(not last):
                loss = loss_of(u, apart)
            better = loss.detach() < best
            best = torch.where(better, loss.detach(), best)
            for old, new in zip(kept, (u, apart), strict=True):
                old[better] = new.detach()[better]
            if not last:
                adam.param_groups[0]["lr"] = self.how.lr * 0.1 ** (step / steps)
                for tensor, gradient in zip(moved, torch.autograd.grad(loss.sum(), moved), strict=True):
                    tensor.grad = gradient
                adam.step()
                bar.update()
        return kept[0], kept[1]

    # --- What is learnt of the generator, once ---

    def opened(self) -> tuple[Encoder, Tensor]:
        """The encoder, and its faces ``[n, 3, 16, 16]`` in [-1, 1], from the folder or learnt now."""
        assert self.learning is not None
        device = self.space.device.torch_device
        what = [weights_hash(self.space.generator), self.space.truncation_psi, repr(self.learning)]
        key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
        path = None if self.folder is None else self.folder / f"encoder_{key}.safetensors"
        encoder = Encoder(len(self.spread.axes)).to(device)
        if path is not None:
            try:
                held = load_file(path, device=str(device))
                seen = from_uint8(held.pop("seen"))
                encoder.load_state_dict(held)
                return encoder.eval(), seen
            except (FileNotFoundError, SafetensorError, KeyError, RuntimeError):
                pass  # not learnt yet, or damaged: learnt anew
        seen = self.learn(encoder, self.learning)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                save_file({**encoder.state_dict(), "seen": to_uint8(seen)}, partial)
        return encoder.eval(), seen

    def learn(self, encoder: Encoder, how: Learning) -> Tensor:
        """Teaches the encoder on fresh faces; returns them, small."""
        device, w = self.space.device.torch_device, self.sampled[: how.num]
        parts, small = [], []
        with Bar(desc="sampling faces to learn from", total=how.num) as bar:
            for images in self.space.render(W(), w.cpu().numpy()):
                parts.append(to_uint8(resized(images, SEEN)))
                small.append(to_uint8(F.adaptive_avg_pool2d(images.clamp(-1, 1), 16)))
                bar.update(len(images))
        pictures, u = torch.cat(parts), self.spread.u(w)
        weights = self.spread.axes.square().sum(dim=1)
        weights = weights / weights.mean()
        order = torch.Generator().manual_seed(SEED)
        steps = how.epochs * -(-how.num // how.batch_size)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(SEED)
            for part in encoder.modules():
                if isinstance(part, nn.Conv2d | nn.Linear):
                    part.reset_parameters()
            adam = torch.optim.Adam(encoder.parameters(), lr=how.lr)
            schedule = torch.optim.lr_scheduler.OneCycleLR(adam, how.lr, total_steps=steps)
            with Bar(desc="learning to invert", total=steps) as bar:
                for _ in range(how.epochs):
                    for batch in torch.randperm(how.num, generator=order).split(how.batch_size):
                        batch = batch.to(device)
                        off = encoder(from_uint8(pictures[batch])) - u[batch]
                        loss = (off.square() * weights).mean()
                        adam.zero_grad()
                        loss.backward()
                        adam.step()
                        schedule.step()
                        bar.update()
        return from_uint8(torch.cat(small))


def anchored(space: FaceSpace, layer: Layer, w: NDArray[np.float32]) -> tuple[Anchored, NDArray[np.float32]]:
    """The layer at which faces of w ``[N, L, w_dim]`` are edited as faces of ``layer`` are, and their codes there.

    A layer that w does not tell, such as z, is entered at the sampled face whose w is nearest.
    """
    layer.check(space.generator)
    sampled = space.seeded(SEED)
    z, label = sampled.latents(STREAM, range(NUM_NEAR))
    known = sampled.codes(W(), z, label)
    nearest = [int(np.square(known - wp.mean(axis=0)).sum(axis=1).argmin()) for wp in w]
    near = sampled.codes(layer, z[nearest], None if label is None else label[nearest])
    where, device = Anchored(layer), space.device.torch_device
    with torch.no_grad():
        codes = where.from_w(space.generator, *(torch.from_numpy(values).to(device) for values in (w, near)))
    return where, codes.cpu().numpy()
