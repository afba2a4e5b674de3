"""``python -m ohlora_gan.edit``: changes faces along found directions, or by a closed loop, and shows how it went."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ohlora_gan.calibration import calibrate
from ohlora_gan.checkpoint import weights_hash
from ohlora_gan.closed_loop import ClosedLoop
from ohlora_gan.command import answer
from ohlora_gan.devices import Device, keep_freed_memory
from ohlora_gan.directions.base import ALL
from ohlora_gan.directions.storage import DirectionSet, load_directions
from ohlora_gan.edit_files import write_all
from ohlora_gan.edit_session import Limits, OpenLoop, Session, TowardsTargets, open_faces
from ohlora_gan.edit_settings import HELP, EditSettings, check_properties, parse
from ohlora_gan.finders import open_directions
from ohlora_gan.latents.layers import Layer, layer_named
from ohlora_gan.latents.metric import make_metric
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.pretrained import open_generator, open_scorer
from ohlora_gan.progress import progress_bar
from ohlora_gan.safe_range import SafeRange

NUM_CALIBRATION, CHECKPOINT, SCORER = 64, "v9", "property_cnn"


def vectors_file(path: Path) -> Path:
    """The directions file of a run folder, or the file itself."""
    return path / "vectors.safetensors" if path.is_dir() else path


def models(settings: EditSettings) -> tuple[str, str]:
    """Generator and scorer: as asked for, else those of the run that found the vectors, else the shipped ones."""
    recorded: Any = {}
    if settings.vectors is not None:
        config = vectors_file(settings.vectors).with_name("config.yaml")
        try:
            recorded = OmegaConf.to_container(OmegaConf.load(config), resolve=False) if config.is_file() else {}
        except (OSError, OmegaConfBaseException, YAMLError) as error:
            raise ValueError(f"{config} cannot be read, expected the settings of a find_vectors.py run") from error
    recorded = recorded if isinstance(recorded, dict) else {}
    checkpoint = settings.checkpoint or recorded.get("checkpoint") or CHECKPOINT
    return str(checkpoint), str(settings.scorer or recorded.get("scorer") or SCORER)


def check_directions(settings: EditSettings, found: DirectionSet) -> None:
    """Raises ValueError where there is no direction for what is to be changed, or nothing says for which faces."""
    missing = [name for name in settings.changes if name not in found.properties]
    if missing:
        raise ValueError(
            f"vectors={settings.vectors} has no direction for {', '.join(missing)}, it has "
            f"{', '.join(found.properties)}: find one with find_vectors.py properties=[{','.join(missing)}], or use "
            f"mode=closed_loop"
        )
    if found.group_names != [ALL] and not found.medians:
        raise ValueError(
            f"vectors={settings.vectors} has groups of faces but not the medians that tell them apart: give them to "
            f"import_vectors with --medians"
        )


def strangers(found: DirectionSet, space: FaceSpace) -> list[str]:
    """Which of generator and scorer are others than those that the directions were found with, if that is known."""
    networks = {"generator": space.generator, "scorer": space.scorer}
    return [n for n, net in networks.items() if found.provenance.get(n) not in (None, weights_hash(net))]


def open_session(settings: EditSettings, space: FaceSpace, layer: Layer, found: DirectionSet | None) -> Session:
    """Faces, the way they move, and the range they are held in.

    Raises:
        ValueError: where ``beyond=refuse`` and a target lies outside the range.
    """
    closed = settings.mode == "closed_loop"
    medians = {} if found is None or closed else found.medians
    faces = open_faces(space, layer, settings.seeds, settings.latents, medians)
    loop = None
    if closed:
        with progress_bar("metric", 1) as report:
            loop = ClosedLoop(space, layer, make_metric(settings.metric, space, layer, progress=report))
    limits = Limits(loop.safe_range if loop else SafeRange.sampled(space, layer), space.property_names)
    words = limits.beyond(faces, settings.changes)
    if words and settings.beyond == "refuse":
        raise ValueError(f"{words[0]}: give a smaller strength, or beyond=clip")
    if loop:
        return Session(space, layer, faces, TowardsTargets(loop, faces, settings.keep), limits)
    assert found is not None
    if found.slopes is None or strangers(found, space):
        found = calibrate(space, layer, found, num_latents=NUM_CALIBRATION)
    return Session(space, layer, faces, OpenLoop(found, faces), limits)


def edit(settings: EditSettings) -> str:
    """Edits faces and writes pictures, an animation and ``edit.json``; says in a table how near the scores came.

    Raises:
        ValueError: for anything in the settings that cannot be used, in one sentence.
    """
    closed = settings.mode == "closed_loop"
    device = Device(settings.device, accelerator=settings.device).check()
    found = None if settings.vectors is None else load_directions(vectors_file(settings.vectors))
    checkpoint, scorer = models(settings)
    space = FaceSpace(open_generator(checkpoint), open_scorer(scorer), device)
    check_properties(settings, space.property_names)
    if found is not None and not closed:
        check_directions(settings, found)
    layer = layer_named(settings.layer if found is None else found.layer)
    layer.check(space.generator)
    notes: list[str] = []
    if settings.vectors is not None and not closed:
        found = open_directions(vectors_file(settings.vectors), space, layer)
        text = "the vectors were found with another {}: strengths are measured anew"
        notes += [text.format(which) for which in strangers(found, space)]
    session = open_session(settings, space, layer, found)
    notes += [f"{text}: held there" for text in session.limits.beyond(session.faces, settings.changes)]
    output = settings.output or Path("runs/edit") / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return write_all(session, settings, output, {"checkpoint": checkpoint, "scorer": scorer}, notes)


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(HELP)
        return 0
    keep_freed_memory()
    return answer(lambda: edit(parse(given)))


if __name__ == "__main__":
    sys.exit(main())
