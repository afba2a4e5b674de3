"""Property scores of pictures that one has: photographs, or a folder of faces and parse maps."""

from pathlib import Path
from typing import Annotated

import typer

from ohlora_gan.commands.options import Folder, GenerationOption, read_counts
from ohlora_gan.errors import UserError, answering


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
