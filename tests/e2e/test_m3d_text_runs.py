"""M3D's retrieval, report and question tasks on drawn patients, and what a 2-D model makes of their slices."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.records.codec import sample_from_json

TASKS = (
    "m3d_image_to_text_retrieval",
    "m3d_text_to_image_retrieval",
    "m3d_report_generation",
    "m3d_closed_vqa",
    "m3d_open_vqa",
)
MODEL = """\
import numpy as np
from PIL import Image
from harness import Answer, Capabilities


class Flat:
    \"\"\"Embeds a slice by its mean grey; the text always points at the brightest. Counts what it is shown.\"\"\"

    def __init__(self, *, takes="image", most=1):
        self.takes, self.most = takes, most

    def capabilities(self):
        takes, gives = frozenset({"text", self.takes}), frozenset({"text", "embedding", "nll", "masks"})
        return Capabilities(takes=takes, gives=gives, max_images=self.most, max_batch=4, batch_invariant=True)

    def load(self, device):
        pass

    def predict(self, requests):
        assert len(requests) <= 4
        return [self.answer(request) for request in requests]

    def answer(self, request):
        pixels = [image.image() for image in request.images]
        with Image.open(request.images[0].path) as written:
            assert (np.asarray(written.convert("RGB")) == pixels[0]).all()
        if request.kind == "embed":
            (shown,) = pixels
            assert len(request.candidates) == 1 and not request.prompt
            return Answer(embedding=[(float(shown.mean()), 255.0), (1.0, 0.0)])
        if request.wants == ("masks",):
            (shown,) = pixels
            return Answer(masks=[shown[:, :, 0] > 0])
        return Answer(text=f"{len(pixels)} slices of {pixels[0].shape}")
