"""A good task file, and what tests do with changed copies of it."""

from pathlib import Path

from harness.tasks.catalog import check_file

GOOD = """\
task: good
version: 1
title: A good task
release: {reader: plain, split: all}
gives: masks
oracle: "<SEG>"
prompt: "Outline the {class}."
metrics:
  - {metric: dice}
  - {metric: dice, protocol: medplib}
headline: {metric: dice, mean: macro, over: modality}
strata: [modality, class]
"""


def write(folder: Path, text: str = GOOD, name: str = "t.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def faults(path: Path) -> list[str]:
    return [line.removeprefix(f"{path.parent}/") for line in check_file(path)]
