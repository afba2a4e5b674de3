import pickle

import numpy as np
import pytest
import torch
from conftest import PROJECT

from ohlora_gan.directions.arrays import arrays_of, boundary_property
from ohlora_gan.directions.base import REFERENCE_MEDIANS, all_group_names
from ohlora_gan.directions.files import direction_path, load_directions, save_directions, write_directions
from ohlora_gan.directions.foreign import import_boundaries, import_tables, mark_as_ours, read_sources
from tests import tiny


def unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def published(tmp_path):
    directions = unit(3, 16, 512)
    write_directions(tmp_path / "vectors", directions, all_group_names(), "w")
    return tmp_path / "vectors", directions


def test_published_files_are_turned_up(published, tmp_path):
    folder, directions = published
    found = import_tables(folder, "w", sign="down")
    np.testing.assert_allclose(found.directions, -directions, atol=1e-7)
    assert (found.group_names, found.layer, found.medians) == (all_group_names(), "w", REFERENCE_MEDIANS)
    assert found.provenance["imported"] == {
        "format": "oh-lora csv",
        "source": "vectors",
        "sign": "down",
        "sign_by": "given",
    }
    np.testing.assert_allclose(import_tables(folder, "w", sign="up").directions, directions, atol=1e-7)
    loaded = load_directions(save_directions(tmp_path / "vectors.safetensors", found))
    np.testing.assert_array_equal(loaded.direction(np.zeros(512), "hlhl"), found.directions[:, 5])
    assert list(loaded.medians) == list(REFERENCE_MEDIANS)


def test_lengths_near_one_are_mended_others_refused(published):
    folder, directions = published
    write_directions(folder, directions * np.float32(1.0009), all_group_names(), "w")
    np.testing.assert_allclose(np.linalg.norm(import_tables(folder, "w", sign="up").directions, axis=2), 1, atol=1e-6)
    directions[1, 3] *= 2.5
    write_directions(folder, directions, all_group_names(), "w")
    with pytest.raises(ValueError, match=r"mouth_change_w_vector_hhll\.csv holds a vector of length 2\.5, expected 1"):
        import_tables(folder, "w")


def test_sizes_have_to_fit(published):
    folder, _ = published
    with pytest.raises(ValueError, match=r"512 values, but layer 'w' of the given generator has 32$"):
        import_tables(folder, "w", size=32)
    write_directions(folder, unit(3, 16, 40), all_group_names(), "mapping_split1")
    with pytest.raises(ValueError, match="published generator has 2560; for another generator give --checkpoint"):
        import_tables(folder, "mapping_split1")
    assert import_tables(folder, "mapping_split1", size=40, sign="up").directions.shape == (3, 16, 40)
    write_directions(folder, unit(3, 1, 40), ["all"], "wplus")
    with pytest.raises(ValueError, match="no published length"):
        import_tables(folder, "wplus")


def test_groups_have_to_be_whole(published):
    folder, directions = published
    for prop in ("eyes", "mouth", "pose"):
        direction_path(folder, prop, "w", "hhlh").unlink()
    with pytest.raises(ValueError, match=r"lacks files of 1 groups \(hhlh\), expected all 16 of 4 letters"):
        import_tables(folder, "w")
    write_directions(folder, directions[:, :1], ["HHHH"], "w")
    with pytest.raises(ValueError, match="names the groups 'HHHH', expected names such as 'hllh'"):
        import_tables(folder, "w")


