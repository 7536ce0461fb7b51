"""Samples a second of `harness run --model reference:tiny` on text, beside those of an earlier commit.

The earlier commit is checked out into a folder of its own; both runs take turns, each in a new process, on the same
synthetic patients. The speed is that of `performance.json`, from the first request to the last answer, without the time
to start and to load the model.

    python benchmarks/adapters/reference_speed.py [--before f6e10fb] [--task vqa_rad] [--limit 160] [--repeats 3]

It needs the repository's history and ends with exit code 1 if the target is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.runs.directory import RunDirectory

REPOSITORY = Path(__file__).parents[2]
# The last commit before prompts shared what they have in common.
BEFORE = "f6e10fb"
BATCH = 16
TARGET = 2.0
COMMAND = "from harness.cli import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One run: its samples a second, the seconds inside the model, and the text of every answer by its key."""

    per_second: float
    model_seconds: float
    texts: Mapping[str, str]


def timed(code: Path, out: Path, *, task: str, limit: int | None) -> Timed:
    """Run the harness of a checkout.

    Args:
        code: Folder of the checkout, whose modules are imported.
        out: Run directory, not there yet.
        task: The task.
        limit: Samples; None: all.

    Raises:
        CalledProcessError: The run failed.
    """
    options = ["--tasks", task, "--model", "reference:tiny", "--data-root", "phantom:0"]
    options += [] if limit is None else ["--limit", str(limit)]
    options += ["--batch-size", str(BATCH), "--ray", "off", "--out", str(out)]
    subprocess.run(
        [sys.executable, "-c", COMMAND, "run", *options],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    speed = json.loads((out / "performance.json").read_text(encoding="utf-8"))
    texts = {one["key"]: str(one.get("text")) for one in RunDirectory(out).read_values()}
    return Timed(per_second=speed["requests_per_second"], model_seconds=speed["model_seconds"], texts=texts)


def main() -> int:
    """Time both in turn, print the fastest of each and the ratio, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, help="the earlier commit")
    parser.add_argument("--task", default="vqa_rad")
    parser.add_argument("--limit", type=int, help="samples of a run; all of the task unless given")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        git = ("git", "-C", str(REPOSITORY), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(earlier), given.before], check=True)
        try:
            sides = {f"commit {given.before}": earlier, "now": REPOSITORY}
            found: dict[str, list[Timed]] = {name: [] for name in sides}
            for turn in range(given.repeats):
                for number, (name, code) in enumerate(sides.items()):
                    out = Path(folder) / f"run-{turn}-{number}"
                    found[name].append(timed(code, out, task=given.task, limit=given.limit))
        finally:
            subprocess.run([*git, "remove", "--force", str(earlier)], check=True)
    before, now = (max(runs, key=lambda one: one.per_second) for runs in found.values())
    same = sum(now.texts.get(key) == text for key, text in before.texts.items())
    print(f"{given.task}, {len(before.texts)} samples, batches of {BATCH}; fastest of {given.repeats}")
    for name, one in zip(found, (before, now), strict=True):
        print(f"{name:16s} {one.per_second:8.1f} samples a second, {one.model_seconds:6.2f} s inside the model")
    ratio = now.per_second / before.per_second
    met = ratio >= TARGET and same == len(before.texts)
    print(f"{same} of {len(before.texts)} texts are the same; {ratio:.2f} times as fast")
    print(f"target: {TARGET} times, with the same texts: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
