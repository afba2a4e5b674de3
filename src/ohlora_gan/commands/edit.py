"""Faces changed by score sigmas."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ohlora_gan.commands.options import (
    Device,
    OtherGenerator,
    OtherScorer,
    OtherSeed,
    between,
    given_options,
    read_numbers,
    read_strengths,
)
from ohlora_gan.errors import UserError, answering

Mode = Literal["joint", "independent", "jitter", "closed-loop"]
Targets = Literal["change", "score"]
Beyond = Literal["clip", "refuse"]
Metric = Literal["euclid", "cloud", "image"]
Part = Literal["all", "face", "border"]
Unit = Literal["cloud", "one"]

LOOP, JITTER, PICTURES = "A closed loop (--mode closed-loop)", "Versions (--mode jitter)", "Pictures"


@answering()
def edit(
    ctx: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="a run of find_vectors.py, or a vectors.safetensors", show_default=False),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PROPERTY=STRENGTH", help="change of a score, in sigmas; repeatable", show_default=False
        ),
    ] = None,
    mode: Annotated[
        Mode, typer.Option(help="all at once, one by one, at once in several versions, or until the scores are reached")
    ] = "joint",
    faces: Annotated[str, typer.Option(metavar="NUMBERS", help="which faces")] = "0,1,2",
    latents: Annotated[
        Path | None, typer.Option(metavar="FILE", help="saved latents instead", show_default=False)
    ] = None,
    beyond: Annotated[
        Beyond, typer.Option(help="scores that no face of the generator has: go to the nearest that one has, or refuse")
    ] = "clip",
    checkpoint: OtherGenerator = None,
    scorer: OtherScorer = None,
    truncation_psi: Annotated[
        float | None,
        typer.Option(
            help="below 1 faces are alike and clean", show_default="the run's, else 1", callback=between(0.01, 1)
        ),
    ] = None,
    seed: OtherSeed = None,
    device: Device = "cpu",
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="where to write", show_default="runs/edit/DATE")
    ] = None,
    hold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="scores to hold: rest, none, or names", show_default="rest", rich_help_panel=LOOP
        ),
    ] = None,
    targets: Annotated[
        Targets,
        typer.Option(help="sigmas against the face's own score, or the score to reach", rich_help_panel=LOOP),
    ] = "change",
    layer: Annotated[
        str, typer.Option(metavar="LAYER", help="where there is no RUN to say so", rich_help_panel=LOOP)
    ] = "w",
    metric: Annotated[
        Metric,
        typer.Option(
            help="what a step costs: its length, how unlike sampled faces it is, how much it changes the picture",
            rich_help_panel=LOOP,
        ),
    ] = "image",
    region: Annotated[Part, typer.Option(help="of metric image: what should stay", rich_help_panel=LOOP)] = "border",
    cloud: Annotated[
        float,
        typer.Option(
            help="of metric image: how much of metric cloud is added; with 0 the scorer may be deceived",
            callback=between(0, 1000),
            rich_help_panel=LOOP,
        ),
    ] = 0.01,
    bank_dir: Annotated[
        Path, typer.Option(metavar="FOLDER", help="where measured metrics are kept", rich_help_panel=LOOP)
    ] = Path("runs/banks"),
    versions: Annotated[int, typer.Option(help="of each face", callback=between(1, 99), rich_help_panel=JITTER)] = 5,
    jitter: Annotated[
        float, typer.Option(help="how far they are from it", callback=between(0, 100), rich_help_panel=JITTER)
    ] = 0.5,
    jitter_unit: Annotated[
        Unit,
        typer.Option(help="each coordinate's standard deviation, or the layer's own unit", rich_help_panel=JITTER),
    ] = "cloud",
    steps: Annotated[
        int, typer.Option(help="faces a strip, odd", callback=between(3, 99), rich_help_panel=PICTURES)
    ] = 9,
    frames: Annotated[
        int, typer.Option(help="of the animation, one way", callback=between(2, 500), rich_help_panel=PICTURES)
    ] = 15,
    fps: Annotated[
        float, typer.Option(help="frames a second", callback=between(1, 50), rich_help_panel=PICTURES)
    ] = 15.0,
) -> str:
    """Changes faces by score sigmas and writes strips, grids, an animation and edit.json.

    Directions, networks and faces are those of the run. A closed loop needs no run: it goes on until the scores are
    reached.

    \b
    Examples:
      ohlora edit runs/find_vectors/DATE --set eyes=+1 --set mouth=-0.5
      ohlora edit runs/find_vectors/DATE --set eyes=1 --set pose=1 --mode independent --faces 4,7
      ohlora edit --mode closed-loop --set eyes=+1 --set mouth=-0.5 --hold rest
    """
    from ohlora_gan.devices import keep_freed_memory
    from ohlora_gan.pipelines import edit as work

    settings = read_settings(ctx.params, given_options(ctx))
    keep_freed_memory()
    return work.edit(settings)


def read_settings(options: dict[str, Any], given: set[str]) -> Any:
    """The ``EditSettings`` of a command line.

    Args:
        options: all options by name.
        given: those that the user gave.

    Raises:
        UserError: for words that cannot be read.
    """
    from ohlora_gan.pipelines.edit import EditSettings, Loop, Models
    from ohlora_gan.reports.edits import Drawn, Jitter

    def some(kind: type, **more: Any) -> Any:
        """A dataclass filled with the options of its fields' names."""
        names = [name for name in kind.__dataclass_fields__ if name in options and name not in more]  # type: ignore[attr-defined]
        return kind(**{name: options[name] for name in names}, **more)

    jitter = Jitter(options["versions"], options["jitter"], options["jitter_unit"])
    mode = options["mode"].replace("-", "_")
    drawn = some(Drawn, changes=read_strengths(options["change"] or ()), mode=mode, jitter=jitter)
    faces = read_numbers("--faces", options["faces"])
    loop = some(Loop, hold=read_hold(options["hold"]))
    return some(
        EditSettings, drawn=drawn, vectors=options["run"], faces=faces, models=some(Models), loop=loop, given=given
    )


def read_hold(names: list[str] | None) -> str | tuple[str, ...]:
    """What an edit holds still: ``rest``, ``none``, or names.

    Raises:
        UserError: for ``rest`` or ``none`` beside names.
    """
    if not names:
        return "rest"
    words = {"rest", "none"} & {*names}
    if words and len(names) > 1:
        raise UserError(f"--hold has {' and '.join(names)}, expected {' or '.join(sorted(words))} alone, or names")
    return names[0] if words else tuple(names)
