"""The rooms of the house: each imports from those before it alone, and nothing imports in a circle."""

import ast
import runpy
from pathlib import Path

import pytest
from conftest import PROJECT

SOURCE = PROJECT / "src" / "ohlora_gan"
ROOMS = (
    *("names", "errors", "checked", "rng", "reading", "files", "images", "progress", "devices", "settings", "registry"),
    *("trust", "options"),
    *("models", "world", "latents", "data", "directions", "testing", "editing", "judging", "training", "reports"),
    "api",
    *("pipelines", "explorer", "commands"),
)
MODULES = {".".join(p.relative_to(SOURCE).with_suffix("").parts): p for p in SOURCE.rglob("*.py")}


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.If) for n in ast.walk(f)}
    found = set()
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ImportFrom) or not node.level, f"{path} imports relatively"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ohlora_gan") and id(node) not in late:
            inner = (node.module or "").removeprefix("ohlora_gan").lstrip(".")
            found |= {name if (name := f"{inner}.{a.name}".lstrip(".")) in MODULES else inner for a in node.names}
    return found


def all_imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever the import stands."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return named | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__", "__main__"}))
def test_a_room_imports_from_those_before_it(module):
    room = module.partition(".")[0]
    allowed = {f"ohlora_gan.{name}" for name in ROOMS[: ROOMS.index(room) + 1]}
    ours = {name for name in all_imports(MODULES[module]) if name.startswith("ohlora_gan.")}
    assert not {name for name in ours if ".".join(name.split(".")[:2]) not in allowed}


def test_no_circle():
    left = {name: imports(path) & set(MODULES) for name, path in MODULES.items()}
    while left:
        free = {name for name, needs in left.items() if not needs & set(left)}
        assert free, f"circle among {sorted(left)}"
        left = {name: needs for name, needs in left.items() if name not in free}


@pytest.mark.parametrize("room", ["directions", "models", "latents", "editing", "judging"])
def test_maths_needs_no_trainer_and_no_config(room):
    for path in (SOURCE / room).glob("*.py"):
        assert not {name.partition(".")[0] for name in all_imports(path)} & {"pytorch_lightning", "hydra", "omegaconf"}


def test_the_picture_in_the_docs_shows_these_imports():
    script = runpy.run_path(str(PROJECT / "docs" / "rooms.py"))
    assert script["PICTURE"].read_text(encoding="utf-8") == script["draw"](), "draw it again: python docs/rooms.py"
