import csv

import numpy as np
import pytest

from ohlora_gan.judging.generation_test import Case
from ohlora_gan.reports.published_tables import append_sweep_row, sweep_row, write_cases

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
