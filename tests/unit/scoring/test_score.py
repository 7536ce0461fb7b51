"""From prediction to score: what fails scores worst, what is right to be silent does not, what is broken is counted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.imaging import mask_files, masks
from harness.metrics import METRICS, Metric, Outcome, find
from harness.records import Box, Entity, Prediction, PredictionStatus, Sample, Target
from harness.scoring.score import ScoreFile, read_scores, readable, score, score_files
from tests.support.metric_cases import pairs

SIZE = (4, 4)
DICE, ACCURACY = find("dice"), find("vqa_accuracy")
FAILURES: tuple[PredictionStatus, ...] = ("empty", "refused", "model_error", "timeout")

PRESENT = Sample(
    id="s/1",
    cluster="p1",
    strata={"modality": "ct"},
    target=Target(entities=(Entity(name="a", mask=masks.full(SIZE)),)),
)
ABSENT = Sample(id="s/2", target=Target(entities=(Entity(name="a", mask=masks.empty(SIZE)),), absent=True))
QUESTION = Sample(id="s/3", target=Target(answers=("yes",)))


def predicted(status: PredictionStatus = "ok", **given: object) -> Prediction:
    return Prediction(key="k", status=status, **given)  # type: ignore[arg-type]


def scored(metric: Metric, sample: Sample, prediction: Prediction) -> tuple[str, tuple[float | None, ...], bool]:
    row = score(metric, sample, 0, prediction)
    assert row is not None
    return row.status, row.values, row.failed


@pytest.mark.parametrize("status", ["ok", "truncated"])
def test_answers_are_scored_as_they_stand(status: PredictionStatus) -> None:
    half = mask_files.from_json({"size": [4, 4], "counts": [0, 8, 8]}, where="test")
    row = score(DICE, PRESENT, 2, predicted(status, masks=(half,)))
    assert row is not None
    assert (row.status, row.values, row.failed) == ("ok", (16 / 24,), False)
    assert (row.sample_id, row.repeat, row.metric, row.protocol) == ("s/1", 2, "dice", "standard")
    assert (row.cluster, row.strata) == ("p1", {"modality": "ct"})


ROWS = [metric for metric in METRICS if metric.line != "retrieval"]


@pytest.mark.parametrize("status", FAILURES)
@pytest.mark.parametrize("metric", ROWS, ids=lambda row: f"{row.name}-{row.protocol}")
def test_a_failed_prediction_scores_worst_under_every_metric(metric: Metric, status: PredictionStatus) -> None:
    for sample, prediction in pairs(metric.line):
        if metric.ceiling(sample) is None or sample.target.absent:
            continue
        found, values, failed = scored(metric, sample, replace(prediction, status=status))
        assert (found, failed) == ("ok", True)
        assert values[0] == metric.floor(sample)


def test_where_nothing_is_to_be_found_an_empty_prediction_is_right() -> None:
    assert scored(DICE, ABSENT, predicted("empty")) == ("undefined", (), False)
    assert scored(find("dice", "sam-med2d"), ABSENT, predicted("empty")) == ("ok", (1.0,), False)


def test_where_nothing_is_to_be_found_any_pixel_is_wrong() -> None:
    assert scored(DICE, ABSENT, predicted(masks=(masks.full(SIZE),))) == ("ok", (0.0,), False)


@pytest.mark.parametrize("status", ["refused", "model_error", "timeout"])
def test_a_crash_is_no_way_to_find_nothing(status: PredictionStatus) -> None:
    assert scored(DICE, ABSENT, predicted(status)) == ("ok", (0.0,), True)


WITHOUT_CEILING = [metric for metric in METRICS if metric.ceiling(Sample(id="s/4")) is None]


@pytest.mark.parametrize("status", FAILURES)
@pytest.mark.parametrize("metric", WITHOUT_CEILING, ids=lambda row: f"{row.name}-{row.protocol}")
def test_without_a_reference_a_failure_is_undefined(metric: Metric, status: PredictionStatus) -> None:
    assert scored(metric, Sample(id="s/4"), predicted(status)) == ("undefined", (), False)


def test_a_worst_answer_without_a_value_is_undefined() -> None:
    nothing = Sample(id="s/5", target=Target(absent=True))
    assert scored(ACCURACY, nothing, predicted("timeout")) == ("undefined", (), False)


def test_a_fault_of_the_release_is_no_score() -> None:
    assert score(DICE, PRESENT, 0, predicted("data_error")) is None


def test_an_unparsed_reply_scores_worst_and_says_so() -> None:
    assert scored(ACCURACY, QUESTION, predicted(text="perhaps")) == ("unparsed", (0.0,), True)


def test_an_unparsed_outcome_without_stats_gets_the_worst() -> None:
    mute = replace(ACCURACY, score=lambda _sample, _prediction: Outcome("unparsed"))
    assert scored(mute, QUESTION, predicted(text="x")) == ("unparsed", (0.0,), True)


def test_a_judged_metric_without_a_judge_is_unjudged() -> None:
    assert scored(find("judge", "standard"), QUESTION, predicted(text="yes")) == ("unjudged", (), False)


def test_the_rule_that_fired_and_what_a_metric_raised_stand_beside_the_score() -> None:
    row = score(ACCURACY, QUESTION, 0, predicted(text="yes"))
    assert row is not None
    assert row.detail == {"rule": "yes_no"}
    row = score(DICE, PRESENT, 0, predicted(masks=(masks.full((2, 2)),)))
    assert row is not None
    assert row.detail["error"].startswith("DataError: s/1: predicted mask is (2, 2)")


@pytest.mark.parametrize(
    "broken",
    [
        {"worst": lambda _sample: [][0]},
        {"ceiling": lambda _sample: 1 / 0},
        {"combine": lambda _sums: [][0]},
        {"score": lambda _sample, _prediction: Outcome("ok", ("many", 1.0))},  # type: ignore[arg-type]
    ],
    ids=["worst", "ceiling", "combine", "stats"],
)
def test_no_part_of_a_metric_ends_a_run_when_it_raises(broken: dict[str, Any]) -> None:
    metric = replace(ACCURACY, each=None, **broken)
    found = [scored(metric, QUESTION, predicted(text="yes")), scored(metric, QUESTION, predicted("refused"))]
    assert ("scorer_error", (), False) in found


def test_a_detail_that_json_does_not_know_is_stored_as_its_words(tmp_path: Path) -> None:
    metric = replace(ACCURACY, score=lambda _sample, _prediction: Outcome("ok", (1.0, 1.0), {"where": Path("a")}))
    row = score(metric, QUESTION, 0, predicted(text="yes"))
    assert row is not None
    file = ScoreFile(tmp_path / "scores.parquet")
    file.add(row)
    file.close()
    (found,) = read_scores(tmp_path / "scores.parquet", metric)
    assert found.detail == {"where": "PosixPath('a')"}


def test_a_metric_that_raises_is_a_scorer_error_of_that_sample() -> None:
    def broken(_sample: Sample, _prediction: Prediction) -> Outcome:
        raise AttributeError("'NoneType' object has no attribute 'strip'")

    assert scored(replace(ACCURACY, score=broken), QUESTION, predicted(text="yes")) == ("scorer_error", (), False)
    assert scored(DICE, PRESENT, predicted(masks=(masks.full((2, 2)),))) == ("scorer_error", (), False)


def test_scores_survive_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.scoring.score.ROWS_PER_GROUP", 2)
    predictions = [predicted(masks=(masks.full(SIZE),)), predicted("timeout"), predicted("empty")]
    samples = [PRESENT, PRESENT, ABSENT]
    rows = [score(DICE, sample, 1, item) for sample, item in zip(samples, predictions, strict=True)]
    path = score_files(tmp_path, "task", [DICE])["dice", "standard"]
    assert path == tmp_path / "task.dice.standard.parquet"
    file = ScoreFile(path)
    for row in rows:
        assert row is not None
        file.add(row)
    file.close()
    assert list(read_scores(path, DICE)) == rows


@pytest.mark.parametrize("grammar", ["none", "mimo"])
def test_ignored_pixels_are_no_error_of_a_prediction(grammar: str) -> None:
    half = masks.from_box(Box(corners=(0, 0, 2, 4)), SIZE)
    item = replace(PRESENT, target=Target(entities=(Entity(name="a", mask=half),), ignore=masks.empty(SIZE)))
    given = predicted(masks=(masks.full(SIZE),), text="all of it")
    assert score(DICE, item, 0, readable(item, given, grammar)[1]).values == (16 / 24,)  # type: ignore[union-attr]
    other = masks.from_box(Box(corners=(2, 0, 4, 4)), SIZE)
    item = replace(item, target=replace(item.target, ignore=other))
    assert score(DICE, item, 0, readable(item, given, grammar)[1]).values == (1.0,)  # type: ignore[union-attr]
