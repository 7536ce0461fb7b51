"""The model `openai:MODEL`: any server that speaks OpenAI's chat completions, far away, on this machine, or our own."""

import asyncio
import importlib.util
import math
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import DataError, InterruptedRunError, ModelError, SpecError
from harness.models.endpoint.budget import Budget, Spent, read_price
from harness.models.endpoint.call_log import CallLog, answer_of
from harness.models.endpoint.client import NO_KEY, EndpointClient, Outcome, is_loopback
from harness.models.endpoint.limit import AdaptiveLimit
from harness.models.endpoint.messages import Call, CallBuilder, CallSettings
from harness.models.endpoint.options import check_choices, check_count, host_of, limit_of, response_format_of
from harness.models.endpoint.replies import MalformedReplyError, Reply, read_chat, read_likelihood, tokens_used
from harness.models.endpoint.server import KEY, Server
from harness.records import Answer, Capabilities, ErrorInfo, Json, Request, Resources

OPENAI = "https://api.openai.com/v1"
# Batches so many times as large as what is in flight: the last of a batch leave few places empty.
BATCHES_OF = 8
MOST_IN_FLIGHT = 256
# Of a sample's time the harness itself needs this share, at most these seconds, to store what came of it.
RESERVE, MOST_RESERVE = 0.1, 5.0
DEFAULT_TIMEOUT = 600.0
# Between two looks at a budget whose rest other workers have set aside.
OTHERS_SECONDS = 0.1
Reader = Callable[[Any, Call], Reply]


@dataclass(slots=True)
class _Batch:
    """What the calls of one batch share: their last deadline on the loop's clock, and why nothing more is asked."""

    deadline: float
    stop: str = ""


