"""Which words nltk aligns when it is given our stemmer and our word net."""

from collections.abc import Sequence

from nltk.translate.meteor_score import align_words

from harness.metrics.reports.meteor import Stemmer, Synonyms, synonym_net


def align(reference: Sequence[str], hypothesis: Sequence[str], synonyms: Synonyms | None) -> list[tuple[int, int]]:
    """Return (hypothesis index, reference index) of the aligned words, by hypothesis index."""
    pairs: list[tuple[int, int]] = align_words(hypothesis, reference, stemmer=Stemmer, wordnet=synonym_net(synonyms))[0]
    return pairs
