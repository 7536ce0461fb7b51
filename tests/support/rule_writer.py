"""A language model that is a rule: it writes what the prompts of the construction pipelines ask, from their words.

`--llm tests/support/rule_writer.py:RuleWriter`. It knows nothing but the words of the prompt, as a real model would.
"""

import json
import re
from collections.abc import Callable, Sequence

from harness import Answer, Capabilities, Request

Rule = Callable[[str], str]
ORGANS = ("liver", "spleen", "right kidney", "left kidney", "stomach", "pancreas")


class RuleWriter:
    """Replies by the first rule whose mark the prompt holds."""

    version = "1"

    def capabilities(self) -> Capabilities:
        return Capabilities(
            takes=frozenset({"text", "image", "images"}),
            gives=frozenset({"text"}),
            max_images=8,
            max_batch=4,
            batch_invariant=True,
        )

    def load(self, device: str) -> None:
        del device

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        answers = []
        for request in requests:
            words = request.prompt
            rule = next(rule for mark, rule in RULES if mark in words)
            answers.append(Answer(text=rule(words)))
        return answers


def _after(words: str, mark: str) -> str:
    return words.partition(mark)[2].partition("\n")[0].strip()


def _questions(words: str) -> str:
    """Nine questions on a volume: of plane and phase by the name of its file, of organs by its report."""
    name, report = _after(words, "Image:").lower(), _after(words, "Report:")
    plane = next((one for one in ("axial", "coronal", "sagittal", "oblique") if one in name), "axial")
    phase = next(
        (one for one in ("arterial", "portal venous", "delayed") if one.replace(" ", "_") in name), "non contrast"
    )
    organs = [one for one in ORGANS if one in report]
    found = [
        ("Along which plane were the slices taken?", plane, ("axial", "coronal", "sagittal", "oblique")),
        ("Which contrast phase does the scan show?", phase, ("arterial", "portal venous", "delayed", "non contrast")),
        (
            "Which organ is seen in the scan and measured?",
            organs[0],
            (organs[0], "none", "two of them", "cannot be said"),
        ),
    ]
    for number in range(6):
        organ = organs[number % len(organs)]
        asked = ("What is the state of", "What is found within")[number // 3]
        options = ("a cyst", "a tumor", "nothing abnormal", "not seen at all")
        sentence = next(part for part in report.split(". ") if organ in part)
        state = next((one for one in ("a cyst", "a tumor") if one[2:] in sentence), "nothing abnormal")
        found.append((f"{asked} the {organ}, looked at for time {number}?", state, options))
    lines = []
    for number, (question, answer, options) in enumerate(found, 1):
        choices = " ".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
        letter = "ABCD"[options.index(answer)]
        lines.append(f"Question-{number}: {question} Choice: {choices} Answer: {letter}. {answer}\n")
    return "\n".join(lines)


def _pairs(words: str) -> str:
    described = _after(words, "Report:").rstrip(".")
    asked = ("Please segment", "Outline", "Where do you see", "Why would a doctor look at", "Show and explain", "Find")
    lines = [
        f"Question-{number}: {words} the {described} in this scan? Answer: Sure, it is <SEG>. It was asked for."
        for number, words in enumerate(asked, 1)
    ]
    return "\n".join(lines)


def _definitions(words: str) -> str:
    number, term = int(re.findall(r"Write (\d+)", words)[0]), _after(words, "definitions of:")
    sign = sum(map(ord, term))
    return json.dumps([f"The part of the body with entry {place} of the list {sign}." for place in range(number)])


def _listed(words: str) -> list[tuple[str, str]]:
    """Return (name, place) of the structures that a prompt lists as `- <region_1> name (2): place, size`."""
    lines = (line[2:] for line in words.splitlines() if line.startswith("- "))
    pairs = [line.partition(": ")[::2] for line in lines]
    return [(name.rpartition("> ")[2].partition(" (")[0], place) for name, place in pairs]


def _description(words: str) -> str:
    return "An image. " + " ".join(f"The {name} is {place.partition(',')[0]}." for name, place in _listed(words))


def _dialogue(words: str) -> str:
    found = [{"region": "", "question": "How do you read this image?", "answer": _after(words, "Description:")}]
    for number, (name, place) in enumerate(_listed(words), 1):
        answer = f"It is the {name}, {place.rpartition(', ')[2]}."
        found.append({"region": f"region_{number}", "question": f"How does <region_{number}> look?", "answer": answer})
    return json.dumps(found)


def _perspective(words: str) -> str:
    what = next((mark for mark in ("<box>", "<point>") if mark in words), "the image")
    pairs = _listed(words)
    said = " ".join(f"The {name} is {place}." for name, place in pairs)
    return json.dumps(
        {"question": f"What can be seen in {what}, and where is each of the {len(pairs)} parts?", "answer": said}
    )


RULES: tuple[tuple[str, Rule], ...] = (
    ("This is a question from the visual question-answering dataset", lambda _: "Yes"),
    ("Desired format:", _questions),
    ("Desired output format:", _pairs),
    ("different definitions of:", _definitions),
    ("Reply with a JSON list", _dialogue),
    ("Describe the image as a whole", _description),
    ('with the keys "question" and "answer"', _perspective),
)
