"""The judge `judge:rules`: rules in place of a model, offline, the floor against which a model that judges is measured.

It reads the blocks of the question to a judge and replies in the form that the rubric asks for.
"""

import json
import re
from collections.abc import Sequence

from harness.errors import SpecError
from harness.metrics.answers.answer_rules import RuleVerdict, compare
from harness.records import Answer, Capabilities, ErrorInfo, Request, Resources

# As `harness.evaluation.judging.prompts` writes them: the mark of the end is that of the beginning.
_BLOCK = re.compile(
    r"^<<<(?P<name>[A-Z]+) (?P<mark>[0-9a-f]{16})>>>\n(?P<text>.*?)\n<<<END (?P=name) (?P=mark)>>>$", re.M | re.S
)
SEVERAL = "Each of these is right:\n"
RULES = ("rules",)
# Forms of replies, of `REPLY_FORMS`, that rules can give.
RULED_FORMS = frozenset({"correctness", "winner"})
# The words of a rubric that distinguish those forms.
_VERDICT, _WINNER = '"verdict"', '"winner"'


class RuleJudge:
    """Judges by `harness.metrics.answers.answer_rules`, for rubrics that ask for a verdict or a winner.

    Args:
        name: `rules`.
    """

    version = "1"

    def __init__(self, name: str = "") -> None:
        if name not in RULES:
            raise SpecError(f"judge:{name}: expected judge:rules")

    def capabilities(self) -> Capabilities:
        """Take and give text; a reply does not depend on the batch."""
        return Capabilities(
            takes=frozenset({"text"}),
            gives=frozenset({"text"}),
            max_batch=256,
            batch_invariant=True,
            resources=Resources(gpus=0),
        )

    def load(self, device: str) -> None:
        """Nothing is loaded."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Judge each request; one that is no question to a judge, or asks for another form, is an error."""
        return [_judge(request.prompt) for request in requests]


def _judge(prompt: str) -> Answer:
    texts = {match["name"]: match["text"] for match in _BLOCK.finditer(prompt)}
    asked = _BLOCK.sub("", prompt)
    if "REFERENCE" in texts and "ANSWER" in texts and _VERDICT in asked:
        best = _best(texts["REFERENCE"], texts["ANSWER"])
        return Answer(text=json.dumps({"verdict": best.verdict, "score": best.score}))
    if "REFERENCE" in texts and "FIRST" in texts and "SECOND" in texts and _WINNER in asked:
        first, second = (_best(texts["REFERENCE"], texts[name]).score for name in ("FIRST", "SECOND"))
        winner = "tie" if first == second else "first" if first > second else "second"
        return Answer(text=json.dumps({"winner": winner}))
    message = (
        "expected the question of `harness judge` by a rubric that asks for a verdict or a winner, such as correctness "
        "or pairwise; rules can judge by no other"
    )
    return Answer(error=ErrorInfo(type="NoSuchRubric", message=f"judge:rules: {message}"))


def _best(reference: str, answer: str) -> RuleVerdict:
    """Return the verdict by the reference that fits best, where several are right."""
    references = [reference]
    if reference.startswith(SEVERAL):
        references = [line.removeprefix("- ") for line in reference.removeprefix(SEVERAL).split("\n")]
    return max((compare(one, answer) for one in references), key=lambda verdict: verdict.score)
