"""Named tokenizers; each metric names the one that it uses. See `ptb_tokenizer` for the tokenizer of COCO captions."""

import re
import unicodedata
from functools import lru_cache

_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]")
_GROUNDING_TAG = re.compile(r"</?p>|<SEG>|\[SEG\]", re.IGNORECASE)
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_13A = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),  # every ASCII mark but ' , - .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_NOT_ROUGE = re.compile(r"[^a-z0-9]+")

Tokens = tuple[str, ...]


def without_grounding_tags(text: str) -> str:
    """Return the words of a grounded answer: `<p>liver<SEG></p>` and `<p> liver </p> [SEG]` become `liver`.

    Tags are removed wherever they occur, in upper or lower case; blanks are collapsed and trimmed.
    """
    return " ".join(_GROUNDING_TAG.sub("", text).split())


def _characters_apart(text: str) -> str:
    """Return `text` with a blank around every CJK character."""
    return text if text.isascii() else _IDEOGRAPH.sub(r" \g<0> ", text)


@lru_cache(maxsize=4096)
def tokens_13a(text: str) -> Tokens:
    """Return the tokens of mteval-v13a, the default of sacrebleu and of BLEU in HF evaluate; case is kept.

    Each punctuation mark is a token, except for full stops and commas between digits and for hyphens that do not follow
    a digit. A hyphen at the end of a line joins it with the next line. CJK text is cut only at blanks and ASCII marks.
    """
    text = text.strip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    if "&" in text:
        for entity, mark in _ENTITIES:
            text = text.replace(entity, mark)
    return tuple(token for piece in text.split() for token in _piece_13a(piece))


# Cached by piece, because reports repeat their words and no rule reaches beyond the blank beside a piece.
@lru_cache(maxsize=1 << 16)
def _piece_13a(piece: str) -> Tokens:
    """Return the tokens of a text without blanks."""
    piece = f" {piece} "
    for pattern, replacement in _13A:
        piece = pattern.sub(replacement, piece)
    return tuple(piece.split())


def tokens_13a_by_character(text: str) -> Tokens:
    """Return the tokens of `tokens_13a`, with every CJK character as a token of its own."""
    return tokens_13a(_characters_apart(text))


@lru_cache(maxsize=4096)
def rouge_tokens(text: str) -> Tokens:
    """Return the runs of a-z and 0-9 in the lower-cased text, as rouge_score does without its stemmer.

    Everything else separates tokens, so that text in other scripts has no tokens at all.
    """
    return tuple(_NOT_ROUGE.sub(" ", text.lower()).split())


@lru_cache(maxsize=4096)
def unicode_words(text: str) -> Tokens:
    """Return the runs of letters and digits of any script after NFKC and casefold; a CJK character is one word.

    Combining marks belong to their word, soft hyphens and joiners are dropped, and everything else separates words. For
    ASCII text the result equals that of `rouge_tokens`.
    """
    if text.isascii():
        return rouge_tokens(text)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return tuple(_characters_apart("".join(map(_word_character, folded))).split())


def _word_character(character: str) -> str:
    """Return the character if it is part of words, nothing if it is invisible, else a blank."""
    if character.isalnum():
        return character
    category = unicodedata.category(character)
    return character if category.startswith("M") else "" if category == "Cf" else " "
