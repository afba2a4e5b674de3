"""The leaderboard's page and tables, from synthetic runs."""

import csv
import json
import math
import re

import numpy as np
import pytest

from ohlora_gan.files import grid
from ohlora_gan.judging.figures import Interval
from ohlora_gan.pipelines.compare import figure, read_cell
from ohlora_gan.reports.leaderboard import (
    Column,
    FailedCell,
    column_groups,
    csv_row,
    cut_rows,
    marks,
    ranked,
    scorer_order,
    write_csv,
    write_leaderboard,
)
from ohlora_gan.reports.pages import said, share
from tests.judged_runs import judgement, scorer, spread, write_run
from tests.reports.test_report import Page

CONFIG = {"strips.steps": 5, "strips.reach": 2.0, "checkpoint": "v9"}
WAYS = [
    ("svm", "w", 1000, 2.5),
    ("svm", "w", 4000, 2.7),
    ("ridge", "w", 1000, 2.8),
    ("ridge", "mapping_split2", 1000, 2.9),
]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return [read_cell(write_run(folder / str(i), judgement(*way)), CONFIG) for i, way in enumerate(WAYS)]


@pytest.fixture(scope="module")
def page(cells):
    folder = cells[0].folder.parent
    return write_leaderboard(folder, cells, [FailedCell(folder / "9", "method=<b>", "no judge.json")])


def rows_of(text: str) -> list[list[str]]:
    """The values by which the table's rows are sorted."""
    body = text[text.index('<table class="board">') :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    return [re.findall(r'data-value="([^"]*)"', row) for row in body.split("</tr>")[:-1]]


def test_figures_are_read(tmp_path):
    cell = read_cell(write_run(tmp_path / "a", judgement("ridge", "mapping_split2", 4000, 2.9)))
    assert (cell.method, cell.layer, cell.n, cell.way) == ("ridge", "mapping_split2", 4000, "ridge, decorrelated")
    assert cell.equivalent_to_w
    figures = cell.by["judge_cnn"]
    assert figures.sum_corr == (2.9, 2.88, 2.92)
    value, edited, other = figures.worst_leakage
    assert (value.value, edited, other) == (pytest.approx(0.18), "pose", "hair_color")
    assert figures.passed_both == 0.9
    assert cell.image_change["outside"].value == 0.03


def test_what_was_not_measured_is_unknown(tmp_path):
    content = judgement()
    content["by"]["judge_cnn"] = {"role": "judging", "sum_corr": [None] * 3, "pass_share": 0.5, "retest": None}
    content |= {"image_change": None, "decorrelate": ["hair_color", "background_mean"], "metric": "image"}
    cell = read_cell(write_run(tmp_path / "a", content))
    figures = cell.by["judge_cnn"]
    assert math.isnan(figures.sum_corr.value)
    assert math.isnan(figures.passed_both)
    assert math.isnan(figures.worst_leakage[0].value)
    assert figures.pass_share.value == 0.5
    assert cell.way == "svm, decorrelated from hair color and background mean, image metric"
    content |= {"method": "closed_loop", "decorrelate": "none", "hold": "rest"}
    assert read_cell(write_run(tmp_path / "loop", content)).way == "closed loop, holding all other scores, image metric"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cut off or damaged"),
        ("[1, 2]", "something else than figures"),
        (json.dumps({**judgement(), "n": "many"}), "something else than figures"),
        (json.dumps({**judgement(), "by": {}}), "lacks 'by'"),
        (json.dumps({**judgement(), "by": {"a": {"role": "judging"}}}), "lacks 'sum_corr'"),
        (json.dumps({**judgement(), "by": {"a": scorer("judging", 2, 0, 0) | {"sum_corr": [1, 2]}}}), "something else"),
        (json.dumps({key: value for key, value in judgement().items() if key != "layer"}), "lacks 'layer'"),
    ],
)
def test_a_damaged_file_is_told_in_a_sentence(tmp_path, text, words):
    (tmp_path / "judge.json").write_text(text)
    with pytest.raises(ValueError, match=rf"judge\.json .*{words}.*run this cell again"):
        read_cell(tmp_path)


def test_figures_have_an_interval_or_none():
    assert figure([0.5, 0.4, 0.6]) == Interval(0.5, 0.4, 0.6)
    assert figure(0.5).value == 0.5
    assert math.isnan(figure(0.5).low)
    assert math.isnan(figure(None).value)


