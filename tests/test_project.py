"""What holds for the repository as a whole."""

import ast
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from conftest import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SKIPPED = {".git", ".hypothesis", "runs", "multirun", "wandb", "build", "dist", "__pycache__"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/")
PACKAGE_INDEX = re.compile(r"index[-]url|find[-]links|pypi[.]|pythonhosted[.]|download[.]pytorch[.]")
MIN_LINES, MAX_LINES = 40, 550
MAX_PARAMETERS = 7
"""What Hydra makes of a flat config; other bases of ours that do so are among them."""
MAX_ASSETS = 40_000_000
ASSETS = PROJECT / "src" / "ohlora_gan" / "assets"


def project_files(folder: Path = PROJECT) -> Iterator[Path]:
    """The files of the project, without caches, runs and virtual environments."""
    for path in sorted(folder.iterdir()):
        skipped = path.name in SKIPPED or path.name.endswith(("_cache", ".egg-info"))
        if path.is_file():
            yield path
        elif not skipped and not (path / "pyvenv.cfg").exists():
            yield from project_files(path)


def text_of(path: Path) -> str:
    """A file as text; weights and pictures too, for what their descriptions say."""
    return path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("pattern", [MACHINE_PATH, PACKAGE_INDEX], ids=["paths", "indexes"])
def test_no_file_depends_on_a_machine(pattern):
    found = [
        f"{path.relative_to(PROJECT)}: ...{text[max(0, match.start() - 30) : match.end() + 30]!r}"
        for path in project_files()
        for text in [text_of(path)]
        for match in pattern.finditer(text)
    ]
    assert not found, "\n".join(found)


def test_source_files_are_neither_long_nor_slivers():
    lengths = {p: len(text_of(p).splitlines()) for p in (PROJECT / "src").rglob("*.py")}
    slivers = [p for p, n in lengths.items() if n < MIN_LINES and p.name != "__init__.py"]
    assert not [p.name for p, n in lengths.items() if n > MAX_LINES or p in slivers]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of a function's parameters, less ``self`` and ``cls``."""
    given = function.args
    starred = [argument for argument in (given.vararg, given.kwarg) if argument is not None]
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *starred]
    return [argument.arg for argument in named if argument.arg not in ("self", "cls")]


def test_functions_have_few_parameters():
    found = []
    for path in (PROJECT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(parameters(node)) > MAX_PARAMETERS:
                found.append(f"{path.name}: {node.name} has {len(parameters(node))}")
    assert not found


def test_the_page_of_the_code_names_every_part_of_it():
    page, source = text_of(PROJECT / "docs" / "architecture.md"), PROJECT / "src" / "ohlora_gan"
    parts = [path.name for path in source.glob("*.py") if path.name != "__init__.py"]
    parts += [f"{path.parent.name}/" for path in source.glob("*/__init__.py")]
    assert not [name for name in parts if f"`{name}`" not in page and f"/{name}`" not in page]


def test_assets_say_where_they_come_from_and_are_small():
    assets = [p for p in ASSETS.rglob("*") if p.is_file()]
    data = [p for p in assets if p.suffix not in (".json", ".md")]
    if not data:
        pytest.skip("no assets yet")
    assert not [p.name for p in data if not p.with_suffix(".json").exists()]
    assert sum(p.stat().st_size for p in assets) <= MAX_ASSETS


def requirements_of(name: str, extra: str, seen: set[tuple[str, str]]) -> None:
    """Collects into ``seen`` what a distribution needs in this environment, directly or not."""
    if (canonicalize_name(name), extra) in seen:
        return
    seen.add((canonicalize_name(name), extra))
    for requirement in map(Requirement, distribution(name).requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for inner in ("", *requirement.extras):
                requirements_of(requirement.name, inner, seen)


def test_constraints_pin_the_whole_dependency_tree():
    lines = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    assert all(str(pin.specifier).startswith("==") and pin.url is None for pin in pins)
    here = [canonicalize_name(p.name) for p in pins if p.marker is None or p.marker.evaluate()]
    assert len(here) == len(set(here))
    needed: set[tuple[str, str]] = set()
    try:
        requirements_of("ohlora-gan", "dev", needed)
    except PackageNotFoundError as error:
        pytest.skip(f"{error} is not installed: pip install -c constraints.txt -e .[dev]")
    # A torch with CUDA brings packages of its own, which it pins itself.
    missing = {n for n, _ in needed} - set(here) - {"ohlora-gan"}
    assert not {n for n in missing if not n.startswith(("nvidia-", "cuda-", "triton"))}


def extras() -> list[str]:
    """The names of the extras, as pyproject.toml has them."""
    section = text_of(PROJECT / "pyproject.toml").partition("[project.optional-dependencies]\n")[2].partition("\n\n")[0]
    return re.findall(r"^(\w+) = ", section, re.MULTILINE)


@pytest.mark.parametrize("extra", extras())
def test_pins_are_what_each_extra_can_live_with(extra):
    file = "constraints-landmarks.txt" if extra == "landmarks" else "constraints.txt"
    lines = [line for line in (PROJECT / file).read_text().splitlines() if not line.startswith("#")]
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate()]
    version = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    needed: set[tuple[str, str]] = set()
    try:
        requirements_of("ohlora-gan", extra, needed)
    except PackageNotFoundError as error:
        pytest.skip(f"{error} is not installed: pip install -c {file} -e '.[{extra}]'")
    for name, inner in needed:
        for want in map(Requirement, distribution(name).requires or []):
            pinned = version.get(canonicalize_name(want.name))
            if pinned and (want.marker is None or want.marker.evaluate({"extra": inner})):
                assert want.specifier.contains(pinned, prereleases=True), f"{name} needs {want}, pinned is {pinned}"
