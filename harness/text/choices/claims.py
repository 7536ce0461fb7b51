"""Which options of a question a reply asserts and which it denies, by letter and by text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from harness.text.choices import wording
from harness.text.normalisers import standard_normalise
from harness.text.yes_no import POLARITY


@dataclass(slots=True)
class Claims:
    """What a reply says about the options.

    Attributes:
        asserted: Letters that it asserts, in any way, with the step that found them.
        denied: Letters that it denies.
        possible: Letters of options that it calls possible, too.
        mentioned: Letters that follow their own text within a sentence: "the liver (B) is shown".
        conflict: Whether a letter is next to another option's text, or in a list with a letter of no option.
    """

    asserted: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    conflict: bool = False
    possible: set[str] = field(default_factory=set)
    mentioned: set[str] = field(default_factory=set)


def find_claims(text: str, texts: Mapping[str, str]) -> Claims:
    """Return what an unwrapped reply says about options.

    Args:
        text: The answer, as `short_answer` gives it.
        texts: The options' texts by letter, in the form of `standard_normalise`.
    """
    claims = Claims()
    _claim_letters(text, texts, claims)
    _claim_texts(text.lower(), texts, claims)
    if not claims.asserted:
        claims.asserted.update(dict.fromkeys(sorted(claims.mentioned), "named_letter"))
    return claims


# Characters around a letter or a text that are read: about a sentence, so that long replies take linear time.
NEAR, _CLAUSE = 400, 120


# A reply with more lone letters, or with more mentions of options, chooses none of them.
_MOST = 500


# --- letters


def _claim_letters(text: str, texts: Mapping[str, str], claims: Claims) -> None:
    echoed = _echoed(text, texts)
    after = 0
    candidates = _candidates(text, texts)
    claims.conflict = len(candidates) > _MOST
    for place, letter, lower in candidates[:_MOST]:
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
        since = max(0, place - NEAR)
        before, rest = text[since:place].rstrip(wording.OPENERS), text[end : end + NEAR]
        label, behind = _label(text, end, texts)
        named_at = wording.NAMING.search(text[max(0, place - 40) : place])
        start = max(0, place - 40) + named_at.start() if named_at else place
        naming = _ends_in_text(text[since:start], texts) if start < place else []
        start = max(since, start - len(texts[naming[0]])) if naming else place
        own = bool(label) and label == texts.get(letter)
        if own:
            after = behind
        # An option's own text may contain "no", and "is not enlarged" after it does not deny the option.
        denied = wording.CALLED_WRONG.match(text, behind) if label else wording.DENIED.match(rest)
        if denied or denied_before(text[since:start]):
            claims.denied.update(known)
            continue
        if wording.POSSIBLE.match(rest):
            claims.possible.update(known)
            continue
        alone = len(text) - behind < NEAR and not wording.BLANK_OR_MARK.sub("", text[behind:])
        rule = "named_letter"
        if not since and not before.strip() and (lower or (stands == "list" and alone) or stands in wording.LEADS):
            rule = "leading_letter"
        elif (
            naming
            and not wording.STATES.search(_clause(text[since:start]))
            and text[since:start].strip(wording.OPENERS)
        ):
            # Explanations name options in this way, too, so it only counts if nothing else asserts one.
            if letter in naming:
                claims.mentioned.update(known)
            continue
        elif not (
            lower
            or naming
            or (alone and (before.rstrip(" \t")[-1:] == "\n" or wording.SENTENCE_END.search(before)))
            or wording.STATES.search(_clause(text[since:place]))
            or wording.CONFIRMED.match(rest)
            or (own and wording.CONFIRMED.match(text, behind))
        ):
            continue
        if wording.ALTERNATIVE.search(_clause(text[since:place])):
            claims.conflict = True
        beside = {one for one, own in texts.items() if own == label} | set(naming)
        other = wording.OTHER.match(rest)
        if (beside and letter not in beside) or len(set(listed)) > len(set(known)):
            claims.conflict = True
        if other and other[1] in texts and other[1] not in listed and other[1].lower() != texts.get(letter):
            claims.conflict = True
        for one in known:
            claims.asserted.setdefault(one, rule)


def _candidates(text: str, texts: Mapping[str, str]) -> list[tuple[int, str, bool]]:
    """Return (place, letter, whether it is written small) of letters that may name an option, in order."""
    found = {match.start(1): (match[1], False) for match in wording.UPPER.finditer(text)}
    for match in wording.LOWER.finditer(text):
        letter = match["letter"]
        if letter.islower():
            # "The answer is a" and "option I" may go on.
            sure = match["open"] or match["cjk"] or (match["link"] or "").strip()[-1:] in (":", "=")
            if letter not in "ai" or sure or text[match.end() : match.end() + 1] in tuple(").:"):
                found[match.start("letter")] = (letter.upper(), True)
    leading = wording.LOWER_LEADING.match(text)
    if leading and (letter := leading[1].upper()) in texts and _label(text, leading.end(), texts)[0]:
        found[leading.start(1)] = (letter, True)
    # A letter within an option's text ("Vitamin B", "E. coli") is part of that name.
    pattern = option_pattern(tuple(texts.values()))
    spans = [match.span() for match in pattern.finditer(text.lower())] if pattern else []
    covered = {place for start, end in spans for place in range(start, end)}
    return [(place, *found[place]) for place in sorted(found.keys() - covered)]


def _listed(text: str, place: int, letter: str, texts: Mapping[str, str]) -> tuple[list[str], int]:
    """Return the letters of a list ("B or C") that begins at `place`, and where it ends."""
    letters, end = [letter], place + 1
    while following := wording.NEXT.match(text, end):
        one, at = following[1], following.end()
        more = wording.NEXT.match(text, at)
        # Behind "or" only A and I can be words: "A or B depending on the view" names two.
        word = one in "AI" and not more and text[at : at + 1] not in (",", "，")
        if word and not _stands(text, at - 1, texts.get(one, ""), one):
            break
        letters.append(one)
        end = at
    return letters, end


def _stands(text: str, place: int, own: str, letter: str) -> str:
    """Return how a capital letter stands for itself and not for a word; empty if it is one.

    `end` before the end of a line, `mark` before a mark or in brackets, `own` before its option's text, `leading`
    before a word such as because, `word` before another word that does not follow an article or a pronoun.
    """
    rest = text[place + 1 : place + 1 + max(NEAR, 3 * len(own))]
    bare = rest.lstrip(wording.CLOSERS)
    enclosed = len(bare) < len(rest) and text[place - 1 : place] in tuple("([{<\"'")
    if not bare.lstrip(" \t") or bare.lstrip(" \t")[0] == "\n":
        return "end"
    if wording.SCORED.match(rest):
        return ""
    if rest[0] in ")]}":
        return "mark"
    if bare[0] in wording.MARKS:
        if bare[0] in "?？" or (letter == "I" and bare[0] == ",") or wording.SPECIES.match(bare):
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
    if enclosed or wording.CJK_FOLLOWER.match(bare.lstrip(" \t")):
        return "mark"
    if ord(bare[0]) >= 0x2E80:  # A型 is type A
        return "own" if _begins(bare, own) else ""
    if bare[0] in "(=":
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
    if wording.CONFIRMED.match(rest):
        return "word"
    if wording.AGAINST.match(bare):
        return "leading"
    if not wording.WORD_CONNECTIVES.get(letter, wording.CONNECTIVE).fullmatch(word):
        return ""
    return "leading" if word in wording.LEADING_WORDS else "word"


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
    while end < len(text) and text[end] in wording.BETWEEN:
        end += 1
    article = wording.ARTICLE.match(text, end)
    for start in (end, article.end()) if article else (end,):
        line = text[start : start + NEAR].split("\n", 1)[0]
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
            for match in wording.MARKED.finditer(paragraph)
            if match[1] in texts and _begins(paragraph[match.end() :], texts[match[1]])
        }
        ends = [place + 1 + len(texts[letter]) for place, letter in marked.items()]
        following = [*marked][1:]
        begun = [place for place in marked if text[start:place].rstrip(" \t([*")[-1:] in ("", "\n")]
        # Either one option a line, or one right behind the other.
        adjacent = [
            not any(map(str.isalnum, text[end + 2 : after])) for end, after in zip(ends, following, strict=False)
        ]
        if len(set(marked.values())) > 1 and (len(begun) > 1 or all(adjacent)):
            places.update(marked)
        start += len(paragraph) + 2
    return places


# --- texts


@lru_cache(maxsize=1 << 10)
def option_pattern(texts: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return an expression that finds options' texts in a text in lower case, the longest first; None without any."""
    parts = []
    for text in sorted(set(texts), key=len, reverse=True):
        if len(text) > 1 or text.isdigit():
            body = r"\s+".join(map(re.escape, text.split()))
            edges = [r"(?<![a-z0-9])" if text[0].isascii() else "", r"(?![a-z0-9])" if text[-1].isascii() else ""]
            if text[0].isdigit() or text[-1].isdigit():
                edges = [r"(?<![a-z0-9.])", r"(?![a-z0-9]|\.\d)"]  # "1.5 mm" is not "5 mm"
            parts.append(f"{edges[0]}{body}{edges[1]}")
    return re.compile("|".join(parts)) if parts else None


