"""Which sample a logged answer belongs to: by id, else by question and image, and never by chance."""

from collections.abc import Sequence
from typing import Any

import pytest

from harness.models.submitted.foreign_logs.logged_answer import LoggedAnswer, UnreadRow
from harness.models.submitted.foreign_logs.matching import Asked, LogReport, match, words_of
from harness.records import Media, Sample


def asked(own_id: str, question: str, image: str = "", **fields: Any) -> Asked:
    media = (Media(path=f"{image}.png", sha256=image, size=(8, 8)),) if image else ()
    sample = Sample(id=f"set/test/{own_id}", question=question, media=media, choices=fields.pop("choices", ()))
    return Asked(sample=sample, wordings=(question,), **fields)


def found(rows: Sequence[LoggedAnswer], samples: Sequence[Asked]) -> tuple[list[str], LogReport]:
    report = LogReport()
    return [sample_id for sample_id, _ in match(rows, samples, report)], report


def row(line: int = 1, text: str = "yes", **fields: Any) -> LoggedAnswer:
    if isinstance(question := fields.pop("question", None), str):
        fields["questions"] = (question,)
    return LoggedAnswer(line=line, text=text, **fields)


SAMPLES = (
    asked("q10", "Is it there?", "a"),
    asked("q20", "Is it there?", "b"),
    asked("q30", "Which organ is it?", "a"),
    asked("q40", "Which organ is it in the picture?", "b"),
)


def test_a_full_id_is_taken_at_its_word_wherever_it_stands() -> None:
    assert found([row(ids=("set/test/q20",), question="other")], SAMPLES)[0] == ["set/test/q20"]
    assert found([row(questions=("other", "set/test/q20"))], SAMPLES)[0] == ["set/test/q20"]
    _, report = found([row(ids=("set/test/q20",), question="set/test/q10")], SAMPLES)
    assert report.ambiguous == 1
    assert report.problems[0].message == "ambiguous: it names set/test/q20, set/test/q10"


def test_an_id_of_the_release_counts_if_the_question_agrees() -> None:
    matched, report = found([row(ids=("q20",), question="is it there")], SAMPLES)
    assert matched == ["set/test/q20"]
    assert report.note == "1 of 1 rows matched (1 by id); 3 of 4 samples have no answer"
    matched, report = found([row(ids=("q20",), question="Is it here?")], SAMPLES)
    assert matched == []
    assert report.problems[0].message == "unmatched: id 'q20', and no sample asks its question 'Is it here?'"


def test_an_id_counts_without_a_question_unless_it_is_a_number() -> None:
    samples = (asked("q1", "A?"), asked("1", "B?"))
    assert found([row(ids=("q1",))], samples)[0] == ["set/test/q1"]
    assert found([row(ids=("1",))], samples)[0] == []


def test_running_numbers_are_those_of_rows() -> None:
    samples = [asked(str(number), "Is it there?", "abc"[number]) for number in range(3)]
    rows = [row(number, ids=(str(number),), question="Is it there?") for number in range(3)]
    matched, report = found(rows, samples)
    assert (matched, report.ambiguous) == ([], 3)
    # The same in a release that numbers its questions with gaps.
    sparse = [asked(str(number * 50), "Is it there?", "abc"[number]) for number in range(3)]
    rows = [row(number, ids=(str(number * 50),), question="Is it there?") for number in range(3)]
    assert len(found(rows, sparse)[0]) == 3


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"question": "WHICH organ  is it"}, "set/test/q30"),
        ({"prompt": "Look. Which organ is it? Answer in one word."}, "set/test/q30"),
        ({"prompt": "Which organ is it in the picture?\nAnswer:"}, "set/test/q40"),
        ({"question": "Is it there?", "images": ("b",)}, "set/test/q20"),
        ({"question": "Is it there?", "images": ("unknown", "a")}, "set/test/q10"),
    ],
)
def test_the_question_decides_and_among_equal_ones_the_image(fields: dict[str, Any], expected: str) -> None:
    matched, report = found([row(**fields)], SAMPLES)
    assert matched == [expected]
    way = "question and image" if "images" in fields else "question alone"
    assert report.matched == {way: 1}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"question": "Is it there?"},
            "ambiguous: no id, and 2 samples ask its question 'Is it there?': set/test/q10, set/test/q20; the row "
            "holds no image that would tell them apart",
        ),
        (
            {"prompt": "Is it there? Yes. Which organ is it?", "images": ("a",)},
            "ambiguous: no id, and 2 samples ask its question 'Is it there? Yes. Which organ is it?': set/test/q30, "
            "set/test/q10; nothing in the row tells them apart",
        ),
        ({"question": ""}, "unmatched: no id, and no sample asks its question"),
    ],
)
def test_what_is_not_certain_is_listed(fields: dict[str, Any], words: str) -> None:
    matched, report = found([row(**fields)], SAMPLES)
    assert matched == []
    assert [str(problem) for problem in report.problems] == [f"line 1: {words}"]


