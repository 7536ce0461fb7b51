"""The numbers of judges in `results.json`: a pure function of the replies that are stored."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from pathlib import Path

from harness.evaluation.judging.calibration import summary_of
from harness.evaluation.judging.panels import Panel, read_panels
from harness.metrics.answers.judge import JUDGE
from harness.metrics.answers.judge_replies import MIDDLE, readable_all_the_same
from harness.metrics.family import Protocol
from harness.metrics.metric import Metric
from harness.records import Json, Judgement, Score
from harness.records.codec import canonical
from harness.runs.directory import RunDirectory
from harness.runs.judgements import JudgeFolder, judge_folders, read_calibrations
from harness.scoring.aggregate import to_json as row_to_json
from harness.scoring.results import Tally, aggregate_metric
from harness.scoring.score import ScoreFile, score_files
from harness.tasks.spec import TaskSpec
from harness.text.judgement import BEST

ORDERS = ("first", "second")
Place = tuple[str, int]  # id of the sample, repetition of the model's answer


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeColumn:
    """One judge, or one panel, in the results.

    Attributes:
        protocol: Name of the column.
        rubric: Name of the rubric.
        version: Of the rubric.
        about: What stands as `judge` beside every number of the column.
        judgements: By task and place, those of one answer in the order in which they were asked for.
        panel: The panel; None for a judge.
    """

    protocol: str
    rubric: str
    version: int
    about: Mapping[str, Json]
    judgements: Mapping[str, Mapping[Place, Sequence[Judgement]]] = field(default_factory=dict)
    panel: Panel | None = None


def read_columns(directory: RunDirectory) -> list[JudgeColumn]:
    """Return the columns of a run's judges and panels; none if it was not judged.

    Raises:
        DataError: A file of `judgements/` is damaged.
    """
    columns = [_column(folder) for folder in judge_folders(directory.path)]
    found = {column.protocol: column for column in columns}
    for panel in read_panels(directory.path):
        members = [found[name] for name in panel.members if name in found]
        if len(members) < len(panel.members):
            continue  # a rubric's version was raised, and the panel has not been asked again
        about: dict[str, Json] = {
            "panel": [str(one.about["id"]) for one in members],
            "members": list(panel.members),
            "rule": panel.rule,
            "quorum": panel.quorum,
            "rubric": panel.rubric,
            "rubric_version": members[0].version,
        }
        columns.append(
            JudgeColumn(
                protocol=panel.protocol, rubric=panel.rubric, version=members[0].version, about=about, panel=panel
            )
        )
    calibrations = read_calibrations(directory.path)
    return [
        replace(
            column,
            about={**column.about, "calibration": summary_of(calibrations, column.protocol, column.about)},
        )
        for column in columns
    ]


def judged_rows(task: TaskSpec, columns: Sequence[JudgeColumn], tally: Tally, folder: Path) -> list[dict[str, Json]]:
    """Return the rows of all judges of one task, and write their scores to `folder`.

    Args:
        task: The task.
        columns: From `read_columns`.
        tally: Of the task; it gets the number of answers that are unjudged, by which coverage falls.
        folder: That of the scores.
    """
    rows: list[dict[str, Json]] = []
    by_name = {column.protocol: column for column in columns}
    for column in columns:
        if column.panel is None:
            places = column.judgements.get(task.task, {})
            scores = [_score(column, place, judgements) for place, judgements in places.items()]
            every = [one for judgements in places.values() for one in judgements]
            facts = _facts(every, list(places.values()), scores, released=column.about["reply"] == "m3d")
        else:
            members = [by_name[name].judgements.get(task.task, {}) for name in column.panel.members]
            scores = [_panel_score(column, column.panel, place, members) for place in members[0]]
            facts = _panel_facts(members, scores)
        if not scores:
            continue
        metric = _metric(column)
        path = score_files(folder, task.task, [metric])[metric.name, metric.protocol]
        file = ScoreFile(path)
        for score in scores:
            file.add(score)
            tally.unscored[metric.name, metric.protocol] += score.status == "unjudged"
        file.close()
        about = {**column.about, **facts}
        for result in aggregate_metric(task, metric, path):
            row = {**row_to_json(result), "judge": about}
            if result.stratum is None:
                row |= {"floor": 0.0, "ceiling": BEST}
            rows.append(row)
    return rows


def _column(folder: JudgeFolder) -> JudgeColumn:
    record = folder.record()
    judgements: dict[str, dict[Place, list[Judgement]]] = {}
    judge_digest = ""
    for one in folder.judgements():
        judge_digest = one.judge_digest
        judgements.setdefault(one.task, {}).setdefault((one.sample_id, one.repeat), []).append(one)
    about: dict[str, Json] = {
        "id": str(record["judge"]["id"]),
        "digest": judge_digest,
        "rubric": record["rubric"]["name"],
        "rubric_version": record["rubric"]["version"],
        "rubric_digest": record["rubric"]["digest"],
        "reply": record["rubric"]["reply"],
        "prompt_version": record["prompt_version"],
        "folder": folder.path.name,
    }
    if "against" in record:
        about["against"] = record["against"]
    return JudgeColumn(
        protocol=folder.protocol,
        rubric=record["rubric"]["name"],
        version=record["rubric"]["version"],
        about=about,
        judgements=judgements,
    )


def _metric(column: JudgeColumn) -> Metric:
    """Return the row of the table for a column; its scores are made here, of judgements that are read already."""
    return JUDGE.row(Protocol(column.protocol, version=column.version, score=JUDGE.protocols[0].score))


def _mean(judgements: Sequence[Judgement]) -> float | None:
    """Return the mean of the values; of pairs only those count that were judged in both orders."""
    orders: dict[int, int] = {}
    for one in judgements:
        orders[one.ask] = orders.get(one.ask, 0) + (one.value is not None or not one.order)
    whole = [one for one in judgements if not one.order or orders[one.ask] == len(ORDERS)]
    values = [one.value for one in whole if one.value is not None]
    return fsum(values) / len(values) if values else None


def _score(column: JudgeColumn, place: Place, judgements: Sequence[Judgement]) -> Score:
    first = judgements[0]
    value = _mean(judgements)
    read = [one for one in judgements if one.value is not None]
    detail: dict[str, Json] = {"reply": (read or judgements)[0].reply}
    if words := [one.verdict for one in read if one.verdict]:
        detail["verdict"] = ", ".join(words)
    if reasons := [one.reason for one in judgements if one.reason]:
        detail["reason"] = reasons[0]
    return _one_score(column, place, first, value, detail, failed=first.failed)


def _one_score(
    column: JudgeColumn,
    place: Place,
    first: Judgement,
    value: float | None,
    detail: Mapping[str, Json],
    *,
    failed: bool,
) -> Score:
    return Score(
        sample_id=place[0],
        repeat=place[1],
        metric=JUDGE.name,
        protocol=column.protocol,
        status="unjudged" if value is None else "ok",
        values=() if value is None else (value,),
        stats=() if value is None else (value, 1.0),
        failed=failed and value is not None,
        detail=detail,
        cluster=first.cluster,
        strata=first.strata,
    )


def _facts(
    judgements: Sequence[Judgement], groups: Sequence[Sequence[Judgement]], scores: Sequence[Score], *, released: bool
) -> dict[str, Json]:
    """Return what stands beside a judge's numbers: coverage, how replies ended, agreement with itself, its cost."""
    asked = [one for one in judgements if one.key]
    usage: dict[str, list[float]] = {}
    for one in {one.key: one for one in asked}.values():
        for name, count in one.usage.items():
            usage.setdefault(name, []).append(count)
    facts: dict[str, Json] = {
        "coverage": _coverage(scores),
        "asked": len(asked),
        "not_asked": len(judgements) - len(asked),
        "waiting": sum(one.attempts == 0 for one in asked),
        "unjudged": sum(one.value is None for one in asked),
        "asked_again": sum(one.attempts > 1 for one in asked),
        "usage": {name: round(fsum(counts), 9) for name, counts in sorted(usage.items())},
    }
    if verdicts := Counter(one.verdict for one in asked if one.verdict):
        facts["verdicts"] = dict(sorted(verdicts.items()))
    counts = Counter[str]()
    for one in asked:
        counts.update(one.counts)
    if counts:
        facts["counts"] = dict(sorted(counts.items()))
    if released:
        missed = [one for one in asked if one.value is None and one.reply]
        # What the released expression cannot read, though a score stands there.
        facts["released_misses"] = {
            "missed": len(missed),
            "of_these_readable": sum(readable_all_the_same(one.reply) for one in missed),
        }
    if any(one.ask for one in judgements):
        facts["self_agreement"] = _self_agreement(groups)
    if any(one.order for one in judgements):
        facts["flips"] = _flips(groups)
    return facts


