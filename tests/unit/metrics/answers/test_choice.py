"""Choice accuracy: what counts as the reply, what is right, and what a missing answer is worth."""

from random import Random

import numpy as np
import pytest

from harness.errors import DataError
from harness.metrics.answers.choice import METRICS
from harness.metrics.metric import Metric, Outcome, bind, sample_values, settle
from harness.records import Prediction, Sample, Target
from harness.records.codec import canonical

ROWS = {metric.protocol: metric for metric in METRICS}
ALL_ROWS = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.protocol)
ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")
DOUBLED = ("Stage 1", "Stage 1", "Stage 2")
UNREADABLE = "@"


def sample(choice: str | None = "B", options: tuple[str, ...] = ORGANS, name: str = "d/test/1") -> Sample:
    right = options["ABCD".index(choice)] if choice and options else None
    return Sample(id=name, choices=options, target=Target(choice=choice, answers=(right,) if right else ()))


def prediction(text: str | None = None, **fields: object) -> Prediction:
    return Prediction(key="k", status="ok", text=text, **fields)  # type: ignore[arg-type]


def outcome(protocol: str, text: str | None, asked: Sample | None = None, **fields: object) -> Outcome:
    return ROWS[protocol].score(asked or sample(), prediction(text, **fields))


def perfect(protocol: str) -> Prediction:
    if protocol == "omnimedvqa-prefix":
        return prediction(nll=(2.0, 1.0, 2.0, 3.0))
    return prediction("Spleen" if protocol in ("medplib", "omnimedvqa-qa") else "B.")


def test_the_rows_are_those_of_the_spec_and_ours_is_the_default() -> None:
    assert list(ROWS) == [
        "strict-letter",
        "exact",
        "medplib",
        "omnimedvqa-qa",
        "omnimedvqa-prefix",
        "huatuo",
        "medevalkit",
        "vlmevalkit",
        "mmmu",
        "mmmu-no-random",
        "m3d",
    ]


@ALL_ROWS
def test_every_row_suits_choices_only(row: Metric) -> None:
    assert (row.name, row.line) == ("choice_accuracy", "choice")
    assert row.suits == {"choice"}


@ALL_ROWS
def test_a_perfect_answer_reaches_the_ceiling(row: Metric) -> None:
    asked = prediction("B") if row.protocol == "exact" else perfect(row.protocol)
    found = row.score(sample(), asked)
    assert (found.status, sample_values(row, found.stats)) == ("ok", (row.ceiling(sample()),))
    assert set(found.detail) == {"letter", "rule"}
    assert found.detail["letter"] == "B"


@ALL_ROWS
def test_a_failed_prediction_is_wrong(row: Metric) -> None:
    assert sample_values(row, row.worst(sample())) == (0.0,)
    assert row.floor(sample()) == 0.0


@ALL_ROWS
def test_a_sample_without_a_right_answer_is_undefined(row: Metric) -> None:
    for asked in (sample(None), Sample(id="s", target=Target())):
        assert row.score(asked, perfect(row.protocol)) == Outcome("undefined")
        assert row.ceiling(asked) is None
        assert sample_values(row, row.worst(asked)) == (None,)


