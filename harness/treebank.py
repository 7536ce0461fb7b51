"""The Penn Treebank tokens of the COCO caption metrics, without Java.

Follows what the tokenizer of pycocoevalcap 1.2 (Stanford CoreNLP 3.4.1, lines kept, lower case) was seen to do: at
each place the rule that reads furthest wins, the earlier one on a tie. Not covered: line separators inside a text
(blanks here, line ends there), the first words of the next caption, which the original looks at after a final
abbreviation, and letters that Unicode gained since 2014.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""Tokens that the COCO pipeline drops. It lists brackets too, in capitals, so the lower-case `-lrb-` stays."""

_SPACE = "[ \t\u00a0\u2000-\u200a\u3000]"
_BLANK = "[ \t\u00a0\u2000-\u200a\u3000\r\n\u2028\u2029\u000b\u000c\u0085]"
_NOT_LETTER = r"\W\d_\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209f\u2150-\u218b\u2460-\u24ff\u2776-\u2793"
_LETTER = f"[^{_NOT_LETTER}]"
_SIGN = rf"(?:{_LETTER}|\d)"
_WORD_LETTER = rf"(?:{_LETTER}|[\u00ad\u0300-\u036f]|&[aeiouAEIOU](?:acute|grave|uml);)"
_WORD_PART = rf"{_WORD_LETTER}(?:{_WORD_LETTER}|\d)*"
_WORD = rf"{_WORD_PART}(?:[.!?]{_WORD_PART})*"
_APOSTROPHE = "(?:['\u0092\u2019]|&apos;)"
_ANY_APOSTROPHE = "(?:['`\u0091\u0092\u2018\u2019\u201b]|&apos;)"
_CONTRACTED = rf"{_APOSTROPHE}(?i:re|ve|ll|[msd])"
_NOT = rf"(?i:n){_ANY_APOSTROPHE}(?i:t)"
_DIGITS = r"(?:\d*(?:[.:,\u00ad\u066b\u066c]\d+)+|\d+)"
_FRENCH = rf"(?:[dDoOlL]{_ANY_APOSTROPHE}{_SIGN})?"
_THING = rf"{_FRENCH}{_SIGN}+(?:[-_\u058a\u2010\u2011]{_FRENCH}{_SIGN}+)*"
_COUNTRY = r"(?i:(?:Canada|Sino|Korean|EU|Japan|non)-U\.S|U\.S\.-(?:U\.S\.S\.R|U\.K))"
_INITIALS = rf"(?:{_COUNTRY}|[A-Za-z](?:\.[A-Za-z])*)"
_HYPHENATED = rf"[A-Za-z0-9][A-Za-z0-9.,\u00ad]*(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|{_COUNTRY}\.|[A-Za-z0-9\u00ad]+))+"
_SLASHED_PART = "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_TAG_NAME = r"[A-Za-z][A-Za-z0-9_:.\-]*"
_TAG_VALUE = rf"'[^'\r\n]*'|\"[^\"\r\n]*\"|{_TAG_NAME}"
_TAG = (
    rf"<(?:[!?][A-Za-z\-][^>\r\n]*|/{_TAG_NAME}"
    rf"|{_TAG_NAME}(?: +{_TAG_NAME}(?: *= *(?:{_TAG_VALUE}))?)* */?) *>"
)
_LINK_END = r'(?:/[^ \t\n\f\r"<>|()]+[^ \t\n\f\r"<>|.!?(){},\-])?'
_HOST = (
    r'(?:(?i:www)\.(?:[^ \t\n\f\r"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}'
    r"""|(?:[^ \t\n\f\r"`'<>|.!?(){},-_$]+\.)+(?i:com|net|org|edu))"""
)
_MAIL_PART = r'[^ \t\n\f\r"<>|().\u00a0{}]+'
_CODE = "[0-9]{2,4}"
_PHONE = (
    rf"(?:\([0-9]{{2,3}}\)[ \u00a0]?|(?:\+\+?)?(?:{_CODE}[- \u00a0])?{_CODE}[- \u00a0])"
    rf"[0-9]{{3,4}}[- \u00a0]?[0-9]{{3,5}}"
    rf"|(?:(?:\+\+?)?{_CODE}\.)?{_CODE}\.[0-9]{{3,4}}\.[0-9]{{3,5}}"
)
_ELIDED = (
    rf"(?i:{_APOSTROPHE}(?:cause|em|till?|[2-9]0s|n{_APOSTROPHE}?)|(?:Dunkin|somethin|ol|[ldj]){_APOSTROPHE}"
    rf"|cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l|O{_ANY_APOSTROPHE}o)"
    rf"|[A-HJ-XZn]{_ANY_APOSTROPHE}{_LETTER}{{2,}}"
    rf"|{_LETTER}+[aeiouyAEIOUY]{_ANY_APOSTROPHE}[aeiouA-Z]{_LETTER}*"
)
_ABBREVIATION = (
    r"(?i:jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec|mon|tues|tue|wed|thurs|thu|fri|ala|ariz|calif|colo|conn|ct|"
    r"dak|fla|ga|ind|kans|kan|ky|md|mich|minn|mo|mont|neb|nev|okla|penn|tenn|va|vt|wisc|wis|wyo|inc|cos|co|corp|ltd|"
    r"plc|rt|bancorp|bhd|assn|univ|intl|sys|tel|est|ext|sq|jr|bros|sr|blvd|rd|esq|etc|al|seq|bldg|(?:ed|ph)\.d)"
    r"|A(?i:z|rk)|D(?i:el)|I(?i:ll)|L(?i:a)|M(?i:ass|iss)|O(?i:re)|P(?i:a)|T(?i:ex)|W(?i:ash)|[pP]{1,2}[tT][ye][sS]?"
)
_TITLE = (
    "(?i:ft|ph|mrs|mr|ms|drs|dr|profs|prof|sens|sen|reps|rep|attys|atty|lt|col|gen|messrs|govs|gov|adm|rev|maj|sgt|"
    "cpl|pvt|capt|ste|st|ave|pres|lieut|hon|brig|cmdr|comdr|pfc|spc|supts|supt|det|mt|adj|adv|asst|assoc|ens|insp|"
    "mlle|mme|msgr|sfc|invt|elec|natl|dept|vs|alex|wm|jos|cie|cf|treas)|[mM][ft][gG]"
)
_BEFORE_NUMBER = "(?i:ca|figs|fig|prop|nos|no|arts|art|pp|op)"
_SENTENCE_START = (
    r"(?=[A-Z])(?i:about|according|additionally|after|an|as|at|a|but|earlier|here|her|he|however|if|in|it|last|many|"
    r"more|mr\.|ms\.|now|once|one|other|our|she|since|some|so|such|that|their|then|there|these|they|the|this|we|what|"
    "when|while|yet|you)"
)
_FILE = (
    rf"{_SIGN}+(?:\.{_SIGN}+)*\.(?i:bat|bmp|bz2|class|cgi|cpp|c|dll|docx?|exe|gif|gz|html?|h|jar|java|jpe?g|mov|"
    "mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|xml|x|zip)"
)
_SYMBOLS = (
    r"[-+%&~^|\\\u00a6-\u00a9\u00ac\u00ae-\u00ba\u00d7\u00f7\u0387\u2016\u2017\u2020-\u2023\u2030-\u2038\u203b"
    r"\u203e-\u2042\u2044\u207a-\u207f\u208a-\u208e\u2100-\u214f\u2190-\u2bff\u3012\u30fb\uff01-\uff0f\uff1a-\uff20"
    r"\uff3b-\uff40\uff5b-\uff65\u00a1\u00bf\u037e\u0589\u061f\u06d4\u0700-\u0702\u07fa\u3001\u3002=/]"
)
_AS_LATEX = {
    **dict.fromkeys("\u2018\u201b\u2039\u0091", "`"),
    **dict.fromkeys("'\u2019\u203a\u0092", "'"),
    **dict.fromkeys("\u201c\u00ab\u0093", "``"),
    **dict.fromkeys('"\u201d\u00bb\u0094', "''"),
}
_CURRENCY = {"\u00a2": "cents", "\u00a3": "#", "\u20a4": "#", **dict.fromkeys("\u0080\u20a0\u20ac", "$")}
_FRACTIONS = {"\u00bc": "1/4", "\u00bd": "1/2", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}


