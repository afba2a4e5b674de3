"""Input of users that is odd and not damaged: labels, pictures, tables, values of settings."""

import ast
import os
import zipfile

import numpy as np
import pytest
from conftest import PROJECT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from omegaconf import OmegaConf
from PIL import Image

from ohlora_gan.checked import RANGES, check_ranges, fits, words
from ohlora_gan.data.datamodules import ImageFolderDataModule
from ohlora_gan.data.labels import Rows, read_labels
from ohlora_gan.data.pictures import PictureSource
from ohlora_gan.errors import UserError, sentence
from ohlora_gan.files import harmless, is_number, meant, read_table, write_rows
from ohlora_gan.pipelines.checks import check_regression
from ohlora_gan.pipelines.values import TYPES, check_value, check_values

SOURCE = PROJECT / "src" / "ohlora_gan"
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FAST = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
KEYS = [(task, key, hint) for task, hints in TYPES.items() for key, hint in hints.items()]


@pytest.mark.parametrize(("task", "key", "hint"), KEYS)
@FAST
@given(value=PLAIN)
def test_a_value_is_of_its_settings_type_or_is_told_in_a_sentence(task, key, hint, value):
    """No other type passes in silence: what passes is of the annotated type, what does not names key and value."""
    said = ""
    try:
        check_value(key, value, hint)
    except UserError as error:
        said = str(error)
    if said:
        assert said.startswith(key)
        assert "expected" in said
        return
    assert fits(value, hint)
    if isinstance(value, bool):
        assert "true or false" in words(hint)
    if isinstance(value, float):
        assert np.isfinite(value)


@FAST
@given(st.sampled_from(sorted(RANGES)), st.integers() | st.floats())
def test_a_number_is_in_the_range_of_its_name_wherever_it_stands(name, value):
    low, high = RANGES[name]
    nested = {"model": {"module": {name: [value]}}}
    if low <= value <= high:  # no infinity, and no NaN
        check_ranges(nested)
    else:
        with pytest.raises(UserError, match=rf"model\.module\.{name} is "):
            check_ranges(nested)


@FAST
@given(st.text(max_size=9) | st.from_regex(r"'*[=+@-][a-z0-9.]*", fullmatch=True))
def test_a_cell_of_a_table_computes_nothing_and_is_read_as_it_was(cell):
    assert meant(harmless(cell)) == cell
    assert is_number(harmless(cell)) or cell == "-" or harmless(cell)[:1] not in ("=", "+", "-", "@", "\t", "\r")


@pytest.mark.parametrize(
    "value",
    [
        *("data.batch_size=0", "data.num_workers=-1", "data.num_val=true", "data.mirror=maybe", "data.min_size=-1"),
        *("data.strict=5", "data.batch_size=1.5", "data.folder=5", "data.missing=-999", "data.crop=true"),
    ],
)
def test_a_setting_of_a_class_is_checked_by_its_annotations(value):
    key = value.partition("=")[0]
    node = {"_target_": "ohlora_gan.data.datamodules.ImageFolderDataModule", "folder": "x"}
    content = {"data": node | OmegaConf.to_container(OmegaConf.from_dotlist([value]))["data"]}
    with pytest.raises(UserError, match=rf"{key} is .*, expected"):
        check_values(OmegaConf.create(content), "train")


# --- Labels ---


@pytest.fixture
def labelled(tmp_path):
    """``labelled(text, N, ...)``: a data module of N pictures 00.png, ... and a table of labels."""

    def make(text, num, **more):
        folder = tmp_path / "p"
        folder.mkdir(exist_ok=True)
        for i in range(num):
            Image.new("RGB", (20, 20), (i, 9 * i % 256, 0)).save(folder / f"{i:02}.png")
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        return ImageFolderDataModule(folder, 16, 2, labels=tmp_path / "labels.csv", **more)

    return make


def rows(num, cell, separator=","):
    return f"file{separator}lip\n" + "".join(f"{i:02}.png{separator}{cell(i)}\n" for i in range(num))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators(labelled, separator):
    data = labelled(rows(20, lambda i: i / 10, separator), 20)
    assert data.attribute_names == ("lip",)
    assert data.normalization.mean["lip"] > 0


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("True", "False"), ("TRUE", "FALSE"), ("1", "0"), ("1", "-1")])
def test_yes_and_no(labelled, yes, no):
    data = labelled(rows(20, lambda i: yes if i % 2 else no), 20)
    assert set(data.dataset("train").scores[:, 0].tolist()) == {0.0, 1.0}


