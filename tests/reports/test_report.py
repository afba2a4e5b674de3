import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from ohlora_gan import files as images
from ohlora_gan.directions.base import all_group_names
from ohlora_gan.judging.figures import nested, share
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES
from ohlora_gan.reports import pages as pictures
from ohlora_gan.reports import plots
from ohlora_gan.reports.pages import Strip, line_fit, number, strength
from ohlora_gan.reports.report import CaseGrid, ReportData, Training, write_report

VOID = {"img", "input", "meta", "link", "br", "hr"}
STRENGTHS = {"eyes": (-1.2, 1.2), "mouth": (-1.8, -0.9, 0.0, 0.9, 1.8), "pose": (-1.8, -1.2, -0.6, 0.0, 0.6)}


class Page(HTMLParser):
    """Checks that tags are balanced and collects elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def faces(*shape: int) -> np.ndarray:
    """Smooth pictures, uint8 ``[*shape, 64, 64, 3]``; noise would not compress as faces do."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (*shape, 4, 4, 3)).astype(np.uint8)
    return coarse.repeat(16, axis=-3).repeat(16, axis=-2)


def full_data(rows: int = 2, num_latents: int = 20) -> ReportData:
    rng = np.random.default_rng(1)
    steps = np.linspace(-1.8, 1.8, 7)
    scores = steps[:, None] * np.linspace(0.1, 0.8, 8) + np.zeros((rows, 1, 1))
    strips = [
        Strip(
            name,
            steps,
            faces(rows, 7),
            scores[..., PROPERTIES.index(name)],
            scores,
            ["hhhh", "lhlh"] * (rows // 2),
        )
        for name in EDITED_PROPERTIES
    ]
    correlations = {name: rng.uniform(0.7, 1, num_latents) for name in EDITED_PROPERTIES}
    corr = dict.fromkeys(EDITED_PROPERTIES, 0.9)
    return ReportData(
        title="A title",
        subtitle="svm at w, n = 4,000",
        created="2025-01-01T00:00:00",
        headline=[("Passed", "15 %", "3 of 20")],
        settings={"Method": {"name": "svm"}},
        notes=["a note"],
        samples=faces(10),
        strips=strips,
        accuracy={name: dict.fromkeys(all_group_names(), (0.9, 10)) for name in EDITED_PROPERTIES},
        correlations=correlations,
        thresholds={"eyes": 0.92, "mouth": 0.88, "pose": 0.88},
        passed=np.arange(num_latents) < 3,
        cases=[CaseGrid("Best", faces(5, 2, 5), STRENGTHS, corr, True)],
        training=Training([0, 1, 2], {"d_loss": [1, 2, 3]}, [0.5, 0.6, 0.7], {"age": [0, 1, 0]}),
        judgement=judgement(),
        grid="sigma",
    )


def judgement() -> dict:
    """Figures of the finding scorer, and of a judge that measures a part and lost what it could not see."""
    three = {name: [0.9, 0.85, 0.95] for name in EDITED_PROPERTIES}
    first = {
        "role": "finding",
        "names": list(PROPERTIES),
        "corr": three,
        "sum_corr": [2.7, 2.55, 2.85],
        "pass_share": [0.95, 0.9, 0.99],
        "retest": {"pass_share": [0.5, 0.4, 0.6], "passed_both": 0.526, "change": 0.0123},
        "response": np.random.default_rng(2).normal(size=(3, 8)).tolist(),
        "leakage": {name: {"worst": 0.31, "name": "hair_color", "rms": 0.2} for name in EDITED_PROPERTIES},
        "drift": {"hair_color": [0.25, 0.2, 0.3]},
        "miss": three,
        "linearity": dict.fromkeys(EDITED_PROPERTIES, 0.8),
        "saturation": {name: [-1.53, 2.0] for name in EDITED_PROPERTIES},
        "lost": 0.0,
        "damage": {"ratio": [1.21, 1.1, 1.3], "ratio_p95": [1.9, 1.7, 2.2], "share": [0.034, 0.02, 0.05]},
    }
    unknown = {"worst": None, "name": None, "rms": None}
    second = {
        "role": "judging",
        "names": ["eyes", "tilt"],
        "corr": {"eyes": [0.4, 0.3, 0.5]},
        "sum_corr": [0.4, 0.3, 0.5],
        "pass_share": [0.0, 0.0, 0.037],
        "retest": None,
        "response": [[0.1, 0.2], [None, None], [0.3, 0.4]],
        "leakage": dict.fromkeys(EDITED_PROPERTIES, unknown),
        "drift": {"tilt": [None, None, None]},
        "miss": {"eyes": [None, None, None]},
        "linearity": {"eyes": None},
        "saturation": {"eyes": [None, None]},
        "lost": 0.123,
    }
    return {
        "edited": list(EDITED_PROPERTIES),
        "grid": "sigma",
        "num_latents": 20,
        "by": {"property_cnn": first, "landmarks": second},
        "image_change": {"whole": [0.0425, 0.04, 0.045], "features": [None, None, None]},
        "features_by": None,
    }


def one_judge(edited, names) -> dict:
    """Figures of the finding scorer alone, of which only the responses are known."""
    found = {"role": "finding", "names": list(names), "response": np.ones((len(edited), len(names))), "lost": 0.0}
    found |= {"corr": {}, "drift": {}, "sum_corr": [1, 1, 1], "pass_share": [1, 1, 1], "retest": None}
    about = {"edited": list(edited), "grid": "sigma", "num_latents": 2, "image_change": {}, "features_by": None}
    return about | {"by": {"property_cnn": found}}


def page_of(tmp_path, data: ReportData) -> tuple[Page, str]:
    text = write_report(tmp_path / "folder" / "report.html", data).read_text(encoding="utf-8")
    return Page(text), text


def test_page_is_self_contained_and_well_formed(tmp_path):
    page, text = page_of(tmp_path, full_data())
    for _, attributes in page.elements:
        assert (attributes.get("src") or "data:").startswith("data:")
    links = [attributes["href"] or "" for attributes in page.attributes("a") + page.attributes("use")]
    outside = {link for link in links if not link.startswith("#")}
    assert outside == {f"https://arxiv.org/abs/{number}" for number in ("1911.09267", "2005.09635", "1812.04948")}
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert not re.search(r"{[{%]|[%}]}|/work", text.partition("</style>")[2].partition("<script>")[0])


def test_strips_show_every_face_with_alt_text_and_score(tmp_path):
    page, text = page_of(tmp_path, full_data())
    alts = [attributes["alt"] or "" for attributes in page.attributes("img")]
    for name in EDITED_PROPERTIES:
        assert sum(f", {name} at strength " in alt for alt in alts) == 2 * 7
        article = text[text.index(f'id="strip-{name}"') :].split("</article>")[0]
        assert article.count('class="score"') == 2 * 7
        assert article.count('<td class="center">') == 2
        assert "lhlh" in article
    assert "hhhh, eyes at strength −1.8, measured −0.18 σ" in alts


def test_two_pass_rates_are_told_apart(tmp_path):
    data = full_data()
    data.judgement = judgement()
    _, page = page_of(tmp_path, data)
    told = " ".join(page.split())
    assert "These figures are of property_cnn, the scorer that the directions were found with" in told
    assert "The figures at the top of the page are those of landmarks" in told


def test_every_section_appears_and_empty_ones_do_not(tmp_path):
    shown = "directions test judges change cases leakage accuracy samples training details"
    sections = set(shown.split())
    page, _ = page_of(tmp_path, full_data())
    assert {attributes["id"] for attributes in page.attributes("section")} == {*sections, "references"}
    page, _ = page_of(tmp_path, ReportData(title="Nothing"))
    assert {attributes["id"] for attributes in page.attributes("section")} == {"references"}
    assert not page.attributes("img")


@pytest.mark.parametrize(
    ("properties", "shape", "num_blocks", "words"),
    [
        (("lip_color",), (5,), 1, ["walk along one and lip color rises", "From picture to picture lip color rises"]),
        (("lip_color", "pose"), (3, 5), 1, ["the head turns from top to bottom and lip color rises"]),
        (("a", "lip", "b", "c"), (2, 3, 2, 4), 6, ["a rises from top to bottom and c rises", "8 faces at lip −1, b"]),
    ],
)
def test_any_properties_fill_the_page(tmp_path, properties, shape, num_blocks, words):
    names, steps = ("other", *properties), np.linspace(-1, 1, 5)
    scores = np.zeros((2, 5, len(names)))
    sizes = dict(zip(nested(properties), shape, strict=True))
    strengths = {name: tuple(np.linspace(-1, 1, sizes[name])) for name in properties}
    corr = dict.fromkeys(properties, 0.9)
    data = ReportData(
        title="A title",
        strips=[Strip(name, steps, faces(2, 5), scores[..., 0], scores, score_names=names) for name in properties],
        accuracy={name: {"h": (0.9, 10), "l": (0.8, 10)} for name in properties},
        correlations={name: [0.9, 0.8] for name in properties},
        thresholds=corr,
        passed=[True, False],
        judgement=one_judge(properties, names),
        cases=[CaseGrid("A", faces(*shape), strengths, corr, True)],
        properties=properties,
        group_by=("other",),
    )
    page, text = page_of(tmp_path, data)
    plain = re.sub(r"<[^>]*>", "", text)
    assert "mouth" not in plain[plain.index("A face generator") : plain.index("What else moves?")]
    assert f"({np.prod(shape)} pictures)" in plain
    assert "split at the medians into 2 groups" in plain
    blocks = [attributes for attributes in page.attributes("div") if attributes.get("class") == "block"]
    assert len(blocks) == num_blocks
    assert {block["style"] for block in blocks} == {f"--k: {shape[-1]}"}
    for sentence in words:
        assert sentence in text


def test_the_judges_stand_side_by_side(tmp_path):
    _, text = page_of(tmp_path, full_data())
    section = text[text.index('<section id="judges">') :].split("</section>")[0]
    section += text[text.index('<section id="change">') :].split("</section>")[0]
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", section))
    assert "property_cnn is the scorer that the directions were found with; landmarks had no part in it." in plain
    assert "MediaPipe" in plain
    assert "with fresh noise, which changes a score by 0.012 σ (property_cnn)." in plain
    assert "property_cnn found the directions 2.70 2.55 to 2.85 95.0 % 90 to 99.0 50 % 40 to 60 53 % 0 %" in plain
    assert "landmarks had no part in finding 0.40 0.30 to 0.50 0 % 0 to 3.7 – – 12 %" in plain
    assert "eyes property_cnn found the directions 0.90 0.85 to 0.95 0.80 −1.5 to +2.0 hair color 0.31" in plain
    assert "landmarks had no part in finding 0.40 0.30 to 0.50 – – – –" in plain
    assert "the whole picture 4.2 %" in plain
    assert "towards another person" not in plain
    assert "None" not in plain


def test_every_judge_has_a_table_of_side_effects(tmp_path):
    _, text = page_of(tmp_path, full_data())
    section = text[text.index('<section id="leakage">') :].split("</section>")[0]
    assert section.count('<table class="heat response">') == 2
    assert "σ for one σ that is asked for." in section
    assert "on average over all pictures of the test: hair color 0.25 σ." in section
    assert section.count("Damage: an edited picture is 1.21 times (1.10 to 1.30) as far from a face") == 1
    assert "3.4 % of the pictures are further away than 99 % of the unedited ones." in section


def test_many_attributes_stand_one_below_the_other(tmp_path):
    data = full_data()
    first = data.judgement["by"]["property_cnn"]
    names = [*PROPERTIES, *(f"part_{i}" for i in range(12))]
    first |= {"names": names, "response": np.full((3, 20), 0.25).tolist(), "drift": {"part_3": [0.5, 0.4, 0.6]}}
    _, text = page_of(tmp_path, data)
    section = text[text.index('<section id="leakage">') :].split("</section>")[0]
    rows = re.findall(r'<th scope="row">(part \d+)</th>', section)
    assert rows == [f"part {i}" for i in range(12)]
    assert "<td>0.50</td>" in section


def test_a_lone_score_has_no_side_effects(tmp_path):
    scores = np.linspace(-1, 1, 5)[None]
    strip = Strip("lip_color", scores[0], faces(1, 5), scores, scores[..., None], score_names=("lip_color",))
    names = ("lip_color",)
    data = ReportData("A", strips=[strip], judgement=one_judge(names, names), properties=names)
    _, text = page_of(tmp_path, data)
    assert "lip color" in text
    assert "Largest side effect" not in text


def test_text_is_escaped(tmp_path):
    bad = '<script>alert("&")</script>'
    corr = dict.fromkeys(EDITED_PROPERTIES, 0.5)
    data = replace(
        full_data(),
        title=bad,
        subtitle=bad,
        created=bad,
        headline=[(bad, bad, bad)],
        settings={bad: {bad: bad}},
        notes=[bad],
        strips=[Strip(bad, np.zeros(1), faces(1, 1), np.zeros((1, 1)), labels=[bad])],
        accuracy={bad: {bad: (0.5, 1)}},
        correlations={bad: [0.5]},
        thresholds={bad: 0.5},
        cases=[CaseGrid(bad, faces(5, 2, 5), STRENGTHS, {bad: 1.0, **corr}, False, bad)],
        training=Training([0, 1], {bad: [0, 1]}),
    )
    page, text = page_of(tmp_path, data)
    assert bad not in text
    assert len(page.attributes("script")) == 1


def test_survives_nan_zero_passes_and_single_latents(tmp_path):
    nan = float("nan")
    data = full_data()
    for found in data.judgement["by"].values():
        found["response"] = np.full(np.shape(found["response"]), nan)
    for strip in data.strips:
        strip.scores[:] = nan
        strip.scores[0, 0] = 1.0
    data = replace(
        data,
        samples=faces(0),
        accuracy={"eyes": {"hhhh": (nan, 0)}, "mouth": {}},
        correlations={"eyes": [nan], "mouth": [-1.0], "pose": [1.0]},
        passed=[False],
        training=Training([0], {"d_loss": [nan]}),
    )
    _, text = page_of(tmp_path, data)
    assert "<strong>0 %</strong> <span>0 of 1 faces passed" in text
    assert "Undefined correlations, counted as 0: 1." in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().replace("σ", "")


def test_usual_size_stays_small(tmp_path):
    case = CaseGrid("Best", faces(5, 2, 5), STRENGTHS, {}, True)
    data = replace(full_data(rows=6), samples=faces(100), cases=[case, case])
    assert write_report(tmp_path / "report.html", data).stat().st_size < 3e6


def test_equal_data_make_equal_pages(tmp_path):
    first, second = (write_report(tmp_path / name, full_data()).read_text("utf-8") for name in ("a", "b"))
    assert first == second


def test_strip_rejects_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="need 3 strengths"):
        Strip("eyes", np.arange(2.0), faces(1, 3), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="1 rows of images, 2 labels"):
        Strip("eyes", np.zeros(1), faces(1, 1), np.zeros((1, 1)), labels=["a", "b"])


