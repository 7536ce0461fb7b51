"""MIMOSeg and the zero-shot tasks of MIMO and MedPLIB through the commands, on drawn patients and on real images."""

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.data.manifest import read_manifest
from harness.data.phantoms.defects.mimoseg import plant_mimoseg
from harness.data.roots import data_roots
from harness.paths import default_cache
from harness.records import Sample
from harness.records.codec import mask_to_json
from harness.tasks.catalog import index
from harness.tasks.prepare import prepare_task

PERSPECTIVES = ["mimoseg_p1", "mimoseg_p2", "mimoseg_p2_box", "mimoseg_p2_point", "mimoseg_p3", "mimoseg_p4"]
ZERO_SHOT = [f"mimo_zero_shot_{image}{box}" for image in ("xray", "fundus", "skin") for box in ("", "_box")]
SEGMENTER = """\
import numpy as np
from harness import Answer, Capabilities


class Segmenter:
    \"\"\"Fills the box it is given; takes no words.\"\"\"

    def capabilities(self):
        return Capabilities(takes=frozenset({"image", "box"}), gives=frozenset({"masks"}), batch_invariant=True)

    def load(self, device):
        pass

    def predict(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        assert request.prompt == ""
        mask = np.zeros(request.images[0].size, dtype=bool)
        left, top, right, bottom = map(int, request.visual_prompts[0].corners)
        mask[top:bottom, left:right] = True
        return Answer(masks=[mask])
"""


@pytest.fixture(autouse=True)
def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """METEOR 1.5 starts two Java programs a task; its own tests cover it."""
    monkeypatch.setattr("harness.metrics.reports.meteor_java.shutil.which", lambda _: None)


@pytest.fixture
def drawn() -> Path:
    """The folder of drawn patients, to be read as if it were real."""
    (root,) = data_roots(["phantom"], default_cache()).of("mimoseg")
    return root


def run(command: Any, out: Path, *words: object) -> Any:
    result = command("run", "--out", out, "--ray", "off", *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "results.json").read_text())


def value(block: Any, metric: str, name: str, protocol: str, **stratum: str) -> Any:
    """Return the first value of a metric in a task's results."""
    return next(
        row["value"]
        for row in block["metrics"]
        if (row["metric"], row["name"], row["protocol"]) == (metric, name, protocol)
        and (row["stratum"] or {}) == stratum
    )


@pytest.mark.parametrize(
    "tasks",
    [
        ["mimoseg_p1", "mimoseg_p2", "mimoseg_p3", "mimoseg_p4"],
        ["mimo_zero_shot_fundus", "mimo_zero_shot_fundus_box", "medplib_zero_shot"],
    ],
    ids=["mimoseg", "zero-shot"],
)
def test_oracle_empty_and_shuffled_answers_stand_at_ceiling_floor_and_between(command: Any, tasks: list[str]) -> None:
    result = command("validate", *tasks, "--data-root", "phantom", "--json")
    assert result.exit_code == 0, result.stdout
    for report in json.loads(result.stdout):
        assert report["samples"] >= 24
        for name, means in report["scores"].items():
            if name == "hallucination (standard)":
                assert means["oracle"] == 0.0 < means["shuffled"]
            elif report["task"] in ("mimoseg_p1", "mimoseg_p3") and name == "miou (glamm)":
                assert means["oracle"] < 1.0, "of a picture with nothing to find the script says 0"
            else:
                assert means["oracle"] > 0.99, name
                assert means["empty"] == 0.0 <= means["shuffled"] < means["oracle"], name


