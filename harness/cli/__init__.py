"""The `harness` command. Results go to stdout, words for people to stderr; heavy modules load inside the commands."""

import click

from harness.cli import data, export, reply, show
from harness.cli.authoring import adapter, construct, new_task
from harness.cli.comparison import baseline, compare, gate, power
from harness.cli.evaluation import bundle, calibrate, chaos, judge, run, score, view, watch
from harness.cli.guard import GuardedGroup
from harness.cli.metric import command as metric
from harness.paths import lend_home


@click.group(cls=GuardedGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="medground", prog_name="harness")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Evaluate medical vision-language models that answer in words and in pixels."""
    context.obj = debug  # read by every command through `click.pass_obj`
    lend_home()


for command in (
    show.list_command,
    show.show,
    data.validate,
    data.prepare,
    new_task.new_task,
    adapter.new_adapter,
    adapter.check_adapter,
    construct.construct,
    run.run,
    score.score,
    judge.judge,
    chaos.chaos,
    compare.compare,
    gate.gate,
    power.power,
    baseline.baseline,
    watch.watch,
    view.view,
    show.report,
    show.explain,
    metric.metric,
    reply.reply,
    show.doctor,
    run.demo,
    export.export,
    bundle.bundle,
):
    main.add_command(command)
judge.judge.add_command(calibrate.calibrate)
show.doctor.add_command(reply.frames)
