"""How a training goes, on stderr: a bar per stage, or a line every half minute where there is no terminal."""

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from reference_model.recipe import Stage

PLAIN_EVERY_SECONDS = 30.0


class TrainingBar:
    """Shows the losses of every stage."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self.console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._lines: dict[int, TaskID] = {}
        self._said = time.monotonic()

    def __enter__(self) -> "TrainingBar":
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._bar.stop()

    def notice(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(text, style="dim", highlight=False, markup=False)

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Show the losses of a step."""
        told = " ".join(f"{name} {value:.3f}" for name, value in losses.items() if value)
        if stage.number not in self._lines:
            self._lines[stage.number] = self._bar.add_task(f"stage {stage.number}", total=steps, losses="")
        self._bar.update(self._lines[stage.number], completed=step, losses=told)
        if not self.console.is_terminal and (step == steps or time.monotonic() - self._said > PLAIN_EVERY_SECONDS):
            self._said = time.monotonic()
            self.console.print(f"stage {stage.number}: {step}/{steps} {told}", highlight=False, markup=False)
