"""What takes turns in the benchmark of the layer of experts."""

# ruff: noqa: N803 - names of tensors end in their axes

import pytest
import torch
from torch import Tensor

from benchmarks import moe_time
from benchmarks.moe_time import AGREEMENT, SMALL, MoeCase, check_agreement, contest, fastest, table


@pytest.mark.parametrize("dtype", AGREEMENT)
def test_all_ways_to_compute_the_layer_agree(dtype: torch.dtype) -> None:
    with torch.inference_mode():
        found = contest(MoeCase("cpu", dtype, SMALL), 64)
        assert found.dense(found.x_BTD).shape == found.x_BTD.shape
        check_agreement(found)


def test_a_way_that_computes_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(layer: object, x_BTD: Tensor) -> Tensor:  # noqa: ARG001
        return x_BTD

    monkeypatch.setattr(moe_time, "both_experts", wrong)
    with torch.inference_mode(), pytest.raises(AssertionError, match="not close"):
        check_agreement(contest(MoeCase("cpu", torch.float32, SMALL), 64))


def test_every_layer_is_judged_by_its_fastest_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5.0, 8.0, 4.0, 9.0])
    monkeypatch.setattr(moe_time, "seconds", lambda *_: next(times))
    assert fastest([torch.sin, torch.cos], torch.zeros(1), 2) == [4.0, 8.0]


def test_the_table_holds_the_target_against_the_dense_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moe_time, "fastest", lambda layers, *_: [1.0, 1.2, 2.3, 3.2][: len(layers)])
    with torch.inference_mode():
        lines = list(table(MoeCase("cpu", torch.float32, SMALL), 8, 1))
    assert lines[0] == "cpu, float32, width 192, inside 512"
    assert lines[2].endswith("1.20x  target 1.10x: MISSED")
    assert [line.split()[-1] for line in lines[3:]] == ["1.20x", "2.30x", "3.20x"]
