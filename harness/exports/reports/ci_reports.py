"""A run as a test report, JUnit XML or CTRF: a test is a sample, and it passes if the model has answered it.

Whether an answer is right is no matter of these reports: the scores are beside it, and `harness gate` has a verdict.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.comparison.gating.outputs import xml_text
from harness.exports.finished_run import (
    ExportedSample,
    FinishedRun,
    finished_run,
    library_version,
    number_name,
    stratum_name,
)
from harness.records import FAULTS, Json

CTRF_VERSION = "0.0.0"  # of CTRF's specification, a working draft
Outcome = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTest:
    """A sample as a test.

    Attributes:
        name: The sample id, with the number of a later repetition behind it.
        outcome: `passed` if there is an answer that could be scored; `failed` if it is empty, refused or unreadable;
            `error` if the model or a metric failed; `skipped` if the sample was not asked.
        reason: Why it has not passed; empty if it has.
    """

    item: ExportedSample
    name: str
    outcome: Outcome
    reason: str

    @property
    def seconds(self) -> float:
        """Time that the model took."""
        return 0.0 if self.item.prediction is None else self.item.prediction.seconds

    @property
    def scores(self) -> dict[str, float | None]:
        """The values of the sample by name."""
        return dict(pair for score in self.item.scores for pair in score.named())


def tests_of(run: FinishedRun, task: str) -> Iterator[SampleTest]:
    """Yield the samples of a task as tests."""
    for item in run.samples(task):
        statuses = {score.status for score in item.scores}
        outcome: Outcome = "passed"
        reason = ""
        if item.prediction is None or item.status == "data_error":
            outcome, reason = "skipped", item.error or "the sample was not asked"
        elif item.status in FAULTS or "scorer_error" in statuses:
            outcome, reason = "error", item.error or "a metric failed on the answer"
        elif item.status in ("empty", "refused") or "unparsed" in statuses:
            outcome = "failed"
            reason = {"empty": "the answer is empty", "refused": "the model refused"}.get(
                item.status, "the answer could not be read"
            )
        name = item.sample.id + (f" (repetition {item.repeat + 1})" if item.repeat else "")
        yield SampleTest(item=item, name=name, outcome=outcome, reason=reason)


def junit(run_folder: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()) -> str:
    """Return a run as JUnit XML: a suite per task with its numbers as properties, a case per sample with its scores.

    The elements are those of junit-10.xsd, which Jenkins checks reports against.

    Args:
        run_folder: The run directory.
        task: Only this task; None: all tasks of the run.
        task_paths: Folders with further task files.
    Raises:
        SpecError: The run is not finished, or has no such task.
        DataError: A stored prediction is damaged.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:
        suites = Element("testsuites", name=f"harness: {xml_text(run.model_name)}")
        for name in run.tasks:
            suite = SubElement(suites, "testsuite", name=xml_text(name))
            suite.set("timestamp", run.started.removesuffix("Z"))
            properties = SubElement(suite, "properties")
            for key, value in _suite_facts(run, name).items():
                SubElement(properties, "property", name=xml_text(key), value=xml_text(value))
            counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
            seconds = 0.0
            for test in tests_of(run, name):
                case = SubElement(suite, "testcase", classname=xml_text(name), name=xml_text(test.name))
                case.set("time", f"{test.seconds:.3f}")
                seconds += test.seconds
                counts["tests"] += 1
                # The schema of Jenkins knows no `error` within a case, so a crash is a failure with its own type.
                if test.outcome != "passed":
                    tag, count = ("skipped", "skipped") if test.outcome == "skipped" else ("failure", "failures")
                    SubElement(case, tag, type=test.item.status, message=xml_text(test.reason))
                    counts[count] += 1
                # Nor any `properties`: the scores are JSON in the output.
                output = {"status": test.item.status, "scores": test.scores}
                SubElement(case, "system-out").text = xml_text(json.dumps(output, ensure_ascii=False))
            for key, number in counts.items():
                suite.set(key, str(number))
            suite.set("time", f"{seconds:.3f}")
        indent(suites)
        return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(suites, encoding="unicode")}\n'


def _suite_facts(run: FinishedRun, name: str) -> dict[str, str]:
    block = run.block(name)
    facts = {
        "model": run.model_name,
        "model.id": str(run.model["id"]),
        "model.version": str(run.model["version"]),
        "model.weights": " ".join(map(str, run.model["weights"])) or "none",
        "harness": library_version(),
        "task.version": str(block["version"]),
        "data": str(run.results["data"]),
        "data_digest": str(block["data_digest"]),
        "coverage": json.dumps(block["coverage"]),
    }
    for row in block["metrics"]:
        stratum = stratum_name(row)
        label = f"{number_name(row['metric'], row['protocol'], row['name'])}.{row['mean']}{stratum}"
        facts[label] = json.dumps(row["value"])
        kept = ("ci", "n", "failed", "undefined", "unparsed", "protocol_version")
        facts[f"{label}.facts"] = json.dumps({key: row[key] for key in kept})
    return facts


def ctrf(run_folder: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()) -> str:
    """Return a run in the Common Test Report Format; the arguments and errors are those of `junit`."""
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:
        start = round(datetime.fromisoformat(run.started).timestamp() * 1000)
        tests: list[dict[str, Json]] = []
        words = {"passed": "passed", "failed": "failed", "error": "failed", "skipped": "skipped"}
        for name in run.tasks:
            for test in tests_of(run, name):
                one: dict[str, Json] = {
                    "name": test.name,
                    "status": words[test.outcome],
                    "rawStatus": test.item.status,
                    "duration": round(test.seconds * 1000),
                    "suite": [name],
                    "extra": {"sample_id": test.item.sample.id, "repeat": test.item.repeat, "scores": test.scores},
                }
                tests.append({**one, "message": test.reason} if test.reason else one)
        states = ("passed", "failed", "skipped", "pending", "other")
        duration = sum(test["duration"] for test in tests)
        summary = {
            "tests": len(tests),
            **{state: sum(test["status"] == state for test in tests) for state in states},
            "suites": len(run.tasks),
            "start": start,
            "stop": start + duration,
        }
        content = {
            "reportFormat": "CTRF",
            "specVersion": CTRF_VERSION,
            "timestamp": run.started,
            "generatedBy": "harness export ctrf",
            "results": {
                "tool": {"name": "MedGround", "version": library_version()},
                "summary": summary,
                "tests": tests,
            },
            "extra": {"medground": run.record("ctrf")},
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
