"""A budget is not exceeded, whoever asks and however often the run is begun."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.models.endpoint.budget import Budget, Price, Spent
from harness.models.endpoint.messages import Call
from harness.records import Answer
from tests.support.loopback import Said, reply, serving
from tests.unit.models.endpoint.conftest import Open
from tests.unit.models.endpoint.test_adapter import ask

CALL = Call(path="", body={}, rendered="", input_tokens=100, output_tokens=10)
USAGE = {"prompt_tokens": 50, "completion_tokens": 2}
# One unit of money for each token.
PRICE = Price(1e6, 1e6)


def test_a_price_is_that_of_a_million_tokens() -> None:
    assert Price(3.0, 15.0).of(1000, 200) == pytest.approx(0.006)


def test_without_limits_nothing_is_kept(tmp_path: Path) -> None:
    budget = Budget(PRICE, Spent(math.inf, math.inf), tmp_path)
    assert budget.reserve(budget.estimate(CALL)) is None
    budget.settle(CALL, budget.estimate(CALL), USAGE, 0)
    assert budget.cost_of(USAGE) == 52
    assert list(tmp_path.iterdir()) == []


def test_what_a_call_may_cost_is_learnt_from_those_before() -> None:
    budget = Budget(PRICE, Spent(1000, math.inf), None)
    assert budget.is_learning
    first = budget.estimate(CALL)
    assert first == Spent(110, 110)
    assert budget.reserve(first) is None
    budget.settle(CALL, first, USAGE, 0)
    assert not budget.is_learning
    assert budget.estimate(CALL) == Spent(50 * 1.25 + 10, 50 * 1.25 + 10)


def test_calls_in_flight_count_before_they_are_done() -> None:
    budget = Budget(PRICE, Spent(250, math.inf), None)
    estimate = budget.estimate(CALL)
    # Two fit; for a third there may be room when they are done, and for a larger one never.
    assert [budget.reserve(estimate) for _ in range(3)] == [None, None, ""]
    assert budget.reserve(Spent(251, 0)) == "max_cost=250: 0 is spent, and the next call may take 251"
    budget.settle(CALL, estimate, USAGE, 0)
    assert budget.reserve(Spent(88, 88)) is None
    assert budget.reserve(Spent(1, 1)) == ""
    assert budget.reserve(Spent(199, 1)) == "max_cost=250: 52 is spent, and the next call may take 199"


def test_tokens_have_a_limit_without_a_price() -> None:
    budget = Budget(None, Spent(math.inf, 100), None)
    assert budget.cost_of(USAGE) is None
    assert budget.reserve(budget.estimate(CALL)) == "max_tokens_total=100: 0 is spent, and the next call may take 110"


def test_what_nobody_counted_costs_the_estimate() -> None:
    budget = Budget(PRICE, Spent(1000, math.inf), None)
    estimate = budget.estimate(CALL)
    budget.reserve(estimate)
    budget.settle(CALL, estimate, {}, 1)
    assert budget.reserve(Spent(891, 0)) == "max_cost=1000: 110 is spent, and the next call may take 891"
    assert not budget.is_learning
    refused = budget.estimate(CALL)
    budget.reserve(refused)
    budget.settle(CALL, refused, {}, 0)
    assert budget.reserve(Spent(890, 0)) is None


def test_a_ledger_outlives_its_process_and_is_shared(tmp_path: Path) -> None:
    limits = Spent(300, math.inf)
    first, second = Budget(PRICE, limits, tmp_path), Budget(PRICE, limits, tmp_path)
    estimate = first.estimate(CALL)
    assert first.reserve(estimate) is None
    assert second.reserve(estimate) is None
    assert second.reserve(estimate) == ""
    first.settle(CALL, estimate, USAGE, 0)
    book = json.loads((tmp_path / "budget.json").read_text())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    # A process that a kill ended had set 100 aside: whether it was spent nobody knows.
    book["reserved"] = {f"{gone.pid}-0": [100.0, 100.0]}
    (tmp_path / "budget.json").write_text(json.dumps(book))
    assert Budget(PRICE, limits, tmp_path).reserve(Spent(149, 0)) == (
        "max_cost=300: 152 is spent, and the next call may take 149"
    )


def prices(folder: Path) -> str:
    path = folder / "prices.json"
    path.write_text('{"m": {"input": 1000, "output": 1000}}')
    return str(path)


def costs(answers: list[Answer]) -> float:
    return sum(float(answer.usage.get("cost", 0.0)) for answer in answers)


def test_a_run_stops_before_it_exceeds_its_budget_and_goes_on_with_a_larger_one(opened: Open, tmp_path: Path) -> None:
    requests = [ask(number) for number in range(40)]
    arguments: dict[str, Any] = {"prices": prices(tmp_path), "folder": tmp_path / "model"}
    with serving(Said(body=reply(), wait=0.001)) as server:
        answers = opened(server.url, max_cost=0.2, **arguments).predict(requests)
        asked = [answer for answer in answers if answer.error is None]
        errors = {(answer.error.type, answer.error.message.partition(":")[0]) for answer in answers if answer.error}
        # 10 tokens for 0.01 a call; the limit of 5 new tokens and the room above leave the last calls unasked.
        assert 17 <= len(asked) <= 20
        assert costs(answers) == pytest.approx(0.01 * len(asked))
        assert errors == {("Stop", "max_cost=0.2")}
        assert len(server.asked) == len(asked)
        again = opened(server.url, max_cost=1.0, **arguments).predict(requests)
        assert len(server.asked) == 40
    assert costs(again) == pytest.approx(0.4)


def test_nothing_is_asked_without_any_money(opened: Open, tmp_path: Path) -> None:
    with serving() as server:
        (answer,) = opened(server.url, max_cost=0, prices=prices(tmp_path)).predict([ask()])
        assert server.asked == []
    assert answer.error is not None
    assert answer.error.message.startswith("max_cost=0: 0 is spent, and the next call may take ")
