"""What a run may cost: prices, and a ledger that all workers and sessions of the run share."""

import contextlib
import fcntl
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.models.endpoint.messages import Call
from harness.records.atomic_files import write_atomically

PER_TOKENS = 10**6
# Room above what the server counted so far, for a request that holds more than its words let expect.
ROOM = 1.25
LEDGER = "budget.json"


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a million tokens that are read, and that are written, in the currency of the file of prices."""

    input: float
    output: float

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """Return the price of a call."""
        return (self.input * input_tokens + self.output * output_tokens) / PER_TOKENS


def read_price(path: Path, model: str) -> Price:
    """Return the price of a model from a JSON file `{model: {"input": ..., "output": ...}}`.

    Raises:
        SpecError: There is no such file, it has another form, or it does not name the model.
    """
    try:
        prices = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"--model-args prices={path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SpecError(f"--model-args prices={path}: expected JSON: {error}") from error
    found = prices.get(model) if isinstance(prices, dict) else None
    if not isinstance(found, dict):
        known = ", ".join(sorted(map(str, prices))[:8]) if isinstance(prices, dict) else "no object"
        raise SpecError(f"--model-args prices={path}: expected the price of '{model}', found {known or 'no price'}")
    numbers = []
    for name in ("input", "output"):
        number = found.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
            raise SpecError(
                f"--model-args prices={path}: {model}.{name}: expected the price of a million tokens, found {number!r}"
            )
        numbers.append(float(number))
    return Price(*numbers)


@dataclass(slots=True)
class Spent:
    """Tokens and money, spent or set aside."""

    cost: float = 0.0
    tokens: float = 0.0

    def plus(self, other: "Spent", sign: int = 1) -> "Spent":
        """Return the sum, or the difference; neither is below 0, whatever is rounded."""
        return Spent(max(0.0, self.cost + sign * other.cost), max(0.0, self.tokens + sign * other.tokens))


class Budget:
    """Sets aside what a call may cost before it is sent, so that no limit is exceeded however many are in flight.

    The tokens of a prompt are guessed from its words and pixels, then by what the server counted for the calls before;
    the written ones have the limit that the call itself has. A call that failed without a count is taken to have cost
    all that was set aside for it, unless the server refused to answer it.

    Args:
        price: Of the model; None for tokens without a price.
        most: The limits; infinite where there is none.
        folder: Of the ledger; None keeps it in memory, for this process and session alone.
    """

    def __init__(self, price: Price | None, most: Spent, folder: Path | None) -> None:
        self.price = price
        self.most = most
        self._limited = most.cost < math.inf or most.tokens < math.inf
        self._path = folder / LEDGER if folder is not None and self._limited else None
        self._own = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._ratio: float | None = None
        self._book: dict[str, Any] = {"spent": [0.0, 0.0], "reserved": {}}

    @property
    def is_learning(self) -> bool:
        """Whether no call has been counted yet: until then only one may be in flight under a limit."""
        return self._limited and self._ratio is None

    def estimate(self, call: Call) -> Spent:
        """Return what a call may cost."""
        reads = call.input_tokens * (1.0 if self._ratio is None else self._ratio * ROOM)
        cost = 0.0 if self.price is None else self.price.of(reads, call.output_tokens)
        return Spent(cost, reads + call.output_tokens)

    def reserve(self, estimate: Spent) -> str | None:
        """Set the estimate aside if there is room for it beside all that is set aside.

        Returns:
            None if it is set aside; an empty text if there may be room when the calls in flight are done; else the
            limit that would be exceeded, as `max_cost=1: 0.98 is spent ...`.
        """
        if not self._limited:
            return None
        with self._ledger() as book:
            spent = Spent(*book["spent"])
            aside = spent
            for amounts in book["reserved"].values():
                aside = aside.plus(Spent(*amounts))
            after = aside.plus(estimate)
            for name, total, limit, used in (
                ("max_cost", after.cost, self.most.cost, spent.cost),
                ("max_tokens_total", after.tokens, self.most.tokens, spent.tokens),
            ):
                if total > limit:
                    alone = spent.plus(estimate)
                    if (alone.cost if name == "max_cost" else alone.tokens) <= limit:
                        return ""
                    next_one = estimate.cost if name == "max_cost" else estimate.tokens
                    return f"{name}={limit:g}: {used:.6g} is spent, and the next call may take {next_one:.6g}"
            own = Spent(*book["reserved"].get(self._own, (0.0, 0.0))).plus(estimate)
            book["reserved"][self._own] = [own.cost, own.tokens]
        return None

    def cost_of(self, usage: Mapping[str, int]) -> float | None:
        """Return the price of what a server counted; None without prices, or if it counted nothing."""
        if self.price is None or not {"prompt_tokens", "completion_tokens"} <= usage.keys():
            return None
        return self.price.of(usage["prompt_tokens"], usage["completion_tokens"])

    def settle(self, call: Call, estimate: Spent, usage: Mapping[str, int], uncounted: int) -> None:
        """Replace what was set aside for a call by what it cost.

        Args:
            call: The call.
            estimate: What was set aside.
            usage: Tokens that the server counted; empty if there is no reply, or it does not say.
            uncounted: Number of attempts that may have cost the estimate each.
        """
        if not self._limited:
            return
        actual = Spent(estimate.cost * uncounted, estimate.tokens * uncounted)
        if {"prompt_tokens", "completion_tokens"} <= usage.keys():
            tokens = usage["prompt_tokens"] + usage["completion_tokens"]
            actual = actual.plus(Spent(self.cost_of(usage) or 0.0, tokens))
            self._ratio = max(self._ratio or 0.0, usage["prompt_tokens"] / call.input_tokens)
        elif uncounted and self._ratio is None:
            self._ratio = 1.0 / ROOM  # a server that counts nothing: the guess is all there is
        with self._ledger() as book:
            own = Spent(*book["reserved"].get(self._own, (0.0, 0.0))).plus(estimate, -1)
            spent = Spent(*book["spent"]).plus(actual)
            book["reserved"][self._own] = [own.cost, own.tokens]
            book["spent"] = [spent.cost, spent.tokens]

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[dict[str, Any]]:
        """Yield the ledger, and keep what is changed in it; what a dead process had set aside counts as spent."""
        if self._path is None:
            yield self._book
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            book: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else self._book
            for owner in [owner for owner in book["reserved"] if not _is_alive(owner)]:
                left = Spent(*book["spent"]).plus(Spent(*book["reserved"].pop(owner)))
                book["spent"] = [left.cost, left.tokens]
            yield book
            write_atomically(self._path, json.dumps(book), durable=False)


def _is_alive(owner: str) -> bool:
    try:
        os.kill(int(owner.partition("-")[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
