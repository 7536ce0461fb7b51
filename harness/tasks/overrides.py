"""Changes to a task's metrics from the command line: `--protocol` and `--param`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.errors import SpecError, nearest
from harness.records import Json
from harness.tasks.spec import MetricUse, TaskSpec


def read_parameters(texts: Sequence[str]) -> dict[str, Json]:
    """Return `name=value` texts by name; a value is read as JSON if it parses, else as text.

    Raises:
        SpecError: A text is not of this form, or a name is given twice.
    """
    values: dict[str, Json] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise SpecError(f"--param {text}: expected name=value")
        if name.strip() in values:
            raise SpecError(f"--param {text}: '{name.strip()}' is given twice")
        try:
            values[name.strip()] = json.loads(value)
        except ValueError:
            values[name.strip()] = value
    return values


def with_parameters(tasks: Sequence[TaskSpec], parameters: Mapping[str, Json]) -> list[TaskSpec]:
    """Return the tasks with settings of their metrics replaced, under every protocol that has them.

    Args:
        parameters: By `metric.parameter`, such as `nsd.tolerance_mm`.
    Raises:
        SpecError: A name is not of this form, no task has a metric with it, or the metric cannot have the value.
    """
    from harness.metrics import find

    unused = dict.fromkeys(parameters)
    changed = []
    for task in tasks:
        uses = []
        for use in task.metrics:
            known = () if use.plug_in else [parameter.name for parameter in find(use.metric, use.protocol).parameters]
            given = {name: parameters[f"{use.metric}.{name}"] for name in known if f"{use.metric}.{name}" in parameters}
            for name in given:
                unused.pop(f"{use.metric}.{name}", None)
            uses.append(_checked(replace(use, parameters={**use.parameters, **given})) if given else use)
        changed.append(replace(task, metrics=tuple(uses)))
    if unused:
        raise _unknown(next(iter(unused)), tasks)
    return changed


def _checked(use: MetricUse) -> MetricUse:
    from harness.metrics import bind, find

    bind(find(use.metric, use.protocol), use.parameters, f"--param {use.metric}")
    return use


def _unknown(name: str, tasks: Sequence[TaskSpec]) -> SpecError:
    """Return what is wrong with the name of a parameter: its form, its metric, or the parameter itself."""
    from harness.metrics import find

    metrics = list(dict.fromkeys(use.metric for task in tasks for use in task.metrics))
    metric, dot, _ = name.partition(".")
    if not dot:
        return SpecError(f"--param {name}: expected METRIC.NAME=VALUE, such as nsd.tolerance_mm=2")
    if metric not in metrics:
        return SpecError(
            f"--param {name}: none of these tasks has the metric '{metric}'{nearest(metric, metrics)}; "
            f"they have {', '.join(metrics)}"
        )
    known = {
        f"{use.metric}.{parameter.name}"
        for task in tasks
        for use in task.metrics
        if not use.plug_in
        for parameter in find(use.metric, use.protocol).parameters
    }
    own = [parameter for parameter in sorted(known) if parameter.startswith(f"{metric}.")]
    listed = f"it has {', '.join(own)}" if own else "it has none"
    return SpecError(f"--param {name}: the metric '{metric}' has no such parameter, {listed}{nearest(name, own)}")


def with_protocols(task: TaskSpec, wanted: Sequence[str]) -> TaskSpec:
    """Return the task scored under these protocols only: each of its metrics under each of them that the metric has.

    Raises:
        SpecError: None of its metrics has any of them.
    """
    if not wanted:
        return task
    from harness.metrics import METRICS, find

    # What judges are asked is a matter of rubrics, not of protocols.
    own = {(use.metric, use.protocol): use for use in task.metrics if not use.rubric}
    names = dict.fromkeys(metric for metric, _ in own)
    uses = tuple(
        # The task's own use, if it has one: it carries the task's parameters.
        own.get((row.name, row.protocol), MetricUse(metric=row.name, protocol=row.protocol))
        for protocol in wanted
        for row in METRICS
        if row.name in names and row.protocol == protocol and task.gives in row.suits
    )
    if not uses:
        known = sorted({row.protocol for row in METRICS if row.name in names})
        raise SpecError(f"--protocol {' '.join(wanted)}: the metrics of {task.task} have {', '.join(known)}")
    kept = [use for use in uses if use.metric == task.headline.metric] or list(uses)
    headline = replace(task.headline, metric=kept[0].metric, protocol=kept[0].protocol)
    # A metric of a whole corpus has pooled rows only, and the others are `micro` unless a task asks otherwise.
    corpus = find(headline.metric, headline.protocol).corpus
    if corpus != (headline.mean == "pooled") and headline.mean != "macro":
        headline = replace(headline, mean="pooled" if corpus else "micro")
    return replace(task, metrics=uses, headline=headline)
