"""The site of the docs: no page is forgotten, every setting is named, and it builds without a warning."""

import runpy
import subprocess
import sys

import pytest
import yaml
from conftest import PROJECT

SITE = runpy.run_path(str(PROJECT / "docs" / "site.py"))


class Config(yaml.SafeLoader):
    """mkdocs.yml may name Python functions, which are not called here."""


Config.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(nav):
    """The files that a tree of names leads to."""
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from pages_of(value) if isinstance(value, list) else [value]


def test_every_page_is_reached():
    listed = list(pages_of(yaml.load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"), Config)["nav"]))
    made = {path.name for path in (PROJECT / "docs").glob("*.md")} | {*SITE["COPIED"].values(), "settings.md"}
    assert sorted(listed) == sorted(made)


def test_every_choice_and_key_of_conf_is_on_the_page_of_settings():
    page = SITE["settings"]()
    left_out = ("base",)
    for path in (PROJECT / "conf").rglob("*.yaml"):
        if path.parent.name not in left_out and path.parent != PROJECT / "conf":
            assert f'"`{path.stem}`' in page, path
    wanted = ["| `n` | `4000` | samples that directions are found with |", "`test.num_latents`", "`finder.", "`module."]
    assert [word for word in wanted if word not in page] == []
    assert "| `hydra." not in page


def test_a_page_from_the_top_folder_keeps_its_links():
    moved = SITE["moved"](
        "[a](docs/own_data.md#x) ![b](docs/images/b.png) [c](CONTRIBUTING.md) [d](https://e.f/docs/g)"
    )
    assert moved == "[a](own_data.md#x) ![b](images/b.png) [c](contributing.md) [d](https://e.f/docs/g)"


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="pip install -e .[docs]")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    result = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    settings = (tmp_path / "settings.html").read_text(encoding="utf-8")
    assert "method.finder.decorrelate" in settings
    assert "<details" in settings
    assert "Gan" in (tmp_path / "api.html").read_text(encoding="utf-8")
