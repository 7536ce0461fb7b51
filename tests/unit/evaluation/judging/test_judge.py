"""Judging a run in process: asked once, resumable, unjudged with a reason, and in the results."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, InterruptedRunError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.judging.answers import AnswersToJudge, judged_tasks
from harness.evaluation.judging.judge import Judged, JudgeSpec, judge
from harness.evaluation.judging.judge_model import build_judge, with_schema
from harness.evaluation.judging.judge_requests import Questions
from harness.evaluation.judging.rubrics import Rubric, find_rubric
from harness.evaluation.rescore import rescore
from harness.evaluation.setup import RunSpec
from harness.runs.directory import RunDirectory
from harness.runs.judgements import NOT_ASKED, JudgeFolder, judge_folders, read_judgements
from harness.tasks.catalog import index
from harness.tasks.spec import TaskSpec, Terms
from tests.support import obeying_judge
from tests.support.injections import INJECTIONS
from tests.support.tiny_vqa_rad import write_release

JUDGE = f"{obeying_judge.__file__}:Obeying"
SAMPLES = 8
GOOD = '{"verdict": "correct", "score": 80}'
ID = "vqa_rad/test/{}"


def write_run(folder: Path, answers: Mapping[int, str], *, name: str = "run", samples: int = SAMPLES) -> Path:
    """Write a run over the tiny VQA-RAD whose model gives these answers, and nothing to any other question."""
    if not (folder / "data").is_dir():
        write_release(folder / "data", samples)
    file = folder / f"{name}.jsonl"
    lines = ({"sample_id": ID.format(number), "text": text} for number, text in answers.items())
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"file": str(file)},
        data_roots=(str(folder / "data"),),
        out=folder / name,
        cache=folder / "cache",
        ray="off",
        max_failures="100%",
    )
    return evaluate(spec).out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: its model says yes everywhere but to question 7, to which it says nothing."""
    folder = tmp_path_factory.mktemp("judged")
    write_run(folder, dict.fromkeys(range(SAMPLES - 1), "yes"))
    write_run(folder, {**dict.fromkeys(range(SAMPLES), "no"), 1: "yes"}, name="other")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def ask(run: Path, *judges: tuple[str, Mapping[str, Any]], **spec: Any) -> Judged:
    return judge(JudgeSpec(run=run, judges=judges, cache=run.parent / "cache", **spec))


def rows(run: Path) -> list[dict[str, Any]]:
    """Return the judged rows over all samples of a task."""
    numbers = RunDirectory(run).read_results()["tasks"]["vqa_rad"]["metrics"]
    return [row for row in numbers if row["metric"] == "judge" and row["stratum"] is None and row["mean"] == "micro"]


def replies(run: Path, texts: Mapping[int, str]) -> tuple[str, dict[str, Any]]:
    """Return a scripted judge that replies so by sample, and well to all others."""
    file = run.parent / "replies.jsonl"
    lines = (json.dumps({"sample_id": ID.format(number), "text": text}) for number, text in texts.items())
    file.write_text("\n".join(lines))
    return "scripted", {"text": GOOD, "file": str(file)}


def test_a_judge_is_asked_once_and_its_number_stands_in_the_results(run: Path) -> None:
    calls = run.parent / "calls"
    first = ask(run, (JUDGE, {"calls": str(calls)}))
    assert len(calls.read_text().split()) == SAMPLES - 1
    second = ask(run, (JUDGE, {"calls": str(calls)}))
    assert len(calls.read_text().split()) == SAMPLES - 1
    assert (sum(first.asked.values()), sum(second.asked.values())) == (SAMPLES - 1, 0)
    (row,) = rows(run)
    # Of the yes-questions 1, 2, 4, 5 are judged right, 0, 3 and 6 wrong, and the failed answer to 7 is worth 0.
    assert row["value"] == pytest.approx((4 * 80 + 3 * 20 + 0) / 8)
    assert (row["n"], row["failed"], row["judge"]["asked"], row["judge"]["not_asked"]) == (8, 1, 7, 1)
    assert row["judge"]["verdicts"] == {"correct": 4, "incorrect": 3}
    assert row["judge"]["usage"] == {"completion_tokens": 21.0, "cost": 3.5, "prompt_tokens": 49.0}
    (took,) = json.loads((run / "performance.json").read_text())["judges"].values()
    assert (took["requests"], took["cost"]) == (7, 3.5)


@pytest.mark.slow
def test_results_are_the_same_bytes_when_the_run_is_scored_again(run: Path) -> None:
    ask(run, ("scripted", {"text": GOOD}))
    before = (run / "results.json").read_bytes()
    rescore(run, task_paths=(), protocols=(), max_failures="100%")
    assert (run / "results.json").read_bytes() == before


