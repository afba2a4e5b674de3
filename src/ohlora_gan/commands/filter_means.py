"""``ohlora filter-means``: what the filters say of fresh images of one generator or several."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.errors import answer, parser_of
from ohlora_gan.files import write_records, write_text
from ohlora_gan.judging.quality import FilterFigures, filter_table
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.combined import Panel
from ohlora_gan.models.zoo import open_filters, open_generator, shipped_filters
from ohlora_gan.names import REFERENCE, read_thresholds
from ohlora_gan.world.same_world import check_same_world, networks

STREAM = "filter_means"  # images that no training has seen


def measure(
    generator: str, filters: Sequence[str], keep: Mapping[str, str] | None, n: int, seed: int, psi: float = 1.0
) -> FilterFigures:
    """Scores n fresh images of a generator; the same latents for every generator of a kind.

    Args:
        generator: a shipped model's name or a file.
        filters: filter ensembles, shipped or files.
        keep: filter -> bound; None: the reference system's, of those filters that are given.
        n: number of images, at least 1.
        seed: seed of the latents and of the intervals' resamples.
        psi: truncation of w toward its average.

    Raises:
        ValueError: for no images, no filters or bounds that do not fit them.
    """
    if n < 1:
        raise ValueError(f"n is {n}, expected at least 1")
    panel = Panel(open_filters(filters))
    names = panel.property_names
    bounds = {name: text for name, text in REFERENCE.items() if name in names} if keep is None else keep
    thresholds = read_thresholds(bounds, names, "--keep")
    space = FaceSpace(open_generator(generator), panel, batch_size=50, seed=seed, quantize=True)
    with tqdm(desc=f"scoring {generator}", total=n) as bar:
        scores = space.score_codes(W(), space.w(STREAM, range(n), psi), bar)
    return FilterFigures.of(scores, names, thresholds, seed)


def write(folder: Path, figures: Mapping[str, FilterFigures]) -> None:
    """Writes ``filter_means.csv``, a row a generator and filter, and the printed table as ``filter_means.md``."""
    rows: list[dict[str, Any]] = [{"generator": name, **row} for name, found in figures.items() for row in found.rows()]
    write_records(folder / "filter_means.csv", rows)
    write_text(folder / "filter_means.md", filter_table(figures) + "\n")


def parse_keep(bounds: Sequence[str]) -> dict[str, str]:
    """``gender>=0.92`` and so on as a mapping."""
    places = [min((i for i in (text.find("<"), text.find(">")) if i > 0), default=0) for text in bounds]
    if 0 in places:
        raise ValueError(f"--keep has {bounds[places.index(0)]!r}, expected bounds such as 'gender>=0.92'")
    return {text[:i].strip(): text[i:] for text, i in zip(bounds, places, strict=True)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("filter_means", __doc__)
    parser.add_argument("generators", nargs="+", help="shipped models' names or files, such as v1 v9")
    parser.add_argument("--filters", nargs="+", default=shipped_filters(), help="shipped filters' names or files")
    parser.add_argument("--keep", nargs="+", help="bounds such as 'gender>=0.92' (default: the reference system's)")
    parser.add_argument("--n", type=int, default=2000, help="images of each generator (default 2000)")
    parser.add_argument("--psi", type=float, default=1.0, help="truncation of w (default 1: none)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for filter_means.csv and filter_means.md")
    given = parser.parse_args(arguments)
    keep_freed_memory()

    def work() -> str:
        check_same_world(*networks("generator", given.generators), *networks("filter", given.filters))
        keep = None if given.keep is None else parse_keep(given.keep)
        figures = {
            name: measure(name, given.filters, keep, given.n, given.seed, given.psi) for name in given.generators
        }
        if given.output:
            write(given.output, figures)
        return filter_table(figures)

    return answer(work)


if __name__ == "__main__":
    sys.exit(main())
