"""`harness judge`: ask judges about the answers of a run; `harness judge calibrate` is a command below it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import (
    ALL,
    AS_JSON,
    DATA_ROOT,
    QUIET,
    SEND_DATA_TO,
    TASK_PATH,
    errors_as_exit_codes,
    progress,
    read_arguments,
    say,
    terminal_width,
    write_json,
)

if TYPE_CHECKING:
    from harness.evaluation.judging.judge import Judged

JUDGING = "runs"
REPLY_SHOWN = 300
# Of a table that is not written to a terminal.
MOST_COLUMNS = 200


class CommandAndGroup(click.Group):
    """A command that takes folders, and a group of commands: the first word decides, and a folder is the usual case."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words as those of the command that judges, unless they begin with the name of another."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else [JUDGING, *args])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, whose name is left out of its usage if nobody types it."""
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == JUDGING else name), command, rest


class NamelessContext(click.Context):
    """The context of a command whose name nobody types: its usage has no gap in place of the name."""

    @property
    def command_path(self) -> str:
        """The words that were typed before the arguments."""
        return super().command_path.rstrip()


class NamelessCommand(click.Command):
    """A command that is run where its group is called without the name of one."""

    context_class = NamelessContext


@click.group(cls=CommandAndGroup)
def judge() -> None:
    """Ask judges what the answers of a run are worth; `judge calibrate` compares them with people."""


@judge.command(
    cls=NamelessCommand,
    name=JUDGING,
    hidden=True,
    epilog="harness judge calibrate RUN_OR_FILE --labels FILE compares the judgements with those of people.",
)
@click.argument("run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN_DIR [RUN_DIR]")
@click.option(
    "--judge", "judges", multiple=True, required=True, help="Reference of a model that gives text; may be repeated."
)
@click.option(
    "--judge-args",
    multiple=True,
    help="k=v,... or @file.yaml; of several judges one each, in their order. Of a server that can be held to a schema: "
    "response_format=json_schema.",
)
@click.option("--rubric", help="Name or file [default: what the tasks list, else correctness; for two runs pairwise].")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Judgements of each answer.")
@click.option(
    "--panel", type=click.Choice(["mean", "majority"]), default="mean", show_default=True, help="For several judges."
)
@click.option("--quorum", type=click.IntRange(min=1), help="Judges of a panel that must judge [default: most of them].")
@click.option("--retry-unjudged", is_flag=True, help="Ask again where a stored reply cannot be read.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds per answer.",
)
@SEND_DATA_TO
@DATA_ROOT
@TASK_PATH
@ALL
@QUIET
@AS_JSON
@click.pass_obj
def judge_runs(
    debug: bool,
    run_dirs: tuple[Path, ...],
    judges: tuple[str, ...],
    judge_args: tuple[str, ...],
    rubric: str | None,
    repeats: int,
    panel: str,
    quorum: int | None,
    retry_unjudged: bool,
    timeout: float,
    send_data_to: tuple[str, ...],
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    every_number: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Judge the answers of a run, or those of two runs side by side, by a rubric.

    The same command asks only what is missing. Replies that cannot be read are unjudged: they stay out of the mean
    and lower the coverage.
    """
    from harness.errors import SpecError
    from harness.evaluation.judging.judge import JudgeSpec
    from harness.evaluation.judging.judge import judge as ask
    from harness.evaluation.setup import Observer
    from harness.runs.engine.streams import stdout_to_stderr

    with errors_as_exit_codes(debug, resume=["harness", *sys.argv[1:]]), progress(quiet=quiet) as bar:
        if len(run_dirs) > 2:
            raise SpecError(f"judge: expected one run directory, or two for pairwise, found {len(run_dirs)}")
        spec = JudgeSpec(
            run=run_dirs[0],
            against=run_dirs[1] if len(run_dirs) == 2 else None,
            judges=tuple(zip(judges, read_judge_arguments(judge_args, len(judges)), strict=True)),
            rubric=rubric,
            repeats=repeats,
            panel=panel,
            quorum=quorum,
            retry_unjudged=retry_unjudged,
            send_data_to=send_data_to,
            task_paths=task_paths,
            data_roots=data_roots,
            timeout=timeout,
        )
        with stdout_to_stderr():  # what a judge prints never mixes with the result
            result = ask(spec, Observer(notice=bar.notice, progress=bar.show), command=["harness", *sys.argv[1:]])
    if as_json:
        write_json(result.evaluation.results)
    else:
        from harness.reports.run_table import table

        width = terminal_width() or MOST_COLUMNS
        click.echo(table(result.evaluation.results, every_number=every_number, width=width))
    report_judges(result, quiet=quiet)
    sys.exit(result.exit_code)


