"""The progress bar of a run on stderr: rate, remaining time, failures and coverage."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.errors import visible

if TYPE_CHECKING:
    from harness.runs.engine.progress import RunProgress

# Seconds between two lines on a pipe, such as the log of a cluster job.
PLAIN_EVERY_SECONDS = 30.0


class ProgressBar:
    """Shows the progress of a run as it changes; on a pipe it writes a line every half minute instead of a bar.

    Args:
        quiet: Show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        # This stream, whatever a model makes of `sys.stderr` later.
        self.console = Console(file=sys.stderr, quiet=quiet or sys.stderr is None)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=self.console,
            # Rich would send what is printed to stdout, the results, to its own console on stderr.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.line: TaskID | None = None
        self.began = time.monotonic()
        self.first_done = 0
        self.said = self.began

    def __enter__(self) -> "ProgressBar":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def notice(self, text: str) -> None:
        """Print one line above the bar."""
        # Not wrapped: a path that is broken over two lines can be neither copied nor searched.
        self.console.print(visible(text), style="dim", highlight=False, markup=False, soft_wrap=True)

    def show(self, progress: "RunProgress") -> None:
        """Show the current progress."""
        if self.line is None:
            # From the first answer on: loading the model and what earlier sessions finished would falsify the rate.
            self.began, self.first_done = time.monotonic(), progress.done - 1
            self.line = self.bar.add_task("predicting", total=progress.total, rate="", news="")
        rate = (progress.done - self.first_done) / max(time.monotonic() - self.began, 1e-3)
        news = f"{progress.faults} failed, coverage {progress.coverage:.1%}"
        self.bar.update(self.line, completed=progress.done, rate=f"{rate:.1f}/s", news=news)
        if not self.console.is_terminal and time.monotonic() - self.said > PLAIN_EVERY_SECONDS:
            self.said = time.monotonic()
            self.notice(f"predicting: {progress.done}/{progress.total}, {rate:.1f}/s, {news}")
