"""VLMEvalKit's reading of replies before it asks a judge; without a judge (`exact_matching`) the rest counts as wrong.

Source: vlmeval/utils/matching_util.py of github.com/open-compass/VLMEvalKit (e8e78f0), its variable VERBOSE unset.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.text.choices.reading import ChoiceReading, lettered

_TO_BLANKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_STATED = re.compile(r"(?i)(?:correct\s+)?answer\s+is\s+\**([ABCD])\**")
_LAST_WORDS = 4
_FAILED = "Z"  # VLMEvalKit's own letter for replies that match no option


def vlmevalkit(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read one option out of a reply.

    1. `refusal`: the reply holds one of four known refusals; there is no answer.
    2. `lone_letter`: exactly one option letter is among the words, with punctuation as blanks, and first occurs among
       the last four. `failed`: no letter is, but the word Z is; there is no answer.
    3. `stated`: the first "answer is" before a letter A to D, if an option has this letter. The letter may be of either
       case and the beginning of a word ("the answer is carotid" is C).
    4. `option_text`: the text of exactly one option is in the reply, ignoring case, and the reply is at most twice as
       long as all options together.

    The rule is `none` otherwise, as for an empty reply. A reply that marks a failed call skips to step 4.
    """
    named, known = lettered(options), _known_replies()
    if known["failed_call"] not in reply:
        if any(refusal in reply for refusal in known["refusals"]):
            return ChoiceReading(None, "refusal")
        if found := _lone_letter(reply, named):
            return found
        stated = _STATED.search(reply)
        if stated and stated[1].upper() in named:
            return ChoiceReading(stated[1].upper(), "stated")
    text = reply.lower()
    if len(text) <= 2 * sum(map(len, named.values())):
        letters = [letter for letter, option in named.items() if option.lower() in text]
        if len(letters) == 1:
            return ChoiceReading(letters[0], "option_text")
    return ChoiceReading(None, "none")


def _lone_letter(reply: str, named: Mapping[str, str]) -> ChoiceReading | None:
    words = reply.translate(_TO_BLANKS).split()
    letters = [letter for letter in named if letter in words]
    if not letters and _FAILED in words:
        return ChoiceReading(None, "failed")
    if len(letters) == 1 and words.index(letters[0]) >= len(words) - _LAST_WORDS:
        return ChoiceReading(letters[0], "lone_letter")
    return None


@cache
def _known_replies() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "protocol_data" / "vlmevalkit_replies.json"
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
