"""Extraction layers: take a vector out of the generator, and continue from an edited one."""

import re
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from ohlora_gan.models.gan import Generator, Mapping
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.registry import LAYERS


class Layer(ABC):
    """A place between z and the synthesis network where directions are sought.

    A layer makes codes of latents and goes on from edited codes to the image's w, and knows which of their values
    edits may move. Configs and files call it by its ``name``.
    """

    name: str
    equivalent_to_w = False  # whether every edit at this layer equals an edit of w

    @classmethod
    def named(cls, name: str) -> "Layer | None":
        """The layer of this kind that files call ``name``; None where it is not of this kind."""
        return cls() if name == cls.name else None

    @abstractmethod
    def size(self, generator: GeneratorBase) -> int:
        """Length D of the vector."""

    @abstractmethod
    def codes(self, generator: GeneratorBase, z: Tensor, label: Tensor | None) -> Tensor:
        """The vectors [N, D] of z [N, z_dim] and label [N, label_dim] (None: zeros, or an unconditional generator)."""

    @abstractmethod
    def to_w(self, generator: GeneratorBase, codes: Tensor) -> Tensor:
        """w [N, w_dim], or wp [N, L, w_dim] with one a synthesis layer, from (edited) vectors [N, D]."""

    def free(self, generator: GeneratorBase) -> slice:
        """Which of the D values edits may move; directions are 0 in the others."""
        return slice(0, self.size(generator))

    def whole(self, generator: GeneratorBase, part: np.ndarray) -> np.ndarray:
        """The vectors [N, D] of unedited latents from their free values [N, free D]."""
        return part

    def from_w(self, generator: GeneratorBase, wp: Tensor, near: Tensor) -> Tensor:
        """Vectors [N, D] whose w come near wp [N, L, w_dim]; ``near`` [N, D], those of sampled faces, at the worst."""
        return near

    def check(self, generator: GeneratorBase) -> None:
        """Raises ValueError where the generator lacks the layer."""
        return


class Z(Layer):
    """What goes into the generator: concat(z, label), or z alone where it is unconditional; D = 512 + 7."""

    name = "z"

    def size(self, generator: GeneratorBase) -> int:
        return generator.z_dim + generator.label_dim

    def codes(self, generator: GeneratorBase, z: Tensor, label: Tensor | None) -> Tensor:
        if label is None:
            label = z.new_zeros(len(z), generator.label_dim)
        return torch.cat([z, label], dim=1)

    def to_w(self, generator: GeneratorBase, codes: Tensor) -> Tensor:
        z, label = codes[:, : generator.z_dim], codes[:, generator.z_dim :]
        return generator.map(z, label if generator.label_dim else None)


class W(Layer):
    """w itself: D = w_dim (512)."""

    name = "w"

    def size(self, generator: GeneratorBase) -> int:
        return generator.w_dim

    def codes(self, generator: GeneratorBase, z: Tensor, label: Tensor | None) -> Tensor:
        return generator.map(z, label)

    def to_w(self, generator: GeneratorBase, codes: Tensor) -> Tensor:
        return codes

    def from_w(self, generator: GeneratorBase, wp: Tensor, near: Tensor) -> Tensor:
        return wp.mean(dim=1)


class SplitLayer(Layer):
    """A layer of the split/merge (v9) mapping; its first values belong to the old branch."""

    def check(self, generator: GeneratorBase) -> None:
        mapping = getattr(generator, "mapping", None)
        if not (isinstance(mapping, Mapping) and mapping.split):
            raise ValueError(
                f"layer {self.name} needs a generator with a split (v9) mapping, this one's is plain: use layer=w"
            )

    def mapping(self, generator: GeneratorBase) -> Mapping:
        assert isinstance(generator, Generator)
        return generator.mapping


class MappingSplit1(SplitLayer):
    """concat(w1, w2), the second-to-last stage: D = 512 + 2048. Edits pass two dense layers on their way to w."""

    name = "mapping_split1"

    def size(self, generator: GeneratorBase) -> int:
        return int(generator.config["mapping_dim"]) + 4 * generator.w_dim

    def codes(self, generator: GeneratorBase, z: Tensor, label: Tensor | None) -> Tensor:
        mapped = self.mapping(generator)(z, label)
        return torch.cat([mapped.w1, mapped.w2], dim=1)

    def to_w(self, generator: GeneratorBase, codes: Tensor) -> Tensor:
        hidden = int(generator.config["mapping_dim"])
        w1_, w2_ = self.mapping(generator).merge_vectors(codes[:, :hidden], codes[:, hidden:])
        return w1_ + w2_


class MappingSplit2(SplitLayer):
    """concat(w1', w2'), the last stage: D = 512 + 512. w = w1' + w2', so an edit (d1, d2) is the edit d1 + d2 of w."""

    name = "mapping_split2"
    equivalent_to_w = True

    def size(self, generator: GeneratorBase) -> int:
        return 2 * generator.w_dim

    def codes(self, generator: GeneratorBase, z: Tensor, label: Tensor | None) -> Tensor:
        mapped = self.mapping(generator)(z, label)
        return torch.cat([mapped.w1_, mapped.w2_], dim=1)

    def to_w(self, generator: GeneratorBase, codes: Tensor) -> Tensor:
        return codes[:, : generator.w_dim] + codes[:, generator.w_dim :]

    def from_w(self, generator: GeneratorBase, wp: Tensor, near: Tensor) -> Tensor:
        return near + (wp.mean(dim=1) - self.to_w(generator, near)).repeat(1, 2) / 2


