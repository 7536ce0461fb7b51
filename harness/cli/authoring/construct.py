"""`harness construct`: make a dataset by a pipeline; `harness construct review` lets people look at a sample of it."""

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    AS_JSON,
    DATA_ROOT,
    QUIET,
    SEND_DATA_TO,
    errors_as_exit_codes,
    progress,
    read_arguments,
    say,
    write_json,
)
from harness.data.construction.registry import PIPELINES

if TYPE_CHECKING:
    from harness.evaluation.constructing.construct import Constructed

MAKING = "make"
REASONS_SHOWN = 8


class ConstructGroup(click.Group):
    """A command that takes a pipeline, and a group of commands: `review` is the only word that is no pipeline."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words as those of the command that constructs, unless they begin with the name of another."""
        # Help alone is the group's: it names the pipelines.
        other = args[:1] and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if other or not args else [MAKING, *args])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, whose name is left out of its usage if nobody types it."""
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == MAKING else name), command, rest

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the help of the command that constructs, with the other command below."""
        command = self.commands[MAKING]
        inner = click.Context(command, info_name="harness construct", max_content_width=ctx.max_content_width or 110)
        command.format_help(inner, formatter)


@click.group(cls=ConstructGroup, no_args_is_help=True)
def construct() -> None:
    """Make a dataset from images, masks and reports by a pipeline that asks a language model."""


@construct.command(
    name=MAKING,
    hidden=True,
    epilog="harness construct review DIR shows a sample to a person; --labels FILE takes the labels back.",
)
@click.argument("pipeline", metavar="PIPELINE")
@DATA_ROOT
@click.option("--llm", metavar="REF", help="Reference of a model that gives text.")
@click.option("--llm-args", multiple=True, help="k=v,... or @file.yaml.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the construction.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Take N sources; a smaller N takes some of them."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the split and all choices.")
@click.option("--workers", type=click.IntRange(min=1), help="Copies of the model [default: one per GPU, else 1].")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds per question.",
)
@click.option("--retry-failed", is_flag=True, help="Ask again what has failed.")
@click.option("--copy-media", is_flag=True, help="Copy images and masks into the release in place of links to them.")
@click.option(
    "--read-back/--no-read-back",
    default=True,
    show_default=True,
    help="Read the release by our own readers at the end.",
)
@SEND_DATA_TO
@QUIET
@AS_JSON
@click.pass_obj
def make(
    debug: bool,
    pipeline: str,
    data_roots: tuple[str, ...],
    llm: str | None,
    llm_args: tuple[str, ...],
    out: Path,
    limit: int | None,
    seed: int,
    workers: int | None,
    timeout: float,
    retry_failed: bool,
    copy_media: bool,
    read_back: bool,
    send_data_to: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a dataset from images, masks and reports by a pipeline that asks a language model.

    The same command finishes what is missing; nothing is asked twice. DIR holds release/ in the authors' layout,
    card.md, funnel.json and funnel.html, rejected.jsonl, pedigree.jsonl, split.json, and run/. Rejected items are no
    failures.
    """
    from harness.errors import SpecError
    from harness.evaluation.constructing.construct import ConstructSpec
    from harness.evaluation.constructing.construct import construct as run
    from harness.evaluation.setup import Observer
    from harness.runs.engine.streams import stdout_to_stderr

    with errors_as_exit_codes(debug, resume=["harness", *sys.argv[1:]]), progress(quiet=quiet) as bar:
        try:
            arguments = read_arguments(llm_args)
        except SpecError as error:
            raise SpecError(str(error).replace("--model-args", "--llm-args")) from None
        spec = ConstructSpec(
            pipeline=pipeline,
            out=out,
            llm=llm,
            llm_args=arguments,
            data_roots=data_roots,
            limit=limit,
            seed=seed,
            workers=workers,
            send_data_to=send_data_to,
            timeout=timeout,
            retry_failed=retry_failed,
            copy_media=copy_media,
            read_back=read_back,
        )
        with stdout_to_stderr():  # what a model prints never mixes with the result
            made = run(spec, Observer(notice=bar.notice, progress=bar.show), command=["harness", *sys.argv[1:]])
    report(made, quiet=quiet, as_json=as_json)


make.help = (
    inspect.cleandoc(make.help or "")
    + "\n\n\b\nPIPELINE:\n"
    + "\n".join(f"  {name:<17}{about}" for name, (_, about) in PIPELINES.items())
)


@construct.command(name="review")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--labels", type=click.Path(path_type=Path), help="Take these labels, and make the release anew.")
@click.option("--n", "number", type=click.IntRange(min=1), default=100, show_default=True, help="Items in the sample.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the sample.")
@DATA_ROOT
@QUIET
@AS_JSON
@click.pass_obj
def review(
    debug: bool,
    folder: Path,
    labels: Path | None,
    number: int,
    seed: int,
    data_roots: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Show a sample of a construction to a person, or take the labels back.

    Without --labels, DIR/review.html is written: as many items of each kind as of any other, each to be kept or
    rejected; the page saves labels.jsonl. With --labels the file is added to DIR/labels.jsonl, and the release is made
    anew without what was rejected; nothing is asked.
    """
    from harness.evaluation.constructing.review import take_labels, write_review

    with errors_as_exit_codes(debug):
        if labels is None:
            page, shown = write_review(folder, data_roots, number=number, seed=seed)
            click.echo(page)
            if not quiet:
                say(f"{shown:,} items; harness construct review {folder} --labels FILE takes the labels")
            return
        made = take_labels(folder, labels, data_roots)
    report(made, quiet=quiet, as_json=as_json)


def report(made: "Constructed", *, quiet: bool, as_json: bool) -> None:
    """Write the funnel to stdout and the places to stderr."""
    funnel = made.funnel
    if as_json:
        write_json(dict(funnel))
    else:
        for step in funnel["steps"]:
            reasons = list(step["rejected"].items())
            words = ", ".join(f"{reason} {number:,}" for reason, number in reasons[:REASONS_SHOWN])
            click.echo(f"{step['step']:<24} {step['unit']:<8} {step['in']:>9,} -> {step['out']:>9,}  {words}".rstrip())
        splits = ", ".join(f"{split} {count['items']:,}" for split, count in funnel["release"]["by_split"].items())
        click.echo(f"{'release':<24} {'items':<8} {funnel['release']['items']:>9,}  ({splits})")
    for defect in made.defects:
        say(f"harness: read back: {defect}")
    if not quiet:
        say(f"{made.asked:,} request{'' if made.asked == 1 else 's'} now")
        say(f"release  {made.out / 'release'}")
        say(f"card     {made.out / 'card.md'}")
