"""The metrics of a task that can be computed on this machine, and stand-ins for those that cannot."""

from collections.abc import Collection
from dataclasses import dataclass, field

from harness.metrics import bind, find
from harness.metrics.metric import Metric
from harness.tasks.plug_ins import load_metric
from harness.tasks.spec import MetricUse, TaskSpec


@dataclass(frozen=True, slots=True)
class MissingMetric:
    """A metric of a task that needs something this machine does not have."""

    metric: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class UsableMetric:
    """A metric, and how another process finds it.

    Attributes:
        metric: The row of the table, or the task's own.
        use: As a task names it; None for a metric with statistics of the corpus, which only this process has.
    """

    metric: Metric
    use: MetricUse | None


@dataclass(slots=True)
class UsableMetrics:
    """The metrics of a task that are computed, in the task's order.

    Attributes:
        rows: The metrics; a protocol that replaces another keeps its own name.
        missing: What the others need.
    """

    rows: list[UsableMetric] = field(default_factory=list)
    missing: list[MissingMetric] = field(default_factory=list)

    @property
    def metrics(self) -> list[Metric]:
        """The rows of the table."""
        return [row.metric for row in self.rows]

    def add(self, metric: Metric, use: MetricUse) -> None:
        """Add a row, unless it is there already in its own right or in place of another protocol."""
        if all((metric.name, metric.protocol) != (other.name, other.protocol) for other in self.metrics):
            self.rows.append(UsableMetric(metric, use))


def usable_metrics(task: TaskSpec, judged: Collection[str] = ()) -> UsableMetrics:
    """Return the task's metrics that can be computed here.

    Judges are asked apart from all else: their rubrics are missing until one has judged.

    Args:
        task: The task.
        judged: Rubrics by which a judge has judged the answers.
    """
    found = UsableMetrics()
    for use in task.metrics:
        if use.rubric:
            if use.rubric not in judged:
                reason = f"{use.metric} (rubric {use.rubric}): no judge was asked"
                remedy = f"harness judge RUN_DIR --judge REF --rubric {use.rubric}"
                found.missing.append(MissingMetric(use.metric, reason, remedy))
            continue
        metric = load_metric(use, task.folder)
        missing = None if metric.resource is None else metric.resource.missing(metric.bound)
        if missing is None:
            found.add(metric, use)
            continue
        assert metric.resource is not None
        instead, reason = metric.resource.stand_in, f"{metric.name} ({metric.protocol}): {missing.reason}"
        # Under its own protocol's name: numbers of two protocols never share a column.
        if instead is not None:
            found.add(
                bind(find(metric.name, instead), {}, metric.name), MetricUse(metric=metric.name, protocol=instead)
            )
            reason += f"; scored by protocol {instead} instead"
        found.missing.append(MissingMetric(metric.name, reason, missing.remedy))
    return found
