"""A kill or a loss of power at every single write of a run: the same command ends with the same bytes.

A run of 200 samples, with text, masks and masks in blobs, and then a judge of it are recorded step by step, see
`tests.support.power_loss`. Every state in which the run directory may be found afterwards is made, and the command is
given again. No answer that a sync has covered may be asked again.
"""

import functools
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Answer, Capabilities, Request
from harness.evaluation import evaluate as evaluate_module
from harness.evaluation import outputs, setup
from harness.evaluation.evaluate import evaluate
from harness.evaluation.judging.judge import JudgeSpec, judge
from harness.evaluation.setup import RunSpec
from harness.records.checked_lines import is_whole
from harness.reports import html, run_page
from harness.runs import store as store_module
from harness.runs.append_log import AppendLog
from harness.runs.engine.progress import RunProgress
from harness.tasks import catalog
from tests.support import power_loss
from tests.support.own_data import disc, save
from tests.support.power_loss import ENDS, Recording
from tests.support.tiny_vqa_rad import write_release

TEXTS, MASKS = 150, 50
PREDICTIONS = "predictions/predictions.jsonl"
# A line whose masks are longer has them in a blob; those of every fifth image are.
BLOB_ABOVE_BYTES = 500
# A real run syncs about once a second, which is after another number of lines each time.
LINES_PER_SYNC = 7
QUICK_POINTS = 10
# What the report shows of the time that a run took.
UNKNOWN = ("requests_per_second", "peak_memory_bytes", "peak_gpu_memory_bytes", "tokens", "cost")
PERFORMANCE: dict[str, Any] = {
    "schema": 1,
    "usage": {},
    **dict.fromkeys(("seconds", "sessions", "requests", "model_seconds", "workers_lost", "retries"), 1),
    **dict.fromkeys(UNKNOWN),
}


