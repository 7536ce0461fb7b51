"""Quality of the tiny reference model on synthetic patients that it was not trained on, beside its targets.

    python benchmarks/tiny_quality.py [--model tiny|FOLDER] [--data-root phantom:0] [--write metrics.json]

Ends with exit code 1 if a target is missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.records import Json
from harness.records.atomic_files import write_atomically
from reference_model.adapter import Reference
from reference_model.training.log import read_log

# The recipe trains on phantom:1001 to phantom:1024.
DATA_ROOT = "phantom:0"
LAST_STAGE = "stage-4"
# Least and largest share of the tokens that an expert may take; beyond, one of the two does nearly all the work.
EXPERT_SHARE = (0.25, 0.75)
EXIT_MISSED, EXIT_BAD_INPUT = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A number of results.json, and the least value that passes."""

    title: str
    task: str
    name: str
    protocol: str
    mean: str
    stratum: Mapping[str, str] | None
    least: float


# One per kind of answer: closed questions, questions about a region, masks, complex questions.
TARGETS = (
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
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A number of a run in [0, 1], its 95 % interval over patients, and its count of samples."""

    title: str
    task: str
    metric: str
    protocol: str
    value: float
    low: float
    high: float
    n: int
    target: float

    @property
    def missed(self) -> bool:
        """Whether the value is below its target."""
        return self.value < self.target


def measure(model: str, data_root: str, out: Path, *, limit: int | None = None) -> list[Reached]:
    """Run the harness with the reference model on the tasks of the targets and return their numbers.

    Args:
        model: `tiny` or a model's folder.
        data_root: Data root of the patients.
        out: Run directory.
        limit: Samples per task; None: all.
    Raises:
        HarnessError: The model cannot be loaded, or the run fails.
    """
    spec = RunSpec(
        tasks=tuple(target.task for target in TARGETS),
        model=f"reference:{model}",
        data_roots=(data_root,),
        out=out,
        limit=limit,
        ray="off",
    )
    results = evaluate(spec).results
    return [_reached(target, results["tasks"][target.task]["metrics"]) for target in TARGETS]


def _reached(target: Target, rows: Sequence[Mapping[str, Json]]) -> Reached:
    # These four name exactly one row of a task's metrics.
    wanted = (target.name, target.protocol, target.mean, target.stratum)
    (row,) = [row for row in rows if (row["name"], row["protocol"], row["mean"], row["stratum"]) == wanted]
    low, high = row["ci"]
    return Reached(
        title=target.title,
        task=target.task,
        metric=target.name,
        protocol=target.protocol,
        value=row["value"],
        low=low,
        high=high,
        n=row["n"],
        target=target.least,
    )


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
    parser.add_argument("--model", default="tiny", help="tiny, or the folder of an exported model")
    parser.add_argument("--data-root", default=DATA_ROOT, help="patients that were not trained on")
    parser.add_argument("--limit", type=int, help="samples a task")
    parser.add_argument("--write", type=Path, help="file for the numbers")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as out:
            reached = measure(given.model, given.data_root, Path(out), limit=given.limit)
        shares = expert_shares(Reference(given.model).folder)
    except HarnessError as error:
        print(f"tiny_quality: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    for one in reached:
        word = "MISSED" if one.missed else "reached"
        print(f"{one.title:40} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] n={one.n:<4} {one.target:.2f} {word}")
    balanced = all(EXPERT_SHARE[0] <= share <= EXPERT_SHARE[1] for share in shares)
    shown = " and ".join(f"{share:.1%}" for share in shares)
    print(f"experts take {shown} of the tokens, each has to take between 25 % and 75 %")
    if given.write is not None:
        found: Json = {"data_root": given.data_root, "numbers": [asdict(one) for one in reached], "experts": shares}
        write_atomically(given.write, json.dumps(found, indent=1) + "\n")
    return EXIT_MISSED if any(one.missed for one in reached) or not balanced else 0


if __name__ == "__main__":
    sys.exit(main())
