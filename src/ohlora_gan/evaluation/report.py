"""The report of a run: one self-contained HTML page with the faces, the measurements and how to read them.

``report_template.html`` holds the page's words, style and layout; ``report_parts`` and ``report_tables`` make
what goes into it. What lies between ``<!-- section NAME -->`` and ``<!-- end NAME -->`` in the template
appears only where there is something to show.
"""

import re
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from ohlora_gan.evaluation import report_parts as parts
from ohlora_gan.evaluation import report_tables as tables
from ohlora_gan.evaluation.report_data import CaseGrid, ReportData, Strip, Training

__all__ = ["CaseGrid", "ReportData", "Strip", "Training", "write_report"]

_SECTION = re.compile(r"<!-- section (\w+) -->(.*?)<!-- end \1 -->", re.DOTALL)


def write_report(path: str | Path, data: ReportData) -> Path:
    """Write the page, which needs no other file and no network; returns its path."""
    fill = {
        "title": escape(data.title),
        "subtitle": escape(data.subtitle),
        "created": parts.created(data.created),
        "headline": "".join(parts.card(*card) for card in data.headline),
        "players": "".join(parts.player(strip) for strip in data.strips),
        "strips": "".join(parts.strip(strip, data.correlations.get(strip.property)) for strip in data.strips),
        "correlations": parts.correlations(data),
        "cases": "".join(parts.case(case) for case in data.cases),
        "response": "" if data.response is None else tables.response(np.asarray(data.response, float)),
        "accuracy": tables.accuracy(data.accuracy) if data.accuracy else "",
        "samples": "" if data.samples is None else parts.samples(data.samples, "random faces"),
        "training": "" if data.training is None else parts.training(data.training),
        "details": parts.details(data),
    }
    page = resources.files("ohlora_gan.evaluation").joinpath("report_template.html").read_text("utf-8")
    page = _SECTION.sub(lambda match: match[2] if fill[match[1]] else "", page)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(page).substitute(fill), encoding="utf-8")
    return path