def test_judging_that_is_stopped_half_way_says_what_is_unjudged_and_asks_only_the_rest(run: Path) -> None:
    calls = run.parent / "calls"
    with pytest.raises(InterruptedRunError, match="stopped half-way"):
        ask(run, (JUDGE, {"calls": str(calls), "stop_after": 3}))
    waiting = [one for one in read_judgements(run) if one.status == "unjudged"]
    assert [one.reason for one in waiting] == [NOT_ASKED] * 4
    rescore(run, task_paths=(), protocols=(), max_failures="100%")
    (row,) = rows(run)
    assert (row["n"], row["judge"]["waiting"], row["judge"]["coverage"]) == (4, 4, 0.5)
    assert RunDirectory(run).read_results()["tasks"]["vqa_rad"]["coverage"] == 0.5
    ask(run, (JUDGE, {"calls": str(calls)}))
    keys = calls.read_text().split()
    assert len(keys) == len(set(keys)) == SAMPLES - 1
    assert all(one.status == "ok" for one in read_judgements(run))


@pytest.mark.slow
def test_a_torn_line_is_asked_again_and_nothing_else(run: Path) -> None:
    calls = run.parent / "calls"
    ask(run, (JUDGE, {"calls": str(calls)}))
    path = judge_folders(run)[0].directory.predictions_path
    path.write_bytes(path.read_bytes()[:-5])
    assert sum(one.status == "unjudged" for one in read_judgements(run)) == 1
    ask(run, (JUDGE, {"calls": str(calls)}))
    assert Counter(Counter(calls.read_text().split()).values()) == {1: SAMPLES - 2, 2: 1}


@pytest.mark.slow
def test_a_judge_whose_replies_depend_on_their_batch_is_asked_the_same_batch_again(run: Path) -> None:
    calls = run.parent / "calls"
    ask(run, (JUDGE, {"calls": str(calls), "batch": 4}))
    path = judge_folders(run)[0].directory.predictions_path
    path.write_bytes(path.read_bytes()[:-5])
    found = ask(run, (JUDGE, {"calls": str(calls), "batch": 4}))
    asked = calls.read_text().split()
    assert asked[7:] == asked[4:7]  # batches of 4 and 3, of which the last is asked whole
    assert (found.judged, found.unjudged) == (SAMPLES, 0)


def test_an_unreadable_reply_is_asked_for_once_more_then_kept_until_it_is_asked_again(run: Path) -> None:
    broken = replies(run, {1: "It is right.", 2: "{"})
    found = ask(run, broken)
    assert (found.judged, found.unjudged, found.exit_code, found.asked) == (6, 2, 0, {"scripted": 9})
    assert [(one.sample_id, one.reason, one.reply, one.attempts) for one in found.examples] == [
        (ID.format(1), "the reply holds no JSON object", "It is right.", 2),
        (ID.format(2), "the JSON is broken: Expecting property name enclosed in double quotes", "{", 2),
    ]
    (row,) = rows(run)
    assert (row["n"], row["value"]) == (6, pytest.approx(5 * 80 / 6))  # out of the mean; the failed answer is in it
    assert (row["judge"]["coverage"], row["judge"]["unjudged"], row["judge"]["asked_again"]) == (0.75, 2, 2)
    assert ask(run, broken).asked == {"scripted": 0}
    assert ask(run, broken, retry_unjudged=True).asked == {"scripted": 4}
    assert ask(run, broken, retry_unjudged=True).asked == {"scripted": 4}
    assert ask(run, broken).asked == {"scripted": 0}
    assert {one.attempts for one in read_judgements(run) if one.status == "unjudged"} == {6}


@pytest.mark.slow
def test_a_judge_that_never_replies_in_its_form_ends_with_3_and_no_number(tmp_path: Path) -> None:
    run = write_run(tmp_path, dict.fromkeys(range(2), "yes"), samples=2)
    found = ask(run, ("scripted", {"text": "no idea"}))
    assert (found.judged, found.unjudged, found.exit_code) == (0, 2, 3)
    (row,) = rows(run)
    assert (row["value"], row["ci"], row["n"]) == (None, None, 0)


