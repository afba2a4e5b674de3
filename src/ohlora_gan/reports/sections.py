"""The figures and tables of the report: from plain data to fragments of HTML. All text is escaped here."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ohlora_gan.directions.groups import all_group_names
from ohlora_gan.images import data_uri
from ohlora_gan.judging.figures import wilson_interval
from ohlora_gan.names import EDITED_PROPERTIES, GROUP_PROPERTIES, PROPERTIES
from ohlora_gan.reports import plots
from ohlora_gan.reports.summary import CaseGrid, ReportData, Strip, Training
from ohlora_gan.reports.wording import (
    DASH,
    MINUS,
    effect,
    ends,
    layout,
    line_fit,
    listed,
    number,
    plain,
    strength,
    words,
)

STRIP_PIXELS, SMALL_PIXELS = 128, 96


def card(label: str, value: str, hint: str) -> str:
    """One number of the headline."""
    hint = f'<dd class="hint">{escape(hint)}</dd>' if hint else ""
    return f'<div class="card"><dt>{escape(label)}</dt><dd class="value">{escape(value)}</dd>{hint}</div>\n'


def face(image: NDArray[np.uint8], alt: str, pixels: int = SMALL_PIXELS) -> str:
    """A face ``[H, W, 3]`` as an image element; an empty ``alt`` marks it as part of a labelled group."""
    source = data_uri(image, size=pixels)
    return f'<img src="{source}" alt="{escape(alt)}" width="{pixels}" height="{pixels}">'


def samples(images: NDArray[np.uint8], what: str) -> str:
    """Faces ``[N, H, W, 3]`` side by side, as many a row as fit."""
    if not len(images):
        return ""
    label = f"{len(images):,} {what}"
    faces = "".join(face(image, "", STRIP_PIXELS) for image in images)
    return (
        f'<figure><div class="samples" role="img" aria-label="{label}">{faces}</div>'
        f"<figcaption>{label}.</figcaption></figure>"
    )


def created(time: str) -> str:
    """When the report was written (ISO 8601), nothing where unknown."""
    return f'Written <time datetime="{escape(time)}">{escape(time)}</time>.' if time else ""


def player(strip: Strip) -> str:
    """A face with a slider that walks along its strip."""
    name, (down, up) = words(strip.property), ends(strip.property)
    alt = f"The face at the chosen strength of {strip.property}"
    return (
        f'<div class="player {plots.hue(strip.property)}" data-strip="{_id("strip", strip.property)}">'
        f"{face(strip.images[0, strip.center], alt, STRIP_PIXELS)}"
        f'<div><h3 class="dot">{name}</h3>'
        f'<div class="ends" aria-hidden="true"><span>{down}</span><span>{up}</span></div>'
        f'<input type="range" min="0" max="{len(strip.strengths) - 1}" value="{strip.center}" '
        f'aria-label="strength along the {name} direction"><output></output></div></div>\n'
    )


def strip(strip: Strip, correlations: ArrayLike | None) -> str:
    """The faces of a strip as a table, with what was measured in a sentence and a plot."""
    name, ident = words(strip.property), _id("strip", strip.property)
    down, up = ends(strip.property)
    head = "".join(
        f'<th scope="col" data-strength="{strength(s)}"{_center(strip, k)}>'
        f"{'unedited' if strength(s) == '0' else strength(s)}</th>"
        for k, s in enumerate(strip.strengths)
    )
    rows = "\n".join(_strip_row(strip, row) for row in range(len(strip.images)))
    plot = plots.response_lines(f"{ident}-plot", strip.property, strip.strengths, strip.scores)
    columns = len(strip.strengths)
    return f"""<article class="strip {plots.hue(strip.property)}" id="{ident}" style="--k: {columns}">