class OpenAI:
    """A model behind an OpenAI-compatible endpoint.

    The key comes from the environment variable OPENAI_API_KEY only, and is masked in everything that is stored.

    Args:
        model: Name of the model, as the server knows it; with `serve`, what the server is started with.
        base_url: Address of the API, with its version.
        system: Sentence of a system turn before the question.
        temperature, top_p, max_new_tokens, seed, stop: Replace the task's settings; `omit` leaves one out of the call.
        token_limit: Name of the limit of new tokens in the call, `max_tokens` or `max_completion_tokens`; None: the
            latter for OpenAI itself, whose newer models take no other.
        response_format: `json_object`, or `json_schema@FILE`, for servers that can be held to it.
        extra: Further fields of each call, such as `{"reasoning_effort": "low"}`.
        images: `leave_out` asks without images and volumes: a model of text alone, or the blind baseline of another.
        detail: Resolution of images, as OpenAI names it: `low`, `high` or `auto`.
        max_images: The most images of a request.
        logprobs: The server scores continuations by `echo` of `/completions`, as vLLM and llama.cpp's Python server do.
        fingerprint: The `system_fingerprint` that replies must have; replies of another are errors.
        concurrency: The most calls in flight.
        max_retries: Further attempts of a call that failed for a reason that may pass; 3 at most if the server is
            neither overloaded nor gone.
        prices: JSON file `{MODEL: {"input": ..., "output": ...}}`, prices of a million tokens.
        max_cost, max_tokens_total: Limits of the whole run, before which it stops, resumably.
        serve: Command of a server that is started for the model, with `{model}` and `{port}` in it.
        serve_timeout: Seconds in which that server must answer.
    """

    version = "1"

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        system: str = "",
        temperature: Json = None,
        top_p: Json = None,
        max_new_tokens: Json = None,
        seed: Json = None,
        stop: Json = None,
        token_limit: str | None = None,
        response_format: str | None = None,
        extra: Json = None,
        images: str = "send",
        detail: str | None = None,
        max_images: int = 20,
        logprobs: bool = False,
        fingerprint: str | None = None,
        concurrency: int = 8,
        max_retries: int = 8,
        prices: str | None = None,
        max_cost: Json = None,
        max_tokens_total: Json = None,
        serve: str | None = None,
        serve_timeout: float = 600.0,
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise SpecError("--model openai: needs the package openai; pip install 'medground[judge]'")
        if serve is not None and base_url is not None:
            raise SpecError(
                "--model-args: expected base_url or serve, found both: a server that is started has its own"
            )
        check_choices(token_limit=token_limit, images=images, detail=detail, logprobs=logprobs)
        for name, number, least, most in (
            ("concurrency", concurrency, 1, MOST_IN_FLIGHT),
            ("max_retries", max_retries, 0, 100),
            ("max_images", max_images, 1, 10**4),
        ):
            check_count(name, number, least, most)
        self.serve_timeout = limit_of("serve_timeout", serve_timeout)
        self.base_url = base_url or OPENAI
        self.host = "127.0.0.1" if serve is not None else host_of(self.base_url)
        self.model = str(model)
        self.serve = serve
        self.fingerprint = fingerprint
        self.logprobs = logprobs
        self.max_images = max_images
        self.concurrency, self.max_retries = concurrency, max_retries
        self.schema, form = response_format_of(response_format)
        overrides = {"temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens}
        self.most = Spent(limit_of("max_cost", max_cost), limit_of("max_tokens_total", max_tokens_total))
        self.price = None if prices is None else read_price(Path(prices), self.model)
        if self.price is None and self.most.cost < math.inf:
            raise SpecError(
                "--model-args max_cost: expected prices=FILE too: the price of a call is not known otherwise"
            )
        if extra is not None and not isinstance(extra, dict):
            raise SpecError(f"--model-args extra: expected a JSON object, found {extra!r}")
        own = urlsplit(OPENAI).hostname == self.host
        self.settings = CallSettings(
            model=self.model,
            shown_model=Path(self.model).name if Path(self.model).exists() else self.model,
            system=str(system),
            overrides={
                name: value for name, value in {**overrides, "seed": seed, "stop": stop}.items() if value is not None
            },
            token_limit=token_limit or ("max_completion_tokens" if own else "max_tokens"),
            response_format=form,
            extra=extra or {},
            sends_images=images == "send",
            detail=detail,
        )
        self.folder: Path | None = None
        self.timeout = DEFAULT_TIMEOUT
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def capabilities(self) -> Capabilities:
        """Take words and images, give words; what is answered is kept, so a run ends in the same bytes."""
        takes = {"text", "image", "images"} | (set() if self.settings.sends_images else {"volume"})
        served = self.serve is not None
        files = [self.schema, self.model if served and Path(self.model).exists() else None]
        return Capabilities(
            takes=frozenset(takes),
            # A box may be given in words, which the metrics read.
            gives=frozenset({"text", "boxes"} | ({"nll"} if self.logprobs else set())),
            max_images=self.max_images,
            max_batch=BATCHES_OF * MOST_IN_FLIGHT,
            usual_batch=BATCHES_OF * self.concurrency,
            batch_invariant=True,
            execution_only=frozenset(
                {"concurrency", "max_retries", "prices", "max_cost", "max_tokens_total", "serve_timeout"}
            ),
            weights=tuple(file for file in files if file is not None),
            # A server of our own uses a GPU where there is one.
            resources=Resources(gpus=None if served else 0),
            sends_data_to=None if served else self.host,
        )

    def begin_run(self, folder: Path | None, timeout: float) -> None:
        """Take the folder for answers and output, and the seconds of a sample."""
        self.folder = folder
        self.timeout = min(timeout, 10**6)

    def load(self, device: str) -> None:  # noqa: ARG002 - a server of our own finds its device in the environment
        """Read the key and what was answered before, and start the server, if it is our own.

        Raises:
            SpecError: There is no key for a host that is not this machine.
            ModelError: The server does not start.
        """
        key = os.environ.get(KEY, "").strip()
        if not key and not is_loopback(self.host):
            raise SpecError(
                f"expected the key of {self.host} in the environment variable {KEY}, found none; "
                f"for a server without keys set it to '{NO_KEY}'"
            )
        base_url = self.base_url
        if self.serve is not None:
            self._server = Server(self.serve, self.model, folder=self.folder, seconds=self.serve_timeout)
            self._server.start()
            base_url, key = self._server.base_url, NO_KEY
        self._builder = CallBuilder(self.settings)
        self._encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="images")
        self._limit = AdaptiveLimit(self.concurrency)
        self._budget = Budget(self.price, self.most, self.folder)
        self._call_log = CallLog(self.folder)
        self._calls = 0
        self._settled = asyncio.Condition()
        self._loop = asyncio.new_event_loop()
        self._client = EndpointClient(
            base_url=base_url,
            key=key or NO_KEY,
            limit=self._limit,
            most_retries=self.max_retries,
            revive=None if self._server is None else self._server.revive,
        )

    def close(self) -> None:
        """Close the connections, and end the server, if it is our own."""
        if self._loop is not None:
            self._run(self._client.close())
            self._loop.close()
            self._loop = None
            self._encoder.shutdown()
            self._call_log.close()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer the requests, `concurrency` at a time.

        Raises:
            DataError: An image cannot be read; what the other requests were answered is kept.
        """
        answers: list[Answer] = []
        for answer in self._run(self._answer_all(requests)):
            if isinstance(answer, DataError):
                raise answer
            answers.append(answer)
        return answers

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run to the end; after an interruption, what is left is cancelled before the interruption goes on."""
        assert self._loop is not None, "load() comes first"
        try:
            return self._loop.run_until_complete(work)
        except BaseException:
            for task in (left := asyncio.all_tasks(self._loop)):
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            raise

    async def _answer_all(self, requests: Sequence[Request]) -> list[Answer | DataError]:
        batch = _Batch(asyncio.get_running_loop().time() + self._seconds() * len(requests))
        return list(await asyncio.gather(*(self._answer(request, batch) for request in requests)))

    def _seconds(self) -> float:
        """Return the seconds of a sample without those that storing it may take."""
        return self.timeout - min(MOST_RESERVE, RESERVE * self.timeout)

    async def _answer(self, request: Request, batch: _Batch) -> Answer | DataError:
        """Return the answer to one request, or its error; a DataError is for the harness to record."""
        try:
            if request.kind == "nll":
                return await self._likelihoods(request, batch)
            make = partial(self._builder.chat, request)
            return await self._asked(make, request.key, batch, read_chat, encodes=bool(request.media))
        except DataError as error:
            return error
        except ModelError as error:
            return Answer(error=ErrorInfo(type="ModelError", message=self._client.hidden(str(error))))
        except (OSError, InterruptedRunError) as error:  # the disk refuses what was paid for
            batch.stop = batch.stop or str(error)
            return _stopped(batch.stop)

    async def _likelihoods(self, request: Request, batch: _Batch) -> Answer:
        """Return the likelihood of each candidate, one call each."""
        found: list[Answer] = []
        for place, candidate in enumerate(request.candidates):
            make = partial(self._builder.likelihood, request, candidate)
            read = partial(read_likelihood, length=len(candidate))
            found.append(await self._asked(make, f"{request.key}:{place}", batch, read))
            if found[-1].error is not None:
                break
        usage = Counter[str]()
        for answer in found:
            usage.update(answer.usage)
        if found and found[-1].error is not None:
            return Answer(error=found[-1].error, usage=usage)
        return Answer(
            nll=[answer.nll[0] for answer in found],
            nll_tokens=[answer.nll_tokens[0] for answer in found],
            rendered=found[0].rendered if found else None,
            usage=usage,
        )

    async def _asked(
        self, make: Callable[[], Call], key: str, batch: _Batch, read: Reader, *, encodes: bool = False
    ) -> Answer:
        """Return the answer to one call: the one that is paid for, else a new one, when there is a place in flight.

        Args:
            make: Makes the call; only then, because a batch of large images would fill the memory.
            key: Under which its answer is kept.
            batch: Its batch.
            read: Reads the reply.
            encodes: Making it takes long, so other calls go on meanwhile.
        Raises:
            DataError, ModelError: The call cannot be made.
            OSError, InterruptedRunError: The answer cannot be kept.
        """
        if (kept := self._call_log.get(key)) is not None:
            return answer_of(kept, make().rendered)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(batch.deadline):
                await self._limit.__aenter__()
        except TimeoutError:
            return Answer(error=ErrorInfo(type="Timeout", message="its turn did not come within the time of its batch"))
        try:
            call = await loop.run_in_executor(self._encoder, make) if encodes else make()
            estimate = batch.stop or await self._reserved(call)
            if isinstance(estimate, str):
                batch.stop = batch.stop or estimate
                return _stopped(batch.stop)
            usage: Mapping[str, int] = {}
            uncounted = 1  # of a call that is cancelled nobody knows what it cost
            try:
                outcome = await self._client.call(call, min(batch.deadline, loop.time() + self._seconds()), key)
                usage = tokens_used(outcome.payload)
                uncounted = outcome.uncounted + (not outcome.fault and not usage)
                return self._finished(outcome, usage, call, key, batch, read)
            finally:
                self._calls -= 1
                self._budget.settle(call, estimate, usage, uncounted)
                async with self._settled:
                    self._settled.notify_all()
        finally:
            await self._limit.__aexit__()

    async def _reserved(self, call: Call) -> Spent | str:
        """Return what is set aside for a call, or why nothing may be asked any more, though calls in flight end."""
        while True:
            async with self._settled:
                estimate = self._budget.estimate(call)
                why: str | None = ""
                if not (self._budget.is_learning and self._calls):
                    why = self._budget.reserve(estimate)
                if why is None:
                    self._calls += 1
                    return estimate
                if why and not self._calls:
                    return why
                if self._calls:
                    await self._settled.wait()
                    continue
            await asyncio.sleep(OTHERS_SECONDS)  # other workers have set aside what is left

    def _finished(
        self,
        outcome: Outcome,
        usage: Mapping[str, int],
        call: Call,
        key: str,
        batch: _Batch,
        read: Reader,
    ) -> Answer:
        """Return the answer that a call ended in, kept on disk if the server gave one."""
        counts: dict[str, float] = dict(usage)
        if outcome.retries:
            counts["retries"] = outcome.retries
        if (cost := self._budget.cost_of(usage)) is not None:
            counts["cost"] = cost
        elif not outcome.fault and not usage:
            counts["calls_without_usage"] = 1
        if outcome.fault == "Stop":
            batch.stop = batch.stop or outcome.message
            return _stopped(batch.stop)
        if outcome.refused:
            return Answer(status="refused", rendered=call.rendered, usage=counts)
        if outcome.fault:
            return Answer(error=ErrorInfo(type=outcome.fault, message=outcome.message), usage=counts)
        record: dict[str, Json] = {"usage": counts}
        try:
            reply = read(outcome.payload, call)
            if self.fingerprint is not None and reply.fingerprint != self.fingerprint:
                raise MalformedReplyError(f"system_fingerprint: expected {self.fingerprint}, found {reply.fingerprint}")
            record |= {"text": reply.text, "status": reply.status, "fingerprint": reply.fingerprint}
            if reply.nll is not None:
                record |= {"nll": reply.nll, "nll_tokens": reply.nll_tokens}
        except MalformedReplyError as fault:
            record["error"] = self._client.hidden(str(fault))
        self._call_log.add(key, record)
        return answer_of(record, call.rendered)


def _stopped(why: str) -> Answer:
    return Answer(error=ErrorInfo(type="Stop", message=why))
