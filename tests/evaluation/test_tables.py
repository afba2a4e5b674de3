import csv

import numpy as np
import pytest

from ohlora_gan.evaluation.generation_test import Case
from ohlora_gan.evaluation.tables import (
    append_sweep_row,
    direction_path,
    read_directions,
    sweep_row,
    write_cases,
    write_directions,
)

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


def test_directions_survive_exactly(tmp_path):
    directions = np.random.default_rng(0).standard_normal((3, 2, 40)).astype(np.float32)
    directions[0, 0, :3] = [1e-7, -0.0, 3.4e38]
    paths = write_directions(tmp_path / "new", directions, ["hhhh", "llll"], "mapping_split2")
    assert len(paths) == len(set(paths)) == 6
    found, names = read_directions(tmp_path / "new", "mapping_split2")
    assert names == ["hhhh", "llll"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, directions)


def test_direction_file_has_the_published_format(tmp_path):
    write_directions(tmp_path, np.float32([[[0.031425178, -0.00019795272]]] * 3), ["all"], "w")
    path = tmp_path / "pose_change_w_vector_all.csv"
    assert path == direction_path(tmp_path, "pose", "w", "all")
    assert path.read_bytes() == b",0,1\n0,0.031425178,-0.00019795272\n"


def test_any_properties_have_their_own_tables(tmp_path):
    names, directions = ("lip_color", "lip"), np.float32([[[1, 2]], [[3, 4]]])
    paths = write_directions(tmp_path, directions, ["all"], "w", names)
    assert [path.name for path in paths] == ["lip_color_change_w_vector_all.csv", "lip_change_w_vector_all.csv"]
    np.testing.assert_array_equal(read_directions(tmp_path, "w", names)[0], directions)
    summary = {"lip_color_mean_corr": 0.5, "lip_mean_corr": 0.25, "sum_mean_corr": 0.75}
    row = sweep_row(100, 1.0, {"svm_lip_color_acc": 0.5, "svm_lip_acc": 0.75}, summary, properties=names)
    assert row == {"n": 100, "time": 1.0, "svm_lip_color_acc": 0.5, "svm_lip_acc": 0.75} | summary
    write_cases(tmp_path / "cases.csv", [Case(0, "all", {"lip": 0.5}, False, np.zeros((5, 2)))])
    assert (tmp_path / "cases.csv").read_text() == "case,svm_group_name,passed,lip_corr,sum_abs_corr\n0,all,X,0.5,0.5\n"


def test_layers_in_one_folder_stay_apart(tmp_path):
    write_directions(tmp_path, np.full((3, 1, 4), 1.0), ["all"], "w")
    write_directions(tmp_path, np.full((3, 2, 5), 2.0), ["hhhh", "llll"], "mapping_split1")
    directions, names = read_directions(tmp_path, "w")
    assert names == ["all"]
    assert directions.max() == 1.0


def test_directions_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[3, 1, 4\], expected \[3, 2, D\]"):
        write_directions(tmp_path, np.zeros((3, 1, 4)), ["a", "b"], "w")


@pytest.mark.parametrize(
    "text",
    ["", ",0,1\n", ",0,1\n0,1.0,x\n", ",0,1\n0,1.0\n", ",0,1\n0,1.0,nan\n", ",0,1\n0,1.0,2.0\n1,1.0,2.0\n"],
)
def test_broken_direction_file_is_named(tmp_path, text):
    write_directions(tmp_path, np.ones((3, 1, 2)), ["all"], "w")
    direction_path(tmp_path, "mouth", "w", "all").write_text(text)
    with pytest.raises(ValueError, match=r"mouth_change_w_vector_all\.csv"):
        read_directions(tmp_path, "w")


def test_missing_and_odd_direction_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="'w'"):
        read_directions(tmp_path, "w")
    write_directions(tmp_path, np.ones((3, 2, 2)), ["a", "b"], "w")
    write_directions(tmp_path / "other", np.ones((3, 1, 5)), ["a"], "w")
    odd = direction_path(tmp_path, "eyes", "w", "a")
    odd.write_bytes(direction_path(tmp_path / "other", "eyes", "w", "a").read_bytes())
    with pytest.raises(ValueError, match=r"different sizes \[2, 5\]"):
        read_directions(tmp_path, "w")
    odd.unlink()
    with pytest.raises(FileNotFoundError, match="eyes_change_w_vector_a"):
        read_directions(tmp_path, "w")


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
