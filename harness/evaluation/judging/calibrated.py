"""Calibrating the judges of a run: its judgements beside a file of labels, kept as `judgements/calibration.json`."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from harness.errors import DataError, SpecError
from harness.evaluation.judging.calibration import Place, calibrate, to_json
from harness.evaluation.judging.labels import OUTCOMES, Label, read_labels
from harness.evaluation.judging.rows import JudgeColumn, read_columns
from harness.metrics.answers.judge import JUDGE
from harness.metrics.family import Protocol
from harness.records import Json, Judgement
from harness.records.codec import sha256_file
from harness.runs.directory import RunDirectory
from harness.runs.judgements import CALIBRATION, FOLDER, read_calibrations
from harness.scoring.score import read_scores, score_files

SCHEMA = 1
PAIRWISE = "winner"  # reply form of a rubric about two runs


@dataclass(frozen=True, slots=True)
class JudgedColumn:
    """The judgements of one judge or panel, as they are compared with labels.

    Attributes:
        protocol: Its column; empty for a file.
        about: What stands beside its numbers.
        judged: The judgements.
        unjudged: Answers that it was asked about without one.
        pairwise: It judges pairs.
    """

    protocol: str
    about: Mapping[str, Any]
    judged: Sequence[Label]
    unjudged: Sequence[Place]
    pairwise: bool


def calibrate_run(run: Path, labels: Path, *, protocol: str | None = None) -> list[dict[str, Json]]:
    """Compare every judge of a run with people, and keep what was found in the run; return it judge by judge.

    Labels of pairs (win, tie, loss) are compared with pairwise judgements, other labels with all other judgements.

    Args:
        run: A judged run directory.
        labels: See `read_labels`.
        protocol: Only this column.
    Raises:
        SpecError: The run has not been judged, or no judge of it suits the labels.
        DataError: The labels cannot be read, or none of them is of a judged answer.
    """
    directory = RunDirectory(run)
    directory.read_run()
    people = read_labels(labels)
    columns = _columns(directory)
    if not columns:
        raise SpecError(f"{run}: has not been judged; run `harness judge {run} --judge REF` first")
    of_pairs = people[0].verdict in OUTCOMES
    chosen = [column for column in columns if column.pairwise == of_pairs and protocol in (None, column.protocol)]
    if not chosen:
        there = ", ".join(f"{column.protocol}{' (pairs)' if column.pairwise else ''}" for column in columns)
        which = "win, tie and loss suit a pairwise rubric" if of_pairs else "they suit a rubric about single answers"
        raise SpecError(f"{labels}: no judge of {run} suits these labels: {which}; it has {there}")
    # A judge that gave no judgement, a failed attempt perhaps, does not keep the others from being compared.
    chosen = [column for column in chosen if column.judged] or chosen
    found = [{**_head(column), **_compared(column, people, labels)} for column in chosen]
    # Those of other judges stay: labels of pairs and of single answers come in two files.
    kept = {(entry["protocol"], str(entry.get("against"))): entry for entry in [*read_calibrations(run), *found]}
    content = {"schema": SCHEMA, "calibrations": [kept[name] for name in sorted(kept)]}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    directory.checks.replace(run / FOLDER / CALIBRATION, text)
    return found


def calibrate_file(judgements: Path, labels: Path) -> dict[str, Json]:
    """Compare judgements of a file, one `sample_id` with `verdict` or `score` a line, with people; write nothing.

    Raises:
        DataError: A file cannot be read, or none of the labels is of a judged answer.
    """
    judged, people = read_labels(judgements, judge=True), read_labels(labels)
    pairwise = people[0].verdict in OUTCOMES
    for one in judged:
        if one.verdict and (one.verdict in OUTCOMES) != pairwise:
            expected = ", ".join(OUTCOMES) if pairwise else "correct, partly or incorrect"
            raise DataError(
                f"{judgements}:{one.line}: expected {expected}, as {labels.name} holds such labels, found {one.verdict}"
            )
    return _compared(JudgedColumn("", {}, judged, (), pairwise), people, labels)


def _compared(column: JudgedColumn, people: Sequence[Label], labels: Path) -> dict[str, Json]:
    try:
        found = calibrate(column.judged, people, unjudged=column.unjudged)
    except DataError as error:
        raise DataError(f"{labels}: {error}{f' (judge {column.protocol})' if column.protocol else ''}") from error
    # The name of the file without its folder: what is passed on says nothing of this machine.
    return {"labels": {"file": labels.name, "sha256": sha256_file(labels), "lines": len(people)}, **to_json(found)}


def _head(column: JudgedColumn) -> dict[str, Json]:
    identity = ("id", "digest", "panel", "members", "rule", "rubric", "rubric_version", "prompt_version", "against")
    return {"protocol": column.protocol} | {name: column.about[name] for name in identity if name in column.about}


def _columns(directory: RunDirectory) -> list[JudgedColumn]:
    read = read_columns(directory)
    by_name = {column.protocol: column for column in read}
    return [_of_panel(directory, column, by_name) if column.panel is not None else _of_judge(column) for column in read]


def _of_judge(column: JudgeColumn) -> JudgedColumn:
    judged: list[Label] = []
    unjudged: list[Place] = []
    for task, places in column.judgements.items():
        for (sample_id, repeat), judgements in places.items():
            asked = [one for one in judgements if one.key]  # an answer that failed was shown to no judge
            by_order: dict[str, list[Judgement]] = {}
            for one in asked:
                if one.value is not None:
                    by_order.setdefault(one.order, []).append(one)
            if asked and not by_order:
                unjudged.append((task, sample_id, repeat))
            judged += [_label(order, group) for order, group in by_order.items()]
    return JudgedColumn(column.protocol, column.about, judged, unjudged, column.about["reply"] == PAIRWISE)


def _label(order: str, judgements: Sequence[Judgement]) -> Label:
    """Return several judgements of one answer in one order as one: the mean value, the most frequent verdict."""
    first = judgements[0]
    values = [one.value for one in judgements if one.value is not None]
    (verdict, count), *others = Counter(one.verdict for one in judgements).most_common(2)
    undecided = bool(others) and others[0][1] == count  # its score then says which verdict it stands for
    return Label(
        sample_id=first.sample_id,
        task=first.task,
        repeat=first.repeat,
        order=order,
        verdict="" if order or undecided else verdict,
        score=fsum(values) / len(values),
        length=first.answer_length,
        cluster=first.cluster,
    )


def _of_panel(directory: RunDirectory, column: JudgeColumn, members: Mapping[str, JudgeColumn]) -> JudgedColumn:
    """Return a panel's joint judgements, which only its scores hold."""
    assert column.panel is not None
    first = members[column.panel.members[0]]
    metric = JUDGE.row(Protocol(column.protocol, version=column.version, score=JUDGE.protocols[0].score))
    judged: list[Label] = []
    unjudged: list[Place] = []
    for task, places in first.judgements.items():
        path = score_files(directory.scores_folder, task, [metric])[metric.name, metric.protocol]
        if not path.is_file():
            raise SpecError(f"{path}: no such file; run `harness score {directory.path}` first")
        directory.checks.check(path, f"`harness score {directory.path}` writes it anew")
        for score in read_scores(path, metric):
            one = places[score.sample_id, score.repeat][0]
            if not one.key:
                continue
            if not score.values or score.values[0] is None:
                unjudged.append((task, score.sample_id, score.repeat))
                continue
            judged.append(
                Label(
                    sample_id=score.sample_id,
                    task=task,
                    repeat=score.repeat,
                    verdict=str(score.detail.get("verdict", "")),
                    score=score.values[0],
                    length=one.answer_length,
                    cluster=score.cluster,
                )
            )
    return JudgedColumn(column.protocol, column.about, judged, unjudged, first.about["reply"] == PAIRWISE)


def calibration_text(entry: Mapping[str, Any]) -> str:
    """Return a calibration as lines for the terminal."""
    raters = f", {entry['raters']} raters" if entry["raters"] > 1 else ""
    left_out = [
        f"{entry[name]} {words}"
        for name, words in (
            ("unjudged", "unjudged"),
            ("not_asked", "not shown to the judge"),
            ("no_consensus", "without a consensus of the raters"),
        )
        if entry[name]
    ]
    head = f"{entry.get('protocol', 'judgements')}: {entry['n']} answers of {entry['clusters']} patients{raters}"
    lines = [f"{head}; left out: {', '.join(left_out)}" if left_out else head]
    for part, title in (("agreement", "with people"), ("between_raters", "between raters"), ("bias", "bias")):
        for name, number in entry[part].items():
            value = "-" if number["value"] is None else f"{number['value']:.4f}"
            ci = "" if number["ci"] is None else f"[{number['ci'][0]:.4f}, {number['ci'][1]:.4f}]"
            lines.append(f"  {title:15} {name:28} {value:>9}  {ci or number.get('note', '')}".rstrip())
    return "\n".join(lines)
