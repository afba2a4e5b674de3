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


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["report", "leaderboard", "dashboard"])
def test_a_page_fits(pages, tmp_path, name, width):
    text = pages[name].read_text(encoding="utf-8")
    assert len(text) < MAX_PAGE
    inner = json.dumps(text.replace("</body>", MEASURE)).replace("</", "<\\/")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, page=inner), encoding="utf-8")
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    words += ["--window-size=1400,1000", "--virtual-time-budget=4000", f"--user-data-dir={tmp_path / 'profile'}"]
    result = subprocess.run([*words, frame.as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(html.unescape(re.search(r"<body>(\{.*?\})</body>", result.stdout)[1]))
    assert found["width"] == width
    assert found["sideways"] <= 0
    assert found["pictures"] > 0
    assert found["wordless"] == 0
    assert found["unsaid"] == found["cut_captions"] == 0
    assert found["broken_heads"] == []
    assert [line for line in result.stderr.splitlines() if "CONSOLE" in line] == []


def test_pictures_of_a_case_say_their_strengths(pages):
    alts = re.findall(r'alt="([^"]*)"', pages["report"].read_text(encoding="utf-8"))
    grid = full_data().cases[0]
    said = [", ".join(filter(None, (inside, here))) for here, within, _ in grid.blocks() for inside in within]
    assert len(set(said)) == len(said) == sum(len(images) for *_, images in grid.blocks())
    assert set(said) <= set(alts)
