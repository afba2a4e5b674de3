"""``ohlora ship RUN NAME``: puts a run's weights into the package, in half precision, with provenance."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ohlora_gan.files import write_json
from ohlora_gan.models import checkpoint
from ohlora_gan.models.zoo import ASSETS


def ship(run: Path, name: str, figures: dict[str, Any], command: str | None = None) -> Path:
    """Writes ``assets/NAME.safetensors`` and ``assets/NAME.json`` from a run's ``model.safetensors``."""
    loaded = checkpoint.load(run / "model.safetensors")
    networks = {part: loaded.build(part) for part in loaded.networks}
    info = {key: value for key, value in loaded.info.items() if key != "metrics"}
    if command:
        info["command"] = command
    path = checkpoint.save(ASSETS / f"{name}.safetensors", networks, half=True, **info)
    path.chmod(0o644)
    provenance = {"name": name, "sha256": checkpoint.file_hash(path), **info, "figures": figures}
    write_json(path.with_suffix(".json"), provenance)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ohlora_gan.commands.ship", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder that holds model.safetensors")
    parser.add_argument("name", help="name of the shipped model")
    parser.add_argument("--figures", type=Path, help="JSON file of measured figures")
    parser.add_argument("--command", help="the command that made the weights, where it was more than one")
    given = parser.parse_args(arguments)
    figures = json.loads(given.figures.read_text()) if given.figures else {}
    print(ship(given.run, given.name, figures, given.command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
