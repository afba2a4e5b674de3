"""The explorer's page: what is chosen, a gallery, sliders with their safe ranges, before and after, and what to keep.

Gradio is the extra ``explore``. Pictures and bars go to the browser as one piece of HTML, so that a slider is answered
by one message.
"""

import importlib
import os
import time
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.data.alignment import Crop
from ohlora_gan.explorer.engine import FOUND_NOW, LAYERS, REACH, Asked, Edited, Engine, Face, runs_in
from ohlora_gan.files import data_uri
from ohlora_gan.models.zoo import shipped
from ohlora_gan.reports.pages import plain

SHOWN = 256  # pixels of a picture on the page
FIRST, MORE = 12, 12  # faces of the gallery at first, and with each "more"
SLOTS = 16  # sliders that the page has; what there are no properties for is hidden
UPLOAD = "20mb"
THREADS = 4  # that answer: each is slow at its first picture
STYLE = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; overflow: clip !important; }
.parts { align-items: flex-start; }
.stage { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.stage figure { margin: 0; text-align: center; flex: 1 1 130px; max-width: 256px; }
.stage img { width: 100%; border-radius: 6px; display: block; }
.stage figcaption { font-size: .85rem; opacity: .8; padding-top: 4px; }
.bars { flex: 1 1 100%; min-width: 0; font-size: .8rem; }
.bars .row { display: grid; grid-template-columns: 7.5rem 1fr 7rem; align-items: center; gap: 6px; padding: 2px 0; }
.bars .track { position: relative; height: 12px; background: var(--border-color-primary); border-radius: 3px; }
.bars .track b { position: absolute; top: 0; height: 12px; background: #2563eb; border-radius: 3px; }
.bars .track i { position: absolute; top: -2px; width: 2px; height: 16px; background: #d97706; }
.bars .value { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.note { flex-basis: 100%; font-size: .85rem; color: #b45309; min-height: 1.3em; }
.slot { gap: 0 !important; }
.slot .rangebox { padding: 0 23px 4px; }
.range { position: relative; height: 8px; border-radius: 4px; background: #dc262633; }
.range b { position: absolute; top: 0; bottom: 0; border-radius: 4px; background: #16a34a; }
.safe { font-size: .72rem; opacity: .8; }
#gallery .grid-wrap { min-height: 0; max-height: none; height: auto; }
#gallery .grid-container > * { min-width: 0 !important; width: 100% !important; }
#gallery .grid-container { grid-template-columns: repeat(12, minmax(0, 1fr)) !important; gap: 4px; }
footer { display: none !important; }
@media (max-width: 760px) {
  .parts { flex-direction: column !important; }
  #gallery .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
  .parts > * { width: 100% !important; min-width: 0 !important; }
  .slot .rangebox { padding: 0 2px 4px; }
  .desk > * { display: contents !important; }
  #stage { position: sticky; top: 0; z-index: 9; padding: 6px 0; background: var(--body-background-fill); }
  .stage { gap: 6px 10px; }
  .stage figure { max-width: 110px; }
  .bars { font-size: .7rem; line-height: 1.25; }
  .bars .row { grid-template-columns: 6.2rem 1fr 6.2rem; padding: 0; }
  .note { font-size: .75rem; }
}
"""


class Chosen:
    """What a visitor has before him: engine, face, and how many faces of the gallery."""

    def __init__(self, engine: Engine, face: Face, shown: int = FIRST) -> None:
        self.engine, self.face, self.shown = engine, face, shown

    def __deepcopy__(self, memo: Any) -> "Chosen":
        return self  # Gradio copies what a session begins with, but networks are shared


# --- Pieces of HTML ---


def figure(image: NDArray[np.uint8], title: str, alt: str) -> str:
    """A picture with its title."""
    picture = f'<img src="{data_uri(image, SHOWN)}" alt="{escape(alt)}">'
    return f"<figure>{picture}<figcaption>{escape(title)}</figcaption></figure>"


def bar(name: str, before: float, after: float) -> str:
    """A measured score from -3 to 3 sigmas: a bar to what it is, and a mark at what it was."""
    end, mark = (50 + 50 * np.clip(value / REACH, -1, 1) for value in (after, before))
    left, width = min(50, end), abs(end - 50)
    return (
        f'<div class="row"><span>{escape(plain(name))}</span><span class="track">'
        f'<b style="left:{left:.1f}%;width:{width:.1f}%"></b><i style="left:{mark:.1f}%"></i></span>'
        f'<span class="value">{before:+.2f} → {after:+.2f}</span></div>'
    )


def stage(engine: Engine, face: Face, edited: Edited) -> str:
    """Before, after, and the measured scores of what is shown."""
    pictures = figure(face.image, f"before: {face.title}", f"the face before: {face.title}")
    if face.photo is not None:
        own, found = face.photo.pictures[0], face.photo.found
        off = f"pixels off by {found.residual[0]:.3f}, scores by {face.photo.scores_off[0]:.2f} sigmas"
        pictures = figure(own, "your photograph, cut out", "the photograph, cut out") + figure(
            face.image, f"as the generator makes it: {off}", "the face as the generator makes it"
        )
    pictures += figure(edited.image, "after", "the face after the edit")
    rows = "".join(map(bar, engine.space.property_names, face.faces.scores[0].tolist(), edited.scores.tolist()))
    key = '<div class="row"><span></span><span>now, <i>before</i></span><span class="value">sigmas</span></div>'
    return (
        f'<div class="stage">{pictures}<div class="bars" role="group" aria-label="measured scores">{rows}{key}</div>'
        f'<div class="note" role="status">{escape(edited.note)}</div></div>'
    )


def range_bar(engine: Engine, face: Face, name: str) -> str:
    """Where a slider from -3 to 3 stays among sampled faces."""
    found = engine.range_of(face, name)
    if found is None:
        return '<div class="rangebox safe">not scored: standard deviations of codes</div>'
    low, high = (float(np.clip(value, -REACH, REACH)) for value in found)
    left, width = 50 + 50 * low / REACH, 50 * (high - low) / REACH
    return (
        f'<div class="rangebox" title="green: scores that sampled faces have"><div class="range">'
        f'<b style="left:{left:.1f}%;width:{width:.1f}%"></b></div>'
        f'<span class="safe">safe {low:+.1f} to {high:+.1f}</span></div>'
    )


# --- The page ---

OPEN, CLOSED = "open loop: straight along the directions", "closed loop: until the scores are reached"
CROPS = ("auto", "landmarks", "center", "none")
CUT = "auto: by landmarks where these are installed, else its center; none: as it is"
NEAREST = (
    "The generator looks for the face of its own that comes nearest. The first time it learns how, for minutes; "
    "after that it takes seconds."
)


def gradio() -> Any:
    """The module; ValueError where the extra is not installed."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        return importlib.import_module("gradio")
    except ImportError as error:
        raise ValueError(f'the explorer needs Gradio ({error}): pip install "ohlora-gan[explore]"') from error


class Answers:
    """What the page's controls do: from what was chosen and asked for to what is shown.

    Args:
        engine: what is open at first.
        runs: folders in which directions are looked for.
    """

    def __init__(self, engine: Engine, runs: Sequence[Path]) -> None:
        self.gr, self.found = gradio(), runs_in(runs)
        self.own = next((name for name, path in self.found.items() if path == engine.vectors), FOUND_NOW)
        self.engines = {self.key(engine.settings.checkpoint, self.own, engine.layer.name): engine}
        self.first = Chosen(engine, engine.face(engine.gallery[0][0]))

    def key(self, generator: str, directions: str, layer: str) -> tuple[str, str, str]:
        return generator, directions, layer if directions == FOUND_NOW else ""

    def told(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same, but what a user can mend is shown on the page, in a sentence."""

        def answer(*words: Any) -> Any:
            try:
                return function(*words)
            except ValueError as error:
                raise self.gr.Error(escape(str(error)), duration=20) from error  # it shows HTML

        return answer

    def asked(self, chosen: Chosen, mode: str, values: Sequence[Any]) -> Asked:
        """What sliders and locks, `SLOTS` each, say; what is locked is not moved."""
        names = chosen.engine.properties[:SLOTS]
        locked = [name for name, lock in zip(names, values[SLOTS:], strict=False) if lock]
        changes = {name: float(value) for name, value in zip(names, values, strict=False) if name not in locked}
        return Asked(changes, locked, mode == CLOSED)

    def show(self, chosen: Chosen, mode: str, *values: Any) -> str:
        return stage(chosen.engine, chosen.face, chosen.engine.edit(chosen.face, self.asked(chosen, mode, values)))

    def opened(self, chosen: Chosen, mode: str) -> list[Any]:
        """Everything for a new face, engine or way: the gallery, the face as it is, sliders at 0."""
        plain = chosen.engine.edit(chosen.face, Asked())
        shown = stage(chosen.engine, chosen.face, plain)
        return [chosen, self.pictures(chosen), shown, *self.slots(chosen, mode)]

    def turned(self, chosen: Chosen, mode: str, *values: Any) -> list[Any]:
        """The same edit by the other way: what is shown, and sliders; one that this way cannot move goes back to 0."""
        names, can = chosen.engine.properties[:SLOTS], chosen.engine.movable(mode == CLOSED)
        kept = [value if name in can else 0 for name, value in zip(names, values, strict=False)]
        sliders = [
            self.gr.update(value=value, interactive=name in can) for name, value in zip(names, kept, strict=True)
        ]
        rest = SLOTS - len(names)
        return [self.show(chosen, mode, *kept, *values[len(kept) :]), *sliders, *[self.gr.update()] * rest]

    def pictures(self, chosen: Chosen) -> list[tuple[NDArray[np.uint8], str]]:
        return [(image, said) for _, image, said in chosen.engine.gallery[: chosen.shown]]

    def slots(self, chosen: Chosen, mode: str) -> list[Any]:
        """Sliders, locks, ranges, and what holds them, `SLOTS` each; those that nothing stands for are hidden."""
        engine, update = chosen.engine, self.gr.update
        names = engine.properties[:SLOTS]
        can, rest = engine.movable(mode == CLOSED), SLOTS - len(names)
        sliders = [update(label=plain(name), value=0, interactive=name in can) for name in names]
        locks = [update(value=False, visible=name in engine.space.property_names) for name in names]
        ranges = [update(value=range_bar(engine, chosen.face, name)) for name in names]
        same = [update()] * rest
        boxes = [update(visible=True)] * len(names) + [update(visible=False)] * rest
        return [*sliders, *same, *locks, *same, *ranges, *same, *boxes]

    def open(self, generator: str, directions: str, layer: str, mode: str) -> list[Any]:
        key, first = self.key(generator, directions, layer), self.first.engine
        if key not in self.engines:
            what = (generator, self.found.get(directions), layer)
            self.engines[key] = Engine(*what, cache=first.cache, device=first.device, seed=first.settings.seed)
        engine = self.engines[key]
        for note in engine.notes:
            self.gr.Info(escape(note))
        return self.opened(Chosen(engine, engine.face(engine.gallery[0][0])), mode)

    def pick(self, chosen: Chosen, mode: str, place: int) -> list[Any]:
        number = chosen.engine.gallery[place][0]
        return self.opened(Chosen(chosen.engine, chosen.engine.face(number), chosen.shown), mode)

    def more(self, chosen: Chosen) -> tuple[Chosen, Any]:
        chosen = Chosen(chosen.engine, chosen.face, chosen.shown + MORE)
        return chosen, self.pictures(chosen)

    def take(self, chosen: Chosen, mode: str, photo: str | None, crop: Crop) -> list[Any]:
        if photo is None:
            raise ValueError("there is no photograph: upload one first")
        face = chosen.engine.photograph(photo, crop)
        for note in face.photo.notes if face.photo else []:
            self.gr.Warning(escape(note))
        return self.opened(Chosen(chosen.engine, face, chosen.shown), mode)

    def keep(self, chosen: Chosen, mode: str, *values: Any) -> tuple[Any, Any]:
        paths, words = chosen.engine.save(chosen.face, self.asked(chosen, mode, values))
        update = self.gr.update
        return update(value=[str(path) for path in paths], visible=True), update(value=words, visible=True)


def make_page(engine: Engine, runs: Sequence[Path] = ()) -> Any:
    """The page as Gradio's ``Blocks``, see `Answers`; ValueError where Gradio is not installed."""
    answers = Answers(engine, runs)
    for closed in (False, True):  # the first of anything is slow
        engine.edit(answers.first.face, Asked({engine.movable(closed)[0]: 0.1}, closed=closed))
    gr, told = answers.gr, answers.told
    with gr.Blocks(title="ohlora: explore", analytics_enabled=False) as page:
        state = gr.State(answers.first)
        gr.Markdown(
            "# Explore faces\nChoose a face, the good ones come first, and move a slider: a step of 1 is a standard "
            "deviation of the score over faces, green is where sampled faces are. What is locked stays."
        )
        with gr.Accordion("Generator, directions, layer", open=False), gr.Row():
            chooser = choices(gr, answers)
            opener = gr.Button("Open", min_width=80)
        gallery = faces(gr, answers)
        with gr.Row():
            another = gr.Button("More faces", size="sm")
            reset = gr.Button("Back to the face", size="sm")
        with gr.Accordion("Your own photograph", open=False):
            gr.Markdown(NEAREST)
            with gr.Row(elem_classes="parts"):
                upload, crop, taker = photograph(gr)
        with gr.Row(elem_classes=["parts", "desk"]):
            with gr.Column(scale=3, min_width=320):
                unedited = engine.edit(answers.first.face, Asked())
                html = gr.HTML(stage(engine, answers.first.face, unedited), elem_id="stage")
                mode = gr.Radio([OPEN, CLOSED], value=OPEN, label="How", elem_id="mode")
                saver = gr.Button("Save", variant="primary", elem_id="save")
                files = gr.File(label="What was saved", file_count="multiple", interactive=False, visible=False)
                command = "The command that makes it again"
                words = gr.Code(label=command, language="shell", wrap_lines=True, visible=False, elem_id="command")
            with gr.Column(scale=2, min_width=300):
                sliders, locks, ranges, boxes = controls(gr, answers.first)

        asking, everything = [state, mode, *sliders, *locks], [state, gallery, html, *sliders, *locks, *ranges, *boxes]
        quietly = {"show_progress": "hidden", "trigger_mode": "always_last"}
        for control in (*sliders, *locks):
            control.input(told(answers.show), asking, html, queue=False, **quietly)
        mode.change(told(answers.turned), asking, [html, *sliders])
        reset.click(told(answers.opened), [state, mode], everything, show_progress_on=html)
        another.click(answers.more, state, [state, gallery])
        opener.click(told(answers.open), [*chooser, mode], everything, show_progress_on=html)
        taker.click(told(answers.take), [state, mode, upload, crop], everything, show_progress_on=html)
        saver.click(told(answers.keep), asking, [files, words])

        def picked(chosen: Chosen, mode: str, event: Any) -> list[Any]:
            return answers.pick(chosen, mode, event.index)

        picked.__annotations__["event"] = gr.SelectData  # by which Gradio knows what to hand over
        gallery.select(picked, [state, mode], everything, show_progress_on=html)
    return page


def choices(gr: Any, answers: Answers) -> list[Any]:
    """Drop-down lists of generators, directions and layers."""
    engine = answers.first.engine
    generators = list(dict.fromkeys([engine.settings.checkpoint, *shipped("generator")]))
    layer = engine.layer.name if engine.layer.name in LAYERS else LAYERS[0]
    return [
        gr.Dropdown(generators, value=engine.settings.checkpoint, label="Generator"),
        gr.Dropdown([FOUND_NOW, *answers.found], value=answers.own, label="Directions"),
        gr.Dropdown([*LAYERS], value=layer, label="Layer, of directions found now"),
    ]


def faces(gr: Any, answers: Answers) -> Any:
    """The gallery."""
    return gr.Gallery(
        answers.pictures(answers.first),
        **{"label": "Faces, the good ones first", "columns": 12, "height": "auto", "object_fit": "cover"},
        **{"allow_preview": False, "elem_id": "gallery", "interactive": False, "show_label": False},
    )


def photograph(gr: Any) -> tuple[Any, Any, Any]:
    """Where a photograph is uploaded, how it is cut out, and the button by which the generator finds its face."""
    label = f"A photograph of one face, up to {UPLOAD}"
    return (
        gr.Image(type="filepath", label=label, height=220, sources=["upload", "clipboard"], elem_id="photo"),
        gr.Radio([*CROPS], value="auto", label="How it is cut out", info=CUT),
        gr.Button("Find its face", variant="primary", elem_id="invert"),
    )


def controls(gr: Any, chosen: Chosen) -> list[list[Any]]:
    """A slider, a lock, a range, and the box that holds them, for each property; `SLOTS` of each."""
    engine, made = chosen.engine, []
    names = [*engine.properties[:SLOTS], *[""] * (SLOTS - len(engine.properties))]
    for n, name in enumerate(names):
        about = {"label": plain(name), "interactive": name in engine.movable(False), "elem_id": f"slider_{n}"}
        scored = name in engine.space.property_names
        with gr.Row(visible=bool(name), equal_height=False) as box:
            with gr.Column(scale=5, min_width=200, elem_classes="slot"):
                slider = gr.Slider(-REACH, REACH, 0, step=0.05, **about)
                safe = gr.HTML(range_bar(engine, chosen.face, name) if name else "", padding=False)
            lock = gr.Checkbox(label="lock", visible=scored, scale=1, min_width=70, elem_id=f"lock_{n}")
        made.append((slider, lock, safe, box))
    return [list(column) for column in zip(*made, strict=True)]


def serve(page: Any, host: str, port: int | None, cache: Path, browser: bool) -> str:
    """Serves a page, in threads, until its ``close()``; returns its address.

    Raises:
        ValueError: where the port is taken.
    """
    theme = gradio().themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )  # none fetched
    try:
        _, address, _ = page.launch(
            theme=theme,
            css=STYLE,
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=browser,
            prevent_thread_lock=True,
            quiet=True,
            max_file_size=UPLOAD,
            max_threads=THREADS,
            allowed_paths=[str(cache.resolve())],
            show_error=True,
        )
    except OSError as error:
        raise ValueError(f"port {port} of {host} cannot be used ({error}): give another with --port") from error
    return str(address)


def wait(page: Any) -> NoReturn:
    """Keeps a served page open until Ctrl+C or SIGTERM, which go on from here when it is closed."""
    try:
        while True:
            time.sleep(1)
    finally:
        page.close(verbose=False)
