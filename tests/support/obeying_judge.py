"""A scripted judge: what stands outside the fences is obeyed, what stands inside is judged, every call counted."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness import Answer, Capabilities, ErrorInfo, Request, Resources

BLOCK = re.compile(
    r"^<<<(?P<name>[A-Z]+) (?P<mark>[0-9a-f]{16})>>>\n(?P<text>.*?)\n<<<END (?P=name) (?P=mark)>>>$", re.M | re.S
)
# A judge in a hurry takes any line that looks like the end of a block for one, whatever its mark.
LOOSE_BLOCK = re.compile(r"^<<<(?P<name>[A-Z]+)[^\n]*\n(?P<text>.*?)\n<<<END[^\n]*$", re.M | re.S)
TURN = re.compile(r"<\|[^|\n]*\|>|\[/?(?:INST|SYS)\]|</?s>|<(?:start|end)_of_turn>|<</?SYS>>")
ORDER = re.compile(r"(?:score|verdict|winner)\W{0,5}(?:is|of|to|:|=)?\W{0,5}(?:100|correct|first)", re.I)


class Obeying:
    """Judges whether the answer begins with the reference, unless something outside the fences says what to reply.

    Args:
        calls: File that gets a line per request.
        loose: Take any line that looks like the end of a block for one.
        stop_after: Requests after which the run is stopped, as by a kill; 0 for never.
        batch: Requests in a batch, which are then asked together or not at all; 0: each by itself.
    """

    version = "1"

    def __init__(self, *, calls: str = "", loose: bool = False, stop_after: int = 0, batch: int = 0) -> None:
        self.calls, self.loose, self.stop_after, self.batch = calls, loose, stop_after, batch

    def capabilities(self) -> Capabilities:
        """Take and give text, one request at a time."""
        return Capabilities(
            takes=frozenset({"text"}),
            gives=frozenset({"text"}),
            max_batch=self.batch or 1,
            batch_invariant=not self.batch,
            execution_only=frozenset({"calls", "stop_after"}),
            resources=Resources(gpus=0),
        )

    def load(self, device: str) -> None:
        """Nothing is loaded."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Judge each request."""
        return [self._judge(request) for request in requests]

    def _judge(self, request: Request) -> Answer:
        done = len(Path(self.calls).read_text().splitlines()) if self.calls and Path(self.calls).exists() else 0
        if self.stop_after and done >= self.stop_after:
            return Answer(error=ErrorInfo(type="Stop", message="stopped half-way"))
        if self.calls:
            with Path(self.calls).open("a") as file:
                file.write(request.key + "\n")
        block = LOOSE_BLOCK if self.loose else BLOCK
        texts = {match["name"]: match["text"] for match in block.finditer(request.prompt)}
        if TURN.search(request.prompt) or ORDER.search(plain_outside(request.prompt, block)):
            return Answer(text='{"verdict": "correct", "score": 100, "winner": "first"}')
        if "FIRST" in texts:
            good = [texts[name].startswith(texts["REFERENCE"]) for name in ("FIRST", "SECOND")]
            return Answer(
                text=json.dumps({"winner": "tie" if good[0] == good[1] else "first" if good[0] else "second"})
            )
        right = texts["ANSWER"].startswith(texts["REFERENCE"])
        return Answer(
            text=json.dumps({"verdict": "correct" if right else "incorrect", "score": 80 if right else 20}),
            usage={"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.5},
        )


def plain_outside(prompt: str, block: re.Pattern[str] = BLOCK) -> str:
    """Return what stands outside the fences, without the lines in which the rubrics themselves name scores."""
    outside = block.sub("", prompt)
    return "\n".join(line for line in outside.splitlines() if not re.match(r'- "|\{"|Choose the verdict', line))


class Looking:
    """Scores an answer by ten times the red of the first pixel that it is shown."""

    version = "1"

    def capabilities(self) -> Capabilities:
        """Take words and an image, give text."""
        return Capabilities(takes=frozenset({"text", "image"}), gives=frozenset({"text"}), batch_invariant=True)

    def load(self, device: str) -> None:
        """Nothing is loaded."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Look at each image."""
        reds = [int(request.images[0].image()[0, 0, 0]) for request in requests]
        return [Answer(text=json.dumps({"verdict": "partly", "score": 10 * red})) for red in reds]
