"""Check that the judgements of a run from elsewhere are about its answers, and that nothing but replies decides them.

What a judge said cannot be asked again, unless it judges by rules. All else follows from the run: which answers are
judged, what each request holds, and which values stand without a judge. It is made anew from the plan and compared.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from harness.errors import DataError, SpecError
from harness.evaluation.judging.answers import JUDGED, AnswersToJudge
from harness.evaluation.judging.judge_requests import Questions
from harness.evaluation.judging.panels import read_panels
from harness.evaluation.judging.prompts import PROMPT_VERSION
from harness.evaluation.judging.rubrics import Rubric, find_rubric
from harness.evaluation.judging.rule_judge import RuleJudge
from harness.records.codec import digest
from harness.runs.directory import RunDirectory
from harness.runs.judgements import JudgeFolder, attempt_key, judge_folders
from harness.tasks.spec import TaskSpec

RECORD = frozenset({"schema", "judge", "rubric", "prompt_version"})
MOST_REPEATS = 1000
RULES = "judge:rules"


def check_judgements(directory: RunDirectory, tasks: Sequence[TaskSpec], task_paths: Sequence[Path]) -> None:
    """Check every judge of a run.

    Args:
        directory: The run, with its plan.
        tasks: Its tasks that the model supports.
        task_paths: Folders with further rubrics.
    Raises:
        DataError: A judge's record, rubric, samples or replies do not belong to the run.
    """
    run = directory.read_run()
    folders = judge_folders(directory.path)
    places = [path.parent for path in sorted((directory.path / "judgements").glob("*/run.json"))]
    if len(places) != len(folders):
        raise DataError("judgements/: expected every judge once under each rubric, found one twice or without samples")
    for folder in folders:
        rubric = _rubric(folder, task_paths)
        lines = list(_lines(folder))
        named = {line.get("task") for line in lines}
        judged = [task for task in tasks if task.task in named and task.gives in JUDGED]
        asks = {line.get("ask") for line in lines}
        repeats = len(asks)
        if asks != set(range(repeats)) or repeats > MOST_REPEATS or len(judged) != len(named):
            raise DataError(f"{_name(folder)}: samples.jsonl names tasks or repetitions that the run does not have")
        answers = AnswersToJudge(directory, judged, with_images=rubric.shows == "images")
        try:
            faults = []
            # Whether a judge got the ids of samples is stored nowhere; the keys of its requests say it.
            for per_sample in (False, True):
                questions = Questions(
                    answers=answers,
                    rubric=rubric,
                    identity=folder.record()["judge"],
                    seed=int(run["seed"]),
                    repeats=repeats,
                    per_sample=per_sample,
                )
                fault = _first_difference(questions, lines)
                if fault is None:
                    break
                faults.append(fault)
            else:
                raise DataError(
                    f"{_name(folder)}: samples.jsonl:{max(faults)}: expected the answer that follows from the "
                    "predictions, found another"
                )
            _check_rules(folder, questions)
        finally:
            answers.close()
        _check_replies(folder, lines)
    known = {folder.protocol for folder in folders}
    for panel in read_panels(directory.path):
        if not panel.members or not {*panel.members} <= known:
            raise DataError("judgements/panels.json: a panel names a judge that the bundle does not hold")


def _name(folder: JudgeFolder) -> str:
    return f"judgements/{folder.path.name}"


def _rubric(folder: JudgeFolder, task_paths: Sequence[Path]) -> Rubric:
    """Return the rubric of a judge, which must be one of this version of the harness."""
    record = folder.record()
    stored = record.get("rubric")
    judge = record.get("judge")
    if record.keys() != RECORD or not isinstance(stored, dict) or not isinstance(judge, dict) or "id" not in judge:
        raise DataError(f"{_name(folder)}/run.json: expected the fields {', '.join(sorted(RECORD))}")
    # A name only: a path would be read wherever it leads.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", str(stored.get("name"))):
        raise DataError(f"{_name(folder)}/run.json: rubric.name: expected letters, digits, - and _")
    try:
        rubric = find_rubric(str(stored["name"]), task_paths)
    except SpecError as error:
        raise DataError(f"{_name(folder)}: unknown rubric: {error}") from error
    if rubric.record() != stored or record["prompt_version"] != PROMPT_VERSION:
        raise DataError(
            f"{_name(folder)}: rubric {rubric.name} has version {rubric.version} here, and the bundle was judged by "
            "another version or another text of it; judge the run again"
        )
    if not folder.path.name.endswith(f"-{rubric.name}-{digest(record)[:8]}"):
        raise DataError(f"{_name(folder)}: the folder is not named after its record")
    return rubric


def _lines(folder: JudgeFolder) -> Iterator[dict[str, Any]]:
    with folder.samples_path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _first_difference(questions: Questions, lines: Sequence[dict[str, Any]]) -> int | None:
    """Return the 1-based number of the first line that is not as the questions give it; None if all are."""
    for number, (question, line) in enumerate(zip_longest(questions, lines), 1):
        if question is None or line is None or asdict(question.sample) != line:
            return number
    return None


def _check_rules(folder: JudgeFolder, questions: Questions) -> None:
    """Check the replies of `judge:rules`, which anyone can give again.

    Raises:
        DataError: One is not what the rules say.
    """
    judge = folder.record()["judge"]
    if judge["id"] != RULES:
        return
    if judge.get("version") != RuleJudge.version:
        raise DataError(f"{_name(folder)}: {RULES} has version {RuleJudge.version} here; judge the run again")
    rules, replies = RuleJudge("rules"), folder.replies()
    for question in questions:
        reply = replies.get(question.sample.key)
        if reply is None or question.request is None:
            continue
        (answer,) = rules.predict([question.request])
        if reply.text != answer.text:
            raise DataError(f"{_name(folder)}: {question.sample.sample_id}: the rules give another verdict")


def _check_replies(folder: JudgeFolder, lines: Sequence[dict[str, Any]]) -> None:
    replies = folder.replies()
    left = set(replies)
    for key in {line["key"] for line in lines if line["key"]}:
        number = 0
        while (first := attempt_key(key, number, 0)) in replies:
            left -= {first, attempt_key(key, number, 1)}
            number += 1
    if left:
        raise DataError(f"{_name(folder)}: {len(left):,} replies belong to no question of the run")