def test_medians_have_to_fit_the_groups(published, tmp_path):
    folder, _ = published
    cuts = {"lip": 0.5, "hat": 0.0, "hair": -1.0, "skin": 2.0}
    assert import_tables(folder, "w", sign="up", medians=cuts).medians == cuts
    with pytest.raises(ValueError, match="4 letters but 1 medians are known"):
        import_tables(folder, "w", sign="up", medians={"lip": 0.5})
    with pytest.raises(ValueError, match="expected finite numbers"):
        import_tables(folder, "w", sign="up", medians=cuts | {"hat": float("nan")})
    write_directions(tmp_path / "two", unit(3, 4, 512), all_group_names(2), "w")
    with pytest.raises(ValueError, match="2 letters but 0 medians"):
        import_tables(tmp_path / "two", "w", sign="up")
    write_directions(tmp_path / "one", unit(3, 1, 512), ["all"], "w")
    assert import_tables(tmp_path / "one", "w", sign="up").medians == {}
    with pytest.raises(ValueError, match="directions without groups"):
        import_tables(tmp_path / "one", "w", sign="up", medians=cuts)


def test_unknown_sign_is_refused(published):
    with pytest.raises(ValueError, match="sign is 'left', expected up or down"):
        import_tables(published[0], "w", sign="left")


def test_a_table_says_whose_it_is(published, tmp_path):
    """Only what is known is turned or left: today's runs by their mark, earlier ones by the file beside."""
    folder, directions = published
    with pytest.raises(ValueError, match="does not say whether its vectors raise or lower their property: give --sign"):
        read_sources([str(folder)])
    cuts = {"lip": 0.5, "hat": 0.0, "hair": -1.0, "skin": 2.0}
    found = import_tables(folder, "w", sign="up", medians=cuts)
    for known in ("a mark", "a file beside"):
        if known == "a mark":
            mark_as_ours(folder, found)
        else:
            (folder / "origin.json").unlink()
            save_directions(folder.parent / "vectors.safetensors", found)
        imported = read_sources([str(folder)])
        np.testing.assert_allclose(imported.directions, directions, atol=1e-7)
        assert imported.provenance["imported"]["sign_by"] == "ours"
        assert imported.medians == cuts
    mark_as_ours(folder, found)
    (folder.parent / "vectors.safetensors").unlink()
    write_directions(folder, -directions, all_group_names(), "w")  # the mark is not theirs
    with pytest.raises(ValueError, match="does not say"):
        read_sources([str(folder)])


def imported(path, name="", layer=None, generator=None, sign=None):
    return import_boundaries(list(arrays_of(path, name)), layer, generator, sign)


def test_boundaries_point_up_and_are_divided_by_their_length(tmp_path):
    vectors = unit(2, 512)
    np.save(tmp_path / "smile.npy", 3 * vectors[:1])
    np.save(tmp_path / "age_boundary.npy", vectors[1].astype(np.float64))
    found = read_sources([str(tmp_path / "smile.npy"), str(tmp_path / "age_boundary.npy")])
    assert (found.properties, found.group_names, found.layer) == (("smile", "age"), ["all"], "w")
    np.testing.assert_allclose(found.directions[:, 0], vectors, atol=1e-6)
    assert found.provenance["imported"]["lengths"]["smile"] == pytest.approx(3)
    np.testing.assert_allclose(imported(tmp_path / "smile.npy", sign="down").directions[:, 0], -vectors[:1], atol=1e-6)


VECTOR = unit(16)
LAYERED = unit(8, 16, seed=1)  # one w of 16 values for each of the 8 layers of the tiny generator
SAVED = {
    "npy": lambda path, array: np.save(path, array),
    "npz": lambda path, array: np.savez(path, whatever=array),
    "pt": lambda path, array: torch.save(torch.from_numpy(array), path),
    "pth": lambda path, array: torch.save({"direction": torch.from_numpy(array)}, path),
    "pkl": lambda path, array: path.write_bytes(pickle.dumps(array)),
}


def write_table(folder, ours):
    """A run's ``vectors/``, with its mark or without."""
    write_directions(folder, VECTOR[None, None], ["all"], "w", ("smile",))
    if ours:
        mark_as_ours(folder, import_tables(folder, "w", 16, "up"))


