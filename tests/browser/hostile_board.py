"""A small board, a report and a comparison in which every text from outside is hostile."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.comparison.compare import compare_runs
from harness.comparison.page import write_page
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.models.description import ModelDescription
from harness.reports.examples import ReportImages
from harness.runs.directory import RunDirectory
from leaderboard.build import build

SCRIPT = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
HOSTILE = f"=cmd|' /C calc'!A0 {SCRIPT} \"quoted\" 'single' \\input{{x}} & <b>"
TURNED = f"\u202egpj.exe\u202c {HOSTILE}"
LONG = "x" * 10_000
ANSWERS = (TURNED, LONG, HOSTILE, "=1+1", "\u0645\u0631\u062d\u0628\u0627 yes", "", "yes", "no")


@dataclass(frozen=True, slots=True)
class Pages:
    """Everything that was made: the board's folder, and the pages of a run and of a comparison."""

    board: Path
    report: Path
    compared: Path


def make_pages(folder: Path) -> Pages:
    """Evaluate three models on synthetic patients, two of them under hostile names, and write every page."""
    tasks = ("vqa_rad", "mecovqa_g", "m3d_semantic_segmentation")
    common: dict[str, Any] = {"data_roots": ("phantom",), "ray": "off", "limit": 8}
    runs = [
        evaluate(
            RunSpec(
                tasks=tasks, model=f"baseline:{name}", out=folder / "runs" / name,
                description=ModelDescription(name=title, url="https://example.org/a?b=<c>&d=\"e\""), **common,
            )
        ).out
        for name, title in (("center-box", f"Centre {HOSTILE}"), ("otsu", "Otsu"))
    ]  # fmt: skip
    majority = evaluate(
        RunSpec(tasks=("vqa_rad",), model="baseline:majority", out=folder / "runs" / "majority", **common)
    ).out
    ids = sorted(RunDirectory(majority).read_sample_ids("vqa_rad"))
    answers = folder / "answers \"quoted\" <b>&amp; '=x'.jsonl"
    lines = [{"sample_id": name, "text": text} for name, text in zip(ids, ANSWERS, strict=True)]
    answers.write_text("\n".join(map(json.dumps, lines)) + "\n")
    report = evaluate(
        RunSpec(tasks=("vqa_rad",), model=f"predictions:{answers}", out=folder / "runs" / "answers", **common)
    ).out
    # A part of the samples enters no board; here it keeps the test short.
    for path in (folder / "runs").glob("*/results.json"):
        results = json.loads(path.read_text(encoding="utf-8"))
        results["limited"] = False
        for block in results["tasks"].values():
            block["fallbacks"] = [TURNED, *block["fallbacks"]]
        path.write_text(json.dumps(results))
        RunDirectory(path.parent).checks.seal([path])
    write_page(folder / "compare.html", compare_runs(runs, every_number=True), ReportImages(phantom=True))
    build([folder / "runs"], folder / "board")
    return Pages(folder / "board", report / "report.html", folder / "compare.html")
