"""Pages of the site that are made of what lies elsewhere, when ``make docs`` builds it (a hook of MkDocs).

The front page is the README, contributing, changes and security are the files of the same names, and the settings are
read off ``conf/``: nothing is written twice.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
CONF = PROJECT / "conf"
COPIED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
PROGRAMS = {
    "train": ("python train.py", ("model", "data", "trainer", "callbacks", "experiment/train")),
    "find_vectors": ("python find_vectors.py", ("method", "layer", "metric", "experiment/vectors")),
    "chain": ("ohlora chain", ("scale",)),
}
"""Configs of ``conf`` -> how they are called, and their groups."""
SHARED = ("device", "logger")
LINE = re.compile(r"(?P<indent> *)(?P<key>[\w/.]+):(?: +(?P<value>[^#]*[^# ]))? *(?:# (?P<comment>.*))?$")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages to those of ``docs``."""
    from mkdocs.structure.files import File

    pages = {target: moved((PROJECT / source).read_text(encoding="utf-8")) for source, target in COPIED.items()}
    pages["settings.md"] = settings()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links out of ``docs`` lead to the pages that those files have become."""
    for source, target in COPIED.items():
        markdown = markdown.replace(f"](../{source}", f"]({target}")
    return markdown


def moved(text: str) -> str:
    """A page of the top folder, as one of ``docs``."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\]\(([A-Z]+\.md)\)", lambda found: f"]({COPIED.get(found[1], found[1])})", text)


def settings() -> str:
    """All settings of the programs, with defaults and what their comments say."""
    parts = [
        "# Settings",
        "Read off `conf/` when this page is built. A group is chosen by `GROUP=CHOICE`, a key is given by `KEY=VALUE`; "
        "`--help` of a program lists its choices, `--cfg job` all its keys with their values. A key of a choice comes "
        "behind the group's name: `method.finder.decorrelate=all`.",
    ]
    for name, (call, groups) in PROGRAMS.items():
        parts += [f"## `{call}`", table(CONF / f"{name}.yaml")]
        for group in groups:
            parts += group_of(group)
    parts.append("## Of both programs")
    for group in SHARED:
        parts += group_of(group)
    return "\n\n".join(parts) + "\n"


def group_of(group: str) -> Iterator[str]:
    """A group: a line of each choice, and behind it its keys."""
    yield f"### `{group.partition('/')[0]}=`"
    for path in sorted((CONF / group).glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        says = next((line[2:] for line in lines if line.startswith("# ") and "@package" not in line), "")
        keys = table(path)
        title = f"`{path.stem}`: {says}".rstrip(": ").replace('"', "'")
        yield f'??? note "{title}"\n\n' + "\n".join(f"    {line}" for line in (keys or "No keys.").splitlines())


def table(path: Path) -> str:
    """The keys of a config, dotted, with default and comment; without Hydra's own."""
    rows = [f"| `{key}` | {f'`{value}`' if value else ''} | {said} |" for key, value, said in keys(path)]
    return "\n".join(["| key | default | |", "|---|---|---|", *rows]) if rows else ""


def keys(path: Path) -> Iterator[tuple[str, str, str]]:
    """(dotted key, default, comment) of the lines of a config."""
    above: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        found = LINE.fullmatch(line)
        if found is None:
            continue
        indent = len(found["indent"])
        above = [(depth, name) for depth, name in above if depth < indent] + [(indent, found["key"])]
        dotted = ".".join(name for _, name in above)
        value, said = (found["value"] or "").replace("|", "\\|"), re.sub(r"[|_*]", r"\\\g<0>", found["comment"] or "")
        if dotted.split(".")[0] not in ("hydra", "defaults") and (value or said) and found["key"] != "_target_":
            yield dotted, value, said
