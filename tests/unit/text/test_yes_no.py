"""Yes and no: what a reply begins with, what it holds, and what stays unclear."""

import pytest

from harness.text.yes_no import yes_no


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Yes, there is a fracture.", "yes"),
        ("Yes, there is no effusion", "yes"),
        ("Yes. No fracture is seen.", "yes"),
        ("No, there is an effusion.", "no"),
        ("No fracture", "no"),
        ("The answer is NO", "no"),
        ("The answer is yes, as there is no edge.", "yes"),
        ("There is no effusion", "no"),
        ("It is not visible, so no", "no"),
        ("Based on the image, yes.", "yes"),
        ("no no no", "no"),
        ("ＹＥＳ", "yes"),
        ("**No**", "no"),
        ("\\boxed{\\text{Yes}}", "yes"),
        ('{"answer": "yes"}', "yes"),
        ("<think>No edge. But wait.</think>Yes", "yes"),
        ("Yes\n\nExplanation: no edge", "yes"),
        ("是的", "yes"),
        ("是的，没有积液", "yes"),
        ("是肺炎", "yes"),
        ("否", "no"),
        ("否，但是有结节", "no"),
        ("答案：是", "yes"),
        ("不是, no", "no"),
    ],
)
def test_a_reply_that_answers(reply: str, answer: str) -> None:
    assert yes_no(reply) == answer


@pytest.mark.parametrize(
    "reply",
    [
        "yes and no",
        "yes or no",
        "yes/no",
        "no yes",
        "Yes, no.",
        "Yes ... wait, no.",
        "No, but yes on the left",
        "No. Yes.",
        "not yes",
        "I cannot say yes or no",
        "I would not say no",
        "neither yes nor no",
        "the answer is not yes",
        "I can't say no.",
        "It cannot be determined",
        "nope",
        "normal",
        "",
        "No idea.",
        "No doubt it is there",
        "lesion no. 3",
        "yesterday",
        "There is no edge, so the answer is yes",
        "是否",
        "不是",
        "是或否",
        "这是正常的",
        "但是不清楚",
        "否则",
        "是什么？",
        "没有",
        "<think>There is no",
        "<think>Yes</think>",
        "<answer>yes</answer><answer>no</answer>",
    ],
)
def test_a_reply_that_is_unclear(reply: str) -> None:
    assert yes_no(reply) is None