def test_a_random_model_runs_the_groups_and_each_result_says_whose_words_were_used(
    command: Any, tmp_path: Path
) -> None:
    words = ("--tasks", "mimoseg,mimo_zero_shot,medplib_zero_shot", "--model", "baseline:random", "--limit", "4")
    results = run(command, tmp_path / "run", *words, "--data-root", "phantom")
    assert set(results["tasks"]) == {*PERSPECTIVES, *ZERO_SHOT, "medplib_zero_shot"}
    assert results["unsupported"] == {}
    for name in PERSPECTIVES:
        block = results["tasks"][name]
        assert (block["wanted"], block["coverage"]) == (4, 1.0)
        strata = [row["stratum"] for row in block["metrics"] if row["stratum"]]
        assert {stratum["wording"] for stratum in strata if "wording" in stratum} == {"ours"}
        text = {row["metric"] for row in block["metrics"]} & {"bleu", "rouge", "meteor"}
        assert text == (set() if name == "mimoseg_p1" else {"bleu", "rouge", "meteor"})
    assert {row["task"] for row in results["unavailable"]} == {"mimoseg_p2", "mimoseg_p3", "mimoseg_p4"}
    assert all("no Java" in row["reason"] for row in results["unavailable"])


def test_a_segmenter_without_words_runs_the_half_with_boxes(command: Any, tmp_path: Path) -> None:
    (tmp_path / "segmenter.py").write_text(SEGMENTER)
    words = ("--tasks", "mimo_zero_shot", "--model", f"{tmp_path / 'segmenter.py'}:Segmenter", "--limit", "8")
    results = run(command, tmp_path / "run", *words, "--data-root", "phantom")
    assert set(results["tasks"]) == {name for name in ZERO_SHOT if name.endswith("_box")}
    assert set(results["unsupported"]) == {name for name in ZERO_SHOT if not name.endswith("_box")}
    assert all("takes text" in reason for reason in results["unsupported"].values())
    for block in results["tasks"].values():
        assert block["fallbacks"] == ["text_left_out: where_pointed"]
        assert value(block, "miou", "miou", "glamm") > 0.4


def test_boxes_and_points_are_the_halves_of_perspective_two(command: Any, tmp_path: Path) -> None:
    prepared = json.loads(command("prepare", *PERSPECTIVES[1:4], "--data-root", "phantom", "--json").stdout)
    whole, boxes, points = (report["samples"] for report in prepared)
    assert (whole, boxes, points) == (48, 24, 24)
    out = tmp_path / "run"
    run(command, out, "--tasks", ",".join(PERSPECTIVES[1:4]), "--model", "baseline:empty", "--data-root", "phantom")
    lines = (out / "predictions/predictions.jsonl").read_text().splitlines()
    assert len(lines) == whole, "what two tasks ask alike is asked once"


@pytest.fixture
def samples() -> list[Sample]:
    """The samples of perspective III."""
    roots = data_roots(["phantom"], default_cache())
    prepared = prepare_task(index().load("mimoseg_p3"), roots, default_cache(), lambda _: None)
    return list(read_manifest(prepared.manifest))


@pytest.mark.parametrize(("old", "new"), [("<SEG></p>", "<SEG></p>"), ("<SEG></p>", "</p> [SEG]")])
def test_a_reply_in_either_grammar_is_read_the_same(
    command: Any, tmp_path: Path, samples: list[Sample], old: str, new: str
) -> None:
    lines = [
        {
            "sample_id": sample.id,
            "text": sample.target.answers[0].replace(old, new),
            "masks": [mask_to_json(entity.mask) for entity in sample.target.entities if entity.mask],
        }
        for sample in samples
    ]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("--tasks", "mimoseg_p3", "--predictions", tmp_path / "replies.jsonl", "--data-root", "phantom")
    result = command("score", *words, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    block = json.loads((tmp_path / "out/results.json").read_text())["tasks"]["mimoseg_p3"]
    for metric, name, protocol in (
        ("mask_to_entity_f1", "f1", "mimo"),
        ("bleu", "bleu4", "mimo"),
        ("rouge", "rougeL", "mimo"),
        ("ap50", "ap50", "glamm"),
    ):
        assert value(block, metric, name, protocol) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("defect", "task", "coverage"),
    [
        ("closing_tag", "mimoseg_p3", 1.0),
        ("token_outside", "mimoseg_p3", 1.0),
        ("missing_words", "mimoseg_p2", 1.0),
        ("missing_prompt", "mimoseg_p2", 47 / 48),
        ("prompt_outside", "mimoseg_p2", 47 / 48),
        ("missing_entities", "mimoseg_p3", None),
    ],
)
def test_a_planted_defect_moves_nothing_but_the_coverage(
    command: Any, drawn: Path, tmp_path: Path, defect: str, task: str, coverage: float | None
) -> None:
    spoilt = Path(shutil.copytree(drawn, tmp_path / "spoilt"))
    plant_mimoseg(spoilt, frozenset({defect}))
    results = run(
        command,
        tmp_path / "run",
        *("--tasks", task, "--model", "baseline:oracle", "--data-root", spoilt, "--max-failures", "5"),
    )
    block = results["tasks"][task]
    wanted = 1 - 1 / block["wanted"] if coverage is None else coverage
    assert block["coverage"] == pytest.approx(wanted)
    assert value(block, "mask_to_entity_f1", "f1", "mimo") == 1.0
    assert value(block, "rouge", "rougeL", "mimo") == pytest.approx(1.0)


