"""Clinical entities: which names a report and its reference share."""

from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from harness.metrics.metric import Outcome, bind, sample_values
from harness.metrics.reports.clinical_entities import METRICS, OUR_TERMS, read_terms
from harness.records import Prediction, Sample, Target

(METRIC,) = METRICS


def sample(*answers: str) -> Sample:
    return Sample(id="d/1", target=Target(answers=answers))


def outcome(text: str | None, *answers: str) -> Outcome:
    return METRIC.score(sample(*answers), Prediction(key="k", status="ok", text=text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The liver is large.", {"liver"}),
        ("Livers, LIVER and liver-like", {"liver"}),
        ("a liverish sliver", set()),
        ("The left kidney is small", {"kidney left"}),
        ("the kidney left of it", {"kidney left"}),
        ("left and right kidneys", {"kidney right"}),
        ("inferior vena cava", {"inferior vena cava"}),
        ("the vena cava", {"vena cava"}),
        ("Gall bladder/spleen", {"gall bladder", "spleen"}),
        ("vertebra T10", {"vertebrae T10"}),
        ("", set()),
    ],
)
def test_names_are_whole_phrases_and_the_longest_wins(text: str, names: set[str]) -> None:
    assert read_terms(OUR_TERMS).entities(text) == names


def test_shared_names_are_counted_once_a_report() -> None:
    found = outcome("Liver, liver, spleen and the chest", "The spleen. Liver, pancreas and stomach.")
    assert found.stats == (2.0, 2.0, 4.0)
    assert found.detail == {"shared": ["liver", "spleen"], "missed": ["pancreas", "stomach"], "added": []}
    assert sample_values(METRIC, found.stats) == pytest.approx((2 / 3, 1.0, 0.5))


def test_reports_without_names_are_undefined_on_both_sides_and_zero_on_one() -> None:
    assert outcome("ok", "fine").status == outcome("liver").status == "undefined"
    assert sample_values(METRIC, outcome("liver", "fine").stats) == (0.0, 0.0, 0.0)
    assert sample_values(METRIC, outcome(None, "liver").stats) == (0.0, 0.0, 0.0)
    assert sample_values(METRIC, (0.0, 0.0, 0.0)) == (None, None, None)


def test_worst_and_ceiling_follow_the_reference() -> None:
    assert METRIC.worst(sample("liver and spleen")) == (0.0, 0.0, 2.0)
    assert [METRIC.ceiling(sample(*answers)) for answers in (("liver",), ("fine",), ())] == [1.0, None, None]
    assert METRIC.floor(sample("liver")) == 0.0


def test_combine_takes_any_number_of_leading_axes() -> None:
    assert METRIC.combine(np.ones((3, 2, 3))).shape == (3, 2, 3)


def test_a_list_of_ones_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("# ours\n\nGround-glass opacity\n结节\n", encoding="utf-8")
    row = bind(METRIC, {"terms": str(terms)}, "--param")
    texts = "Ground glass opacities, 肺结节, liver", "ground glass opacity"
    found = row.score(sample(texts[1]), Prediction(key="k", status="ok", text=texts[0]))
    assert found.detail["added"] == ["结节"]
    assert found.stats == (1.0, 2.0, 1.0)
    assert row.resource is not None
    assert row.resource.missing(row.bound) is None
    assert row.resource.describe(row.bound)["entities"] == 2


def test_a_list_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n...\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"h\xe4matom")
    for name, wording in (("absent", "got .*No such file"), ("empty", "found no term"), ("latin", "in UTF-8, got")):
        path = tmp_path / f"{name}.txt"
        with pytest.raises(DataError, match=f"{name}.txt: expected a term list, one term a line.*{wording}"):
            read_terms(path)
        assert METRIC.resource is not None
        lacking = METRIC.resource.missing({"terms": str(path)})
        assert lacking is not None
        assert "leave it out" in lacking.remedy
        assert METRIC.resource.describe({"terms": str(path)}) == {}


def test_our_list_is_that_of_the_release() -> None:
    lines = [line for line in OUR_TERMS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert (len(lines), len(set(lines))) == (222, 222)
