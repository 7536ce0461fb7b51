"""The score in a judge's reply: what states one, on which scale, and what is none."""

import time

import pytest

from harness.text.judgement import stated_points


@pytest.mark.parametrize(
    ("reply", "points"),
    [
        ("score 80", 80.0),
        ("Score: 85.5", 85.5),
        ("**Score:** 90.", 90.0),
        ("Score (0-100): 85", 85.0),
        ("On a scale of 0 to 100, I would give 85.", 85.0),
        ("The SCORE is about 62.5 of 100", 62.5),
        ("Score: 150", 100.0),
        ("Score: -5", 0.0),
        ("Score - 85", 85.0),
        ("Score-85", 85.0),
        ("Score:\n75/100", 75.0),
        ("Score: 85 out of 100", 85.0),
        ("8/10", 80.0),
        ('{"answer": "3", "score": 85}', 85.0),
        ("Score: 85\nAnswer: 3", 85.0),
        ("<answer>3</answer> Score: 85", 85.0),
        ("Score: 85\n- 3 findings are missing", 85.0),
        ("Score: 85\n2 errors", 85.0),
        ("Score: 85 for the answer, 3 of 4 findings are right", 85.0),
        ("\\boxed{85}", 85.0),
        ("Score: 4/5", 80.0),
        ("Score (0-10): 8", 80.0),
        ("85%", 85.0),
        ("75", 75.0),
        ('{"score": 85, "reason": "2 of 3"}', 85.0),
        ("<score>85</score>", 85.0),
        ("Score for answer 2: 85", 85.0),
        ("I give 75 as score", 75.0),
        ("Accuracy score: 80\nOverall score: 70", 70.0),
        ("Maximum score: 100\nScore: 85", 85.0),
        ("A score of 0 means wrong, 100 means right.\nScore: 85, as 3 of 4 findings match", 85.0),
        ("<think>A score of 10 would be too low.</think>Score: 85", 85.0),
        ("评分：85分", 85.0),
        ("Score: 85\n\nA score of 100 would need the side.", 85.0),
    ],
)
def test_a_stated_score_is_read(reply: str, points: float) -> None:
    assert stated_points(reply) == points


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "no idea",
        "Score:",
        "Score: xx.",
        "Score: 0-100",
        "Score: 70-80",
        "Score: between 70 and 80",
        "Score: 80 or 85",
        "Score: 60 for accuracy, 80 for completeness",
        "Score: 60 for accuracy and 80 for style",
        "Score: 85 ± 5",
        "Score: 70 + 15 = 85",
        "A score of 10 would be too low",
        "I cannot give a score of 100.",
        "Score: 85 100",
        "The score is above 80",
        "Accuracy score: 80\nStyle score: 60",
        "3 of 4 findings are right",
        "Score: 3 out of 4",
        "Score (1-10): 8",
        "Score: 4 stars",
        "Score: 0.85",
        "Score: 12/10",
        "Score: 90-ish",
        "评分在70到80之间",
        "<think>Score: 85",
        "<answer>70</answer><answer>80</answer>",
        "Score: 85. Score: 60.",
    ],
)
def test_anything_else_is_no_score(reply: str) -> None:
    assert stated_points(reply) is None


@pytest.mark.parametrize(
    "text", ["score " * 3_000, "score 1 " * 1_000, "give " * 3_000, "0-" * 9_000, "score: " + "1" * 50_000]
)
def test_no_reply_takes_long_to_read(text: str) -> None:
    start = time.perf_counter()
    stated_points(text)
    assert time.perf_counter() - start < 1
