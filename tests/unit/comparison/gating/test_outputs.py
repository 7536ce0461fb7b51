import json
from xml.etree.ElementTree import fromstring

import pytest

from harness.comparison.gating import outputs
from harness.comparison.gating.verdict import ClusterChange, GateReport, RowVerdict, StratumChange

WORSE = RowVerdict(
    title="a dice | <b>",
    task="a",
    verdict="regression",
    reason="a loss is shown: 50% of\x00 it",
    metric="dice",
    baseline=0.5,
    candidate=0.4,
    difference=-0.1,
    interval=(-0.15, -0.05),
    p=0.001,
    p_adjusted=0.002,
    detectable=float("inf"),
    n=1200,
    clusters=30,
    strata=tuple(
        StratumChange(key="class", value=f"c{at}", baseline=0.5, candidate=0.4, n=9, clusters=3) for at in range(9)
    ),
    worst=(ClusterChange(cluster="p1", contribution=-0.02, samples=(("s1", 0.9, None), ("s2", 0.9, 0.1))),),
    place="C:policy.yaml:4",
)
FEW = RowVerdict(title="b headline", task="b", verdict="cannot_judge", reason="12 patients", remedy="at least 20")
FINE = RowVerdict(title="c headline", task=None, verdict="pass", reason="no loss is shown", notes=("fallbacks differ",))
REPORT = GateReport(baseline="old", candidate="new", rows=(FINE, FEW, WORSE), notes=("the baseline has no d",))


def test_the_text_begins_with_the_worst_and_names_strata_and_samples() -> None:
    lines = outputs.text(REPORT).split("\n")
    assert lines[0] == "REGRESSION: new against old: 1 of 3 pass, 1 of 3 regressed, 1 of 3 cannot be judged"
    assert lines[2:5] == [
        "REGRESSION   a dice | <b>",
        "    a loss is shown: 50% of  it",
        "    in class=c0: 0.5000 -> 0.4000 (-0.1000; 9 samples of 3 patients)",
    ]
    assert "    in 1 more strata" in lines
    assert "    lost most: p1 (-0.0200 of the difference): s1 0.9 -> no value, s2 0.9 -> 0.1" in lines
    assert "    what would let it be judged: at least 20" in lines
    assert lines[-2:] == ["    note: fallbacks differ", "note: the baseline has no d"]


def test_json_holds_no_infinity() -> None:
    value = json.loads(json.dumps(outputs.to_json(REPORT), allow_nan=False))
    assert (value["verdict"], value["exit_code"]) == ("regression", 1)
    row = value["rows"][2]
    assert row["detectable"] is None
    assert row["strata"][0]["stratum"] == {"class": "c0"}
    assert row["worst"][0]["samples"][1] == {"sample_id": "s2", "baseline": 0.9, "candidate": 0.1}


def test_junit_has_failures_for_regressions_and_errors_for_what_cannot_be_judged() -> None:
    suites = fromstring(outputs.junit(REPORT))
    assert [suites.get(key) for key in ("tests", "failures", "errors")] == ["3", "1", "1"]
    cases = suites.findall("testsuite/testcase")
    assert [case.get("classname") for case in cases] == ["run", "b", "a"]
    assert [child.tag for case in cases for child in case] == ["system-out", "error", "failure"]
    assert cases[2][0].get("message") == "a loss is shown: 50% of? it"


def test_markdown_cannot_be_broken_by_names() -> None:
    page = outputs.markdown(REPORT)
    assert page.startswith("## harness gate: the candidate is worse\n")
    row = next(line for line in page.split("\n") if line.startswith("| REGRESSION"))
    assert row.startswith(r"| REGRESSION | a dice \| &lt;b> | 0.5000 | 0.4000 | -0.1000 | [-0.1500, -0.0500] | 0.002 |")
    assert row.endswith("| 1,200 | 30 |")
    assert "- note: the baseline has no d" in page


def test_annotations_name_the_line_of_the_policy() -> None:
    lines = outputs.github(REPORT).split("\n")
    assert lines[0].startswith("::error file=C%3Apolicy.yaml,line=4,title=REGRESSION%3A a dice | <b>::")
    assert "50%25 of" in lines[0]
    assert "%0A" in lines[0]
    assert lines[1].startswith("::error title=CANNOT JUDGE%3A b headline::12 patients%0A")
    assert lines[2].startswith("::notice title=PASS%3A c headline::")


@pytest.mark.parametrize("write", [outputs.text, outputs.markdown, outputs.github])
def test_a_gate_that_gates_nothing_says_so(write: object) -> None:
    empty = GateReport(baseline="old", candidate="new", rows=())
    assert empty.exit_code == 3
    assert callable(write)
    assert "the baseline has no scored task" in write(empty)
