"""The score from 0 to 100 that an LLM judge states in its reply. Nothing is guessed: an unclear reply gives None."""

import re

from harness.text.reply import plain_reply

BEST = 100.0  # the judge's prompt asks for a score from 0 to 100

_TAG = re.compile(r"<\s*(score|rating|grade)\s*>(.*?)<\s*/\s*\1\s*>", re.IGNORECASE | re.DOTALL)
_NUMBER = r"\d+(?:\.\d+)?"
# The scale that a judge repeats from its prompt: "(0-100)", "on a scale of 0 to 100", "out of 100" without a number.
_SCALE = re.compile(
    r"[(\[]?\s*(?:\b(?:on|in|using|with)\s+(?:a|the)\s+)?(?:\b(?:scale|range)\b\s*(?:of|from|is|:)?\s*)?"
    r"(?:\b(?:from|between)\s+)?(?<![\d.])(?P<low>0|1)\s*(?:-|~|to|and|\.\.|,|到|至)\s*(?P<high>100|10|5)(?![\d.]*\d)"
    r"(?:\s*(?:points?|分))?\s*[)\]]?",
    re.IGNORECASE,
)
_MAXIMUM = re.compile(
    r"[(\[]\s*(?:out\s+of|of|max(?:imum)?(?:\s+of)?|/|满分)\s*:?\s*(100|10|5)(?:\s*分)?\s*[)\]]", re.I
)
_SCORE = r"(?<![A-Za-z])(?:scor(?:es?|ed|ing)|ratings?|grades?|marks?)(?![A-Za-z])|评分|得分|分数|打分|总分"
_OVERALL = r"(?:overall|final|total|aggregate|综合|最终|总体)"
# A value: a minus sign stands only behind a blank or a mark, so "GPT-4" and "Score-85" hold no negative number.
_VALUE = (
    rf"[\"'(\[{{~≈]*(?P<value>(?:(?<=[\s:=(])-)?{_NUMBER})[\"')\]}}]*"
    rf"(?:\s*(?:/|out\s+of(?:\s+a)?(?:\s+(?:possible|total|maximum)(?:\s+of)?)?|of|满分)\s*[\"'(]*(?P<most>{_NUMBER})"
    rf"|\s*(?P<percent>%|percent\b|％))?(?:\s*(?:points?|pts|分)(?![A-Za-z]))?"
)
_GLUE = r"[\"'\])}\s]*(?:[:=]|->|→|\s-\s|-(?=\d)|是|为)[\"'\s]*"
_HEDGE = r"(?:about|around|approximately|roughly|exactly|only|just|clearly|simply|therefore|thus|a|an|the|of)"
_STATED = re.compile(
    rf"(?P<overall>{_OVERALL}\s*)?(?:{_SCORE})(?P<between>[^\n:=\d]{{0,40}}?(?:\b(?:answer|question|model|response|candidate"
    rf"|assistant|case|sample)\s*\#?\d+[^\n:=\d]{{0,20}}?)?){_GLUE}"
    rf"(?:{_HEDGE}\s+)*{_VALUE}",
    re.IGNORECASE,
)
_SAID = re.compile(
    rf"(?P<overall>{_OVERALL}\s*)?(?:{_SCORE})(?:\s+(?:is|was|of|it|this|at|as|with|to|would\s+be|should\s+be|{_HEDGE}|answer|response"
    rf"|prediction))*"
    rf"\s*{_VALUE}"
    rf"|\b(?:give|assign|award|rate|grade|deserves?|receives?|gets?|earns?)\b[^\n.\d]{{0,60}}?(?<![\w.-])"
    rf"{_VALUE.replace('<value>', '<value2>').replace('<most>', '<most2>').replace('<percent>', '<percent2>')}",
    re.IGNORECASE,
)
_OTHER_SCORE = re.compile(
    r"(?:max(?:imum)?|min(?:imum)?|possible|highest|lowest|passing|threshold|bleu|f1|confidence)[\s-]*$", re.IGNORECASE
)
_WHOLE = re.compile(_VALUE)
# Behind a value: a second one ("70-80", "70 or 80", "75 ± 5"), or a noun that makes it a count.
_GOES_ON = re.compile(
    r"[ \t]*(?:->|→|-|~|\+|\*|×|to|and|or|,|±|\+/-|\+-|至|到|或)[ \t]*\d|[ \t]+\d|[ \t]*\.\d|-?[A-Za-z\d]"
    r"|(?:[ \t]+(?:findings?|facts?|points?\s+(?:were|are)|items?|stars?|answers?|statements?|criteria|criterion"
    r"|of\s+the))\b"
    # "60 for accuracy, 80 for completeness" are two scores.
    r"|[ \t]+(?:for|on|in)[ \t]+[^\d,.;\n]{1,40}(?:[,;]|\band\b)[ \t]*(?:and[ \t]+)?\d+(?:\.\d+)?[ \t]+(?:for|on|in)\b",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"\b(?:not|never|n't|no|cannot|above|below|over|under|least|most|more|less|than|exceed\w*|between|from|maximum|minimum"
    r"|highest|lowest|max|min|if|would\s+(?:need|require)|could)\b|n't\b|不|至少|最多|超过|低于|高于",
    re.IGNORECASE,
)
_TOO = re.compile(
    r"\s*(?:would|will|means?|is\s+(?:given|for|reserved)|indicates?|represents?|=|stands?|corresponds?|for\s+(?:a|an)\s+"
    r"(?:perfect|completely|fully)|seems|表示)\b|\s*is\s+too\b",
    re.IGNORECASE,
)


