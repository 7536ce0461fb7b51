"""Two tokenizers behind one interface: words for small presets, any tokenizer of transformers for large ones."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer as Backend
from transformers import AddedToken, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from harness.errors import DataError
from reference_model.inputs.conversation import SpecialTokens

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
# Tags first, so that `<SEG>` stays one piece; then words, punctuation, and the line break after the image's mark.
_PIECE = re.compile(r"</?\w+>|\w+|[^\w\s]|\n")
_NO_BLANK_BEFORE = frozenset(".,;:!?)%'/-")
_NO_BLANK_AFTER = frozenset("('/-")


class WordTokenizer:
    """A vocabulary of lower-case words and single characters of punctuation; id 0 is the unknown token."""

    def __init__(self, words: Sequence[str], *, base: int, fillers: int) -> None:
        """Number the words.

        Args:
            words: Distinct lower-case words, in the order of their ids.
            base: Entries of the base vocabulary; those beyond the words stay unused, so that the shapes of a preset do
                not depend on the words of its data.
            fillers: See `SpecialTokens`.
        Raises:
            DataError: There are more words than entries.
        """
        names = (UNKNOWN, START, END, *words)
        if len(names) > base:
            raise DataError(f"vocabulary: expected at most {base - 3} words, got {len(words)}; enlarge base_vocabulary")
        self.words = tuple(words)
        self.special = SpecialTokens.after(base, fillers=fillers)
        self.start_id, self.end_id = 1, 2
        self._names = dict(enumerate(names))
        self._ids = {name: index for index, name in self._names.items()}
        self._ids |= {name: self.special.id(name) for name in self.special.names}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without a start token."""
        pieces = (match.group() for match in _PIECE.finditer(text))
        return [self._ids.get(piece, self._ids.get(piece.lower(), 0)) for piece in pieces]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens; punctuation is spaced as in ordinary text."""
        text = ""
        for name in (self._names[token] for token in ids if token > self.end_id and token in self._names):
            joined = not text or name in _NO_BLANK_BEFORE or text[-1] in _NO_BLANK_AFTER or "\n" in (name, text[-1])
            text += name if joined else f" {name}"
        return text


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the words and punctuation of texts, the most frequent first, equally frequent ones in sorted order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(piece.lower() for piece in _PIECE.findall(text) if not piece.startswith("<") or len(piece) == 1)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTokenizer:
    """A tokenizer of transformers as it is stored beside weights.

    Attributes:
        definition: Text of its `tokenizer.json`, without the tokens of MedPLIB.
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
    """A tokenizer of transformers, with MedPLIB's tokens added behind its vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, fillers: int) -> None:
        """Add MedPLIB's tokens to a tokenizer.

        Args:
            tokenizer: Changed in place; for the released weights, LLaMA's with 32000 entries.
            fillers: See `SpecialTokens`.
        Raises:
            DataError: The tokenizer has no start or end token, or already has some of MedPLIB's tokens.
        """
        if not isinstance(tokenizer.bos_token_id, int) or not isinstance(tokenizer.eos_token_id, int):
            raise DataError("tokenizer: expected a start and an end token, found one missing")
        self.special = SpecialTokens.after(len(tokenizer), fillers=fillers)
        # The release's slow tokenizer strips whitespace on both sides of added tokens.
        tokenizer.add_tokens(
            [AddedToken(name, special=True, normalized=False, lstrip=True, rstrip=True) for name in self.special.names]
        )
        if len(tokenizer) != self.special.total:
            known = self.special.total - len(tokenizer)
            raise DataError(f"tokenizer: expected none of MedPLIB's tokens, found {known} of them; give the one before")
        self.start_id, self.end_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without a start token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens and placeholders."""
        found = [token for token in ids if token >= 0]
        return str(self._tokenizer.decode(found, skip_special_tokens=True)).strip()
