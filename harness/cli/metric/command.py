"""`harness metric`: try a metric on pairs of your own."""

import sys

import click

from harness.cli.options import EXIT_BAD_INPUT, errors_as_exit_codes, say, write_json

# Exit code of `--check` if a row gives another number than the library that defines it.
EXIT_DIFFERENT = 1


@click.command()
@click.argument("name")
@click.option("--protocol", help="[default: standard, or the metric's first]")
@click.option("--param", "params", multiple=True, help="k=v; settings of metrics that have them.")
@click.option("--aggregate", is_flag=True, help="Read the lines as one corpus and add a last line with its values.")
@click.option(
    "--check",
    is_flag=True,
    help="Of BLEU, ROUGE, METEOR and CIDEr: compute each line with the library that defines the metric too, say on "
    "stderr whether both agree to the last digit, and exit with 1 where they do not.",
)
@click.pass_obj
def metric(debug: bool, name: str, protocol: str | None, params: tuple[str, ...], aggregate: bool, check: bool) -> None:
    """Try a metric on your own pairs: JSON lines on stdin, one JSON line back for each.

    \b
    For words: echo '{"prediction": "Yes.", "target": "yes"}' | harness metric vqa_accuracy
    For masks: echo '{"prediction": [[0, 1]], "target": [[1, 1]]}' | harness metric dice --protocol m3d

    'harness list metrics' names the metrics; docs/metrics.md shows a line of each kind, and the parameters.
    """
    from harness.cli.metric import lines

    with errors_as_exit_codes(debug):
        asked = list(sys.stdin.buffer) if check else sys.stdin.buffer
        # Before the first line is answered: a metric that cannot be checked is refused as any wrong option is.
        found = lines.compare(asked, name, protocol, params) if check else None
        readable = True
        for line in lines.run(asked, name, protocol, params, aggregate=aggregate):
            readable = readable and line.readable
            write_json(line.value)
            if not line.readable:
                say(f"harness: {line.value['detail']['error']}")
    for message in found.messages() if found else ():
        say(f"harness: {message}")
    if found and found.different:
        sys.exit(EXIT_DIFFERENT)
    sys.exit(0 if readable else EXIT_BAD_INPUT)
