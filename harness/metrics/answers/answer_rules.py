"""An answer against its reference by rules alone: words contained, and sides, polarity, numbers and units compared.

The floor against which a model that judges is measured: it knows no synonyms and asks nobody. What it cannot tell it
does not credit: an answer with the opposite side or polarity, or with another number or unit, is never right.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from harness.text.characters import plain_characters
from harness.text.normalisers import words
from harness.text.reply import answer_text
from harness.text.yes_no import POLARITY, yes_no

# Score of an answer that holds a part of the reference, of one that holds all of it, and of any other.
RIGHT, MOST_PARTLY, LEAST_PARTLY, WRONG = 100.0, 89.0, 10.0, 0.0
# Below half of the reference's words an answer is about something else.
LEAST_SHARE = 0.5
# A list of everything that might be asked for holds the right word, too.
MOST_OTHER_WORDS, MOST_OTHER_WORDS_EACH = 12, 3


def _listed(line: str) -> list[str]:
    return re.findall(r"\S+", line)


_SIDES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("left", "leftward", "sinistral", "左"), frozenset({"left"})),
    **dict.fromkeys(("right", "rightward", "dextral", "右"), frozenset({"right"})),
    **dict.fromkeys(("bilateral", "bilaterally", "both", "双", "两"), frozenset({"left", "right"})),
    **dict.fromkeys(("unilateral", "unilaterally"), frozenset({"one side"})),
}
# Words of which an answer may assert one only; a reference with one contradicts the others of its line.
_OPPOSITES = tuple(
    frozenset(line.split())
    for line in """
    normal abnormal|benign malignant|present absent|positive negative|acute chronic|anterior posterior|ventral dorsal
    superior inferior|upper lower middle|proximal distal|medial lateral|ascending descending|male female|man woman
    increased decreased unchanged|increase decrease|high low|hyperdense hypodense isodense|hot cold|open closed
    hyperintense hypointense isointense|hyperechoic hypoechoic anechoic|large small|enlarged shrunken|thick thin
    wide narrow|dilated constricted|systolic diastolic|axial sagittal coronal|arterial venous|improved worsened stable
    peripheral central|internal external|superficial deep|hyperattenuating hypoattenuating|regular irregular
    stenosis dilatation|hypertrophy atrophy|true false|yes no
    """.replace("\n", "|").split("|")
    if line.strip()
)
_CUES = frozenset(
    _listed(
        "no not none non without never nor neither absent absence negative deny denies denied free lack lacks lacking "
        "cannot exclude excludes excluded excluding rule rules ruled unlikely resolved 无 没 未 非 不"
    )
)
# "not seen", "is absent": the words before them are meant as well as those behind.
_CUES_BEHIND = frozenset(_listed("absent excluded unlikely ruled resolved negative not"))
_HEDGES = frozenset(_listed("or versus vs either maybe possibly perhaps whether 或"))
_EMPTY = frozenset(
    _listed(
        "a an the is are was were be been being of in on at to for from with and by as it its this that these those "
        "there here which who i we you they he she has have had do does did can could may might will would should "
        "shows show showing shown seen see visible image images picture scan answer side sided located location "
        "evidence sign out any some about approximately around measures measuring measure yes 的 是 在 有 了 侧 和"
    )
)
_CLAUSE = re.compile(r"[.;:!?,\n，。；：！？、]+(?!\d)|\b(?:but|however|although|though|except|while|whereas|with)\b")
_WORD_NUMBERS = {
    word: str(number)
    for number, word in enumerate(_listed("zero one two three four five six seven eight nine ten eleven twelve"))
}
# Unit -> dimension and size. What is measured in other units is never equal, a count is a number without one.
_UNITS: Mapping[str, tuple[str, Fraction]] = {
    **dict.fromkeys(("mm", "millimeter", "millimetre", "毫米"), ("length", Fraction(1))),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "厘米"), ("length", Fraction(10))),
    **dict.fromkeys(("m", "meter", "metre"), ("length", Fraction(1000))),
    **dict.fromkeys(("um", "μm", "micron", "micrometer", "micrometre"), ("length", Fraction(1, 1000))),
    **dict.fromkeys(("inch", "inches"), ("length", Fraction(254, 10))),
    **dict.fromkeys(("mm2", "sq mm"), ("area", Fraction(1))),
    **dict.fromkeys(("cm2", "sq cm"), ("area", Fraction(100))),
    **dict.fromkeys(("ml", "milliliter", "millilitre", "cc", "cm3", "毫升"), ("volume", Fraction(1))),
    **dict.fromkeys(("mm3",), ("volume", Fraction(1, 1000))),
    **dict.fromkeys(("dl",), ("volume", Fraction(100))),
    **dict.fromkeys(("l", "liter", "litre"), ("volume", Fraction(1000))),
    **dict.fromkeys(("mg", "milligram"), ("mass", Fraction(1))),
    **dict.fromkeys(("ug", "μg", "mcg", "microgram"), ("mass", Fraction(1, 1000))),
    **dict.fromkeys(("g", "gram"), ("mass", Fraction(1000))),
    **dict.fromkeys(("kg", "kilogram"), ("mass", Fraction(1_000_000))),
    **dict.fromkeys(("%", "percent", "per cent"), ("share", Fraction(1))),
    **dict.fromkeys(("hu", "hounsfield unit"), ("attenuation", Fraction(1))),
    **dict.fromkeys(("°", "degree", "deg"), ("angle", Fraction(1))),
    **dict.fromkeys(("mmhg",), ("pressure", Fraction(1))),
    **dict.fromkeys(("year", "yr", "岁"), ("years", Fraction(1))),
    **dict.fromkeys(("month", "mo"), ("months", Fraction(1))),
    **dict.fromkeys(("week", "wk"), ("days", Fraction(7))),
    **dict.fromkeys(("day",), ("days", Fraction(1))),
    **dict.fromkeys(("hour", "hr", "h"), ("seconds", Fraction(3600))),
    **dict.fromkeys(("minute", "min"), ("seconds", Fraction(60))),
    **dict.fromkeys(("second", "sec", "s"), ("seconds", Fraction(1))),
    **dict.fromkeys(("ms", "millisecond"), ("seconds", Fraction(1, 1000))),
    **dict.fromkeys(("bpm",), ("rate", Fraction(1))),
}
_UNIT = "|".join(sorted((re.escape(unit) for unit in _UNITS), key=len, reverse=True))
_NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>(?<![\d)])-(?=\d))?(?P<value>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:[.,]\d+)?)"
    rf"(?:\s*-?\s*(?P<unit>{_UNIT})s?(?![a-z0-9]))?(?![a-z0-9])"
)
# "3 x 4 cm", "2 to 3 cm": the unit behind the last number is that of all.
_JOINED = re.compile(r"\s*(?:x|×|\*|by|to|and|-|/|~)\s*-?\s*")
_CODE = re.compile(r"([a-z]{1,3})-?(\d+)")

Quantity = tuple[str, Fraction]


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What the rules say of an answer.

    Attributes:
        verdict: `correct`, `partly` or `incorrect`.
        score: 100 for `correct`, 0 for `incorrect`, 10 to 89 by the share of the reference's words between them.
        reason: The rule that decided, for people.
    """

    verdict: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Facts:
    sides: frozenset[str]
    quantities: frozenset[Quantity]
    codes: frozenset[str]
    polarity: Mapping[str, frozenset[str]]  # word -> how it stands there: asserted, denied, unsure
    hedged: bool
    bare_no: bool