@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("array", "layer"),
    [
        (VECTOR, "w"),
        (5 * VECTOR[None], "w"),
        (np.tile(VECTOR, (8, 1)), "w"),
        (np.tile(VECTOR, (1, 8, 1)), "w"),
        (LAYERED, "wplus"),
        (0.1 * LAYERED[None], "wplus"),
        (LAYERED.ravel(), "wplus"),
    ],
)
def test_every_kind_of_file_and_shape(tmp_path, kind, dtype, array, layer):
    path = tmp_path / f"smile.{kind}"
    SAVED[kind](path, array.astype(dtype))
    found = imported(path, generator=tiny.generator())
    expected = VECTOR if layer == "w" else LAYERED.ravel() / np.linalg.norm(LAYERED)
    assert (found.layer, found.properties) == (layer, ("smile",))
    np.testing.assert_allclose(found.directions[0, 0], expected, atol=2e-3 if dtype == np.float16 else 1e-6)
    assert f"taken for {layer}" in found.provenance["imported"]["taken_for"]["smile"]


def pickled(path, content):
    path.write_bytes(pickle.dumps(content))


SEVERAL = {"eyes": VECTOR, "smile": LAYERED}
EQUAL_ROWS = np.tile(VECTOR, (8, 1))
HIGAN = {"boundary": VECTOR[None], "meta_data": {"manipulate_layers": "2-4"}}
TABLE = [
    ("smile.npy", "`[D]`", "w", np.save, VECTOR),
    ("smile.npy", "`[1, D]`", "w", np.save, 3 * VECTOR[None].astype(np.float64)),
    ("smile.pt", "`[L, D]`, equal rows", "w", SAVED["pt"], EQUAL_ROWS.astype(np.float16)),
    ("smile.npz", "`[1, L, D]`, equal rows", "w", SAVED["npz"], EQUAL_ROWS[None]),
    ("smile.pth", "`[L, D]`, others", "wplus", SAVED["pth"], LAYERED),
    ("smile.pkl", "`[1, L, D]`, others", "wplus", pickled, LAYERED[None].astype(np.float64)),
    ("smile.npy", "`[L x D]`, one row", "wplus", np.save, LAYERED.ravel()),
    (
        "several.npz",
        "`eyes` `[D]`, `smile` `[L, D]`",
        "wplus",
        lambda path, both: np.savez(path, eyes=both[0], smile=both[1]),
        (VECTOR, LAYERED),
    ),
    ("smile.npy", "as many values as z, other than w", "z", np.save, unit(24)),
    ("stylegan_ffhq_smile_boundary.npy", "InterFaceGAN's name without a layer", "z", np.save, unit(1, 24)),
    ("stylegan_ffhq_smile_w_boundary.npy", "InterFaceGAN's name with a layer", "w", np.save, VECTOR[None]),
    ("light_boundary.npy", "HiGAN's dict of one w, `manipulate_layers` 2-4", "wplus_2_4", np.save, HIGAN),
    ("vectors/", "tables that a run of ours wrote", "w", write_table, True),
    ("vectors/", "the same, by somebody else", "w", write_table, False),
]


@pytest.mark.parametrize(("name", "holds", "layer", "save", "content"), TABLE)
def test_the_table_of_the_docs(tmp_path, name, holds, layer, save, content):
    page = (PROJECT / "docs" / "own_generator.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` | {holds} | "))
    taken = row.split(" | ")[2].removesuffix(" |")
    assert taken.startswith((f"`{layer}`", "the layer in their names"))
    path = tmp_path / name
    save(path, content)
    net = tiny.generator(7, z_dim=24)
    if "has to be given" in taken:
        with pytest.raises(ValueError, match="give --sign up or down"):
            read_sources([str(path)], generator=net)
        return
    found = read_sources([str(path)], generator=net)
    assert found.layer == layer
    assert found.properties == (("eyes", "smile") if "both" in taken else ("light",) if "light" in name else ("smile",))
    assert found.provenance["imported"]["sign"] == "up"
    if "label" in taken:
        assert not found.directions[0, 0, 24:].any()


