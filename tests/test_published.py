import csv

import numpy as np
import pytest

from ohlora_gan.judging.figures import Case
from ohlora_gan.latents.saved import (
    append_sweep_row,
    read_cases,
    read_medians,
    sweep_row,
    write_case_table,
    write_cases,
)

CASES = "case,svm_group_name,passed,eyes_corr,mouth_corr,sum_abs_corr\n3,hhlh,O,0.95,-0.9,1.85\n7,llll,X,nan,0.5,0.5\n"
WITH_VECTOR = CASES.replace("case,svm_group_name,passed", "case,vector_no,passed,group_name")
WITH_VECTOR = WITH_VECTOR.replace("3,hhlh,O", "3,0,O,hhlh").replace("7,llll,X", "7,0,X,llll").rstrip()
MEDIANS = "value_type,hair_color,background_score\nmean,-0.1891,0.4024\nmedian,-0.4315,0.6753\n"
DAMAGED = [
    (read_cases, CASES.replace("O", "yes"), "line 2, column 'passed': 'yes', expected 'O', 'X'"),
    (read_cases, CASES.replace("llll", "lll"), "names the groups 'hhlh', 'lll'"),
    (read_cases, CASES.replace("llll", "LLLL"), "names the groups 'LLLL'"),
    (read_cases, CASES.replace("llll", "all"), "names the groups 'all'"),
    (read_cases, CASES.replace("-0.9", "1.9"), "outside -1 to 1"),
    (read_cases, CASES.replace("1.85", "1.75"), "line 2: sum_abs_corr is not the sum"),
    (read_cases, CASES.replace("\n7,", "\n3,"), "numbers that rise"),
    (read_cases, CASES.replace("-0.9", "x"), "line 2, column 'mouth_corr': 'x' is no finite number"),
    (read_cases, CASES.replace("svm_group_name", "group"), "it lacks 'svm_group_name'"),
    (read_cases, "case,svm_group_name,passed,sum_abs_corr\n0,all,X,0\n", "expected one such as 'eyes_corr'"),
    (read_medians, MEDIANS.replace("median", "mode"), "has the rows 'mean', 'mode', expected one 'median'"),
    (read_medians, MEDIANS.replace("0.6753", "nan"), "'nan' is no finite number"),
]


@pytest.mark.parametrize("text", [CASES, WITH_VECTOR], ids=["without_vector_no", "with_vector_no"])
def test_cases_of_both_layouts(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    table = read_cases(tmp_path / "t.csv")
    assert (table.cases.tolist(), table.groups, table.passed.tolist()) == ([3, 7], ["hhlh", "llll"], [True, False])
    np.testing.assert_array_equal(table.corrs["eyes"], [0.95, np.nan])
    np.testing.assert_array_equal(table.corrs["mouth"], [-0.9, 0.5])
    np.testing.assert_allclose(table.sum_abs_corr, [1.85, 0.5])
    write_case_table(tmp_path / "again.csv", table)
    assert (tmp_path / "again.csv").read_text() == CASES


def test_medians(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(MEDIANS)
    assert read_medians(path) == {"hair_color": -0.4315, "background_mean": 0.6753}


@pytest.mark.parametrize(("read", "text", "message"), DAMAGED, ids=[message for _, _, message in DAMAGED])
def test_damaged_tables_are_named(tmp_path, read, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"t\.csv") as error:
        read(path)
    assert message in str(error.value)


# --- Tables in the published format ---

METRICS = {
    "svm_eyes_acc": 0.97284,
    "svm_mouth_acc": 0.9935,
    "svm_pose_acc": None,
    "accuracy": {"eyes": {"all": 1.0}},
}
SUMMARY = {
    "eyes_mean_corr": 0.87263,
    "mouth_mean_corr": 0.8443,
    "pose_mean_corr": 0.8813,
    "sum_mean_corr": 2.59823,
}


def test_any_properties_have_their_own_tables(tmp_path):
    names = ("lip_color", "lip")
    summary = {"lip_color_mean_corr": 0.5, "lip_mean_corr": 0.25, "sum_mean_corr": 0.75}
    row = sweep_row(100, 1.0, {"svm_lip_color_acc": 0.5, "svm_lip_acc": 0.75}, summary, properties=names)
    assert row == {"n": 100, "time": 1.0, "svm_lip_color_acc": 0.5, "svm_lip_acc": 0.75} | summary
    write_cases(tmp_path / "cases.csv", [Case(0, "all", {"lip": 0.5}, False, np.zeros((5, 2)))])
    assert (tmp_path / "cases.csv").read_text() == "case,svm_group_name,passed,lip_corr,sum_abs_corr\n0,all,X,0.5,0.5\n"


def test_cases_have_the_published_format(tmp_path):
    scores = np.zeros((50, 8))
    cases = [
        Case(0, "llll", {"eyes": 0.93034, "mouth": -0.861, "pose": -0.9453}, False, scores),
        Case(39, "hhlh", {"eyes": 0.9633, "mouth": 0.8927, "pose": 0.8851}, True, scores),
        Case(40, "all", {"eyes": 0.5, "mouth": float("nan"), "pose": 0.25}, False, scores),
    ]
    write_cases(tmp_path / "sub" / "test_result_svm_w.csv", cases)
    assert (tmp_path / "sub" / "test_result_svm_w.csv").read_text() == (
        "case,svm_group_name,passed,eyes_corr,mouth_corr,pose_corr,sum_abs_corr\n"
        "0,llll,X,0.9303,-0.861,-0.9453,2.7366\n"
        "39,hhlh,O,0.9633,0.8927,0.8851,2.7411\n"
        "40,all,X,0.5,nan,0.25,0.75\n"
    )


def test_sweep_has_the_published_columns_and_counts_on(tmp_path):
    path = tmp_path / "sweep.csv"
    append_sweep_row(path, sweep_row(240000, 21780.504, METRICS, SUMMARY, k=48000))
    append_sweep_row(path, sweep_row(4000, 10.0, METRICS | {"svm_pose_acc": 0.9917}, SUMMARY, k=800))
    assert path.read_text() == (
        ",n,k,time,svm_eyes_acc,svm_mouth_acc,svm_pose_acc,"
        "eyes_mean_corr,mouth_mean_corr,pose_mean_corr,sum_mean_corr\n"
        "0,240000,48000,21780.5,0.9728,0.9935,-,0.8726,0.8443,0.8813,2.5982\n"
        "1,4000,800,10.0,0.9728,0.9935,0.9917,0.8726,0.8443,0.8813,2.5982\n"
    )


def test_sweep_of_a_method_without_classes_has_no_k(tmp_path):
    path = tmp_path / "sweep.csv"
    mse = {f"nn_{name}_mse": 0.25 for name in ("eyes", "mouth", "pose")}
    append_sweep_row(path, sweep_row(1000, 1.0, mse, SUMMARY))
    with path.open(newline="") as file:
        header = next(csv.reader(file))
    assert header[:6] == ["", "n", "time", "nn_eyes_mse", "nn_mouth_mse", "nn_pose_mse"]


def test_sweep_with_other_columns_is_refused(tmp_path):
    path = tmp_path / "sweep.csv"
    append_sweep_row(path, sweep_row(1000, 1.0, METRICS, SUMMARY, k=200))
    before = path.read_text()
    with pytest.raises(ValueError, match="use another file"):
        append_sweep_row(path, sweep_row(1000, 1.0, METRICS, SUMMARY))
    assert path.read_text() == before