class Fast:
    """Answers questions with words, and everything else with a mask; some masks are long."""

    version = "1"

    def capabilities(self) -> Capabilities:
        """Take an image, give words and masks."""
        return Capabilities(
            takes=frozenset({"text", "image"}), gives=frozenset({"text", "masks"}), max_batch=16, batch_invariant=True
        )

    def load(self, device: str) -> None:
        """Nothing is loaded."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer by the digest of the request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        chance = np.random.default_rng(int(request.key[:8], 16))
        if "masks" not in request.wants:
            return Answer(text="yes" if chance.random() < 0.7 else "no")
        size = request.images[0].image().shape[:2]
        return Answer(masks=[chance.random(size) < (0.5 if chance.random() < 0.2 else 0.0)])


@dataclass
class Command:
    """A command whose run directory may be found in any state.

    Attributes:
        run: Gives the command again.
        root: The folder of the run directory.
        folder: The folder with the predictions that it stores, relative to the root.
        recording: What it did when nothing disturbed it.
        expected: Its files at the end that may not differ by a byte.
    """

    run: Callable[[], object]
    root: Path
    folder: str
    recording: Recording
    asked: list[str] = field(default_factory=list)
    expected: dict[str, bytes | None] = field(default_factory=dict)

    def results(self) -> dict[str, bytes | None]:
        """Return the files that may not differ by a byte."""
        return {
            path: content
            for path, content in power_loss.read_state(self.root).items()
            if path.startswith(("run/scores", "run/plan"))
            or path in ("run/results.json", "run/failures.jsonl", "run/report.html", "run/run.json", "run/digests.json")
        }

    def committed(self, count: int) -> set[str]:
        """Return the keys of the answers that a sync has covered after so many steps."""
        lines = self.recording.synced(count, f"{self.folder}/{PREDICTIONS}").splitlines(keepends=True)
        return {json.loads(line)["key"] for line in lines if is_whole(line)}

    def assert_ends_as_if_undisturbed(self, count: int, end: str, seed: int = 0) -> None:
        """Give the command again in one of the states after a crash, and check what it leaves."""
        where = f"step {count} of {len(self.recording.steps)} ({self.recording.steps[count - 1 : count]}), {end}"
        power_loss.write_state(self.root, self.recording.state(count, end, seed))
        self.asked.clear()
        try:
            self.run()
        except Exception as error:
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
        found = self.results()
        assert found.keys() == self.expected.keys(), where
        assert [path for path in found if found[path] != self.expected[path]] == [], where
        again = self.committed(count) & set(self.asked)
        assert not again, f"{where}: {len(again)} committed answers asked again"


@pytest.fixture(scope="module")
def area() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of runs are written to it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def commands(area: Path) -> Iterator[list[Command]]:
    """`harness run`, and `harness judge` on what it left; set up in one place, which costs seconds."""
    with pytest.MonkeyPatch.context() as patch:
        yield _commands(area, patch)


def _commands(area: Path, patch: pytest.MonkeyPatch) -> list[Command]:
    data = write_release(area / "data", TEXTS)
    for number in range(MASKS):
        shape = np.roll(disc(number % 3), number // 3, axis=1)
        save(data / "segmentation" / "images" / f"p{number:02d}.png", np.where(shape, 220, 40 + number))
        save(data / "segmentation" / "masks" / f"p{number:02d}.png", shape * 255)
    asked: list[str] = []
    _make_fast_and_exact(patch, asked)
    root = area / "runs"
    root.mkdir()
    spec = RunSpec(
        tasks=("vqa_rad", "segmentation"),
        model=Fast,
        data_roots=(str(data),),
        out=root / "run",
        cache=area / "cache",
        ray="off",
        protocols=("standard",),
    )
    found = []
    judging = JudgeSpec(run=root / "run", judges=(("judge:rules", {}),), rubric="correctness", cache=area / "cache")
    evaluate(spec)  # what is prepared once is no part of the run directory
    shutil.rmtree(root / "run")
    for run, folder in ((lambda: evaluate(spec), "run"), (lambda: judge(judging), "run/judgements/*")):
        with power_loss.recorded(root) as recording:
            run()
        (place,) = root.glob(folder)
        found.append(Command(run, root, place.relative_to(root).as_posix(), recording, asked))
        found[-1].expected = found[-1].results()
    return found


def _make_fast_and_exact(patch: pytest.MonkeyPatch, asked: list[str]) -> None:
    """Keep clocks out of the report, sync after a number of lines, remember what is asked, and read tasks once."""
    patch.setattr(store_module, "BLOB_ABOVE_BYTES", BLOB_ABOVE_BYTES)
    patch.setattr(outputs, "performance_of", lambda _: PERFORMANCE)
    lines = iter(range(1, 10**9))

    def sync_if_due(log: AppendLog) -> None:
        if next(lines) % LINES_PER_SYNC == 0:
            log.sync()

    patch.setattr(AppendLog, "sync_if_due", sync_if_due)
    start = RunProgress.start

    def remembered(progress: RunProgress, batch: Sequence[Any], **rest: Any) -> int:
        asked.extend(ask.key for ask in batch)
        return start(progress, batch, **rest)

    patch.setattr(RunProgress, "start", remembered)
    patch.setattr(setup, "look_up", functools.cache(catalog.look_up))
    patch.setattr(run_page, "environment", functools.cache(html.environment))
    patch.setattr(evaluate_module, "session_record", lambda command, **_: {"command": list(command)})


def points(command: Command) -> Iterator[tuple[int, str]]:
    """Yield every crash point: the number of finished steps, and how the end was."""
    for count in range(len(command.recording.steps) + 1):
        yield from ((count, end) for end in ENDS)


def test_everything_is_written_through_the_recorded_calls(commands: list[Command]) -> None:
    run, judged = commands
    kinds = {step.kind for step in run.recording.steps}
    assert kinds == {"create", "folder", "write", "sync", "sync folder", "rename", "truncate"}
    assert len(json.loads(str((run.expected["run/results.json"] or b"").decode()))["tasks"]) == 2
    assert sum(path.endswith(".json.zst") for path in judged.recording.before) >= 5
    assert len(run.committed(len(run.recording.steps))) == TEXTS + MASKS


def test_some_crash_points_end_with_the_same_bytes(commands: list[Command]) -> None:
    chance = random.Random(20)
    for command in commands:
        for count, end in chance.sample(list(points(command)), QUICK_POINTS):
            command.assert_ends_as_if_undisturbed(count, end)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("number", [0, 1])
def test_every_crash_point_ends_with_the_same_bytes(
    commands: list[Command], number: int, record_property: Callable[[str, object], None]
) -> None:
    command = commands[number]
    seen: set[bytes] = set()
    tried = 0
    for count, end in points(command):
        tried += 1
        # With what must not be asked again: the same files may be found before and after a sync.
        state = power_loss.fingerprint(command.recording.state(count, end))
        if state not in seen:
            seen.add(state)
            command.assert_ends_as_if_undisturbed(count, end)
    record_property("points", tried)
    record_property("different states", len(seen))
    assert tried == len(ENDS) * (len(command.recording.steps) + 1)