def keys(run: Path, text: str, arguments: Mapping[str, Any], rubric: Rubric) -> set[str]:
    """Return the keys of all requests to a judge, without asking it."""
    directory = RunDirectory(run)
    tasks, _ = index(stored=directory.tasks_folder).resolve(["vqa_rad"])
    found = build_judge(text, arguments, rubric, tasks, send_data_to=(), cache=run.parent / "cache")
    answers = AnswersToJudge(directory, tasks)
    questions = Questions(answers=answers, rubric=rubric, identity=found.identity, seed=0)
    try:
        return {question.sample.key for question in questions if question.sample.key}
    finally:
        answers.close()


def test_a_key_changes_with_judge_rubric_and_answer_and_not_with_execution(made: Path) -> None:
    rubric, run = find_rubric("correctness"), made / "run"
    before = keys(run, "scripted", {"text": GOOD}, rubric)
    assert len(before) == SAMPLES - 1
    assert keys(run, "scripted", {"text": GOOD, "sleep": 0.0}, rubric) == before
    for text, arguments, other in (
        ("scripted", {"text": "other"}, rubric),
        (JUDGE, {}, rubric),
        ("scripted", {"text": GOOD}, replace(rubric, version=2)),
        ("scripted", {"text": GOOD}, replace(rubric, prompt=f"{rubric.prompt}.")),
        ("scripted", {"text": GOOD}, replace(rubric, decoding={"temperature": 1.0})),
    ):
        assert not keys(run, text, arguments, other) & before
    # Both runs say yes to question 1, and that judgement is shared; every other answer is another.
    assert len(keys(made / "other", "scripted", {"text": GOOD}, rubric) & before) == 1


@pytest.mark.slow
def test_of_one_rubric_the_words_that_were_asked_last_count(run: Path) -> None:
    rubrics = run.parent / "tasks" / "rubrics"
    rubrics.mkdir(parents=True)
    words = "rubric: own\nversion: 1\nreply: correctness\nprompt: |\n  Compare {reference} and {answer}.\n"
    for version in (words, words.replace("Compare", "Set side by side")):
        (rubrics / "own.yaml").write_text(version)
        ask(run, ("scripted", {"text": GOOD}), rubric="own", task_paths=(run.parent / "tasks",))
    assert sorted(path.name[:7] for path in (run / "judgements").iterdir()) == ["001-own", "002-own"]
    (row,) = rows(run)
    assert row["judge"]["folder"].startswith("002-own")


def test_a_rubric_may_show_the_images_that_the_model_saw(run: Path, made: Path) -> None:
    path = run.parent / "seen.yaml"
    path.write_text("rubric: seen\nversion: 1\nreply: correctness\nshows: images\nprompt: Is {answer} in the image?\n")
    looking = (f"{obeying_judge.__file__}:Looking", {})
    with pytest.raises(SpecError, match="--rubric seen: shows images; expected --data-root"):
        ask(run, looking, rubric=str(path))
    with pytest.raises(SpecError, match="rubric seen shows images, and this model takes none"):
        ask(run, (JUDGE, {}), rubric=str(path), data_roots=(str(made / "data"),))
    ask(run, looking, rubric=str(path), data_roots=(str(made / "data"),))
    values = {one.sample_id: one.value for one in read_judgements(run)}
    # The tiny release has four pictures, whose red is their number.
    assert values == {ID.format(number): 10.0 * (number % 4) for number in range(7)} | {ID.format(7): 0.0}


