"""The tables of numbers in the report: side effects and accuracy. All text is escaped here."""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.directions.groups import all_group_names
from ohlora_gan.evaluation import plots
from ohlora_gan.evaluation.report_numbers import number, words
from ohlora_gan.vocabulary import EDITED_PROPERTIES, GROUP_PROPERTIES, PROPERTIES

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