<div class="strip-head"><div><h3 class="dot">{name}</h3>
<p>{_strip_sentence(strip, correlations)}</p></div>
<div class="plot">{plot}</div></div>
<figure><div class="scroll" role="region" tabindex="0" aria-label="Faces along the {name} direction"><table>
<thead><tr><th scope="col">strength</th>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
<figcaption>{name}: {down} ← → {up}. Under each face its measured score in σ.</figcaption></figure>
</article>
"""


def _strip_row(strip: Strip, row: int) -> str:
    label = escape(strip.labels[row])
    cells = []
    for k, value in enumerate(strip.strengths):
        score = number(strip.scores[row, k], signed=True)
        alt = f"{strip.labels[row]}, {strip.property} at strength {strength(value)}, measured {score} σ"
        picture = face(strip.images[row, k], alt, STRIP_PIXELS)
        cells.append(f'<td{_center(strip, k)}>{picture}<span class="score">{score}</span></td>')
    return f'<tr><th scope="row">{label}</th>{"".join(cells)}</tr>'


def _strip_sentence(strip: Strip, correlations: ArrayLike | None) -> str:
    correlation, slope = line_fit(strip.strengths, strip.scores)
    faces = "this face" if len(strip.images) == 1 else f"these {len(strip.images)} faces"
    text = (
        f"Over {faces} the measured score follows the strength with a mean correlation of "
        f"<strong>{number(correlation)}</strong> and changes by "
        f"<strong>{number(slope, signed=True)} σ</strong> for one unit of strength."
    )
    if correlations is not None:
        mean = number(float(np.nan_to_num(correlations).mean()))
        link = '<a href="#test">the test</a>'
        text += f" When all properties move at once ({link}) the mean correlation is {mean}."
    if strip.other_scores is not None:
        slopes = [line_fit(strip.strengths, scores)[1] for scores in np.moveaxis(strip.other_scores, -1, 0)]
        others = [
            (abs(slope), name, slope)
            for name, slope in zip(strip.score_names, slopes, strict=True)
            if name != strip.property and isfinite(slope)
        ]
        if others:
            _, name, slope = max(others)
            text += f" Largest side effect: {words(name)}, {number(slope, signed=True)} σ."
    return text


def correlations(data: ReportData) -> str:
    """The share of latents that passed, and the distribution of the correlations of each property."""
    if not data.correlations:
        return ""
    means = {name: float(np.nan_to_num(values).mean()) for name, values in data.correlations.items()}
    figures = ""
    for name, values in data.correlations.items():
        plot = plots.correlation_histogram(_id("correlation", name), name, values, data.thresholds.get(name))
        title = f'<h3 class="dot">{words(name)}</h3>'
        figures += f'<figure class="plot {plots.hue(name)}">{title}{plot}</figure>\n'
    total = f"<strong>{number(sum(means.values()), 3)}</strong>"
    summary = f"Mean correlation: {total}"
    if len(means) > 1:
        terms = " + ".join(number(mean, 3) for mean in means.values())
        summary = f"Sum of the mean correlations: {terms} = {total}"
    thresholds = ", ".join(f"{words(name)} {value:.2f}" for name, value in data.thresholds.items())
    thresholds = f" Thresholds: {thresholds}." if thresholds else ""
    undefined = sum(int(np.isnan(np.asarray(values, float)).sum()) for values in data.correlations.values())
    undefined_note = f" Undefined correlations, counted as 0: {undefined}." if undefined else ""
    return (
        f'{_pass_share(data.passed)}<div class="plots">{figures}</div>'
        f'<p class="small">{summary}.{thresholds}{undefined_note}</p>'
    )


def _pass_share(passed: ArrayLike | None) -> str:
    flags = np.asarray([] if passed is None else passed, bool)
    if not len(flags):
        return ""
    low, high = wilson_interval(int(flags.sum()), len(flags))
    interval = f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    return (
        f'<p class="big"><strong>{100 * flags.mean():.3g} %</strong> <span>{flags.sum():,} of {len(flags):,} '
        f'faces passed <span class="small">{interval}</span></span></p>\n'
    )


def case(case: CaseGrid) -> str:
    """All pictures of a case, in blocks where it has more than two properties, with sliders that pick among them."""
    verdict = "yes" if case.passed else "no"
    badge = f'<span class="badge {verdict}">{"passed" if case.passed else "not passed"}</span>'
    values = ", ".join(f"{words(name)} {number(value)}" for name, value in case.correlations.items())
    steps = {name: [strength(float(s)) for s in values] for name, values in case.strengths.items()}
    down, between, across = layout(list(steps))
    blocks = "".join(_case_block(case, steps, at) for at in np.ndindex(*(len(steps[name]) for name in between)))
    sliders = "".join(_case_slider(name, steps[name]) for name in (*between, *down, across))
    first = face(case.images.reshape(-1, *case.images.shape[-3:])[0], f"{case.title}: the face at the chosen strengths")
    note = f" {escape(case.note)}" if case.note else ""
    ways = [("Down", name) for name in down] + [("across" if down else "Across", across)]
    axes = "; ".join(f"{way}: {words(name)} {steps[name][0]} to {steps[name][-1]}" for way, name in ways)
    return f"""<figure class="case"><h3>{escape(case.title)} {badge}</h3>