@ALL_ROWS
def test_combine_takes_any_number_of_leading_axes(row: Metric) -> None:
    sums = np.array([[[3.0, 4.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(row.combine(sums), [[[0.75], [np.nan]]])


@ALL_ROWS
def test_details_can_be_written_as_json(row: Metric) -> None:
    for text in ("B", UNREADABLE, ""):
        assert canonical(dict(row.score(sample(), prediction(text)).detail))


@pytest.mark.parametrize("protocol", ["strict-letter", "exact", "omnimedvqa-qa", "vlmevalkit", "mmmu-no-random"])
def test_an_unread_reply_is_unparsed_and_worth_nothing(protocol: str) -> None:
    found = outcome(protocol, UNREADABLE)
    assert (found.status, found.stats, found.detail["letter"]) == ("unparsed", (0.0, 1.0), None)


@pytest.mark.parametrize("protocol", ["strict-letter", "exact", "huatuo", "medevalkit", "vlmevalkit", "mmmu"])
def test_a_letter_without_text_is_the_reply(protocol: str) -> None:
    assert outcome(protocol, None, choice="B").stats == (1.0, 1.0)
    assert outcome(protocol, " ", choice="B").stats == (1.0, 1.0)
    assert outcome(protocol, "A", choice="B").stats == (0.0, 1.0)


@pytest.mark.parametrize(
    ("protocol", "text", "right"),
    [
        ("strict-letter", "B", 1.0),
        ("exact", "B", 1.0),
        ("omnimedvqa-qa", "Stage 1", 1.0),
        ("medevalkit", "B", 0.0),
        ("vlmevalkit", "B", 0.0),
        ("mmmu", "B", 0.0),
        ("huatuo", "B", 0.0),
    ],
)
def test_doubled_options_are_one_answer_to_ours_and_two_to_released_letters(
    protocol: str, text: str, right: float
) -> None:
    assert outcome(protocol, text, sample("A", DOUBLED)).stats == (right, 1.0)


def test_huatuo_counts_the_first_letter_of_a_doubled_text_only() -> None:
    assert outcome("huatuo", "B", sample("B", DOUBLED)).stats == (0.0, 1.0)
    assert outcome("huatuo", "A", sample("B", DOUBLED)).stats == (1.0, 1.0)


def test_huatuo_reads_letters_that_no_option_has_as_wrong_answers() -> None:
    found = outcome("huatuo", "I think the answer is B")
    assert (found.status, found.stats) == ("ok", (0.0, 1.0))
    assert found.detail == {"letter": "I", "rule": "lone_letter"}


def test_medplib_takes_no_letters_and_needs_no_options() -> None:
    assert outcome("medplib", "B").stats == (0.0, 1.0)
    assert outcome("medplib", "the spleen.").stats == (1.0, 1.0)
    bare = Sample(id="s", target=Target(answers=("Spleen",)))
    assert outcome("medplib", "spleen", bare).stats == (1.0, 1.0)
    assert ROWS["medplib"].ceiling(bare) == 1.0


def test_m3d_takes_a_reply_that_lists_all_options() -> None:
    assert outcome("m3d", "A. Liver B. Spleen").stats == (1.0, 1.0)
    assert outcome("m3d", "B").detail == {"letter": None, "rule": "letter_and_full_stop"}


def test_the_lowest_likelihood_loss_wins_and_ties_go_to_the_first() -> None:
    assert outcome("omnimedvqa-prefix", None, nll=(0.5, 0.25, 0.25, 1.0)).detail == {
        "letter": "B",
        "rule": "lowest_mean_nll",
    }
    assert outcome("omnimedvqa-prefix", None, sample("C"), nll=(0.5, 0.25, 0.25, 1.0)).stats == (0.0, 1.0)
    assert outcome("omnimedvqa-prefix", None).status == "unparsed"


def test_summed_loss_multiplies_by_the_tokens() -> None:
    row = bind(ROWS["omnimedvqa-prefix"], {"normalise": "sum"}, "test")
    found = row.score(sample("A"), prediction(nll=(0.5, 0.25, 1.0, 1.0), nll_tokens=(1, 4, 1, 1)))
    assert (found.stats, found.detail["rule"]) == ((1.0, 1.0), "lowest_sum_nll")


def test_losses_that_do_not_fit_the_options_are_an_error() -> None:
    row = ROWS["omnimedvqa-prefix"]
    with pytest.raises(DataError, match=r"^d/test/1: nll: expected one number per option \(4\), found 2$"):
        row.score(sample(), prediction(nll=(1.0, 2.0)))
    with pytest.raises(DataError, match=r"nll_tokens: expected one per option \(4\), as 'normalise: sum' .* found 0; "):
        row.score(sample(), prediction(nll=(1.0, 2.0, 3.0, 4.0)), normalise="sum")


def test_mmmu_draws_for_unread_replies_in_the_order_of_the_corpus() -> None:
    texts = [UNREADABLE, "B", "It is the Spleen", UNREADABLE, UNREADABLE]
    pairs = [(sample(name=str(number)), prediction(text)) for number, text in enumerate(texts)]
    score = settle(ROWS["mmmu"], pairs).score
    draws = Random(42)
    expected = ["B" if text == "B" else draws.choice("ABCD") for text in texts]
    found = [score(*pair) for pair in reversed(pairs)][::-1]
    assert [item.detail["letter"] for item in found] == expected
    assert [item.stats for item in found] == [(float(letter == "B"), 1.0) for letter in expected]
    assert [item.detail["rule"] for item in found] == ["drawn", "lone_letter", "drawn", "drawn", "drawn"]


def test_mmmu_alone_is_a_corpus_of_one() -> None:
    found = outcome("mmmu", UNREADABLE)
    assert (found.status, found.detail["letter"]) == ("ok", Random(42).choice("ABCD"))


@pytest.mark.parametrize("protocol", ["mmmu", "mmmu-no-random"])
def test_a_question_without_options_counts_under_mmmu_by_its_rule_for_open_ones(protocol: str) -> None:
    row = ROWS[protocol]
    item = Sample(id="t/1", target=Target(answers=("7",)))
    replies = {"The result is 7": 1.0, "8": 0.0}
    for text, value in replies.items():
        found = row.score(item, Prediction(key="k", status="ok", text=text))
        assert (found.status, found.stats) == ("ok", (value, 1.0))
    assert (row.ceiling(item), row.worst(item)) == (1.0, (0.0, 1.0))
    assert row.ceiling(Sample(id="t/2")) is None
    assert ROWS["strict-letter"].score(item, Prediction(key="k", status="ok", text="7")).status == "undefined"
