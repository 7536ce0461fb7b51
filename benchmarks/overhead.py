"""Overhead of the harness per sample, around a model that costs nothing: text samples, every result on disk.

The time runs from the first stored batch to the last one, read from the run's own events, so neither planning nor
starting Ray counts. Each row is the fastest of some runs.

    python benchmarks/overhead.py [--samples 10000] [--repeats 3] [--lm-eval]
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

IMAGES = 8
# Most milliseconds per sample; Ray adds the way to another process.
IN_PROCESS_TARGET_MS = 0.5
RAY_TARGET_MS = 1.0


@dataclass(frozen=True)
class OverheadCase:
    """A way to run: name, Ray option, batch size, workers and the most milliseconds per sample."""

    name: str
    ray: str
    batch: int
    workers: int
    target_ms: float


CASES = (
    OverheadCase("in process, batches of 16", "off", 16, 1, IN_PROCESS_TARGET_MS),
    OverheadCase("in process, batches of 64", "off", 64, 1, IN_PROCESS_TARGET_MS),
    OverheadCase("Ray, 1 worker, batches of 64", "local", 64, 1, RAY_TARGET_MS),
    OverheadCase("Ray, 2 workers, batches of 64", "local", 64, 2, RAY_TARGET_MS),
)


def write_release(root: Path, samples: int) -> list[str]:
    """Write a folder in the layout of VQA-RAD's re-split and return its questions."""
    import numpy as np
    from PIL import Image

    folder = root / "vqa_rad"
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(3)
    for index in range(IMAGES):
        pixels = generator.integers(0, 255, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"picture{index}.png")
    records = [
        {
            "qid": number,
            "image_name": f"picture{number % IMAGES}.png",
            "image_organ": "CHEST",
            "question": f"Is there a finding of kind {number} in the left upper lobe of this image?",
            "answer": "yes" if number % 3 else "no",
            "answer_type": "CLOSED",
            "question_type": "PRES",
        }
        for number in range(samples)
    ]
    (folder / "testset.json").write_text(json.dumps(records))
    (folder / "trainset.json").write_text("[]")
    return [str(record["question"]) for record in records]


def milliseconds(out: Path) -> float:
    """Return the milliseconds per sample between the first and the last stored batch of a run."""
    from harness.runs.directory import RunDirectory

    finished = [event for event in RunDirectory(out).read_events() if event["event"] == "finished"]
    # The clock starts once the first batch is stored, so its samples do not count.
    later = sum(len(event["keys"]) for event in finished[1:])
    return 1000 * float(finished[-1]["time"] - finished[0]["time"]) / later


def measure(case: OverheadCase, root: Path) -> float:
    """Run one case into a folder of its own and return its milliseconds per sample."""
    from harness.evaluation.evaluate import evaluate
    from harness.evaluation.setup import RunSpec

    folder = root / "run"
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(root / "data"),),
        out=folder,
        batch_size=case.batch,
        ray=case.ray,
        workers=case.workers,
        cache=root / "cache",
    )
    evaluate(spec)
    found = milliseconds(folder)
    # The next repeat would resume a finished run and find nothing to do.
    shutil.rmtree(folder)
    return found


def measure_lm_eval(questions: Sequence[str], root: Path) -> float:
    """Return lm-eval's milliseconds per sample on the same questions, over its whole call: set-up, requests, scores."""
    import lm_eval
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Free(LM):  # type: ignore[misc]
        """Answers at once."""

        def generate_until(self, requests: Sequence[object]) -> list[str]:
            return ["yes" for _ in requests]

        def loglikelihood(self, requests: Sequence[object]) -> list[tuple[float, bool]]:
            raise NotImplementedError("not asked here")

        def loglikelihood_rolling(self, requests: Sequence[object]) -> list[float]:
            raise NotImplementedError("not asked here")

    tasks = root / "lm_eval"
    tasks.mkdir(exist_ok=True)
    data = tasks / "test.jsonl"
    data.write_text("".join(json.dumps({"question": question, "answer": "yes"}) + "\n" for question in questions))
    (tasks / "texts.yaml").write_text(
        f"task: texts\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\ntest_split: test\n"
        'output_type: generate_until\ndoc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n'
        "metric_list: [{metric: exact_match}]\n"
    )
    # Without lm-eval's own tasks, whose index takes seconds; without its bootstrap, as ours is timed
    # without intervals.
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    began = time.perf_counter()
    lm_eval.simple_evaluate(model=Free(), tasks=["texts"], task_manager=manager, bootstrap_iters=0, log_samples=True)
    return 1000 * (time.perf_counter() - began) / len(questions)


def main() -> None:
    """Write the samples, run every case, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lm-eval", action="store_true", help="time lm-eval on the same questions, once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        # lm-eval's `datasets` reads this when it is imported; the samples should not stay in the user's cache.
        os.environ["HF_HOME"] = str(root / "huggingface")
        questions = write_release(root / "data", arguments.samples)
        print(f"{arguments.samples} text samples, model that costs nothing; fastest of {arguments.repeats}")
        print(f"{'path':<34}{'ms/sample':>11}{'target':>9}")
        for case in CASES:
            # Other work on the machine only adds time, so the minimum is nearest to the cost itself.
            found = min(measure(case, root) for _ in range(arguments.repeats))
            met = "met" if found <= case.target_ms else "MISSED"
            print(f"{case.name:<34}{found:>11.3f}{case.target_ms:>9.1f}  {met}", flush=True)
        if arguments.lm_eval:
            print(f"{'lm-eval, nothing stored, with set-up':<34}{measure_lm_eval(questions, root):>11.3f}")


if __name__ == "__main__":
    main()