def test_names_become_words_and_notes_beside_arrays_are_left_out(tmp_path):
    np.save(tmp_path / "big smile-2.npy", VECTOR)
    torch.save({"direction": torch.from_numpy(VECTOR), "layer": 3, "by": "somebody"}, tmp_path / "age.pt")
    found = read_sources([str(tmp_path)], generator=tiny.generator())
    assert found.properties == ("age", "big_smile_2")
    write_directions(tmp_path, unit(1, 1, 16), ["all"], "w", ("smile",))
    with pytest.raises(ValueError, match=r"holds tables and .*age\.pt: import the arrays by their names"):
        read_sources([str(tmp_path)], generator=tiny.generator())


def test_directions_of_w_and_of_layers_meet_in_wplus(tmp_path):
    np.save(tmp_path / "smile.npy", VECTOR)
    np.save(tmp_path / "age.npy", LAYERED)
    found = read_sources([str(tmp_path)], generator=tiny.generator())
    assert (found.layer, found.properties) == ("wplus", ("age", "smile"))
    np.testing.assert_allclose(found.directions[1, 0], np.tile(VECTOR, 8) / np.sqrt(8), atol=1e-6)
    with pytest.raises(ValueError, match="8 rows that differ, one a synthesis layer, but the layer is w: give --layer"):
        imported(tmp_path / "age.npy", layer="w")


def test_boundaries_of_z(tmp_path):
    plain = tiny.generator(0, False, z_dim=24)
    np.save(tmp_path / "smile.npy", unit(24))
    np.save(tmp_path / "stylegan_celebahq_age_z_boundary.npy", unit(1, 24, seed=3))
    found = read_sources([str(tmp_path)], generator=plain)
    assert (found.layer, found.properties) == ("z", ("smile", "age"))
    np.testing.assert_allclose(found.directions[0, 0], unit(24), atol=1e-6)
    with_label = imported(tmp_path / "smile.npy", generator=tiny.generator(7, z_dim=24)).directions[0, 0]
    np.testing.assert_allclose(with_label, [*unit(24), *[0] * 7], atol=1e-6)
    np.save(tmp_path / "pose_w_boundary.npy", unit(16))
    with pytest.raises(ValueError, match=r"smile is of z, age is of z: import|pose is of w, smile is of z"):
        read_sources([str(tmp_path)], generator=plain)


def test_dicts_of_higan_are_read_inertly(tmp_path):
    about = {"manipulate_layers": "2-4", "latent_space_type": "w", "attribute": "lighting"}
    for path in (tmp_path / "light_boundary.npy", tmp_path / "light_boundary.pkl"):
        content = {"boundary": 2 * VECTOR[None], "meta_data": about, "logistic": np.float64(0.5)}
        np.save(path, content, allow_pickle=True) if path.suffix == ".npy" else path.write_bytes(pickle.dumps(content))
        found = imported(path, generator=tiny.generator())
        assert (found.layer, found.properties) == ("wplus_2_4", ("light",))
        rows = found.directions[0, 0].reshape(8, 16)
        np.testing.assert_allclose(rows[2:5], np.tile(VECTOR / np.sqrt(3), (3, 1)), atol=1e-6)
        assert not rows[:2].any()
        assert not rows[5:].any()
        assert "which its author moved in layers 2 to 4" in found.provenance["imported"]["taken_for"]["light"]
        assert imported(path, layer="w", generator=tiny.generator()).layer == "w"
        with pytest.raises(ValueError, match="give the generator that the directions are for"):
            imported(path)


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("name", ["trap.npy", "trap.pkl", "trap.npz", "trap.pt"])
def test_pickles_of_code_do_not_run(tmp_path, name):
    content, path = {"boundary": Runs(str(tmp_path / "ran"))}, tmp_path / name
    if name == "trap.npy":
        np.save(path, content, allow_pickle=True)
    elif name == "trap.npz":
        np.savez(path, a=np.array(content, dtype=object))
    elif name == "trap.pt":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=name.replace(".", "[.]")):
        imported(path)
    assert not (tmp_path / "ran").exists()


