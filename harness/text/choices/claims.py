"""What a reply says of the options of a question: which it asserts, and which it denies, by letter and by text."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from harness.text.normalisers import standard_normalise
from harness.text.yes_no import POLARITY

_NOUN = (
    r"(?:answers?|ans|options?|choices?|selections?|picks?|diagnosis|letters?|alternatives?|one|conclusion|response|prediction|verdict"
    r"|decision|(?:structure|organ|finding|lesion|abnormality|plane|modality)(?:\s+(?:shown|seen|depicted|marked)"
    r"|\s+in\s+(?:the|this)\s+image)*(?=\s+is\b))"
)
_VERB = (
    r"(?:choose|chose|chosen|choosing|select(?:ed|ing)?|pick(?:ed|ing)?|go(?:ing)?\s+(?:with|for)|opt(?:ing)?\s+for"
    r"|vote\s+for|say|guess|answer|believe|think|conclude|lean(?:ing)?\s+towards?|settle\s+(?:on|for)|corresponds?\s+to|match(?:es)?|favou?r|mean|looks?\s+like|seems?\s+like)"
)
_ADVERB = (
    r"(?:(?:(?:most|very)\s+)?(?:likely|probably|definitely|certainly|clearly|therefore|thus|hence|indeed|obviously"
    r"|simply|actually|still|just|also|then|possibly|perhaps|maybe|surely|evidently)\s*,?\s+)*"
)
_UNIT = r"(?:(?:(?:the|an|either|that\s+of|labell?ed|as)\s+)*(?:option|choice|answer|letter|alternative)s?\s*:?\s*)?"
_BE = r"(?:is|are|was|(?:must|should|would|will|could|can|may|might|has\s+to|seems?\s+to|appears?\s+to)\s+be|be)"
# What stands right before a letter or a text that is asserted.
_STATES = re.compile(
    rf"(?:\b{_NOUN}\b[^:=\n]{{0,70}}?(?:\b{_BE}\b|'s\b|:|=|->|→|\s-)(?:\s*,[^,\n]{{0,30}},)?\s*[\"']?{_ADVERB}(?:(?:the|an?)\s+)?{_UNIT}"
    rf"|\b{_NOUN}[\"']?\s*:?\s*"
    rf"|\b{_VERB}\s+(?:(?:that|it|it's|is|the|an?|on|for|with)\s+)*{_ADVERB}{_UNIT}"
    rf"|\b(?:it|this|that|which)(?:'s|\s+{_BE})\s+{_ADVERB}(?:(?:the|an?)\s+)?{_UNIT}"
    r"|\b(?:so|thus|hence|therefore|probably|definitely|likely|clearly|certainly|maybe|perhaps|possibly|sure|ok|okay|final"
    rf"|overall|correct|best|but|instead|choose|select|pick)\s*[,:]?\s+(?:it's\s+|it\s+is\s+)?{_UNIT}"
    rf"|(?:=>|->|→)\s*{_UNIT}"
    rf"|\b(?:given|based\s+on|considering|after|judging\s+by|looking\s+at|from)\b[^,\n]{{0,60}},\s*{_ADVERB}{_UNIT}"
    r"|(?:答案[】\]]?|选项|选择|应选|应该选|故选|我选|选|应为|正确的?|认为|可能的?|最佳的?(?:选项|答案)?|结果|结论)(?:应该|应当|应)?(?:是|为|选)?\s*[:=]?\s*(?:选项)?"
    r"|(?:^|[,，、]\s*|而|应该|应当|应|就|那么|因此|所以|则)(?:是|为|选择?)\s*(?:选项)?"
    r")\s*$",
    re.IGNORECASE,
)
_LOWER = re.compile(
    rf"(?:\b(?:answer|ans|option|choice)s?\b(?P<link>\s*{_BE}\b\s*:?|\s*[:=])?\s*(?:\b(?:option|choice)\s*)?"
    rf"|(?:=>|->|→)\s*{_UNIT}"
    rf"|\b(?:given|based\s+on|considering|after|judging\s+by|looking\s+at|from)\b[^,\n]{{0,60}},\s*{_ADVERB}{_UNIT}"
    r"|(?:答案[】\]]?|选项|选择|选)(?P<cjk>是|为|:)?\s*)"
    r"(?P<open>[\"'(\[]*)(?P<letter>[a-z])(?=[\"')\]]*\s*(?:[.,;:)!?。，；\n]|\]|$))",
    re.IGNORECASE,
)
_LOWER_LEADING = re.compile(r"[(\[]?([a-z])[)\].:、]+\s*")
_UPPER = re.compile(r"(?<![A-Za-z0-9_./\\&-])(?<![A-Za-z]')([A-Z])(?![A-Za-z0-9_]|'[A-Za-z])")
_NEXT = re.compile(
    r"[\"')\]}]*\s*(?:,|/|、|&|;|\bor\b|\band\b|\bnor\b|\bversus\b|\bvs\b\.?|或者?|和|与|及)\s*"
    r"(?:(?:or|and|nor|possibly|maybe|perhaps|probably|even|either|also|option|choice|answer|the)\s+)*[\"'(\[{]*"
    r"([A-Z])(?![A-Za-z0-9_]|'[A-Za-z]|[\"')\]}]*\s+(?:is|was|isn't|wasn't|can|cannot|can't|would|does|seems)\b)"
)
_DENIES = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no|without|instead\s+of|rather\s+than|other\s+than|except|against|incorrect|wrong"
    r"|unlikely|than|false|avoid|excluding|excludes?|excluded|exclusion|eliminat\w+|rul(?:e|es|ed|ing)\s+out"
    r"|reject\w*|discard\w*|dismiss\w*|unlike|doubt|(?:all|any(?:thing)?|every(?:thing)?|none)\s+but|least"
    # What was thought before, and what others may think, is not what the reply says.
    r"|(?:initially|originally|previously|(?:at\s+)?first)\s+(?:i\s+|we\s+)?(?:thought|guess\w*|believed|considered|chose"
    r"|suspected|assumed|said)|(?:some|many|others|people|students)\s+(?:may|might|could|would|often|will|think|choose))\b"
    r"|n't\b|不|非|排除|否定|错|没有|无法|未",
    re.IGNORECASE,
)
_NO_DENIAL = re.compile(
    r"\b(?:no|without(?:\s+an?y?)?|beyond)\s+doubt\b|无疑|毫无疑问",
    re.IGNORECASE,
)
_WRONG = (
    r"(?:incorrect|wrong|false|untrue|unlikely|excluded|eliminated|ruled\s+out|rejected|discarded|dismissed|impossible"
    r"|improbable|inconsistent|implausible|inaccurate|mistaken?|an?\s+error|unsuitable|inappropriate|less\s+likely|not\b|never\b|out\b|no\b)"
)
# What stands right behind a letter or a text that is denied.
_DENIED = re.compile(
    rf"[\s\"')\]}}]*(?:(?:选项|项)?(?:是|为)?\s*(?:不|错|有误|排除|可以?排除|被排除)"
    rf"|[\s:=,(-]*(?:{_WRONG}(?<!not)(?<!no)(?<!out)|not\s+(?:correct|right|likely)(?=\s*(?:[.,;!?)]|$))|no\s*(?:[.!,;]|$)|[✗✘×❌])"
    rf"|,?\s*(?:which\s+|that\s+)?(?:(?:is|are|was|were|seems?|looks?|appears?|has|have|had|does|do|did|must|may|might"
    rf"|can|could|would|should|will)\b[^.;,\n]{{0,30}}?(?:\b{_WRONG}|n't\b)|cannot\b|fails?\b|(?:is|are|was|were|does|do|did|ca"
    rf"|could|wo|would|has)n't\b|doesn't\b))",
    re.IGNORECASE,
)
_CONFIRMED = re.compile(
    r"[\"')\]}]*\s*(?:,\s*)?(?:(?:is|would\s+be|seems|appears|looks|must\s+be|should\s+be)\s+(?:(?:the|my|a|most|very|also"
    r"|clearly|definitely|likely|single|only)\s+)*(?:correct|right|best|answer|true|appropriate|likely|consistent|accurate"
    r"|probable|choice|option|final|one)\b|(?:fits|matches|describes)\s+(?:\w+\s+){0,3}best\b"
    r"|best\s+(?:fits|matches|describes)\b|it\s+is\s*(?:$|[.!])|(?:选项|项)?(?:是|为)?(?:正确|对的|最佳|答案))",
    re.IGNORECASE,
)
# An option that may be right, too, leaves open which one is meant.
_POSSIBLE = re.compile(
    r"[\"')\]}]*\s*(?:(?:is|seems|looks|appears|might\s+be|may\s+be|could\s+be)\s+(?:also\s+|equally\s+)*(?:possible|plausible"
    r"|conceivable)|(?:could|may|might)\s+(?:also\s+)?(?:be|fit|apply)|也有可能|也可能)",
    re.IGNORECASE,
)
# Words that may follow a letter, but not an article or a pronoun of the same letter: "a given", "I would".
_VERBS = r"is|was|would|seems|looks|appears|must|should|has|fits|matches|it"
_CONNECTIVE = re.compile(
    rf"{_VERBS}|because|since|and|or|as|due|given|based|which|for|not|but|rather|instead|here|from|with|in|on|that|where"
    r"|when|if|while|though|although|indicating|showing|representing|corresponding|meaning|so|then|over|best"
)
_WORD_CONNECTIVES: Mapping[str, re.Pattern[str]] = {
    "A": re.compile(rf"{_VERBS}|because|since|and|or|which"),
    "I": re.compile("is"),
}
_AGAINST = re.compile(r"(?:rather\s+than|instead\s+of|not|over)\s+(?:option\s+)?[\"'(\[]*[A-Z](?![A-Za-z0-9])")
_LEADING_WORDS = frozenset(["because", "since", "as", "due", "given", "based"])
_CLAUSE = re.compile(r"[.!?]\s|[。！？；;]|(?<![:：])\n")
_PIECE = re.compile(
    r"[,，、]|\byet\b|\bhowever\b|\bwhereas\b|而是|而应"
    r"|(?<!all )(?<!any )(?<!none )(?<!anything )(?<!everything )\bbut\b",
    re.IGNORECASE,
)
_BETWEEN = ")]}>\"' \t.:;,-([=、。，：；→*"
_OPENERS, _CLOSERS = "([{<\"' \t", ")]}>\"'"
_MARKS = ".:;,!?)]。，、；：！？"
# Between an option's text and its letter: "Liver (B)", "Liver, which is option B".
_NAMING = re.compile(
    r"(?:\s*[(\[,:-]+\s*(?:(?:which|that)\s+is\s+)?(?:the\s+)?(?:option|choice|letter|answer)?|\s+(?:option|choice|letter))"
    r"\s*:?\s*[(\[\"']*$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?。]\s*$")
_OTHER = re.compile(r"[\s:=-]+[\"'(\[]*([A-Z])[\"')\].,:]*(?:\s*$|\n)")
_JOINED = re.compile(r"[)\"']*\s*(?:,|/|、|\bor\b|\band\b|或者?|和)\s*(?:(?:or|and|possibly|maybe)\s+)*")
_MARKED = re.compile(r"(?<![A-Za-z0-9])([A-Z])\s*[.):、]\s*")
ARTICLE = re.compile(r"(?:the|an?)\s+", re.IGNORECASE)
BLANK_OR_MARK = re.compile(r"[\s.,;:!?()\[\]{}<>\"'`*、。，：；！？-]+")


@dataclass(slots=True)
class Claims:
    """What a reply says of the options.

    Attributes:
        asserted: Letters that it asserts, in any way, with the step that found them.
        denied: Letters that it denies.
        possible: Letters of which it says that they may be right, too.
        conflict: Whether a letter stands beside another option's text, or in a list with a letter of no option.
    """

    asserted: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    conflict: bool = False
    possible: set[str] = field(default_factory=set)


def find_claims(text: str, texts: Mapping[str, str]) -> Claims:
    claims = Claims()
    _claim_letters(text, texts, claims)
    _claim_texts(text.lower(), texts, claims)
    return claims


# --- letters


def _claim_letters(text: str, texts: Mapping[str, str], claims: Claims) -> None:
    echoed = _echoed(text, texts)
    after = 0
    for place, letter, lower in _candidates(text, texts):
        if place < after or place in echoed:
            continue
        if letter not in texts and not _stands(text, place, "", letter):
            continue
        listed, end = _listed(text, place, letter, texts)
        after = end
        known = [one for one in listed if one in texts]
        stands = "list" if lower or len(listed) > 1 else _stands(text, place, texts.get(letter, ""), letter)
        if not known or not stands:
            continue
        before, rest = text[:place].rstrip(_OPENERS), text[end:]
        label, behind = _label(text, end, texts)
        named_at = _NAMING.search(text[max(0, place - 40) : place])
        start = max(0, place - 40) + named_at.start() if named_at else place
        naming = _ends_in_text(text[:start], texts) if start < place else []
        start = start - len(texts[naming[0]]) if naming else place
        own = bool(label) and label == texts.get(letter)
        if own:
            after = behind
        # Of an option's own text, which may hold a no, nothing denies the letter beside it.
        if _denied_before(text[:start]) or _DENIED.match(text, behind) or (not own and _DENIED.match(rest)):
            claims.denied.update(known)
            continue
        if _POSSIBLE.match(rest):
            claims.possible.update(known)
            continue
        alone = not BLANK_OR_MARK.sub("", text[behind:])
        rule = "named_letter"
        if not before.strip() and stands in ("mark", "end", "own", "leading"):
            rule = "leading_letter"
        elif not (
            lower
            or naming
            or (alone and (before.rstrip(" \t")[-1:] == "\n" or _SENTENCE_END.search(before)))
            or _STATES.search(_clause(text[:place]))
            or _CONFIRMED.match(rest)
        ):
            continue
        beside = {one for one, own in texts.items() if own == label} | set(naming)
        other = _OTHER.match(rest)
        if (beside and letter not in beside) or len(set(listed)) > len(set(known)):
            claims.conflict = True
        if other and other[1] in texts and other[1] not in listed and other[1].lower() != texts.get(letter):
            claims.conflict = True
        for one in known:
            claims.asserted.setdefault(one, rule)


def _candidates(text: str, texts: Mapping[str, str]) -> Iterator[tuple[int, str, bool]]:
    """Yield (place, letter, whether it is written small) of letters that may name an option, in order."""
    found = {match.start(1): (match[1], False) for match in _UPPER.finditer(text)}
    for match in _LOWER.finditer(text):
        letter = match["letter"]
        if letter.islower():
            # "The answer is a" and "option I" may go on.
            sure = match["open"] or match["cjk"] or (match["link"] or "").strip()[-1:] in (":", "=")
            if letter not in "ai" or sure or text[match.end() : match.end() + 1] in tuple(").:"):
                found[match.start("letter")] = (letter.upper(), True)
    leading = _LOWER_LEADING.match(text)
    if leading and (letter := leading[1].upper()) in texts and _label(text, leading.end(), texts)[0]:
        found[leading.start(1)] = (letter, True)
    return ((place, *found[place]) for place in sorted(found))


def _listed(text: str, place: int, letter: str, texts: Mapping[str, str]) -> tuple[list[str], int]:
    """Return the letters of a list ("B or C") that begins at `place`, and where it ends."""
    letters, end = [letter], place + 1
    while following := _NEXT.match(text, end):
        one, at = following[1], following.end()
        more = _NEXT.match(text, at)
        if not more and text[at : at + 1] not in (",", "，") and not _stands(text, at - 1, texts.get(one, ""), one):
            break
        letters.append(one)
        end = at
    return letters, end


def _stands(text: str, place: int, own: str, letter: str) -> str:
    """Return how a capital letter stands for itself and not for a word; empty if it is one.

    `end` before the end of a line, `mark` before a mark or in brackets, `own` before its option's text, `leading`
    before a word such as because, `word` before another word that does not follow an article or a pronoun.
    """
    rest = text[place + 1 :]
    bare = rest.lstrip(_CLOSERS)
    enclosed = len(bare) < len(rest) and text[place - 1 : place] in tuple("([{<\"'")
    if not bare.lstrip(" \t") or bare.lstrip(" \t")[0] == "\n":
        return "end"
    if rest[0] in ")]}":
        return "mark"
    if bare[0] in _MARKS:
        if bare[0] in "?？" or (letter == "I" and bare[0] == ","):
            return ""
        if (
            letter == "A"
            and place == 0
            and bare[0] in ":："
            and bare[1:].strip()
            and not _begins(bare[1:].lstrip(), own)
        ):
            return ""  # "A: I cannot tell" answers "Q:"
        glued = bare[1:2].isalnum() and bare[1:2].isascii()
        return "" if glued and not _begins(bare[1:], own) else "mark"
    if ord(bare[0]) >= 0x2E80 or enclosed:  # CJK text has no blanks
        return "mark"
    if bare[0] == "(":
        return "mark"
    if bare[0] in "-/":
        return "mark" if _begins(bare[1:], own) else ""
    if bare[0] not in " \t":
        return ""
    bare = bare.lstrip(" \t")
    if bare[0] in "-:=(,;.→>[":
        return "mark"
    if _begins(bare, own):
        return "own"
    word = (re.match(r"[A-Za-z]*", bare) or [""])[0].lower()
    if word == "as" and letter == "A":
        return "" if re.match(r"as[\s-]+yet", bare, re.IGNORECASE) else "leading"
    if _AGAINST.match(bare):
        return "leading"
    if not _WORD_CONNECTIVES.get(letter, _CONNECTIVE).fullmatch(word):
        return ""
    return "leading" if word in _LEADING_WORDS else "word"


def _begins(text: str, option: str) -> bool:
    """Return whether a text begins with an option's text and not within a longer word."""
    begin = standard_normalise(text[: 2 * len(option) + 8]) if option else ""
    return bool(option) and begin.startswith(option) and not _goes_on(begin, len(option))


