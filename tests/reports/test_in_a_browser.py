"""The pages in a real browser, on a phone and on a desk: nothing sticks out, every picture has words, no error."""

import html
import json
import re
import shutil
import subprocess

import pytest

from ohlora_gan.pipelines.compare import read_cell
from ohlora_gan.pipelines.dashboard import local_dashboard
from ohlora_gan.reports.leaderboard import write_leaderboard
from ohlora_gan.reports.report import write_report
from tests.judged_runs import judgement, write_run
from tests.reports.test_report import full_data

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
MAX_PAGE = 3_000_000
MEASURE = r"""<script>
addEventListener('load', () => {
  const all = selector => [...document.querySelectorAll(selector)];
  const range = document.createRange();
  const isBroken = head => {
    const walker = document.createTreeWalker(head, NodeFilter.SHOW_TEXT);
    for (let node; node = walker.nextNode();)
      for (const word of node.data.matchAll(/[\p{L}\p{N}]+/gu)) {
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) return true;
      }
    return false;
  };
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    pictures: all('img').length,
    wordless: all('img').filter(image => !image.alt.trim()).length,
    unsaid: all('.scroll').filter(box => box.scrollWidth > box.clientWidth + 1 && !box.matches('.wider')).length,
    cut_captions: all('.scroll caption').filter(one => [one, ...one.children].pop().offsetWidth > innerWidth).length,
    broken_heads: all('th').filter(isBroken).map(head => head.textContent.trim()),
  }), '*');
});
</script></body>"""
FRAME = """<body><iframe id="page" width="{width}" height="900"></iframe><script>
onmessage = said => document.body.replaceChildren(said.data);
document.getElementById('page').srcdoc = {page};
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [write_run(folder / name, judgement("svm", name)) for name in ("w", "mapping_split2")]
    cells = [read_cell(run, {"strips.steps": 5, "strips.reach": 2.0, "checkpoint": "v9"}) for run in runs]
    return {
        "dashboard": local_dashboard(folder, folder / "dashboard.html"),
        "report": write_report(folder / "report.html", full_data()),
        "leaderboard": write_leaderboard(folder, cells),
    }


def in_browser(page, folder):
    """What a page says of itself, in words that replace its body, and what its console says."""
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    words += ["--window-size=1400,1000", "--virtual-time-budget=4000", f"--user-data-dir={folder / 'profile'}"]
    result = subprocess.run([*words, page.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r"<body>(\{.*\})</body>", result.stdout)
    return found and json.loads(html.unescape(found[1])), [
        line for line in result.stderr.splitlines() if "CONSOLE" in line
    ]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["report", "leaderboard", "dashboard"])
def test_a_page_fits(pages, tmp_path, name, width):
    text = pages[name].read_text(encoding="utf-8")
    assert len(text) < MAX_PAGE
    inner = json.dumps(text.replace("</body>", MEASURE)).replace("</", "<\\/")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, page=inner), encoding="utf-8")
    found, said = in_browser(frame, tmp_path)
    assert found["width"] == width
    assert found["sideways"] <= 0
    assert found["pictures"] > 0
    assert found["wordless"] == 0
    assert found["unsaid"] == found["cut_captions"] == 0
    assert found["broken_heads"] == []
    assert said == []


READ = r"""<script>
addEventListener('load', () => {
  const all = selector => [...document.querySelectorAll(selector)];
  const tip = document.getElementById('tip');
  const at = (type, pointerType, target, x, y) => {
    const {left, top, width, height} = target.getBoundingClientRect();
    const place = {clientX: left + x * width, clientY: top + y * height};
    target.dispatchEvent(new PointerEvent(type, {bubbles: true, pointerType, ...place}));
    return tip.hidden ? '' : tip.textContent;
  };
  const key = (target, key) => {
    target.dispatchEvent(new KeyboardEvent('keydown', {key, cancelable: true}));
    return tip.textContent;
  };
  const read = all('.chart').map(chart => {
    const [, line] = JSON.parse(chart.dataset.lines)[0];
    const said = {pictures: all('.plot img').length};
    said.mouse = line.map(([x, y]) => at('pointermove', 'mouse', chart, x / 1000, y / 1000));
    said.left = at('pointerleave', 'mouse', chart, 2, 2);
    said.finger = at('pointerdown', 'touch', chart, line[0][0] / 1000, line[0][1] / 1000);
    const box = tip.getBoundingClientRect();
    said.outside = Math.max(-box.left, box.right - innerWidth, 0);
    said.beside = at('pointerdown', 'touch', document.body, 0, 0);
    said.keys = ['ArrowLeft', 'ArrowRight', 'ArrowDown'].map(name => key(chart, name));
    return said;
  });
  const titled = document.querySelector('td[title]');
  const told = titled && [titled.title, at('pointerdown', 'touch', titled, .5, .5)];
  document.body.replaceChildren(JSON.stringify({read, told}));
});
</script></body>"""


@pytest.mark.parametrize("name", ["report", "leaderboard"])
def test_points_of_plots_say_their_names_and_values(pages, tmp_path, name):
    page = tmp_path / "page.html"
    page.write_text(pages[name].read_text(encoding="utf-8").replace("</body>", READ), encoding="utf-8")
    drawn = [json.loads(html.unescape(lines)) for lines in re.findall(r"data-lines='([^']*)'", page.read_text())]
    found, said = in_browser(page, tmp_path)
    assert said == []
    assert len(found["read"]) == len(drawn) > 0
    for lines, read in zip(drawn, found["read"], strict=True):
        assert len(drawn) == read["pictures"]
        line, points = lines[0]
        assert set(read["mouse"]) <= {f"{one}: {words}" for one, of in lines for *_, words in of}
        assert f"{line}: {points[-1][2]}" in read["mouse"]
        assert read["left"] == read["beside"] == ""
        assert read["finger"] == read["mouse"][0] == read["keys"][0]
        assert read["outside"] == 0
        assert read["keys"][1] == f"{line}: {points[min(1, len(points) - 1)][2]}"
    if found["told"]:
        assert found["told"][0] == found["told"][1]


def test_pictures_of_a_case_say_their_strengths(pages):
    alts = re.findall(r'alt="([^"]*)"', pages["report"].read_text(encoding="utf-8"))
    grid = full_data().cases[0]
    said = [", ".join(filter(None, (inside, here))) for here, within, _ in grid.blocks() for inside in within]
    assert len(set(said)) == len(said) == sum(len(images) for *_, images in grid.blocks())
    assert set(said) <= set(alts)
