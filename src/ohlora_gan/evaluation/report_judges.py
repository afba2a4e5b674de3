"""What the judges say, for the report: their figures side by side, side effects, and how much the picture changes.

All is made from the plain data of ``judge.Judgement.to_dict``, in which None is what was not measured.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ohlora_gan.evaluation import plots
from ohlora_gan.evaluation import report_tables as tables
from ohlora_gan.evaluation.report_numbers import DASH, MINUS, number, words
from ohlora_gan.evaluation.report_words import listed

Data = Mapping[str, Any]

WHO = {
    "property_cnn_judge": "property_cnn_judge learnt from rendered faces alone, other ones than the scorer that found "
    "the directions, and has never seen a generated face: in the embedded world it stands for the renderer’s truth.",
    "landmarks": "landmarks is MediaPipe’s face mesh: it measures outlines, and no network of this project had a part "
    "in it. A picture in which it does not find exactly one face is lost; a face that lost a picture does not pass.",
}
"""What a reader should know of a judge."""

CHANGES = {
    "whole": ("the whole picture", "mean change of a pixel, of its full range"),
    "face": ("the face", "the same inside an ellipse around the face"),
    "outside": ("everything else", "the same outside of it: hair, clothes, backdrop"),
    "features": (
        "towards another person",
        "distance of a network’s features; 100 % is the mean distance of two random faces",
    ),
}


def who(judgement: Data) -> str:
    """Who judges, in words."""
    finding = [name for name, found in judgement["by"].items() if found["role"] == "finding"]
    others = [name for name in judgement["by"] if name not in finding]
    if not others:
        return f"No other judge was asked than {listed(finding)}, which the directions were found with."
    asked = f"{listed(finding)} is the scorer that the directions were found with; {listed(others)} had no part in it."
    return " ".join([asked, *(WHO[name] for name in others if name in WHO)])


def figures(judgement: Data) -> str:
    """Two tables: all properties together, and each alone; a row a judge."""
    return f"{_together(judgement)}\n{_apart(judgement)}"


def _together(judgement: Data) -> str:
    by = judgement["by"]
    total = len(judgement["edited"])
    head = ["judge", f"sum of the correlations, of {total}", "faces that pass", "pass on a second draw"]
    head += ["of those that passed, pass again", "lost pictures"]
    rows = ""
    for name, found in by.items():
        retest = found["retest"] or {"pass_share": None, "passed_both": None}
        cells = [interval(found["sum_corr"]), interval(found["pass_share"], percent=True)]
        cells += [interval(retest["pass_share"], percent=True), percent(retest["passed_both"]), percent(found["lost"])]
        rows += f"<tr>{_judge(name, found)}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"
    caption = f"{judgement['num_latents']:,} faces; below a figure its 95 % interval.{_second_draw(by)}"
    return _table("Judges", head, rows, caption, "judges")


def _second_draw(by: Mapping[str, Data]) -> str:
    """What a second draw is, and how much of a test it is."""
    changes = {name: found["retest"]["change"] for name, found in by.items() if found["retest"]}
    known = [f"{number(change, 3)} σ ({escape(name)})" for name, change in changes.items() if change is not None]
    if not known:
        return ""
    return f" A second draw is the same face and edit with fresh noise, which changes a score by {listed(known)}."


def _apart(judgement: Data) -> str:
    sigma = judgement["grid"] == "sigma"
    head = ["property", "judge", "correlation", "straightness", "goes on responding", "worst side effect"]
    head += ["misses by"] if sigma else []
    rows = ""
    for name in judgement["edited"]:
        judges = {judge: found for judge, found in judgement["by"].items() if name in found["corr"]}
        for i, (judge, found) in enumerate(judges.items()):
            cells = [interval(found["corr"][name]), _value(found["linearity"][name])]
            cells += [_range(found["saturation"][name]), _leak(found["leakage"][name])]
            cells += [interval(found["miss"].get(name))] if sigma else []
            label = f'<th scope="rowgroup" rowspan="{len(judges)}"><span class="dot">{words(name)}</span></th>'
            body = "".join(f"<td>{cell}</td>" for cell in cells)
            rows += f'<tr class="{plots.hue(name)}">{label if i == 0 else ""}{_judge(judge, found)}{body}</tr>\n'
    unit = "σ" if sigma else "lengths along the direction"
    caption = (
        "Straightness: the share (R²) of the score’s changes, less what the other properties do, that a straight line "
        "along its strength explains. Goes on responding: moved alone, between these strengths "
        f"({unit}), with at least half of the slope at 0. Worst side effect: the attribute that moves most besides, in "
        "σ for each σ of the property."
    )
    if sigma:
        caption += " Misses by: mean distance, in σ, of the score from the face’s own plus what was asked for."
    return _table("Judges by property", head, rows, caption, "judges apart")


def side_effects(judgement: Data, unit: str) -> str:
    """The response matrix of every judge, with what the attributes do that nobody asked to change."""
    parts = []
    for name, found in judgement["by"].items():
        slopes = np.array([[np.nan if x is None else x for x in row] for row in found["response"]], dtype=float)
        table = tables.response(slopes, judgement["edited"], found["names"], unit)
        parts.append(f"<h3>{escape(name)} <span>{_role(found)}</span></h3>{table}{_drift(found)}")
    return "\n".join(parts)


def _drift(found: Data) -> str:
    known = {words(name): value for name, value in found["drift"].items() if value[0] is not None}
    if not known:
        return ""
    said = listed([f"{name} {number(value[0])} σ" for name, value in known.items()])
    return (
        '<p class="small">Drift, up or down, of what nobody asked to change, on average over all pictures of the test: '
        f"{said}.</p>"
    )


def image_change(judgement: Data) -> str:
    """How far edited pictures are from the unedited face, as cards; nothing where it is not known."""
    cards = ""
    for kind, (label, hint) in CHANGES.items():
        value = judgement["image_change"].get(kind)
        if value is None or value[0] is None:
            continue
        if kind == "features":
            hint += f" (features of {judgement['features_by']})"
        low, high = (f"{100 * bound:.1f}" for bound in value[1:])
        cards += (
            f'<div class="card"><dt>{escape(label)}</dt><dd class="value">{100 * value[0]:.1f} %</dd>'
            f'<dd class="hint">{low} to {high}: {escape(hint)}</dd></div>\n'
        )
    return cards


def interval(value: Sequence[float | None] | None, percent: bool = False) -> str:
    """A figure with its interval below it."""
    if value is None or value[0] is None:
        return DASH
    say = _percent if percent else number
    mean, low, high = (say(float(x)) if x is not None else DASH for x in value)
    return f"{mean}<small>{low.removesuffix(' %')} to {high.removesuffix(' %')}</small>"


def percent(value: float | None) -> str:
    """A share, 0 to 1, for readers."""
    return DASH if value is None else _percent(value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if 0 < value < 0.1 or 0.9 < value < 1 else f"{100 * value:.0f} %"


def _value(value: float | None) -> str:
    return DASH if value is None else number(value)


def _range(value: Sequence[float | None]) -> str:
    low, high = value
    if low is None or high is None:
        return DASH
    return f"{low:+.1f} to {high:+.1f}".replace("-", MINUS)


def _leak(leak: Data) -> str:
    if leak["worst"] is None:
        return DASH
    return f"{words(leak['name'])} {number(leak['worst'])}<small>rms of all {number(leak['rms'])}</small>"


def _role(found: Data) -> str:
    return "found the directions" if found["role"] == "finding" else "had no part in finding"


def _judge(name: str, found: Data) -> str:
    return f'<th scope="row">{escape(name)}<small>{_role(found)}</small></th>'


def _table(label: str, head: Sequence[str], rows: str, caption: str, kind: str) -> str:
    cells = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table class="heat {kind}">'
        f"<caption>{caption}</caption><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
