"""Two runs of a million scores are compared within a minute and 2 GiB on two cores."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.scored_runs import write_run

SCORES = 1_000_000
MOST_SECONDS, MOST_BYTES = 60, 2 * 2**30
# A process of its own between this one and the command: the system counts the largest of all children, and to a new
# process the memory of the one that it was forked from.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("per_patient", [1, 100])
def test_a_million_scores_fit_into_a_minute_and_two_gibibytes(tmp_path: Path, per_patient: int) -> None:
    generator = np.random.default_rng(0)
    first = (generator.random(SCORES) < 0.7).astype(np.float64)
    second = np.where(generator.random(SCORES) < 0.1, 1 - first, first)
    strata = {"modality": np.asarray(["ct", "mr", "us", "xray"])[np.arange(SCORES) % 4].tolist()}
    clusters = [f"patient {number // per_patient}" for number in range(SCORES)]
    runs = [
        write_run(tmp_path / name, values, strata=strata, clusters=clusters)
        for name, values in (("a", first), ("b", second))
    ]
    memory = tmp_path / "memory.txt"
    command = [sys.executable, "-c", MEASURED, str(memory), sys.executable, "-m", "harness.cli"]
    command += ["compare", *map(str, runs), "--json"]
    begun = time.monotonic()
    found = subprocess.run(
        [*command, "--out", str(tmp_path / "compare.html")], capture_output=True, text=True, check=True
    )
    seconds = time.monotonic() - begun
    most = int(memory.read_text())
    (task,) = json.loads(found.stdout)["comparisons"][0]["tasks"].values()
    assert task["numbers"][0]["difference"] == pytest.approx(float(np.mean(second - first)), abs=1e-12)
    assert seconds <= MOST_SECONDS, f"{seconds:.1f} s"
    assert most <= MOST_BYTES, f"{most / 2**30:.2f} GiB"
