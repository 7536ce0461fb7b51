"""What holds for every rule of reading a choice, whatever the reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.answers.choice import METRICS
from harness.metrics.metric import Metric, sample_values, settle
from harness.records import Prediction, Sample, Target
from harness.text.choices.mmmu import mmmu_candidates, mmmu_match
from harness.text.choices.strict import exact, strict_letter
from harness.text.judgement import stated_points

ROWS = {metric.protocol: metric for metric in METRICS}
ALL_ROWS = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.protocol)
ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")
LETTERS = ["A", "B", "E", "b", "I", "Z", "(C)", "a"]
WORDS = ["is ", "answer is", "Answer:", "option", "答案是", "or", "not", "spleen", "Spleen", "liver", "kidney"]
MARKS = ["\\boxed{", "}", "<answer>", "</answer>", "**", ".", ":", ",", "\n", "\n\n"]
PIECES = st.sampled_from([*LETTERS, *WORDS, *MARKS])
REPLIES = st.lists(PIECES, max_size=8).map(" ".join) | st.text(max_size=12)


def sample(options: tuple[str, ...], letter: str) -> Sample:
    right = options["ABCD".index(letter)]
    return Sample(id="d/1", choices=options, target=Target(choice=letter, answers=(right,)))


def prediction(text: str) -> Prediction:
    return Prediction(key="k", status="ok", text=text)


@ALL_ROWS
@given(reply=REPLIES, letter=st.sampled_from("ABCD"))
def test_a_reply_is_right_or_wrong_and_never_right_unread(row: Metric, reply: str, letter: str) -> None:
    found = row.score(sample(ORGANS, letter), prediction(reply))
    assert sample_values(row, found.stats)[0] in (0.0, 1.0)
    if found.status == "unparsed":
        assert found.stats == row.worst(sample(ORGANS, letter))
        assert found.detail["letter"] is None


@pytest.mark.parametrize("protocol", ["strict-letter", "exact", "huatuo", "medevalkit", "vlmevalkit", "mmmu-no-random"])
@given(reply=REPLIES)
def test_at_most_one_of_four_different_options_is_right(protocol: str, reply: str) -> None:
    row = ROWS[protocol]
    right = sum(row.score(sample(ORGANS, letter), prediction(reply)).stats[0] for letter in "ABCD")
    assert right <= 1


@given(st.permutations(ORGANS), st.sampled_from(ORGANS))
def test_the_order_of_options_does_not_matter_to_a_reply_in_their_words(order: list[str], text: str) -> None:
    for protocol in ("strict-letter", "exact", "medplib", "omnimedvqa-qa"):
        asked = sample(tuple(order), "ABCD"[order.index("Spleen")])
        assert ROWS[protocol].score(asked, prediction(text)).stats == (float(text == "Spleen"), 1.0)


@given(REPLIES, st.permutations(ORGANS))
def test_strict_readings_name_letters_that_exist(reply: str, order: list[str]) -> None:
    for read in (strict_letter, exact):
        assert read(reply, order[:2]).letter in ("A", "B", None)


@given(REPLIES, REPLIES)
def test_reasoning_changes_no_reading(reasoning: str, reply: str) -> None:
    assert strict_letter(f"<think>{reasoning}</think>{reply}", ORGANS) == strict_letter(reply, ORGANS)
    assert strict_letter(f"<think>{reply}", ORGANS).letter is None
    assert exact(f"<think>{reasoning}</think>\n{reply}", ORGANS) == exact(reply, ORGANS)


@given(REPLIES)
def test_what_exact_reads_strict_reads_too(reply: str) -> None:
    letter = exact(reply, ORGANS).letter
    assert letter is None or strict_letter(reply, ORGANS).letter == letter


@given(st.lists(st.tuples(REPLIES, st.sampled_from("ABCD")), max_size=6))
def test_a_draw_is_the_only_difference_between_the_two_mmmu_rows(items: list[tuple[str, str]]) -> None:
    pairs = [
        (Sample(id=str(number), choices=ORGANS, target=Target(choice=letter)), prediction(reply))
        for number, (reply, letter) in enumerate(items)
    ]
    score = settle(ROWS["mmmu"], pairs).score
    for pair in pairs:
        drawn, unread = score(*pair), ROWS["mmmu-no-random"].score(*pair)
        assert (drawn.detail["rule"] == "drawn") == (unread.status == "unparsed")
        assert drawn == unread or unread.status == "unparsed"


@given(st.text(max_size=30))
def test_a_judge_score_lies_between_0_and_100(text: str) -> None:
    assert 0 <= (stated_points(f"Score: {text}") or 0) <= 100


@given(st.floats(-1e6, 1e6).map(lambda number: round(number, 2)))
def test_a_number_is_found_in_the_sentence_that_states_it(number: float) -> None:
    assert mmmu_match(mmmu_candidates(f"The answer is {number:.2f} mm."), [f"{number:.2f}"]) is not None
