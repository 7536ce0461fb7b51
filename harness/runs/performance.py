"""The speed of a run; nothing of it enters the results."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.records import Json
from harness.runs.directory import RunDirectory

# Counts of an answer's usage that add up to its tokens; others, such as cached tokens, are parts of them.
TOKENS = frozenset({"prompt_tokens", "completion_tokens"})


def performance_of(directory: RunDirectory) -> dict[str, Json]:
    """Return the content of `performance.json`.

    `seconds` runs from the first request to the last answer of each session, summed over sessions; `model_seconds` is
    the time spent inside the model, summed over workers. `usage` sums what the answers report: `cost` is in the
    currency of the file of prices, `retries` counts attempts that failed and were made again. `judges` has the same of
    each judge, by its folder.
    """
    model_seconds = 0.0
    usage: Counter[str] = Counter()
    requests = 0
    for prediction in directory.read_values():
        requests += 1
        model_seconds += prediction.get("seconds", 0.0)
        usage.update(prediction.get("usage", {}))
    held: Counter[str] = Counter()
    for event in directory.read_events():
        for name in ("memory", "gpu_memory"):
            held[name] = max(held[name], event.get(name) or 0)
    # Summed over sessions, because the hours between a kill and the next command do not count.
    spans = list(_spans(directory.read_events()))
    seconds = sum(span.finished - span.started for span in spans)
    return {
        "schema": 1,
        "sessions": len(spans),
        "requests": requests,
        "seconds": round(seconds, 3),
        "requests_per_second": round(requests / seconds, 2) if seconds else None,
        "model_seconds": round(model_seconds, 3),
        "workers_lost": sum(span.lost for span in spans),
        # Of the worker that held most; in process that is the harness itself, too. None of runs of older versions.
        "peak_memory_bytes": held["memory"] or None,
        "peak_gpu_memory_bytes": held["gpu_memory"] or None,
        # What models behind an endpoint report, here for readers that compare runs; None where a model reports none.
        "tokens": sum(usage[name] for name in TOKENS) if usage.keys() & TOKENS else None,
        "cost": round(usage["cost"], 9) if "cost" in usage else None,
        "retries": usage["retries"],
        "usage": dict(sorted(usage.items())),
        **({} if not (judges := _judges(directory)) else {"judges": judges}),
    }


def _judges(directory: RunDirectory) -> dict[str, Json]:
    """Return what the judges of a run took, by their folders; a judge has the same numbers as a model."""
    # Worked out anew and not read, since the file may be damaged.
    folders = (path.parent for path in directory.judge_performance_paths())
    return {folder.name: performance_of(RunDirectory(folder)) for folder in folders}


@dataclass(slots=True)
class _Span:
    """One session.

    Attributes:
        started: When its first request started, in seconds of a clock of the session's own; 0 if it asked nothing.
        finished: When its last answer was stored.
        lost: Number of workers that died or hung.
    """

    started: float = 0.0
    finished: float = 0.0
    lost: int = 0


def _seconds(event: Mapping[str, Any]) -> float:
    """Return when an event happened; runs of older versions have the time of day only, which may jump."""
    found = event.get("clock", event.get("time"))
    return float(found) if isinstance(found, int | float) else 0.0


def _spans(events: Iterable[Mapping[str, Any]]) -> Iterator[_Span]:
    """Yield the sessions that asked something, without the time of loading the model."""
    span = _Span()
    for event in events:
        name = event["event"]
        if name == "session":
            if span.started:
                yield span
            span = _Span()
        elif name == "started" and not span.started:  # the model is loaded by then
            span.started = span.finished = _seconds(event)
        elif name in ("finished", "given_up"):
            span.finished = max(span.started, _seconds(event))
        span.lost += name in ("died", "hung")
    if span.started:
        yield span
