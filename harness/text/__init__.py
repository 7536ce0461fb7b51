"""Words: tokenizers, normalisation, boxes and grounded phrases in text, option letters, WordNet."""