def _coverage(scores: Sequence[Score]) -> float:
    return 1.0 - sum(score.status == "unjudged" for score in scores) / len(scores) if scores else 1.0


def _said(one: Judgement) -> Json:
    return one.verdict or one.value


def _self_agreement(groups: Iterable[Sequence[Judgement]]) -> Json:
    """Return over the answers that were judged several times the share of equal judgements, and their mean range."""
    same, ranges = [], []
    for group in groups:
        orders = sorted({one.order for one in group})
        for order in orders:
            read = [one for one in group if one.order == order and one.key and one.value is not None]
            if len(read) > 1:
                values = [one.value for one in read if one.value is not None]
                same.append(len({canonical(_said(one)) for one in read}) == 1)
                ranges.append(max(values) - min(values))
    n = len(same)
    return {"n": n, "same": sum(same) / n if n else None, "mean_range": fsum(ranges) / n if n else None}


def _flips(groups: Iterable[Sequence[Judgement]]) -> Json:
    """Return how often a judge names another winner when the two answers change places, and whom it then prefers."""
    flipped, first_preferred, n = 0, 0, 0
    for group in groups:
        for ask in sorted({one.ask for one in group}):
            pair = {one.order: one.value for one in group if one.ask == ask and one.key and one.value is not None}
            if len(pair) < 2:
                continue
            n += 1
            first, second = pair["first"], pair["second"]
            flipped += first != second
            first_preferred += first > MIDDLE > second  # the answer that stands first wins, whichever it is
    return {"n": n, "rate": flipped / n if n else None, "first_preferred": first_preferred / n if n else None}


