"""Tables of labels: what is read, what is refused and how that is said."""

import numpy as np
import pytest

from ohlora_gan.data.labels import choose, match_rows, read_labels, read_partition

CSV = "file,lip_color,woman,known,note\na.png,1.5,-1,1,red\nsub/b.png,2.5,1,,dark\nc.png,,1,0,\n"
CELEBA = "2\nMale Young \n000001.jpg -1  1\n000002.jpg  1 -1\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="labels.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_a_csv(write):
    labels = read_labels(write(CSV))
    assert labels.files == ["a.png", "sub/b.png", "c.png"]
    assert labels.text == ("note",)
    np.testing.assert_array_equal(labels.columns["lip_color"], [1.5, 2.5, np.nan])
    np.testing.assert_array_equal(labels.columns["woman"], [0, 1, 1])
    np.testing.assert_array_equal(labels.columns["known"], [1, np.nan, 0])


def test_celebas_list(write):
    labels = read_labels(write(CELEBA, "list_attr_celeba.txt"))
    assert labels.files == ["000001.jpg", "000002.jpg"]
    np.testing.assert_array_equal(labels.columns["Male"], [0, 1])
    np.testing.assert_array_equal(choose(labels, {"age": "not Young"})["age"], [0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the file name first"),
        ("file lip\na.png 1\n", "separated by commas"),
        ("file,lip,lip\na.png,1,2\n", "different names"),
        ("file,lip\na.png,1,2\n", "line 2: 3 cells, expected 2"),
        ("file,lip\na.png,1\nb.png,red\n", r"line 3, column 'lip': 'red' is no number"),
        ("file,lip\na.png,1\nb.png,inf\n", r"line 3, column 'lip': 'inf' is no number"),
        ("file,lip\na.png,1\nb.png,1\na.png,2\n", r"'a\.png' twice, in lines 2 and 4"),
        ("3\nMale\na.jpg 1\nb.jpg 1\n", "hold 2 rows, expected 3 as line 1 says"),
    ],
)
def test_damaged_tables_are_refused(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_labels(write(text))


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv cannot be read"):
        read_labels(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        read_labels(tmp_path / "a.csv")


def test_attributes_are_chosen_and_renamed(write):
    labels = read_labels(write(CSV))
    assert list(choose(labels, None)) == ["lip_color", "woman", "known"]
    assert list(choose(labels, ["woman", "lip_color"])) == ["woman", "lip_color"]
    chosen = choose(labels, {"lips": "lip_color", "man": "not woman"})
    np.testing.assert_array_equal(chosen["man"], [1, 0, 0])
    np.testing.assert_array_equal(chosen["lips"], labels.columns["lip_color"])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (["hat"], "'hat', which labels .+ lack, expected one of lip_color, woman, known"),
        (["note"], "'note' of labels .+ holds no numbers"),
        ({"pale": "not lip_color"}, "'not lip_color', but that column is not binary"),
        ({"lips.red": "lip_color"}, r"'lips\.red' has a '\.'"),
        ([], "have no column of numbers"),
    ],
)
def test_attributes_that_cannot_be_had(write, attributes, message):
    with pytest.raises(ValueError, match=message):
        choose(read_labels(write(CSV)), attributes)


def test_rows_find_their_pictures(write):
    labels = read_labels(write(CSV))
    assert match_rows(labels, ["a.png", "x/sub/b.png", "deep/er/c.png", "d.png"]) == {
        "a.png": 0,
        "x/sub/b.png": 1,
        "deep/er/c.png": 2,
    }
    assert match_rows(labels, ["a.png", "x/a.png"]) == {"a.png": 0}  # the whole path counts first


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x/a.png", "y/a.png"], r"'a\.png', which fits x/a\.png and y/a\.png"),
        (["z.png"], r"no picture .+ it names 'a\.png', the folder holds 'z\.png'"),
    ],
)
def test_rows_that_fit_badly(write, names, message):
    with pytest.raises(ValueError, match=message):
        match_rows(read_labels(write(CSV)), names)


def test_two_rows_for_a_picture(write):
    labels = read_labels(write("file,lip\na.png,1\n./a.png,2\n"))
    with pytest.raises(ValueError, match=r"two rows for a\.png"):
        match_rows(labels, ["a.png"])


def test_partition(write):
    names = ["img/a.png", "img/b.png", "img/c.png"]
    for text in ("a.png 0\nb.png 2\nc.png 1\nd.png 1\n", "image_id,partition\na.png,0\nb.png,2\nc.png,1\n"):
        assert read_partition(write(text), names).tolist() == [0, 2, 1]
    for text, message in (("a.png 3\n", r"line 'a\.png 3'"), ("a.png 0\n", "which split img/b"), ("", "no picture")):
        with pytest.raises(ValueError, match=message):
            read_partition(write(text), names)
