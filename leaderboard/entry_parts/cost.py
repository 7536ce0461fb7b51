"""What a run took, from the performance file beside its results: speed, memory, tokens and money."""

import json
from pathlib import Path
from typing import Any

from harness.runs.directory import RunDirectory

MOST_BYTES = 1_000_000  # a performance file holds a few numbers
MOST = 1e15  # larger numbers are no seconds, bytes, tokens or money of a run


def cost_of(results: Path) -> tuple[str, ...]:
    """Return what the run with these results took, in words; empty if no file beside it says so.

    None of it enters a rank or a number, so a file that cannot be read, or a value that is no sensible number, only
    leaves its words out.
    """
    path = RunDirectory(results.parent).performance_path
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return ()
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    if not isinstance(found, dict):
        return ()

    def value(name: str) -> float:
        number = found.get(name)
        # To Python, true is the number 1.
        if not isinstance(number, int | float) or isinstance(number, bool):
            return 0.0
        # Compared first: an integer of 400 digits cannot be made a float. NaN is within no bounds.
        return float(number) if 0 < number < MOST else 0.0

    words = []
    requests = value("requests")
    if requests and (seconds := value("model_seconds")):
        words.append(f"{seconds / requests:.3g} s per request")
    if memory := value("peak_memory_bytes"):
        words.append(f"{memory / 1e9:.3g} GB of memory")
    if memory := value("peak_gpu_memory_bytes"):
        words.append(f"{memory / 1e9:.3g} GB of GPU memory")
    if tokens := value("tokens"):
        words.append(f"{tokens:,.0f} tokens")
    if cost := value("cost"):
        words.append(f"cost {cost:.4g}")
    return tuple(words)