def compare(reference: str, answer: str) -> RuleVerdict:
    """Return what the rules say of `answer`; the answer and the reference lose their reasoning and wrapping first.

    It is incorrect if it names another set of sides, asserts what the reference denies or the reverse, asserts an
    opposite, or holds other quantities than the reference, where the reference holds any; units are converted (mm, cm,
    ml, mg, ...). Else it is correct if it holds every word of the reference, partly correct from half of them on.
    """
    whole = words(answer_text(reference))
    if len(whole) == 1 and whole[0] in POLARITY:
        if yes_no(answer) == POLARITY[whole[0]]:
            return RuleVerdict("correct", RIGHT, "the same of yes and no")
        return RuleVerdict("incorrect", WRONG, "not the same of yes and no")
    there, given = (_facts(answer_text(text)) for text in (reference, answer))
    if not there.polarity and not there.sides and not there.quantities and not there.codes:
        same = bool(whole) and whole == words(answer_text(answer))
        return RuleVerdict(*(("correct", RIGHT, "the same words") if same else ("incorrect", WRONG, "other words")))
    if reason := _contradiction(there, given):
        return RuleVerdict("incorrect", WRONG, reason)
    wanted = [
        *((word in given.polarity) for word in there.polarity),
        *([given.sides == there.sides] if there.sides else []),
        *([True] * len(there.quantities)),
        *([True] * len(there.codes)),
    ]
    if (there.quantities and not given.quantities) or (there.codes and not given.codes):
        return RuleVerdict("incorrect", WRONG, "the number is missing")
    share = sum(wanted) / len(wanted)
    others = len(given.polarity.keys() - there.polarity.keys())
    if share == 1:
        if given.hedged and not there.hedged:
            return RuleVerdict("partly", 50.0, "it names alternatives")
        if others > max(MOST_OTHER_WORDS, MOST_OTHER_WORDS_EACH * len(wanted)):
            return RuleVerdict("partly", 50.0, f"it holds {others} other words")
        return RuleVerdict("correct", RIGHT, "it holds all of the reference")
    if share < LEAST_SHARE:
        return RuleVerdict("incorrect", WRONG, f"it holds {sum(wanted)} of {len(wanted)} parts of the reference")
    score = min(MOST_PARTLY, max(LEAST_PARTLY, float(int(RIGHT * share))))
    return RuleVerdict("partly", score, f"it holds {sum(wanted)} of {len(wanted)} parts of the reference")