def test_show_tells_sizes_words_and_how_the_halves_differ(command: Any) -> None:
    shown = {name: json.loads(command("show", name, "--json").stdout) for name in PERSPECTIVES}
    sizes = {name: description["release"].get("samples") for name, description in shown.items()}
    assert sizes == dict(zip(PERSPECTIVES, (2545, 2334, None, None, 726, 1070), strict=True))
    assert {description["release"]["options"]["wording"] for description in shown.values()} == {"release"}
    assert shown["mimoseg_p2_point"]["release"]["where"] == {"prompt": ["point"]}
    group = json.loads(command("show", "mimo_zero_shot", "--json").stdout)
    assert [task["release"]["samples"] for task in group["tasks"]] == [281, 281, 270, 270, 206, 206]
    zero_shot = json.loads(command("show", "medplib_zero_shot", "--json").stdout)
    assert zero_shot["headline"] == {"metric": "dice", "protocol": "medplib", "mean": "macro", "over": "modality"}


def test_the_zero_shot_mean_is_over_five_modalities_without_pet(command: Any, tmp_path: Path) -> None:
    words = ("--tasks", "medplib_zero_shot", "--model", "baseline:oracle", "--data-root", "phantom")
    block = run(command, tmp_path / "run", *words)["tasks"]["medplib_zero_shot"]
    rows = [row for row in block["metrics"] if (row["metric"], row["protocol"]) == ("dice", "medplib")]
    modalities = {row["stratum"]["modality"] for row in rows if "modality" in (row["stratum"] or {})}
    assert modalities == {"xray", "endo", "mr", "us", "fundus"}
    assert [row["value"] for row in rows if row["mean"] == "macro"] == [1.0]


def test_real_images_in_the_zero_shot_files_are_read_and_absent_files_named(
    command: Any, test_data: Path, tmp_path: Path
) -> None:
    """The small real release has no zero-shot files, so its test records are written as such, by modality."""
    mini = test_data / "samed2d_mini"
    source = mini / "MeCoVQA/test/MeCoVQA_Grounding_test.json"
    if not source.is_file():
        pytest.skip(f"no MeCoVQA at {mini}")
    by_file: dict[str, list[Any]] = defaultdict(list)
    for record in json.loads(source.read_text()):
        by_file[record["id"].partition("_")[0]].append(record)
    folder = tmp_path / "data/MeCoVQA/zeroshot4grounding"
    folder.mkdir(parents=True)
    (tmp_path / "data/SAMed2Dv1").symlink_to(mini / "SAMed2Dv1")
    kept = {name: by_file[name] for name in ("endoscopy", "fundus", "mr")}
    for name, records in kept.items():
        (folder / f"{name}.json").write_text(json.dumps(records))
    words = ("--tasks", "medplib_zero_shot", "--model", "baseline:otsu", "--data-root", tmp_path / "data")
    block = run(command, tmp_path / "run", *words)["tasks"]["medplib_zero_shot"]
    assert (block["wanted"], block["coverage"]) == (sum(map(len, kept.values())), 1.0)
    report = command("prepare", "medplib_zero_shot", "--data-root", tmp_path / "data")
    assert "missing_file: 3" in report.stdout + report.stderr