<div class="blocks">{blocks}</div>
<div class="mixer" hidden>{first}<div>{sliders}</div></div>
<figcaption>Correlations: {values}.{note} {axes}.</figcaption></figure>
"""


def _case_slider(name: str, steps: list[str]) -> str:
    return (
        f'<label class="{plots.hue(name)}"><span class="dot">{words(name)}</span><input type="range" min="0" '
        f'max="{len(steps) - 1}" value="{len(steps) // 2}" data-strengths="{escape(json.dumps(steps))}">'
        "<span></span></label>"
    )


def _case_block(case: CaseGrid, steps: Mapping[str, list[str]], at: tuple[int, ...]) -> str:
    """The pictures of a case at one combination of the strengths that its blocks stand for."""
    down, between, across = layout(list(steps))
    images = np.moveaxis(case.images, 0, len(between))[at] if down else case.images
    images = images.reshape(-1, *images.shape[-3:])
    here = ", ".join(f"{plain(name)} {steps[name][i]}" for name, i in zip(between, at, strict=True))
    ways = [f"{effect(name)} from top to bottom" for name in down] + [f"{effect(across)} from left to right"]
    label = f"{case.title}: {len(images)} faces{f' at {here}' if here else ''}, {', '.join(ways)}"
    faces = "".join(face(image, "") for image in images)
    head = f'<p class="small">{escape(here)}</p>' if here else ""
    return (
        f'<div>{head}<div class="block" role="img" '
        f'style="--k: {len(steps[across])}" aria-label="{escape(label)}">{faces}</div></div>'
    )


def training(training: Training) -> str:
    """Curves of the fine-tuning run and faces before and after it."""
    series: dict[str, Mapping[str, ArrayLike]] = {"Losses": training.losses, "Mean scores": training.scores}
    if training.auroc is not None:
        series["Real or generated"] = {"AUROC": training.auroc}
    figures = "".join(
        f'<figure class="plot"><h3>{title}</h3>'
        f"{plots.curves(_id('curves', title), training.steps, lines, title)}</figure>\n"
        for title, lines in series.items()
        if lines
    )
    faces = "".join(
        f"<div><h3>{title.capitalize()}</h3>{samples(images, f'faces {title}')}</div>"
        for title, images in (("before training", training.before), ("after training", training.after))
        if images is not None
    )
    return f'<div class="plots">{figures}</div><div class="cases" style="margin-top: 2rem">{faces}</div>'


def details(data: ReportData) -> str:
    """Notes and settings."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in data.notes)
    groups = ""
    for title, settings in data.settings.items():
        rows = "".join(_setting(str(name), str(value)) for name, value in settings.items())
        groups += f"<div><table><caption>{escape(title)}</caption><tbody>{rows}</tbody></table></div>\n"
    notes = f'<ul class="notes">{notes}</ul>' if notes else ""
    groups = f'<div class="settings">{groups}</div>' if groups else ""
    return notes + groups


