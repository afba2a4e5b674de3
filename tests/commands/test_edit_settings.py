"""What a command line of ``ohlora edit`` asks for."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from ohlora_gan import __main__ as command_line
from ohlora_gan.editing.closed_loop import BEYOND, TARGETS
from ohlora_gan.latents.metric import METRICS, PARTS
from ohlora_gan.names import PROPERTIES
from ohlora_gan.options import EditSettings, Loop
from ohlora_gan.pipelines import edit as work


@pytest.fixture
def parse(monkeypatch, capsys):
    """``parse(words) -> settings``, or the sentence that ends the command."""

    def call(words):
        found = []

        def instead(settings):
            work.check(settings)
            found.append(settings)
            return ""

        monkeypatch.setattr(work, "edit", instead)
        code, told = command_line.main(["edit", *words.split()]), capsys.readouterr().err
        if code:
            assert code == 2
            assert told.startswith("error: ")
            assert told.count("\n") == 1
        return found[0] if found else told

    return call


def test_the_published_example_reads(parse):
    found = parse("runs/a --faces 0,1,2 --set eyes=+1 --set mouth=-0.5")
    assert found.changes == {"eyes": 1.0, "mouth": -0.5}
    assert found.faces == (0, 1, 2)
    assert found.vectors == Path("runs/a")
    assert (found.mode, found.beyond, found.models.device) == ("joint", "clip", "cpu")


def test_every_setting_reads(parse):
    found = parse(
        "--mode closed-loop --faces 4,7 --set eyes=1e0 --metric cloud --hold hair_color --hold pose --steps 5 --beyond "
        "refuse --layer mapping_split1 --frames 7 --fps 12.5 --output out --checkpoint v1 --scorer judge --device cuda "
        "--seed 9 --truncation-psi .7 --targets score --bank-dir banks"
    )
    loop, models, drawn = found.loop, found.models, found.drawn
    assert (found.mode, loop.hold) == ("closed-loop", ("hair_color", "pose"))
    assert (found.faces, found.beyond, models.device) == ((4, 7), "refuse", "cuda")
    assert (models.seed, found.truncation_psi, loop.targets, loop.bank_dir) == (9, 0.7, "score", Path("banks"))
    assert (drawn.steps, drawn.frames, drawn.fps, found.output) == (5, 7, 12.5, Path("out"))
    assert (models.checkpoint, models.scorer, loop.layer, loop.metric) == ("v1", "judge", "mapping_split1", "cloud")
    spared = parse("--mode closed-loop --set eyes=1 --region border --cloud 0").loop
    assert (spared.metric, spared.region, spared.cloud, spared.hold) == ("image", "border", 0.0, "rest")
    jittered = parse("a --set pose=1 --mode jitter --versions 3 --jitter 1 --jitter-unit one --faces 5")
    jitter = jittered.jitter
    assert (jitter.versions, jitter.jitter, jitter.jitter_unit, jittered.faces) == (3, 1.0, "one", (5,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("a", "nothing to change"),
        ("a --set eyes", "--set eyes, expected PROPERTY=STRENGTH"),
        ("a --eyes 1", "no such option: --eyes"),
        ("a eyes=1", "unexpected eyes=1, expected RUN"),
        ("a --set eyes=wide", "--set eyes=wide, expected a strength in score sigmas"),
        ("a --set eyes=nan", "--set eyes=nan, expected a strength"),
        ("a --set eyes=0", "--set eyes=0 changes nothing"),
        ("a --set eyes=1 --set eyes=2", "--set eyes= is given twice"),
        ("--set eyes=1", "RUN is missing"),
        ("a --set eyes=1 --faces a", "--faces a, expected whole numbers"),
        ("a --set eyes=1 --faces=-1", "--faces -1, expected whole numbers"),
        ("a --set eyes=1 --faces 1,1", "names a face twice"),
        ("a --set eyes=1 --faces 1 --latents b", "both say which faces"),
        ("a --set eyes=1 --mode both", "'both' is not one of 'joint', 'independent'"),
        ("a --set eyes=1 --metric image", "--metric is a setting of --mode closed-loop"),
        ("a --set eyes=1 --targets score", "--targets is a setting of --mode closed-loop"),
        ("a --set eyes=1 --metric cloud", "--metric is a setting of --mode closed-loop"),
        ("--mode closed-loop --set eyes=1 --metric cloud --region face", "--region is a setting of --metric image"),
        ("--mode closed-loop --set eyes=1 --region hair", "'hair' is not one of 'all', 'face', 'border'"),
        ("a --set eyes=1 --truncation-psi 2", "--truncation-psi is 2, expected 0.01 to 1"),
        ("a --set eyes=1 --versions 2", "--versions is a setting of --mode jitter"),
        ("a --set eyes=1 --jitter-unit one", "--jitter-unit is a setting of --mode jitter"),
        ("a --set eyes=1 --steps 4", "expected an odd number"),
        ("a --set eyes=1 --steps 2.5", "--steps is 2.5, expected a whole number"),
        ("a --set eyes=1 --steps 101", "--steps is 101, expected 3 to 99"),
        ("a --set eyes=1 --fps 0", "--fps is 0, expected 1 to 50"),
        ("a --set eyes=1 --device tpu", "'tpu' is not one of 'auto', 'cpu'"),
        ("--mode closed-loop --set eyes=1 --hold rest --hold pose", "--hold has rest and pose, expected rest alone"),
    ],
)
def test_mistakes_end_in_one_sentence(parse, arguments, message):
    assert message in parse(arguments)


def test_what_the_scorer_does_not_measure_is_said(parse):
    with pytest.raises(ValueError, match=r"'moth' is no property that the scorer measures .*did you mean mouth\?"):
        work.check_properties(parse("a --set moth=1"), PROPERTIES, None)
    with pytest.raises(ValueError, match="'beard' is no property"):
        work.check_properties(parse("--mode closed-loop --set eyes=1 --hold beard"), PROPERTIES, None)
    work.check_properties(parse("--mode closed-loop --set eyes=1 --hold pose"), PROPERTIES, None)


def test_choices_are_those_of_the_rooms_that_they_come_from():
    loop = {name: get_args(kind) for name, kind in get_type_hints(Loop).items()}
    assert (loop["targets"], loop["metric"], loop["region"]) == (TARGETS, METRICS, PARTS)
    assert set(get_args(get_type_hints(EditSettings)["beyond"])) < set(BEYOND)
