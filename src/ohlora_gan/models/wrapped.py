"""Code of the user's own as a generator or a scorer, named as ``package.module:factory``.

A generator is any callable from z to pictures, a scorer any from pictures to a table. The factory is code that the user
names himself, so it is imported and called. Files of weights and directions cannot name one: what is wrapped here is
not among the networks of the registry.
"""

import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ohlora_gan.errors import look_in_working_folder
from ohlora_gan.models.checkpoint import CheckpointError, check_finite, file_hash
from ohlora_gan.models.generator import GeneratorBase

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
Z_NAMES = ("z_dim", "nz", "latent_dim", "latent_size", "z_space_dim", "code_dim", "noise_dim")
"""What networks call the length of their z."""
MIN_SCORED = 10  # pictures, to tell their spread by
TRIED = 4  # pictures that are made, or scored, when something is wrapped
OURS = {"landmarks": "ohlora_gan.data.landmarks:LandmarkScorer"}
"""Scorers of ours that are no networks, by the names that they go by."""


def is_factory(name: str | Path) -> bool:
    """Whether a name is ``package.module:factory``, or one of `OURS`, not a file."""
    return str(name) in OURS or (FACTORY.fullmatch(str(name)) is not None and not Path(name).exists())


def is_code_of_others(name: str | Path) -> bool:
    """Whether a name is a factory that no file may start, since it may be anybody's."""
    return is_factory(name) and str(name) not in OURS


def find_factory(name: str) -> Any:
    """What ``package.module:factory`` names; CheckpointError where there is no such module or factory."""
    module_name, _, path = OURS.get(name, name).partition(":")
    look_in_working_folder()
    try:
        found: Any = import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise CheckpointError(
            f"{name!r}: {module_name} cannot be imported ({error}): install its package, or start in the folder of "
            f"{module_name.partition('.')[0]}.py"
        ) from error
    except AttributeError as error:
        raise CheckpointError(f"{name!r}: {error}, expected a function that makes a network or scorer") from error
    return found


def call_factory(name: str) -> Any:
    """What the factory of ``package.module:factory`` makes: it is called unless it is a network or scorer already."""
    found = find_factory(name)
    if isinstance(found, nn.Module) or (hasattr(found, "property_names") and not isinstance(found, type)):
        return found
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{name!r} cannot be called without arguments: {error}") from error
    return found()


def file_of_factory(name: str) -> Path:
    """The file of the module of a factory; CheckpointError where it has none."""
    find_factory(name)
    file = getattr(import_module(OURS.get(name, name).partition(":")[0]), "__file__", None)
    if not file:
        raise CheckpointError(f"{name!r}: its module has no file, expected one that can be told by its hash")
    return Path(file)


def fingerprint(name: str) -> Tensor:
    """What tells a factory's code from other code where no weights do, uint8 ``[32]``: of its name and its file."""
    told = f"{name} {file_hash(file_of_factory(name))}" if is_factory(name) else name
    return torch.tensor(list(hashlib.sha256(told.encode()).digest()), dtype=torch.uint8)


