"""Quality of a tiny reference model on synthetic patients that it was not trained on, beside its targets.

    python benchmarks/tiny_quality.py [--model NAME] [--folder DIR] [--data-root phantom:0] [--write FILE]

Ends with exit code 1 if a target is missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.comparison.compare import compare_runs
from harness.errors import HarnessError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.records import Json
from harness.records.atomic_files import write_atomically
from reference_model.adapter import Reference
from reference_model.training.log import read_log

# The recipes train on phantom:1001 and those that follow.
DATA_ROOT = "phantom:0"
LAST_STAGE = "stage-4"
# Least and largest share of the tokens that an expert may take; beyond, one of the two does nearly all the work.
EXPERT_SHARE = (0.25, 0.75)
EXIT_MISSED, EXIT_BAD_INPUT = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A number of results.json, and what it has to reach.

    Attributes:
        title: What is measured, for people.
        task: A task, or a group with a mean.
        name, protocol, mean, stratum: The row of results.json.
        least: The least value that passes; None: above `BASELINE`, by an interval that leaves out zero.
    """

    title: str
    task: str
    name: str
    protocol: str
    mean: str
    stratum: Mapping[str, str] | None
    least: float | None


BASELINE = "baseline:majority"

# For MedPLIB's kinds of answers: closed questions, questions about a region, masks, complex questions; and masks of all
# ten modalities by name and by box, and letters.
MEDPLIB = (
    Target(
        title="VQA-RAD, closed questions: accuracy", task="vqa_rad", name="vqa_accuracy", protocol="standard",
        mean="micro", stratum={"answer_type": "closed"}, least=0.85,
    ),
    Target(
        title="MeCoVQA-R: recall", task="mecovqa_r", name="recall", protocol="medplib",
        mean="micro", stratum=None, least=0.90,
    ),
    Target(
        title="MeCoVQA-G: Dice, mean over modalities", task="mecovqa_g", name="dice", protocol="medplib",
        mean="macro", stratum=None, least=0.80,
    ),
    Target(
        title="MeCoVQA-C: recall", task="mecovqa_c", name="recall", protocol="medplib",
        mean="micro", stratum=None, least=0.60,
    ),
    Target(
        title="SA-Med2D, by name: Dice, mean over modalities", task="samed2d_seg", name="dice", protocol="standard",
        mean="macro", stratum=None, least=0.70,
    ),
    Target(
        title="SA-Med2D, with a box: Dice, mean over modalities", task="samed2d_seg_box", name="dice",
        protocol="standard", mean="macro", stratum=None, least=0.80,
    ),
    Target(
        title="OmniMedVQA, letters: accuracy", task="omnimedvqa_letter", name="choice_accuracy",
        protocol="strict-letter", mean="micro", stratum=None, least=0.60,
    ),
)  # fmt: skip

# Those of M3D-LaMed's tasks. The largest pool of phantom:0 has 24 volumes.
M3D = (
    Target(
        title="M3D-VQA, closed questions: accuracy, mean over types", task="m3d_closed_vqa", name="choice_accuracy",
        protocol="m3d", mean="macro", stratum=None, least=0.80,
    ),
    Target(
        title="M3D-Cap, report of a volume among 24: R@1", task="m3d_image_to_text_retrieval", name="R@1",
        protocol="m3d", mean="micro", stratum={"pool": "2000"}, least=0.50,
    ),
    Target(
        title="M3D-Seg, structures by name: Dice, mean over sources", task="m3d_semantic_segmentation", name="dice",
        protocol="m3d", mean="macro", stratum=None, least=0.70,
    ),
    Target(
        title="M3D-Seg, boxes: IoU", task="m3d_rec", name="rec_iou", protocol="standard",
        mean="micro", stratum=None, least=0.50,
    ),
    Target(
        title="M3D-Cap, reports: BLEU-1", task="m3d_report_generation", name="bleu1", protocol="m3d",
        mean="micro", stratum=None, least=None,
    ),
    Target(
        title="M3D-Cap, reports: F1 of clinical entities", task="m3d_report_generation", name="f1",
        protocol="standard", mean="micro", stratum=None, least=None,
    ),
)  # fmt: skip

# The perspectives of MIMOSeg: masks of what is named and of what is marked, and answers with masks in them.
MIMO = (
    *(
        Target(
            title=f"MIMOSeg {number}: Dice of masks", task=task, name="dice", protocol="standard", mean="micro",
            stratum=None, least=0.70,
        )
        for number, task in (("I", "mimoseg_p1"), ("II", "mimoseg_p2"))
    ),
    *(
        Target(
            title=f"MIMOSeg {number}: F1 of masks bound to words", task=task, name="f1", protocol="mimo", mean="pooled",
            stratum=None, least=0.50,
        )
        for number, task in (("III", "mimoseg_p3"), ("IV", "mimoseg_p4"))
    ),
)  # fmt: skip

# The sets of HuatuoGPT-Vision's Table 2 as a group, and the questions with several images.
HUATUO = (
    Target(
        title="Options of four VQA sets: accuracy, mean over sets", task="huatuo_vqa", name="choice_accuracy",
        protocol="huatuo", mean="macro", stratum=None, least=0.80,
    ),
    Target(
        title="MMMU, Health and Medicine: accuracy", task="mmmu_hm_validation", name="choice_accuracy",
        protocol="huatuo", mean="micro", stratum=None, least=0.60,
    ),
)  # fmt: skip

