"""The image bank: generated images and what networks say of them, kept on disk to train on.

Like the bank of scores it grows in shards and continues where it was cut off; here the images themselves are wanted
again and again, so they are kept. Sample i depends on (seed, i) alone: more images later begin with those that are
there.
"""

import hashlib
import io
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import nn

from ohlora_gan.checkpoint import weights_hash
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace, Progress
from ohlora_gan.models.generator import Generator, from_uint8, to_uint8
from ohlora_gan.pretrained import open_checkpoint

STREAM = "generated"
SHARD = 250  # images a file: what an interrupted run loses at most


def open_generator(name: str | Path) -> Generator:
    """The generator to sample from, of a shipped model's name or a file.

    Raises:
        CheckpointError: if there is none.
    """
    weights = open_checkpoint(name)
    generator = weights.build(weights.generator_name)
    assert isinstance(generator, Generator)
    return generator


def open_scorer(name: str | Path) -> nn.Module:
    """The property network of a shipped model's name or a file.

    Raises:
        CheckpointError: if there is none.
    """
    return open_checkpoint(name).build("scorer")


def w_vectors(space: FaceSpace, stream: str, indices: Sequence[int], psi: float = 1.0) -> NDArray[np.float32]:
    """w [N, w_dim] of a stream's samples, truncated toward its average by ``psi`` in all layers; 1 is not at all."""
    w = space.codes(W(), *space.latents(stream, indices))
    if psi == 1.0:
        return w
    w_avg = space.generator.truncation.w_avg.cpu().numpy()
    return w_avg + psi * (w - w_avg)


def images_path(folder: Path, start: int) -> Path:
    return folder / f"images_{start:07d}.npy"


def read_image(folder: Path, index: int) -> NDArray[np.uint8]:
    """The image uint8 [R, R, 3] of a sample that the bank in ``folder`` holds.

    The file is opened anew each time: workers can share it, and thousands of shards need no open files.
    """
    place = index % SHARD
    return np.array(np.load(images_path(folder, index - place), mmap_mode="r", allow_pickle=False)[place])


class Shard(NamedTuple):
    """``SHARD`` images and their scores: uint8 [SHARD, R, R, 3], float32 [SHARD, columns]."""

    images: NDArray[np.uint8]
    scores: NDArray[np.float32]

    def checksum(self) -> str:
        return str(zlib.crc32(self.scores.tobytes(), zlib.crc32(np.ascontiguousarray(self.images).data)))


class ImageBank:
    """Images and scores of samples 0, 1, 2, ... of a face space; its scorer may be several, a `Panel`.

    Args:
        folder: where banks lie; each has a sub-folder named by what determines its numbers.
        space: generator, panel and their device.
        psi: truncation of w toward its average, in all layers; 1 is none.
    """

    def __init__(self, folder: str | Path, space: FaceSpace, psi: float = 1.0):
        self.space, self.psi, self.names = space, psi, space.property_names
        self.identity = {
            "generator": weights_hash(space.generator),
            "scorers": weights_hash(space.scorer),
            "columns": list(self.names),
            "seed": space.seed,
            "precision": space.device.precision,
            "psi": psi,
        }
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = Path(folder) / key

    def scores(self, n: int, progress: Progress | None = None) -> NDArray[np.float32]:
        """Scores float32 [n, columns] of the first n samples; shards that are missing or damaged are made.

        Raises:
            ValueError: if n is below 1, scores are not finite, or the folder cannot be written.
        """
        if n < 1:
            raise ValueError(f"num_generated is {n}, expected at least 1")
        if not (self.folder / "bank.json").exists():
            self.write(self.folder / "bank.json", json.dumps(self.identity, indent=2).encode())
        parts = []
        for start in range(0, n, SHARD):
            shard = self.read_shard(start)
            parts.append(self.make_shard(start) if shard is None else shard.scores)
            if progress:
                progress(min(start + SHARD, n), n)
        return np.concatenate(parts)[:n]

    def num_stored(self) -> int:
        """Number of samples on disk."""
        return SHARD * len(list(self.folder.glob("scores_*.safetensors")))

    def shard_paths(self, start: int) -> tuple[Path, Path]:
        return images_path(self.folder, start), self.folder / f"scores_{start:07d}.safetensors"

    def read_shard(self, start: int) -> Shard | None:
        """A shard, its images memory-mapped, or None where it is missing or damaged."""
        pictures, scores_path = self.shard_paths(start)
        side = self.space.generator.resolution
        try:
            images = np.load(pictures, mmap_mode="r", allow_pickle=False)
            with safe_open(scores_path, framework="numpy") as file:
                shard = Shard(images, file.get_tensor("scores"))
                checksum = (file.metadata() or {}).get("checksum")
        except (OSError, ValueError, EOFError, SafetensorError):
            return None
        whole = images.shape == (SHARD, side, side, 3) and shard.scores.shape == (SHARD, len(self.names))
        return shard if whole and images.dtype == np.uint8 and checksum == shard.checksum() else None

    def make_shard(self, start: int) -> NDArray[np.float32]:
        pixels, scores = [], []
        w = w_vectors(self.space, STREAM, range(start, start + SHARD), self.psi)
        for images in self.space.render(W(), w):
            part = to_uint8(images)  # what is scored is what is kept
            pixels.append(part.cpu().numpy())
            scores.append(self.space.score(from_uint8(part)).cpu().numpy())
        shard = Shard(np.concatenate(pixels), np.concatenate(scores))
        bad = int((~np.isfinite(shard.scores)).any(axis=1).sum())
        if bad:
            raise ValueError(
                f"{bad} of samples {start} to {start + SHARD - 1} have scores that are not finite: "
                f"check the weights of the generator, the filters and the scorer"
            )
        pictures, scores_path = self.shard_paths(start)
        buffer = io.BytesIO()
        np.save(buffer, shard.images, allow_pickle=False)
        self.write(pictures, buffer.getbuffer())
        # written last: without it the shard is not there
        self.write(scores_path, save({"scores": shard.scores}, {"checksum": shard.checksum()}))
        return shard.scores

    def write(self, path: Path, content: bytes | memoryview) -> None:
        """Writes a file of the bank, whole or not at all.

        Raises:
            ValueError: if it cannot be written.
        """
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                partial.write_bytes(content)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"generated images cannot be written to {path.parent} ({error.strerror}): free space there or choose "
                f"another folder with cache_dir=, then start again; the {self.num_stored()} that are there are kept"
            ) from error
