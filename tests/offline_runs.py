"""Reads what a run has logged offline, with wandb's own messages."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, struct.Struct("<IHB")
WHOLE, LAST = 1, 4
"""Kinds of a log's pieces that end a message."""


def messages(path: Path) -> Iterator[Any]:
    """The messages of a ``.wandb`` file, which is a log as LevelDB writes them."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + HEADER.size <= len(data):
        if BLOCK - at % BLOCK < HEADER.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(data, at)
        at += HEADER.size
        parts, at = parts + data[at : at + length], at + length
        if kind in (WHOLE, LAST):
            message = wandb_internal_pb2.Record()
            message.ParseFromString(parts)
            parts = b""
            yield message


def values(items: Any) -> dict[str, Any]:
    """Names, with slashes where nested, and values of a message's items."""
    named = {}
    for item in items:
        value = json.loads(item.value_json)
        key = item.key or "/".join(item.nested_key)
        named |= {f"{key}": value}
    return named


class OfflineRun:
    """An offline run: what it is, its config, rows of figures, artifacts, and aims of figures."""

    def __init__(self, folder: Path) -> None:
        (self.file,) = sorted(folder.glob("**/offline-run-*/*.wandb"))
        self.config: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.artifacts: dict[str, Any] = {}
        self.aims: dict[str, str] = {}
        self.exit_code: int | None = None
        for message in messages(self.file):
            kind = message.WhichOneof("record_type")
            if kind == "run":
                self.run = message.run
                self.config |= values(message.run.config.update)
            elif kind == "config":
                self.config |= values(message.config.update)
            elif kind == "history":
                self.rows.append(values(message.history.item))
            elif kind == "artifact":
                self.artifacts[message.artifact.name] = message.artifact
            elif kind == "metric":
                chosen = [name for name in ("max", "min", "last") if getattr(message.metric.summary, name)]
                self.aims |= dict.fromkeys([message.metric.name] if chosen else [], "".join(chosen))
            elif kind == "exit":
                self.exit_code = message.exit.exit_code

    @property
    def keys(self) -> set[str]:
        """Names of all figures and media; parts of media such as their sizes are left out."""
        return {key for row in self.rows for key in row if not key.startswith("_")}

    def of(self, key: str) -> list[Any]:
        """All values of a figure, in order."""
        return [row[key] for row in self.rows if key in row]

    def used(self) -> dict[str, str]:
        """Names and kinds of the artifacts that the run is made from."""
        return {name: one.type for name, one in self.artifacts.items() if one.use_after_commit}

    def made(self) -> dict[str, str]:
        """Names and kinds of those that it has made."""
        own = {name: one for name, one in self.artifacts.items() if not one.use_after_commit}
        return {name: one.type for name, one in own.items() if one.type != "run_table"}
