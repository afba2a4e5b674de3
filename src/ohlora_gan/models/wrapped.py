"""A network of the user's own as a generator: any callable from z to pictures, named as ``package.module:factory``.

The factory is code that the user names himself, so it is imported and called. Files of weights and directions cannot
name one: a `WrappedGenerator` is not among the networks of the registry.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ohlora_gan.errors import look_in_working_folder
from ohlora_gan.models.checkpoint import CheckpointError, check_finite
from ohlora_gan.models.generator import GeneratorBase

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
Z_NAMES = ("z_dim", "nz", "latent_dim", "latent_size", "z_space_dim", "code_dim", "noise_dim")
"""What networks call the length of their z."""
TRIED = 4  # pictures that are made when a network is wrapped


def is_factory(name: str | Path) -> bool:
    """Whether a name is ``package.module:factory``, not a file."""
    return FACTORY.fullmatch(str(name)) is not None and not Path(name).exists()


def find_factory(name: str) -> Any:
    """What ``package.module:factory`` names; CheckpointError where there is no such module or factory."""
    module_name, _, path = name.partition(":")
    look_in_working_folder()
    try:
        found: Any = import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise CheckpointError(
            f"checkpoint {name!r}: {module_name} cannot be imported ({error}): install its package, or start in the "
            f"folder of {module_name.partition('.')[0]}.py"
        ) from error
    except AttributeError as error:
        raise CheckpointError(f"checkpoint {name!r}: {error}, expected a function that makes a network") from error
    return found


def call_factory(name: str) -> Any:
    """What the factory of ``package.module:factory`` makes: it is called unless it is a network already."""
    found = find_factory(name)
    if isinstance(found, nn.Module):
        return found
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {name!r} cannot be called without arguments: {error}") from error
    return found()


def file_of_factory(name: str) -> Path:
    """The file of the module of a factory; CheckpointError where it has none."""
    find_factory(name)
    file = getattr(import_module(name.partition(":")[0]), "__file__", None)
    if not file:
        raise CheckpointError(f"checkpoint {name!r}: its module has no file, expected one that can be told by its hash")
    return Path(file)


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


def open_factory(name: str) -> WrappedGenerator | GeneratorBase:
    """The generator of ``package.module:factory``: as it is where it is one of `GeneratorBase`, else wrapped."""
    made = call_factory(name)
    return made if isinstance(made, GeneratorBase) else WrappedGenerator(made, name)
