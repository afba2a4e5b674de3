"""The explorer: a page in the browser on which faces are edited."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ohlora_gan.commands import Device
from ohlora_gan.errors import answering
from ohlora_gan.options import SEED, option

SMALL = 128
"""Side of pictures up to which one thread makes a single one as fast as several, that wait for each other."""


@dataclass(frozen=True)
class Served:
    """Where the page is served, and what is kept."""

    host: str = option("127.0.0.1", "who may open it: 127.0.0.1 is this machine alone, 0.0.0.0 everybody")
    seed: int | None = option(None, **SEED, shown="the run's")
    port: int | None = option(None, "of the page", between=(1, 65535), shown="the first that is free from 7860")
    output: Path = option(Path("runs/explore"), "where saved edits, samples and what was learnt are kept", "FOLDER")
    browser: bool = option(False, "open it in the browser, too")


@answering(interrupted="the explorer is closed")
def explore(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUNS", help="runs of find_vectors.py, or folders of them", show_default="those in runs/"
        ),
    ] = None,
    generator: Annotated[
        str | None, typer.Option(metavar="MODEL", help="a name or a file", show_default="the first run's, or v9")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="a name or a file", show_default="the run's, or the shipped one")
    ] = None,
    device: Device = "cpu",
    *,
    served: Served,
) -> str:
    """A page in the browser: choose a face or upload a photograph, edit it by sliders, save it with its command.

    Where no run has found directions yet, they are found at the start, in a minute. Needs the extra explore.

    \b
    Examples:
      ohlora explore
      ohlora explore runs/find_vectors/DATE --port 8000
    """
    import torch

    from ohlora_gan.explorer.engine import open_first
    from ohlora_gan.explorer.page import make_page, serve, wait

    places = runs or [path for path in (Path("runs"),) if path.is_dir()]
    engine = open_first(places, generator, scorer, served.output, device, served.seed)
    page = make_page(engine, places)
    if served.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"everybody who reaches {served.host} can open the page and upload pictures")
    if engine.space.generator.resolution <= SMALL:
        torch.set_num_threads(1)
    address = serve(page, served.host, served.port, served.output, served.browser)
    print(f"the explorer: {address} (Ctrl+C closes it)", flush=True)
    wait(page)