class WPlus(Layer):
    """A w for each synthesis layer, of which a range may be edited: D = L x 512 for L synthesis layers.

    Unedited, all layers have the same w. Early layers carry layout, late ones colour (HiGAN, arXiv 1911.09267). Edits
    may move the synthesis layers from ``first`` to ``last``, from 0, both inclusive, two a resolution, 4x4 first;
    ``last`` None is the generator's last layer.
    """

    def __init__(self, first: int = 0, last: int | None = None):
        self.first, self.last = first, last

    @property
    def name(self) -> str:  # type: ignore[override]
        if self.first == 0 and self.last is None:
            return "wplus"
        return f"wplus_{self.first}_{'last' if self.last is None else self.last}"

    @classmethod
    def named(cls, name: str) -> "WPlus | None":
        if not (part := re.fullmatch(r"wplus(?:_(\d+)_(\d+|last))?", name)):
            return None
        first, last = part.groups()
        return cls(int(first or 0), None if last in (None, "last") else int(last))

    def size(self, generator: GeneratorBase) -> int:
        return generator.num_layers * generator.w_dim

    def codes(self, generator: GeneratorBase, z: Tensor, label: Tensor | None) -> Tensor:
        return generator.map(z, label).repeat(1, generator.num_layers)

    def to_w(self, generator: GeneratorBase, codes: Tensor) -> Tensor:
        return codes.view(len(codes), generator.num_layers, generator.w_dim)

    def from_w(self, generator: GeneratorBase, wp: Tensor, near: Tensor) -> Tensor:
        return wp.flatten(1)

    def free(self, generator: GeneratorBase) -> slice:
        last = generator.num_layers - 1 if self.last is None else self.last
        return slice(self.first * generator.w_dim, (last + 1) * generator.w_dim)

    def whole(self, generator: GeneratorBase, part: np.ndarray) -> np.ndarray:
        return np.tile(part[:, : generator.w_dim], generator.num_layers)  # an unedited latent has one w for all

    def check(self, generator: GeneratorBase) -> None:
        num = generator.num_layers
        last = num - 1 if self.last is None else self.last
        if not 0 <= self.first <= last < num:
            raise ValueError(
                f"layer.first={self.first} layer.last={'null' if self.last is None else self.last} is no range of this "
                f"generator's {num} synthesis layers, expected 0 <= first <= last <= {num - 1} (last=null: {num - 1})"
            )


class Anchored(Layer):
    """A layer of faces that no z makes: photographs, latents of others.

    Its codes [N, D + L w_dim] are the inner layer's [N, D], and behind them what their w, one a synthesis layer, lack.
    Edits move the inner layer's values alone.
    """

    def __init__(self, inner: Layer):
        self.inner = inner

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    def size(self, generator: GeneratorBase) -> int:
        return self.inner.size(generator) + generator.num_layers * generator.w_dim

    def codes(self, generator: GeneratorBase, z: Tensor, label: Tensor | None) -> Tensor:
        codes = self.inner.codes(generator, z, label)
        return torch.cat([codes, codes.new_zeros(len(z), generator.num_layers * generator.w_dim)], dim=1)

    def to_w(self, generator: GeneratorBase, codes: Tensor) -> Tensor:
        size = self.inner.size(generator)
        wp = a_layer(generator, self.inner.to_w(generator, codes[:, :size]))
        return wp + codes[:, size:].view(len(codes), generator.num_layers, generator.w_dim)

    def from_w(self, generator: GeneratorBase, wp: Tensor, near: Tensor) -> Tensor:
        """Vectors whose w are wp exactly; ``near`` is the inner layer's [N, D]."""
        codes = self.inner.from_w(generator, wp, near)
        return torch.cat([codes, (wp - a_layer(generator, self.inner.to_w(generator, codes))).flatten(1)], dim=1)

    def free(self, generator: GeneratorBase) -> slice:
        return self.inner.free(generator)

    def whole(self, generator: GeneratorBase, part: np.ndarray) -> np.ndarray:
        codes = self.inner.whole(generator, part)
        return np.pad(codes, ((0, 0), (0, self.size(generator) - codes.shape[1])))

    def check(self, generator: GeneratorBase) -> None:
        self.inner.check(generator)


def a_layer(generator: GeneratorBase, w: Tensor) -> Tensor:
    """wp [N, L, w_dim] of w [N, w_dim], or wp as it is."""
    return w if w.ndim == 3 else w[:, None].expand(-1, generator.num_layers, -1)


def layer_named(name: str) -> Layer:
    """The layer of a name as files have it, such as ``w`` or ``wplus_4_7``; ValueError if there is none."""
    for kind in LAYERS.classes():
        if (layer := kind.named(name)) is not None:
            return layer
    raise ValueError(
        f"layer is {name!r}, expected z, w, mapping_split1, mapping_split2, wplus, or a range of it such as "
        f"wplus_4_7; or install the package that offers it (entry point {LAYERS.group})"
    )
