"""A BERT small enough for tests, written to a folder."""

from pathlib import Path
from typing import Any

WORDS = ["the", "liver", "is", "normal", "no", "lesion", "seen", "kidney", ".", ","]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def write_tiny_bert(folder: Path) -> Path:
    """Write a BERT of two layers and sixteen positions, whose tokenizer states no limit; return the folder."""
    import torch
    import transformers

    library: Any = transformers
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    library.BertTokenizer.from_pretrained(str(folder)).save_pretrained(folder)
    torch.manual_seed(0)
    config = library.BertConfig(vocab_size=15, max_position_embeddings=16, **SIZES)
    library.BertModel(config).save_pretrained(folder)
    return folder