def test_marks_for_unknown_are_refused_until_something_is_said_of_them(labelled):
    text = rows(24, lambda i: -999 if i % 8 == 0 else i / 24)
    with pytest.raises(ValueError, match=r"column 'lip': -999 in 3 of 24 rows .*data\.missing=\[-999\]"):
        labelled(text, 24)
    assert len(labelled(text, 24, missing=[-999]).pictures) == 21
    assert len(labelled(text, 24, missing=None).pictures) == 24


@pytest.mark.parametrize("cell", [lambda i: i, lambda i: (-1) ** i, lambda i: 99 - i, lambda i: 9 * i, lambda i: -9])
def test_values_that_are_no_marks_are_taken(labelled, tmp_path, cell):
    (tmp_path / "l.csv").write_text(rows(30, cell))
    assert len(read_labels(tmp_path / "l.csv").columns["lip"]) == 30


@pytest.mark.parametrize(("num", "num_val"), [(9, 0), (15, 2), (40, 4)])
def test_a_split_that_figures_are_made_of_has_two_pictures(labelled, num, num_val):
    data = labelled(rows(num, lambda i: i), num)
    assert len(data.dataset("val")) == len(data.dataset("test")) == num_val
    check_regression("attribute_cnn", ["lip"], [], data)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_one_picture_is_refused(labelled, split):
    data = labelled(rows(15, lambda i: i), 15, **{f"num_{split}": 1})
    with pytest.raises(ValueError, match=f"one picture for {split}.*give data.num_{split}=0, or 2 or more"):
        check_regression("attribute_cnn", ["lip"], [], data)


# --- Pictures ---


def test_a_file_name_that_is_no_utf_8_is_left_out_and_listed(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    for name in (b"a.png", b"caf\xe9.png", b"two\nlines.png", "schön\u202f1.png".encode()):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            Image.new("RGB", (20, 20)).save(file, "PNG")
    report = tmp_path / "skipped.csv"
    data = ImageFolderDataModule(folder, 16, 1, report=report)
    assert data.pictures.names == ["a.png", "schön\u202f1.png"]
    assert sorted(read_table(report).column("file")) == ["caf\\xe9.png", "two\\nlines.png"]
    with pytest.raises(ValueError, match="rename it"):
        ImageFolderDataModule(folder, 16, 1, strict=True)


def test_a_skipped_picture_named_as_a_formula_computes_nothing(tmp_path):
    (tmp_path / "p").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "p" / "a.png")
    for name in ("=cmd.png", "@SUM.png", "+1.png", "-x.png"):
        (tmp_path / "p" / name).write_bytes(b"x")
    ImageFolderDataModule(tmp_path / "p", 16, 1, report=tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_text()
    assert all(f"\n'{name}," in text for name in ("=cmd.png", "@SUM.png", "+1.png", "-x.png"))
    assert {"=cmd.png", "@SUM.png"} <= set(read_table(tmp_path / "s.csv").column("file"))


def test_a_table_that_grows_keeps_odd_names(tmp_path):
    table = Rows(tmp_path / "t.csv", ["reason"])
    table.add("=cmd.png", "-1")
    table.add("'=b.png", "@x")
    assert Rows(tmp_path / "t.csv", ["reason"]).cells == {"=cmd.png": ("-1",), "'=b.png": ("@x",)}
    write_rows(tmp_path / "u.csv", [["a", "b"], ["=1+1", -0.5]])
    assert (tmp_path / "u.csv").read_text() == "a,b\n'=1+1,-0.5\n"


def test_names_in_a_zip_lead_nowhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("ok/a.png", "../up.png", "/root.png", "c:/drive.png", "back\\slash.png", "x//y.png"):
            archive.writestr(zipfile.ZipInfo(name), b"x")
    assert PictureSource(tmp_path / "p.zip").names == ["ok/a.png"]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_pictures_and_descriptions_are_opened_in_one_place(path):
    """``Image.open`` knows formats that start programs, YAML expands without end, and pickles run code."""
    if path.name == "reading.py":
        return
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = {ast.unparse(call) for call in calls}
    ours = {"OmegaConf.load"} if path.name == "settings.py" else set()  # our own configs
    assert (
        not named
        & {"Image.open", "yaml.load", "yaml.safe_load", "OmegaConf.load", "pickle.load", "pickle.loads"} - ours
    )


def test_errors_of_a_corpus_are_sentences():
    assert sentence(UserError("x is 1, expected 2")) == "x is 1, expected 2"
    assert sentence(InvalidArgument("a library's")) is None
