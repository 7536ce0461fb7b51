"""Our ROUGE, METEOR and BLEU against the libraries that define them, on random reports in five scripts."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import SpecError
from harness.metrics import Metric, Outcome, find
from harness.metrics.metric import Missing, Pair
from harness.metrics.reports import library_check, meteor_java
from harness.metrics.reports.library_check import find_check
from harness.records import Prediction, Sample, Target

SCRIPTS = {
    "Latin": "the liver is normal in size no focal lesions lesion tumour tumor large big effusion 3.5 cm (12 mm) café "
    "Größe straße œdème İstanbul T2-weighted x-ray patient's don't cannot",
    "Cyrillic": "печень не увеличена очаговых изменений нет почка почки левая правая опухоль 3,5 см ё Й селезёнка",
    "Chinese": "肝脏大小正常 未见占位 左肺 右肺 结节 3.5 cm 胸腔积液。 肿块， 肾 脾 CT 检查 正常",
    "Arabic": "الكبد طبيعي الحجم لا توجد كتلة الكلية اليسرى اليمنى ورم ٣٫٥ سم الرئة انصباب جَنبي مُتَضَخِّم",
    "Devanagari": "यकृत सामान्य आकार कोई घाव नहीं गुर्दा बायाँ दायाँ ट्यूमर ३.५ सेमी फेफड़ा द्रव क्षेत्र",
}
JOINTS = (" ",) * 12 + (". ", ".\n", "\n", ", ", "; ", " - ", "\u00a0", "\u200c ")
STATED = [("rouge", "standard"), ("rouge", "m3d"), ("meteor", "nltk"), ("meteor", "m3d"), ("meteor", "nltk-stem")]
ROWS = pytest.mark.parametrize(("name", "protocol"), [*STATED, ("bleu", "standard")], ids=lambda text: str(text))


def pair(number: int, reply: str | None, *answers: str) -> Pair:
    return Sample(id=f"line {number}", target=Target(answers=answers)), Prediction(key="", status="ok", text=reply)


def random_pairs(count: int) -> list[Pair]:
    """Return replies with one or two answers, in each script in turn, some with a second script among the words."""
    drawn = random.Random(5)
    names = list(SCRIPTS)

    def report(words: Sequence[str]) -> str:
        return "".join(
            piece for _ in range(drawn.randint(0, 40)) for piece in (drawn.choice(words), drawn.choice(JOINTS))
        )

    pairs = []
    for number in range(count):
        words = SCRIPTS[names[number % len(names)]].split()
        words += SCRIPTS[drawn.choice(names)].split() if drawn.random() < 0.2 else []
        pairs.append(pair(number, report(words), *(report(words) for _ in range(drawn.randint(1, 2)))))
    return pairs


def unequal(metric: Metric, pairs: Sequence[Pair]) -> list[str]:
    return [found for found in find_check(metric).differences(metric, pairs) if found is not None]


@ROWS
@pytest.mark.usefixtures("word_net")
def test_reports_in_five_scripts_score_as_the_library_scores_them_to_the_last_digit(name: str, protocol: str) -> None:
    pairs = [*random_pairs(200), pair(0, None, "liver"), pair(1, "liver", "")]
    assert unequal(find(name, protocol), pairs) == []


@ROWS
@pytest.mark.usefixtures("word_net")
def test_one_wrong_digit_is_found(name: str, protocol: str) -> None:
    metric = find(name, protocol)

    def almost(sample: Sample, prediction: Prediction) -> Outcome:
        first, *others = metric.score(sample, prediction).stats
        return Outcome("ok", (first + 1e-15, *others))

    (found,) = unequal(replace(metric, score=almost), [pair(0, "liver mass", "big liver mass seen")])
    assert found.startswith(f"{metric.stats[0]} is ")
    assert ", by the library " in found


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize(("name", "protocol"), [("bleu", "mimo"), ("rouge", "mimo"), ("cider", "standard")])
def test_tokens_are_held_against_the_java_program(name: str, protocol: str) -> None:
    found = list(
        find_check(find(name, protocol)).differences(
            find(name, protocol), [pair(0, "The liver\nisn't big.", "normal"), pair(1, "normal", "肾. 正常")]
        )
    )
    assert found == [None, "tokens are '肾. 正常', by Java '肾 正常'"]


def test_grounding_tags_are_no_tokens_of_mimo_and_are_of_cider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meteor_java, "missing", lambda _parameters: None)
    monkeypatch.setattr(meteor_java, "treebank_lines", lambda texts: ["cut"] * len(texts))
    tagged = [pair(0, "<p>liver<SEG></p>", "cut")]
    assert unequal(find("rouge", "mimo"), tagged) == ["tokens are 'liver', by Java 'cut'"]
    assert unequal(find("cider"), tagged) == ["tokens are '<p> liver <seg> </p>', by Java 'cut'"]


def test_a_row_without_a_library_and_a_library_that_is_not_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"dice \(standard\): --check: no library .* one of bleu \(standard\), "):
        find_check(find("dice"))
    monkeypatch.setattr(meteor_java, "missing", lambda _parameters: Missing("there is no Java", "install it"))
    with pytest.raises(SpecError, match=r"bleu \(mimo\): --check: there is no Java; install it"):
        find_check(find("bleu", "mimo"))


def test_the_library_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_check.metadata, "version", lambda package: {"rouge-score": "0.1.2"}[package])
    check: Any = find_check(find("rouge"))
    assert check.library == "rouge-score 0.1.2"
