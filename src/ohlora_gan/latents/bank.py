"""Banks: what is known of samples 0, 1, 2, ... of a face space, kept on disk.

Sample i depends on (seed, i) alone, so a bank of 4,000 is the beginning of one of 240,000. A bank grows in files of
some hundred samples; one that was cut off goes on where it stopped, and a damaged file is made again. Only what is dear
is kept, images and scores: latents and vectors at any layer are made again, so all layers and methods share one bank.
"""

import hashlib
import io
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save
from tqdm import tqdm

from ohlora_gan.files import replacing
from ohlora_gan.latents.layers import Layer, W
from ohlora_gan.latents.space import FIND, FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.gan import from_uint8, to_uint8


class Bank(ABC):
    """Scores of samples 0, 1, 2, ... of a face space, in files of ``shard`` samples.

    Args:
        folder: where banks lie; each has a sub-folder named by what determines its numbers, its ``identity``.
    """

    shard: ClassVar[int] = 250  # samples a file: what an interrupted run loses at most
    num_key: ClassVar[str]  # what users call the number of samples
    folder_key: ClassVar[str]  # and the folder

    def __init__(self, folder: str | Path, space: FaceSpace, identity: dict[str, Any]):
        self.space, self.identity = space, identity
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = Path(folder) / key

    def scores(self, n: int, progress: tqdm | None = None) -> np.ndarray:
        """Scores float32 [n, P] of the first n samples; those already on disk are read, the rest is made."""
        if n < 1:
            raise ValueError(f"{self.num_key} is {n}, expected at least 1")
        if not (self.folder / "bank.json").exists():
            self.write(self.folder / "bank.json", json.dumps(self.identity, indent=2).encode())
        parts = []
        for start in range(0, n, self.shard):
            part = self.read_shard(start)
            parts.append(self.make_shard(start) if part is None else part)
            if progress is not None:
                progress.update(min(self.shard, n - start))
        return np.concatenate(parts)[:n]

    def num_stored(self) -> int:
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
        if bad := int((~np.isfinite(scores)).any(axis=1).sum()):
            raise ValueError(
                f"{bad} of samples {start} to {start + self.shard - 1} have scores that are not finite: "
                f"check the weights of the generator and of what scores its images"
            )

    def write(self, path: Path, content: bytes | memoryview) -> None:
        """Writes a file of the bank, whole or not at all."""
        try:
            with replacing(path) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise ValueError(
                f"samples cannot be written to {path.parent} ({error.strerror}): free space there or choose another "
                f"folder with {self.folder_key}=, then start again; the {self.num_stored()} that are there are kept"
            ) from error


class ScoreBank(Bank):
    """The bank that directions are found with: scores alone."""

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
        scores = self.space.score_codes(W(), self.space.w(FIND, range(start, start + self.shard)))
        self.check_finite(scores, start)
        self.write(self.scores_path(start), save({"scores": scores}))
        return scores

    def codes(self, layer: Layer, n: int) -> np.ndarray:
        """Vectors float32 [n, D] of the first n samples at a layer."""
        return self.space.codes(layer, *self.space.latents(FIND, range(n)))

    def cached(self, kind: str, layer: Layer, what: Any, make: Callable[[], Any]) -> np.ndarray:
        """An array that is dear to make (``kind``: ``jacobian``, ``metric``), from the folder where it was made before.

        ``what``, plain data or bytes, says what determines its numbers besides bank, kind and layer.
        """
        described = what if isinstance(what, bytes) else json.dumps(what, sort_keys=True, default=str).encode()
        path = self.folder / f"{kind}_{layer.name}_{hashlib.sha256(described).hexdigest()[:16]}.safetensors"
        try:
            return load_file(path)[kind]
        except (FileNotFoundError, SafetensorError, KeyError):
            made = np.ascontiguousarray(make())
            self.write(path, save({kind: made}))
            return made


STREAM = "generated"


class ImageBank(Bank):
    """Images and scores, to train on; the scorer of the space may be several networks, a `Panel`.

    With ``psi`` below 1 every w is truncated toward its average, in all layers.
    """

    num_key, folder_key = "num_generated", "cache_dir"

    def __init__(self, folder: str | Path, space: FaceSpace, psi: float = 1.0):
        identity = {
            "generator": weights_hash(space.generator),
            "scorers": weights_hash(space.scorer),
            "columns": list(space.property_names),
            "seed": space.seed,
            "precision": space.device.precision,
            "psi": psi,
        }
        super().__init__(folder, space, identity)
        self.psi = psi

    def read_shard(self, start: int) -> NDArray[np.float32] | None:
        side = self.space.generator.resolution
        try:
            images = np.load(images_path(self.folder, start), mmap_mode="r", allow_pickle=False)
            with safe_open(self.scores_path(start), framework="numpy") as file:
                scores, checksum = file.get_tensor("scores"), (file.metadata() or {}).get("checksum")
        except (OSError, ValueError, EOFError, SafetensorError):
            return None
        columns = len(self.space.property_names)
        whole = images.shape == (self.shard, side, side, 3) and scores.shape == (self.shard, columns)
        return scores if whole and images.dtype == np.uint8 and checksum == checksum_of(images, scores) else None

    def make_shard(self, start: int) -> NDArray[np.float32]:
        pixels, parts = [], []
        for rendered in self.space.render(W(), self.space.w(STREAM, range(start, start + self.shard), self.psi)):
            kept = to_uint8(rendered)  # what is scored is what is kept
            pixels.append(kept.cpu().numpy())
            parts.append(self.space.score(from_uint8(kept)).cpu().numpy())
        images, scores = np.concatenate(pixels), np.concatenate(parts)
        self.check_finite(scores, start)
        buffer = io.BytesIO()
        np.save(buffer, images, allow_pickle=False)
        self.write(images_path(self.folder, start), buffer.getbuffer())
        # written last: without it the shard is not there
        self.write(self.scores_path(start), save({"scores": scores}, {"checksum": checksum_of(images, scores)}))
        return scores


def images_path(folder: Path, start: int) -> Path:
    return folder / f"images_{start:07d}.npy"


def read_image(folder: Path, index: int) -> NDArray[np.uint8]:
    """The image uint8 [R, R, 3] of a sample that the bank in ``folder`` holds.

    The file is opened anew each time: workers can share it, and thousands of shards need no open files.
    """
    place = index % ImageBank.shard
    return np.array(np.load(images_path(folder, index - place), mmap_mode="r", allow_pickle=False)[place])


def checksum_of(images: NDArray[np.uint8], scores: NDArray[np.float32]) -> str:
    return str(zlib.crc32(scores.tobytes(), zlib.crc32(np.ascontiguousarray(images).data)))
