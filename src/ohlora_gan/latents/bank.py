"""Banks: what is known of samples 0, 1, 2, ... of a face space, kept on disk.

Sample i depends on (seed, i) alone, so a bank of 4,000 is the beginning of one of 240,000. A bank grows in files of
some hundred samples; one that was cut off goes on where it stopped, and a file whose checksum is wrong is made again.
Processes that need the same bank share the work: who holds a file's lock makes it, the others go on with the next.
Only what is dear is kept, images and scores: latents and vectors at any layer are made again, so all layers and methods
share one bank.
"""

import hashlib
import io
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from ohlora_gan.files import replacing
from ohlora_gan.latents.checksums import read_array, tell_damaged, with_checksum
from ohlora_gan.latents.layers import Layer, W
from ohlora_gan.latents.space import FIND, FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.gan import from_uint8, to_uint8
from ohlora_gan.models.scorers import resized

log = logging.getLogger(__name__)
POLL = 0.2  # seconds between two looks at what other processes are making


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
        """Scores float32 [n, P] of the first n samples; those already on disk are read, the rest is made.

        What another process makes at the moment is awaited, and made here if that process ends before its time.
        """
        if n < 1:
            raise ValueError(f"{self.num_key} is {n}, expected at least 1")
        if not (self.folder / "bank.json").exists():
            self.write(self.folder / "bank.json", json.dumps(self.identity, indent=2).encode())
        starts = range(0, n, self.shard)
        parts: dict[int, np.ndarray] = {}
        told = False
        while missing := [start for start in starts if start not in parts]:
            for start in missing:
                read, make = partial(self.read_shard, start), partial(self.make_shard, start)
                part = self.once(self.scores_path(start), read, make)
                if part is not None:
                    parts[start] = part
                    if progress is not None:
                        progress.update(min(self.shard, n - start))
            if not parts.keys() & set(missing):
                if not told:
                    log.info("another process makes the rest of the samples in %s: waiting for it", self.folder)
                told = True
                time.sleep(POLL)
        return np.concatenate([parts[start] for start in starts])[:n]

    def once(self, path: Path, read: Callable[[], Any], make: Callable[[], Any]) -> Any:
        """What ``read`` finds, or what ``make`` gives and writes to ``path``; None while another process makes it."""
        before = changed(path)
        found = read()
        if found is not None:
            return found
        with self.held(path) as is_held:
            if not is_held:
                return None
            found = read() if changed(path) != before else None  # by a process that has made it meanwhile
            return make() if found is None else found

    @contextmanager
    def held(self, path: Path) -> Iterator[bool]:
        """Whether this process may make a file: its lock, which a process that is killed loses."""
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise self.unwritable(error) from error
        try:
            yield True
        finally:
            with suppress(OSError):  # Windows removes no open file; it is empty
                Path(lock.lock_file).unlink()
            lock.release()

    def num_stored(self) -> int:
        return self.shard * len(list(self.folder.glob("scores_*.safetensors")))

    def scores_path(self, start: int) -> Path:
        return self.folder / f"scores_{start:07d}.safetensors"

    @abstractmethod
    def read_shard(self, start: int) -> np.ndarray | None:
        """The scores of a file's samples, or None where it is missing or damaged."""

    def checked(self, path: Path, scores: np.ndarray | None) -> np.ndarray | None:
        """Scores of a file where they are as many as they should be, and finite; else None."""
        expected = (self.shard, len(self.space.property_names))
        if scores is not None and (scores.shape != expected or self.num_bad(scores)):
            tell_damaged(path, f"expected {list(expected)} finite scores")
            return None
        return scores

    @abstractmethod
    def make_shard(self, start: int) -> np.ndarray:
        """Makes the samples of a file, and returns their scores."""

    def num_bad(self, scores: np.ndarray) -> int:
        """How many rows of scores are not finite, but for those of pictures that the scorer may say nothing of."""
        bad = ~np.isfinite(scores)
        return int(np.count_nonzero(bad.any(axis=1) & ~(np.isnan(scores).all(axis=1) & self.space.may_lose)))

    def write(self, path: Path, content: bytes | memoryview) -> None:
        """Writes a file of the bank, whole or not at all; a folder of that name is moved out of its way."""
        try:
            if path.is_dir():
                path.rename(path.with_name(f"{path.name}.{time.time_ns()}.aside"))
            with replacing(path) as file:
                file.write_bytes(content)
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> ValueError:
        return ValueError(
            f"samples cannot be written to {self.folder} ({error.strerror}): free space there or choose another "
            f"folder with {self.folder_key}=, then start again; the {self.num_stored()} that are there are kept"
        )