def stated_points(reply: str) -> float | None:
    """Return the score that a judge's reply states, in [0, 100]; None if it states none, several, or a range.

    The reply loses its reasoning and the marks of its wrapping (`plain_reply`). The scale that it repeats, such as
    (0-100), is ignored. Then the first of these that matches decides, and all of its matches have to be one
    number:

    1. "overall score" or "final score" with a colon or = and a number;
    2. "score" or 评分 with a colon or =: `Score: 85`, `"score": 85`;
    3. "score is", "score of", "I give": a bound, a range or "would be too low" is no score;
    4. the whole reply is a number.

    A number with its own maximum of 5, 10 or 100 is scaled to 100: "8/10" and "80%" are 80; any other maximum, and a
    scale from 0 to 10 or 5 that the reply repeats before a number without one, is scaled likewise or, if it begins at
    1, not read. What lies outside is clamped.
    """
    answer = plain_reply(reply)
    if not answer:
        return None
    answer = _TAG.sub(r"\1: \2", answer)
    scales = {(match["low"], match["high"]) for match in _SCALE.finditer(answer)}
    scales |= {("0", match[1]) for match in _MAXIMUM.finditer(answer)}
    text = _MAXIMUM.sub(" ", _SCALE.sub(" ", answer)).strip()
    if not text:
        return None
    scale = 100.0
    for low, high in scales:
        if high != "100":
            scale = float(high) if low == "0" and len(scales) == 1 else 0.0
    stated = [
        one for one in _STATED.finditer(text) if not _OTHER_SCORE.search(text[max(0, one.start() - 16) : one.start()])
    ]
    overall = [match for match in stated if match["overall"]]
    for matches in (overall, stated, _said(text)):
        if matches:
            found = {_points(text, match, scale) for match in matches}
            return found.pop() if len(found) == 1 else None
    text = text.strip(" .,:\n\"'")
    whole = _WHOLE.fullmatch(text)
    return _points(text, whole, scale) if whole else None


def _said(text: str) -> list[re.Match[str]]:
    """Return the sentences that state a score without a colon, apart from bounds and hypotheses."""
    found = []
    for match in _SAID.finditer(text):
        before = re.split(r"[.!?;,\n](?!\d)", text[max(0, match.start() - 160) : match.start()])[-1]
        end = match.end("value2") if match["value2"] else match.end("value")
        if not (_BOUND.search(before) or _BOUND.search(match[0]) or _TOO.match(text, end)):
            found.append(match)
    return found


def _points(text: str, match: re.Match[str], scale: float) -> float | None:
    """Return a matched number on the scale from 0 to 100; None if it is part of something else."""
    parts = match.groupdict()
    value, most, percent = (parts.get(name) or parts.get(f"{name}2") for name in ("value", "most", "percent"))
    if value is None or _GOES_ON.match(text, match.end()) or _BOUND.search(parts.get("between") or ""):
        return None
    number, best = float(value), BEST if percent else float(most) if most else scale
    if best == BEST and not most and not percent and 0 < number < 1:
        return None  # a share, or a very low score
    if best not in (5.0, 10.0, BEST) or (best < BEST and not 0 <= number <= best):
        return None
    return min(max(number * (BEST / best), 0.0), BEST)
