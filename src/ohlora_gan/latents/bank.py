"""Banks: what is known of samples 0, 1, 2, ... of a face space, kept on disk.

Sample i depends on (seed, i) alone, so a bank of 4,000 is the beginning of one of 240,000. A bank grows in files of
some hundred samples; one that was cut off goes on where it stopped, and a damaged file is made again.

The bank of scores stores what is dear, not what is cheap: an image and its scores cost thousands of times what its
latent and vectors cost, so z, label and the vector at any layer are made again from (seed, index) when they are needed.
All layers and methods share one bank.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ohlora_gan.checkpoint import weights_hash
from ohlora_gan.files import replacing
from ohlora_gan.latents.layers import Layer, W
from ohlora_gan.latents.space import FIND, FaceSpace, Progress


class Bank(ABC):
    """Scores of samples 0, 1, 2, ... of a face space, in files of ``shard`` samples.

    Args:
        folder: where banks lie; each has a sub-folder named by what determines its numbers.
        space: generator, scorer and their device.
        identity: what determines the numbers, as plain data.
    """

    shard: ClassVar[int] = 250  # samples a file: what an interrupted run loses at most
    num_key: ClassVar[str]  # what users call the number of samples
    folder_key: ClassVar[str]  # and the folder

    def __init__(self, folder: str | Path, space: FaceSpace, identity: dict[str, Any]):
        self.space, self.identity = space, identity
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = Path(folder) / key

    def scores(self, n: int, progress: Progress | None = None) -> np.ndarray:
        """Scores float32 [n, P] of the first n samples; those already on disk are read, the rest is made.

        Raises:
            ValueError: if n is below 1, scores are not finite, or the folder cannot be written.
        """
        if n < 1:
            raise ValueError(f"{self.num_key} is {n}, expected at least 1")
        if not (self.folder / "bank.json").exists():
            self.write(self.folder / "bank.json", json.dumps(self.identity, indent=2).encode())
        parts = []
        for start in range(0, n, self.shard):
            part = self.read_shard(start)
            parts.append(self.make_shard(start) if part is None else part)
            if progress:
                progress(min(start + self.shard, n), n)
        return np.concatenate(parts)[:n]

    def num_stored(self) -> int:
        """Number of samples on disk."""
        return self.shard * len(list(self.folder.glob("scores_*.safetensors")))

    def scores_path(self, start: int) -> Path:
        return self.folder / f"scores_{start:07d}.safetensors"

    @abstractmethod
    def read_shard(self, start: int) -> np.ndarray | None:
        """The scores of a file's samples, or None where it is missing or damaged."""

    @abstractmethod
    def make_shard(self, start: int) -> np.ndarray:
        """Makes the samples of a file, and returns their scores."""

    def check_finite(self, scores: np.ndarray, start: int) -> None:
        """Raises ValueError for scores [shard, P] that are no numbers."""
        bad = int((~np.isfinite(scores)).any(axis=1).sum())
        if bad:
            raise ValueError(
                f"{bad} of samples {start} to {start + self.shard - 1} have scores that are not finite: "
                f"check the weights of the generator and of what scores its images"
            )

    def write(self, path: Path, content: bytes | memoryview) -> None:
        """Writes a file of the bank, whole or not at all.

        Raises:
            ValueError: if it cannot be written.
        """
        try:
            with replacing(path) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise ValueError(
                f"samples cannot be written to {path.parent} ({error.strerror}): free space there or choose another "
                f"folder with {self.folder_key}=, then start again; the {self.num_stored()} that are there are kept"
            ) from error


class ScoreBank(Bank):
    """The bank that directions are found with: scores alone.

    Args:
        folder: see `Bank`.
        space: see `Bank`.
    """

    num_key, folder_key = "n", "paths.bank_dir"

    def __init__(self, folder: str | Path, space: FaceSpace):
        identity = {
            "generator": weights_hash(space.generator),
            "scorer": weights_hash(space.scorer),
            "seed": space.seed,
            "precision": space.device.precision,
            "quantize": space.quantize,
        }
        if space.truncation_psi != 1:
            identity["truncation_psi"] = space.truncation_psi
        super().__init__(folder, space, identity)

    def read_shard(self, start: int) -> np.ndarray | None:
        try:
            scores = load_file(self.scores_path(start))["scores"]
        except (FileNotFoundError, SafetensorError, KeyError):
            return None
        shape = (self.shard, len(self.space.property_names))
        return scores if scores.shape == shape and np.isfinite(scores).all() else None

    def make_shard(self, start: int) -> np.ndarray:
        w = self.space.w(FIND, range(start, start + self.shard))
        scores = self.space.score_codes(W(), w)
        self.check_finite(scores, start)
        self.write(self.scores_path(start), save({"scores": scores}))
        return scores

    def codes(self, layer: Layer, n: int) -> np.ndarray:
        """Vectors float32 [n, D] of the first n samples at a layer."""
        return self.space.codes(layer, *self.space.latents(FIND, range(n)))

    def cached(self, kind: str, layer: Layer, what: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that is dear to make, from the bank's folder where it was made before.

        Args:
            kind: of array: ``jacobian``, ``metric``.
            layer: where it was measured.
            what: besides bank, kind and layer, what determines its numbers, as plain data or bytes.
            make: makes it.
        """
        described = what if isinstance(what, bytes) else json.dumps(what, sort_keys=True, default=str).encode()
        path = self.folder / f"{kind}_{layer.name}_{hashlib.sha256(described).hexdigest()[:16]}.safetensors"
        try:
            return load_file(path)[kind]
        except (FileNotFoundError, SafetensorError, KeyError):
            made = np.ascontiguousarray(make())
            self.write(path, save({kind: made}))
            return made
