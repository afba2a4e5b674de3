"""Extraction layers: take a vector out of the generator, and continue from an edited one."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ohlora_gan.models.generator import Generator, MappingOutput


class Layer(ABC):
    """A place between z and the synthesis network where directions are sought.

    Attributes:
        name: the layer's name in configs and files.
        equivalent_to_w: every edit at this layer equals an edit of w.
    """

    name: str
    equivalent_to_w = False

    @abstractmethod
    def size(self, generator: Generator) -> int:
        """Length D of the vector."""

    @abstractmethod
    def extract(self, mapped: MappingOutput) -> Tensor:
        """The vectors [N, D] of mapped latents."""

    @abstractmethod
    def to_w(self, generator: Generator, codes: Tensor) -> Tensor:
        """w [N, w_dim] from (edited) vectors [N, D], through the rest of the mapping network."""

    def check(self, generator: Generator) -> None:
        """Raises ValueError where the generator lacks the layer."""
        return


class W(Layer):
    """w itself: D = w_dim (512)."""

    name = "w"

    def size(self, generator: Generator) -> int:
        return generator.w_dim

    def extract(self, mapped: MappingOutput) -> Tensor:
        return mapped.w

    def to_w(self, generator: Generator, codes: Tensor) -> Tensor:
        return codes


class SplitLayer(Layer):
    """A layer of the split/merge (v9) mapping; its first ``hidden`` values belong to the old branch."""

    def check(self, generator: Generator) -> None:
        if not generator.mapping.split:
            raise ValueError(
                f"layer {self.name} needs a generator with a split (v9) mapping, this one's is plain: use layer=w"
            )


def both(first: Tensor | None, second: Tensor | None) -> tuple[Tensor, Tensor]:
    """The two branches' vectors, which a plain mapping lacks."""
    assert first is not None
    assert second is not None
    return first, second


class MappingSplit1(SplitLayer):
    """concat(w1, w2), the second-to-last stage: D = 512 + 2048. Edits pass two dense layers on their way to w."""

    name = "mapping_split1"

    def size(self, generator: Generator) -> int:
        return int(generator.config["mapping_dim"]) + 4 * generator.w_dim

    def extract(self, mapped: MappingOutput) -> Tensor:
        return torch.cat(both(mapped.w1, mapped.w2), dim=1)

    def to_w(self, generator: Generator, codes: Tensor) -> Tensor:
        hidden = int(generator.config["mapping_dim"])
        w1_, w2_ = generator.mapping.merge_vectors(codes[:, :hidden], codes[:, hidden:])
        return w1_ + w2_


class MappingSplit2(SplitLayer):
    """concat(w1', w2'), the last stage: D = 512 + 512.

    w = w1' + w2', so an edit (d1, d2) here is the edit d1 + d2 of w.
    """

    name = "mapping_split2"
    equivalent_to_w = True

    def size(self, generator: Generator) -> int:
        return 2 * generator.w_dim

    def extract(self, mapped: MappingOutput) -> Tensor:
        return torch.cat(both(mapped.w1_, mapped.w2_), dim=1)

    def to_w(self, generator: Generator, codes: Tensor) -> Tensor:
        return codes[:, : generator.w_dim] + codes[:, generator.w_dim :]