def test_the_judging_scorer_ranks(cells):
    assert scorer_order(cells) == ["judge_cnn", "property_cnn"]
    assert scorer_order(cells, "property_cnn") == ["property_cnn", "judge_cnn"]
    assert [cell.by["judge_cnn"].sum_corr.value for cell in ranked(cells, "judge_cnn")] == [2.9, 2.8, 2.7, 2.5]


def test_a_cell_that_the_judge_did_not_measure_comes_last(cells, tmp_path):
    content = judgement("gradient")
    del content["by"]["judge_cnn"]
    odd = read_cell(write_run(tmp_path / "odd", content))
    assert ranked([odd, *cells], "judge_cnn")[-1] is odd
    text = write_leaderboard(tmp_path, [odd, *cells]).read_text()
    assert len(rows_of(text)) == 5


def test_every_cell_is_in_the_table_best_first(page):
    rows = rows_of(page.read_text())
    assert [row[1:4] for row in rows] == [
        ["ridge, decorrelated", "mapping_split2", "1000"],
        ["ridge, decorrelated", "w", "1000"],
        ["svm", "w", "4000"],
        ["svm", "w", "1000"],
    ]
    assert {len(row) for row in rows} == {4 + 4 + 3 + 2}
    for row in rows:
        assert all(math.isfinite(float(value)) for value in (row[0], *row[3:]))  # what the page's script sorts by


def test_the_page_is_whole_and_needs_no_other_file(page):
    text = page.read_text()
    parsed = Page(text)
    assert "$" not in text.partition("<script>")[0]
    assert "--paper:" in text  # the common look
    assert "4 cells: 2 methods, 2 layers and 2 sample sizes; ranked by judge_cnn" in text
    assert not re.search(r'(src|href)="https?:', text)
    assert all(image["src"].startswith("data:image/") for image in parsed.attributes("img"))
    ids = [element["id"] for _, element in parsed.elements if "id" in element]
    assert len(ids) == len({*ids})
    anchors = [a["href"][1:] for a in parsed.attributes("a") if a["href"].startswith("#")]
    assert {*anchors} == {"board", "samples", "seconds", "layers", "strips", "notes"} <= {*ids}
    assert {a["href"] for a in parsed.attributes("a")} >= {f"{i}/report.html" for i in range(4)}


def test_failed_cells_are_listed_and_escaped(page):
    assert "<code>9</code> method=&lt;b&gt;: no judge.json" in page.read_text()


def test_strips_show_the_same_faces_for_the_most_samples(page):
    parsed = Page(page.read_text())
    rows = [row for row in parsed.attributes("tr") if "data-face" in row]
    assert len(rows) == 3 * 3 * 3  # properties, faces, (way, layer)
    assert sum("hidden" not in row for row in rows) == 3 * 3
    alts = [image["alt"] for image in parsed.attributes("img")]
    assert "Face 1 moved along the eyes direction of svm at w" in alts
    assert "about −2 σ" in page.read_text()


def test_runs_without_strips_leave_that_part_out(tmp_path):
    cells = [
        read_cell(write_run(tmp_path / "a", judgement())),
        read_cell(write_run(tmp_path / "b", judgement("ridge"))),
    ]
    text = write_leaderboard(tmp_path, cells).read_text()
    assert 'id="strips"' not in text
    assert 'id="samples"' not in text  # one size alone makes no curve
    (tmp_path / "a" / "strips" / "strip_eyes.png").write_bytes(b"no picture")
    cells = [read_cell(tmp_path / name, CONFIG) for name in "ab"]
    rows = [row for row in Page(write_leaderboard(tmp_path, cells).read_text()).attributes("tr") if "data-face" in row]
    assert len(rows) == 3 * (1 + 2 + 2)


def test_rows_are_cut_from_a_saved_strip():
    faces = np.random.default_rng(0).integers(0, 255, (2, 5, 8, 8, 3)).astype(np.uint8)
    rows = cut_rows(grid(faces.reshape(10, 8, 8, 3), columns=5), columns=5)
    for row, of_face in zip(rows, faces, strict=True):
        np.testing.assert_array_equal(row, grid(of_face, columns=5))
    with pytest.raises(ValueError, match="no grid of 4 square faces"):
        cut_rows(grid(faces.reshape(10, 8, 8, 3), columns=5), columns=4)


