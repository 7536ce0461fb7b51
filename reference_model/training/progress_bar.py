"""Shows the progress of a training on stderr: a bar per stage or, without a terminal, a line every 30 seconds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from reference_model.training.recipe import Stage

PLAIN_EVERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """The step and the time at which a stage was first shown, and its line in the bar."""

    step: int
    seconds: float
    line: TaskID


class TrainingBar:
    """Shows stage, step, time left of the stage, and losses."""

    def __init__(self, *, shown: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """Build the bar.

        Args:
            shown: Whether anything is shown; of several processes only the first shows its progress.
            clock: Returns the time in seconds.
        """
        self.console = Console(stderr=True, quiet=not shown)
        self._on_terminal = shown and self.console.is_terminal
        self._clock = clock
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[losses]}", table_column=Column(overflow="fold")),
            console=self.console,
            # The command prints the folder of its model to stdout, so stdout must not be redirected.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._begun: dict[int, _Begun] = {}
        self._said = clock()

    def __enter__(self) -> "TrainingBar":
        if self._on_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._on_terminal:
            self._bar.stop()

    def notice(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Show the losses that have a weight in the stage; `step` of `steps` are done."""
        shown = " ".join(f"{name} {losses[name]:.3f}" for name, weight in stage.losses.items() if weight)
        if stage.number not in self._begun:
            # A resumed stage is timed from its first step here: earlier runs say nothing about the speed of this one.
            line = self._bar.add_task(f"stage {stage.number}", total=steps, completed=step, losses=shown)
            self._begun[stage.number] = _Begun(step=step, seconds=self._clock(), line=line)
        begun = self._begun[stage.number]
        self._bar.update(begun.line, completed=step, losses=shown)
        if not self._on_terminal and (step == steps or self._clock() - self._said > PLAIN_EVERY_SECONDS):
            self._said = self._clock()
            left = self._left(begun, step, steps)
            self.console.print(
                f"stage {stage.number}: {step}/{steps}{left} {shown}", highlight=False, markup=False, soft_wrap=True
            )

    def _left(self, begun: _Begun, step: int, steps: int) -> str:
        """Return the time left in a stage as text; empty at its end and at the first step shown."""
        if step == steps or step == begun.step:
            return ""
        seconds = (self._clock() - begun.seconds) / (step - begun.step) * (steps - step)
        minutes, seconds = divmod(round(seconds), 60)
        return f", {minutes}:{seconds:02} left,"
