"""Pages in one file each: Jinja2 templates, and the words and numbers that they and the plots write."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from ohlora_gan.files import data_uri, write_text


def write_page(path: str | Path, template: str, **content: Any) -> Path:
    """Writes a page, which needs no other file and no network: a template of ``reports/templates`` with the content it
    asks for by name, escaped where it makes HTML; returns its path."""
    return write_text(path, _environment().get_template(template).render(content))


@cache
def _environment() -> Environment:
    """Where templates lie, with the functions below as filters and as functions."""
    environment = Environment(
        loader=PackageLoader("ohlora_gan.reports"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    words = (plain, effect, ends, listed, number, share, said, strength, hue, ident, data_uri)
    for group in (environment.filters, environment.globals):
        group.update({word.__name__: word for word in words})
    return environment


class Phrases(NamedTuple):
    """How pages speak of a property."""

    action: str  # what a direction does: "open the eyes"
    effect: str  # what happens along it: "the eyes open"
    ends: tuple[str, str]  # what it is called against and along the direction


KNOWN = {
    "eyes": Phrases("open the eyes", "the eyes open", ("closing", "opening")),
    "mouth": Phrases("open the mouth", "the mouth opens", ("closing", "opening")),
    "pose": Phrases("turn the head", "the head turns", ("to the left", "to the right")),
}
"""Properties with words and a colour of their own; all others have more or less of something."""


def plain(name: str) -> str:
    """A property's name in words: ``hair color``."""
    return name.replace("_", " ")


def action(name: str) -> str:
    """What a property's direction does, as a command."""
    return KNOWN[name].action if name in KNOWN else f"change {plain(name)}"


def effect(name: str) -> str:
    """What happens to a face along a property's direction."""
    return KNOWN[name].effect if name in KNOWN else f"{plain(name)} rises"


def ends(name: str) -> tuple[str, str]:
    """What a property does against and along its direction."""
    return KNOWN[name].ends if name in KNOWN else ("less", "more")


def hue(name: str) -> str:
    """The theme colour of a property; every plot and table uses the same one."""
    return name if name in KNOWN else "accent"


def ident(name: str) -> str:
    """A name as part of an element's id."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).lower()


def listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A number with a true minus sign and no negative zero; a dash for None and NaN, what was not measured."""
    if value is None or not isfinite(value):
        return DASH
    value = round(value, digits) + 0.0
    text = f"{value:+.{digits}f}" if signed and value else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def share(value: float | None) -> str:
    """``95 %``, with a decimal where it is close to 0 or 1; a dash for what was not measured."""
    if value is None or not isfinite(value):
        return DASH
    return f"{100 * value:.0f} %" if 0.1 <= value <= 0.9 or value in (0, 1) else f"{100 * value:.1f} %"


def strength(value: float) -> str:
    """A strength without trailing zeros: ``+1.8``, ``0``."""
    value = round(float(value), 6)
    return f"{value:+g}".replace("-", MINUS) if value else "0"


def said(value: Sequence[float | None] | None, say: Callable[[float], str] = number) -> tuple[str, str]:
    """A figure ``(value, low, high)`` in words: ``2.93`` and ``2.90 to 2.95``; the second is empty where unknown."""
    mean, low, high = (nan if x is None else x for x in value or (None,) * 3)
    interval = f"{say(low).removesuffix(' %')} to {say(high).removesuffix(' %')}"
    return say(mean), interval if isfinite(mean + low + high) else ""
