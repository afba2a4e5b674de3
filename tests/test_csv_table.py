import numpy as np
import pytest

from ohlora_gan.files import read_table, write_records, write_rows


def test_cells_by_column(tmp_path):
    path = tmp_path / "sub" / "t.csv"
    write_rows(path, [["", "n", "r", "who"], [0, 4000, 0.5, "a,b"], [1, "8e3", "-", "c"]])
    table = read_table(path, ends=True)
    assert table.column("who") == ["a,b", "c"]
    assert table.integers("n").tolist() == [4000, 8000]
    np.testing.assert_array_equal(table.numbers(["r", "n"], unknown=("-",)), [[0.5, 4000], [np.nan, 8000]])


def test_records_have_the_cells_that_they_have(tmp_path):
    write_records(tmp_path / "t.csv", [{"a": 1}, {"b": 2, "a": 3}])
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,\n3,2\n"
    write_records(tmp_path / "t.csv", [{"a": 1, "b": 2}], ["c", "b"])
    assert (tmp_path / "t.csv").read_text() == "c,b\n,2\n"


def test_windows_files_are_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    assert read_table(tmp_path / "t.csv", ends=True).integers("b").tolist() == [2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 lines, expected a header and at least one row"),
        (b"a,b\n", "holds 1 lines"),
        (b"a,b\n1,2\n3", "line 3: 1 cells, expected 2"),
        (b"a,a\n1,2\n", "columns 'a' more than once"),
        (b"a,b\n1,2", "the last line does not end"),
        (b"\xff\xfea\x00", "no CSV in UTF-8"),
        (b'a,b\n1,"2\n', "damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.csv") as error:
        read_table(path, ends=True)
    assert message in str(error.value)


def test_cells_that_are_no_numbers_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,0.5\n2,inf\n")
    table = read_table(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="line 3, column 'b': 'inf' is no finite number"):
        table.numbers(["a", "b"])
    (tmp_path / "t.csv").write_text("a,b\n1,0.5\n")
    with pytest.raises(ValueError, match=r"line 2, column 'b': 0\.5 is no whole number"):
        read_table(tmp_path / "t.csv").integers("b")
    with pytest.raises(ValueError, match="has the columns 'a', 'b', it lacks 'c'"):
        table.column("c")
    with pytest.raises(ValueError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
