"""The explorer's page: what is chosen, a gallery, sliders with their safe ranges, before and after, and what to keep.

Gradio is the extra ``explore``. Pictures and bars go to the browser as one piece of HTML, so that a slider is answered
by one message.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.explorer.engine import FOUND_NOW, LAYERS, REACH, Asked, Edited, Engine, Face, runs_in
from ohlora_gan.files import data_uri
from ohlora_gan.models.zoo import shipped

SHOWN = 256  # pixels of a picture on the page
FIRST, MORE = 12, 12  # faces of the gallery at first, and with each "more"
SLOTS = 16  # sliders that the page has; what there are no properties for is hidden
UPLOAD = "20mb"
STYLE = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
.stage { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.stage figure { margin: 0; text-align: center; flex: 0 1 256px; min-width: 120px; }
.stage img { width: 100%; max-width: 256px; border-radius: 6px; image-rendering: auto; display: block; }
.stage figcaption { font-size: .85rem; opacity: .8; padding-top: 4px; }
.bars { flex: 1 1 260px; min-width: 240px; font-size: .8rem; border-collapse: collapse; }
.bars .row { display: grid; grid-template-columns: 7.5rem 1fr 5.6rem; align-items: center; gap: 6px; padding: 2px 0; }
.bars .track { position: relative; height: 12px; background: var(--border-color-primary); border-radius: 3px; }
.bars .track b { position: absolute; top: 0; height: 12px; background: #2563eb; border-radius: 3px; }
.bars .track i { position: absolute; top: -2px; width: 2px; height: 16px; background: #d97706; }
.bars .value { text-align: right; font-variant-numeric: tabular-nums; }
.note { flex-basis: 100%; font-size: .85rem; color: #b45309; min-height: 1.2em; }
.range { position: relative; height: 8px; margin: 2px 2px 8px; border-radius: 4px; background: #dc262633; }
.range b { position: absolute; top: 0; bottom: 0; border-radius: 4px; background: #16a34a; }
.range span { font-size: .72rem; opacity: .8; position: absolute; top: 9px; white-space: nowrap; }
.rangebox { padding-bottom: 12px; }
footer { display: none !important; }
"""


@dataclass(frozen=True)
class Chosen:
    """What a visitor has before him: engine, face, and how many faces of the gallery."""

    engine: Engine
    face: Face
    shown: int = FIRST

    def __deepcopy__(self, memo: Any) -> "Chosen":
        return self  # Gradio copies the first state for each visitor, but networks are shared


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
        f'<div class="row"><span>{escape(name.replace("_", " "))}</span><span class="track">'
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
    key = '<div class="row"><span></span><span>blue: now, orange: before</span><span class="value">sigmas</span></div>'
    return (
        f'<div class="stage">{pictures}<div class="bars" role="group" aria-label="measured scores">{rows}{key}</div>'
        f'<div class="note" role="status">{escape(edited.note)}</div></div>'
    )


def range_bar(engine: Engine, face: Face, name: str) -> str:
    """Where a slider from -3 to 3 stays among sampled faces."""
    found = engine.range_of(face, name)
    if found is None:
        return (
            '<div class="rangebox"><div class="range"><span>not scored: standard deviations of codes</span></div></div>'
        )
    low, high = (float(np.clip(value, -REACH, REACH)) for value in found)
    left, width = 50 + 50 * low / REACH, 50 * (high - low) / REACH
    return (
        f'<div class="rangebox"><div class="range" title="green: scores that sampled faces have">'
        f'<b style="left:{left:.1f}%;width:{width:.1f}%"></b><span>safe {low:+.1f} to {high:+.1f}</span></div></div>'
    )


# --- The page ---


