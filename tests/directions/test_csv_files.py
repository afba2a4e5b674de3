import numpy as np
import pytest

from ohlora_gan.directions.files import direction_path, read_directions, write_directions


def test_directions_survive_exactly(tmp_path):
    directions = np.random.default_rng(0).standard_normal((3, 2, 40)).astype(np.float32)
    directions[0, 0, :3] = [1e-7, -0.0, 3.4e38]
    paths = write_directions(tmp_path / "new", directions, ["hhhh", "llll"], "mapping_split2")
    assert len(paths) == len(set(paths)) == 6
    found = read_directions(tmp_path / "new", "mapping_split2")
    assert found.group_names == ["hhhh", "llll"]
    assert found.properties == ("eyes", "mouth", "pose")
    assert found.directions.dtype == np.float32
    np.testing.assert_array_equal(found.directions, directions)


def test_direction_file_has_the_published_format(tmp_path):
    write_directions(tmp_path, np.float32([[[0.031425178, -0.00019795272]]] * 3), ["all"], "w")
    path = tmp_path / "pose_change_w_vector_all.csv"
    assert path == direction_path(tmp_path, "pose", "w", "all")
    assert path.read_bytes() == b",0,1\n0,0.031425178,-0.00019795272\n"


def test_any_properties_in_any_order(tmp_path):
    names, directions = ("lip_color", "lip"), np.float32([[[1, 2]], [[3, 4]]])
    paths = write_directions(tmp_path, directions, ["all"], "w", names)
    assert [path.name for path in paths] == ["lip_color_change_w_vector_all.csv", "lip_change_w_vector_all.csv"]
    found = read_directions(tmp_path, "w")
    assert found.properties == ("lip", "lip_color")
    np.testing.assert_array_equal(found.directions, directions[::-1])
    write_directions(tmp_path, np.float32([[[5, 6]], [[7, 8]]]), ["all"], "w", ("pose", "eyes"))
    found = read_directions(tmp_path, "w")
    assert found.properties == ("eyes", "pose", "lip", "lip_color")
    np.testing.assert_array_equal(found.directions[:, 0, 0], [7, 5, 3, 1])


def test_layers_in_one_folder_stay_apart(tmp_path):
    write_directions(tmp_path, np.full((3, 1, 4), 1.0), ["all"], "w")
    write_directions(tmp_path, np.full((3, 2, 5), 2.0), ["hhhh", "llll"], "mapping_split1")
    found = read_directions(tmp_path, "w")
    assert found.group_names == ["all"]
    assert found.directions.max() == 1.0


def test_directions_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[3, 1, 4\], expected \[3, 2, D\]"):
        write_directions(tmp_path, np.zeros((3, 1, 4)), ["a", "b"], "w")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds 0 lines"),
        (",0,1\n", "holds 1 lines"),
        (",0,1\n0,1.0,x\n", "line 2, column '1': 'x' is no finite number"),
        (",0,1\n0,1.0\n", "line 2: 2 cells, expected 3"),
        (",0,1\n0,1.0,2.", "the last line does not end"),
        (",0,1\n0,1.0,nan\n", "'nan' is no finite number"),
        (",0,1\n0,1.0,2.0\n1,1.0,2.0\n", "holds 2 rows, expected one"),
        (",0,0\n0,1.0,2.0\n", "columns '0' more than once"),
        (",1,0\n0,1.0,2.0\n", "expected '', '0', '1'"),
        ("a,0,1\n0,1.0,2.0\n", "expected '', '0', '1'"),
        (',0,1\n0,1.0,"2.0\n', "damaged"),
    ],
)
def test_broken_direction_file_is_named(tmp_path, text, message):
    write_directions(tmp_path, np.ones((3, 1, 2)), ["all"], "w")
    direction_path(tmp_path, "mouth", "w", "all").write_text(text)
    with pytest.raises(ValueError, match=r"mouth_change_w_vector_all\.csv") as error:
        read_directions(tmp_path, "w")
    assert message in str(error.value)


def test_a_file_in_another_encoding_is_named(tmp_path):
    write_directions(tmp_path, np.ones((3, 1, 2)), ["all"], "w")
    direction_path(tmp_path, "mouth", "w", "all").write_bytes(",0,1\n0,1,2\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"mouth_change_w_vector_all\.csv is no CSV in UTF-8"):
        read_directions(tmp_path, "w")


def test_missing_and_odd_direction_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="no direction files of layer 'w'"):
        read_directions(tmp_path, "w")
    with pytest.raises(ValueError, match="nowhere is no folder"):
        read_directions(tmp_path / "nowhere", "w")
    write_directions(tmp_path, np.ones((3, 2, 2)), ["a", "b"], "w")
    with pytest.raises(ValueError, match="but files of the layers 'w'"):
        read_directions(tmp_path, "z")
    write_directions(tmp_path / "other", np.ones((3, 1, 5)), ["a"], "w")
    odd = direction_path(tmp_path, "eyes", "w", "a")
    odd.write_bytes(direction_path(tmp_path / "other", "eyes", "w", "a").read_bytes())
    with pytest.raises(ValueError, match=r"different sizes \[2, 5\]"):
        read_directions(tmp_path, "w")
    odd.unlink()
    with pytest.raises(ValueError, match=r"eyes_change_w_vector_a\.csv is missing"):
        read_directions(tmp_path, "w")
