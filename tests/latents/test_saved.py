import numpy as np
import pytest

from ohlora_gan.latents.saved import SavedLatents, read_latents, save_latents, write_latents
from tests import tiny

GROUPS = ["hhlh", "llll", "hhlh"]


def make(**changes):
    rng = np.random.default_rng(0)
    corrs = {"eyes": np.array([0.95, 0.93, 0.92]), "mouth": np.array([-0.9, -0.89, -0.88])}
    known = {"groups": GROUPS, "cases": np.array([3, 7, 12]), "corrs": corrs, "origin": {"generator": "abc"}} | changes
    return SavedLatents(rng.standard_normal((3, 16)), rng.standard_normal((3, 7)), **known)


def same(found, wanted):
    np.testing.assert_array_equal(found.z, wanted.z)
    np.testing.assert_array_equal(found.label, wanted.label)
    np.testing.assert_array_equal(found.cases, wanted.cases)
    assert found.groups == wanted.groups
    assert list(found.corrs) == list(wanted.corrs)
    for name, values in wanted.corrs.items():
        np.testing.assert_array_equal(found.corrs[name], values)


def test_our_file_and_the_published_ones_hold_the_same(tmp_path):
    latents = make()
    own, values, groups = write_latents(tmp_path / "final", latents, "mapping_split2", "svm_ms2")
    assert [path.name for path in (own, values, groups)] == [
        "latents.safetensors",
        "ohlora_z_vectors_svm_ms2.csv",
        "ohlora_mapping_split2_group_names_svm_ms2.csv",
    ]
    loaded = read_latents(own)
    same(loaded, latents)
    assert loaded.origin == {"generator": "abc"}
    same(read_latents(values, groups, (16, 7)), latents)
    assert read_latents(values, sizes=(16, 7)).groups == []
    assert values.read_text().splitlines()[0] == ",".join(map(str, range(23)))
    assert groups.read_text().splitlines()[1] == "3,hhlh,O,0.95,-0.9,1.85"


def test_latents_without_label_groups_or_cases(tmp_path):
    latents = SavedLatents(np.ones((2, 16)), np.empty((2, 0)))
    same(read_latents(save_latents(tmp_path / "sub" / "l.safetensors", latents)), latents)
    latents.check(tiny.generator(label_dim=0))
    with pytest.raises(ValueError, match="z of 16 and label of 0 values, the generator takes 16 and 7"):
        latents.check(tiny.generator())
    with pytest.raises(ValueError, match="test them first"):
        write_latents(tmp_path, latents, "w", "mixed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": ["hhlh"]}, "3 latents but groups of 1"),
        ({"groups": ["hhlh", "llll", "ll"]}, "names the groups"),
        ({"cases": [1, 2]}, "3 latents but cases of 2"),
        ({"corrs": {"eyes": []}}, "3 latents but eyes of 0"),
    ],
)
def test_latents_that_contradict_themselves(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_latents_of_odd_shapes():
    with pytest.raises(ValueError, match=r"z \[0, 16\]"):
        SavedLatents(np.empty((0, 16)), np.empty((0, 7)))
    with pytest.raises(ValueError, match="not all finite"):
        SavedLatents(np.full((1, 16), np.nan), np.empty((1, 0)))


@pytest.fixture
def files(tmp_path):
    return write_latents(tmp_path, make(), "w", "mixed")


def test_damaged_values_are_named(files):
    _, values, groups = files
    text = values.read_text()
    lines = text.splitlines()
    cases = {
        "line 3: 22 cells, expected 23": "\n".join([*lines[:2], lines[2].rpartition(",")[0]]),
        "line 2, column '0': 'x' is no finite number": "\n".join([lines[0], "x" + lines[1][lines[1].index(",") :]]),
        "'nan' is no finite number": "\n".join([lines[0], "nan" + lines[1][lines[1].index(",") :]]),
        "expected '0', '1', '2' and so on": text.replace("0,1,2", "a,1,2", 1),
        "columns '0' more than once": text.replace("0,1,2", "0,0,2", 1),
        "holds 2 latents but": "\n".join(lines[:3]),
    }
    for message, damaged in cases.items():
        values.write_text(damaged)
        with pytest.raises(ValueError, match="ohlora_z_vectors") as error:
            read_latents(values, groups, (16, 7))
        assert message in str(error.value)
    values.write_text(text)
    with pytest.raises(ValueError, match="has 23 columns, expected 519: z of 512 and label of 7"):
        read_latents(values)


def test_damaged_files_of_ours_are_named(files):
    own, _, groups = files
    with pytest.raises(ValueError, match="holds its own groups"):
        read_latents(own, groups)
    own.write_bytes(own.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"latents\.safetensors holds no latents of this project, or is cut off"):
        read_latents(own)
    with pytest.raises(ValueError, match="do not exist"):
        read_latents(own.with_name("none.safetensors"))