def make_page(engine: Engine, runs: Sequence[Path] = ()) -> Any:
    """The page as Gradio's ``Blocks``; ValueError where Gradio is not installed.

    Args:
        engine: what is open at first.
        runs: folders in which directions are looked for.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError as error:
        raise ValueError(f'the explorer needs Gradio ({error}): pip install "ohlora-gan[explore]"') from error

    found = runs_in(runs)
    engines: dict[tuple[str, str, str], Engine] = {}
    first = Chosen(engine, engine.face(engine.gallery[0][0]))
    own = next((name for name, path in found.items() if path == engine.vectors), FOUND_NOW)
    generators = list(dict.fromkeys([engine.settings.checkpoint, *shipped("generator")]))

    def asked(chosen: Chosen, mode: str, values: Sequence[Any]) -> Asked:
        names = chosen.engine.properties[:SLOTS]
        numbers, locks = values[:SLOTS], values[SLOTS:]
        locked = [name for name, lock in zip(names, locks, strict=False) if lock]
        changes = {name: float(value) for name, value in zip(names, numbers, strict=False) if name not in locked}
        locked = [name for name in locked if name in chosen.engine.space.property_names]
        return Asked(changes, locked, mode == CLOSED)

    def told(function: Callable[..., Any]) -> Callable[..., Any]:
        """What a user can mend is shown in a sentence."""

        def answer(*words: Any) -> Any:
            try:
                return function(*words)
            except ValueError as error:
                raise gr.Error(str(error), duration=20) from error

        return answer

    def show(chosen: Chosen, mode: str, *values: Any) -> str:
        return stage(chosen.engine, chosen.face, chosen.engine.edit(chosen.face, asked(chosen, mode, values)))

    def slots(chosen: Chosen, mode: str) -> list[Any]:
        """Sliders at 0, locks and ranges of the face and engine before us."""
        engine, names = chosen.engine, chosen.engine.properties[:SLOTS]
        can = engine.movable(mode == CLOSED)
        sliders = [
            gr.update(label=name.replace("_", " "), value=0, visible=True, interactive=name in can) for name in names
        ]
        locks = [gr.update(visible=name in engine.space.property_names) for name in names]
        ranges = [gr.update(value=range_bar(engine, chosen.face, name), visible=True) for name in names]
        hidden = [gr.update(visible=False)] * (SLOTS - len(names))
        return [*sliders, *hidden, *locks, *hidden, *ranges, *hidden]

    def opened(chosen: Chosen, mode: str) -> list[Any]:
        plain = chosen.engine.edit(chosen.face, Asked())
        return [chosen, pictures(chosen), stage(chosen.engine, chosen.face, plain), *slots(chosen, mode)]

    def pictures(chosen: Chosen) -> list[tuple[NDArray[np.uint8], str]]:
        return [(image, said) for _, image, said in chosen.engine.gallery[: chosen.shown]]

    def open_engine(generator: str, directions: str, layer: str, mode: str) -> list[Any]:
        key = (generator, directions, layer if directions == FOUND_NOW else "")
        if key not in engines:
            engines[key] = Engine(generator, found.get(directions), layer, None, engine.cache, engine.device)
        chosen = engines[key]
        for note in chosen.notes:
            gr.Info(note)
        return opened(Chosen(chosen, chosen.face(chosen.gallery[0][0])), mode)

    def pick(chosen: Chosen, mode: str, event: gr.SelectData) -> list[Any]:
        number = chosen.engine.gallery[event.index][0]
        return opened(Chosen(chosen.engine, chosen.engine.face(number), chosen.shown), mode)

    def more(chosen: Chosen) -> tuple[Chosen, Any]:
        chosen = Chosen(chosen.engine, chosen.face, chosen.shown + MORE)
        return chosen, pictures(chosen)

    def take(chosen: Chosen, mode: str, photo: str | None, crop: str) -> list[Any]:
        if photo is None:
            raise ValueError("there is no photograph: upload one first")
        face = chosen.engine.photograph(photo, crop)  # type: ignore[arg-type]
        for note in face.photo.notes if face.photo else []:
            gr.Warning(note)
        return opened(Chosen(chosen.engine, face, chosen.shown), mode)

    def keep(chosen: Chosen, mode: str, *values: Any) -> tuple[list[str], str]:
        paths, words = chosen.engine.save(chosen.face, asked(chosen, mode, values))
        return [str(path) for path in paths], words

    with gr.Blocks(title="ohlora: explore", analytics_enabled=False) as page:
        state = gr.State(first)
        gr.Markdown(
            "# Explore faces\nChoose a face, move a slider: a step is a standard deviation of the score over faces."
        )
        with gr.Accordion("Generator, directions, layer", open=False), gr.Row():
            generator = gr.Dropdown(generators, value=engine.settings.checkpoint, label="Generator")
            directions = gr.Dropdown([FOUND_NOW, *found], value=own, label="Directions")
            layer = gr.Dropdown(
                list(LAYERS),
                value=engine.layer.name if engine.layer.name in LAYERS else "w",
                label="Layer (of directions found now)",
            )
            opener = gr.Button("Open", min_width=80)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                html = gr.HTML(stage(engine, first.face, engine.edit(first.face, Asked())), elem_id="stage")
                mode = gr.Radio([OPEN, CLOSED], value=OPEN, label="How", elem_id="mode")
                gallery = gr.Gallery(
                    pictures(first),
                    label="Faces, the good ones first",
                    columns=[3, 6],
                    height="auto",
                    allow_preview=False,
                    elem_id="gallery",
                    object_fit="cover",
                )
                another = gr.Button("More faces", size="sm")
                with gr.Accordion("Your own photograph", open=False):
                    upload = gr.Image(
                        type="filepath",
                        label="A photograph of one face, up to 20 MB",
                        height=220,
                        sources=["upload", "clipboard"],
                    )
                    crop = gr.Radio(["auto", "landmarks", "center", "none"], value="auto", label="Crop")
                    taker = gr.Button("Invert it", variant="primary")
            with gr.Column(scale=2, min_width=300):
                sliders, locks, ranges = [], [], []
                for number in range(SLOTS):
                    name = engine.properties[number] if number < len(engine.properties) else ""
                    can = name in engine.movable(False)
                    with gr.Row(equal_height=False):
                        sliders.append(
                            gr.Slider(
                                -REACH,
                                REACH,
                                0,
                                step=0.05,
                                label=name.replace("_", " "),
                                visible=bool(name),
                                interactive=can,
                                scale=5,
                                min_width=180,
                                elem_id=f"slider_{number}",
                            )
                        )
                        locks.append(
                            gr.Checkbox(
                                False,
                                label="lock",
                                visible=name in engine.space.property_names,
                                scale=1,
                                min_width=70,
                                elem_id=f"lock_{number}",
                            )
                        )
                    ranges.append(gr.HTML(range_bar(engine, first.face, name) if name else "", visible=bool(name)))
                reset = gr.Button("Back to the face", size="sm")
                saver = gr.Button("Save", variant="primary", elem_id="save")
                files = gr.File(label="Picture, way, animation, latents", file_count="multiple", interactive=False)
                words = gr.Code(label="The command that makes it again", language="shell", elem_id="command")

        asking = [state, mode, *sliders, *locks]
        quick = {"show_progress": "hidden", "trigger_mode": "always_last"}
        for control in (*sliders, *locks):
            control.input(told(show), asking, html, **quick)
        everything = [state, gallery, html, *sliders, *locks, *ranges]
        mode.change(told(lambda chosen, how: opened(chosen, how)), [state, mode], everything)
        reset.click(told(lambda chosen, how: opened(chosen, how)), [state, mode], everything)
        gallery.select(pick, [state, mode], everything)
        another.click(more, state, [state, gallery])
        opener.click(told(open_engine), [generator, directions, layer, mode], everything)
        taker.click(told(take), [state, mode, upload, crop], everything)
        saver.click(told(keep), asking, [files, words])
    return page


OPEN, CLOSED = "open loop: straight along the directions", "closed loop: until the scores are reached"


def serve(page: Any, host: str, port: int | None, cache: Path, browser: bool, block: bool = True) -> str:
    """Serves a page until Ctrl+C; returns its address where it does not ``block``.

    Raises:
        ValueError: where the port is taken.
    """
    import gradio as gr

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # none fetched
    try:
        _, address, _ = page.launch(
            theme=theme,
            css=STYLE,
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=browser,
            prevent_thread_lock=not block,
            quiet=True,
            max_file_size=UPLOAD,
            allowed_paths=[str(cache.resolve())],
            show_error=True,
        )
    except OSError as error:
        raise ValueError(f"port {port} of {host} cannot be used ({error}): give another with --port") from error
    return str(address)
