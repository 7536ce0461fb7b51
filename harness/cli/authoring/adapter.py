"""`harness new-adapter` and `harness check-adapter`: a file to begin with, and what is wrong with it."""

import sys
from pathlib import Path
from typing import Any

import click

from harness.cli.options import AS_JSON, EXIT_BAD_INPUT, errors_as_exit_codes, read_arguments, say, write_json


@click.command("new-adapter")
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), show_default=True, help="Folder for the two files."
)
@AS_JSON
@click.pass_obj
def new_adapter(debug: bool, name: str, out: Path, as_json: bool) -> None:
    """Write NAME.py, a small adapter that works, and test_NAME.py, which checks it; existing files stay as they are."""
    from harness.evaluation.adapter_check import template
    from harness.paths import without_home

    with errors_as_exit_codes(debug):
        files = template.write(name, out)
        reference = f"{files.adapter}:{files.class_name}"
        if as_json:
            write_json({"files": [str(files.adapter), str(files.test)], "model": reference})
            return
        for file in (files.adapter, files.test):
            say(f"wrote   {without_home(str(file))}")
        say("next")
        click.echo(f"harness check-adapter {reference}")


@click.command("check-adapter")
@click.argument("model", metavar="REF")
@click.option("--model-args", multiple=True, help="k=v,... or @file.yaml; values are read as JSON if they parse.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds per request.",
)
@click.option("--device", help="Passed to load [default: cuda:0 if there is one that the model can use, else cpu].")
@AS_JSON
@click.pass_obj
def check_adapter(
    debug: bool, model: str, model_args: tuple[str, ...], timeout: float, device: str | None, as_json: bool
) -> None:
    """Ask a model about small phantoms of every kind that it claims to take, and name what is wrong.

    Images and volumes of odd sizes, empty, long and foreign questions, boxes, points and regions, in batches, again,
    and one by one. Exit code 0 if nothing is wrong, else 2.
    """
    from harness.evaluation.adapter_check.check import check_adapter as check
    from harness.models.resolve import parse

    with errors_as_exit_codes(debug):
        report = check(parse(model, read_arguments(model_args)), timeout=timeout, device=device)
        if as_json:
            write_json(_as_json(model, report))
        else:
            click.echo(_as_text(model, report))
        if report.faults:
            sys.exit(EXIT_BAD_INPUT)


def _as_json(model: str, report: Any) -> dict[str, Any]:
    from harness.records.codec import to_json

    return {
        "model": model,
        "passed": not report.faults,
        "capabilities": to_json(report.capabilities),
        "requests": report.asked,
        "faults": [{"what": fault.what, "where": fault.where, "do": fault.do} for fault in report.faults],
        "notes": list(report.notes),
    }


def _as_text(model: str, report: Any) -> str:
    lines = [f"model   {model}"]
    declared = report.capabilities
    if declared is not None:
        promise = ", batch-invariant" if declared.batch_invariant else ""
        lines.append(f"takes   {', '.join(sorted(declared.takes))}")
        lines.append(f"gives   {', '.join(sorted(declared.gives))}; at most {declared.max_batch} a batch{promise}")
    if report.asked:
        lines.append(f"asked   {report.asked} requests, three times each")
    for fault in report.faults:
        lines += [f"fault   {fault.what}", f"        {fault.where}", f"        do: {fault.do}"]
    lines += [f"note    {note}" for note in report.notes]
    count = len(report.faults)
    lines.append("passed" if not count else f"{count} fault{'' if count == 1 else 's'}")
    return "\n".join(lines)
