"""What networks say of faces: filters, scorers, the network that reads everything, and how good a generator is."""

from pathlib import Path
from typing import Annotated

import typer

from ohlora_gan.commands import (
    Device,
    Folder,
    FolderOrNone,
    GenerationOption,
    GeneratorName,
    Psi,
    Seed,
    read_bounds,
    read_counts,
)
from ohlora_gan.errors import UserError, answering

Images = Annotated[int, typer.Option(help="number of images, of each kind")]


def written(text: str, output: Path | None) -> str:
    """A command's answer: the text and, where something was written, where it lies."""
    return text if output is None else f"{text}\n\nwritten: {output}"


@answering()
def filter_means(
    generators: Annotated[list[str], typer.Argument(metavar="GENERATORS", help="names or files, such as v1 v9")],
    filter: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="a name or a file; repeatable", show_default="the shipped")
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="BOUND", help="such as 'gender>=0.92'; repeatable", show_default="the reference system's"),
    ] = None,
    n: Images = 2000,
    psi: Psi = 1.0,
    seed: Seed = 0,
    device: Device = "cpu",
    output: FolderOrNone = None,
) -> str:
    """What filters say of fresh images of one generator or several: means, and shares within bounds.

    Writes filter_means.csv, a row a generator and filter, and the printed table as filter_means.md.

    \b
    Examples:
      ohlora filter-means pretrain v1 v9
      ohlora filter-means v9 --filter filter_gender --require 'gender>=0.5' --n 500 --output means
    """
    from ohlora_gan.devices import keep_freed_memory, open_device
    from ohlora_gan.files import write_records, write_text
    from ohlora_gan.judging.quality import Fresh, filter_table
    from ohlora_gan.judging.quality import filter_means as measure
    from ohlora_gan.models.zoo import shipped_filters

    keep_freed_memory()
    bounds = None if require is None else read_bounds(require)
    figures = measure(generators, filter or shipped_filters(), bounds, Fresh(n, seed, psi, open_device(device)))
    table = filter_table(figures)
    if output:
        rows = [{"generator": name, **row} for name, found in figures.items() for row in found.rows()]
        write_records(output / "filter_means.csv", rows)
        write_text(output / "filter_means.md", table + "\n")
    return written(table, output)


@answering()
def scorers(
    first: Annotated[str, typer.Argument(help="a property network: a shipped model's name or a file")],
    second: Annotated[str, typer.Argument(help="another one")],
    generator: Annotated[str, typer.Option(metavar="MODEL", help="whose images are scored: a name or a file")] = "v9",
    n: Images = 2000,
    psi: Psi = 1.0,
    seed: Seed = 0,
    device: Device = "cpu",
    output: FolderOrNone = None,
) -> str:
    """How far two property networks agree on fresh images of a generator; writes agreement.csv and agreement.md.

    \b
    Examples:
      ohlora scorers property_cnn property_cnn_judge
      ohlora scorers property_cnn RUN/model.safetensors --generator v1 --n 500 --output agreement
    """
    from ohlora_gan.devices import keep_freed_memory, open_device
    from ohlora_gan.files import write_text
    from ohlora_gan.judging.quality import Fresh
    from ohlora_gan.judging.reliability import agreement, write_scorer_table

    keep_freed_memory()
    found = agreement(first, second, generator, Fresh(n, seed, psi, open_device(device)))
    if output:
        write_scorer_table(output / "agreement.csv", found.names, found.columns())
        write_text(output / "agreement.md", found.table() + "\n")
    return written(found.table(), output)


@answering()
def quality(
    checkpoint: GeneratorName,
    scorer: Annotated[str, typer.Option(metavar="MODEL", help="the property CNN")] = "property_cnn",
    n: Annotated[int, typer.Option(help="faces of each kind")] = 5000,
    seed: Seed = 0,
    keep: Annotated[
        str, typer.Option(metavar="NAME=VALUE,...", help="of the rendered faces, such as gender=1,quality=1")
    ] = "",
    pictures: Annotated[
        Path | None, typer.Option(metavar="PICTURES", help="compare with these photographs: a folder or a zip file")
    ] = None,
    world: Annotated[
        int | None, typer.Option(help="of the rendered faces", show_default="what the networks have learnt from")
    ] = None,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="in what share of the images a face is found, too")
    ] = False,
    device: Device = "cpu",
    output: FolderOrNone = None,
) -> str:
    """A generator's faces beside rendered ones or photographs, in figures (quality.json) and a sheet (sheet.png).

    \b
    Examples:
      ohlora quality v9 --keep gender=1,quality=1,age=0,glass=0 --output runs/quality
      ohlora quality RUN/model.safetensors --pictures photographs.zip --n 1000 --landmarks
    """
    from ohlora_gan.devices import keep_freed_memory, open_device
    from ohlora_gan.files import write_json
    from ohlora_gan.images import save_png
    from ohlora_gan.judging.quality import Fresh, Reference, compare_faces, sheet

    keep_freed_memory()
    kept = read_counts("--keep", keep, "gender=1,quality=1")
    reference = Reference(kept, pictures, world)
    found = compare_faces(checkpoint, scorer, reference, Fresh(n, seed, device=open_device(device)), landmarks)
    if output:
        settings = {"checkpoint": checkpoint, "scorer": scorer, "n": n, "seed": seed, "world": found.world}
        write_json(output / "quality.json", {**settings, "keep": kept, **found.figures()})
        save_png(output / "sheet.png", sheet(found.reference, found.images))
    return written(found.table(), output)


