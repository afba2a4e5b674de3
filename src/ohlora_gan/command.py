"""What the commands ``python -m ohlora_gan.NAME`` share: how they end, read pairs, claim folders.

The exit code is 0, 2 for a user's error (one sentence on stderr), 130 when interrupted.
"""

import argparse
import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ohlora_gan.files import write_json


def answer(work: Callable[[], str], interrupted: str = "interrupted", warns: type[Warning] | None = None) -> int:
    """Does a command's work, prints the text that it gives back, and returns the exit code.

    Args:
        work: the work; its ValueErrors and OSErrors are the user's.
        interrupted: what to say after Ctrl+C.
        warns: a kind of warning of the work that the user is told at the end, in a sentence each.
    """
    try:
        with warnings.catch_warnings(record=warns is not None) as caught:
            if warns is not None:
                warnings.simplefilter("always", warns)
            print(work())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    for warning in caught or ():
        if warns is not None and issubclass(warning.category, warns):
            print(f"warning: {warning.message}", file=sys.stderr)
    return 0


def parser_of(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser of a command; its help begins with the module's docstring, without the command and the markup."""
    said = (doc or "").replace("``", "").partition(": ")[2].strip()
    return argparse.ArgumentParser(
        prog=f"python -m ohlora_gan.{name}",
        description=said[:1].upper() + said[1:],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def claim(folder: Path, file: str, settings: Mapping[str, Any], what: str) -> None:
    """Makes a folder the one of these settings, which it keeps in a JSON file.

    Raises:
        ValueError: if it holds ``what`` was made with other ones.
    """
    path = folder / file
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [key for key in settings if before.get(key) != settings[key]]:
            olds = ", ".join(f"{key}={before.get(key, 'unknown')}" for key in changed)
            raise ValueError(f"{folder} holds {what} made with {olds}: choose another --output, or delete that folder")
    write_json(path, settings)


def attribute_values(text: str) -> dict[str, int]:
    """``gender=1,quality=1`` as name -> value: the type of an argument such as ``--keep``."""
    pairs = [re.fullmatch(r"(\w+)=(\d+)", part.strip()) for part in text.split(",")]
    if not all(pairs):
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=VALUE such as gender=1,quality=1")
    return {pair[1]: int(pair[2]) for pair in pairs if pair}
