"""Text from outside in files of other languages: it stays text there, and shows what it is."""

import re
import unicodedata
from collections.abc import Mapping

# Marks that turn the direction of writing let a line read as something else; they and control characters are left out.
# Blanks of no width stay where scripts need them (U+200C and U+200D).
_KEPT = frozenset("\u200c\u200d")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # By number, since the commands for these two need further packages.
    '"': r"\char34{}",
    "`": r"\char96{}",
    "\u2212": r"\ensuremath{-}",
}
# BibTeX counts braces, escaped or not.
_BIBTEX = _LATEX | {"{": r"\textbraceleft{}", "}": r"\textbraceright{}"}


def one_line(text: str) -> str:
    """Return a text on one line, without control characters, marks of direction, and halves of surrogate pairs."""
    kept = (
        letter if letter in _KEPT or unicodedata.category(letter) not in ("Cf", "Cs", "Co", "Cn") else ""
        for letter in re.sub(r"\s+", " ", text)
    )
    return "".join(letter for letter in kept if unicodedata.category(letter or "x") != "Cc").strip()


def latex(text: str) -> str:
    """Return a text for the body of a LaTeX document, on one line, every special character escaped."""
    return _escaped(text, _LATEX)


def bibtex(text: str) -> str:
    """Return a text for a field in braces of a BibTeX entry."""
    return _escaped(text, _BIBTEX)


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    # LaTeX makes one dash of two hyphens, and a quotation mark of two apostrophes or commas.
    found = "".join(escapes.get(letter, letter) for letter in one_line(text))
    return re.sub(r"([-',])(?=\1)", r"\1{}", found)


def bibtex_key(text: str) -> str:
    """Return the key of a BibTeX entry: letters, digits, `-`, `.` and `:`; never empty."""
    return re.sub(r"[^A-Za-z0-9.:-]+", "-", text).strip("-.:") or "entry"
