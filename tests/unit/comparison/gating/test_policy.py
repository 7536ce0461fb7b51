from pathlib import Path

import pytest

from harness.comparison.gating.policy import MeasureRow, NumberRow, headlines_policy, load_policy
from harness.errors import SpecError


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as raised:
        load_policy(write(folder, text))
    return [line.partition("policy.yaml:")[2] for line in str(raised.value).split("\n")]


def test_every_key_of_a_row_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "defaults: {min_clusters: 30, detect: 0.05}\n"
        "rows:\n"
        "  - {task: a}\n"
        "  - task: b\n"
        "    metric: token_prf\n"
        "    name: recall\n"
        "    protocol: standard\n"
        "    mean: micro\n"
        "    stratum: {modality: CT}\n"
        "    tolerance: 0.01\n"
        "    detect: 0.02\n"
        "    rule: non_inferior\n"
        "    required_coverage: 0.9\n"
        "    max_failed: 3\n"
        "    min_clusters: 25\n"
        "  - {measure: speed, task: a, tolerance: 0.2}\n"
        "  - {measure: memory, tolerance: 0.1}\n",
    )
    policy = load_policy(path)
    assert policy.numbers == (
        NumberRow(task="a", min_clusters=30, detect=0.05, place=f"{path}:3"),
        NumberRow(
            task="b",
            metric="token_prf",
            name="recall",
            protocol="standard",
            mean="micro",
            stratum=("modality", "ct"),
            tolerance=0.01,
            detect=0.02,
            rule="non_inferior",
            required_coverage=0.9,
            max_failed=3,
            min_clusters=25,
            place=f"{path}:4",
        ),
    )
    assert policy.measures == (
        MeasureRow(measure="speed", task="a", tolerance=0.2, place=f"{path}:16"),
        MeasureRow(measure="memory", tolerance=0.1, place=f"{path}:17"),
    )
    assert policy.numbers[1].title == "b token_prf recall (standard) micro modality=ct"
    assert policy.measures[1].title == "memory of the run"


def test_without_a_policy_every_headline_must_hold() -> None:
    assert headlines_policy(["a", "b"]).numbers == (NumberRow(task="a"), NumberRow(task="b"))


def test_all_faults_are_found_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        "defaults: {min_cluster: 30}\n"
        "rows:\n"
        "  - {task: a, metrc: x, tolerance: -1}\n"
        "  - {task: b, rule: no_wors, detect: 0}\n"
        "  - {measure: memory, task: a, metric: dice}\n"
        "  - {task: c, stratum: {a: b, c: d}, protocol: x, max_failed: 1%}\n"
        "  - {task: d}\n"
        "  - {task: e, min_clusters: 3, stratum: ct}\n"
        "  - {measure: fast, tolerance: 0.1}\n"
        "  - {tolerance: 0.1}\n"
        "  - {task: d}\n"
    )
    assert faults(tmp_path, text) == [
        "1: defaults.min_cluster: unknown key (did you mean 'min_clusters'?)",
        "3: rows[0].metrc: unknown key (did you mean 'metric'?)",
        "3: rows[0].tolerance: expected a number from 0 to 1e+09, got the number -1",
        "4: rows[1].detect: expected a number above 0: no number of samples shows a drop of nothing",
        "4: rows[1].rule: expected one of 'no_worse', 'non_inferior', got 'no_wors' (did you mean 'no_worse'?)",
        "5: rows[2].metric: does not belong in a row with 'measure', which knows measure, task, tolerance",
        "5: rows[2].task: 'memory' is measured for the whole run, not by task; leave the task out",
        "5: rows[2].tolerance: required key is missing",
        "6: rows[3].max_failed: expected a whole number of at least 0, got '1%'",
        "6: rows[3].protocol: stands beside 'metric' only; a row without one means the headline of the task",
        "6: rows[3].stratum: expected one key with its value, as in {modality: ct}, got keys and values",
        "8: rows[5].min_clusters: expected a whole number of at least 5, got the number 3",
        "8: rows[5].stratum: expected keys and values, got 'ct'",
        "9: rows[6].measure: expected one of 'speed', 'memory', 'gpu_memory', 'cost', 'tokens', got 'fast'",
        "10: rows[7].task: required key is missing",
        "11: d headline: stands twice, first in line 7; keep one of them",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rows: []\n", "1: rows: expected at least one row; a gate without rows would pass anything"),
        ("defaults: {}\n", "1: rows: required key is missing; expected a list of rows"),
        ("rows: {task: a}\n", "1: rows: expected a list, got keys and values"),
        ("", "1: the file is empty; expected keys and values"),
    ],
)
def test_a_gate_without_rows_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert faults(tmp_path, text) == [words]
