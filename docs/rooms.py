"""Draws docs/images/rooms.svg from the imports of the source: ``python docs/rooms.py``.

A box is a room: a folder of ``src/ohlora_gan``, its front door ``api``, or the modules beside them that import no room.
An arrow goes from a room to one that imports it; arrows that follow from others are left out.
"""

import ast
from html import escape
from itertools import pairwise
from pathlib import Path
from textwrap import wrap

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = PROJECT / "src" / "ohlora_gan"
PICTURE = PROJECT / "docs" / "images" / "rooms.svg"
BASE = "foundations"
SEARCH = ("models", "latents", "directions", "editing", "judging", "reports")
"""The way of a latent through a search for directions."""
STEPS = ("picture and score", "bank of samples", "find", "move, calibrate", "test", "show")
APART = ("api", "testing")
"""Modules that import rooms, and are rooms of their own therefore."""

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 220, 74, 250, 128, 20


def imports(path: Path) -> set[str]:
    """What a file imports of ``ohlora_gan``, wherever the import stands: ``directions.base``, ``names``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ohlora_gan":
            inner = (node.module or "").partition(".")[2]
            found |= {inner} if inner else {alias.name for alias in node.names}
    return found


def rooms() -> dict[str, str]:
    """Room -> what it is, the first line of its docstring."""
    folders = sorted(path.parent for path in SOURCE.glob("*/__init__.py"))
    modules = [path.stem for path in SOURCE.glob("*.py") if not path.stem.startswith("__") and path.stem not in APART]
    docs = {folder.name: first_line(folder / "__init__.py") for folder in folders}
    return {BASE: ", ".join(sorted(modules)), **docs, **{name: first_line(SOURCE / f"{name}.py") for name in APART}}


def first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def arrows(names: dict[str, str]) -> set[tuple[str, str]]:
    """(imported room, importing room), without those that follow from others."""
    direct: dict[str, set[str]] = {name: set() for name in names}
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).with_suffix("").parts[0]
        if room.startswith("__"):
            continue
        room = room if room in names else BASE
        used = {name if (name := module.split(".")[0]) in names else BASE for module in imports(path)}
        direct[room] |= used - {room}
    reached: dict[str, set[str]] = {}

    def reach(room: str) -> set[str]:
        if room not in reached:
            reached[room] = direct[room].union(*map(reach, direct[room]))
        return reached[room]

    longer = {(used, room) for room in names for between in direct[room] for used in reach(between)}
    return {(used, room) for room in names for used in direct[room]} - longer


def levels(names: dict[str, str], edges: set[tuple[str, str]]) -> list[list[str]]:
    """Rooms by the length of the longest way to them."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for used, room in sorted(edges):
            depth[room] = max(depth[room], depth[used] + 1)
    ordered = [*SEARCH, *(name for name in names if name not in SEARCH)]
    return [[name for name in ordered if depth[name] == level] for level in range(max(depth.values()) + 1)]


def places(rows: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Room -> the left top corner of its box, each row centred."""
    widest = max(map(len, rows))
    return {
        name: (MARGIN + ACROSS * (i + (widest - len(row)) / 2), MARGIN + DOWN * level)
        for level, row in enumerate(rows)
        for i, name in enumerate(row)
    }


def draw() -> str:
    """The picture as SVG."""
    names = rooms()
    edges = arrows(names)
    rows = levels(names, edges)
    corners = places(rows)
    size = (max(x for x, _ in corners.values()) + WIDTH + MARGIN, max(y for _, y in corners.values()) + HEIGHT + MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:g} {size[1]:g}" '
        'font-family="Helvetica, Arial, sans-serif">',
        '<defs><marker id="head" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" refX="8" refY="4.5" '
        'orient="auto"><path d="M0 0 L9 4.5 L0 9 z" fill="#667"/></marker></defs>',
        f'<rect width="{size[0]:g}" height="{size[1]:g}" fill="#fff"/>',
    ]
    on_the_way = set(pairwise(SEARCH))
    for used, room in sorted(edges):
        (x0, y0), (x1, y1) = corners[used], corners[room]
        look = (
            'stroke="#c2410c" stroke-width="2.5"' if (used, room) in on_the_way else 'stroke="#99a" stroke-width="1.2"'
        )
        way = curve((x0 + WIDTH / 2, y0 + HEIGHT), (x1 + WIDTH / 2, y1), size[0] / 2)
        parts.append(f'<path d="{way}" fill="none" {look} marker-end="url(#head)"/>')
    for name, (x, y) in corners.items():
        parts += box(name, names[name], x, y)
    return "\n".join([*parts, "</svg>", ""])


def curve(start: tuple[float, float], end: tuple[float, float], middle: float) -> str:
    """A way down from a box to another; one past a whole row leads through the gap in the middle."""
    (x0, y0), (x1, y1) = start, end
    if y1 - y0 < DOWN:
        return f"M{x0:g} {y0:g} C{x0:g} {(y0 + y1) / 2:g} {x1:g} {(y0 + y1) / 2:g} {x1:g} {y1:g}"
    top, bottom = y0 + DOWN - HEIGHT, y1 - DOWN + HEIGHT
    down = f"M{x0:g} {y0:g} C{x0:g} {top:g} {middle:g} {y0:g} {middle:g} {top:g} L{middle:g} {bottom:g}"
    return f"{down} C{middle:g} {y1:g} {x1:g} {bottom:g} {x1:g} {y1:g}"


def box(name: str, says: str, x: float, y: float) -> list[str]:
    """A room: its name, where it stands in a search, and what it is."""
    fill = "#ffedd5" if name in SEARCH else "#eef2ff"
    step = f" · {SEARCH.index(name) + 1} {STEPS[SEARCH.index(name)]}" if name in SEARCH else ""
    lines = wrap(says, 36)
    lines = lines if len(lines) <= 3 else [*lines[:2], lines[2][:33] + "…"]
    shape = f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="#667"/>'
    head = f'<tspan font-weight="bold">{name}</tspan><tspan fill="#9a3412">{escape(step)}</tspan>'
    texts = [f'<text x="{x + 10:g}" y="{y + 20:g}" font-size="13">{head}</text>']
    for i, line in enumerate(lines):
        place = f'x="{x + 10:g}" y="{y + 36 + 14 * i:g}"'
        texts.append(f'<text {place} font-size="11" fill="#334">{escape(line)}</text>')
    return [shape, *texts]


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE)
