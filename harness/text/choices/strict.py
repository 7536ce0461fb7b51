"""Our own rules for replies to questions with options: only options that exist, and never a guess.

A reply names an option by its letter or by its text, asserts it or denies it. It is read if all that it asserts is one
option; options with the same text, apart from outer blanks, are one.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from harness.text.choices.claims import find_claims
from harness.text.choices.lists import without_lists
from harness.text.choices.reading import ChoiceReading, lettered
from harness.text.choices.wording import ARTICLE, BLANK_OR_MARK
from harness.text.normalisers import standard_normalise
from harness.text.reply import answer_part, short_answer
from harness.text.yes_no import POLARITY, yes_no

_NONE = ChoiceReading(None, "none")


def strict_letter(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read the one option that a reply asserts, after `short_answer` has taken it out of its reasoning and wrapping.

    1. `letter_alone`: nothing but one letter, of either case. `option_text`: nothing but one option's text, in the form
       of `standard_normalise`. A letter that is also the text of another option is ambiguous and not read.
    2. `leading_letter`: the answer begins with a capital letter and a mark, an end of line or the option's own text.
       `named_letter`: a letter behind words such as "the answer is", "option", "I choose" or 选, before "is correct",
       behind its own text ("Liver (B)"), or alone in the last line. A small letter counts behind "answer", "option"
       or 选 only. `option_text`: an option's text in such a place, or at the start and before a mark.
    3. `yes_no`: if the options are yes and no, the reading of `harness.text.yes_no`.

    Letters that are words ("A fracture", "I think") name nothing. What a clause denies ("not A", "rule out B", "C is
    wrong") is not asserted, and denying the others asserts nothing. The rule is `conflict` if two options are asserted,
    one is asserted and denied, a letter stands before another option's text, or the reply lists options and chooses
    none of them, and `none` if nothing is read.
    Source: ours.
    """
    named = lettered(options)
    answer = short_answer(reply)
    if not named or not answer:
        return _NONE
    texts = _normal_texts(tuple(options))
    bare = BLANK_OR_MARK.sub("", answer)
    letters = [bare.upper()] if len(bare) == 1 and bare.upper() in named else []
    equal = _equal_texts(answer, texts)
    if letters or equal:
        return _decide(named, [*letters, *equal], "letter_alone" if letters else "option_text")
    answer, listing = without_lists(answer, texts), answer
    claims = find_claims(answer, texts)
    rivals = _answers(named, claims.denied & set(claims.asserted)) | (
        _answers(named, claims.possible) - _answers(named, claims.asserted)
    )
    if claims.conflict or (claims.asserted and rivals):
        return ChoiceReading(None, "conflict")
    if claims.asserted:
        return _decide(named, list(claims.asserted), next(iter(claims.asserted.values())))
    polarities = {POLARITY.get(text): letter for letter, text in texts.items()}
    if set(polarities) == {"yes", "no"} and (polarity := yes_no(answer)) and not claims.denied:
        return ChoiceReading(polarities[polarity], "yes_no")
    listed = answer != listing and find_claims(listing, texts).asserted
    return ChoiceReading(None, "conflict") if listed else _NONE


def exact(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read a reply whose part behind its reasoning equals, ends trimmed, one option's letter or one option's text.

    The steps are `letter`, then `option_text`, so that a letter wins over an option whose text is a letter. The rule is
    `none` otherwise, as for an empty reply.
    Source: ours.
    """
    named, text = lettered(options), (answer_part(reply) or "").strip()
    if text in named:
        return ChoiceReading(text, "letter")
    found = [letter for letter, option in named.items() if option.strip() == text]
    return ChoiceReading(found[0], "option_text") if found else _NONE


def _answers(named: Mapping[str, str], letters: Iterable[str]) -> set[str]:
    return {named[letter].strip() for letter in letters}


def _decide(named: Mapping[str, str], letters: Sequence[str], rule: str) -> ChoiceReading:
    if len(_answers(named, letters)) == 1:
        return ChoiceReading(letters[0], rule)
    return ChoiceReading(None, "conflict")


def _equal_texts(answer: str, texts: Mapping[str, str]) -> list[str]:
    """Return the letters of the options whose text is the whole answer, perhaps behind an article."""
    wanted = standard_normalise(answer)
    if equal := [letter for letter, text in texts.items() if text == wanted]:
        return equal
    article = ARTICLE.match(answer)
    # "A Spleen" may be the letter of another option before a wrong text.
    if article is None or (answer.startswith("A ") and "A" in texts):
        return []
    wanted = standard_normalise(answer[article.end() :])
    return [letter for letter, text in texts.items() if text == wanted]


@lru_cache(maxsize=1 << 12)
def _normal_texts(options: tuple[str, ...]) -> Mapping[str, str]:
    """Return the options by letter in the form in which a reply is compared, which has lost its wrapping."""
    return {letter: standard_normalise(short_answer(option) or option) for letter, option in lettered(options).items()}