def test_grid_places_images_row_by_row(tmp_path):
    three = np.stack([np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)])
    picture = images.grid(three, columns=2, pad=1)
    assert picture.shape == (9, 13, 3)
    assert (picture[:4, 7:] == 20).all()
    assert (picture[5:, :6] == 30).all()
    assert (picture[4] == 255).all()
    assert (picture[5:, 7:] == 255).all()
    with pytest.raises(ValueError, match="needs an image"):
        images.grid(three[:0], columns=2)


def test_save_strips_writes_a_png_a_property(tmp_path):
    paths = pictures.save_strips(tmp_path / "new", full_data().strips)
    assert [path.name for path in paths] == ["strip_eyes.png", "strip_mouth.png", "strip_pose.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_data_uri():
    assert images.data_uri(faces(1)[0], size=32).startswith("data:image/webp;base64,")


def test_a_plot_is_a_picture_with_words_that_needs_no_other_file():
    plot = plots.correlation_histogram("eyes", [0.9, 0.95, 0.2], 0.92)
    svg = base64.b64decode(plot.source.removeprefix("data:image/svg+xml;base64,")).decode()
    assert "<svg" in svg
    assert "passes from 0.92" in svg
    assert plots.COLORS["eyes"] in svg
    assert not re.search(r'(href|src)="(?!#)', svg)
    assert plot.label == "Histogram of the eyes correlations of 3 faces, mean 0.683"


def test_line_fit_ignores_what_was_not_measured():
    nan = float("nan")
    correlation, slope = line_fit([-1, 0, 1, 2], np.array([[-2, 0, nan, 4], [nan] * 4, [1, 1, 1, 1]]))
    assert correlation == pytest.approx(1)
    assert slope == pytest.approx(1)  # the mean of 2 and 0
    assert all(np.isnan(line_fit([0, 1], np.array([[nan, nan]]))))
    assert all(np.isnan(line_fit([0], np.array([[1.0]]))))


def test_numbers_for_readers():
    assert number(-0.001) == "0.00"
    assert number(1.234, signed=True) == "+1.23"
    assert number(-1.2, 1) == "−1.2"
    assert number(float("nan")) == "–"
    assert strength(-1.8) == "−1.8"
    assert strength(-1e-17) == "0"


def test_wilson_interval():
    _, low, high = share(np.zeros(100, bool))
    assert low == 0
    assert high == pytest.approx(0.037, abs=1e-3)
    assert share(np.arange(100) < 50) == pytest.approx((0.5, 0.404, 0.596), abs=1e-3)
