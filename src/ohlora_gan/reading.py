"""Files that may be anybody's, read within bounds: text, JSON, YAML, tensors, and pictures of an allow-list of formats.

What is wrong with a file is an `UnreadableError`, whose text is the reason alone; who asked says which file, and what
to do. Nothing in a file is executed, and none takes more memory than its own size promises.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml
from PIL import Image
from safetensors import SafetensorError, safe_open

from ohlora_gan.checked import check_settings
from ohlora_gan.errors import UserError

MAX_TEXT = 2**28  # bytes of a table or a description
MAX_SETTINGS = 2**20  # bytes of a YAML file
MAX_NODES = 100_000  # of a YAML file, aliases counted as often as they stand
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""Kinds of pictures that are opened, by their content: Pillow hands others, such as EPS, to other programs."""


class UnreadableError(UserError):
    """A file that cannot be used; the message is the reason."""


def open_picture(file: str | Path | IO[bytes]) -> Image.Image:
    """A picture of one of `FORMATS`, not yet decoded; errors are Pillow's."""
    return Image.open(file, formats=FORMATS)


def read_text(path: str | Path, encoding: str = "utf-8-sig") -> str:
    """A text file; OSError, or UnreadableError for one that is too large, or no text."""
    with open(path, "rb") as file:
        content = file.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise UnreadableError(f"more than {MAX_TEXT:,} bytes")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"no text in UTF-8 ({error.reason} at byte {error.start})") from error


def parse_json(text: str) -> Any:
    """What JSON stands for; UnreadableError for anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"no JSON, or cut off ({error})") from error


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; errors as in `read_text`."""
    return parse_json(read_text(path))


def bounded_yaml(path: str | Path) -> str:
    """The text of a YAML file; errors as in `read_text`, and for one that is damaged, or expands without end."""
    text = read_text(path)
    if len(text) > MAX_SETTINGS:
        raise UnreadableError(f"more than {MAX_SETTINGS:,} bytes")
    try:
        check_expanded(yaml.compose(text, Loader=yaml.SafeLoader), {})
    except (yaml.YAMLError, RecursionError) as error:
        raise UnreadableError(f"no YAML, or cut off ({error})") from error
    return text


def check_expanded(node: yaml.Node | None, sizes: dict[int, int]) -> int:
    """How many nodes a node of YAML stands for, aliases written out; UnreadableError for more than `MAX_NODES`.

    ``sizes`` keeps what is known, by the node's id; a node that is in itself has none yet, and counts as without end.
    """
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = MAX_NODES
        parts = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
        sizes[id(node)] = 1 + sum(check_expanded(part, sizes) for part in parts)
    if sizes[id(node)] > MAX_NODES:
        raise UnreadableError(f"it expands to more than {MAX_NODES:,} values")
    return sizes[id(node)]


def metadata_of(path: str | Path) -> dict[str, str]:
    """What stands in the metadata of a ``.safetensors`` file; UnreadableError if it is damaged or cut off."""
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, MemoryError) as error:
        raise UnreadableError(f"it is damaged or cut off: {error}") from error


@contextmanager
def opened_tensors(path: str | Path, key: str, framework: str = "numpy") -> Iterator[tuple[Any, dict[str, Any]]]:
    """A ``.safetensors`` file of ours, and the description in its metadata under ``key``, a mapping.

    Raises:
        FileNotFoundError: if there is no such file.
        UnreadableError: if it is damaged, cut off, or was written by somebody else.
    """
    if not Path(path).exists():
        raise FileNotFoundError(str(path))
    try:
        with safe_open(path, framework=framework) as file:
            metadata = file.metadata() or {}
            if key not in metadata:
                raise UnreadableError(f"it has no {key} description: this project did not write it so")
            description = parse_json(metadata[key])
            if not isinstance(description, dict):
                raise UnreadableError(f"its {key} description is a {type(description).__name__}, expected a mapping")
            yield file, description
    except (SafetensorError, OSError, MemoryError) as error:
        raise UnreadableError(f"it is damaged or cut off: {error}") from error


def read_tensors(path: str | Path, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description and all arrays of a ``.safetensors`` file of ours; errors as in `opened_tensors`."""
    with opened_tensors(path, key) as (file, description):
        try:
            return description, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (TypeError, AttributeError, KeyError) as error:  # of a type that NumPy lacks
            raise UnreadableError(f"it holds numbers of a type that cannot be read ({error})") from error


def check_described(kind: type, description: Mapping[str, Any], needed: tuple[str, ...]) -> None:
    """Raises UnreadableError where a description lacks a field, or has one of another type than a class's fields."""
    if missing := [name for name in needed if name not in description]:
        raise UnreadableError(f"its description lacks {missing[0]!r}")
    try:
        check_settings(kind, description)
    except UserError as error:
        raise UnreadableError(f"its {error}") from error