def read_judge_arguments(texts: Sequence[str], judges: int) -> list[dict[str, Any]]:
    """Return the arguments of each judge, from all `--judge-args`.

    Raises:
        SpecError: An argument is given twice or cannot be read, or several judges do not have one each.
    """
    from harness.errors import SpecError

    if judges > 1 and len(texts) not in (0, judges):
        raise SpecError(
            f"--judge-args: expected one for each of {judges} judges, in their order, or none; found {len(texts)} "
            "('' is one without arguments)"
        )
    try:
        if judges == 1:
            return [read_arguments(tuple(text for text in texts if text))]
        return [read_arguments((text,) if text else ()) for text in texts or [""] * judges]
    except SpecError as error:
        raise SpecError(str(error).replace("--model-args", "--judge-args")) from None


def report_judges(result: "Judged", *, quiet: bool) -> None:
    """Say to people what the judges found, what was asked, and the first of what is unjudged."""
    own = {folder.protocol for folder in result.folders}
    for task, block in result.evaluation.results["tasks"].items():
        for row in block["metrics"]:
            if row["metric"] != "judge" or row["stratum"] is not None or row["mean"] != "micro":
                continue
            if row["protocol"] in own or own & {*row["judge"].get("members", ())}:
                say(judged_line(task, row))
    if not quiet:
        for name, number in result.asked.items():
            say(f"{name}: {number:,} request{'' if number == 1 else 's'} now")
        for one in result.examples:
            say(f"unjudged  {one.task} {one.sample_id}: {one.reason}")
            if one.reply:
                shown = one.reply if len(one.reply) <= REPLY_SHOWN else f"{one.reply[:REPLY_SHOWN]}..."
                say("\n".join(f"    {line}" for line in shown.splitlines()))
        for folder in result.folders:
            say(f"judgements  {folder.path}")
    if result.unjudged:
        retry = "" if result.judged else "; nothing could be judged"
        say(
            f"harness: {result.unjudged:,} of {result.unjudged + result.judged:,} judgements are missing; they "
            f"lower the coverage and stay out of the mean{retry}; --retry-unjudged asks again"
        )


def judged_line(task: str, row: dict[str, Any]) -> str:
    """Return a judged number with what must be read beside it."""
    from harness.metrics.answers.judge_words import calibration_words

    about = row["judge"]
    value = "-" if row["value"] is None else f"{row['value']:.2f}"
    ci = "" if row["ci"] is None else f" [{row['ci'][0]:.2f}, {row['ci'][1]:.2f}]"
    parts = [
        f"rubric {about['rubric']} v{about['rubric_version']}",
        f"n {row['n']}",
        f"coverage {about['coverage']:.1%}",
        calibration_words(about["calibration"]),
    ]
    if "released_misses" in about:
        missed = about["released_misses"]
        parts.append(
            f"missed by the released expression {missed['missed']}, {missed['of_these_readable']} of them readable"
        )
    if (flips := about.get("flips")) and flips["rate"] is not None:
        parts.append(f"flips {flips['rate']:.1%} of {flips['n']}")
    if (same := about.get("self_agreement")) and same["same"] is not None:
        parts.append(f"agrees with itself {same['same']:.1%} of {same['n']}")
    if (apart := about.get("disagreement")) and apart["mean_range"] is not None:
        parts.append(f"judges {apart['mean_range']:.1f} points apart, verdicts differ {apart['verdicts_differ']:.1%}")
    if cost := about.get("usage", {}).get("cost"):
        parts.append(f"cost {cost:g}")
    return f"judge  {task}  {row['protocol']}  {value}{ci}  ({', '.join(parts)})"
