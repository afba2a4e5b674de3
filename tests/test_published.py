import numpy as np
import pytest

from ohlora_gan.files import read_cases, read_medians, read_sweep, read_training_log, write_case_table

CASES = "case,svm_group_name,passed,eyes_corr,mouth_corr,sum_abs_corr\n3,hhlh,O,0.95,-0.9,1.85\n7,llll,X,nan,0.5,0.5\n"
WITH_VECTOR = CASES.replace("case,svm_group_name,passed", "case,vector_no,passed,group_name")
WITH_VECTOR = WITH_VECTOR.replace("3,hhlh,O", "3,0,O,hhlh").replace("7,llll,X", "7,0,X,llll").rstrip()
SWEEP = ",n,k,time,svm_eyes_acc,eyes_mean_corr,mouth_mean_corr,sum_mean_corr\n0,1000,200,4.5,-,0.9,0.8,1.7\n"
MEDIANS = "value_type,hair_color,background_score\nmean,-0.1891,0.4024\nmedian,-0.4315,0.6753\n"
LOG = (
    ",epoch,idx,d_loss,g_loss,d_train_count,g_train_count,real_scores_mean,fake_scores_mean,real_fake_auroc,"
    "mean_x_score\n0,0,0,1.25,2.2,1,2,0.7,-2.0,0.9,0.8\n1,0,50,1.29,2.1,1,1,0.7,-1.6,0.8,0.9\n"
)
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
    (read_sweep, SWEEP.replace("1.7", "1.6"), "line 2: sum_mean_corr is not the sum"),
    (read_sweep, SWEEP.replace("0.9,", "-,"), "'-' is no finite number"),
    (read_sweep, SWEEP.replace("time", "hours"), "it lacks 'time'"),
    (read_medians, MEDIANS.replace("median", "mode"), "has the rows 'mean', 'mode', expected one 'median'"),
    (read_medians, MEDIANS.replace("0.6753", "nan"), "'nan' is no finite number"),
    (read_training_log, LOG.replace("1,0,50", "1,0,0"), "do not rise"),
    (read_training_log, LOG.replace("d_loss", "loss"), "it lacks 'd_loss'"),
    (read_training_log, LOG.replace("1,0,50", "1,0,5.5"), "column 'idx': 5.5 is no whole number"),
    (read_training_log, LOG[:-10], "line 3"),
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


def test_sweep_medians_and_log(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(SWEEP)
    sweep = read_sweep(path)
    assert list(sweep) == ["n", "k", "time", "svm_eyes_acc", "eyes_mean_corr", "mouth_mean_corr", "sum_mean_corr"]
    assert (sweep["n"][0], sweep["time"][0], np.isnan(sweep["svm_eyes_acc"][0])) == (1000, 4.5, True)
    path.write_text(MEDIANS)
    assert read_medians(path) == {"hair_color": -0.4315, "background_mean": 0.6753}
    assert read_medians(path, "mean")["hair_color"] == -0.1891
    path.write_text(LOG)
    log = read_training_log(path)
    assert log["idx"].tolist() == [0, 50]
    assert log["idx"].dtype == np.int64
    assert log["mean_x_score"].tolist() == [0.8, 0.9]


@pytest.mark.parametrize(("read", "text", "message"), DAMAGED, ids=[message for _, _, message in DAMAGED])
def test_damaged_tables_are_named(tmp_path, read, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"t\.csv") as error:
        read(path)
    assert message in str(error.value)
