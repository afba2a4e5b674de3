"""The wandb dashboard as code: a workspace with the sections of `reports.dashboard`, and a report with the same panels.

Both are made of the keys that `logged` and the training modules log. Building them needs no account and no network,
saving them does.
"""

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from ohlora_gan.errors import UserError
from ohlora_gan.names import EDITED_PROPERTIES
from ohlora_gan.reports.dashboard import SECTIONS

STEP = "trainer/global_step"
TEXTS = {
    "training": "Generators and scorers. A GAN's losses need not fall, they should stay in balance.",
    "filters": "Networks that say which faces are good, on faces that they have not seen.",
    "vectors": "Directions, by judges that had no part in finding them.",
    "sweep": "Many ways to find directions, on the same samples and by the same judge.",
}


def parts() -> tuple[Any, Any]:
    """The modules of workspaces and of reports; UserError where the package is missing."""
    if find_spec("wandb_workspaces") is None:
        raise UserError(
            "ohlora dashboard needs wandb-workspaces: pip install 'ohlora-gan[dashboard]', or see all runs without an "
            "account: ohlora dashboard --local"
        )
    import wandb_workspaces.reports.v2 as reports
    import wandb_workspaces.workspaces as workspaces

    return workspaces, reports


def panels() -> dict[str, list[Any]]:
    """The panels that matter, by section, in their order."""
    _, wr = parts()

    def lines(title: str, *keys: str, **how: Any) -> Any:
        return wr.LinePlot(title=title, **{"x": STEP, "y": list(keys), **how})

    def regex(title: str, pattern: str) -> Any:
        return wr.LinePlot(title=title, x=STEP, metric_regex=pattern)

    maps = [f"response_map/{judge}" for judge in ("truth", "property_cnn_judge", "landmarks")]
    edited = [f"strips/{name}" for name in EDITED_PROPERTIES]
    return {
        "training": [
            lines("losses of D and G", "train/d_loss", "train/g_loss"),
            lines("real or generated", "train/auroc"),
            wr.MediaBrowser(title="the same faces", media_keys=["samples"], num_columns=1),
            regex("mean scores", "scores/mean/.*"),
            regex("spread of scores", "scores/std/.*"),
            lines("updates a batch", "train/d_train_count", "train/g_train_count"),
            lines("loss of scorers", "train/loss", "val/loss"),
            lines("R² of scorers", "val/r2_mean"),
            regex("learning rates", "lr/.*"),
            regex("gradient norms", "gradient_norm/.*"),
            lines("images a second", "speed/images_per_second"),
            lines("memory, MB", "memory/mb", "memory/gpu_mb"),
        ],
        "filters": [
            wr.BarPlot(title="AUROC, unseen faces", metrics=["test/auroc"]),
            wr.BarPlot(title="accuracy, unseen faces", metrics=["test/accuracy"]),
            regex("validation loss of each fold", "fold_.*/val/loss"),
            regex("validation AUROC of each fold", "fold_.*/val/auroc"),
        ],
        "vectors": [
            wr.BarPlot(title="sum of correlations, by the judge", metrics=["judged/sum_corr"]),
            wr.BarPlot(title="faces that pass", metrics=["judged/pass_share"]),
            wr.BarPlot(title="worst side effect", metrics=["judged/worst_side_effect"]),
            wr.BarPlot(title="damage", metrics=["judged/damage"]),
            wr.MediaBrowser(title="strips", media_keys=edited, num_columns=1),
            wr.MediaBrowser(title="what moves what", media_keys=maps),
            wr.WeavePanelSummaryTable(table_name="judges"),
            wr.MediaBrowser(title="the page", media_keys=["report"], num_columns=1),
            lines("sampling and judging", "progress/sampling", "progress/testing", x="Step"),  # it trains nothing
        ],
        "sweep": [
            wr.WeavePanelSummaryTable(table_name="leaderboard"),
            wr.ScatterPlot(title="side effect and obedience", x="judged/worst_side_effect", y="judged/sum_corr"),
            wr.ScatterPlot(title="seconds and obedience", x="seconds/finding", y="judged/sum_corr"),
            wr.ParallelCoordinatesPlot(
                columns=[
                    wr.ParallelCoordinatesPlotColumn(metric=name)
                    for name in ("c::method.name", "c::n", "judged/sum_corr", "judged/worst_side_effect")
                ]
            ),
            wr.MediaBrowser(title="the page", media_keys=["leaderboard_page"], num_columns=1),
            wr.RunComparer(diff_only=True),
        ],
    }


def workspace(entity: str, project: str) -> Any:
    """The workspace, not yet saved."""
    ws, _ = parts()
    shown = panels()
    sections = [ws.Section(name=name, panels=shown[name], is_open=name != "filters") for name in SECTIONS]
    settings = ws.RunsetSettings(groupby=[ws.Metric("Group"), ws.Metric("JobType")])
    return ws.Workspace(entity=entity, project=project, name="ohlora_gan", sections=sections, runset_settings=settings)


def report(entity: str, project: str) -> Any:
    """The report, not yet saved: a chapter a section."""
    _, wr = parts()
    blocks: list[Any] = [wr.TableOfContents()]
    for name, shown in panels().items():
        grid = wr.PanelGrid(runsets=[wr.Runset(entity=entity, project=project)], panels=shown)
        blocks += [wr.H1(name.capitalize()), wr.P(TEXTS[name]), grid]
    return wr.Report(entity=entity, project=project, title="Faces: training, filters, vectors, sweeps", blocks=blocks)


def spec(entity: str = "ENTITY", project: str = "ohlora_gan") -> dict[str, Any]:
    """The workspace as wandb stores it, as plain data; made offline."""
    model = workspace(entity, project)._to_model()
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


def save(entity: str, project: str) -> Mapping[str, str]:
    """Saves workspace and report with the account that is logged in; their addresses, by kind.

    Raises:
        UserError: where wandb refuses, such as without an account or a network.
    """
    made: dict[str, Callable[[str, str], Any]] = {"workspace": workspace, "report": report}
    urls = {}
    for kind, build in made.items():
        try:
            one = build(entity, project)
            one.save()
            urls[kind] = str(one.url)
        except UserError:
            raise
        except Exception as error:  # whatever the client makes of a missing network, account or project
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"wandb did not take the {kind} of {entity}/{project} ({said}): log in with `wandb login` and upload a "
                f"run first, or see all runs without an account: ohlora dashboard --local"
            ) from error
    return urls
