"""A generator and a scorer seen as a function: latents to codes, codes to images, images to scores."""

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ohlora_gan import rng
from ohlora_gan.devices import Device
from ohlora_gan.errors import is_full_memory
from ohlora_gan.latents.layers import Layer, W
from ohlora_gan.models.frozen import FrozenGenerator
from ohlora_gan.models.gan import from_uint8, to_uint8
from ohlora_gan.models.generator import GeneratorBase, check_channels
from ohlora_gan.models.scorers import fitting
from ohlora_gan.models.wrapped import wrapped_in
from ohlora_gan.names import FILE_WORD, is_file_word
from ohlora_gan.progress import Bar

log = logging.getLogger(__name__)

T = TypeVar("T")

FIND, CHOOSE, REPORT = "bank", "choose", "test"
"""The three sets of latents, as streams: directions are found on the first, calibrated and chosen on the second, and
reported on the third, which neither may look at."""
PIXELS_AT_ONCE = 32 * 128**2
"""At most, on a CPU: 8 pictures of 256 pixels a side."""
NUM_MEASURED = 300
"""Pictures, not truncated, by whose spread a scorer that is no network of ours gets its units."""


class FaceSpace:
    """Runs a generator and a scorer in eval mode, in batches, on one device.

    Noise buffers are fixed, so an image is a function of its latent, unless fresh noise is asked for by a number.
    Scores do not depend on the batch size (up to the rounding of float arithmetic).

    Args:
        scorer: images [N, 3, R, R] in [-1, 1] to property scores [N, P], of its ``property_names``; one of another
            resolution is shown them resized. None: faces are not scored.
        quantize: score 8-bit pictures, as files would hold them, instead of the generator's exact output.
        truncation_psi: how far every w is from its average, in all synthesis layers: ``w_avg + psi (w - w_avg)``
            (Karras et al. 2019, section B); below 1 pictures are alike and clean. It comes after the edit of a vector.
    """

    def __init__(
        self,
        generator: GeneratorBase,
        scorer: nn.Module | None = None,
        device: Device | None = None,
        batch_size: int = 64,
        seed: int = 0,
        quantize: bool = False,
        truncation_psi: float = 1.0,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        check_channels(generator.image_channels)
        if generator.image_channels == 4:
            log.warning("the generator's pictures have a fourth channel, how opaque they are: it is left out")
        generator.check_ready()
        if not 0 < truncation_psi <= 1:
            raise ValueError(f"truncation_psi is {truncation_psi}, expected above 0 and at most 1")
        self.device = device or Device()
        self.generator: GeneratorBase = self.device.place(generator)  # type: ignore[assignment]
        on_cpu = self.device.accelerator == "cpu"
        self._frozen = FrozenGenerator(self.generator, wanted=on_cpu)
        self._scorer = None if scorer is None else self.device.place(fitting(scorer, generator.resolution))
        self.property_names = tuple(map(str, getattr(scorer, "property_names", ())))
        if unfit := [name for name in self.property_names if not is_file_word(name)]:
            raise ValueError(f"the scorer measures {unfit[0]!r}, expected {FILE_WORD}: rename it")
        if on_cpu:  # large pictures take gigabytes, and gain nothing from company
            batch_size = min(batch_size, max(1, PIXELS_AT_ONCE // generator.resolution**2))
        self.batch_size, self.seed, self.quantize = batch_size, seed, quantize
        self.truncation_psi = truncation_psi

    def latents(self, stream: str, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """z [N, z_dim], of N(0, I), and label [N, label_dim] (None where unconditional) of a stream's samples.

        Labels are of N(0, I), too, or, where they are classes, one-hot ones of classes that are equally frequent.
        """
        g = self.generator
        z = rng.normal(self.seed, f"{stream}/z", indices, g.z_dim)
        if not g.label_dim:
            return z, None
        label = rng.normal(self.seed, f"{stream}/label", indices, g.label_dim)
        return z, F.one_hot(label.argmax(dim=1), g.label_dim).float() if g.one_hot_labels else label

    @torch.no_grad()
    def codes(self, layer: Layer, z: Tensor, label: Tensor | None) -> np.ndarray:
        """Vectors at a layer, float32 [N, D]; the mapping network always runs in float32."""
        layer.check(self.generator)
        all_codes = np.empty((len(z), layer.size(self.generator)), np.float32)
        for i in range(0, len(z), 1024):
            part = None if label is None else label[i : i + 1024].to(self.device.torch_device)
            codes = layer.codes(self.generator, z[i : i + 1024].to(self.device.torch_device), part)
            all_codes[i : i + 1024] = codes.float().cpu().numpy()
        return all_codes

    def w(self, stream: str, indices: Sequence[int], psi: float = 1.0) -> np.ndarray:
        """w [N, w_dim] of a stream's samples, truncated toward its average by ``psi`` in all layers; 1: not at all."""
        w = self.codes(W(), *self.latents(stream, indices))
        if psi == 1.0:
            return w
        w_avg = self.generator.w_avg.cpu().numpy()
        return w_avg + psi * (w - w_avg)

    @torch.no_grad()
    def render(
        self, layer: Layer, codes: np.ndarray, noise_seed: int | None = None, first: int = 0
    ) -> Iterator[Tensor]:
        """Images [n, 3, R, R] in about [-1, 1] on the device, batch by batch, from vectors [N, D].

        With a ``noise_seed`` they get fresh per-pixel noise, which this number, the seed of the space and the image's
        own number decide, counted from ``first``. ValueError for a picture that is not finite.
        """
        layer.check(self.generator)

        def render(batch: slice) -> Tensor:
            v = torch.from_numpy(np.ascontiguousarray(codes[batch], dtype=np.float32))
            w = layer.to_w(self.generator, v.to(self.device.torch_device))
            indices = range(first + batch.start, first + batch.stop)
            noise = None if noise_seed is None else self.noise(noise_seed, indices)
            return self.synthesize(w, noise, self._frozen)

        for images in self.batches(len(codes), render):
            if num_bad := int((~images.isfinite()).flatten(1).any(dim=1).sum()):
                raise ValueError(
                    f"{num_bad} of {len(images)} pictures hold values that are not finite: use device=cpu, or weights "
                    f"of another snapshot"
                )
            yield images

    def synthesize(
        self, w: Tensor, noise: list[Tensor] | None = None, by: FrozenGenerator | GeneratorBase | None = None
    ) -> Tensor:
        """Images [n, 3, R, R] in about [-1, 1] from w [n, w_dim] or wp [n, L, w_dim] on the device, truncated.

        ``by`` is what makes them; None: the network, which keeps a graph.
        """
        with self.device.autocast():
            images = (by or self.generator).synthesize(w, self.truncation_psi, self.generator.num_layers, noise)
        return images[:, :3].float().expand(-1, 3, -1, -1)  # grey ones as colours

    def noise(self, noise_seed: int, indices: Sequence[int]) -> list[Tensor]:
        """Per-pixel noise N(0, 1) of some images for every synthesis layer, [N, 1, r, r] each, on the device."""
        sides = self.generator.noise_sides
        drawn = rng.normal(self.seed, f"noise/{noise_seed}", indices, sum(side * side for side in sides))
        parts = drawn.to(self.device.torch_device).split([side * side for side in sides], dim=1)
        return [part.reshape(-1, 1, side, side) for part, side in zip(parts, sides, strict=True)]

    def images(self, layer: Layer, codes: np.ndarray) -> np.ndarray:
        """uint8 images [N, R, R, 3] from vectors [N, D]."""
        return np.concatenate([to_uint8(images).cpu().numpy() for images in self.render(layer, codes)])

    def batches(self, num: int, work: Callable[[slice], T]) -> Iterator[T]:
        """What ``work`` makes of the slices of ``num`` things, batch by batch; of smaller ones where memory is full."""
        done = 0
        while done < num:
            batch = slice(done, min(done + self.batch_size, num))
            try:
                made = work(batch)
            except (RuntimeError, MemoryError) as error:
                self.halve(error)
                continue
            yield made
            done = batch.stop

    def halve(self, error: Exception) -> None:
        """Halves the batches after an error that says that memory is full; other errors, and one of a batch of one, are
        raised."""
        if self.batch_size == 1 or not is_full_memory(error):
            raise error
        self.batch_size //= 2
        log.warning("memory is full: %d pictures at a time from here on (batch_size=)", self.batch_size)

    def seeded(self, seed: int) -> "FaceSpace":
        """The same space with another seed; the networks are shared."""
        other = copy.copy(self)
        other.seed = seed
        return other

    @property
    def scorer(self) -> nn.Module:
        """What scores faces, in standard deviations; ValueError where nothing does."""
        if self._scorer is None:
            raise ValueError("nothing scores these faces: give a scorer")
        for part in wrapped_in(self._scorer):
            if not part.is_measured:
                plain = copy.copy(self)
                plain.seed, plain.truncation_psi = 0, 1.0
                rendered = plain.render(W(), plain.w("units", range(NUM_MEASURED)))
                with Bar(desc=f"units of {part.name}", total=NUM_MEASURED) as bar, torch.no_grad():
                    tables = []
                    for images in rendered:
                        tables.append(part.table(images).cpu())
                        bar.update(len(images))
                part.measure(torch.cat(tables))
        return self._scorer

    @property
    def may_lose(self) -> bool:
        """Whether the scorer may have nothing to say of a picture, whose row of scores then is NaN."""
        return self._scorer is not None and bool(wrapped_in(self._scorer))

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """Property scores float32 [N, P] of images [N, 3, R, R] in [-1, 1].

        Raises:
            ValueError: where there is no scorer, or its scores are not finite; a row of NaN may be, see `may_lose`.
        """
        if self.quantize:
            images = from_uint8(to_uint8(images))
        scorer = self.scorer
        try:
            with self.device.autocast():
                return self.checked(scorer(images).float())
        except (RuntimeError, MemoryError) as error:
            if len(images) == 1:
                raise
            self.halve(error)
        return torch.cat([self.score(half) for half in images.tensor_split(2)])

    def checked(self, scores: Tensor) -> Tensor:
        """Scores [N, P] as they are; ValueError where they are not finite, but for a row of NaN, see `may_lose`."""
        bad = ~scores.isfinite().reshape(len(scores), -1)
        if self.may_lose:
            bad &= ~scores.isnan().all(dim=1, keepdim=True)
        if num_bad := int(bad.any(dim=1).sum()):
            raise ValueError(
                f"{num_bad} of {len(scores)} pictures have scores that are not finite: check the scorer's weights, or "
                f"give a smaller step"
            )
        return scores

    def score_codes(self, layer: Layer, codes: np.ndarray, progress: tqdm | None = None) -> np.ndarray:
        """Property scores float32 [N, P] of the images of vectors [N, D]."""
        parts: list[np.ndarray] = []
        for images in self.render(layer, codes):
            parts.append(self.score(images).cpu().numpy())
            if progress is not None:
                progress.update(len(images))
        return np.concatenate(parts)


def score_jacobian(space: FaceSpace, layer: Layer, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores float32 ``[N, P]`` of vectors ``[N, D]``, and their derivatives in the vectors' values, ``[N, P, D]``.

    Both networks are in eval mode, with the generator's fixed noise. ValueError if a derivative is not finite.
    """

    def differentiate(batch: slice) -> tuple[np.ndarray, np.ndarray]:
        v, images = render_with_graph(space, layer, codes[batch])
        with space.device.autocast():
            scores = space.scorer(images).float()
        if not scores.requires_grad:
            name = getattr(space.scorer, "name", "the scorer")
            raise ValueError(
                f"{name} has no derivatives, which this method needs: `ohlora distill --scorer {name} --generator "
                f"GENERATOR` trains a network that has; or use a method that samples, svm or ridge"
            )
        rows = [
            torch.autograd.grad(scores[:, p].sum(), v, retain_graph=p + 1 < scores.shape[1])[0]
            for p in range(scores.shape[1])
        ]
        return scores.detach().cpu().numpy(), torch.stack(rows, dim=1).cpu().numpy()

    all_scores, jacobians = zip(*space.batches(len(codes), differentiate), strict=True)
    jacobian = np.concatenate(jacobians)
    if num_bad := int((~np.isfinite(jacobian)).any(axis=(1, 2)).sum()):
        raise ValueError(f"{num_bad} of {len(codes)} vectors have derivatives that are not finite: use device=cpu")
    return np.concatenate(all_scores), jacobian


def free_jacobian(space: FaceSpace, layer: Layer) -> Callable[[np.ndarray], np.ndarray]:
    """The scores' derivatives as finders ask for them: in the values that edits may move, at unedited faces."""
    free = layer.free(space.generator)

    def jacobian(part: np.ndarray) -> np.ndarray:
        return score_jacobian(space, layer, layer.whole(space.generator, part))[1][..., free]

    return jacobian


def render_with_graph(space: FaceSpace, layer: Layer, codes: np.ndarray) -> tuple[Tensor, Tensor]:
    """Vectors ``[n, D]`` as a leaf that takes a gradient, and their images ``[n, 3, R, R]`` in about [-1, 1]."""
    layer.check(space.generator)
    device = space.device.torch_device
    v = torch.from_numpy(np.array(codes, dtype=np.float32)).to(device).requires_grad_()
    with torch.enable_grad():
        images = space.synthesize(layer.to_w(space.generator, v))
    return v, images


def change_map(before: Tensor, after: Tensor) -> Tensor:
    """Mean absolute change of the three colours of each pixel, ``[n, R, R]`` from 0 to 1, black against white.

    Images ``[n, 3, R, R]`` are in [-1, 1]; values beyond are cut off, as files cut them off.
    """
    return (before.clamp(-1, 1) - after.clamp(-1, 1)).abs().mean(dim=1) / 2