def _claim_texts(text: str, texts: Mapping[str, str], claims: Claims) -> None:
    """Add what a text in lower case says of options by their texts."""
    # Yes and no are words of any sentence: `yes_no` knows which of them answer.
    pattern = None if set(texts.values()) <= set(POLARITY) else option_pattern(tuple(texts.values()))
    if pattern is None:
        return
    mentions = list(pattern.finditer(text))
    claims.conflict = claims.conflict or len(mentions) > _MOST
    for match in mentions[:_MOST]:
        letters = [letter for letter, own in texts.items() if own == standard_normalise(match[0])]
        since = max(0, match.start() - NEAR)
        before, rest = text[since : match.start()], text[match.end() : match.end() + NEAR]
        if not letters or wording.DENIED.match(rest):
            continue
        if denied_before(before):
            claims.denied.update(letters)
            continue
        begins = not since and not wording.ARTICLE.sub("", before).strip(wording.OPENERS)
        ends = not rest.strip(wording.CLOSERS + " ") or rest.lstrip(wording.CLOSERS)[:1] in tuple(
            ".,;:!?\n。，；：！？("
        )
        ends = (
            ends or re.match(r"\s*(?:[(\n-]|\b(?:because|since|as|due|and|or|but|in this|in the)\b)", rest) is not None
        )
        states = begins or wording.STATES.search(re.sub(r"\b(?:the|an?)\s+$", "", _clause(before)))
        if (states and ends) or (begins and wording.CONFIRMED.match(rest)):
            joined = wording.JOINED.match(rest)
            other = pattern.search(rest, joined.end(), joined.end() + 100) if joined else None
            if (
                joined
                and other
                and other[0] != match[0]
                and not wording.ARTICLE.sub("", rest[joined.end() : other.start()])
            ):
                claims.conflict = True
            elif joined and "or" in joined[0].split():
                continue  # "liver or something else" leaves it open
            for letter in letters:
                claims.asserted.setdefault(letter, "option_text")
        if states and ends and begins:
            # A sentence that names a second option lists what is seen and chooses nothing.
            sentence = wording.CLAUSE.split(rest, maxsplit=1)[0]
            for other in pattern.finditer(sentence):
                if other[0] != match[0] and not denied_before(sentence[: other.start()]):
                    claims.conflict = True


# --- clauses


def _clause(before: str) -> str:
    """Return the part of a text's end that belongs to its last sentence."""
    return wording.CLAUSE.split(before[-_CLAUSE:])[-1].rstrip(wording.OPENERS) + " "


def denied_before(before: str) -> bool:
    """Return whether the clause that a text ends in denies what follows."""
    clause = wording.CLAUSE.split(before[-_CLAUSE:])[-1]
    if wording.HYPOTHETICAL.search(clause):
        return True
    piece = wording.PIECE.split(clause)[-1]
    return wording.DENIES.search(wording.NO_DENIAL.sub(" ", piece)) is not None
