"""Reasoning is cut, and wrapping removed, before anything is read."""

import time

import pytest

from harness.text.reply import answer_part, answer_span, answer_text, short_answer


@pytest.mark.parametrize(
    "reply",
    [
        "<think>A</think>B",
        "<think>\nA\n</think>\n\nB",
        "so A.</think> B",
        "<think>A</think><think>C</think>B",
        "<think><think>A</think>B",
        "< Think >A</ THINK >B",
        "<thinking>A</thinking>B",
        "<thought>A</thought>B",
        "<reasoning>A</reasoning>B",
        "<seed:think>A</seed:think>B",
        "<think>A <reasoning>C</reasoning></think>B",
        "＜think＞A＜/think＞B",
        "[THINK]A[/THINK]B",
        "◁think▷A◁/think▷B",
        "<unused94>thought\nA\n<unused95>B",
        "<|begin_of_thought|>A<|end_of_thought|>B",
        "<|START_THINKING|>A<|END_THINKING|>B",
        "<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
        "analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B",
        "analysisWe see A.assistantfinalB",
        "B",
    ],
)
def test_the_answer_is_what_follows_the_reasoning(reply: str) -> None:
    assert answer_part(reply) == "B"


@pytest.mark.parametrize(
    "reply",
    [
        "<think>A",
        "<think>A</think>B<think>or",
        "<think>A <reasoning>C</reasoning> so B",
        "[THINK]A",
        "◁think▷A",
        "<unused94>thought\nA",
        "<|begin_of_thought|>A",
        "<|channel|>analysis<|message|>A",
        "<|channel|>final",
        "<|channel|>final<|message|>B<|end|><|start|>assistant<|channel|>analysis<|message|>A",
        "analysisWe see A",
    ],
)
def test_a_reply_that_ends_while_it_reasons_holds_no_answer(reply: str) -> None:
    assert answer_part(reply) is None
    assert short_answer(reply) is None
    assert answer_text(reply) == ""


def test_a_reply_may_say_nothing_behind_its_reasoning() -> None:
    assert answer_part("<think>A</think>") == short_answer("<think>A</think>\n") == ""


@pytest.mark.parametrize(
    "reply", ["", " B\n", "a < b [sic]", "The analysis shows B", "analysis of the chest", "<p>liver</p>"]
)
def test_a_reply_without_reasoning_is_left_as_it_is(reply: str) -> None:
    assert answer_part(reply) == reply
    assert answer_span(reply) == (0, len(reply))


def test_reasons_behind_a_tagged_answer_do_not_hide_it() -> None:
    assert answer_part("<answer>B</answer><reasoning>since A</reasoning>") == "<answer>B</answer>"


@pytest.mark.parametrize(
    "reply",
    [
        "<answer>B</answer>",
        "It is A?<answer>\nB\n</answer>",
        "<answer>B",
        "B</answer>",
        "<answer>B</answer> <answer>b.</answer>",
        "<|begin_of_solution|>B<|end_of_solution|>",
        "A? <|begin_of_box|>B<|end_of_box|>",
        "\\boxed{B}",
        "$\\boxed{B}$",
        "A is wrong: \\boxed{\\text{B}}",
        "\\[\\boxed{\\mathbf{B}}\\]",
        "\\boxed{B",
        "\\(B\\)",
        "**B**",
        "__B__",
        "## B",
        "> B",
        "- B",
        "~~A~~ B",
        "`B`",
        "```\nB\n```",
        '```json\n{"answer": "B"}\n```',
        "{'answer': 'B'}",
        '{"choice": "B", "confidence": 0.9}',
        'Here it is: {"answer": ["B"]}',
        "Final answer: B",
        "A? The final answer is B",
        "Answer: B",
        "**Answer:** B\n\n**Explanation:** A is wrong.",
        "答案：B",
        "（B）",
        "[[B]]",
        "“B”",
        "『B』",
        "<b>B</b>",
        "B<br>",
        "B<|im_end|>",
        "\ufeffB\u200b",
    ],
)
def test_the_wrapping_of_an_answer_is_removed(reply: str) -> None:
    found = short_answer(reply)
    assert found is not None
    assert found.upper().strip(".") == "B"


@pytest.mark.parametrize(
    "reply",
    [
        "<answer>A</answer><answer>B</answer>",
        "\\boxed{A} and \\boxed{B}",
        "Answer: A\nAnswer: B",
        "Final answer: A. Final answer: B",
    ],
)
def test_several_answers_are_none(reply: str) -> None:
    assert short_answer(reply) is None


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("(A) or (B)", "(A) or (B)"),
        ("I cannot give a final answer.", "I cannot give a final answer."),
        ('{"note": "B"}', '"note": "B"'),
        ('{"answer": true}', "yes"),
        ('{"answer": "B", "option": "Liver"}', "B - Liver"),
        ("left lung", "left lung"),
        ("", ""),
    ],
)
def test_what_wraps_nothing_stays(reply: str, answer: str) -> None:
    assert short_answer(reply) == answer


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("The heart is large.", "The heart is large."),
        ("<think>No.</think>The **heart** is large.", "The heart is large."),
        ("<answer>left\nlung</answer>", "left\nlung"),
        ("<answer>left</answer><answer>right</answer>", "left\nright"),
        ("# Findings\nNone.", "Findings\nNone."),
        ("```\nleft lung\n```", "left lung"),
        ("a_b __c__ ___ d", "a_b c ___ d"),
        ("1 < 2", "1 < 2"),
    ],
)
def test_texts_lose_reasoning_tags_and_emphasis_only(reply: str, words: str) -> None:
    assert answer_text(reply) == words


@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 9000,
        "<" * 50000,
        "{" * 50000,
        "(" * 50000,
        "<answer>" * 9000,
        "\\boxed{" * 200,
        "*" * 50000,
        "_a" * 20000,
        "answer " * 9000,
        "\n" * 50000,
        "final answer: " * 3000,
        "[" * 20000 + "]" * 20000,
        "```" * 9000,
        "$" * 50000,
    ],
)
def test_no_reply_takes_long_to_unwrap(text: str) -> None:
    start = time.perf_counter()
    short_answer(text)
    answer_text(text)
    assert time.perf_counter() - start < 1
