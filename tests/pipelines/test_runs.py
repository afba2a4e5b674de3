import pytest

from ohlora_gan.models import checkpoint
from ohlora_gan.pipelines.runs import SpaceSettings, read_yaml, settings_of, vectors_file
from tests import tiny


@pytest.fixture
def run(tmp_path):
    """A run folder of settings, with its networks."""
    generator = checkpoint.save(tmp_path / "g.safetensors", {"generator": tiny.generator()})
    scorer = checkpoint.save(tmp_path / "s.safetensors", {"scorer": tiny.scorer()})
    text = f"checkpoint: {generator}\nscorer: {scorer}\nseed: 3\ntruncation_psi: 0.5\nbatch_size: 5\nn: ${{m}}\n"
    (tmp_path / "config.yaml").write_text(text)
    return tmp_path


def test_a_run_is_opened_as_it_was(run):
    space = SpaceSettings.of(settings_of(run)).open()
    assert (space.seed, space.truncation_psi, space.batch_size) == (3, 0.5, 5)
    assert checkpoint.weights_hash(space.generator) == checkpoint.weights_hash(tiny.generator())
    assert checkpoint.weights_hash(space.scorer) == checkpoint.weights_hash(tiny.scorer())


def test_a_directions_file_has_the_settings_beside_it(run):
    assert vectors_file(run) == run / "vectors.safetensors"
    assert settings_of(run / "vectors.safetensors") == settings_of(run)
    assert settings_of(run)["n"] == "${m}"


def test_what_is_asked_for_comes_first_and_nothing_else_has_a_say(run):
    asked = SpaceSettings.of(settings_of(run), scorer="other", seed=0, truncation_psi=None)
    assert (asked.scorer, asked.seed, asked.truncation_psi) == ("other", 0, 0.5)
    assert SpaceSettings.of({"checkpoint": "a", "scorer": "b", "truncation_psi": None}) == SpaceSettings("a", "b")


def test_a_folder_without_settings_has_none(tmp_path):
    assert settings_of(tmp_path) == {}
    (tmp_path / "config.yaml").write_text("- a\n- b\n")
    assert settings_of(tmp_path) == {}
    assert read_yaml(tmp_path / "config.yaml") == ["a", "b"]


@pytest.mark.parametrize("content", [b"seed: [", b"\xff\xfe", b"a: ${b"])
def test_settings_that_cannot_be_read_are_named(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.yaml cannot be read .*: expected the settings of a run"):
        settings_of(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checkpoint": "v9"}, r"names its scorer: say which it was"),
        ({"checkpoint": "v9", "scorer": "property_cnn", "seed": "x"}, r"seed is 'x', expected a whole number"),
        (
            {"checkpoint": "v9", "scorer": "property_cnn", "batch_size": [1]},
            r"batch_size is \[1\], expected a whole number",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        SpaceSettings.of(settings)
