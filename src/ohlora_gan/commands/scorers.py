"""``ohlora scorers``: how far two property networks agree on fresh images of a generator."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.errors import answer, parser_of
from ohlora_gan.files import write_text
from ohlora_gan.judging.reliability import Agreement, write_scorer_table
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.combined import Panel
from ohlora_gan.models.zoo import open_generator, open_scorer
from ohlora_gan.world.same_world import check_same_world, network

STREAM = "scorers"


def compare(first: str, second: str, generator: str, n: int, seed: int, psi: float = 1.0) -> Agreement:
    """Scores n fresh images of a generator by two scorers and compares the properties that both know.

    Args:
        first, second: property networks: shipped models' names or files.
        generator: a shipped model's name or a file.
        n: number of images, at least 10.
        seed: seed of the latents and of the intervals' resamples.
        psi: truncation of w toward its average.

    Raises:
        ValueError: for too few images, scorers that share no property or not the generator's resolution, or networks
            of different versions of the embedded world.
    """
    check_same_world(network("scorer", first), network("scorer", second), network("generator", generator))
    scorers = {"first": open_scorer(first), "second": open_scorer(second)}
    names = [tuple(net.property_names) for net in scorers.values()]  # type: ignore[arg-type]
    common = [name for name in names[0] if name in names[1]]
    if not common:
        known = [", ".join(found) for found in names]
        raise ValueError(f"{first} scores {known[0]}, {second} scores {known[1]}: give scorers with a common property")
    space = FaceSpace(open_generator(generator), Panel(scorers), batch_size=50, seed=seed, quantize=True)
    with tqdm(desc="scoring", total=n) as bar:
        scores = space.score_codes(W(), space.w(STREAM, range(n), psi), bar)
    of_first, of_second = scores[:, : len(names[0])], scores[:, len(names[0]) :]
    return Agreement.of(
        of_first[:, [names[0].index(name) for name in common]],
        of_second[:, [names[1].index(name) for name in common]],
        common,
        seed,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("scorers", __doc__)
    parser.add_argument("first", help="a property network: a shipped model's name or a file")
    parser.add_argument("second", help="another one")
    parser.add_argument("--generator", default="v9", help="whose images are scored (default v9)")
    parser.add_argument("--n", type=int, default=2000, help="number of images (default 2000)")
    parser.add_argument("--psi", type=float, default=1.0, help="truncation of w (default 1: none)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for agreement.csv and agreement.md")
    given = parser.parse_args(arguments)
    keep_freed_memory()

    def work() -> str:
        found = compare(given.first, given.second, given.generator, given.n, given.seed, given.psi)
        if given.output:
            write_scorer_table(given.output / "agreement.csv", found.names, found.columns())
            write_text(given.output / "agreement.md", found.table() + "\n")
        return found.table()

    return answer(work)


if __name__ == "__main__":
    sys.exit(main())