def test_a_row_with_another_image_is_another_sample_but_images_stored_anew_say_nothing() -> None:
    known = row(1, question="Is it there?", images=("a",))
    _, report = found([known, row(2, question="Which organ is it?", images=("c",))], SAMPLES)
    assert report.problems[0].message == (
        "unmatched: no id, and no sample asks its question 'Which organ is it?' of its image"
    )
    matched, report = found([row(2, question="Which organ is it?", images=("c",))], SAMPLES)
    assert matched == ["set/test/q30"]
    assert report.matched == {"question alone": 1}


def test_samples_that_ask_the_same_of_the_same_image_share_an_answer() -> None:
    samples = (asked("1", "Is it?", "a"), asked("2", "Is it?", "a"), asked("3", "Is it?", "a", choices=("x", "y")))
    matched, report = found([row(question="Is it?")], samples[:2])
    assert matched == ["set/test/1", "set/test/2"]
    assert report.note == "1 of 1 rows matched (1 by question alone)"
    assert found([row(question="Is it?")], samples)[1].ambiguous == 1


def test_rows_that_answer_one_sample_differently_leave_it_without_an_answer() -> None:
    rows = [row(1, ids=("set/test/q10",)), row(2, "no", ids=("set/test/q10",)), row(3, ids=("set/test/q10",))]
    matched, report = found(rows, SAMPLES)
    assert (matched, report.ambiguous, report.matched.total()) == ([], 3, 0)
    assert report.problems[0].message == (
        "ambiguous: line 2, line 3 answer set/test/q10 differently; none of them counts"
    )


def test_many_contradictions_are_counted() -> None:
    rows = [row(number, str(number), ids=("set/test/q10",)) for number in range(1, 7)]
    assert "line 2, line 3, line 4 and 2 more answer" in found(rows, SAMPLES)[1].problems[0].message


def test_the_same_reply_again_counts_once_as_lm_eval_logs_one_line_for_each_filter() -> None:
    matched, report = found([row(1, ids=("set/test/q10",)), row(2, ids=("set/test/q10",))], SAMPLES[:1])
    assert matched == ["set/test/q10"]
    assert report.note == "1 of 2 rows matched (1 by id); 1 saying the same again"
    assert report.problems == []


def test_repetitions_answer_those_of_the_task() -> None:
    sample = asked("1", "Is it?", repeats=2)
    rows = [row(1, str(number), ids=("set/test/1",), repeat=number) for number in range(3)]
    matched, report = found(rows, [sample])
    assert matched == ["set/test/1"] * 2
    assert report.problems[0].message == "unmatched: is repetition 3, and the tasks ask 2 times"
    _, report = found(rows[1:2], [asked("1", "Is it?")])
    assert report.problems[0].message == "unmatched: is repetition 2, and the tasks ask once"


def test_unreadable_rows_are_counted_and_nothing_of_them_reaches_a_terminal_unescaped() -> None:
    report = LogReport()
    match([UnreadRow(place="row 3", message="has no \x1b prediction")], SAMPLES, report)
    assert [str(problem) for problem in report.problems] == [r"row 3: has no \x1b prediction; the row is not scored"]
    assert report.note == "0 of 1 rows matched; 1 unreadable; 4 of 4 samples have no answer"


def test_words_of_a_text_leave_out_case_punctuation_and_forms_of_a_letter() -> None:
    assert words_of("Ｉｓ it  THERE?") == words_of("is it, there") == ("is", "it", "there")
    assert words_of(" ?! ") == ()


def test_a_question_without_words_matches_nothing() -> None:
    assert found([row(question="?")], [asked("1", "?")])[0] == []
