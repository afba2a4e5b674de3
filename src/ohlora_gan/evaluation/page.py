"""Pages of HTML in one file: a template with its gaps filled, in the look that all pages of the project share.

``page_style.html`` holds that look. What lies between ``<!-- section NAME -->`` and ``<!-- end NAME -->`` in a
template appears only where NAME is filled with something.
"""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template

from ohlora_gan.files import write_text

_SECTION = re.compile(r"<!-- section (\w+) -->(.*?)<!-- end \1 -->", re.DOTALL)


def write_page(path: str | Path, template: str, fill: Mapping[str, str]) -> Path:
    """Write a page, which needs no other file and no network; returns its path.

    Args:
        path: the HTML file; its folder is made if needed.
        template: a file of this package, with gaps such as ``$title``; ``$style`` is the common look.
        fill: gap -> HTML. An empty one takes the section of its name with it.
    """
    page = _SECTION.sub(lambda match: match[2] if fill[match[1]] else "", _own_file(template))
    return write_text(path, Template(page).substitute(fill, style=_own_file("page_style.html").strip()))


def _own_file(name: str) -> str:
    return resources.files("ohlora_gan.evaluation").joinpath(name).read_text("utf-8")
