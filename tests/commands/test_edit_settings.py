from pathlib import Path

import pytest

from ohlora_gan.commands.edit_settings import HELP, READERS, check_properties, parse
from ohlora_gan.names import PROPERTIES


def test_the_published_example_reads():
    found = parse(["vectors=runs/a", "seeds=[0,1,2]", "eyes=+1", "mouth=-0.5"])
    assert found.changes == {"eyes": 1.0, "mouth": -0.5}
    assert found.seeds == (0, 1, 2)
    assert found.vectors == Path("runs/a")
    assert (found.mode, found.beyond, found.device) == ("joint", "clip", "cpu")


def test_every_setting_reads():
    closed_loop = (
        "mode=closed_loop seeds=[4,7] eyes=1e0 metric=cloud keep=[hair_color,pose] steps=5 beyond=refuse "
        "layer=mapping_split1 frames=7 fps=12.5 output=out checkpoint=v1 scorer=judge device=cuda seed=9 "
        "truncation_psi=.7 targets=score paths.bank_dir=banks"
    )
    found = parse(closed_loop.split())
    assert found.keep == ("hair_color", "pose")
    assert (found.seeds, found.beyond, found.device) == ((4, 7), "refuse", "cuda")
    assert (found.seed, found.truncation_psi, found.targets, found.bank_dir) == (9, 0.7, "score", Path("banks"))
    assert (found.steps, found.frames, found.fps, found.output) == (5, 7, 12.5, Path("out"))
    assert (found.checkpoint, found.scorer, found.layer, found.metric) == ("v1", "judge", "mapping_split1", "cloud")
    spared = parse(["mode=closed_loop", "eyes=1", "region=border", "cloud=0"])
    assert (spared.metric, spared.region, spared.cloud) == ("image", "border", 0.0)
    jittered = parse(["vectors=a", "pose=1", "mode=jitter", "versions=3", "jitter=1", "jitter_unit=one", "seeds=5"])
    assert (jittered.versions, jittered.jitter, jittered.jitter_unit, jittered.seeds) == (3, 1.0, "one", (5,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("vectors=a", "nothing to change"),
        ("vectors=a eyes", "'eyes' is no KEY=VALUE"),
        ("vectors=a --eyes=1", "'--eyes=1' is no KEY=VALUE"),
        ("vectors=a eyes=wide", "eyes=wide, expected a strength in score sigmas"),
        ("vectors=a eyes=nan", "eyes=nan, expected a strength"),
        ("vectors=a eyes=0", "eyes=0 changes nothing"),
        ("vectors=a eyes=1 eyes=2", "eyes= is given twice"),
        ("vectors=a vectors=b eyes=1", "vectors= is given twice"),
        ("vectors= eyes=1", "vectors= has no value"),
        ("eyes=1", "vectors= is missing"),
        ("vectors=a eyes=1 seeds=[a]", r"seeds=\[a\], expected whole numbers"),
        ("vectors=a eyes=1 seeds=[-1]", r"seeds=\[-1\], expected whole numbers"),
        ("vectors=a eyes=1 seeds=[1,1]", "names a face twice"),
        ("vectors=a eyes=1 seeds=[1] latents=b", "both say which faces"),
        ("vectors=a eyes=1 mode=both", "mode=both, expected one of joint, independent"),
        ("vectors=a eyes=1 metric=image", "metric= is a setting of mode=closed_loop"),
        ("vectors=a eyes=1 targets=score", "targets= is a setting of mode=closed_loop"),
        ("mode=closed_loop eyes=1 metric=cloud region=face", "region= is a setting of metric=image"),
        ("mode=closed_loop eyes=1 region=hair", "region=hair, expected one of all, face, border"),
        ("vectors=a eyes=1 truncation_psi=2", "truncation_psi=2, expected a number from 0.01 to 1"),
        ("vectors=a eyes=1 versions=2", "versions= is a setting of mode=jitter"),
        ("vectors=a eyes=1 mode=closed_loop layer=w", "leave one of them out"),
        ("vectors=a eyes=1 steps=4", "expected an odd number"),
        ("vectors=a eyes=1 steps=2.5", "steps=2.5, expected a whole number from 3 to 99"),
        ("vectors=a eyes=1 fps=0", "fps=0, expected a number from 1 to 50"),
        ("vectors=a eyes=1 device=tpu", "device=tpu, expected one of cpu"),
        ("mode=closed_loop eyes=1 keep=pose", "keep=pose, expected rest, none, or names"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(arguments.split())
    assert "\n" not in str(error.value)


def test_what_the_scorer_does_not_measure_is_said():
    with pytest.raises(ValueError, match=r"'moth' is neither a setting nor a property .*did you mean mouth\?"):
        check_properties(parse(["vectors=a", "moth=1"]), PROPERTIES)
    with pytest.raises(ValueError, match=r"'stepps' is neither .*did you mean steps\?"):
        check_properties(parse(["vectors=a", "eyes=1", "stepps=5"]), PROPERTIES)
    with pytest.raises(ValueError, match="'beard' is neither"):
        check_properties(parse(["mode=closed_loop", "eyes=1", "keep=[beard]"]), PROPERTIES)
    check_properties(parse(["mode=closed_loop", "eyes=1", "keep=[pose]"]), PROPERTIES)


def test_the_help_names_every_setting():
    assert [key for key in READERS if f"{key}=" not in HELP] == []
