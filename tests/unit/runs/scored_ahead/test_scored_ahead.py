"""Scores beside the model: the results are those without them, whatever the process reached."""

import io
import os
import sys
from pathlib import Path

import pytest

from harness.evaluation import evaluate as evaluation
from harness.evaluation.setup import RunSpec
from harness.metrics import find
from harness.records import Prediction, Sample, Score
from harness.runs.directory import RunDirectory
from harness.runs.scored_ahead import __main__ as child
from harness.runs.scored_ahead import process
from harness.runs.scored_ahead.process import ScoringAhead
from harness.runs.scored_ahead.spool import SpooledScores, spool_line, spool_path
from harness.runs.store import RunStore
from tests.support.tiny_vqa_rad import write_release

METRIC = find("vqa_accuracy", "standard")
SAMPLE = Sample(id="d/s/1", cluster="c", strata={"organ": "liver"})
PREDICTION = Prediction(key="0" * 64, status="ok", text="yes")


def spooled(folder: Path, *lines: str) -> SpooledScores:
    spool_path(folder, "t", 0).write_text("".join(lines))
    return SpooledScores(folder)


def test_a_score_comes_back_as_it_was(tmp_path: Path) -> None:
    one = Score(
        sample_id="d/s/1",
        repeat=2,
        metric="vqa_accuracy",
        protocol="standard",
        status="ok",
        values=(1 / 3, None),
        stats=(0.1, 3.0),
        detail={"rule": "equal_text"},
        cluster="c",
        strata={"organ": "liver"},
    )
    known = spooled(tmp_path, spool_line(0, [METRIC], [one]), spool_line(1, [METRIC], [None]), "[2, {")
    asked = [(number, (SAMPLE, 2, PREDICTION)) for number in (0, 1)]
    assert [scores for _, scores in known.scored("t", [METRIC], asked)] == [[one], [None]]
    assert known.count("t") == 2
    assert known.count("other") == 0


def test_a_row_that_was_not_reached_and_another_version_are_scored_now(tmp_path: Path) -> None:
    line = spool_line(0, [METRIC], [None]).replace(f", {METRIC.version}, ", ", 99, ")
    known = spooled(tmp_path, line)
    asked = [(number, (SAMPLE, 0, PREDICTION)) for number in (0, 7)]
    found = [scores[0].status for _, scores in known.scored("t", [METRIC], asked) if scores[0] is not None]
    assert found == ["undefined", "undefined"]  # the sample has no answer to compare with


def test_results_do_not_depend_on_scores_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(
        tasks=("vqa_rad", "vqa_rad_yes_no"),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(write_release(tmp_path / "data", 12)),),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        ray="off",
        batch_size=4,
    )
    evaluation.evaluate(spec)
    directory = RunDirectory(tmp_path / "run")
    expected = directory.results_path.read_bytes()
    store = RunStore(tmp_path / "run")
    store.open(directory.read_run())
    lines = "".join(f"{name.hex()} {offset}\n" for name, offset in store.offsets.items())
    store.close()
    (tmp_path / "ahead").mkdir()
    scorer = child._Scorer(directory.path, tmp_path / "ahead", [])
    for line in lines.splitlines()[:-3]:
        key, offset = line.split()
        scorer.take(key, int(offset))
    scorer.take("f" * 64, 0)  # of no row
    scorer.predictions.close()
    known = SpooledScores(tmp_path / "ahead")
    assert known.count("vqa_rad") >= 9
    asked = []

    def end(ahead: ScoringAhead) -> SpooledScores:
        asked.append(ahead)
        return known

    monkeypatch.setattr(ScoringAhead, "end", end)
    evaluation.evaluate(spec)
    assert asked
    assert directory.results_path.read_bytes() == expected


def test_the_process_is_told_what_is_finished_and_ends_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_AFTER_SECONDS", -1.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    told = tmp_path / "told"
    script = tmp_path / "child.py"
    script.write_text(f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())")
    monkeypatch.setattr(process, "WORDS", (str(script),))
    store = RunStore(tmp_path)
    store.offsets[bytes(32)] = 17
    with ScoringAhead(store) as ahead:
        ahead.add(["00" * 32])
        folder = ahead.end()
        assert folder is not None
        assert folder.folder.is_dir()
        ahead.add(["00" * 32])  # too late, and no fault
    assert told.read_text() == f"{'00' * 32} 17\n"
    assert not folder.folder.exists()


def test_a_short_run_starts_no_process(tmp_path: Path) -> None:
    with ScoringAhead(RunStore(tmp_path)) as ahead:
        ahead.add(["00" * 32])
        assert ahead.end() is None


def test_the_process_stops_at_the_end_of_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    class Scorer:
        def __init__(self, *words: object) -> None:
            assert words == (Path("run"), Path("folder"), ["p"])

        def take(self, key: str, offset: int) -> None:
            taken.append((key, offset))

    monkeypatch.setattr(child, "_Scorer", Scorer)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    monkeypatch.setattr(sys, "argv", ["ahead", "run", "folder", "p"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("a 1\n"))
    child.main()
    assert taken in ([], [("a", 1)])
