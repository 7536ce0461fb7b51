"""Two tokenizers behind one interface: words for small presets, any tokenizer of transformers for large ones."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer as Backend
from transformers import AddedToken, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from harness.errors import DataError
from reference_model.inputs.conversation import ENTITY_END, ENTITY_START, SEG, SpecialTokens

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
# Tags first, so that `<SEG>` and `<|user|>` stay one piece; then words, punctuation, and the line break after an image.
_PIECE = re.compile(r"</?\w+>|<\|\w+\|>|\w+|[^\w\s]|\n")
# The same with digits apart, since coordinates and lengths are more numbers than a small vocabulary has words.
_PIECE_OR_DIGIT = re.compile(r"</?\w+>|<\|\w+\|>|\[SEG\]|\d|[^\W\d]+|[^\w\s]|\n")
# MIMO's tags are tight around the name of an entity.
_NO_BLANK_BEFORE = frozenset([*".,;:!?)]%'/-", SEG, ENTITY_END])
_NO_BLANK_AFTER = (*"(['/-", ENTITY_START)


class WordTokenizer:
    """A vocabulary of words and single characters of punctuation; id 0 is the unknown token."""

    def __init__(self, words: Sequence[str], *, special: SpecialTokens, exact: bool = False) -> None:
        """Number the words.

        Args:
            words: Distinct words, in lower case unless `exact`, in the order of their ids.
            special: The special tokens behind the base vocabulary; entries of the latter beyond the words stay unused,
                so that the shapes of a preset do not depend on the words of its data.
            exact: Whether words keep their case, as option letters must, and each digit of a number is a word.
        Raises:
            DataError: There are more words than entries.
        """
        names = (UNKNOWN, START, END, *words)
        if len(names) > special.base:
            raise DataError(
                f"vocabulary: expected at most {special.base - 3} words, got {len(words)}; enlarge base_vocabulary"
            )
        self.words = tuple(words)
        self.special = special
        self.exact = exact
        self.start_id, self.end_id = 1, 2
        self._ids = {name: index for index, name in enumerate(names)}
        self._ids |= {name: special.id(name) for name in special.names}
        self._names = dict(enumerate(names)) | {special.id(name): name for name in special.written}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without a start token."""
        return [self._ids.get(piece, self._ids.get(piece.lower(), 0)) for piece in _pieces(text, exact=self.exact)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens; punctuation is spaced as in ordinary text."""
        text = ""
        for name in (self._names[token] for token in ids if token > self.end_id and token in self._names):
            joined = not text or name in _NO_BLANK_BEFORE or text.endswith(_NO_BLANK_AFTER) or "\n" in (name, text[-1])
            if self.exact and name.isdigit():  # 0.406 and 34, but a blank behind the full stop of a sentence
                joined |= text[-1:].isdigit() or (text[-1:] == "." and text[-2:-1].isdigit())
            text += name if joined else f" {name}"
        return text


def words_of(texts: Iterable[str], *, exact: bool = False) -> tuple[str, ...]:
    """Return the words and punctuation of texts, the most frequent first, equally frequent ones in sorted order.

    Args:
        texts: Special tokens in them are left out.
        exact: As for `WordTokenizer`.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        for piece in _pieces(text, exact=exact):
            if len(piece) == 1 or piece[0] not in "<[":
                counts[piece if exact else piece.lower()] += 1
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))


def _pieces(text: str, *, exact: bool) -> list[str]:
    return (_PIECE_OR_DIGIT if exact else _PIECE).findall(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTokenizer:
    """A tokenizer of transformers as it is stored beside weights.

    Attributes:
        definition: Text of its `tokenizer.json`, without the special tokens of the model.
        start: The token that a conversation begins with.
        end: The token that ends an answer.
    """

    definition: str
    start: str
    end: str

    def load(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer."""
        backend = Backend.from_str(self.definition)
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            # Cleaning up would remove spaces before punctuation, and a text would no longer match its ids.
            tokenizer_object=backend,
            bos_token=self.start,
            eos_token=self.end,
            clean_up_tokenization_spaces=False,
        )


class PretrainedTokenizer:
    """A tokenizer of transformers, with the special tokens of a model added behind its vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, special: SpecialTokens) -> None:
        """Add the special tokens to a tokenizer.

        Args:
            tokenizer: Changed in place; for the released weights, LLaMA's with 32000 entries.
            special: The tokens, numbered behind the tokenizer's own.
        Raises:
            DataError: The tokenizer has no start or end token, another number of entries, or some of the tokens.
        """
        if not isinstance(tokenizer.bos_token_id, int) or not isinstance(tokenizer.eos_token_id, int):
            raise DataError("tokenizer: expected a start and an end token, found one missing")
        if len(tokenizer) != special.base:
            raise DataError(
                f"tokenizer.json: expected {special.base} entries, the base_vocabulary of config.json, "
                f"found {len(tokenizer)}"
            )
        self.special = special
        # The slow tokenizer of MedPLIB's release, of transformers 4.31, strips whitespace beside added tokens;
        # that of M3D's, of 4.39, does not.
        flags = {"normalized": False, "lstrip": special.strip, "rstrip": special.strip}
        tokenizer.add_tokens([AddedToken(name, special=name not in special.written, **flags) for name in special.names])
        if len(tokenizer) != special.total:
            known = special.total - len(tokenizer)
            raise DataError(f"tokenizer: expected none of the model's own tokens, found {known}; give the one before")
        self.start_id, self.end_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without a start token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens and placeholders."""
        found = [token for token in ids if token >= 0]
        return str(self._tokenizer.decode(found, skip_special_tokens=True)).strip()
