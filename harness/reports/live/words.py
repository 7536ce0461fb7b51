"""Numbers and texts of a run in progress as people read them."""

from harness.reports.live.state import LiveRun

STATES = {
    "starting": "starting: the model is being loaded",
    "running": "running",
    "scoring": "every answer is there, scoring",
    "done": "done",
    "interrupted": "interrupted",
}


def duration(seconds: float | None) -> str:
    """Return a time as `1:02:03` or `2:03`; a dash if it is not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(number: int) -> str:
    """Return bytes as GB; a dash for none."""
    return f"{number / 1e9:.2f} GB" if number else "-"


def rate(value: float | None) -> str:
    """Return a rate as `12.3/s`; a dash if it is not known."""
    return "-" if value is None else f"{value:.3g}/s" if value < 10 else f"{value:,.0f}/s"


def state(run: LiveRun) -> str:
    """Return what the run does, with what to do about it."""
    return f"{STATES[run.state]}; {run.note}" if run.note else STATES[run.state]


def line(run: LiveRun) -> str:
    """Return the run in one line, for a log."""
    parts = [
        f"{state(run)}: {run.done:,}/{run.total:,}",
        rate(run.rate),
        f"left {duration(run.seconds_left)}",
        f"{run.failed:,} failed",
        f"workers {sum(worker.state == 'busy' for worker in run.workers)} of {len(run.workers)} busy",
    ]
    if run.memory:
        parts.append(f"memory {size(run.memory)}")
    if run.gpu_memory:
        parts.append(f"GPU {size(run.gpu_memory)}")
    if run.cost is not None:
        parts.append(f"cost {run.cost:.4f}")
    return ", ".join(parts)
