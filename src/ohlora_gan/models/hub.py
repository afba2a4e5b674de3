"""Weights of the Hugging Face Hub by name: ``hf://OWNER/NAME/FILE``, or ``hf://OWNER/NAME/FILE@REVISION``.

A revision is a branch, a tag or a commit; a commit's 40 digits name one content for ever. A file is fetched once, by
``huggingface_hub``, into its cache; with ``HF_HUB_OFFLINE=1`` nothing but the cache is asked. Its content is compared
with the hash that it is stored under.
"""

import hashlib
import re
from pathlib import Path

from ohlora_gan.models.checkpoint import CheckpointError, file_hash

NAME = re.compile(r"hf:/{1,2}(?P<repo>[^/@\s]+/[^/@\s]+)/(?P<file>[^@\s]+)(@(?P<revision>[^@\s]+))?")
"""One slash is enough: a `Path` of the name has lost the other."""
EXPECTED = "expected hf://OWNER/NAME/FILE, or hf://OWNER/NAME/FILE@REVISION"


def is_on_hub(name: str | Path) -> bool:
    """Whether a name stands for a file of the Hub."""
    return str(name).startswith("hf:/")


def fetch(name: str | Path) -> Path:
    """The file in the cache, which is fetched where it is not there.

    Raises:
        CheckpointError: where the name is malformed, or the file cannot be had or is damaged.
    """
    asked = NAME.fullmatch(str(name))
    if asked is None:
        raise CheckpointError(f"checkpoint {str(name)!r} cannot be read, {EXPECTED}")
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError:
        raise CheckpointError(f"{name} lies on the Hugging Face Hub: pip install huggingface_hub") from None
    try:
        path = Path(hf_hub_download(asked["repo"], asked["file"], revision=asked["revision"]))
    except errors.HFValidationError as error:
        raise CheckpointError(f"checkpoint {str(name)!r} cannot be read ({error}), {EXPECTED}") from error
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{name} is given to those who agree to its terms: do so there, then hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: there is no repository {asked['repo']}, or it is private: check the name, or hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{name}: {asked['repo']} has no revision {asked['revision']}: give a branch, a tag or a commit"
        ) from error
    except errors.LocalEntryNotFoundError as error:  # before what it derives from
        raise CheckpointError(
            f"{name} is not in the cache, and the Hub cannot be reached (or HF_HUB_OFFLINE=1 forbids it): "
            f"go online once, or give a file's path"
        ) from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(
            f"{name}: {asked['repo']} has no file {asked['file']}: look at its list of files"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{name} cannot be fetched ({error}): try again, or give a file's path") from error
    check_content(path, name)
    return path


def pinned(name: str | Path, path: Path) -> str:
    """The name with the commit that a fetched file is of, so that it stands for the same content for ever."""
    asked = NAME.fullmatch(str(name))
    assert asked is not None
    parts = path.parts
    commit = parts[len(parts) - parts[::-1].index("snapshots")]
    return f"hf://{asked['repo']}/{asked['file']}@{commit}"


def check_content(path: Path, name: str | Path) -> None:
    """CheckpointError where a cached file is another than the hash that it is stored under: SHA-256 of large files,
    git's SHA-1 of small ones."""
    stored = path.resolve().name
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", stored):
        return
    content = file_hash(path) if len(stored) == 64 else git_hash(path.read_bytes())
    if content != stored:
        raise CheckpointError(f"{name} is damaged in the cache: delete {path.resolve()}, then try again")


def git_hash(content: bytes) -> str:
    """The name that git gives a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
