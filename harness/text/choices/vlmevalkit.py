"""Replies as VLMEvalKit reads them before it asks a judge; without one (`exact_matching`) the rest is wrong.

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
_FAILED = "Z"


def vlmevalkit(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read one option out of a reply.

    1. `refusal`: the reply holds one of four known refusals; no answer.
    2. `lone_letter`: exactly one option letter is among the words, punctuation taken for blanks, and occurs first
       within the last four. `failed`: none is, but the word Z; no answer.
    3. `stated`: the first "answer is" before a letter A to D, of either case and perhaps the beginning of a word
       ("the answer is carotid" is C), if an option has it.
    4. `option_text`: one option's text, and no other's, is in the reply, case aside, and the reply is at most twice as
       long as all options together.

    Else `none`, as of an empty reply. A reply that marks a failed call skips to step 4.
    """
    named, known = lettered(options), _known_replies()
    if known["failed_call"] not in reply:
        if any(refusal in reply for refusal in known["refusals"]):
            return ChoiceReading(None, "refusal")
        found = _lone_letter(reply, named) or _stated(reply, named)
        if found:
            return found
    return _option_text(reply.lower(), named) or ChoiceReading(None, "none")


def _lone_letter(reply: str, named: Mapping[str, str]) -> ChoiceReading | None:
    words = reply.translate(_TO_BLANKS).split()
    letters = [letter for letter in named if letter in words]
    if not letters and _FAILED in words:
        return ChoiceReading(None, "failed")
    if len(letters) == 1 and words.index(letters[0]) >= len(words) - _LAST_WORDS:
        return ChoiceReading(letters[0], "lone_letter")
    return None


def _stated(reply: str, named: Mapping[str, str]) -> ChoiceReading | None:
    match = _STATED.search(reply)
    letter = match[1].upper() if match else ""
    return ChoiceReading(letter, "stated") if letter in named else None


def _option_text(text: str, named: Mapping[str, str]) -> ChoiceReading | None:
    if len(text) > 2 * sum(map(len, named.values())):
        return None
    letters = [letter for letter, option in named.items() if option.lower() in text]
    return ChoiceReading(letters[0], "option_text") if len(letters) == 1 else None


@cache
def _known_replies() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "protocol_data" / "vlmevalkit_replies.json"
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
