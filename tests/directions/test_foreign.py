import pickle

import numpy as np
import pytest

from ohlora_gan.directions.base import REFERENCE_MEDIANS, all_group_names
from ohlora_gan.directions.files import (
    boundary_property,
    direction_path,
    import_boundaries,
    import_tables,
    load_directions,
    save_directions,
    write_directions,
)


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
    found = import_tables(folder, "w")
    np.testing.assert_allclose(found.directions, -directions, atol=1e-7)
    assert (found.group_names, found.layer, found.medians) == (all_group_names(), "w", REFERENCE_MEDIANS)
    assert found.provenance["imported"] == {"format": "oh-lora csv", "source": "vectors", "sign": "down"}
    np.testing.assert_allclose(import_tables(folder, "w", sign="up").directions, directions, atol=1e-7)
    loaded = load_directions(save_directions(tmp_path / "vectors.safetensors", found))
    np.testing.assert_array_equal(loaded.direction(np.zeros(512), "hlhl"), found.directions[:, 5])
    assert list(loaded.medians) == list(REFERENCE_MEDIANS)


def test_lengths_near_one_are_mended_others_refused(published):
    folder, directions = published
    write_directions(folder, directions * np.float32(1.0009), all_group_names(), "w")
    np.testing.assert_allclose(np.linalg.norm(import_tables(folder, "w").directions, axis=2), 1, atol=1e-6)
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
    assert import_tables(folder, "mapping_split1", size=40).directions.shape == (3, 16, 40)
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
    assert import_tables(folder, "w", medians=cuts).medians == cuts
    with pytest.raises(ValueError, match="4 letters but 1 medians are known"):
        import_tables(folder, "w", medians={"lip": 0.5})
    with pytest.raises(ValueError, match="expected finite numbers"):
        import_tables(folder, "w", medians=cuts | {"hat": float("nan")})
    write_directions(tmp_path / "two", unit(3, 4, 512), all_group_names(2), "w")
    with pytest.raises(ValueError, match="2 letters but 0 medians"):
        import_tables(tmp_path / "two", "w")
    write_directions(tmp_path / "one", unit(3, 1, 512), ["all"], "w")
    assert import_tables(tmp_path / "one", "w").medians == {}
    with pytest.raises(ValueError, match="directions without groups"):
        import_tables(tmp_path / "one", "w", medians=cuts)


def test_unknown_sign_is_refused(published):
    with pytest.raises(ValueError, match="sign is 'left', expected up or down"):
        import_tables(published[0], "w", sign="left")


def test_boundaries_point_up_and_are_divided_by_their_length(tmp_path):
    vectors = unit(3, 512)
    np.save(tmp_path / "smile.npy", 3 * vectors[:1])
    np.save(tmp_path / "age_boundary.npy", vectors[1].astype(np.float64))
    np.save(tmp_path / "layers.npy", vectors[2].reshape(1, 2, 256))
    paths = {boundary_property(path): path for path in (tmp_path / "smile.npy", tmp_path / "age_boundary.npy")}
    found = import_boundaries(paths | {"hat": tmp_path / "layers.npy"}, "w")
    assert (found.properties, found.group_names) == (("smile", "age", "hat"), ["all"])
    np.testing.assert_allclose(found.directions[:, 0], vectors, atol=1e-6)
    assert found.provenance["imported"]["lengths"]["smile"] == pytest.approx(3)
    np.testing.assert_allclose(import_boundaries(paths, "w", sign="down").directions[:, 0], -vectors[:2], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((1, 512)), "only zeros"),
        (np.full((1, 512), np.nan), "512 of its numbers are not finite"),
        (np.ones((1, 40)), "vectors have 40 values, but layer 'w' of the published generator has 512"),
        (np.ones((2, 512)), r"shape [2, 512], expected [D] or [1, D]"),
        (np.ones(512, dtype=int), "holds int64, expected one array of floats"),
        (np.array({"boundary": np.ones((1, 512))}, dtype=object), "a pickle, whose loading could run code"),
        (b"", "is damaged"),
        (b"text", "a pickle"),
    ],
)
def test_unusable_boundaries_are_named(tmp_path, content, message):
    path = tmp_path / "smile.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(ValueError, match=r"smile\.npy") as error:
        import_boundaries({"smile": path}, "w")
    assert message in str(error.value)


def test_cut_off_missing_and_pickled_boundaries(tmp_path):
    path = tmp_path / "smile.npy"
    np.save(path, unit(1, 512))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"smile\.npy is damaged"):
        import_boundaries({"smile": path}, "w")
    path.write_bytes(pickle.dumps(unit(1, 512)))
    with pytest.raises(ValueError, match="a pickle"):
        import_boundaries({"smile": path}, "w")
    np.savez(tmp_path / "archive", a=unit(512))
    with pytest.raises(ValueError, match="expected one array of floats"):
        import_boundaries({"smile": tmp_path / "archive.npz"}, "w")
    with pytest.raises(ValueError, match="cannot be read"):
        import_boundaries({"smile": tmp_path / "none.npy"}, "w")
    with pytest.raises(ValueError, match="no boundaries are given"):
        import_boundaries({}, "w")
