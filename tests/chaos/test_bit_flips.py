"""One flipped bit in any file of a run directory is found and repaired, or ends with one line; no number changes."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Answer, Capabilities, Request
from harness.comparison.scored_run import read_run
from harness.errors import HarnessError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.judging.calibrated import calibrate_run
from harness.evaluation.judging.judge import JudgeSpec, judge
from harness.evaluation.rescore import rescore
from harness.evaluation.setup import RunSpec
from harness.exports.sample_scores import load_scores
from harness.runs import store as store_module
from harness.runs.directory import RunDirectory
from harness.runs.judgements import read_calibrations, read_judgements
from tests.support.own_data import write_images_and_masks
from tests.support.tiny_vqa_rad import write_release

TEXTS = 8
BLOB_ABOVE_BYTES = 200
# Their content is no number of the run, and they are written anew by whatever uses them.
HARMLESS = frozenset({"lock", "status.json", "report.html", "ray.log"})


class Plain:
    """Says yes, and masks a part that follows from the key."""

    version = "1"

    def capabilities(self) -> Capabilities:
        """Take an image, give words and masks."""
        return Capabilities(
            takes=frozenset({"text", "image"}), gives=frozenset({"text", "masks"}), batch_invariant=True
        )

    def load(self, device: str) -> None:
        """Nothing is loaded."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer each request."""
        found = []
        for request in requests:
            chance = np.random.default_rng(int(request.key[:8], 16))
            masks = [chance.random(request.images[0].image().shape[:2]) < 0.5] if "masks" in request.wants else []
            found.append(Answer(masks=masks) if masks else Answer(text="yes"))
        return found


@dataclass
class Finished:
    """A finished, judged run, and what each way of reading it returns.

    Attributes:
        spec: The run, to give its command again.
        whole: A copy of its directory that stays as it is.
        values: What every way to read it returns.
    """

    spec: RunSpec
    whole: Path
    values: dict[str, Any]

    @property
    def out(self) -> Path:
        """The run directory."""
        assert self.spec.out is not None
        return self.spec.out

    def read(self) -> dict[str, Callable[[], Any]]:
        """Return every way in which numbers of the run are read, by name."""
        directory = RunDirectory(self.out)
        return {
            "harness run": lambda: (evaluate(self.spec), json.loads((self.out / "results.json").read_text()))[1],
            "harness score": lambda: rescore(self.out, task_paths=(), protocols=(), max_failures="100%").results,
            "results": directory.read_results,
            "scores": lambda: _scores(self.out),
            "samples": lambda: load_scores(self.out).to_csv(),
            "judgements": lambda: [repr(one) for one in read_judgements(self.out)],
            "calibrations": lambda: read_calibrations(self.out),
        }

    def restore(self) -> None:
        """Make the run directory whole."""
        shutil.rmtree(self.out)
        shutil.copytree(self.whole, self.out)

    def files(self) -> list[Path]:
        """Return the files that may be damaged, by their places in the run directory."""
        paths = (path.relative_to(self.whole) for path in sorted(self.whole.rglob("*")) if path.is_file())
        return [path for path in paths if path.name not in HARMLESS]

    def assert_no_number_changes(self, path: Path, bit: int, way: str) -> None:
        """Flip one bit, read the run in one way, and give the command again."""
        self.restore()
        content = bytearray((self.out / path).read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        (self.out / path).write_bytes(content)
        words = ""
        try:
            found = self.read()[way]()
        except HarnessError as error:
            found, words = self.values[way], str(error)
        except Exception as error:
            raise AssertionError(f"{path}, bit {bit}, {way}: {type(error).__name__}: {error}") from error
        assert found == self.values[way], (path, bit, way)
        assert "\n" not in words, (path, bit, way, words)


def _scores(run: Path) -> dict[str, Any]:
    scored = read_run(run)
    return {
        f"{name} {row['metric']} {row['protocol']}": str(task.read(row["metric"], row["protocol"]).values.tolist())
        for name, task in scored.tasks.items()
        for row in task.block["metrics"]
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run with text, masks, a blob, two judges, a panel and a calibration."""
    folder = tmp_path_factory.mktemp("flips")
    data = write_release(folder / "data", TEXTS)
    write_images_and_masks(data / "segmentation")
    spec = RunSpec(
        tasks=("vqa_rad", "segmentation"),
        model=Plain,
        data_roots=(str(data),),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
        max_failures="100%",
    )
    partly = {"text": '{"verdict": "partly", "score": 40}'}
    judges: tuple[tuple[str, dict[str, Any]], ...] = (("judge:rules", {}), ("scripted", partly))
    labels = folder / "labels.jsonl"
    lines = ({"sample_id": f"vqa_rad/test/{number}", "verdict": "correct"} for number in range(TEXTS))
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "BLOB_ABOVE_BYTES", BLOB_ABOVE_BYTES)
        evaluate(spec)
    judge(JudgeSpec(run=folder / "run", judges=judges, rubric="correctness", cache=folder / "cache"))
    calibrate_run(folder / "run", labels)
    evaluate(spec)
    shutil.copytree(folder / "run", folder / "whole")
    made = Finished(spec, folder / "whole", {})
    made.values = {name: read() for name, read in made.read().items()}
    return made


def flips(finished: Finished, count: int, seed: int) -> list[tuple[Path, int, str]]:
    """Return files, bits and ways to read, drawn evenly; each file comes before any comes again."""
    chance = random.Random(seed)
    files = finished.files()
    ways = sorted(finished.values)
    found = []
    for number in range(count):
        if number % len(files) == 0:
            chance.shuffle(files)
        path = files[number % len(files)]
        bits = 8 * (finished.whole / path).stat().st_size
        if bits:
            found.append((path, chance.randrange(bits), chance.choice(ways)))
    return found


def test_the_run_has_every_kind_of_file(finished: Finished) -> None:
    names = {path.as_posix() for path in finished.files()}
    kinds = ("run.json", "digests.json", "sessions.jsonl", "events.jsonl", "results.json", "performance.json")
    assert {*kinds, "plan/cells.json", "judgements/panels.json", "judgements/calibration.json"} <= names
    for part in ("blobs/", "scores/", "tasks/vqa_rad", "judgements/002-correctness", "plan/vqa_rad.parquet"):
        assert any(name.startswith(part) for name in names), part


def test_a_flipped_bit_changes_no_number(finished: Finished) -> None:
    for path, bit, way in flips(finished, 14, seed=2026):
        finished.assert_no_number_changes(path, bit, way)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_flipped_bit_changes_a_number(finished: Finished) -> None:
    for path, bit, way in flips(finished, 400, seed=21):
        finished.assert_no_number_changes(path, bit, way)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_kind_of_file_is_repaired_by_the_command_or_named_by_it(finished: Finished) -> None:
    for path, bit, _ in flips(finished, 2 * len(finished.files()), seed=22):
        finished.assert_no_number_changes(path, bit, "harness run")
