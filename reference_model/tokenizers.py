"""Two tokenizers behind one interface: words for the small presets, and any of transformers for the large ones."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from transformers import AddedToken, PreTrainedTokenizerBase

from harness.errors import DataError
from reference_model.tokens import SpecialTokens

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
_PIECE = re.compile(r"</?\w+>|\w+|[^\w\s]|\n")
_NO_BLANK_BEFORE = frozenset(".,;:!?)%'/-")
_NO_BLANK_AFTER = frozenset("('/-")


class WordTokenizer:
    """Lower-case words and single signs, each with an id of its own; id 0 stands for whatever is unknown."""

    def __init__(self, words: Sequence[str], *, base: int, fillers: int) -> None:
        """Number the words.

        Args:
            words: Each once, lower case, in the order of their ids.
            base: Entries of the base vocabulary; what the words leave free stays unused.
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
        """Return the text of ids, without special tokens; signs stand as in ordinary writing."""
        text = ""
        for name in (self._names[token] for token in ids if token > self.end_id and token in self._names):
            joined = not text or name in _NO_BLANK_BEFORE or text[-1] in _NO_BLANK_AFTER or "\n" in (name, text[-1])
            text += name if joined else f" {name}"
        return text


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the words and signs of texts, the most frequent first, equal ones by alphabet."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(piece.lower() for piece in _PIECE.findall(text) if not piece.startswith("<") or len(piece) == 1)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))


class PretrainedTokenizer:
    """A tokenizer of transformers, with MedPLIB's tokens added behind its vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, fillers: int) -> None:
        """Add the tokens to `tokenizer`, LLaMA's with 32000 entries for released weights.

        Raises:
            DataError: It has no start or end token.
        """
        if not isinstance(tokenizer.bos_token_id, int) or not isinstance(tokenizer.eos_token_id, int):
            raise DataError("tokenizer: expected a start and an end token, found one missing")
        self.special = SpecialTokens.after(len(tokenizer), fillers=fillers)
        tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in self.special.names])
        self.start_id, self.end_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without a start token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
