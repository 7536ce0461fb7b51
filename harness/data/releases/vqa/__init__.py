"""Question-answering sets over single images: VQA-RAD, SLAKE, PathVQA, PMC-VQA, OmniMedVQA, MMMU."""
