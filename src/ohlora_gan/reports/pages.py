"""The report of a run: one self-contained HTML page with the faces, the measurements and how to read them.

``report_template.html`` holds the page's words and layout; ``report_parts`` and ``report_tables`` make what goes
into it, and ``page`` puts both together.
"""

import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from ohlora_gan.files import write_text
from ohlora_gan.reports import sections as judges
from ohlora_gan.reports import sections as parts
from ohlora_gan.reports import sections as tables
from ohlora_gan.reports import wording as say
from ohlora_gan.reports.summary import CaseGrid, ReportData, Strip, Training

__all__ = ["CaseGrid", "ReportData", "Strip", "Training", "write_report"]


def response(data: ReportData) -> str:
    """The tables of side effects, a table a judge; nothing where they were not measured."""
    if data.judgement is not None:
        return judges.side_effects(data.judgement, say.unit(data.grid))
    if data.response is None:
        return ""
    return tables.response(np.asarray(data.response, float), data.properties, data.score_names)


def write_report(path: str | Path, data: ReportData) -> Path:
    """Write the page, which needs no other file and no network; returns its path."""
    joint = data.correlations if len(data.correlations) > 1 else {}  # one property alone is moved as in its strip
    num_pictures = int(np.prod(data.cases[0].images.shape[:-3])) if data.cases else 0
    sentences = {
        "lead": say.lead(data.properties),
        "joint": say.joint(data.properties, num_pictures),
        "blocks": say.blocks(data.properties),
        "good_case": say.good_case(data.properties),
        "grouping": say.grouping(data.group_by),
        "unit": say.unit(data.grid),
        "who": judges.who(data.judgement) if data.judgement else "",
    }
    fill = {
        "title": escape(data.title),
        "subtitle": escape(data.subtitle),
        "created": parts.created(data.created),
        "headline": "".join(parts.card(*card) for card in data.headline),
        "players": "".join(parts.player(strip) for strip in data.strips),
        "strips": "".join(parts.strip(strip, joint.get(strip.property)) for strip in data.strips),
        "correlations": parts.correlations(data),
        "cases": "".join(parts.case(case) for case in data.cases),
        "judges": judges.figures(data.judgement) if data.judgement else "",
        "image_change": judges.image_change(data.judgement) if data.judgement else "",
        "response": response(data),
        "accuracy": tables.accuracy(data.accuracy, data.group_by) if data.accuracy else "",
        "samples": "" if data.samples is None else parts.samples(data.samples, "random faces"),
        "training": "" if data.training is None else parts.training(data.training),
        "details": parts.details(data),
        **{name: escape(sentence) for name, sentence in sentences.items()},
    }
    return write_page(path, "report_template.html", fill)


# --- Pages of HTML in one file: a template with its gaps filled, in the look that all pages of the projec ---


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
    return resources.files("ohlora_gan.reports").joinpath(name).read_text("utf-8")