def test_several_directions_in_one_file(tmp_path):
    np.savez(tmp_path / "all.npz", eyes=VECTOR, mouth=-VECTOR)
    torch.save({"smile": torch.from_numpy(VECTOR).bfloat16()}, tmp_path / "smile.pt")
    found = read_sources([str(tmp_path / "all.npz"), str(tmp_path / "smile.pt")], generator=tiny.generator())
    assert found.properties == ("eyes", "mouth", "smile")
    with pytest.raises(ValueError, match="holds 2 arrays, expected the one of eyes"):
        read_sources([f"eyes={tmp_path / 'all.npz'}"], generator=tiny.generator())


def test_files_are_named_after_their_property():
    for name in (
        "smile",
        "smile_boundary",
        "smile_w_boundary",
        "stylegan_ffhq_smile_w_boundary",
        "pggan_celebahq_smile",
    ):
        assert boundary_property(f"folder/{name}.npy") == "smile"
    assert boundary_property("stylegan_celebahq_smile_c_age_boundary.npy") == "smile_c_age"


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("stylegan_ffhq_smile_boundary", "z"),  # InterFaceGAN's names
        ("stylegan_ffhq_smile_w_boundary", "w"),
        ("pggan_celebahq_age_c_gender_boundary", "z"),
        ("stylegan_ffhq_age_c_gender_w_boundary", "w"),
        ("smile_boundary", "w"),
        ("smile", "w"),
    ],
)
def test_names_tell_z_from_w_where_both_are_as_long(tmp_path, name, layer):
    np.save(tmp_path / f"{name}.npy", VECTOR[None])
    found = imported(tmp_path / f"{name}.npy", generator=tiny.generator(0, False))
    assert found.layer == layer
    assert f"taken for {layer}" in found.provenance["imported"]["taken_for"][found.properties[0]]


def test_a_single_table_needs_its_sign(tmp_path):
    write_directions(tmp_path, unit(1, 1, 16), ["all"], "w", ("smile",))
    path = tmp_path / "smile_change_w_vector_all.csv"
    with pytest.raises(ValueError, match="does not say whether"):
        read_sources([f"smile={path}"], generator=tiny.generator())
    found = read_sources([f"smile={path}"], generator=tiny.generator(), sign="down")
    np.testing.assert_allclose(found.directions[0], -unit(1, 16), atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((1, 512)), "only zeros"),
        (np.full((1, 512), np.nan), "512 of its numbers are not finite"),
        (np.ones((1, 40)), "vectors have 40 values, but layer 'w' of the published generator has 512"),
        (np.ones((2, 3, 512)), "shape [2, 3, 512], expected [D], [1, D], [L, D] or [1, L, D]"),
        (np.float32(3), "shape [], expected"),
        (np.ones(512, dtype=int), "holds int64, expected arrays of floats"),
        (np.array({"boundary": "text"}, dtype=object), "holds a str, expected arrays of floats"),
        (unit(18, 512), "layer 'wplus' has no published length: give the generator"),
        (b"", "is damaged"),
        (b"text", "is damaged"),
        (b"\x93NUMPY\x01\x00", "is damaged"),
    ],
)
def test_unusable_boundaries_are_named(tmp_path, content, message):
    path = tmp_path / "smile.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(ValueError, match=r"smile\.npy|wplus") as error:
        imported(path)
    assert message in str(error.value)


def test_cut_off_and_missing_boundaries(tmp_path):
    path = tmp_path / "smile.npy"
    np.save(path, unit(1, 512))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"smile\.npy is damaged"):
        imported(path)
    for name in ("none.npy", "none.pt", "none.npz", "none.pkl"):
        with pytest.raises(ValueError, match="cannot be read"):
            imported(tmp_path / name)
    with pytest.raises(ValueError, match="no boundaries are given"):
        import_boundaries([])