def test_the_best_are_marked_and_those_that_may_be_as_good():
    figures = [
        Interval(0.9, 0.88, 0.92),
        Interval(0.951, 0.91, 0.97),
        Interval(0.949),
        Interval(0.5, 0.4, 0.6),
        Interval(math.nan),
    ]
    for highest, expected in (
        (True, ["near", "best", "best", "", ""]),
        (False, ["", "", "", "best", ""]),
        (None, [""] * 5),
    ):
        assert marks(Column("a column", lambda i: figures[i], highest=highest), range(5)) == expected
    assert marks(Column("alike", lambda i: Interval(1.0)), range(2)) == ["", ""]


def test_notes_say_what_limits_a_comparison(tmp_path):
    contents = [judgement(), judgement("ridge", "mapping_split2", grid="reference")]
    contents[1]["by"]["judge_cnn"]["lost"] = 0.034
    cells = [
        read_cell(write_run(tmp_path / str(i), content), {"checkpoint": f"v{i}"}) for i, content in enumerate(contents)
    ]
    text = write_leaderboard(tmp_path, cells).read_text()
    for words in ("Grid sigma", "Grid reference", "both grids", "differ in checkpoint", "mapping_split2 is marked = w"):
        assert words in text
    assert "3.4 % of the worst cell" in text
    assert "No independent scorer" not in text


def test_a_page_without_a_judge_says_so(tmp_path):
    content = judgement()
    del content["by"]["judge_cnn"]
    text = write_leaderboard(tmp_path, [read_cell(write_run(tmp_path / "a", content))]).read_text()
    assert "No independent scorer judged these runs: property_cnn also served" in text


def test_the_csv_holds_every_figure(page):
    with page.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["3", "2", "1", "0", "9"]
    assert float(rows[0]["judge_cnn/sum_corr"]) == 2.9
    assert float(rows[0]["judge_cnn/sum_corr_low"]) == 2.88
    assert rows[0]["judge_cnn/leakage_pose_into"] == "hair_color"
    assert float(rows[0]["property_cnn/drift_hair_color"]) == 0.1
    assert float(rows[0]["seconds/testing"]) == 30
    assert rows[4]["failed"] == "method=<b>: no judge.json"


def test_the_markdown_is_a_table(page):
    lines = page.with_suffix(".md").read_text().splitlines()
    assert len({line.count("|") for line in lines[:6]}) == 1
    assert lines[2].startswith("| 1 | ridge, decorrelated | mapping_split2 (= w) | 1,000 | 2.90 (2.88 to 2.92) | ")
    assert lines[-1] == "Not judged: `method=<b>` (no judge.json)."


def test_numbers_are_written_for_readers():
    assert [share(value) for value in (0.0, 0.034, 0.5, 0.985, 1.0)] == ["0 %", "3.4 %", "50 %", "98.5 %", "100 %"]
    assert said(Interval(0.5, 0.4, 0.6), share) == ("50 %", "40 to 60")
    assert said(Interval(2.934)) == ("2.93", "")
    assert said([None, None, None]) == said(None) == ("–", "")


def test_a_judge_of_damage_has_columns_of_its_own(tmp_path):
    content = judgement()
    seen = {"ratio": spread(1.1), "ratio_p95": spread(1.6), "share": spread(0.03)}
    drift = {"iris": spread(0.4), "skin": spread(0.1)}
    content["by"]["truth"] = {**content["by"]["judge_cnn"], "damage": seen, "drift": drift}
    cell = read_cell(write_run(tmp_path / "a", content))
    assert cell.by["truth"].worst_drift == (Interval(*spread(0.4)), "iris")
    of_judges = column_groups([cell], ["judge_cnn", "truth"])
    groups = {name: [column.label for column, _ in columns] for name, _, columns in of_judges}
    assert groups["truth"] == ["sum of r", "pass", "side effect", "drift", "damage ratio", "damaged"]
    assert groups["judge_cnn"] == ["sum of r", "pass", "pass again", "side effect"]
    row = csv_row(cell, ["truth"])
    assert (row["truth/damage_ratio"], row["truth/damage_share"]) == (1.1, 0.03)


def test_a_cell_of_the_table_computes_nothing(cells, tmp_path):
    write_csv(tmp_path / "leaderboard.csv", cells, [FailedCell(tmp_path / "run", "=cmd", "it failed")], ["judge_cnn"])
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        *judged, row = csv.DictReader(file)
    assert row["failed"] == "'=cmd: it failed"
    assert [int(row["rank"]) for row in judged] == [1, 2, 3, 4]
