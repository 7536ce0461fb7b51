"""Files of labels: what is read, and every fault with its line."""

from pathlib import Path

import pytest

from harness.errors import DataError
from harness.evaluation.judging.labels import grade_of, read_labels


def written(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    table = "\ufeffsample_id, label,rater,repeat,remark\na/1,Correct,x,,good\n\na/1,partly,y\na/2,incorrect,x,1,\n"
    lines = (
        '{"sample_id": "a/1", "label": "correct", "rater": "x"}\n\n'
        '{"sample_id": "a/1", "verdict": "partly", "rater": "y", "task": null}\n'
        '{"sample_id": "a/2", "label": "incorrect", "rater": "x", "repeat": 1, "remark": 3}\n'
    )
    one, other = (read_labels(written(tmp_path, *it)) for it in ((table,), (lines, "labels.jsonl")))
    assert [(it.sample_id, it.verdict, it.rater, it.repeat) for it in one] == [
        ("a/1", "correct", "x", 0),
        ("a/1", "partly", "y", 0),
        ("a/2", "incorrect", "x", 1),
    ]
    assert [it.line for it in one] == [2, 4, 5]
    assert [(it.sample_id, it.verdict, it.rater, it.repeat) for it in other] == [
        (it.sample_id, it.verdict, it.rater, it.repeat) for it in one
    ]


def test_scores_are_points_and_verdicts_stand_for_some(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "sample_id,score\na,0\nb,89.5\nc,90\n"))
    assert [(it.score, it.points, grade_of(it.points)) for it in labels] == [
        (0.0, 0.0, "incorrect"),
        (89.5, 89.5, "partly"),
        (90.0, 90.0, "correct"),
    ]
    winners = read_labels(written(tmp_path, "sample_id,label\na,win\nb,tie\nc,loss\n"))
    assert [it.points for it in winners] == [100.0, 50.0, 0.0]


def test_a_judgement_may_hold_both_and_an_order(tmp_path: Path) -> None:
    text = '{"sample_id": "a", "verdict": "partly", "score": 40, "order": "first", "length": 7, "cluster": 12}\n'
    (label,) = read_labels(written(tmp_path, text, "j.jsonl"), judge=True)
    assert (label.verdict, label.score, label.order, label.length, label.cluster) == ("partly", 40.0, "first", 7, "12")


FAULTS = [
    ("", ":1: expected the columns sample_id and label, found nothing"),
    ("sample_id,label\n", ": holds no label; expected one line per answer with sample_id and label"),
    ("id,label\na,correct\n", ":1: expected the columns sample_id and label, found id, label"),
    ("sample_id,labl\na,correct\n", ":1: unknown name 'labl' (did you mean 'label'?); expected sample_id"),
    ("sample_id,label,label\na,correct\n", ":1: 'label' stands there twice"),
    ("sample_id,label\na,corect\n", ":2: label: expected a score from 0 to 100 or one of incorrect, partly, correct, "
     "loss, tie, win, found 'corect' (did you mean 'correct'?)"),
    ("sample_id,label\na,101\n", ":2: label: expected a score from 0 to 100, found '101'"),
    ("sample_id,label\na,nan\n", ":2: label: expected a score from 0 to 100 or one of"),
    ("sample_id,verdict\na,50\n", ":2: verdict: expected one of incorrect, partly"),
    ("sample_id,label\n,correct\n", ":2: sample_id: required"),
    ("sample_id,label\na\n", ":2: expected one label, found none"),
    ("sample_id,label,score\na,correct,90\n", ":2: expected one label, found label and score"),
    ("sample_id,label\na,correct\na,partly\n", ":3: 'a' is labelled in line 2 already; several raters of one sample "
     "need the column 'rater'"),
    ("sample_id,label,rater\na,correct,x\na,partly,x\n", ":3: 'a' by rater 'x' is labelled in line 2 already"),
    ("sample_id,label\na,correct\nb,70\n", ":3: expected one of incorrect, partly, correct, as in line 2, found a "
     "score from 0 to 100; use one kind for all labels"),
    ("sample_id,label\na,0\nb,1\n", ":2: no score is above 1; expected scores from 0 to 100, or verdicts"),
    ("sample_id,label\na,correct,x\n", ":2: expected 2 cells, found 3"),
    ('sample_id,label\na,"correct\n', ":2: expected CSV: unexpected end of data"),
    ("sample_id,label,repeat\na,correct,-1\n", ":2: repeat: expected a whole number of at least 0, found '-1'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_fault_of_a_table_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as raised:
        read_labels(path)
    assert str(raised.value).startswith(f"{path}{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n", ":1: expected a JSON object, found '{'"),
        ("[1]\n", ":1: expected a JSON object, found '[1]'"),
        ('{"sample_id": "a", "label": true}\n', ":1: label: expected a score from 0 to 100 or one of"),
        ('{"sample_id": ["a"], "label": 3}\n', ":1: sample_id: expected text, found ['a']"),
        ('{"sample_id": "a", "label": 3, "ratr": 1}\n', ":1: unknown name 'ratr' (did you mean 'rater'?)"),
    ],
)
def test_a_fault_of_json_lines_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text, "labels.jsonl")
    with pytest.raises(DataError) as raised:
        read_labels(path)
    assert str(raised.value).startswith(f"{path}{message}")


def test_faults_of_judgements_of_a_place_and_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, '{"sample_id": "a", "score": 3, "order": "left"}\n{"sample_id": "b"}\n', "j.jsonl")
    with pytest.raises(DataError, match="order: expected first or second, found 'left'") as raised:
        read_labels(path, judge=True)
    assert str(raised.value).endswith("j.jsonl:2: expected a verdict, a score or both, found none")
    with pytest.raises(DataError, match="no such file; expected labels as CSV or JSON lines"):
        read_labels(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"sample_id,label\n\xe9,correct\n")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        read_labels(tmp_path / "latin.csv")
    many = written(tmp_path, "sample_id,label\n" + "a,wrong\n" * 30)
    with pytest.raises(DataError, match=r"labels\.csv: 10 more faults$"):
        read_labels(many)
