"""Imports point one way: seeding -> models -> checkpoint -> latents -> editing -> evaluation -> pipeline."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PROJECT

SOURCE = PROJECT / "src" / "ohlora_gan"
BASE = {"vocabulary", "seeding", "devices", "progress", "thresholds", "files", "csv_table", "published"}
WEIGHTS = BASE | {"models", "checkpoint", "pretrained", "same_world"}
FACES = WEIGHTS | {"latents", "editing", "directions"}
VECTORS = {"closed_loop", "calibration", "finders"}
EDIT = {"edit_settings", "edit_session", "edit_files"}
OPENED = {"run_settings", "metric_store", "finders"}
MAY_IMPORT = {
    "vocabulary": set(),
    "seeding": set(),
    "devices": set(),
    "progress": set(),
    "thresholds": set(),
    "files": set(),
    "csv_table": {"files"},
    "published": {"csv_table"},
    "models": {"vocabulary", "seeding"},
    "checkpoint": {"seeding", "models", "files"},
    "pretrained": {"models", "checkpoint"},
    "same_world": {"checkpoint", "pretrained", "world.versions"},
    "data": {"vocabulary", "seeding", "files", "csv_table", "world.versions"},
    "world": {"vocabulary", "seeding"},
    "world.truth": {"models", "pretrained", "world"},
    "world.versions": {"world", "data.faces"},
    "directions": {"vocabulary", "seeding", "files", "csv_table", "published"},
    "latents": WEIGHTS,
    "data.generated": WEIGHTS | {"latents", "data"},
    "editing": WEIGHTS | {"latents"},
    "evaluation.judges": FACES | {"evaluation", "data.landmarks"},
    "evaluation": FACES,
    "training": WEIGHTS | {"data", "evaluation.pictures", "evaluation.reliability"},
    "config": FACES | {"evaluation", "data"},
    "filter_pipeline": WEIGHTS | {"training"},
    "pipeline": FACES | {"evaluation", "data", "training", "config", "filter_pipeline"},
    "vector_pipeline": FACES | VECTORS | {"evaluation", "training", "config", "pipeline", "metric_store"},
    "quality": FACES | {"evaluation", "data", "world.versions", "command"},
    "filter_means": FACES | {"evaluation", "command"},
    "import_vectors": FACES | {"evaluation", "command"},
    "scorers": FACES | {"evaluation", "command"},
    "truth": FACES | {"evaluation", "command", "quality", "world"},
    "run_settings": FACES,
    "metric_store": FACES | {"evaluation"},
    "rescore": FACES | {"evaluation", "command", "finders", "run_settings"},
    "parse_folder": {"vocabulary", "csv_table", "data", "command"},
    "label": {"vocabulary", "data", "evaluation", "command"},
    "sample": FACES | {"evaluation", "command"},
    "join": WEIGHTS | {"command"},
    "render": {"vocabulary", "csv_table", "data", "world", "evaluation", "command"},
    "compare": {"evaluation", "command", "run_settings"},
    "safe_range": FACES,
    "closed_loop": FACES | {"safe_range"},
    "calibration": FACES | {"evaluation"},
    "finders": FACES,
    "edit_settings": FACES | {"evaluation", "closed_loop"},
    "edit_session": FACES | {"evaluation", "closed_loop", "safe_range"},
    "edit_files": FACES | {"evaluation", "edit_session", "edit_settings", "safe_range"},
    "edit": FACES | EDIT | OPENED | {"evaluation", "closed_loop", "safe_range", "calibration", "command"},
    "sweep": {"compare"},
    "command": {"files"},
    "ship": {"checkpoint", "pretrained", "files"},
    "chain": {"checkpoint", "files"},
    "cli": {"vocabulary", "files"},
}
MAY_NOT_IMPORT = {
    "directions": {"torch", "pytorch_lightning"},
    "models": {"pytorch_lightning"},
    "latents": {"pytorch_lightning"},
    "editing": {"pytorch_lightning"},
    "evaluation": {"pytorch_lightning"},
}
HYDRA_USERS = {"pipeline", "vector_pipeline", "config", "filter_pipeline", "chain", "cli", "run_settings", "sweep"}
MODULES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The part of the house a file belongs to: itself where it is named, its package, or its own name at the top."""
    names = path.relative_to(SOURCE).with_suffix("").parts
    own = ".".join(names)
    return own if own in MAY_IMPORT else names[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    part = part_of(path)
    assert part in MAY_IMPORT, f"say in this test what {part} may import"
    allowed = MAY_IMPORT[part] | {part}
    for name in imports(path):
        root, _, inner = name.partition(".")
        if root == "ohlora_gan":
            ok = any(inner == a or inner.startswith(f"{a}.") for a in allowed)
            assert ok, f"{part} imports {name}, but may import only {sorted(allowed)}"
        assert root not in MAY_NOT_IMPORT.get(part, ()), f"{part} imports {name}"
        assert root not in ("hydra", "omegaconf") or part in HYDRA_USERS, f"{part} imports {name}"


def test_the_order_has_no_circle():
    order: list[str] = []
    left = {part: {a.partition(".")[0] for a in allowed} for part, allowed in MAY_IMPORT.items()}
    while left:
        free = sorted(part for part, allowed in left.items() if allowed <= set(order))
        assert free, f"circle among {sorted(left)}"
        order += free
        for part in free:
            del left[part]