# Name of a shipped model -> its targets.
TARGETS: Mapping[str, tuple[Target, ...]] = {
    "tiny": MEDPLIB,
    "m3d-tiny": M3D,
    "mimo-tiny": MIMO,
    "huatuo-tiny": HUATUO,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A number of a run in [0, 1], its 95 % interval over patients (None with too few), and its count of samples.

    Attributes:
        over: The paired difference to `BASELINE` and its 95 % interval, (difference, low, high); None if not asked for.
    """

    title: str
    task: str
    metric: str
    protocol: str
    value: float
    low: float | None
    high: float | None
    n: int
    target: float | None
    over: tuple[float, float, float] | None = None

    @property
    def missed(self) -> bool:
        """Whether the value is below its target, or the interval of the difference does not lie above zero."""
        if self.target is not None:
            return self.value < self.target
        return self.over is None or self.over[1] <= 0


def measure(
    name: str, data_root: str, out: Path, *, folder: Path | None = None, limit: int | None = None
) -> list[Reached]:
    """Run the harness with a reference model on the tasks of its targets and return their numbers.

    Args:
        name: A key of `TARGETS`.
        data_root: Data root of the patients.
        out: Run directory; that of the baseline, if a target needs one, is its sibling.
        folder: A model of that architecture, in place of the shipped one.
        limit: Samples per task; None: all.
    Raises:
        HarnessError: The model cannot be loaded, or the run fails.
    """
    spec = RunSpec(
        tasks=tuple(dict.fromkeys(target.task for target in TARGETS[name])),
        model=f"reference:{folder or name}",
        data_roots=(data_root,),
        out=out,
        limit=limit,
        ray="off",
    )
    results = evaluate(spec).results
    over: dict[tuple[str, str, str], tuple[float, float, float]] = {}
    compared = tuple(dict.fromkeys(target.task for target in TARGETS[name] if target.least is None))
    if compared:
        beside = out.with_name(f"{out.name}-baseline")
        evaluate(replace(spec, tasks=compared, model=BASELINE, out=beside))
        (comparison,) = compare_runs([beside, out], every_number=True)
        for task in comparison.tasks:
            for number in task.numbers:
                found = number.difference
                if number.row["stratum"] is None and found and found.difference is not None and found.ci:
                    over[task.pair.name, number.row["name"], number.row["protocol"]] = (found.difference, *found.ci)
    reached = []
    for target in TARGETS[name]:
        # These four name exactly one row of a task's metrics; a group has no strata, and its mean no interval.
        wanted = (target.name, target.protocol, target.mean, target.stratum)
        group = results["groups"].get(target.task)
        rows = group["metrics"] if group else results["tasks"][target.task]["metrics"]
        (row,) = [row for row in rows if (row["name"], row["protocol"], row["mean"], row.get("stratum")) == wanted]
        low, high = row.get("ci") or (None, None)
        answered = [results["tasks"][member]["answered"] for member in group["members"]] if group else []
        reached.append(
            Reached(
                title=target.title,
                task=target.task,
                metric=target.name,
                protocol=target.protocol,
                value=row["value"],
                low=low,
                high=high,
                n=sum(answered) if group else row["n"],
                target=target.least,
                over=None if target.least is not None else over.get((target.task, target.name, target.protocol)),
            )
        )
    return reached


def expert_shares(folder: Path) -> list[float]:
    """Return for each expert the share of the tokens whose first choice it was, over all layers and the last stage.

    Args:
        folder: Folder of a training, or of a model that was exported from one.
    """
    steps = read_log(folder / LAST_STAGE)
    counts = [
        sum(layer[expert] for step in steps for layer in step.tokens) for expert in range(len(steps[0].tokens[0]))
    ]
    return [count / sum(counts) for count in counts]


def main() -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(TARGETS), default="tiny", help="whose targets count")
    parser.add_argument("--folder", type=Path, help="another model of that architecture")
    parser.add_argument("--data-root", default=DATA_ROOT, help="patients that were not trained on")
    parser.add_argument("--limit", type=int, help="samples a task")
    parser.add_argument("--write", type=Path, help="file for the numbers")
    given = parser.parse_args()
    shares: list[float] = []
    try:
        with tempfile.TemporaryDirectory() as out:
            reached = measure(given.model, given.data_root, Path(out) / "run", folder=given.folder, limit=given.limit)
        if given.model == "tiny":
            shares = expert_shares(given.folder or Reference(given.model).folder)
    except HarnessError as error:
        print(f"tiny_quality: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    for one in reached:
        word = "MISSED" if one.missed else "reached"
        wanted = f"{one.target:.2f}" if one.target is not None else f"above {BASELINE}"
        if one.over is not None:
            wanted += " by {:+.3f} [{:+.3f}, {:+.3f}]".format(*one.over)
        interval = "no interval" if one.low is None else f"[{one.low:.3f}, {one.high:.3f}]"
        print(f"{one.title:52} {one.value:.3f} {interval:14} n={one.n:<4} {wanted} {word}")
    balanced = all(EXPERT_SHARE[0] <= share <= EXPERT_SHARE[1] for share in shares)
    if shares:
        shown = " and ".join(f"{share:.1%}" for share in shares)
        print(f"experts take {shown} of the tokens, each has to take between 25 % and 75 %")
    if given.write is not None:
        found: Json = {
            "data_root": given.data_root,
            "numbers": [asdict(one) | {"missed": one.missed} for one in reached],
        }
        found |= {"experts": shares} if shares else {}
        write_atomically(given.write, json.dumps(found, indent=1) + "\n")
    return EXIT_MISSED if any(one.missed for one in reached) or not balanced else 0


if __name__ == "__main__":
    sys.exit(main())