"""
MASKS = """\
task: lungs
dataset: m3d_cap
version: 1
title: Whatever is not black
release: {reader: m3d_cap, split: validation}
gives: masks
oracle: "<SEG>"
prompt: "Mark what is not black."
fallbacks: [{volume_as_slices: all}]
metrics: [{metric: dice}]
headline: {metric: dice}
"""


def run(command: Any, out: Path, *words: object) -> Any:
    result = command("run", "--data-root", "phantom", "--out", out, "--ray", "off", *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "results.json").read_text())


def predictions(out: Path) -> list[Any]:
    return [json.loads(line) for line in (out / "predictions/predictions.jsonl").read_text().splitlines()]


def test_every_task_tells_good_from_bad(command: Any) -> None:
    result = command("validate", *TASKS, "--data-root", "phantom", "--json")
    assert result.exit_code == 0, result.stderr
    for report in json.loads(result.stdout):
        assert report["samples"] >= 24
        for name, means in report["scores"].items():
            assert means["empty"] == 0.0, name
            assert means["shuffled"] < means["oracle"], name
            assert means["oracle"] == 1.0 or name.startswith("meteor")


def test_a_random_model_answers_all_of_them(command: Any, tmp_path: Path) -> None:
    words = ("--tasks", ",".join(TASKS), "--model", "baseline:random", "--limit", 8)
    results = run(command, tmp_path / "run", *words)
    assert set(results["tasks"]) == set(TASKS)
    assert results["unsupported"] == {}
    for name in TASKS:
        assert (results["tasks"][name]["wanted"], results["tasks"][name]["coverage"]) == (8, 1.0)
    macro = [row for row in results["tasks"]["m3d_closed_vqa"]["metrics"] if row["mean"] == "macro"]
    assert {row["protocol"] for row in macro} == {"m3d", "strict-letter", "huatuo"}
    # Among 8 rivals a random model would find its target more often than among all.
    for name in TASKS[:2]:
        assert results["tasks"][name]["metrics"] == []
    reasons = [item for item in results["unavailable"] if item["task"] == TASKS[0]]
    assert [item["reason"].partition(" ranks")[0] for item in reasons] == ["retrieval (m3d)", "retrieval (standard)"]
    assert "--limit left 8 of 60 samples: the number would be too high" in reasons[0]["reason"]
    assert reasons[0]["remedy"] == "run without --limit"


def test_a_limit_above_the_number_of_samples_leaves_the_whole_gallery(command: Any, tmp_path: Path) -> None:
    words = ("--tasks", TASKS[0], "--model", "baseline:random", "--limit", 60)
    results = run(command, tmp_path / "run", *words)
    assert results["limited"]
    assert {row["metric"] for row in results["tasks"][TASKS[0]]["metrics"]} == {"retrieval"}


def test_both_directions_of_retrieval_share_their_requests(command: Any, tmp_path: Path) -> None:
    results = run(command, tmp_path / "run", "--tasks", ",".join(TASKS[:2]), "--model", "baseline:random")
    rows = results["tasks"][TASKS[0]]["metrics"]
    sizes = {row["stratum"]["pool"]: row["n"] for row in rows if row["stratum"]}
    assert sizes == {"100": 6, "500": 12, "1000": 18, "2000": 24}
    assert len(predictions(tmp_path / "run")) == 24  # 60 samples of either task show 24 pairs of volume and text


def test_show_names_subset_protocols_and_mean(command: Any) -> None:
    closed = command("show", "m3d_closed_vqa").stdout
    assert "samples: 13791" in closed
    assert "{question} Choices: {options_line}" in closed
    assert "metric choice_accuracy  protocol m3d" in closed
    assert "over: question_type" in closed
    retrieval = command("show", "m3d_text_to_image_retrieval").stdout
    assert "pools: all" in retrieval
    assert "volume_as_slices: 10" in retrieval


def test_the_group_holds_the_whole_bench(command: Any) -> None:
    shown = json.loads(command("show", "m3d_bench", "--json").stdout)
    assert set(TASKS) < {task["task"] for task in shown["tasks"]}


def test_a_2_d_model_is_asked_slice_by_slice_and_its_best_slice_counts(command: Any, tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(MODEL)
    out = tmp_path / "run"
    results = run(command, out, "--tasks", TASKS[0], "--model", f"{tmp_path / 'flat.py'}:Flat", "--limit", 6)
    assert results["tasks"][TASKS[0]]["fallbacks"] == ["volume_as_slices: 10 (bin_centres, one by one)"]
    for line in predictions(out):
        assert len(line["embedding"]) == 11
        assert len({tuple(vector) for vector in line["embedding"][:-1]}) > 1


def test_words_need_all_slices_at_once(command: Any, tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(MODEL)
    model = ("--model", f"{tmp_path / 'flat.py'}:Flat", "--limit", 3, "--tasks", "m3d_report_generation")
    single = run(command, tmp_path / "single", *model)
    assert "to answer in words (its max_images is 1)" in single["unsupported"]["m3d_report_generation"]
    several = run(command, tmp_path / "several", *model, "--model-args", "takes=images,most=10")
    assert several["tasks"]["m3d_report_generation"]["fallbacks"] == ["volume_as_slices: 10 (bin_centres, together)"]
    assert {line["text"] for line in predictions(tmp_path / "several")} == {"10 slices of (64, 64, 3)"}


def test_masks_of_all_slices_become_one_of_the_volume(command: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from harness.imaging.masks import area
    from harness.imaging.media_store import MediaStore
    from harness.paths import default_cache
    from harness.records.codec import mask_from_json

    (tmp_path / "flat.py").write_text(MODEL)
    (tmp_path / "tasks/own").mkdir(parents=True)
    (tmp_path / "tasks/own/lungs.yaml").write_text(MASKS)
    out = tmp_path / "run"
    words = ("--tasks", "lungs", "--task-path", tmp_path / "tasks", "--model", f"{tmp_path / 'flat.py'}:Flat")
    results = run(command, out, *words, "--limit", 1)
    assert results["tasks"]["lungs"]["fallbacks"] == ["volume_as_slices: all (bin_centres, one by one)"]
    (line,) = predictions(out)
    (row,) = pq.read_table(out / "plan/lungs.parquet").to_pylist()
    (media,) = sample_from_json(json.loads(row["sample"])).media
    (root,) = (default_cache() / "phantoms").glob("*m3d_cap")
    voxels = MediaStore(roots=[root]).volume(media)
    (mask,) = (mask_from_json(found) for found in line["masks"])
    assert mask.size == (32, 64, 64)
    assert area(mask) == int((np.rint(voxels / np.percentile(voxels, 99.5) * 255) > 0).sum())


def test_a_model_that_leaves_out_slices_is_told_so(command: Any, tmp_path: Path) -> None:
    (tmp_path / "short.py").write_text(MODEL.replace("for request in requests]", "for request in requests][1:]"))
    words = ("--tasks", TASKS[0], "--model", f"{tmp_path / 'short.py'}:Flat", "--limit", 1, "--data-root", "phantom")
    command("run", *words, "--out", tmp_path / "run", "--ray", "off")
    (line,) = predictions(tmp_path / "run")
    message = "predict() returned 3 answers for 4 requests; expected one per request, in order"
    assert (line["status"], line["error"]["message"]) == ("model_error", message)
