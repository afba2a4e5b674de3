"""Dashboards over runs: a page without an account, or a wandb workspace."""

from pathlib import Path
from typing import Annotated

import typer

from ohlora_gan.errors import UserError, answering


@answering()
def dashboard(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="of runs, at any depth (--local)")] = Path("runs"),
    local: Annotated[bool, typer.Option("--local", help="a page over run folders: no account, no network")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="where to write the page, or the workspace as JSON", show_default="FOLDER"),
    ] = None,
    entity: Annotated[str | None, typer.Option(metavar="NAME", help="wandb's user or team")] = None,
    project: Annotated[str, typer.Option(metavar="NAME", help="wandb's project")] = "ohlora_gan",
) -> str:
    """Shows all runs on one page (--local), or makes a wandb workspace and a report with the same sections: training,
    filters, vectors, sweep.

    The workspace needs an account (wandb login) and runs that were uploaded: logger.mode=online, or wandb sync of
    offline ones. With --output and without --entity it is written as JSON instead, which needs neither.

    \b
    Examples:
      ohlora dashboard --local
      ohlora dashboard runs/chain/mini --local --output mini.html
      ohlora dashboard --entity my-team
      ohlora dashboard --output workspace.json
    """
    if local:
        from ohlora_gan.pipelines.dashboard import local_dashboard

        page = local_dashboard(path, output or path / "dashboard.html")
        return f"the page: {page.resolve()}\n{page.resolve().as_uri()}"
    from ohlora_gan.files import write_json
    from ohlora_gan.pipelines.workspace import save, spec

    if entity is None:
        if output is None:
            raise UserError(
                "whose workspace is it? give --entity NAME, or see all runs without an account: "
                "ohlora dashboard --local"
            )
        return f"the workspace: {write_json(output, spec(project=project))}"
    return "\n".join(f"the {kind}: {url}" for kind, url in save(entity, project).items())
