"""Metrics of longer texts: BLEU, ROUGE, METEOR, CIDEr, BERTScore and clinical entities."""
