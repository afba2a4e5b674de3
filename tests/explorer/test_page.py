"""The explorer's page in a real browser: chosen, moved, locked, uploaded and saved, as a user does it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from ohlora_gan.__main__ import main
from ohlora_gan.explorer import page as pages
from tests import explored

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
EMPTY_PAGE = """
import sys
from types import SimpleNamespace
from ohlora_gan.__main__ import main
from ohlora_gan.explorer import engine, page
engine.open_first = lambda *_: SimpleNamespace(space=SimpleNamespace(generator=SimpleNamespace(resolution=8)))
with page.gradio().Blocks() as empty:
    page.gradio().Markdown("nothing")
page.make_page = lambda *_: empty
sys.exit(main(["explore", *sys.argv[1:]]))
"""
"""A program: ``ohlora explore`` with nothing on its page."""
HOLD = 30_000  # milliseconds until something has to have happened


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    pytest.importorskip("gradio", reason="the explorer needs Gradio: pip install 'ohlora-gan[explore]'")
    folder = explored.run(tmp_path_factory.mktemp("run"))
    cache = tmp_path_factory.mktemp("explored")
    page = pages.make_page(explored.engine(folder, cache), [folder])
    yield pages.serve(page, "127.0.0.1", None, cache, browser=False)
    page.close()


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip(
        "playwright.sync_api", reason="driving a browser needs playwright: pip install playwright"
    )
    if not BROWSER:
        pytest.skip("no Chromium or Chrome is installed, such as Debian's package chromium")
    with sync.sync_playwright() as playing:
        started = playing.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, address):
    """The page, opened; its console has no error at the end, and nothing was fetched from elsewhere."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    wrong, elsewhere = [], []
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.on("request", lambda asked: elsewhere.append(asked.url))
    opened.goto(address)
    opened.wait_for_selector("#stage img", timeout=HOLD)
    yield opened
    opened.close()
    assert not wrong
    assert not [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))]


def after(page):
    return page.locator("#stage img").last.get_attribute("src")


def changed(page, old):
    """Waits until another picture is shown."""
    page.wait_for_function(
        "old => [...document.querySelectorAll('#stage img')].pop()?.src !== old", arg=old, timeout=HOLD
    )
    return after(page)


def move(page, number, value):
    box = page.locator(f"#slider_{number} input[type=number]")
    box.fill(str(value))
    box.press("Enter")


def reach(page):
    """A change of the first score within its safe range, which the page says."""
    low, high = page.locator(".safe").first.inner_text().removeprefix("safe ").split(" to ")
    return 0.5 * max(float(low), float(high), key=abs)


def test_a_face_is_edited_and_saved(page):
    before = page.locator("#stage img").first.get_attribute("src")
    assert after(page) == before
    move(page, 0, reach(page))
    moved = changed(page, before)
    assert page.locator("#stage img").first.get_attribute("src") == before
    page.locator("#lock_1 input").check()
    changed(page, moved)

    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("#command .cm-content", timeout=HOLD)
    words = page.locator("#command").inner_text()
    assert "ohlora edit" in words
    assert "--set eyes=" in words
    assert "--hold hair_color" in words
    for name in ("picture.png", "joint.png", "animation.gif", "edited.safetensors"):
        page.wait_for_selector(f"a[href*='{name}']", timeout=HOLD, state="attached")

    page.get_by_role("button", name="Back to the face").click()
    assert changed(page, after(page)) == before
    assert page.locator("#slider_0 input[type=number]").input_value() == "0"


def test_the_closed_loop_moves_what_has_no_direction(page):
    assert page.locator("#slider_1 input[type=number]").is_disabled()  # hair colour: the run has no direction
    start = after(page)
    move(page, 0, reach(page))
    old = changed(page, start)
    page.get_by_label(pages.CLOSED).check()
    changed(page, old)
    assert float(page.locator("#slider_0 input[type=number]").input_value()) != 0  # what was asked for stays
    page.wait_for_function("!document.querySelector('#slider_1 input[type=number]').disabled", timeout=HOLD)
    old = after(page)
    move(page, 1, 0.1)
    changed(page, old)
    page.get_by_label(pages.OPEN).check()
    page.wait_for_function("document.querySelector('#slider_1 input[type=number]').value === '0'", timeout=HOLD)


def test_another_face(page):
    old = after(page)
    page.locator("#gallery button.thumbnail-item").nth(3).click()
    changed(page, old)
    assert page.locator("#gallery button.thumbnail-item").count() == pages.FIRST
    page.get_by_role("button", name="More faces").click()
    more = pages.FIRST + pages.MORE
    page.wait_for_function(
        "n => document.querySelectorAll('#gallery button.thumbnail-item').length === n", arg=more, timeout=HOLD
    )


def test_a_photograph(page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((80, 60), Image.Resampling.BICUBIC).save(tmp_path / "aunt.png")
    page.get_by_text("Your own photograph").click()
    page.get_by_role("button", name="Find its face").click()
    page.get_by_text("upload one first").wait_for(timeout=HOLD)
    page.locator("#photo input[type=file]").set_input_files(tmp_path / "aunt.png")
    page.wait_for_selector("#photo img", timeout=HOLD)
    page.get_by_label("center").check()
    old = after(page)
    page.get_by_role("button", name="Find its face").click()
    page.get_by_text("your photograph, cut out").wait_for(timeout=HOLD)
    made = changed(page, old)
    move(page, 0, reach(page))
    changed(page, made)


def test_on_a_phone_the_face_stays_in_sight(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#slider_2").evaluate("slider => slider.scrollIntoView({block: 'end'})")
    page.wait_for_timeout(500)
    top, bottom = page.locator("#stage img").last.evaluate(
        "image => [image.getBoundingClientRect().top, image.getBoundingClientRect().bottom]"
    )
    assert 0 <= top < bottom < 300


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen_and_every_picture_has_words(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].filter(image => !image.alt).length") == 0


# --- Without a browser ---


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_it_at_once(tmp_path, number, code):
    pytest.importorskip("gradio", reason="the explorer needs Gradio: pip install 'ohlora-gan[explore]'")
    words = [sys.executable, "-c", EMPTY_PAGE, "--output", f"{tmp_path}"]
    pipe = subprocess.PIPE
    started = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        said = next(line for line in started.stdout if line.startswith("the explorer: "))
        address = said.split()[2]
        with urlopen(address, timeout=60) as page:
            assert b"gradio" in page.read()
        begun = time.monotonic()
        started.send_signal(number)
        _, errors = started.communicate(timeout=60)
        assert time.monotonic() - begun < 10
    finally:
        started.kill()
    assert started.returncode == code
    assert errors.splitlines()[-1] == "the explorer is closed"
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        os.killpg(started.pid, 0)
    with pytest.raises(URLError):
        urlopen(address, timeout=5)


def test_who_has_no_gradio_is_told(monkeypatch, tmp_path, capsys):
    def missing(name):
        raise ImportError("No module named 'gradio'")

    monkeypatch.setattr(pages.importlib, "import_module", missing)
    folder = explored.run(tmp_path)
    assert main(["explore", f"{folder}", "--output", f"{tmp_path / 'out'}"]) == 2
    assert 'pip install "ohlora-gan[explore]"' in capsys.readouterr().err


def test_words_of_users_are_escaped():
    html = pages.figure(np.zeros((8, 8, 3), np.uint8), "<b>", 'a"b')
    assert "&lt;b&gt;" in html
    assert 'alt="a&quot;b"' in html
