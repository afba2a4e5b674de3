"""What a folder of find_vectors.py says of its run, and generator and scorer opened as the run had them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

if TYPE_CHECKING:
    from ohlora_gan.latents.space import FaceSpace

VECTORS, SETTINGS = "vectors.safetensors", "config.yaml"


def vectors_file(path: Path) -> Path:
    """The directions file of a run folder, or the file itself."""
    return path / VECTORS if path.is_dir() else path


def settings_of(vectors: Path) -> dict[str, Any]:
    """The settings of a run, from its folder or its directions file; empty where there are none.

    Besides, ``folder`` is the run's, in which and beside which its networks are looked for.

    Raises:
        ValueError: where they cannot be read.
    """
    path = vectors_file(vectors).with_name(SETTINGS)
    content = read_yaml(path) if path.is_file() else {}
    if not isinstance(content, dict):
        return {}
    found: dict[str, Any] = {str(key): value for key, value in content.items()}
    return found | {"folder": path.parent} if found else {}


def read_yaml(path: Path) -> Any:
    """A file's content as plain data; references to other settings stay as they are written.

    Raises:
        ValueError: where it cannot be read.
    """
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"{path} cannot be read, expected the settings of a run of find_vectors.py") from error


@dataclass(frozen=True)
class SpaceSettings:
    """What determines a face space; the arguments of ``FaceSpace``.

    Attributes:
        checkpoint, scorer: shipped models' names or files.
        seed: of the latents.
        truncation_psi: of every w toward its average, above 0 and at most 1.
        batch_size: images at a time.
    """

    checkpoint: str
    scorer: str
    seed: int = 0
    truncation_psi: float = 1.0
    batch_size: int = 64

    @classmethod
    def of(cls, settings: Mapping[str, Any], **asked: Any) -> "SpaceSettings":
        """Those of a run; what is asked for, and not None, comes before them.

        A run's networks are found where they lie now, see `origins`.

        Raises:
            ValueError: where nothing says which checkpoint or scorer, it is nowhere, or a setting is no number.
        """
        from ohlora_gan.pipelines.origins import Origin, read_origins  # see ``open``

        folder = settings.get("folder")
        origins = read_origins(folder) if folder is not None else {}
        kinds = {"seed": int, "truncation_psi": float, "batch_size": int}
        found: dict[str, Any] = {}
        for field in fields(cls):
            value = asked.get(field.name)
            if value is None and isinstance(origin := origins.get(field.name), Origin):
                value = origin.find(Path(str(folder)), field.name)
            elif value is None:
                value = settings.get(field.name)
            if value is None and field.name not in kinds:
                raise ValueError(
                    f"the run has no {SETTINGS} that names its {field.name}: say which it was with --{field.name} FILE"
                )
            if value is not None:
                try:
                    found[field.name] = kinds.get(field.name, str)(value)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"the run's {SETTINGS} has {field.name}={value!r}, expected a number") from error
        return cls(**found)

    def open(self, device: str = "cpu") -> "FaceSpace":
        """Generator and scorer on a device of `devices.NAMED`.

        Raises:
            ValueError: where a file, the device or a setting cannot be used, or the two have learnt from different
                versions of the embedded world.
        """
        from ohlora_gan.devices import open_device  # here, so that commands that only read settings need no torch
        from ohlora_gan.latents.space import FaceSpace
        from ohlora_gan.models.zoo import open_generator, open_scorer
        from ohlora_gan.world.same_world import check_same_world, network

        check_same_world(network("generator", self.checkpoint, called="checkpoint"), network("scorer", self.scorer))
        networks = open_generator(self.checkpoint), open_scorer(self.scorer)
        return FaceSpace(*networks, open_device(device), self.batch_size, self.seed, truncation_psi=self.truncation_psi)