class _Rule(NamedTuple):
    """A token in group 1, what must follow it (it counts as read) in group 2, and how the token is written."""

    match: Callable[[str, int], re.Match[str] | None]
    write: Callable[[str], str]


def _as_is(token: str) -> str:
    return token


def _in_latex(token: str) -> str:
    return "".join(_AS_LATEX.get(mark, mark) for mark in token.replace("&apos;", "'").replace("&quot;", '"'))


def _in_one_piece(token: str) -> str:
    return token.replace(" ", "\u00a0").replace("(", "-LRB-").replace(")", "-RRB-")


def _spelled(token: str) -> str:
    return {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}[token]


def _dash(token: str) -> str:
    return "--" if len(token) in (3, 4) else token


def _rule(token: str, followed_by: str = "", write: Callable[[str], str] = _as_is) -> _Rule:
    return _Rule(re.compile(rf"({token})(?=({followed_by}))").match, write)


_RULES = (
    _rule(r"[cC]\+\+|[cCfF]#"),
    _rule("(?i:can)", "(?i:not)"),
    _rule("'[tT]", "(?i:was)"),
    _rule("'[tT]", "(?i:is)"),
    _rule("(?i:gon|wan)", "(?i:na)"),
    _rule("(?i:got)", "(?i:ta)"),
    _rule("(?i:lem|gim)", "(?i:me)"),
    _rule(_TAG, write=_in_one_piece),
    _rule("&(?i:MD|mdash|ndash);|[\u0096\u0097\u2013-\u2015]", write=lambda _token: "--"),
    _rule("&(?i:HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);"),
    _rule(_WORD, _CONTRACTED),
    _rule(r"[A-Za-z\u00ad]*[A-MO-Za-mo-z]\u00ad*", _NOT),
    _rule(_WORD),
    _rule(_ELIDED),
    _rule(f"[yY]{_APOSTROPHE}", _LETTER),
    _rule(r'(?i:https?)://[^ \t\n\f\r"<>|(){}]+[^ \t\n\f\r"<>|.!?(){},\-]'),
    _rule(_HOST + _LINK_END),
    _rule(rf'(?i:&lt;|<)?[a-zA-Z0-9][^ \t\n\f\r"<>|()\u00a0{{}}]*@(?:{_MAIL_PART}\.)*{_MAIL_PART}(?i:&gt;|>)?'),
    _rule(f"@[a-zA-Z_][a-zA-Z_0-9]*|#{_WORD_LETTER}+"),
    _rule(_CONTRACTED, "[^A-Za-z]|$", _in_latex),
    _rule(_NOT, write=_in_latex),
    _rule(r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}"),
    _rule(rf"[-+]?{_DIGITS}"),
    _rule("[\u207a\u207b\u208a\u208b]?(?:[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+)"),
    _rule(r"(?:\d{1,4}[- \u00a0])?\d{1,4}(?:\\?/|\u2044)\d{1,4}", write=_in_one_piece),
    _rule("[\u00bc-\u00be\u2153-\u215e]", write=lambda token: _FRACTIONS.get(token, token)),
    _rule(rf"(?i:-(?:RRB|LRB|RCB|LCB|RSB|LSB)-|C\.D\.s|pro-|anti-|S&P-500|S&Ls|Cap{_APOSTROPHE}n|c{_APOSTROPHE}est)"),
    _rule(rf"{_SLASHED_PART}(?:\\?/{_SLASHED_PART}){{1,2}}"),
    _rule(r"[A-Z]*\$|#"),
    _rule(
        "[\u00a2-\u00a5\u0080\u20a0\u20ac\u060b\u0e3f\u20a4\uffe0\uffe1\uffe5\uffe6]",
        write=lambda token: _CURRENCY.get(token, token),
    ),
    _rule("[A-Za-z]", rf"\.{_SPACE}+(?:{_SENTENCE_START}|{_TAG})(?:{_BLANK}|$)"),
    _rule(rf"{_BEFORE_NUMBER}\.", rf"{_BLANK}?\d"),
    _rule(rf"(?:{_ABBREVIATION})\.", "(?s:.{0,2})"),
    _rule(rf"(?:{_TITLE})\."),
    _rule(rf"{_INITIALS}\."),
    _rule(rf"{_APOSTROPHE}[0-9][0-9]", f"{_BLANK}|$"),
    _rule(_FILE, f"{_BLANK}|[.?!,]|$"),
    _rule(rf"{_WORD}\.", "[,;:\u3001]"),
    _rule(_PHONE, write=_in_one_piece),
    _rule("\"|&quot;|''", write=_in_latex),
    _rule("(?i:&lt;)|<", write=lambda _token: "<"),
    _rule("(?i:&gt;)|>", write=lambda _token: ">"),
    _rule("(?i:&amp;)", write=lambda _token: "&"),
    _rule(r"[<>]?[:;=][\-o*']?[()DPdpO\\{@|\[\]]", "[^A-Za-z0-9]|$", _in_one_piece),
    _rule(r"[\-^x=~<>']_[\-^x=~<>']|\([\-^x=~<>'][_.]?[\-^x=~<>']\)", write=_in_one_piece),
    _rule(r"[()\[\]{}]", write=_spelled),
    _rule("-+", write=_dash),
    _rule(r"\.{3,}|\.(?:[ \u00a0]\.){2,}|[\u0085\u2026]", write=lambda _token: "..."),
    _rule(r"@+|_+|#+|\*+|(?:\\\*){1,3}|[,;:.]|[?!]+"),
    _rule(rf"{_HYPHENATED}\.", "[,;:\u3001]"),
    _rule(_HYPHENATED),
    _rule(rf"{_THING}\.", "[,;:\u3001]"),
    _rule(_THING),
    _rule(r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+", write=lambda token: token.replace("&amp;", "&")),
    _rule("'", "[A-Za-z][^ \t\n\r\u00a0]", _in_latex),
    _rule(_CONTRACTED, write=_in_latex),
    _rule(f"[`\u2018-\u201f\u0091-\u0094\u2039\u203a\u00ab\u00bb]{{1,2}}|{_APOSTROPHE}", write=_in_latex),
    _rule("<<|>>"),
    _rule(_SYMBOLS),
)
_SKIPPED = re.compile(f"{_BLANK}+|(?i:&nbsp;)")
_SIMPLE = re.compile(r"[A-Za-z]{2,}(?=[ )]|[.,;](?: |$)|$)")
_DIVIDED = frozenset(["cannot", "gonna", "wanna", "gotta", "lemme", "gimme"])
_SHORT = re.compile(f"{_ABBREVIATION}|{_TITLE}|{_BEFORE_NUMBER}")


@lru_cache(maxsize=4096)
def caption_line(text: str) -> str:
    """Return the tokens of `text` as pycocoevalcap's PTBTokenizer writes them: lower case, joined by one blank.

    A token may hold a no-break space ("1 1/2"): COCO's BLEU and CIDEr split there (`str.split()`), its ROUGE does not
    (`split(" ")`). No token: the empty string.
    """
    return " ".join(token for token in map(str.lower, _tokens(text)) if token and token not in REMOVED)


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    while place < len(text):
        if (blank := _SKIPPED.match(text, place)) is not None:
            place = blank.end()
        else:
            token, place = _simple(text, place) or _furthest(text, place)
            tokens.append(token)
    return tokens


def _simple(text: str, place: int) -> tuple[str, int] | None:
    """Read a plain word and the mark behind it, where no rule can see anything else in them."""
    found = _SIMPLE.match(text, place)
    if found is None:
        return None
    word, end = found[0], found.end()
    if word.lower() in _DIVIDED or (text.startswith(".", end) and _SHORT.fullmatch(word)):
        return None
    return word, end


def _furthest(text: str, place: int) -> tuple[str, int]:
    """Read the token of the rule that reads furthest; a character that no rule knows is dropped."""
    furthest, written, end = place, "", place + 1
    for rule in _RULES:
        found = rule.match(text, place)
        if found is not None and found.end(2) > furthest:
            furthest, written, end = found.end(2), rule.write(found[1]).replace("\u00ad", ""), found.end(1)
    return written, end
