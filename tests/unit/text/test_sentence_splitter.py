"""Where reports are split into sentences."""

import pytest

from harness.text.sentence_splitter import sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n ", 0),
        ("No mass", 1),
        ("No mass. No nodes.", 2),
        ("kidney. it", 2),
        ("A mass of approx. 3 cm is seen. No nodes.", 2),
        ("The mass measures 3.5 x 2.1 cm. No nodes.", 2),
        ("It is 28 mm. It enhances.", 2),
        ("Seen by Dr. J. Smith. No change.", 2),
        ("E. coli was found.", 1),
        ("Vitamin D. No fracture.", 2),
        ("See fig. 3. The cyst is stable.", 2),
        ("Finding no. 2 is new. Is it? No. It is old!", 4),
        ("Nodes, effusion, etc. were absent, etc. The end.", 2),
        ("Taken at 8 a.m. The patient fasted, i.e. Had no food.", 2),
        ("On MR. The cord. Seen in the ED. No PT.", 4),
        ("(Size approx. 3 cm.) No nodes.", 2),
        ('He said "normal." Then he left.', 2),
        ("Grade 3. abnormal", 1),
        ("Grade 3. Abnormal", 2),
        ("Stable ... no change... The rest is normal.", 2),
        ("findings:\nliver normal\nspleen normal", 1),
    ],
)
def test_sentences_end_by_rule(text: str, count: int) -> None:
    assert len(sentences(text)) == count


def test_marks_stay_with_their_sentence_and_blanks_between_go() -> None:
    assert sentences('  Is it (3 cm.)?  "Yes."\nThe end ') == ["Is it (3 cm.)?", '"Yes."', "The end"]
