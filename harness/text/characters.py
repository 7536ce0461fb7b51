"""Characters that are invisible or only look different, brought to one form before our own rules compare texts."""

import unicodedata

# Zero-width and bidirectional marks, soft hyphens, fillers, variation selectors: they print nothing.
_INVISIBLE = (
    *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0),
    *range(0x180B, 0x1810),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10),
)
_FORMS = {
    **dict.fromkeys(_INVISIBLE, ""),
    **dict.fromkeys(map(ord, "‘’‚‛ʼʹ′‵´｀＇"), "'"),
    **dict.fromkeys(map(ord, "“”„‟″＂"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–−﹣－⁃"), "-"),
    # These separate clauses, so that "B—Liver" is a letter and a name and not one hyphenated word.
    **dict.fromkeys(map(ord, "—―﹘"), " - "),
    **dict.fromkeys(map(ord, "\u2028\u2029"), "\n"),
}


def plain_characters(text: str) -> str:
    """Return `text` in NFKC, without invisible characters, with ASCII apostrophes, double quotes and hyphens.

    Full-width forms and no-break spaces become their ASCII counterparts; an em dash becomes a hyphen between blanks.
    ASCII text is returned as it is, and the result of a second call equals that of the first.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.translate(_FORMS)).translate(_FORMS)
