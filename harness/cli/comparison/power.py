"""`harness power`: how many samples show a drop, or which drop a number of samples shows."""

from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.options import AS_JSON, errors_as_exit_codes, say, write_json


@click.command()
@click.option(
    "--run", "run_dir", required=True, type=click.Path(path_type=Path), help="Run directory, or a pinned baseline."
)
@click.option("--metric", required=True, help="Metric, as in results.json.")
@click.option("--drop", type=float, help="Drop beyond the tolerance, in the metric's unit: how many samples catch it?")
@click.option("--n", type=click.IntRange(min=1), help="Number of samples: which drop do they catch?")
@click.option("--task", default="", help="Only this task; otherwise every task that has the metric.")
@click.option("--protocol", help="Protocol; otherwise that of the headline, or standard.")
@click.option("--name", help="Which of the metric's values, such as recall.")
@click.option("--stratum", metavar="KEY=VALUE", help="Only the samples of a stratum.")
@click.option(
    "--against", type=click.Path(path_type=Path), help="Second run on the same samples: its differences are the noise."
)
@click.option(
    "--changed",
    type=float,
    default=0.1,
    show_default=True,
    help="Without --against: share of answers that differ between two checkpoints.",
)
@click.option("--policy", type=click.Path(path_type=Path), help="Policy of the gate, whose rows count.")
@click.option("--rows", type=click.IntRange(min=1), help="Number of rows of the policy, if there is no file yet.")
@AS_JSON
@click.pass_obj
def power(
    debug: bool,
    run_dir: Path,
    metric: str,
    drop: float | None,
    n: int | None,
    task: str,
    protocol: str | None,
    name: str | None,
    stratum: str | None,
    against: Path | None,
    changed: float,
    policy: Path | None,
    rows: int | None,
    as_json: bool,
) -> None:
    """Say how many samples catch a drop in 90 of 100 gates, or which drop a number of samples catches.

    Each row of a policy is tested more strictly the more rows there are, so name the policy, or its number of rows.
    """
    from harness.comparison.gating.policy import NumberRow, load_policy
    from harness.comparison.power_table import power_table
    from harness.errors import SpecError

    with errors_as_exit_codes(debug):
        if policy is not None and rows is not None:
            raise SpecError("power: expected one of --policy and --rows")
        read = None if policy is None else load_policy(policy)
        key, equals, value = (stratum or "").partition("=")
        if stratum is not None and not (key and equals and value):
            raise SpecError(f"--stratum {stratum}: expected KEY=VALUE, such as modality=ct")
        found = power_table(
            run_dir,
            NumberRow(
                task=task,
                metric=metric,
                protocol=protocol,
                name=name,
                stratum=(key, value.lower()) if stratum else None,
            ),
            drop=drop,
            n=n,
            against=against,
            changed=changed,
            rows=rows or (1 if read is None else len(read.numbers) + len(read.measures)),
        )
    if as_json:
        write_json([asdict(row) for row in found])
        return
    for row in found:
        number = " ".join(dict.fromkeys((row.metric, row.name)))
        click.echo(
            f"{row.task} {number} ({row.protocol}) {row.mean}: a drop of {row.drop:.4g} from {row.value:.4f} is caught "
            f"with 90 % power by {row.n:,} samples of {row.clusters:,} patients; the run has {row.has_n:,} of "
            f"{row.has_clusters:,}"
        )
    basis = (
        f"measured against {against}" if against else f"assumed: {changed:.0%} of the answers differ (see --against)"
    )
    say(f"policy of {found[0].rows} row{'s' if found[0].rows > 1 else ''}; noise {basis}")
