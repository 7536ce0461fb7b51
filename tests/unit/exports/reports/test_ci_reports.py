"""Test reports for CI: JUnit XML in the elements of junit-10.xsd, CTRF in its schema."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.api import load_scores
from harness.exports.reports.ci_reports import ctrf, junit
from tests.support.exported_runs import NAMES, ExportedCase

# Children and attributes that junit-10.xsd of Jenkins' xunit plug-in knows.
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "property": set(),
    "testcase": {"skipped", "failure", "system-out"},
    "failure": set(),
    "skipped": set(),
    "system-out": set(),
}
ATTRIBUTES = {
    "testsuites": {"name"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "skipped": {"type", "message"},
}


def test_junit_has_a_case_per_sample_with_its_scores(image_case: ExportedCase) -> None:
    root = ElementTree.fromstring(junit(image_case.run, task_paths=image_case.task_paths))
    for element in root.iter():
        assert {child.tag for child in element} <= CHILDREN[element.tag]
        assert set(element.attrib) <= ATTRIBUTES.get(element.tag, set())
    (suite,) = root
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "10",
        "failures": "4",
        "errors": "0",
        "skipped": "0",
    }
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [f"organs2d/all/{name}" for name in NAMES]
    failures = {case.get("name").rpartition("/")[2]: case.find("failure") for case in cases}
    assert {name: one.get("type") for name, one in failures.items() if one is not None} == {
        "refused": "refused",
        "empty": "empty",
        "error": "model_error",
        "timeout": "timeout",
    }
    values = load_scores(image_case.run)["dice.standard"].tolist()
    found = [json.loads(case.findtext("system-out"))["scores"]["dice.standard"] for case in cases]
    assert found == pytest.approx(values, abs=1e-12)
    facts = {one.get("name"): one.get("value") for one in suite.find("properties")}
    row = next(row for row in image_case.rows if row["metric"] == "dice" and row["stratum"] is None)
    assert json.loads(facts["dice.standard.micro"]) == row["value"]
    assert json.loads(facts["dice.standard.micro.facts"])["ci"] == row["ci"]
    assert (facts["task.version"], facts["model"], facts["coverage"]) == ("3", "model of ours", "1.0")
    assert len(facts["model.weights"]) == 64


def test_ctrf_fits_its_schema(word_case: ExportedCase, repository: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    content = json.loads(ctrf(word_case.run, task_paths=word_case.task_paths))
    schema = json.loads((repository / "tests" / "golden" / "schemas" / "ctrf.schema.json").read_text())
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(content)
    summary, tests = content["results"]["summary"], content["results"]["tests"]
    assert {key: summary[key] for key in ("tests", "passed", "failed", "skipped", "other")} == {
        "tests": 10,
        "passed": 6,
        "failed": 4,
        "skipped": 0,
        "other": 0,
    }
    assert [test["extra"]["sample_id"] for test in tests] == [f"lobes/all/{name}" for name in NAMES]
    values = load_scores(word_case.run)["token_prf.standard.f1"].tolist()
    assert [test["extra"]["scores"]["token_prf.standard.f1"] for test in tests] == pytest.approx(values, abs=1e-12)
    assert [test["message"] for test in tests[6:8]] == ["the model refused", "the answer is empty"]
    record = content["extra"]["medground"]
    assert record["tasks"]["lobes"]["metrics"] == word_case.rows
    assert record["model"]["weights"]
