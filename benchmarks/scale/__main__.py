"""CPU seconds and memory of every phase of a run of many samples, and of a resume, beside lm-eval.

    python -m benchmarks.scale [--samples 10000] [--masks 2000] [--lm-eval] [--keep FOLDER]

Each phase is measured inside the one process that `harness run --ray off` is: CPU seconds of it and of the processes
that it starts, and the most memory that it held in the phase. The model costs nothing: `scripted` for questions, an
oracle for masks.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scale.releases import write_masks, write_text


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase took.

    Attributes:
        name: Of the phase.
        cpu, wall: Seconds; the first of all processes together.
        memory: Most memory that the driver held in the phase, in MiB.
        files: Open files at its end.
    """

    name: str
    cpu: float
    wall: float
    memory: float
    files: int


@dataclass(slots=True)
class Clock:
    """Measures the phases of this process."""

    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what runs inside; a phase that is left by an exception counts, too."""
        # Writing 5 sets the peak back to what is held now.
        Path("/proc/self/clear_refs").write_text("5")
        cpu, wall = _cpu(), time.perf_counter()
        try:
            yield
        finally:
            status = Path("/proc/self/status").read_text()
            peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
            files = len(list(Path("/proc/self/fd").iterdir()))
            self.phases.append(Phase(name, _cpu() - cpu, time.perf_counter() - wall, peak, files))

    def wrap(self, module: Any, function: str, name: str) -> None:
        """Measure every call of a module's function as a phase."""
        original: Callable[..., Any] = getattr(module, function)

        def measured(*arguments: Any, **named: Any) -> Any:
            with self.phase(name):
                return original(*arguments, **named)

        setattr(module, function, measured)


class FirstBatchError(Exception):
    """Ends a resume at the moment at which the model is asked for the first time."""


def _cpu() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def run(root: Path, task: str, *, resume: bool) -> list[Phase]:
    """Run one task in this process and return its phases; of a resume only what comes before the first question."""
    from harness.evaluation import evaluate as module
    from harness.evaluation.setup import RunSpec
    from harness.runs.engine.progress import RunProgress

    clock = Clock()
    model = {"scale_text": ("scripted", {"text": "yes"}), "scale_masks": ("baseline:oracle", {})}[task]
    spec = RunSpec(
        tasks=(task,),
        task_paths=(root / "data" / "tasks",),
        model=model[0],
        model_args=model[1],
        data_roots=(str(root / "data"),),
        out=root / "runs" / task,
        batch_size=64,
        ray="off",
        cache=root / "cache",
    )
    if resume:

        def stop(*_: object, **__: object) -> int:
            raise FirstBatchError

        RunProgress.start = stop  # type: ignore[method-assign]
        with clock.phase("resume"), suppress(FirstBatchError):
            module.evaluate(spec)
        return clock.phases
    clock.wrap(module, "open_session", "prepare")
    clock.wrap(module, "write_plan", "plan")
    clock.wrap(module, "run_in_process", "predict")
    clock.wrap(module, "score_run", "score")
    clock.wrap(module, "write_outputs", "report")
    with clock.phase("whole"):
        module.evaluate(spec)
    return clock.phases


def _in_process(root: Path, task: str, *, resume: bool = False) -> list[Phase]:
    """Run one task in a process of its own, whose memory nothing else has used."""
    words = [sys.executable, "-m", "benchmarks.scale", "--step", task, "--root", str(root)]
    found = subprocess.run([*words, *(["--resume"] if resume else [])], check=True, stdout=subprocess.PIPE, text=True)
    return [Phase(**phase) for phase in json.loads(found.stdout.splitlines()[-1])]


def _forget_half(out: Path) -> None:
    """Cut off the second half of the predictions and the results, as if the run had been killed."""
    path = out / "predictions" / "predictions.jsonl"
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.readline()
        file.truncate(file.tell())


def measure_lm_eval(root: Path, questions: list[str]) -> Phase:
    """Return what lm-eval takes for the same questions, set-up and scores included, without its bootstrap."""
    from benchmarks.overhead import measure_lm_eval as measured

    os.environ["HF_HOME"] = str(root / "huggingface")
    clock = Clock()
    with clock.phase("lm-eval"):
        measured(questions, root)
    return clock.phases[-1]


def _print(title: str, phases: list[Phase], samples: int) -> None:
    print(f"\n{title}\n{'phase':<10}{'CPU s':>9}{'wall s':>9}{'ms/sample':>11}{'peak MiB':>10}{'files':>7}")
    for phase in phases:
        each = 1000 * phase.cpu / samples
        print(f"{phase.name:<10}{phase.cpu:>9.2f}{phase.wall:>9.2f}{each:>11.4f}{phase.memory:>10.0f}{phase.files:>7}")
    sys.stdout.flush()


def main() -> None:
    """Write the releases, run every phase, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--masks", type=int, default=None, help="samples with a mask; a fifth of --samples by default")
    parser.add_argument("--lm-eval", action="store_true", help="measure lm-eval on the same questions")
    parser.add_argument("--keep", type=Path, help="a new folder for data and runs, which is kept")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        phases = run(arguments.root, arguments.step, resume=arguments.resume)
        print(json.dumps([asdict(phase) for phase in phases]))
        return
    masks = arguments.samples // 5 if arguments.masks is None else arguments.masks
    with tempfile.TemporaryDirectory() as name:
        root = arguments.keep or Path(name)
        questions = write_text(root / "data", arguments.samples)
        _print(f"{arguments.samples:,} questions", _in_process(root, "scale_text"), arguments.samples)
        _forget_half(root / "runs" / "scale_text")
        _print("half of them resumed", _in_process(root, "scale_text", resume=True), arguments.samples)
        if masks:
            write_masks(root / "data", masks)
            _print(f"{masks:,} masks", _in_process(root, "scale_masks"), masks)
        if arguments.lm_eval:
            _print("lm-eval, the same questions", [measure_lm_eval(root, questions)], arguments.samples)


if __name__ == "__main__":
    main()
