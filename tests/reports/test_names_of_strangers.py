"""Names that others chose, of runs, files, methods, attributes, are text on every page: no markup, script or link."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf

from ohlora_gan.__main__ import main
from ohlora_gan.explorer import page as explorer
from ohlora_gan.explorer.engine import Edited
from ohlora_gan.files import read_table, write_json, write_records, write_rows, write_text
from tests.judged_runs import judgement, write_run

BAD = """<script>alert("&'")</script><img src=x onerror='alert(1)'>"""
FOLDERS = ["javascript:alert(1)", """<img src=x onerror=alert(1)>"'""", "a#b?c%20d"]


class Elements(HTMLParser):
    """The elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def check(text, scripts=1):
    """No element but ours, no handler, and no link out of the page's folder."""
    found = Elements(text).found
    assert sum(tag == "script" for tag, _ in found) == scripts
    for _, attributes in found:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert not re.match("(?!data:|https:)[a-z]+:|x$", attributes.get(name) or "")


@pytest.fixture(params=FOLDERS)
def root(tmp_path, request):
    """Runs in a folder of a bad name, whose settings and figures are called badly too."""
    folder = tmp_path / request.param
    for number, method in enumerate(("svm", BAD)):
        run = write_run(folder / f"{number}", judgement(method, note=BAD), f"method={BAD}", method={"name": method})
        write_json(run / "metrics.json", {})
    write_text(write_run(folder / "2", None, f"method={BAD}") / "failed.txt", f"{BAD} failed\n")
    write_text(folder / "multirun.yaml", "{}")
    filters = {"model": {"name": "filter_cnn"}, "attribute": BAD, "task": "train"}
    for name, (config, metrics) in {
        "glass": (filters, {"test/auroc": 0.9}),
        "gan": ({"model": {"name": BAD}, "task": "train"}, {f"train/{BAD}": 1.0}),
    }.items():
        write_json(folder / name / "metrics.json", metrics)
        OmegaConf.save(config, folder / name / "config.yaml")
        write_json(folder / name / "run.json", {"state": f"failed: {BAD}", "seconds": 1.0, "started": BAD})
    write_rows(folder / "gan/csv/version_0/metrics.csv", [["step", f"train/{BAD}"], [1, 0.5], [2, 0.6]])
    return tmp_path


def test_the_local_dashboard(root, capsys):
    assert main(["dashboard", str(root), "--local"]) == 0, capsys.readouterr().err
    text = (root / "dashboard.html").read_text()
    check(text)
    assert "&lt;script&gt;" in text


def test_a_comparison(root, tmp_path, capsys):
    (folder,) = [path for path in root.iterdir() if path.is_dir()]
    runs = [str(folder / name) for name in ("0", "1")]
    assert main(["compare", *runs, "--output", str(tmp_path / "compared")]) == 0, capsys.readouterr().err
    for page in (tmp_path / "compared").glob("*.html"):
        check(page.read_text())
        links = [a["href"] for tag, a in Elements(page.read_text()).found if tag == "a" and "report" in a["href"]]
        assert links
        assert not [link for link in links if set(link) & set(":<>\"'?#")]


def test_the_explorers_pieces():
    image = np.zeros((8, 8, 3), np.uint8)
    face = SimpleNamespace(image=image, title=BAD, photo=None, faces=SimpleNamespace(scores=np.zeros((1, 1))))
    engine = SimpleNamespace(space=SimpleNamespace(property_names=(BAD,)))
    text = explorer.stage(engine, face, Edited(np.zeros(2), image, np.zeros(1), BAD))
    check(text, scripts=0)
    assert len([tag for tag, _ in Elements(text).found if tag == "img"]) == 2


def test_the_explorers_errors_are_text(monkeypatch):
    """Gradio shows them as HTML."""
    answers = explorer.Answers.__new__(explorer.Answers)
    answers.gr = SimpleNamespace(Error=lambda text, duration: RuntimeError(text))

    def fail():
        raise ValueError(f"{BAD} cannot be read")

    with pytest.raises(RuntimeError) as error:
        answers.told(fail)()
    assert "<" not in str(error.value)


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3+cmd", "@SUM(1)", "\t=1", "\r=1", "'=1"])
def test_cells_compute_nothing_and_are_read_as_they_were(tmp_path, name):
    write_records(tmp_path / "t.csv", [{name: name, "n": -0.5}])
    text = (tmp_path / "t.csv").read_bytes().decode()
    assert not re.search(r"(?m)(^|,)\"?[=+@\t\r]", text)
    assert "\n\"'" in text or "\n'" in text
    if name.isprintable():
        table = read_table(tmp_path / "t.csv")
        assert table.numbers(["n"]).tolist() == [[-0.5]]
        assert table.column(name) == [name]