@answering()
def truth(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a network of model=truth: its name or a file")
    ] = "truth",
    generator: Annotated[
        str | None, typer.Option(metavar="MODEL", help="whose pictures are read, too", show_default="none")
    ] = None,
    n: Images = 2000,
    psi: Psi = 1.0,
    rounds: Annotated[int, typer.Option(help="of refinement")] = 8,
    seed: Seed = 0,
    device: Device = "cpu",
    output: FolderOrNone = None,
) -> str:
    """How well faces of the embedded world are read off pictures, and whether damage shows.

    On fresh rendered faces: what is read, as R² of each continuous attribute and share of right answers for each binary
    one. On rendered, generated and spoilt pictures: how far each is from the rendering of what was read off it, and how
    well that tells spoilt pictures from whole ones. Writes truth.json and sheet.png.

    \b
    Examples:
      ohlora truth RUN/model.safetensors --n 500 --output runs/truth_figures
      ohlora truth RUN/model.safetensors --generator GENERATOR
    """
    from ohlora_gan.devices import keep_freed_memory, open_device
    from ohlora_gan.files import write_json
    from ohlora_gan.images import save_png
    from ohlora_gan.judging.quality import Fresh
    from ohlora_gan.judging.truth import measure_truth, sheet

    keep_freed_memory()
    found = measure_truth(model, generator, Fresh(n, seed, psi, open_device(device)), rounds)
    if output:
        settings = {"network": model, "generator": generator, "n": n, "seed": seed, "psi": psi, "rounds": rounds}
        save_png(output / "sheet.png", sheet(found.readings))
        write_json(output / "truth.json", {**settings, **found.figures()})
    return written(found.table(), output)


# --- Property scores of pictures that one has: photographs, or a folder of faces and parse maps ---


@answering(interrupted="interrupted; the same command goes on from here", warns="MissingScoreWarning")
def label(
    pictures: Annotated[str, typer.Argument(metavar="PICTURES", help="a folder, searched with sub-folders, or a zip")],
    output: Folder,
    generation: GenerationOption = "v2",
    top: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=N", help="show the N highest, as top_COLUMN.png; repeatable", show_default="none"),
    ] = None,
    segmenter: Annotated[str, typer.Option(metavar="SEGMENTER", help="landmarks, or MODULE:CALLABLE")] = "landmarks",
    maps: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="ready parse maps, named as the pictures", show_default="none")
    ] = None,
) -> str:
    """Photographs -> parse maps, property scores and raw measures of the faces in them.

    A picture's largest central square is labelled, as it is what training sees. A run that was interrupted goes on when
    started again; pictures added later are labelled, the others stay.

    \b
    Examples:
      ohlora label photos --output labelled --top mouth_opening=10 --top turn=10
      ohlora label photos --output by_segmenter --segmenter my_segmenter:segment
      ohlora label photos --output by_maps --maps labelled/maps
    """
    from ohlora_gan.pipelines.label import Labelling
    from ohlora_gan.pipelines.label import label as work

    if maps and segmenter != "landmarks":
        raise UserError(f"--segmenter {segmenter} and --maps {maps} both say where maps come from: give one of them")
    tops = read_counts("--top", ",".join(top or ()), "mouth=10")
    if 0 in tops.values():
        raise UserError("--top asks for 0 pictures, expected COLUMN=NUMBER such as mouth=10")
    return work(pictures, output, Labelling(segmenter, maps, generation, tops))


@answering(warns="MissingScoreWarning")
def parse_folder(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="holds parsing_000123.png (class codes) and face_000123.png (or .jpg)"),
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="the CSV")] = Path("labels.csv"),
    generation: GenerationOption = "v2",
    properties: Annotated[
        str | None, typer.Option(metavar="NAMES", help="columns, separated by commas", show_default="all")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="scores as measured instead of mean 0 and deviation 1")] = False,
    normalization: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="normalise by these statistics of an earlier run", show_default="its own"),
    ] = None,
) -> str:
    """A folder of faces and parse maps in the published system's layout -> property scores as labels.csv.

    \b
    Examples:
      ohlora parse-folder parsed --output parsed/labels.csv
      ohlora parse-folder parsed --properties eyes,mouth --raw
    """
    from ohlora_gan.names import PROPERTIES
    from ohlora_gan.pipelines.label import Parsing
    from ohlora_gan.pipelines.label import parse_folder as work

    if raw and normalization:
        raise UserError("--raw and --normalization contradict each other: give one of them")
    columns = PROPERTIES if properties is None else tuple(properties.split(","))
    return work(folder, output, Parsing(generation, columns, raw, normalization))
