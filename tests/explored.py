"""A run of tiny networks, and the explorer's engine that opens it."""

from pathlib import Path

from ohlora_gan.directions.files import save_directions
from ohlora_gan.editing.invert import Inversion, Inverter
from ohlora_gan.explorer.engine import Engine, open_first
from ohlora_gan.models import checkpoint
from tests import tiny
from tests.commands.test_edit import directions


def run(folder: Path) -> Path:
    """A run folder of vectors and settings, with its networks."""
    generator = checkpoint.save(folder / "g.safetensors", {"generator": tiny.generator()})
    scorer = checkpoint.save(folder / "s.safetensors", {"scorer": tiny.scorer()})
    save_directions(folder / "vectors.safetensors", directions())
    (folder / "config.yaml").write_text(f"checkpoint: {generator}\nscorer: {scorer}\n")
    return folder


def engine(folder: Path, cache: Path) -> Engine:
    """Its engine, which inverts in a few steps."""
    made = open_first([folder], None, None, cache)
    made.__dict__["inverter"] = Inverter(made.space, None, Inversion(5, 5), None)
    return made