def _goes_on(text: str, end: int) -> bool:
    return text[end - 1 : end].isascii() and text[end : end + 1].isalnum() and text[end : end + 1].isascii()


def _label(text: str, end: int, texts: Mapping[str, str]) -> tuple[str, int]:
    """Return the longest option text that stands right behind a letter on its line, and where it ends.

    Without one the text is empty, and the end is that of the marks behind the letter.
    """
    while end < len(text) and text[end] in _BETWEEN:
        end += 1
    article = ARTICLE.match(text, end)
    for start in (end, article.end()) if article else (end,):
        line = text[start:].split("\n", 1)[0]
        if found := max((own for own in texts.values() if _begins(line, own)), key=len, default=""):
            return found, min(start + len(found), len(text))
    return "", end


def _ends_in_text(before: str, texts: Mapping[str, str]) -> list[str]:
    """Return the letters of the longest option text that stands right before a letter in brackets."""
    end = standard_normalise(before[-200:])
    fitting = [text for text in texts.values() if text and end.endswith(text)]
    found = max(fitting, key=len, default=None)
    if found is None or (end[: -len(found)][-1:].isalnum() and found[0].isascii()):
        return []
    return [letter for letter, text in texts.items() if text == found]


def _echoed(text: str, texts: Mapping[str, str]) -> set[int]:
    """Return the places of letters in paragraphs that list options, each as letter and text, as the question does."""
    places: set[int] = set()
    start = 0
    for paragraph in text.split("\n\n"):
        marked = {
            start + match.start(1): match[1]
            for match in _MARKED.finditer(paragraph)
            if match[1] in texts and _begins(paragraph[match.end() :], texts[match[1]])
        }
        if len(set(marked.values())) > 1:
            places.update(marked)
        start += len(paragraph) + 2
    return places