def _panel_score(
    column: JudgeColumn, panel: Panel, place: Place, members: Sequence[Mapping[Place, Sequence[Judgement]]]
) -> Score:
    votes: list[tuple[float, str]] = []
    for member in members:
        judgements = member.get(place, ())
        value = _mean(judgements)
        if value is not None:
            verdicts = Counter(one.verdict for one in judgements if one.verdict)
            votes.append((value, verdicts.most_common(1)[0][0] if verdicts else ""))
    first = members[0][place][0]
    if not first.key:  # it stands without any judge
        value, verdict, reason = first.value, "", first.reason
    else:
        value, verdict, reason = panel.join(votes)
    detail: dict[str, Json] = {"votes": [[value, word] for value, word in votes]}
    detail |= {name: words for name, words in (("verdict", verdict), ("reason", reason)) if words}
    return _one_score(column, place, first, value, detail, failed=first.failed)


def _panel_facts(members: Sequence[Mapping[Place, Sequence[Judgement]]], scores: Sequence[Score]) -> dict[str, Json]:
    """Return coverage, and how far the judges are apart where several of them judged one answer."""
    ranges, differing = [], 0
    for place in members[0]:
        means = [(_mean(member.get(place, ())), member.get(place, ())) for member in members]
        asked = [(value, group) for value, group in means if value is not None and group[0].key]
        if len(asked) > 1:
            values = [value for value, _ in asked]
            ranges.append(max(values) - min(values))
            differing += len({canonical(sorted({one.verdict for one in group})) for _, group in asked}) > 1
    n = len(ranges)
    return {
        "coverage": _coverage(scores),
        "unjudged": sum(score.status == "unjudged" for score in scores),
        "disagreement": {
            "n": n,
            "mean_range": fsum(ranges) / n if n else None,
            "verdicts_differ": differing / n if n else None,
        },
    }