class WrappedGenerator(GeneratorBase):
    """Any network from z to pictures: w is z, and there is one layer.

    Args:
        network: z of N(0, I), ``[N, z_dim]`` or ``[N, z_dim, 1, 1]``, to square pictures ``[N, channels, R, R]`` in
            [-1, 1]. It says ``z_dim`` (or ``nz``, ``latent_dim``, ...), or its first layer does.
        name: what it is called in what is said of it.

    Raises:
        CheckpointError: where it takes no z, its weights are not finite, or what it makes are no pictures in [-1, 1].
    """

    zero: Tensor

    def __init__(self, network: nn.Module, name: str = "the network"):
        super().__init__()
        if not callable(network):
            raise CheckpointError(f"{name} is a {type(network).__name__}, expected a network from z to pictures")
        if isinstance(network, nn.Module):
            network.eval()
            check_finite(network.state_dict(), name)
        else:
            self.register_buffer("code", fingerprint(name))
        self.network: Callable[[Tensor], Tensor] = network
        self.name = name
        self.z_dim = self.w_dim = length_of_z(network, name)
        self.label_dim = 0
        self.register_buffer("zero", torch.zeros(self.z_dim), persistent=False)
        self.shape: tuple[int, ...] = (self.z_dim,)
        images = self.tried()
        self.resolution, self.image_channels = images.shape[2], images.shape[1]
        self.layer_sides = [self.resolution]
        self.config: dict[str, Any] = {"factory": name}

    @property
    def w_avg(self) -> Tensor:
        return self.zero

    @torch.no_grad()
    def tried(self) -> Tensor:
        """A few pictures, ``[TRIED, C, R, R]``, of z in the shape that the network takes, which is kept."""
        z = torch.randn(TRIED, self.z_dim, generator=torch.Generator().manual_seed(0))
        wrong = []
        for shape in ((self.z_dim,), (self.z_dim, 1, 1)):
            try:
                images = self.network(z.view(TRIED, *shape))
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                wrong.append(f"z of {[TRIED, *shape]} ends in: {str(error).splitlines()[0]}")
                continue
            self.shape = shape
            if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[0] != TRIED:
                made = list(images.shape) if isinstance(images, Tensor) else f"a {type(images).__name__}"
                wrong.append(f"z of {[TRIED, *shape]} makes {made}")
                continue
            return self.checked(images)
        raise CheckpointError(f"{self.name} makes no pictures [N, channels, R, R]: {'; '.join(wrong)}")

    def checked(self, images: Tensor) -> Tensor:
        """Pictures that are square, finite and in [-1, 1]; CheckpointError for others."""
        if images.shape[2] != images.shape[3] or images.shape[1] not in (1, 3, 4):
            raise CheckpointError(
                f"{self.name} makes pictures of shape {list(images.shape[1:])}, expected [1, 3 or 4, R, R]"
            )
        if not images.isfinite().all():
            raise CheckpointError(f"{self.name} makes pictures that are not finite: give other weights")
        low, high = float(images.min()), float(images.max())
        if low >= 0 or high - low < 1e-3 or max(-low, high) > 4:
            raise CheckpointError(
                f"{self.name} makes pictures with values from {low:.3g} to {high:.3g}, expected about -1 (black) to 1 "
                f"(white): let the factory return a network that ends so, such as 2 x - 1 of values from 0 to 1"
            )
        return images

    def map(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return z

    def synthesize(
        self, w: Tensor, psi: float = 1.0, num_truncated: int = 0, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        z = w[:, 0] if w.ndim == 3 else w
        z = z * psi if num_truncated else z
        return self.network(z.view(len(z), *self.shape))


def length_of_z(network: nn.Module, name: str) -> int:
    """How long z is: as the network says, or as its first layer with weights takes."""
    for attribute in Z_NAMES:
        if isinstance(value := getattr(network, attribute, None), int) and value > 0:
            return value
    for module in network.modules() if isinstance(network, nn.Module) else ():
        for attribute in ("in_features", "in_channels"):
            if isinstance(value := getattr(module, attribute, None), int):
                return value
    raise CheckpointError(f"{name} does not say how long its z is: give it an attribute z_dim")


class WrappedScorer(nn.Module):
    """Any callable from pictures to a table as a scorer.

    Its scores are in standard deviations, from the mean, over pictures of the generator that it is used with, which
    `latents.space.FaceSpace` measures. A picture that cannot be scored has a row of NaN.

    Args:
        table: pictures ``[N, 3, R, R]`` in [-1, 1] to raw values ``[N, P]``, a tensor, an array or a data frame; NaN
            where there is nothing to tell. It says its ``property_names``, and ``resolution`` where R must be that.
        name: what it is called in what is said of it.

    Attributes:
        mean, std: ``[P]``, what scores are in units of, once ``is_measured``.
        differentiable: whether its scores have derivatives in the pictures' values.

    Raises:
        CheckpointError: where it has no names, its weights are not finite, or what it makes is no such table.
    """

    mean: Tensor
    std: Tensor
    is_measured = False
    differentiable = True

    def __init__(self, table: Callable[[Tensor], Any], name: str = "the scorer"):
        super().__init__()
        names = getattr(table, "property_names", None)
        if not callable(table) or isinstance(names, str) or not names or len({*names}) < len(names):
            raise CheckpointError(
                f"{name} is a {type(table).__name__} with property_names {names!r}, expected a function from pictures "
                f"[N, 3, R, R] to a table [N, P] whose attribute property_names lists P different names"
            )
        if isinstance(table, nn.Module):
            table.eval().requires_grad_(False)
            check_finite(table.state_dict(), name)
        else:
            self.register_buffer("code", fingerprint(name))
        self.called, self.name = table, name
        self.property_names = tuple(map(str, names))
        self.resolution: int | None = getattr(table, "resolution", None)
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("std", torch.ones(len(names)))
        self.differentiable = self.tried()

    def tried(self) -> bool:
        """Whether the scores of a few pictures have derivatives."""
        side = self.resolution or 64
        images = torch.rand(TRIED, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        try:
            with torch.enable_grad():
                return self.table(images.requires_grad_()).requires_grad
        except RuntimeError:  # numpy's, of a tensor that has a gradient
            with torch.no_grad():
                self.table(images.detach())
            return False

    def table(self, images: Tensor) -> Tensor:
        """Raw values float32 ``[N, P]``, a row of NaN for a picture that is not scored."""
        made: Any = self.called(images if self.differentiable else images.detach())
        table = made.float() if isinstance(made, Tensor) else torch.from_numpy(np.array(made, dtype=np.float32))
        if table.shape != (len(images), len(self.property_names)):
            raise CheckpointError(
                f"{self.name} makes a table {list(table.shape)} of {len(images)} pictures, expected "
                f"{[len(images), len(self.property_names)]}: a column for each of {', '.join(self.property_names)}"
            )
        if bool(table.isinf().any()):
            raise CheckpointError(f"{self.name} makes infinite values, expected numbers, or NaN for nothing to tell")
        table = table.to(images.device)
        return table.masked_fill(table.isnan().any(dim=1, keepdim=True), torch.nan)

    def measure(self, table: Tensor) -> None:
        """Sets the units by raw values ``[N, P]`` of a generator's pictures; ValueError for too few, or all alike."""
        known = table[~table.isnan().any(dim=1)].double()
        if len(known) < MIN_SCORED:
            raise ValueError(
                f"{self.name} can score {len(known)} of {len(table)} pictures of this generator, expected at least "
                f"{MIN_SCORED}: give another scorer, or pictures that it knows"
            )
        std = known.std(dim=0)
        if constant := [name for name, value in zip(self.property_names, std, strict=True) if not value > 0]:
            raise ValueError(f"{self.name} gives all pictures of this generator the same {constant[0]}: leave it out")
        step = 10 ** (std.log10().floor() - 3)  # rounded, so as not to be another number on another machine
        self.mean.copy_((known.mean(dim=0) / step).round() * step)
        self.std.copy_((std / step).round() * step)
        self.is_measured = True

    def forward(self, images: Tensor) -> Tensor:
        return (self.table(images) - self.mean) / self.std


def wrapped_in(scorer: nn.Module) -> list[WrappedScorer]:
    """What is wrapped in a scorer: itself, or parts of it."""
    return [part for part in scorer.modules() if isinstance(part, WrappedScorer)]


def open_factory(name: str) -> WrappedGenerator | GeneratorBase:
    """The generator of ``package.module:factory``: as it is where it is one of `GeneratorBase`, else wrapped."""
    made = call_factory(name)
    return made if isinstance(made, GeneratorBase) else WrappedGenerator(made, name)