# --- texts


@lru_cache(maxsize=1 << 10)
def _option_pattern(texts: tuple[str, ...]) -> re.Pattern[str] | None:
    parts = []
    for text in sorted(set(texts), key=len, reverse=True):
        if len(text) > 1:
            body = r"\s+".join(map(re.escape, text.split()))
            edges = [r"(?<![a-z0-9])" if text[0].isascii() else "", r"(?![a-z0-9])" if text[-1].isascii() else ""]
            parts.append(f"{edges[0]}{body}{edges[1]}")
    return re.compile("|".join(parts)) if parts else None


def _claim_texts(text: str, texts: Mapping[str, str], claims: Claims) -> None:
    """Add what a text in lower case says of options by their texts."""
    # Yes and no are words of any sentence: `yes_no` knows which of them answer.
    pattern = None if set(texts.values()) <= set(POLARITY) else _option_pattern(tuple(texts.values()))
    if pattern is None:
        return
    for match in pattern.finditer(text):
        letters = [letter for letter, own in texts.items() if own == standard_normalise(match[0])]
        before, rest = text[: match.start()], text[match.end() :]
        if not letters:
            continue
        if _denied_before(before) or _DENIED.match(rest):
            claims.denied.update(letters)
            continue
        begins = not ARTICLE.sub("", before).strip(_OPENERS)
        ends = not rest.strip(_CLOSERS + " ") or rest.lstrip(_CLOSERS)[:1] in tuple(".,;:!?\n。，；：！？(")
        ends = (
            ends or re.match(r"\s*(?:[(\n-]|\b(?:because|since|as|due|and|or|but|in this|in the)\b)", rest) is not None
        )
        states = begins or _STATES.search(re.sub(r"\b(?:the|an?)\s+$", "", _clause(before)))
        if (states and ends) or (begins and _CONFIRMED.match(rest)):
            for letter in letters:
                claims.asserted.setdefault(letter, "option_text")
            joined = _JOINED.match(rest)
            if joined and (other := pattern.search(rest, joined.end(), joined.end() + 100)):
                gap = ARTICLE.sub("", rest[joined.end() : other.start()])
                claims.conflict = claims.conflict or (not gap and other[0] != match[0])
        if states and ends and begins:
            # A sentence that names a second option lists what is seen and chooses nothing.
            sentence = _CLAUSE.split(rest, maxsplit=1)[0]
            for other in pattern.finditer(sentence):
                if other[0] != match[0] and not _denied_before(sentence[: other.start()]):
                    claims.conflict = True


# --- clauses


def _clause(before: str) -> str:
    """Return the part of a text's end that belongs to its last sentence."""
    return _CLAUSE.split(before[-200:])[-1].rstrip(_OPENERS) + " "


def _denied_before(before: str) -> bool:
    """Return whether the clause that a text ends in denies what follows."""
    piece = _PIECE.split(_CLAUSE.split(before[-200:])[-1])[-1]
    return _DENIES.search(_NO_DENIAL.sub(" ", piece)) is not None
