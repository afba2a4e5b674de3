"""What a generator is to all finders, metrics, judges, edits and pages, of whatever architecture it is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ohlora_gan.checked import check_settings

Made = TypeVar("Made")


class GeneratorBase(nn.Module, ABC):
    """Latents to w, w to pictures. Everything outside of training knows a generator by this alone.

    A network of another architecture is a subclass that sets these attributes; a package offers it by an entry point in
    the group ``ohlora_gan.networks``.

    Attributes:
        config: the arguments that make another one, as plain data; see `registry`.
        z_dim, w_dim: lengths of z and w.
        label_dim: length of the label, 0 where there is none.
        one_hot_labels: whether a label is a class; else its numbers are spread normally.
        layer_sides: sides of what the layers of the synthesis network that take a w make, the coarsest first.
        resolution: side of the pictures.
        image_channels: 3; 1 for grey ones; 4 where the last says how opaque they are, which is left out.
        noise_sides: sides of the per-pixel noise that ``synthesize`` takes, in order; empty where it takes none.
    """

    config: dict[str, Any]
    z_dim: int
    w_dim: int
    label_dim: int
    one_hot_labels: bool = False
    layer_sides: Sequence[int]
    resolution: int
    image_channels: int = 3
    noise_sides: Sequence[int] = ()

    @property
    def num_layers(self) -> int:
        """How many w the synthesis network takes."""
        return len(self.layer_sides)

    @property
    @abstractmethod
    def w_avg(self) -> Tensor:
        """The average of w, ``[w_dim]``, toward which truncation goes."""

    @abstractmethod
    def map(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """w ``[N, w_dim]`` of z ``[N, z_dim]`` and label ``[N, label_dim]`` (None: zeros)."""

    @abstractmethod
    def synthesize(
        self, w: Tensor, psi: float = 1.0, num_truncated: int = 0, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Images ``[N, image_channels, R, R]`` in about [-1, 1].

        ``w`` is ``[N, w_dim]``, or one a layer, ``[N, num_layers, w_dim]``. The first ``num_truncated`` are truncated:
        ``w_avg + psi (w - w_avg)``. ``noise`` has tensors ``[N, 1, side, side]`` of ``noise_sides``; None: the
        network's own, which is the same for all pictures.
        """

    def check_ready(self) -> None:
        """Raises ValueError where the network cannot make its pictures yet, since it has not grown to full size."""
        return

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        psi: float = 1.0,
        num_truncated: int = 0,
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Images ``[N, image_channels, R, R]`` from z and label; see ``map`` and ``synthesize``."""
        return self.synthesize(self.map(z, label), psi, num_truncated, noise)


def truncated(w: Tensor, w_avg: Tensor, num_layers: int, psi: float = 1.0, num_truncated: int = 0) -> Tensor:
    """wp ``[N, L, D]`` of w ``[N, D]`` or wp: the first ``num_truncated`` layers as ``w_avg + psi (w - w_avg)``."""
    wp = w.unsqueeze(1).expand(-1, num_layers, -1) if w.ndim == 2 else w
    if psi == 1.0 or num_truncated == 0:
        return wp
    factor = torch.ones(1, num_layers, 1, device=w.device, dtype=w.dtype)
    factor[:, :num_truncated] = psi
    return w_avg + factor * (wp - w_avg)


def settings_of(kind: type[Made], given: Mapping[str, Any]) -> Made:
    """The settings of a network from plain data; ValueError for a name that it does not have, or an unfit value."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"this network has no setting {unknown[0]!r}, expected some of {', '.join(known)}")
    check_settings(kind, given)
    return kind(**given)


def check_channels(image_channels: Any) -> None:
    """Raises ValueError for pictures of other channels than grey, or three colours and perhaps how opaque they are."""
    if image_channels not in (1, 3, 4):
        raise ValueError(f"pictures have {image_channels!r} channels, expected 1 (grey), 3 or 4 (with alpha)")
