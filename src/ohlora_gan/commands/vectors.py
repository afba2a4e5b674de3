"""Directions: leaderboards of runs, which direction is best, and those of other people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ohlora_gan.commands import (
    Device,
    Folder,
    OtherGenerator,
    OtherScorer,
    OtherSeed,
    Seed,
    between,
    given_options,
    read_numbers,
    read_strengths,
)
from ohlora_gan.errors import UserError, answering

NUM_LATENTS = 64
SIGN_HELP = (
    "whether the files' vectors raise or lower their property: by default, CSV files lower it (the published vectors "
    "found by SVM do), .npy boundaries raise it; or measure it on --checkpoint by --scorer"
)


@answering()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS", help="run folders, or folders of run folders")],
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="where to write", show_default="RUNS, if it is one")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="SCORER", help="the scorer that ranks", show_default="the judging one")
    ] = None,
) -> str:
    """One leaderboard of many runs of find_vectors.py: a page, leaderboard.csv and leaderboard.md.

    A sweep (python find_vectors.py -m ...) makes one by itself at its end.

    \b
    Examples:
      ohlora compare runs/find_vectors --output compared
      ohlora compare RUN_A RUN_B --output compared --judge property_cnn_judge
    """
    from ohlora_gan.pipelines.compare import compare_runs

    return f"leaderboard: {compare_runs(runs, output, judge)}"


@answering()
def rescore(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS", help="folders of runs, or directions files")],
    output: Folder,
    n: Annotated[int, typer.Option(help="faces; images are this by candidates")] = 1000,
    step: Annotated[float, typer.Option(help="length of the moves")] = 2.0,
    match: Annotated[
        bool, typer.Option("--match", help="choose steps that change images equally: layers compare")
    ] = False,
    property: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="only this; repeatable", show_default="all")
    ] = None,
    by_layer: Annotated[
        bool, typer.Option("--by-layer", help="which synthesis layers carry which property, too")
    ] = False,
    checkpoint: OtherGenerator = None,
    scorer: OtherScorer = None,
    seed: OtherSeed = None,
    device: Device = "cpu",
) -> str:
    """Which of the runs' directions raises each property most on fresh faces.

    All directions of all runs, of any method, group and layer, compete on the same faces (the verification of HiGAN,
    arXiv 1911.09267). Writes rescoring.csv (all candidates), winners.md and, with --by-layer, layers.csv and a picture
    a run: which synthesis layers carry which property.

    \b
    Examples:
      ohlora rescore runs/find_vectors --output rescored --by-layer
      ohlora rescore RUN --output rescored --n 200 --property eyes
    """
    from ohlora_gan.devices import keep_freed_memory
    from ohlora_gan.pipelines.compare import Asked, Rescoring, rescore_runs

    keep_freed_memory()
    how = Rescoring(n, step, match, property, by_layer)
    return rescore_runs(runs, output, how, Asked(checkpoint, scorer, seed, device))


@answering()
def import_vectors(
    ctx: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Argument(help="a folder of CSV files, or .npy files (FILE or PROPERTY=FILE)", show_default=False),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="the directions': w, mapping_split1, mapping_split2, z, wplus", show_default=False),
    ] = None,
    sign: Annotated[Literal["up", "down", "measure"] | None, typer.Option(help=SIGN_HELP, show_default=False)] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="the generator that they are for", show_default="the published one"),
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="a property network, for --sign measure", show_default=False)
    ] = None,
    medians: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE,...", help="the groups' medians, or a .csv", show_default="the published ones"
        ),
    ] = None,
    seed: Seed = 0,
    latents: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="convert latents instead: ohlora_z_vectors_*.csv", show_default=False),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="the latents' groups: ohlora_*_group_names_*.csv", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the file", show_default="vectors.safetensors, or latents.safetensors"),
    ] = None,
    device: Device = "cpu",
) -> str:
    """Other people's directions and latents, turned into files of ours.

    Directions: a folder of the published Oh-LoRA system's {property}_change_{layer}_vector_{group}.csv, or boundaries
    of InterFaceGAN or HiGAN, one .npy a property. Latents: its ohlora_z_vectors_*.csv and group names.

    \b
    Examples:
      ohlora import-vectors FOLDER --layer mapping_split2 --output vectors.safetensors
      ohlora import-vectors smile_boundary.npy --layer w --checkpoint GENERATOR
      ohlora import-vectors --latents ohlora_z_vectors.csv --groups group_names.csv
    """
    from ohlora_gan.devices import keep_freed_memory

    keep_freed_memory()
    if output and output.is_dir():
        raise UserError(f"--output {output} is a folder: name a file such as {output / 'vectors.safetensors'}")
    if latents is None:
        return import_directions(source or [], output or Path("vectors.safetensors"), ctx.params)
    if source or layer or sign or medians:
        raise UserError("--latents goes with --groups, --checkpoint and --output alone: import directions separately")
    return import_latents(latents, groups, checkpoint, output or Path("latents.safetensors"))


def import_latents(values: str, groups: str | None, checkpoint: str | None, output: Path) -> str:
    """Converts published latents; says what they are.

    Raises:
        ValueError: for files that cannot be used, or that do not fit the generator.
    """
    from ohlora_gan.latents.saved import PUBLISHED_SIZES, read_latents, save_latents
    from ohlora_gan.models.checkpoint import weights_hash
    from ohlora_gan.models.zoo import open_generator

    generator = open_generator(checkpoint) if checkpoint else None
    found = read_latents(values, groups, (generator.z_dim, generator.label_dim) if generator else PUBLISHED_SIZES)
    if generator:
        found.check(generator)
        found.origin["generator"] = weights_hash(generator)
    path = save_latents(output, found)
    of_groups = ", ".join(f"{name} {found.groups.count(name)}" for name in sorted({*found.groups}))
    sizes_said = f"z of {found.z.shape[1]} and label of {found.label.shape[1]} values"
    return f"{len(found)} latents: {sizes_said}\ngroups: {of_groups or 'unknown'}\n{path}"


def import_directions(sources: Sequence[str], output: Path, options: Mapping[str, Any]) -> str:
    """Converts directions and turns them to raise their property; says what they are.

    Args:
        sources: one folder of CSV files, or ``.npy`` files, as ``FILE`` or ``PROPERTY=FILE``.
        output: the file.
        options: the command's others by name.

    Raises:
        ValueError: for sources that cannot be used, or that fit neither layer nor generator.
    """
    from tqdm import tqdm

    from ohlora_gan.devices import open_device
    from ohlora_gan.directions.files import save_directions
    from ohlora_gan.directions.foreign import description, read_sources
    from ohlora_gan.judging.generation_test import turn_up
    from ohlora_gan.latents.layers import layer_named
    from ohlora_gan.latents.space import FaceSpace
    from ohlora_gan.models.checkpoint import weights_hash
    from ohlora_gan.models.zoo import open_generator, open_scorer
    from ohlora_gan.world.versions import check_same_world, network

    if options["groups"]:
        raise UserError("--groups goes with --latents")
    if not options["layer"]:
        raise UserError("--layer is missing: name the layer that the directions belong to, such as mapping_split2")
    checkpoint, named, sign, seed = (options[name] for name in ("checkpoint", "scorer", "sign", "seed"))
    generator = open_generator(checkpoint) if checkpoint else None
    scorer = open_scorer(named) if named else None
    if generator and scorer:
        check_same_world(network("generator", checkpoint), network("scorer", named))
    if sign == "measure" and (generator is None or scorer is None):
        raise UserError("the sign is measured on a generator by a scorer: give --checkpoint and --scorer")
    if scorer is not None and sign != "measure":
        raise UserError("a scorer is given, but only measured signs need one: give --sign measure, or leave it out")
    layer, medians = layer_named(options["layer"]), read_medians_option(options["medians"])
    if generator is not None:
        layer.check(generator)
    size = None if generator is None else layer.size(generator)
    found = read_sources(sources, layer.name, size, sign, medians)
    said = description(found, sign, medians)
    if generator is not None:
        found.provenance["generator"] = weights_hash(generator)
    if sign == "measure" and generator is not None and scorer is not None:
        space = FaceSpace(generator, scorer, open_device(options["device"]), seed=seed)
        with tqdm(desc="measuring signs", total=found.directions.shape[0] * found.directions.shape[1]) as bar:
            found, turned = turn_up(space, layer, found, NUM_LATENTS, bar)
        found.provenance |= {"scorer": weights_hash(scorer), "seed": seed}
        found.provenance["imported"]["sign"] = sign
        said += f"\nsigns: {turned}"
    output.parent.mkdir(parents=True, exist_ok=True)
    return f"{said}\n{save_directions(output, found)}"


def read_medians_option(text: str | None) -> dict[str, float] | None:
    """``hair_color=-0.43,pose=0`` or a file of ``property_scores_mean_and_median.csv``'s format; None where not given.

    Raises:
        UserError: for anything else.
    """
    from ohlora_gan.published import read_medians

    if not text or text.endswith(".csv"):
        return read_medians(text) if text else None
    medians: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            medians[name.strip()] = float(value)
        except ValueError as error:
            raise UserError(f"--medians has {part!r}, expected NAME=VALUE,... or a .csv file") from error
    return medians


# --- Faces changed by score sigmas ---


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
