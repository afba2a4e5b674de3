"""The figures and tables of the report: from plain data to fragments of HTML. All text is escaped here."""

import json
import re
from collections.abc import Mapping
from html import escape
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ohlora_gan.evaluation import plots
from ohlora_gan.evaluation.pictures import data_uri
from ohlora_gan.evaluation.report_data import CaseGrid, ReportData, Strip, Training
from ohlora_gan.evaluation.report_numbers import line_fit, number, strength, wilson_interval, words
from ohlora_gan.evaluation.report_words import effect, ends, layout, plain

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
