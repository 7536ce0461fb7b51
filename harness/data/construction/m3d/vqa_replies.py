"""Reading the replies to M3D's prompts: numbered questions with options or with answers, and verdicts."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

# Number of questions that one reply holds, and their types: 1 plane, 2 phase, 3 organ, three of 4 abnormality, three of
# 5 location, as the released generator numbers them.
NUMBERS = tuple(range(1, 10))
LETTERS = "ABCD"

# The released expression wants everything of a question in one line and loses the last question of a reply without a
# line break behind it; this one takes what is between two marks, wherever lines break.
_QUESTION = re.compile(r"Question[- ]?(\d+)\s*[:.]\s*(.*?)(?=Question[- ]?\d+\s*[:.]|\n\s*\d\s*\)\.|\Z)", re.DOTALL)
_PARTS = re.compile(
    r"(?P<question>.*?)\s*(?:Choices?\s*:\s*(?P<choices>.*?))?\s*Answer\s*:\s*(?P<answer>.*)", re.DOTALL | re.IGNORECASE
)
_OPTION = re.compile(r"(?<![A-Za-z])([A-D])[.):]\s*(.+?)(?=\s+[A-D][.):]\s|\s*$)", re.DOTALL)
_ANSWER = re.compile(r"\(?([A-D])\)?(?:[.):]\s*|\s+|$)(.*)", re.DOTALL)
_VERDICT = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """One question as a reply words it.

    Attributes:
        number: 1 to 9.
        question: Its words.
        choices: Its options in the order of their letters; fewer than four if the reply gives fewer.
        letter, answer: The right option; empty where the reply names none.
    """

    number: int
    question: str
    choices: tuple[str, ...]
    letter: str
    answer: str

    @property
    def type(self) -> str:
        """The released number of its type, 1 to 5."""
        if self.number < 4:
            return str(self.number)
        return "4" if self.number < 7 else "5"


def read_questions(reply: str) -> Iterator[AskedQuestion]:
    """Yield the questions of a reply in its order; of two with one number the first. Nothing for other text."""
    seen: set[int] = set()
    for match in _QUESTION.finditer(reply):
        number = int(match[1])
        parts = _PARTS.fullmatch(match[2].strip())
        if number not in NUMBERS or number in seen or parts is None:
            continue
        seen.add(number)
        options = {letter: _line(text) for letter, text in _OPTION.findall(parts["choices"] or "")}
        choices = tuple(options[letter] for letter in LETTERS if letter in options)
        answer = _ANSWER.match(parts["answer"].strip())
        yield AskedQuestion(
            number=number,
            question=_line(parts["question"]),
            choices=choices,
            letter="" if answer is None else answer[1],
            answer="" if answer is None else _line(answer[2]),
        )


def read_pairs(reply: str, numbers: Collection[int]) -> Iterator[tuple[int, str, str]]:
    """Yield (number, question, answer) of a reply in its order; of two with one number the first.

    Args:
        reply: Lines such as `Question-1: ... Answer: ...`.
        numbers: The numbers that count.
    """
    seen: set[int] = set()
    for match in _QUESTION.finditer(reply):
        number = int(match[1])
        question, marked, answer = match[2].partition("Answer:")
        if number in numbers and number not in seen and marked:
            seen.add(number)
            yield number, _line(question), _line(answer)


def read_verdict(reply: str) -> bool | None:
    """Return whether a reply begins with yes; None if it begins with neither yes nor no.

    The released check looks for "Yes" or "No" anywhere and case by case, so that the "NO" it asks for is neither.
    """
    match = _VERDICT.match(reply)
    return None if match is None else match[1].lower() == "yes"


def _line(text: str) -> str:
    return " ".join(text.split())
