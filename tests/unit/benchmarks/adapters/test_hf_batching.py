"""The benchmark's loop and its batches give the same answers, and different ones to different questions."""

from pathlib import Path

import pytest

pytest.importorskip("transformers")

from benchmarks.adapters.hf_batching import make_model, measure_batches, measure_loop, questions
from harness.models.huggingface.adapter import HuggingFace


@pytest.mark.slow
def test_both_ways_answer_alike(tmp_path: Path) -> None:
    make_model(tmp_path)
    adapter = HuggingFace(str(tmp_path))
    adapter.load("cpu")
    requests = questions(12, 6)
    _, one_by_one = measure_loop(adapter, requests, 6)
    _, together = measure_batches(adapter, requests)
    assert together == one_by_one
    assert len(set(together)) >= 8