def _contradiction(there: _Facts, given: _Facts) -> str:
    """Return how the answer contradicts the reference; empty if it does not."""
    if there.sides and given.sides and there.sides != given.sides:
        return "another side"
    if (there.quantities and given.quantities and there.quantities != given.quantities) or (
        there.codes and given.codes and there.codes != given.codes
    ):
        return "another number or unit"
    for word, how in there.polarity.items():
        if word in given.polarity and given.polarity[word] != how:
            return f"another polarity of '{word}'"
        for line in _OPPOSITES:
            if word in line and any("asserted" in given.polarity.get(other, ()) for other in line - {word}):
                return f"an opposite of '{word}'"
    if given.bare_no and not any("denied" in how for how in there.polarity.values()):
        return "it answers no"
    return ""


def _facts(text: str) -> _Facts:
    plain = plain_characters(text).casefold()
    plain = re.sub(r"n't\b", " not", plain)
    plain = re.sub(r"\b(\w+?)['’]s\b", r"\1", plain)
    plain = re.sub(r"\b[a-z]+\b", lambda match: _WORD_NUMBERS.get(match[0], match[0]), plain)
    quantities: set[Quantity] = set()
    codes: set[str] = set()
    sides: dict[str, set[str]] = {}
    polarity: dict[str, set[str]] = {}
    hedged = bare_no = False
    for clause in _CLAUSE.split(plain):
        numbers, left = _quantities(clause)
        tokens = [token for word in words(left) for token in re.findall(r"[a-z]+\d*|[^\W\d_a-z]", word)]
        bare_no |= tokens in (["no"], ["not"], ["none"], ["否"], ["不"], ["无"])
        hedged |= bool(_HEDGES & set(tokens))
        cues = [place for place, token in enumerate(tokens) if token in _CUES]
        # Of numbers it is not known whether they stand before or behind the denial: all of the clause are meant.
        denial = "not " * len(cues)
        quantities |= {(f"{denial}{dimension}", value) for dimension, value in numbers}
        codes |= {f"{denial}{letters}{int(number)}" for letters, number in _CODE.findall(left)}
        for place, token in enumerate(tokens):
            before = sum(cue < place or tokens[cue] in _CUES_BEHIND for cue in cues)
            how = "asserted" if before == 0 else "denied" if before == 1 else "unsure"
            for side in _SIDES.get(token, ()):
                sides.setdefault(side, set()).add(how)
            if not (token in _CUES or token in _EMPTY or token in _SIDES or token in _HEDGES or _CODE.fullmatch(token)):
                polarity.setdefault(_stem(token), set()).add(how)
    asserted = {side for side, how in sides.items() if how == {"asserted"}}
    # "Right, not left" means the right; "not left" alone, and "left and not left", do not mean the left.
    others = {f"{side} {how}" for side, hows in sides.items() if side not in asserted for how in hows}
    if asserted and all(hows == {"denied"} for side, hows in sides.items() if side not in asserted):
        others = set()
    return _Facts(
        frozenset(asserted | others),
        frozenset(quantities),
        frozenset(codes),
        {word: frozenset(how) for word, how in polarity.items()},
        hedged,
        bare_no,
    )


def _stem(token: str) -> str:
    """Return an English word without the s of its plural."""
    return token[:-1] if len(token) > 3 and token.endswith("s") and not token.endswith(("ss", "us", "is")) else token


def _quantities(text: str) -> tuple[list[Quantity], str]:
    """Return the numbers with their units, and the text without them."""
    found: list[Quantity] = []
    matches = list(_NUMBER.finditer(text))
    unit, after = "", len(text)
    for match in reversed(matches):
        own = match["unit"] or ""
        unit = own or (unit if _JOINED.fullmatch(text, match.end(), after) else "")
        after = match.start()
        value = match["value"]
        whole = (
            value.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", value) else value.replace(",", ".")
        )
        dimension, size = _UNITS.get(unit, ("count", Fraction(1)))
        found.append((dimension, Fraction(whole) * size * (-1 if match["sign"] else 1)))
    return found, re.sub(r"#\s*(?:x|×|\*|by)\s*(?=#)", " ", _NUMBER.sub("#", text.replace("#", " ")))
