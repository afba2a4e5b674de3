"""Files that are whole at any moment: a new one takes the old one's place when all of it has been written."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which becomes ``path`` when the block ends; its folder is made if needed.

    After an error ``path`` is as it was before. So it is in a process that is killed, which leaves
    ``NAME.PROCESS.partial`` behind; nothing reads that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if str(error.filename) != str(partial):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # which users know
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text in UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, content: Any) -> Path:
    """Writes plain data as JSON; numbers of other kinds, such as numpy's, become floats."""
    return write_text(path, json.dumps(content, indent=2, default=float) + "\n")
