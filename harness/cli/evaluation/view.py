"""`harness view`: a run, a board or any folder in the browser, served to this machine alone."""

import sys
import webbrowser
from pathlib import Path

import click

from harness.cli.options import AS_JSON, errors_as_exit_codes, say, write_json


@click.command()
@click.argument("folder", metavar="RUN_OR_FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Port on 127.0.0.1.",
)
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser [default: open it].")
@AS_JSON
@click.pass_obj
def view(debug: bool, folder: Path, port: int, browser: bool, as_json: bool) -> None:
    """Show a run, or a folder of runs or a board, in the browser; Ctrl-C ends it.

    A run in progress has a page that follows it; a finished one its report, and the pages of its samples once
    `harness report` has written them. Only this machine can connect, only files of the folder can be read.
    """
    from harness.reports.live.server import Server

    with errors_as_exit_codes(debug):
        server = Server(folder, port)
        if as_json:
            write_json({"url": server.url})
        else:
            click.echo(server.url)
        sys.stdout.flush()  # a script that started the command reads the address from a pipe
        say("Ctrl-C ends it")
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
        finally:
            server.server_close()
