"""A WordNet of two synsets."""

from pathlib import Path

HEADER = "  1 This is WordNet 3.0 Copyright 2006.  \n"
SYNSETS = {"noun": ("n", ("tumor", "tumour", "neoplasm", "new_growth")), "adj": ("a", ("big",))}


def write_tiny(folder: Path) -> Path:
    """Write a WordNet of two synsets, without the files that Debian leaves out."""
    folder.mkdir(parents=True)
    for part in ("noun", "verb", "adj", "adv"):
        kind, lemmas = SYNSETS.get(part, ("r", ()))
        at = len(HEADER)
        words = " ".join(f"{lemma} 0" for lemma in lemmas)
        line = f"{at:08d} 00 {kind} {len(lemmas):02x} {words} 000 | a gloss  \n" if lemmas else ""
        (folder / f"data.{part}").write_text(HEADER + line)
        index = [f"{lemma} {kind} 1 0 1 0 {at:08d}  \n" for lemma in sorted(lemmas)]
        (folder / f"index.{part}").write_text(HEADER + "".join(index))
        (folder / f"{part}.exc").write_text("tumorz tumor\n" if part == "noun" else "")
    return folder