def changed(path: Path) -> int | None:
    """When a file was written last, None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


LATENTS_AT_ONCE = 8192


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
        return self.checked(self.scores_path(start), read_array(self.scores_path(start), "scores"))

    def make_shard(self, start: int) -> np.ndarray:
        scores = self.space.score_codes(W(), self.space.w(FIND, range(start, start + self.shard)))
        self.write(self.scores_path(start), with_checksum("scores", scores))
        return scores

    def codes(self, layer: Layer, n: int) -> np.ndarray:
        """Vectors float32 [n, D] of the first n samples at a layer; little more than these is in memory at a time."""
        made: np.ndarray | None = None
        for start in range(0, n, LATENTS_AT_ONCE):
            part = self.space.codes(layer, *self.space.latents(FIND, range(start, min(start + LATENTS_AT_ONCE, n))))
            made = np.empty((n, part.shape[1]), np.float32) if made is None else made
            made[start : start + len(part)] = part
        assert made is not None
        return made

    def cached(self, kind: str, layer: Layer, what: Any, make: Callable[[], Any]) -> np.ndarray:
        """An array that is dear to make (``kind``: ``jacobian``, ``metric``), from the folder where it was made before.

        ``what``, plain data or bytes, says what determines its numbers besides bank, kind and layer.
        """
        described = what if isinstance(what, bytes) else json.dumps(what, sort_keys=True, default=str).encode()
        path = self.folder / f"{kind}_{layer.name}_{hashlib.sha256(described).hexdigest()[:16]}.safetensors"

        def made() -> np.ndarray:
            array = np.ascontiguousarray(make())
            self.write(path, with_checksum(kind, array))
            return array

        while (found := self.once(path, lambda: read_array(path, kind), made)) is None:
            time.sleep(POLL)
        return np.asarray(found)


STREAM = "generated"


class ImageBank(Bank):
    """Images and scores, to train on; the scorer of the space may be several networks, a `Panel`.

    With ``psi`` below 1 every w is truncated toward its average, in all layers. Images are kept with ``side`` pixels
    (None: as they are made), and scored before they are resized.
    """

    num_key, folder_key = "num_generated", "cache_dir"

    def __init__(self, folder: str | Path, space: FaceSpace, psi: float = 1.0, side: int | None = None):
        identity = {
            "generator": weights_hash(space.generator),
            "scorers": weights_hash(space.scorer),
            "columns": list(space.property_names),
            "seed": space.seed,
            "precision": space.device.precision,
            "psi": psi,
        }
        self.side = side or space.generator.resolution
        if self.side != space.generator.resolution:
            identity["side"] = self.side
        super().__init__(folder, space, identity)
        self.psi = psi

    def read_shard(self, start: int) -> NDArray[np.float32] | None:
        path, shape = images_path(self.folder, start), (self.shard, self.side, self.side, 3)
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            tell_damaged(path, error)
            return None
        if images.shape != shape or images.dtype != np.uint8:
            tell_damaged(path, f"it holds {images.dtype} {list(images.shape)}")
            return None
        return self.checked(self.scores_path(start), read_array(self.scores_path(start), "scores", images))

    def make_shard(self, start: int) -> NDArray[np.float32]:
        pixels, parts = [], []
        for rendered in self.space.render(W(), self.space.w(STREAM, range(start, start + self.shard), self.psi)):
            kept = to_uint8(rendered)  # what is scored is what is kept
            small = kept if kept.shape[1] == self.side else to_uint8(resized(from_uint8(kept), self.side))
            pixels.append(small.cpu().numpy())
            parts.append(self.space.score(from_uint8(kept)).cpu().numpy())
        images, scores = np.concatenate(pixels), np.concatenate(parts)
        buffer = io.BytesIO()
        np.save(buffer, images, allow_pickle=False)
        self.write(images_path(self.folder, start), buffer.getbuffer())
        # written last: without it the shard is not there
        self.write(self.scores_path(start), with_checksum("scores", scores, images))
        return scores


def images_path(folder: Path, start: int) -> Path:
    return folder / f"images_{start:07d}.npy"


def read_image(folder: Path, index: int) -> NDArray[np.uint8]:
    """The image uint8 [R, R, 3] of a sample that the bank in ``folder`` holds.

    The file is opened anew each time: workers can share it, and thousands of shards need no open files.
    """
    place = index % ImageBank.shard
    return np.array(np.load(images_path(folder, index - place), mmap_mode="r", allow_pickle=False)[place])