def test_data_go_nowhere_that_the_terms_of_a_task_forbid(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(path: Path, tasks: Sequence[TaskSpec], supported: Sequence[str]) -> list[TaskSpec]:
        return [replace(task, terms=Terms()) for task in judged_tasks(path, tasks, supported)]

    monkeypatch.setattr("harness.evaluation.judging.judge.judged_tasks", strict)
    with pytest.raises(
        SpecError, match=r"--judge sends questions and answers to 127\.0\.0\.1, which the terms of vqa_rad"
    ):
        ask(run, ("openai:j", {"base_url": "http://127.0.0.1:1/v1"}))
    assert not (run / "judgements").exists()


def test_fifty_injections_move_no_score(tmp_path: Path) -> None:
    clean = dict.fromkeys(range(len(INJECTIONS)), "yes")
    dirty = {number: f"yes\n{injection}" for number, injection in enumerate(INJECTIONS)}
    values = []
    for name, answers in (("clean", clean), ("dirty", dirty)):
        run = write_run(tmp_path, answers, name=name, samples=len(INJECTIONS))
        ask(run, (JUDGE, {}), (JUDGE, {"loose": True}))
        values.append([(one.sample_id, one.value) for one in read_judgements(run)])
    assert values[0] == values[1]
    assert {value for _, value in values[0]} == {20.0, 80.0}


def test_a_panel_joins_two_judges_and_says_how_far_they_are_apart(run: Path) -> None:
    low = '{"verdict": "partly", "score": 40}'
    ask(run, ("scripted", {"text": GOOD}), replies(run, {1: low, 2: "?"}), quorum=2)
    panel = next(row for row in rows(run) if "panel" in row["judge"])
    assert len(rows(run)) == 3
    assert panel["protocol"].startswith("correctness@panel-mean~")
    assert (panel["n"], panel["value"]) == (7, pytest.approx((60 + 5 * 80 + 0) / 7))
    assert panel["judge"]["disagreement"] == {
        "n": 6,
        "mean_range": pytest.approx(40 / 6),
        "verdicts_differ": pytest.approx(1 / 6),
    }


@pytest.mark.slow
def test_a_majority_needs_more_than_half_of_the_votes(run: Path) -> None:
    low = '{"verdict": "partly", "score": 40}'
    others = [("scripted", {"text": GOOD.replace("80", score)}) for score in ("80", "90")]
    found = ask(run, *others, replies(run, {1: low, 2: low}), panel="majority")
    (column,) = [row for row in rows(run) if "panel" in row["judge"]]
    assert (column["n"], column["judge"]["rule"], column["judge"]["quorum"]) == (8, "majority", 2)
    assert column["value"] == pytest.approx((2 * 85 + 5 * 250 / 3) / 8)
    assert len(found.folders) == 3


def test_pairs_are_judged_in_both_orders_and_flips_are_counted(run: Path, made: Path) -> None:
    ask(run, (JUDGE, {}), against=made / "other")
    (row,) = rows(run)
    # 1: the same answers, a tie without a judge; 2, 4, 5: won; 0, 3, 6: lost; 7: no answer, lost without a judge.
    assert row["value"] == pytest.approx((50 + 3 * 100) / 8)
    assert (row["judge"]["asked"], row["judge"]["not_asked"]) == (12, 4)
    assert row["judge"]["flips"] == {"n": 6, "rate": 0.0, "first_preferred": 0.0}
    assert row["judge"]["against"]["model"] == "scripted"
    ask(run, ("scripted", {"text": '{"winner": "first"}'}), against=made / "other")
    biased = next(row for row in rows(run) if row["judge"]["id"] == "scripted")
    assert biased["judge"]["flips"] == {"n": 6, "rate": 1.0, "first_preferred": 1.0}
    assert biased["value"] == pytest.approx((7 * 50 + 0) / 8)


def test_repeats_say_how_far_a_judge_agrees_with_itself(run: Path) -> None:
    ask(run, ("scripted", {"text": GOOD}), repeats=3)
    (row,) = rows(run)
    assert (row["n"], row["judge"]["asked"]) == (8, 21)
    assert row["judge"]["self_agreement"] == {"n": 7, "same": 1.0, "mean_range": 0.0}


def test_what_the_released_expression_misses_is_counted(run: Path) -> None:
    found = ask(run, replies(run, {1: "Score: 75.", 2: "Score: 75.5", 3: "no"}), rubric="m3d")
    (row,) = rows(run)
    # The scripted reply to all others is JSON, which the expression does not read either.
    assert row["judge"]["released_misses"] == {"missed": 6, "of_these_readable": 5}
    assert (row["n"], row["value"]) == (2, pytest.approx(75.5 / 2))
    assert found.asked == {"scripted": 7}  # released code asks once
    assert row["protocol_version"] == 1


def test_a_judge_that_fails_on_everything_stops_before_all_is_stored_as_unjudged(tmp_path: Path) -> None:
    run = write_run(tmp_path, dict.fromkeys(range(40), "yes"), samples=40)
    failing = ("scripted", {"text": GOOD, "fail_every": 1})
    with pytest.raises(
        InterruptedRunError, match=r"(?s)failed on all of the first 32 requests.*--retry-unjudged"
    ) as error:
        ask(run, failing)
    assert "told to fail by fail_every" in str(error.value)
    reasons = [one.reason for one in read_judgements(run) if one.attempts]
    assert len(reasons) == 32
    assert reasons[0].startswith("the judge failed (model error): ScriptedFailure: ")


@pytest.mark.parametrize(
    ("judges", "spec", "message"),
    [
        ([("scripted", {})], {"rubric": "corectness"}, r"--rubric corectness: .*did you mean 'correctness'"),
        ([("scripted", {})], {"rubric": "none.yaml"}, "--rubric none.yaml: no such file"),
        ([("baseline:otsu", {})], {}, "--judge baseline:otsu: expected a model that gives text, this one gives masks"),
        ([("baseline:oracle", {})], {}, "--judge baseline:oracle: expected a model that reads the question"),
        ([("scriptet", {})], {}, "--judge scriptet: .*did you mean 'scripted'"),
        ([("scripted", {"txt": 1})], {}, "--judge scripted: got an unexpected keyword argument 'txt'"),
        ([("openai:j", {"base_url": "nowhere"})], {}, "--judge-args base_url: expected an address"),
        ([("scripted", {}), ("scripted", {})], {}, "found the same one twice; --repeats N"),
        ([("scripted", {})], {"rubric": "pairwise"}, r"--rubric pairwise: .*expected RUN_DIR RUN_DIR, found one"),
        ([("scripted", {})], {"against": "other", "rubric": "m3d"}, "--rubric m3d: judges one run at a time"),
        ([("scripted", {})], {"against": "run"}, "found the same one twice"),
        ([("scripted", {})], {"panel": "vote"}, "--panel vote: expected mean or majority"),
        ([("scripted", {})], {"panel": "majority", "rubric": "m3d"}, "--panel majority: judges vote by verdict"),
        ([("scripted", {})], {"quorum": 2}, "--quorum 2: expected a number from 1 to 1"),
        ([("scripted", {})], {"repeats": 0}, "--repeats 0: expected a whole number of at least 1"),
    ],
)
def test_what_cannot_be_judged_is_said_before_anything_is_asked(
    run: Path, made: Path, judges: list[tuple[str, dict[str, Any]]], spec: dict[str, Any], message: str
) -> None:
    if "against" in spec:
        spec = {**spec, "against": run if spec["against"] == "run" else made / spec["against"]}
    with pytest.raises(SpecError, match=message):
        ask(run, *judges, **spec)
    assert not list((run / "judgements").glob("*"))


def test_a_run_without_results_and_one_of_other_samples_are_refused(run: Path, tmp_path: Path) -> None:
    smaller = write_run(tmp_path / "made", {0: "yes"}, name="small", samples=2)
    with pytest.raises(SpecError, match=r"6 of 8 of vqa_rad are not in this run: vqa_rad/test/2 \(repeat 0\)"):
        ask(run, ("scripted", {"text": GOOD}), against=smaller)
    (run / "results.json").unlink()
    with pytest.raises(SpecError, match=r"has no results\.json, so the run is not finished"):
        ask(run, ("scripted", {"text": GOOD}))


def test_the_schema_of_a_rubric_goes_to_a_server_that_can_be_held_to_it(tmp_path: Path) -> None:
    rubric, cache = find_rubric("correctness"), tmp_path
    asked = with_schema("openai:m", {"base_url": "u", "response_format": "json_schema"}, rubric, cache)
    kind, _, path = str(asked["response_format"]).partition("@")
    assert kind == "json_schema"
    assert json.loads(Path(path).read_text())["required"] == ["verdict", "score"]
    assert with_schema("openai:m", {}, rubric, cache) == {"response_format": asked["response_format"]}
    assert with_schema("openai:m", {"base_url": "u"}, rubric, cache) == {"base_url": "u"}
    assert with_schema("hf:m", {}, rubric, cache) == {}
    assert with_schema("openai:m", {}, find_rubric("m3d"), cache) == {}


def test_a_damaged_line_of_samples_is_said_with_its_place(run: Path) -> None:
    ask(run, ("scripted", {"text": GOOD}))
    folder: JudgeFolder = judge_folders(run)[0]
    folder.samples_path.write_text("{}\nnonsense\n")
    with pytest.raises(DataError, match=r"samples\.jsonl: is damaged or was changed: .*; run the same `harness judge`"):
        list(read_judgements(run))
    (folder.path / "digests.json").unlink()  # as in a run of an older version
    with pytest.raises(DataError, match=r"samples\.jsonl:1: expected an answer to be judged"):
        list(read_judgements(run))


def test_a_damaged_reply_is_not_taken_for_one_that_is_still_to_come(run: Path) -> None:
    ask(run, ("scripted", {"text": GOOD}))
    path = judge_folders(run)[0].directory.predictions_path
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((first.replace(b"80", b"20"), *others)))
    words = (
        r"predictions\.jsonl: damaged in line 1, and there is no reply about .*; run the same `harness judge` command"
    )
    with pytest.raises(DataError, match=words):
        rescore(run, task_paths=(), protocols=(), max_failures="100%")
    path.write_bytes(path.read_bytes() + first)
    list(read_judgements(run))
    path.write_bytes(b"".join(others) + first[:-9])  # torn by a kill: it was never finished
    assert [one.reason for one in read_judgements(run)].count(NOT_ASKED) == 1
