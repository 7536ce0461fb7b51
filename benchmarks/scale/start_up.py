"""How long light commands take: the best and the median of some starts, each in a fresh process.

python benchmarks/scale/start_up.py [--repeats 5]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

# A user waits for these before anything happens; `validate` has to load the metrics of a task.
TARGET_SECONDS = {
    ("--help",): 0.3,
    ("list", "tasks"): 0.3,
    ("validate", "vqa_rad"): 2.0,
}


def seconds(words: Sequence[str]) -> float:
    """Return the seconds that `harness` with these words takes.

    Raises:
        subprocess.CalledProcessError: The command fails.
    """
    # A process of its own: most of the time goes into imports, which a second call in one process would not repeat.
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "harness.cli", *words], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Time every command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'command':<28}{'best s':>8}{'median s':>10}{'target':>8}")
    for words, target in TARGET_SECONDS.items():
        seconds(words)  # fills the caches of the file system
        found = [seconds(words) for _ in range(arguments.repeats)]
        # The best is held to the target, because other work on the machine only adds time.
        met = "met" if min(found) <= target else "MISSED"
        name = " ".join(("harness", *words))
        print(f"{name:<28}{min(found):>8.2f}{statistics.median(found):>10.2f}{target:>8.1f}  {met}")


if __name__ == "__main__":
    main()
