"""What networks say of faces: filters, scorers, the network that reads everything, and how good a generator is."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ohlora_gan.commands import Device, Folder, FolderOrNone, GeneratorName, Seed, written
from ohlora_gan.errors import UserError, answering
from ohlora_gan.options import DEVICE, SEED, DeviceName, Distilling, Labelling, Parsing, Reference, option, read_bounds

if TYPE_CHECKING:
    from ohlora_gan.judging.quality import Fresh


@dataclass(frozen=True)
class Sampling:
    """Fresh faces of a generator, and where they are made."""

    n: int = option(2000, "number of images, of each kind")
    psi: float = option(1.0, "truncation of w toward its average: 1 is none")
    seed: int = option(0, **SEED)
    device: DeviceName = option("cpu", **DEVICE)

    def fresh(self) -> "Fresh":
        """The same with an open device."""
        from ohlora_gan.devices import keep_freed_memory, open_device
        from ohlora_gan.judging.quality import Fresh

        keep_freed_memory()
        return Fresh(self.n, self.seed, self.psi, open_device(self.device))


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
    *,
    sampling: Sampling,
    output: FolderOrNone = None,
) -> str:
    """What filters say of fresh images of one generator or several: means, and shares within bounds.

    Writes filter_means.csv, a row a generator and filter, and the printed table as filter_means.md.

    \b
    Examples:
      ohlora filter-means pretrain v1 v9
      ohlora filter-means v9 --filter filter_gender --require 'gender>=0.5' --n 500 --output means
    """
    from ohlora_gan.files import write_records, write_text
    from ohlora_gan.judging.quality import filter_means as measure
    from ohlora_gan.judging.quality import filter_table
    from ohlora_gan.models.zoo import shipped_filters

    bounds = None if require is None else read_bounds(require)
    figures = measure(generators, filter or shipped_filters(), bounds, sampling.fresh())
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
    *,
    sampling: Sampling,
    output: FolderOrNone = None,
) -> str:
    """How far two property networks agree on fresh images of a generator; writes agreement.csv and agreement.md.

    \b
    Examples:
      ohlora scorers property_cnn property_cnn_judge
      ohlora scorers property_cnn RUN/model.safetensors --generator v1 --n 500 --output agreement
    """
    from ohlora_gan.files import write_text
    from ohlora_gan.judging.reliability import agreement, write_scorer_table

    found = agreement(first, second, generator, sampling.fresh())
    if output:
        write_scorer_table(output / "agreement.csv", found.names, found.columns)
        write_text(output / "agreement.md", found.table() + "\n")
    return written(found.table(), output)


@answering(interrupted="interrupted; the same command goes on from here")
def distill(
    scorer: Annotated[
        str, typer.Option(metavar="SCORER", help="landmarks, package.module:factory, or a network to make smaller")
    ],
    generator: Annotated[str, typer.Option(metavar="MODEL", help="whose pictures it learns from: a name or a file")],
    *,
    how: Distilling,
) -> str:
    """A small network that scores as another scorer does, with derivatives: trained on a generator's own pictures.

    It says how well each property is told on held-out pictures; one with an R² below .3 is left out. Labelled pictures
    are kept, and a scorer that was distilled before is read. find-vectors does this by itself where a method needs it.

    \b
    Examples:
      ohlora distill --scorer landmarks --generator my_net:dcgan
      ohlora distill --scorer my_scores:smiling --generator network.pkl --n 5000 --device cuda
    """
    from ohlora_gan.devices import keep_freed_memory
    from ohlora_gan.pipelines.distill import distil

    keep_freed_memory()
    found = distil(generator, scorer, how)
    return f"{found.table()}\n\n{found.path}"


@answering()
def quality(
    checkpoint: GeneratorName,
    scorer: Annotated[str, typer.Option(metavar="MODEL", help="the property CNN")] = "property_cnn",
    n: Annotated[int, typer.Option(help="faces of each kind")] = 5000,
    seed: Seed = 0,
    *,
    reference: Reference,
    device: Device = "cpu",
    output: FolderOrNone = None,
) -> str:
    """A generator's faces beside rendered ones or photographs, in figures (quality.json) and a sheet (sheet.png).

    \b
    Examples:
      ohlora quality v9 --keep gender=1,quality=1,age=0,glass=0 --output runs/quality
      ohlora quality RUN/model.safetensors --pictures photographs.zip --n 1000 --landmarks
    """
    from ohlora_gan.files import save_png, write_json
    from ohlora_gan.judging.quality import compare_faces, sheet
    from ohlora_gan.names import WORLD

    found = compare_faces(checkpoint, scorer, reference, Sampling(n, seed=seed, device=device).fresh())
    if output:
        settings = {"checkpoint": checkpoint, "scorer": scorer, "n": n, "seed": seed}
        settings["world"] = None if reference.pictures else WORLD
        write_json(output / "quality.json", {**settings, "keep": reference.keep, **found.figures()})
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
    *,
    sampling: Sampling,
    rounds: Annotated[int, typer.Option(help="of refinement")] = 8,
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
    from ohlora_gan.files import save_png, write_json
    from ohlora_gan.judging.reliability import measure_truth, truth_sheet

    found = measure_truth(model, generator, sampling.fresh(), rounds)
    if output:
        drawn = {name: getattr(sampling, name) for name in ("n", "seed", "psi")}
        settings = {"network": model, "generator": generator, **drawn, "rounds": rounds}
        save_png(output / "sheet.png", truth_sheet(found.whole | found.spoilt))
        write_json(output / "truth.json", {**settings, **found.figures()})
    return written(found.table(), output)


@answering(interrupted="interrupted; the same command goes on from here", warns="MissingScoreWarning")
def label(
    pictures: Annotated[str, typer.Argument(metavar="PICTURES", help="a folder, searched with sub-folders, or a zip")],
    output: Folder,
    how: Labelling,
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
    from ohlora_gan.pipelines.label import label as work

    if how.maps and how.segmenter != "landmarks":
        raise UserError(
            f"--segmenter {how.segmenter} and --maps {how.maps} both say where maps come from: give one of them"
        )
    return work(pictures, output, how)


@answering(warns="MissingScoreWarning")
def parse_folder(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="holds parsing_000123.png (class codes) and face_000123.png (or .jpg)"),
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="the CSV")] = Path("labels.csv"),
    *,
    how: Parsing,
) -> str:
    """A folder of faces and parse maps in Oh-LoRA's layout -> property scores as labels.csv.

    \b
    Examples:
      ohlora parse-folder parsed --output parsed/labels.csv
      ohlora parse-folder parsed --properties eyes,mouth --raw
    """
    from ohlora_gan.pipelines.label import parse_folder as work

    if how.raw and how.normalization:
        raise UserError("--raw and --normalization contradict each other: give one of them")
    return work(folder, output, how)
