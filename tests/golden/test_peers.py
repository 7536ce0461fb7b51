"""The scorers of other harnesses and libraries, met line by line; peers.json says which, and what each rule is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.cli.metric.lines import run
from harness.imaging import masks
from harness.metrics import bind, find
from harness.records import Box, Entity, Media, Prediction, Sample, Target
from harness.scoring.aggregate import aggregate
from harness.scoring.score import score

PEERS = json.loads((Path(__file__).parent / "peers.json").read_text(encoding="utf-8"))
LESS_EXACT = 1e-6  # of max(1, |value|); the sources of MONAI are in single precision

OPTIONS: Mapping[str, Any] = {"strata": (), "macro_over": None, "pooled": False}

Lines = Sequence[Mapping[str, Any]]
Wanted = Mapping[str, Any]


def _answers(lines: Lines, metric: str, protocol: str, *params: str, aggregate: bool = False) -> list[Any]:
    raw = [json.dumps(line).encode() for line in lines]
    found = [line.value for line in run(raw, metric, protocol, params, aggregate=aggregate)]
    assert not [line for line in found if line.get("status") == "error"]
    return found


def _number(value: Any) -> float | None:
    """Return a value of peers.json as we give it: infinity and AP of nothing are no numbers."""
    return None if value in (None, "inf", -1, -1.0) else float(value)


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if wanted is None or found is None:
        return wanted is found
    return bool(abs(found - wanted) <= LESS_EXACT * max(1.0, abs(wanted)))


Check = tuple[str, str, str, tuple[str, ...], Lines, bool, Any, Wanted]


def _checks() -> Iterator[Check]:
    """Yield (section and case, metric, protocol, params, lines, whether they are a corpus, value, other values)."""
    for section in ("lmms_eval_grounding", "lmms_eval_rec", "vlmevalkit_refcoco", "evalscope_refcoco"):
        protocol = PEERS[section]["protocol"]
        for place, case in enumerate(PEERS[section]["cases"]):
            out, lines = case["output"], [case["input"]]
            others = {name: out[name] for name in out if name.startswith(("acc", "center"))}
            yield f"{section} {place}", "rec_iou", protocol, (), lines, False, out["iou"], others
            yield f"{section} {place}", "rec_accuracy", protocol, (), lines, False, out["acc50"], others
    for case in PEERS["monai_dice"]["cases"]:
        for protocol, key in (("monai-ignore-empty", "ignore_empty"), ("monai", "count_empty")):
            yield "monai_dice", "dice", protocol, (), [case["input"]], False, case["output"][key], {}
    for case in PEERS["monai_dice_corpus"]["cases"]:
        for protocol, key in (("monai-ignore-empty", "ignore_empty"), ("monai", "count_empty")):
            counted = {"n": case["output"][f"{key}_count"]}
            yield "monai_dice_corpus", "dice", protocol, (), case["input"]["pairs"], True, case["output"][key], counted
    for case in PEERS["monai_dice_classes"]["cases"]:
        lines = [{**pair, "classes": case["input"]["classes"]} for pair in case["input"]["pairs"]]
        for protocol, key in (("monai-ignore-empty", "ignore_empty"), ("monai", "count_empty")):
            out = case["output"][key]
            others = {name: out[name] for name in ("per_class", "per_image")}
            yield "monai_dice_classes", "dice", protocol, (), lines, True, out["mean"], others
    for case in PEERS["monai_hausdorff"]["cases"]:
        bare = {key: case["input"][key] for key in ("prediction", "target")}
        for metric, key in (("hd95", "hd95"), ("hausdorff", "hd")):
            out = case["output"]
            yield "monai_hausdorff", metric, "monai", (), [case["input"]], False, _number(out[f"{key}_mm"]), {}
            yield "monai_hausdorff", metric, "monai", (), [bare], False, _number(out[key]), {}
    for case in PEERS["monai_hausdorff_corpus"]["cases"]:
        for metric, key in (("hd95", "hd95_mm"), ("hausdorff", "hd_mm")):
            out, pairs = case["output"], case["input"]["pairs"]
            counted = {"n": out[f"{key}_count"]}
            yield "monai_hausdorff_corpus", metric, "monai", (), pairs, True, _number(out[key]), counted
    tolerances = [(f"tolerance_mm={reach}", reach) for reach in ("0.0", "1.0", "2.5")]
    for case in PEERS["monai_surface_dice"]["cases"]:
        for param, reach in tolerances:
            for protocol, key in (("monai", "cells"), ("monai-subvoxel", "subvoxels")):
                wanted = case["output"][f"{key}_{reach}mm"]
                yield "monai_surface_dice", "nsd", protocol, (param,), [case["input"]], False, wanted, {}
    for case in PEERS["surface_distance"]["cases"]:
        wanted = _number(case["output"]["hd95"])
        yield "surface_distance", "hd95", "surface-distance", (), [case["input"]], False, wanted, {}
        for param, reach in tolerances:
            wanted = case["output"][f"surface_dice_{reach}mm"]
            yield "surface_distance", "nsd", "surface-distance", (param,), [case["input"]], False, wanted, {}
    for case in PEERS["monai_panoptic_quality"]["cases"]:
        lines = [{side: case["input"][f"{side}_instances"] for side in ("prediction", "target")}]
        for threshold in ("0.5", "0.3"):
            out = {key: value for key, value in case["output"][f"iou_{threshold}"].items() if key != "iou_sum"}
            params = (f"threshold={threshold}",)
            yield "monai_pq", "panoptic_quality", "monai", params, lines, False, out["pq"], out
    names = ("sq", "rq", "sq_dsc", "pq_dsc", "tp", "fp", "fn")
    for case in PEERS["panoptica"]["cases"]:
        out = case["output"]["iou_0.5"]
        others = {name: out[name] for name in names}
        yield "panoptica", "panoptic_quality", "panoptica", (), [case["input"]], False, out["pq"], others
    for case in PEERS["nnunet_summary"]["cases"]:
        given, out = case["input"], case["output"]
        rest = {"labels": given["labels"], "ignore_label": given["ignore_label"]}
        others = {name: out[name] for name in ("mean", "per_case", "foreground_mean")}
        for name in ("Dice", "IoU"):
            lines = [{**pair, **rest} for pair in given["pairs"]]
            yield "nnunet", name.lower(), "nnunet", (), lines, True, out["foreground_mean"][name], others
    for case in PEERS["sa_co"]["cases"]:
        out = case["output"]
        others = {name: out[name] for name in out if "@" in name or name in ("positive_micro_F1", "IL_MCC")}
        yield "sa_co", "cgf1", "sa-co", (), case["input"]["lines"], True, out["cgF1"], others
    for case in PEERS["coco_ap"]["cases"]:
        out = case["output"]["pycocotools"]
        for metric, key in (("ap", "AP"), ("ap50", "AP50")):
            yield "coco_ap", metric, "coco", (), case["input"]["lines"], True, _number(out[key]), {}


CHECKS = list(_checks())


@pytest.mark.parametrize("section", sorted({check[0].split()[0] for check in CHECKS}))
def test_every_value_is_that_of_the_package(section: str) -> None:
    different: list[tuple[Any, ...]] = []
    for place, (name, metric, protocol, params, lines, corpus, value, others) in enumerate(CHECKS):
        if name.split()[0] != section:
            continue
        found = _answers(lines, metric, protocol, *params, aggregate=corpus)[-1]
        whole = found["aggregate"] if corpus else found
        given = {**whole["values"], **({"n": whole["n"]} if corpus else {})}
        headline = next(iter(whole["values"].values()))
        if corpus is False and value is None and found["status"] != "undefined":
            different.append((place, name, metric, protocol, "status", found["status"]))
        wrong = {key: (given.get(key), wanted) for key, wanted in others.items() if not _same(given.get(key), wanted)}
        if not _same(headline, value) or wrong:
            different.append((place, name, metric, protocol, headline, value, str(wrong)[:300]))
    assert different == []


@pytest.mark.parametrize("asked", sorted({(check[1], check[2]) for check in CHECKS}), ids="/".join)
def test_samples_of_a_task_have_a_number_and_a_crash_is_none_of_the_best(asked: tuple[str, str]) -> None:
    row = bind(find(*asked), {}, "test")
    mask = masks.from_box(Box(corners=(2, 2, 6, 6)), (8, 8))
    aim = Box(corners=(2.0, 2.0, 6.0, 6.0))
    media = Media(path="", sha256=None, size=(8, 8), spacing_mm=(0.5, 0.5))
    target = Target(entities=(Entity(name="liver", mask=mask),), boxes=(aim,))
    samples = [Sample(id=name, cluster=name, media=(media,), target=target) for name in ("a", "b")]
    absent = Sample(id="c", cluster="c", media=(media,), target=Target(absent=True))
    right = Prediction(key="", status="ok", text="[0.25, 0.25, 0.75, 0.75] or [2, 2, 6, 6]", masks=(mask,))
    crash = Prediction(key="", status="timeout")
    found = []
    for given in (right, crash):
        scores = [score(row, samples[0], 0, right), score(row, samples[1], 0, given)]
        scores.append(score(row, absent, 0, Prediction(key="", status="ok", text="none")))
        assert "scorer_error" not in [item.status for item in scores if item is not None]
        whole = aggregate("task", row, [item for item in scores if item is not None], **OPTIONS)[0]
        assert (whole.mean, whole.failed) == ("pooled" if row.corpus else "micro", int(given is crash))
        found.append(whole.value)
    best, worse = found
    assert best is not None
    assert worse is not None
    assert best > worse if row.higher_is_better else best < worse
