"""A protocol's numbers move only with its version: each row of the metric table has a hash of its outputs.

To record a change that is meant: raise the row's `version`, run `python tests/golden/test_fingerprints.py`, and say in
the CHANGELOG under Scores what moved.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from harness import masks
from harness.metrics import METRICS, Metric, sample_values
from harness.records import Entity, Prediction, Sample, Target
from harness.serial import digest

FILE = Path(__file__).with_name("fingerprints.json")

TEXTS = [
    ("yes", ["Yes"]),
    ("Yes, there is.", ["yes"]),
    ("no yes", ["no"]),
    ("", ["no"]),
    ("The left lung.", ["left lung"]),
    ("left-sided mass of 1,200 mm", ["left sided mass of 1200 mm"]),
    ("two nodules", ["2 nodules"]),
    ("dont know", ["don't know"]),
    ("lung lung lung", ["lung"]),
    ("是", ["Yes"]),
    ("肺部 有 结节", ["肺 结节"]),
    ("liver", [""]),
    ("x-ray", ["X ray", "radiograph"]),
    ("radiograph", ["X ray", "radiograph"]),
    ("a", ["the"]),
]


def _mask_pairs() -> list[tuple[Sample, Prediction]]:
    draw = np.random.default_rng(7)
    pairs = []
    for index in range(12):
        size = (9, 7) if index < 9 else (3, 5, 4)
        target, prediction = (draw.random(size) < share for share in draw.choice([0.0, 0.2, 0.6], size=2))
        entities = (
            Entity(name="one", mask=masks.encode(target)),
            Entity(name="two", mask=masks.encode(target & prediction)),
        )
        given = () if index == 5 else (masks.encode(prediction), masks.encode(prediction & ~target))
        sample = Sample(id=str(index), target=Target(entities=entities))
        pairs.append((sample, Prediction(key="", status="ok", masks=given)))
    return pairs


def _text_pairs() -> list[tuple[Sample, Prediction]]:
    return [
        (Sample(id=str(index), target=Target(answers=tuple(answers))), Prediction(key="", status="ok", text=text))
        for index, (text, answers) in enumerate(TEXTS)
    ]


def fingerprint(metric: Metric) -> str:
    """Return the digest of what the metric gives on the fixed inputs, at twelve significant digits."""
    pairs = {"text": _text_pairs, "masks": _mask_pairs}[metric.line]()
    outputs = []
    for sample, prediction in pairs:
        outcome = metric.score(sample, prediction)
        values = sample_values(metric, outcome.stats) if outcome.stats else ()
        worst = metric.worst(sample)
        outputs.append([outcome.status, [_digits(value) for value in values], [_digits(value) for value in worst]])
    return digest([metric.values, metric.stats, metric.floor, outputs])


def _digits(value: float | None) -> str:
    return "null" if value is None else f"{value:.12g}"


def _name(metric: Metric) -> str:
    return f"{metric.name}/{metric.protocol}/v{metric.version}"


@pytest.mark.parametrize("metric", METRICS, ids=_name)
def test_a_protocol_gives_what_its_version_gave(metric: Metric) -> None:
    assert json.loads(FILE.read_text())[_name(metric)] == fingerprint(metric)


def test_every_recorded_fingerprint_belongs_to_a_row() -> None:
    assert set(json.loads(FILE.read_text())) == {_name(metric) for metric in METRICS}


if __name__ == "__main__":
    FILE.write_text(json.dumps({_name(metric): fingerprint(metric) for metric in METRICS}, indent=1) + "\n")
