"""A real judge behind a real server: SmolLM2 behind `transformers serve`, killed half-way and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.runs.directory import RunDirectory
from harness.runs.judgements import NOT_ASKED, read_judgements
from tests.support.smollm2 import NEEDS_SMOLLM2, served_smollm2
from tests.support.tiny_vqa_rad import write_release

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), NEEDS_SMOLLM2]
QUESTIONS = 6
# The most calls in flight at the kill, which are asked again.
CONCURRENCY = 1


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The reference of SmolLM2, and the address of its server."""
    with served_smollm2(tmp_path_factory.mktemp("smollm2")) as found:
        yield found


def test_a_real_judge_is_killed_half_way_and_asked_only_the_rest(tmp_path: Path, address: tuple[str, str]) -> None:
    model, base_url = address
    run = evaluate(
        RunSpec(
            tasks=("vqa_rad",),
            model="scripted",
            model_args={"text": "yes"},
            data_roots=(str(write_release(tmp_path / "data", QUESTIONS)),),
            out=tmp_path / "run",
            cache=tmp_path / "cache",
            ray="off",
        )
    ).out
    arguments = f"base_url={base_url},max_new_tokens=24,concurrency={CONCURRENCY}"
    command = [sys.executable, "-m", "harness.cli", "judge", str(run), "--judge", model, "--judge-args", arguments]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-none", "MEDGROUND_CACHE": str(tmp_path / "cache")}
    first = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while _answered(run) < QUESTIONS // 3 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert first.poll() is None, "it ended before it was killed"
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = _answered(run)
    assert QUESTIONS // 3 <= kept < QUESTIONS
    assert any(one.reason == NOT_ASKED for one in read_judgements(run))

    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert second.returncode in (0, 3), second.stderr  # a judge of 135 million parameters may not find the form once
    # One answer per request, and none of those from before the kill was paid for again.
    counts = Counter(_keys(run))
    assert set(counts.values()) == {1}
    judgements = list(read_judgements(run))
    assert len(judgements) == QUESTIONS
    assert all(one.attempts and (one.status == "ok" or (one.reason and one.reason != NOT_ASKED)) for one in judgements)
    assert sum(one.usage["completion_tokens"] for one in judgements) > 0
    row = next(
        one for one in RunDirectory(run).read_results()["tasks"]["vqa_rad"]["metrics"] if one["metric"] == "judge"
    )
    assert row["judge"]["asked"] == QUESTIONS
    assert row["n"] == sum(one.status == "ok" for one in judgements)

    third = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert Counter(_keys(run)) == counts
    assert ": 0 requests now" in third.stderr


def _keys(run: Path) -> list[str]:
    """Return the key of every answer that the server gave, as the adapter keeps them at once."""
    files = (run / "judgements").glob("*/model/**/answers-*.jsonl")
    return [json.loads(line)["key"] for file in files for line in file.read_text().splitlines() if line.endswith("}")]


def _answered(run: Path) -> int:
    return len(_keys(run))
