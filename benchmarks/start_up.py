"""How long a command takes that does nothing heavy: the best and the median of some starts, each a fresh process.

python benchmarks/start_up.py [--repeats 5]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

TARGET_SECONDS = {
    ("--help",): 0.3,
    ("list", "tasks"): 0.3,
    ("validate", "vqa_rad"): 2.0,
}


def seconds(words: Sequence[str]) -> float:
    """Return how long `harness` with these words takes.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
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
        met = "met" if min(found) <= target else "MISSED"
        name = " ".join(("harness", *words))
        print(f"{name:<28}{min(found):>8.2f}{statistics.median(found):>10.2f}{target:>8.1f}  {met}")


if __name__ == "__main__":
    main()
