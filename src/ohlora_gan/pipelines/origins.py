"""What a run was made from, kept in its folder so that it is found again: from any working folder, and after a move.

``made_from.json`` names each network: a shipped model by its name, a file by its absolute path, size and SHA-256. It is
looked for at its path, then in and beside the run's folder and those of its siblings; only the same content counts.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ohlora_gan.files import write_json
from ohlora_gan.models.checkpoint import file_hash
from ohlora_gan.models.zoo import ASSETS, resolve

MADE_FROM = "made_from.json"
LEVELS = 3
"""Folders above the run's in which, and in whose folders, a file is looked for."""


@dataclass(frozen=True)
class Origin:
    """A network that a run was made from.

    Attributes:
        name: as it was asked for: a shipped model's name, or a path.
        path: of a file, absolute; None for a shipped model.
        size: in bytes; 0 for a shipped model.
        sha256: of the content; for a folder of a filter's folds, of its files' names and contents.
    """

    name: str
    path: str | None = None
    size: int = 0
    sha256: str = ""

    @classmethod
    def of(cls, name: str | Path) -> "Origin":
        """What a name or path stands for now.

        Raises:
            CheckpointError: if it is missing.
        """
        path = Path(name) if Path(name).is_dir() else resolve(name)
        if path.parent == ASSETS:
            return cls(path.stem, sha256=file_hash(path))
        return cls(str(name), str(path.resolve()), size_of(path), content_hash(path))

    def find(self, folder: Path, key: str) -> str:
        """The name or path that opens it now.

        Args:
            folder: of the run.
            key: the setting that it was given as, such as ``checkpoint``.

        Raises:
            ValueError: if it is nowhere, saying what it was and how to give it.
        """
        if self.path is None:
            return self.name
        for place in self.places(folder):
            if place.exists() and size_of(place) == self.size and content_hash(place) == self.sha256:
                return str(place)
        gone = f"has changed since at {self.path}" if Path(self.path).exists() else f"is no longer at {self.path}"
        raise ValueError(
            f"the run's {key} {self.name} (SHA-256 {self.sha256[:12]}) {gone}, and no such file lies "
            f"in {folder} or in the folders beside it: give it with --{key} FILE (in Hydra's programs: {key}=FILE)"
        )

    def places(self, folder: Path) -> Iterator[Path]:
        """Where it may be, each place once: its path, the run's folder, the folders above and beside it."""
        assert self.path is not None
        folder, path = folder.resolve(), Path(self.path)
        yield path
        seen = {path}
        above = [folder, *list(folder.parents)[:LEVELS]]
        for pattern in ("", "*/", "*/*/"):
            for place in (found for up in above for found in sorted(up.glob(f"{pattern}{path.name}"))):
                if place not in seen:
                    seen.add(place)
                    yield place


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for file in files_of(path))


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return file_hash(path)
    listed = [f"{file.name} {file_hash(file)}" for file in files_of(path)]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())


def write_origins(folder: Path, used: Mapping[str, Any]) -> Path:
    """Writes ``made_from.json``.

    Args:
        used: setting -> the name or path that it was given, or a list of them; what is None is left out.

    Raises:
        CheckpointError: if one is missing.
    """
    content: dict[str, Any] = {}
    for key, names in used.items():
        if isinstance(names, str | Path):
            content[key] = asdict(Origin.of(names))
        elif names is not None:
            content[key] = [asdict(Origin.of(name)) for name in names]
    return write_json(folder / MADE_FROM, content)


def read_origins(folder: Path) -> dict[str, Origin | list[Origin]]:
    """What ``made_from.json`` of a run's folder says, by setting; empty where there is none.

    Raises:
        ValueError: where it cannot be read.
    """
    path = folder / MADE_FROM
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: [Origin(**one) for one in said] if isinstance(said, Sequence) else Origin(**said)
            for key, said in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read, expected what a run was made from: {error}") from error