def _setting(name: str, value: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'


def _center(strip: Strip, column: int) -> str:
    return ' class="center"' if column == strip.center else ""


def _id(kind: str, name: str) -> str:
    return f"{kind}-{re.sub(r'[^a-zA-Z0-9]+', '-', name).lower()}"


# --- What the judges say, for the report: their figures side by side, side effects, and how much the pict ---


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
        table = response(slopes, judgement["edited"], found["names"], unit)
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


# --- The tables of numbers in the report: side effects and accuracy. All text is escaped here ---


UNKNOWN = (float("nan"), 0)


def response(
    slopes: NDArray[np.floating],
    edited: Sequence[str] = EDITED_PROPERTIES,
    names: Sequence[str] = PROPERTIES,
    unit: str = "unit of strength",
) -> str:
    """``[k, P]`` slopes as a table, the edited properties first so that the wanted cells form a diagonal."""
    columns = [*(name for name in edited if name in names), *(name for name in names if name not in edited)]
    table = slopes[:, [names.index(name) for name in columns]]
    largest = max(np.abs(np.nan_to_num(table)).max(), 1e-9)
    head = "".join(f'<th scope="col">{words(name)}</th>' for name in columns)
    rows = ""
    for name, row in zip(edited, table, strict=True):
        pairs = zip(columns, row, strict=True)
        cells = "".join(_response_cell(value, largest, name == other) for other, value in pairs)
        label = f'<th scope="row"><span class="dot">{words(name)}</span></th>'
        rows += f'<tr class="{plots.hue(name)}">{label}{cells}</tr>\n'
    caption = f"σ for one {unit}."
    if len(columns) > 1:
        leaks = np.nan_to_num(table) * [[name != other for other in columns] for name in edited]
        i, k = np.unravel_index(np.abs(leaks).argmax(), leaks.shape)
        caption += (
            f" Largest side effect: the {words(edited[i])} direction moves {words(columns[k])} by "
            f"{number(float(leaks[i, k]), signed=True)} σ."
        )
    return f"""<div class="scroll" role="region" tabindex="0" aria-label="Side effects">
<table class="heat response">
<caption>{caption}</caption>
<thead><tr><th scope="col">direction</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>
"""


def _response_cell(value: float, largest: float, own: bool) -> str:
    tint = 0.55 * abs(value) / largest if isfinite(value) else 0
    color = "plus" if value > 0 else "minus"
    style = f"background: rgb(var(--{color}) / {tint:.2f})"
    return f'<td class="{"own" if own else "other"}" style="{style}">{number(value, signed=True)}</td>'


def accuracy(
    accuracy: Mapping[str, Mapping[str, tuple[float, int]]], group_by: Sequence[str] = GROUP_PROPERTIES
) -> str:
    """Accuracy by property and group as a table; dots instead of letters say what a group is."""
    named = {group for groups in accuracy.values() for group in groups}
    lettered = all_group_names(len(group_by))
    if not named & {*lettered}:
        lettered, group_by = [], ()
    groups = [*lettered, *sorted(named - {*lettered})]
    head = "".join(f'<th scope="col"><code>{escape(group)}</code></th>' for group in groups)
    bits = ""
    for i, name in enumerate(group_by):
        letters = [group[i] if group in lettered else "" for group in groups]
        cells = "".join(f'<td class="bit {letter}"><i>{letter}</i></td>' for letter in letters)
        bits += f'<tr><th scope="row">{words(name)}</th>{cells}<td></td></tr>\n'
    rows = "".join(
        _accuracy_row(name, [values.get(group, UNKNOWN) for group in groups]) for name, values in accuracy.items()
    )
    letter_order = f"; letters in order: {', '.join(map(words, group_by))}" if group_by else ""
    return f"""<div class="scroll" role="region" tabindex="0" aria-label="Accuracy by group">
<table class="heat accuracy">
<caption>Accuracy on held-out faces{letter_order}.
The last column weighs groups by their number of held-out faces; hover over a cell for the number.</caption>
<thead><tr><th scope="col">group</th>{head}<th scope="col">overall</th></tr></thead>
<tbody>{bits}{rows}</tbody></table></div>
"""


def _accuracy_row(name: str, values: list[tuple[float, int]]) -> str:
    known = [(value, num) for value, num in values if isfinite(value) and num > 0]
    total = sum(num for _, num in known)
    overall = sum(value * num for value, num in known) / total if total else float("nan")
    cells = "".join(_accuracy_cell(value, num) for value, num in values)
    cells += _accuracy_cell(overall, total, "overall")
    label = f'<th scope="row"><span class="dot">{words(name)}</span></th>'
    return f'<tr class="{plots.hue(name)}">{label}{cells}</tr>\n'


def _accuracy_cell(value: float, num: int, kind: str = "group") -> str:
    tint = 0.5 * min(max(2 * value - 1, 0), 1) if isfinite(value) else 0
    style = f"background: rgb(var(--hue) / {tint:.2f})"
    return f'<td class="{kind}" style="{style}" title="{num:,} held-out faces">{number(value)}</td>'
