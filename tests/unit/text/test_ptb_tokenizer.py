"""The COCO pipeline's tokens: chosen examples, and agreement with the Java tokenizer where it is installed."""

import importlib.util
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.text import ptb_tokenizer
from harness.text.ptb_tokenizer import REMOVED, caption_line

CASES = [
    ("The heart (5.2 cm x 3 cm) isn't enlarged; it's normal.",
     "the heart -lrb- 5.2 cm x 3 cm -rrb- is n't enlarged it 's normal"),
    ("A 12-mm, well-defined T2-weighted lesion -- L4-L5, 3.5cm.",
     "a 12-mm well-defined t2-weighted lesion l4-l5 3.5 cm"),
    ('Patients\' "quoted" report: ‘curly’ “signs” … end', "patients quoted report curly signs end"),
    ("Dr. Smith vs. Mr. Jones et al. The study etc.", "dr. smith vs. mr. jones et al. the study etc."),
    ("Type I. The lesion, stage i. stage A. Next", "type i the lesion stage i. stage a. next"),
    ("Fig. 3 and fig. a, No.5 or no.", "fig. 3 and fig a no. 5 or no"),
    ("and/or 120/80 mg/dL 1 1/2 3/4/2020", "and/or 120/80 mg/dl 1\u00a01/2 3/4/2020"),
    ("<p>liver<SEG></p> p<0.05 a >= b", "<p> liver <seg> </p> p < 0.05 a > = b"),
    ("He cannot, won't; don’t", "he can not wo n't do n't"),
    ("37°C ±2 10² cm³ ½ 肺部正常。", "37 ° c ± 2 10 ² cm ³ 1/2 肺部正常 。"),
    ("-5 to -100 HU, 5-10% !! ?", "-5 to -100 hu 5-10 % !!"),
    ("😀", ""),
    (" . , ", ""),
    ("", ""),
]  # fmt: skip
# (text, our tokens, those of the Java program): the differences that the module's docstring names.
DIFFERENT = [
    ("यकृत normal", "यक ृ त normal", "यकृत normal"),
    ("جَ normal", "ج َ normal", "جَ normal"),
    ("cafe\u0301 normal", "cafe \u0301 normal", "cafe\u0301 normal"),
    ("٣٫٥ cm", "٣ ٫ ٥ cm", "٣٫٥ cm"),
    ("肾. 正常", "肾. 正常", "肾 正常"),
    ("é. normal", "é. normal", "é normal"),
    ("a\u200cb c", "a \u200c b c", "a b c"),
    ("a\u00adb c", "a \u00ad b c", "ab c"),
]
REPORT = (
    "the liver is normal T2-weighted T1 T1w 1.5T 3D 18F-FDG B12 3.5 cm 12mm 3.5-cm 2.5x3.0cm 5-10 mm. 8 mm 0.5 10:30 "
    "3,000 Dr. Smith vs. e.g. i.e., i.v. I.V. approx. 4 (see below) [1] (5.2 cm x 3 cm) 50% ±2 37°C <5 >10 ≤3 cm² it's "
    "don't isn't can't won't cannot patient's patients' Crohn's “quoted” \"quoted\" and/or 1/2 120/80 mg/dL A-P AP/PA "
    "non-small-cell follow-up left_lung -- – — , ; : ? ! L4-L5 L5/S1 C5-6 II-III III/IV type I II. stage 2 fig. 3 no. 5"
    " CT. MRI. OCT. H2O β-blocker 65-year-old p<0.05 n=12 lung, effusion. heart; no pleural effusion. unremarkable. "
    "<p>liver<SEG></p> 肺部 正常。"
)
FRAGMENTS = REPORT.split(" ")


@pytest.mark.parametrize(("text", "line"), CASES, ids=range(len(CASES)))
def test_tokens_are_those_of_the_coco_pipeline(text: str, line: str) -> None:
    assert caption_line(text) == line


def test_punctuation_is_removed_and_everything_is_lower_case() -> None:
    line = caption_line(" ".join(FRAGMENTS))
    assert line == line.lower()
    assert not REMOVED & set(line.split(" "))


def test_line_breaks_are_blanks() -> None:
    assert caption_line("Fatty liver.\nNo stones.") == caption_line("Fatty liver. No stones.")


def test_runs_of_plain_words_are_cut_as_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(7)
    words = [
        *FRAGMENTS,
        "The liver cannot",
        "is",
        "No acute disease",
        "it isn't",
        "a 1 1/2 cm",
        "of 3.5cm",
        "fig 2",
        "no.",
    ]
    texts = [" ".join(drawn.choices(words, k=drawn.randint(1, 9))) for _ in range(300)]
    ours = [caption_line(text) for text in texts]
    monkeypatch.setattr(ptb_tokenizer, "_PLAIN_WORDS", re.compile("(?!)"))
    assert [caption_line.__wrapped__(text) for text in texts] == ours


def java_lines(texts: list[str], folder: Path) -> list[str]:
    """Return the lines of the tokenizer in pycocoevalcap, without the tokens that the pipeline removes."""
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None or shutil.which("java") is None:
        pytest.skip("needs pycocoevalcap (pip install 'medground[text]') and Java")
    jar = Path(next(iter(package.submodule_search_locations or ()))) / "tokenizer" / "stanford-corenlp-3.4.1.jar"
    (folder / "captions.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    command = ["java", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", str(jar)]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", str(folder / "captions.txt")]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    lines = done.stdout.split("\n")[: len(texts)]
    return [" ".join(token for token in line.rstrip().split(" ") if token not in REMOVED) for line in lines]


def report(drawn: random.Random) -> str:
    """Return fragments in a row that ends in no abbreviation: after one the original reads on in the next line."""
    return " ".join(drawn.choice(FRAGMENTS) for _ in range(drawn.randint(1, 14))) + " end."


@pytest.mark.parametrize(("text", "ours", "java"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_where_the_tokens_are_others_than_those_of_java_is_known(
    text: str, ours: str, java: str, tmp_path: Path
) -> None:
    assert (caption_line(text), java_lines([text], tmp_path)) == (ours, [java])


def test_two_thousand_reports_are_cut_as_java_cuts_them(tmp_path: Path) -> None:
    drawn = random.Random(11)
    texts = [text for text, _ in CASES if text.strip()] + [report(drawn) for _ in range(2000)]
    different = [
        (text, theirs, caption_line(text))
        for text, theirs in zip(texts, java_lines(texts, tmp_path), strict=True)
        if theirs != caption_line(text)
    ]
    assert different == []
