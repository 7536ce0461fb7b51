"""The size of the batches of `--batch-size auto`: it grows until memory or latency says stop."""

import gc
import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path

# The first batch; small, because nothing is known yet of the memory that a sample takes.
FIRST = 4
# Seconds that a batch may take: its answers are on disk no earlier, and a kill wastes that much.
LONGEST_SECONDS = 20.0
# A larger batch must answer so many times as many samples a second, else growth ends: it costs memory and wins nothing.
WORTH = 1.02
# Of shorter times the clock says too little.
LEAST_SECONDS = 0.05
# Share of the memory that must be free for a batch of twice the size.
FREE_SHARE = 0.4


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a model's error means that memory is short, on a GPU or here."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)


@dataclass(slots=True)
class BatchGrowth:
    """Decides the size of the next batch of one worker.

    Attributes:
        most: The model's maximum.
        size: Requests that the next batch has.
        grows: Whether it may still become larger.
    """

    most: int
    size: int = FIRST
    grows: bool = True
    _rate: float = 0.0

    def __post_init__(self) -> None:
        self.size = min(self.size, self.most)

    def note(self, count: int, seconds: float) -> None:
        """Take the seconds of a batch of `count` requests that were answered; a part of a batch says nothing."""
        if not self.grows or count < self.size:
            return
        rate = count / seconds if seconds > 0 else inf
        if seconds >= LEAST_SECONDS and self._rate and rate < WORTH * self._rate:
            self.grows = False
            self.size = max(1, self.size // 2)  # which was as fast
        elif 2 * seconds > LONGEST_SECONDS or free_share() < FREE_SHARE or self.size >= self.most:
            self.grows = False
        else:
            self._rate = rate if seconds >= LEAST_SECONDS else 0.0
            self.size = min(2 * self.size, self.most)

    def out_of_memory(self, count: int) -> None:
        """Halve the size after a batch of `count` requests did not fit, and give back what the model let go of."""
        self.size, self.grows = max(1, min(self.size, count // 2)), False
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def free_share() -> float:
    """Return the free share of the memory: the GPU's if the model uses one, else that of this machine; 1 if unknown."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        return float(free / total)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    except OSError:
        return 1.0
    return found["MemAvailable"] / found["MemTotal"]
