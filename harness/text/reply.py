"""A reply without its reasoning and wrapping, which is what all protocols of our own read.

`Prediction.text` keeps the raw reply, which protocols of released code read. `answer_part` removes reasoning only and
suits any content, such as boxes.
"""

import ast
import json
import re
from collections.abc import Iterable
from typing import Any

from harness.text.characters import plain_characters

# Names that open a block and those that close it, by family: a block of one family is closed by no other.
# Sources: lmms-eval `api/reasoning.py` and `filters/transformation.py` (tags); OpenThoughts; MedGemma's notebooks
# (<unused94>); vLLM's seed_oss parser; Kimi-VL (the triangles); Magistral ([THINK]); Cohere (START_THINKING).
_MARKER = re.compile(
    r"""
      [<＜]\s*(?P<tag_end>/\s*)?(?P<tag>think(?:ing)?|thoughts?|seed:think|reason(?:ing)?|reflection|scratchpad)
          (?:\s[^<>]{0,80})?\s*[>＞]
    | \[\s*(?P<square_end>/\s*)?think(?:ing)?\s*\]
    | ◁\s*(?P<triangle_end>/\s*)?think(?:ing)?\s*▷
    | <\|\s*(?:begin|start|(?P<special_end>end))_(?:of_)?th(?:ought|inking|ink)\s*\|>
    | <unused94>(?:\s*thought\b)? | (?P<unused_end><unused95>)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ENDS = ("tag_end", "square_end", "triangle_end", "special_end", "unused_end")
# gpt-oss: every message names its channel, and only the last one, if it is `final`, is meant for the reader.
_CHANNEL = re.compile(
    r"<\|channel\|>\s*([a-z]*)|(?:\A|(?<=\|>))\s*(analysis|commentary|final)(?=[^<]{0,40}<\|message\|>)"
)
_MESSAGE = "<|message|>"
_MESSAGE_END = re.compile(r"<\|(?:return|end|call|start|channel)\|>")
# The same decoded without special tokens, so that the names of channels are joined to the words around them.
_GLUED = re.compile(r"(?:assistant)?(?:analysis|commentary)(?=[A-Z])")
_GLUED_BEGINS, _GLUED_FINAL = ("a", "c"), "assistantfinal"

_TAGS = r"final[\s_-]?answer|answer|final|solution|conclusion|output|response|result"
_SPECIAL = r"begin_of_solution|begin_of_box|START_RESPONSE"
_SPECIAL_ENDS = r"end_of_solution|end_of_box|END_RESPONSE"
_WRAPPED = re.compile(
    rf"<\s*(?:{_TAGS})\s*>(?P<tagged>.*?)(?:<\s*/\s*(?:{_TAGS})\s*>|(?=<\s*(?:{_TAGS})\s*>)|\Z)"
    rf"|<\|\s*(?:{_SPECIAL})\s*\|>(?P<special>.*?)(?:<\|\s*(?:{_SPECIAL_ENDS})\s*\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_TAG_MARK = re.compile(rf"<\s*/?\s*(?:{_TAGS})\s*>|<\|\s*(?:{_SPECIAL}|{_SPECIAL_ENDS})\s*\|>", re.IGNORECASE)
_UNOPENED = re.compile(rf"\A(.*?)<\s*/\s*(?:{_TAGS})\s*>", re.IGNORECASE | re.DOTALL)
_END_OF_TEXT = re.compile(
    r"(?:<\|(?:im_end|endoftext|end_of_text|eot_id|eom_id|end|return|assistant)\|>|</s>|<eos>|<end_of_turn>)\Z"
)
_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[\w+-]*[ \t]*$\n?|```(?:json|text|txt|plaintext|markdown|md|latex|python)?\b|```", re.M
)
_STRUCK = re.compile(r"~~[^~\n]+~~")
_HEADING = re.compile(r"^[ \t]{0,3}(?:#{1,6}[ \t]+|>[ \t]?)", re.M)
_UNDERSCORES = re.compile(r"(?<!\w)(_{1,2})(?=\S)([^_\n]+)(?<=\S)\1(?!\w)")
_HTML = re.compile(r"</?(?:b|i|u|em|strong|p|span|div|mark|font|center|sub|sup|code|pre|h[1-6])(?:\s[^<>]*)?>")
_BREAK = re.compile(r"<br\s*/?>", re.I)
_BOX = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{|\\framebox\s*\{")
_TEXT_COMMAND = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|bb|cal)|operatorname|f?box(?:ed)?|mbox|hbox|emph|boldsymbol|bm)"
    r"\s*\{([^{}]*)\}"
)
_LATEX_MARKS = re.compile(r"\\(?:left|right|quad|qquad|[()\[\],;:! ])|\$+")

_COLON = r"\s*(?:(?:is|are|would\s+be|为|是)\s*)?[:=]\s*"
_FINAL = re.compile(
    r"(?:\bfinal\s+(?:answer|choice|option|selection|verdict)\b|最终答案|最后答案)"
    r"(?:\s*\([^()\n]*\))?\s*(?:(?:is|was|would\s+be|为|是)\b)?\s*[:=]?\s*",
    re.IGNORECASE,
)
_LINE = re.compile(
    r"^[ \t>•*-]*(?:(?:so|thus|therefore|hence)[ ,]+)?(?:the\s+|my\s+)?(?:correct\s+|right\s+|best\s+|short\s+)?"
    rf"(?:answer|ans|正确答案|参考答案|答案|回答|答)(?:\s*\([^()\n]*\))?{_COLON}",
    re.IGNORECASE | re.MULTILINE,
)
_EXPLANATION = re.compile(
    r"(?<=\S)[ \t]*\n\s*\(?(?:explanation|rationale|reason(?:ing|s)?|justification|解析|解释|理由|分析)\s*\)?\s*:", re.I
)
_KEYS = (
    *("final_answer", "answer", "correct_answer", "choice", "option", "letter", "selected_option", "correct_option"),
    *("prediction", "response", "output", "result", "label", "answer_text", "option_text", "答案"),
)
_PAIRS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "<": ">",
    "【": "】",
    "〔": "〕",
    "「": "」",
    "『": "』",
    "《": "》",
    "〈": "〉",
}
_QUOTES = {'"': '"', "'": "'", "`": "`", "«": "»", "‹": "›"}
_LINE_LENGTH = 400
_DEPTH = 8  # layers of wrapping that are removed; replies of models have fewer


def answer_span(text: str) -> tuple[int, int] | None:
    """Return (start, end) of the answer within a reply, in characters, half-open; None if the reply holds none.

    What a model writes while it reasons is not its answer. So the answer is what follows the last closing mark of a
    reasoning block, whether or not the reply holds the opening one, which chat templates write. A block that is never
    closed was cut off, and nothing in it was meant as an answer. Of the channels of gpt-oss the last must be `final`.
    """
    start, end = 0, len(text)
    if "<" in text and "<|" in text and (channels := list(_CHANNEL.finditer(text))):
        message = text.find(_MESSAGE, channels[-1].end())
        if (channels[-1][1] or channels[-1][2]) != "final" or message < 0:
            return None
        start = message + len(_MESSAGE)
        closing = _MESSAGE_END.search(text, start)
        end = closing.start() if closing else end
    elif text[:1] in _GLUED_BEGINS and _GLUED.match(text):
        if _GLUED_FINAL not in text:
            return None
        start = text.rindex(_GLUED_FINAL) + len(_GLUED_FINAL)
    if "<" not in text and "[" not in text and (text.isascii() or ("◁" not in text and "＜" not in text)):
        return start, end
    opened: dict[str, int] = {}
    for marker in _MARKER.finditer(text, start, end):
        family = "reason" if (marker["tag"] or "").lower().startswith("reas") else "think"
        if not any(marker[name] is not None for name in _ENDS):
            opened.setdefault(family, marker.start())
            continue
        began = opened.pop(family, None)
        # Some prompts ask for the answer first and its reasons after it.
        if family == "reason" and began is not None and _WRAPPED.search(text, start, began):
            end = began
            break
        start = marker.end()
    return None if opened else (start, end)


def answer_part(text: str) -> str | None:
    """Return a reply without its reasoning, ends trimmed; None if the reply ends while it reasons.

    The rest is as the model wrote it, wrapping included. A reply without reasoning is returned as it is, and one
    without text after its reasoning gives the empty text. See `answer_span` for the rule.
    """
    span = answer_span(text)
    if span is None:
        return None
    return text if span == (0, len(text)) else text[slice(*span)].strip()


def answer_text(text: str) -> str:
    """Return the words of a reply in prose, for rules that compare texts; empty if the reply holds no answer.

    Reasoning is cut. Of answer tags and boxes only the contents stay, one per line. Code fences and
    markdown's emphasis and headings are removed. Any other text is returned as it is.
    """
    part = answer_part(text)
    if part is None:
        return ""
    if "<" in part or "\\" in part:
        part = _without_end_of_text(part)
        part = "\n".join(_contents(part) or [part])
    return _without_markdown(part)


def short_answer(text: str) -> str | None:
    """Return the answer that a reply states, for rules that read a letter, a word or a number.

    After reasoning is cut and characters are plain (`plain_characters`), wrapping is removed until nothing changes:
    answer tags, boxes, code fences, emphasis, LaTeX, a JSON object with an answer, "Final answer:" anywhere and
    "Answer:" at the start of a line, brackets and quotes around the whole, and an explanation under a heading.

    Returns:
        The answer, ends trimmed, perhaps empty; None if the reply ends while it reasons, or if its answer tags, boxes
        or lines marked as the answer hold different answers.
    """
    part = answer_part(text)
    if part is None:
        return None
    answer: str | None = plain_characters(part).strip()
    for _ in range(_DEPTH):
        # Most answers are a few bare words.
        if not answer or (answer.rstrip(".").replace(" ", "").isalnum() and not _has_final(answer)):
            break
        before, answer = answer, _unwrapped_once(answer)
        if answer == before:
            break
    return answer


def plain_reply(text: str) -> str | None:
    """Return all words of a reply without its reasoning and without the marks of wrapping, in plain characters.

    For rules that search a statement among others, where `short_answer` could pick another one: a judge may repeat the
    answer that it scores.

    Returns:
        The words, ends trimmed; None if the reply ends while it reasons.
    """
    part = answer_part(text)
    if part is None:
        return None
    text = _without_end_of_text(plain_characters(part))
    if "<" in text:
        text = _HTML.sub("", _BREAK.sub("\n", _TAG_MARK.sub(" ", text)))
    text = _without_markdown(text).replace("*", "").replace("`", "")
    return _without_latex(text).strip()


def _unwrapped_once(text: str) -> str | None:
    """Return a text without its outer layer of wrapping; None if it states several answers."""
    if "<" in text or "\\" in text:
        text = _without_end_of_text(text)
        if contents := _contents(text):
            return contents[0] if len(contents) == 1 else None
        text = _HTML.sub("", _BREAK.sub("\n", text))
    text = _without_markdown(text).replace("*", "").replace("`", "")
    text = _without_latex(text).strip()
    if "}" in text and (stated := _json_answer(text[text.find("{") : text.rfind("}") + 1])) is not None:
        return stated
    markers = [_FINAL] if _has_final(text) else []
    for marker in [*markers, _LINE] if ":" in text or "=" in text else markers:
        # Only the first line after each mark is compared; reading to the end from every mark would take quadratic time.
        found = {match.end(): text[match.end() : match.end() + _LINE_LENGTH].strip() for match in marker.finditer(text)}
        found = {end: line for end, line in found.items() if any(map(str.isalnum, line))}
        if found:
            distinct = _distinct(line.splitlines()[0] for line in found.values())
            return text[max(found) :].strip() if len(distinct) == 1 else None
    if "\n" in text and ":" in text:
        text = _EXPLANATION.split(text, maxsplit=1)[0]
    text = text.strip().lstrip("•> \t")
    if text.startswith("- "):
        text = text[2:]
    if len(text) >= 2 and _encloses(text):
        text = text[1:-1].strip()
    return text


def _has_final(text: str) -> bool:
    """Return whether `_FINAL` may be found: a search for its words takes a fraction of the time."""
    return "inal" in text or "INAL" in text or "答案" in text


def _without_latex(text: str) -> str:
    if "\\" in text or "$" in text:
        while (bare := _TEXT_COMMAND.sub(r"\1", text)) != text:
            text = bare
        text = _LATEX_MARKS.sub("", text)
    return text


def _without_end_of_text(text: str) -> str:
    while found := _END_OF_TEXT.search(text := text.rstrip(), max(0, len(text) - 24)):
        text = text[: found.start()]
    return text


def _without_markdown(text: str) -> str:
    # Single characters first: their absence is found several times as fast as that of longer marks.
    if "`" in text or "~" in text:
        text = _STRUCK.sub("", _FENCE.sub("", text)).strip()
    if "*" in text:
        text = text.replace("**", "")
    if "_" in text:
        text = _UNDERSCORES.sub(r"\2", text)
    return _HEADING.sub("", text) if "#" in text or ">" in text else text


def _contents(text: str) -> list[str]:
    """Return the different contents of the answer tags of a text, or else of its boxes; empty if it has neither."""
    if "<" in text:
        tagged = [match["tagged"] or match["special"] or "" for match in _WRAPPED.finditer(text)]
        if not tagged and (unopened := _UNOPENED.match(text)):
            tagged = [unopened[1]]
        if tagged:
            return _distinct(tagged) or [""]
    boxes, end = [], 0
    while "\\" in text and (box := _BOX.search(text, end)):
        depth, end = 1, box.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        boxes.append(text[box.end() : end if depth else end - 1])
    return _distinct(boxes)


def _distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts that are not blank, each once, regardless of case."""
    found: dict[str, str] = {}
    for text in texts:
        if text.strip():
            found.setdefault(text.strip().casefold().rstrip("."), text.strip())
    return list(found.values())


def _json_answer(text: str) -> str | None:
    """Return what an object says under the keys of an answer, of several joined by hyphens; None if it says nothing."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)  # many models write a dictionary of Python
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
    except RecursionError:
        return None
    if not isinstance(value, dict):
        return None
    fields = {str(key).strip().casefold().replace(" ", "_"): field for key, field in value.items()}
    stated = []
    for key in _KEYS:
        field = fields.get(key)
        items = field if isinstance(field, list) else [field]
        words = ["yes" if item is True else "no" if item is False else str(item) for item in items if item is not None]
        if words and not any(isinstance(item, dict | list) for item in items):
            stated.append(", ".join(words))
    found = _distinct(stated)
    return " - ".join(found) if found else None


def _encloses(text: str) -> bool:
    """Return whether one pair of brackets or quotes holds the whole text."""
    first, last = text[0], text[-1]
    if first in _QUOTES:
        return last == _QUOTES[first] and first not in text[1:-1] and last not in text[1:-1]
    if _PAIRS.get(first) != last:
        return False
    depth = 0
    for place, character in enumerate(text):
        depth += (character == first) - (character == last)
        if depth == 0:
            return place == len(text) - 1
    return False
