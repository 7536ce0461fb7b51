"""Calls of an endpoint through the `openai` package: retried where that helps, and bounded in time and size."""

import asyncio
import email.utils
import hashlib
import json
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from harness.errors import ModelError, words_of
from harness.models.endpoint.limit import AdaptiveLimit
from harness.models.endpoint.messages import Call
from harness.models.secrets import LEAST_MASKED_IN_ANSWERS, MASK, masked

RETRYABLE = frozenset({408, 409, 425, 429, *range(500, 600)})
# Statuses of a server that has too much to do; 529 is Anthropic's and 524 a proxy's that waited for it.
OVERLOADED = frozenset({429, 503, 524, 529})
# Errors for which every further call would fail as this one did: nothing is paid for, or the key is wrong.
OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
REFUSALS = frozenset({"content_filter", "content_policy_violation"})
# 32,000 tokens with their likelihoods are about 4 MB; an echo of a long prompt may have more.
MOST_BYTES = 16 * 1024 * 1024
CONNECT_SECONDS = 10.0
# Longest wait before a retry, whatever the server asks for: the sample's own time limit is usually 600 s.
MOST_PAUSE = 60.0
FIRST_PAUSE, LONGEST_BACKOFF = 0.5, 16.0
# What passes with time: a limit of calls a minute, a server that is started again. A server that fails on one question,
# or replies with half of an answer, mostly does so again, and may be paid for it.
PATIENT = frozenset({"overload", "connection"})
IMPATIENT_RETRIES = 3
WORDS_SHOWN = 200
# Of a long body; words that are shown begin within it.
MOST_SEARCHED = 1 << 16
# A server without keys takes any; the `openai` package asks for one.
NO_KEY = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call.

    Attributes:
        payload: The reply as JSON values; None if there is none.
        retries: Number of further attempts.
        fault: Kind of the error, as `ErrorInfo.type`; empty if there is a reply.
        message: Of the error.
        refused: The server refused for what the request holds.
        unpaid: The server was not reached, or answered with an error: nothing was generated.
        uncounted: Number of attempts without a usable reply that may have been paid for all the same.
    """

    payload: Any = None
    retries: int = 0
    fault: str = ""
    message: str = ""
    refused: bool = False
    unpaid: bool = False
    uncounted: int = 0


class OversizedBodyError(Exception):
    """Raised while a body is read that is larger than MOST_BYTES, or packed, so that its size is unknown."""


class EndpointClient:
    """Calls one endpoint.

    Args:
        base_url: Address of the API, with its version, such as `https://api.openai.com/v1`.
        key: The key, which is masked in everything that a server says.
        limit: Of the calls in flight.
        most_retries: Further attempts of a call.
        revive: Called when a connection fails; restarts a server of our own that has ended.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        limit: AdaptiveLimit,
        most_retries: int,
        revive: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        import httpx2
        import openai

        self._secret = "" if key == NO_KEY else key
        self._host = urlsplit(base_url).hostname or ""
        self._limit = limit
        self._most_retries = most_retries
        self._revive = revive
        self._answered = False
        self._response: Any = httpx2.Response
        self._not_reached = (httpx2.ConnectError, httpx2.ConnectTimeout)
        http = httpx2.AsyncClient(
            # A redirect would carry the images, and on the same host the key, to a place that nobody named.
            follow_redirects=False,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),  # the time of a whole call is bounded in `_attempt`
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=limit.most),
            event_hooks={"response": [_bound_body]},
            # A proxy of the environment must not get what is meant for this machine.
            trust_env=not is_loopback(self._host),
            verify=urlsplit(base_url).scheme == "https",  # or certificates are read that nothing asks for
        )
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=base_url,
            max_retries=0,
            http_client=http,
            default_headers={"Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def call(self, call: Call, deadline: float, salt: str) -> Outcome:
        """Return what became of a call, retries included; it never raises for what a server does.

        Args:
            call: The call.
            deadline: When it must be done, on the loop's clock.
            salt: Spreads the retries of calls that failed together.
        """
        loop = asyncio.get_running_loop()
        outcome, pause, uncounted = Outcome(), 0.0, 0
        for attempt in range(self._most_retries + 1):
            began = loop.time()
            outcome, again, asked = await self._attempt(call, deadline)
            uncounted += bool(outcome.fault) and not outcome.unpaid
            outcome = replace(outcome, retries=attempt, uncounted=uncounted)
            if not outcome.fault:
                self._answered = True
                self._limit.succeeded()
                return outcome
            spread = 0.75 + hashlib.sha256(f"{salt}{attempt}".encode()).digest()[0] / 510
            pause = min(LONGEST_BACKOFF, FIRST_PAUSE * 2**attempt) * spread if asked is None else min(asked, MOST_PAUSE)
            if again == "overload":
                self._limit.overloaded(began, 0.0 if asked is None else pause)
            most = self._most_retries if again in PATIENT else min(self._most_retries, IMPATIENT_RETRIES)
            if not again or attempt >= most or loop.time() + pause >= deadline:
                break
            await asyncio.sleep(pause)
            if again == "connection" and self._revive is not None:
                try:
                    await self._revive()
                except ModelError as error:
                    return replace(outcome, fault="Stop", message=self.hidden(str(error)))
        if outcome.fault == "ConnectionFailed" and outcome.unpaid:
            # Nothing listens there: to fail every sample of the run would say nothing of the model.
            return replace(outcome, fault="Stop", message=f"{outcome.message}; nothing answers at base_url=")
        return outcome

    async def _attempt(self, call: Call, deadline: float) -> tuple[Outcome, str, float | None]:
        """Return the outcome of one attempt, why another may help (empty if not), and the pause that is asked for."""
        import openai

        try:
            async with asyncio.timeout_at(deadline):
                response = await self._client.post(
                    call.path, cast_to=self._response, body=call.body, options={"max_retries": 0}
                )
        except TimeoutError:
            return _failed("Timeout", "the endpoint did not answer within the time of a sample"), "", None
        except openai.APIStatusError as error:
            return self._refused(error)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            message = f"{self._host}: {self._shown(words_of(cause))}"
            return _failed("ConnectionFailed", message, unpaid=isinstance(cause, self._not_reached)), "connection", None
        except OversizedBodyError as error:
            return _failed("OversizedReply", str(error)), "", None
        except Exception as error:  # noqa: BLE001 - whatever a server makes a library raise is one sample's failure
            return _failed("EndpointError", self._shown(words_of(error))), "", None
        try:
            # A key that a server repeats reaches nothing that is stored.
            payload = _each_text(json.loads(response.content), self.without_key)
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "no content type")
            words = self._shown(response.content.decode(errors="replace"))
            message = f"expected JSON, found {kind} of {len(response.content)} bytes with status 200: {words}"
            return _failed("MalformedReply", message), "malformed", None
        return Outcome(payload=payload), "", None

    def _refused(self, error: Any) -> tuple[Outcome, str, float | None]:
        """Return the outcome of a call that was answered by an error status."""
        status, headers = error.status_code, error.response.headers
        body = error.body if isinstance(error.body, Mapping) else {}
        code = str(body.get("code") or "")
        said = body.get("message") if isinstance(body.get("message"), str) else error.response.text
        words = self._shown(str(said))
        message = f"{self._host} answered with status {status}{f': {words}' if words else ''}"
        if 300 <= status < 400:
            place = urlsplit(headers.get("location", "")).hostname or "another path"
            hint = "redirects are not followed, because they would take the data elsewhere; name the place in base_url="
            return _failed("Redirect", f"{self._host} redirects to {place}; {hint}", unpaid=True), "", None
        if status == 402 or code in OUT_OF_MONEY:
            return _failed("Stop", message, unpaid=True), "", None
        if status in (401, 403, 404) and not self._answered:
            hint = "base_url= or the model is wrong" if status == 404 else "OPENAI_API_KEY is not its key"
            return _failed("Stop", f"{message}; {hint}", unpaid=True), "", None
        if code in REFUSALS:
            return _failed("Refused", message, unpaid=True, refused=True), "", None
        again = "overload" if status in OVERLOADED else "status" if status in RETRYABLE else ""
        return _failed(f"Status{status}", message, unpaid=True), again, pause_of(headers) if again else None

    def without_key(self, text: str) -> str:
        """Return what a server wrote without the key; of a short key only messages are rid, as words may hold it."""
        return text.replace(self._secret, MASK) if len(self._secret) >= LEAST_MASKED_IN_ANSWERS else text

    def hidden(self, text: str) -> str:
        """Return a message without the key, and without what has the form of another."""
        return masked(text, (self._secret,))

    def _shown(self, text: str) -> str:
        """Return the beginning of a server's words, hidden before it is cut: half a key would pass."""
        return " ".join(self.hidden(self.without_key(text)[:MOST_SEARCHED]).split())[:WORDS_SHOWN]


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its name alone."""
    return host.lower() == "localhost" or host == "::1" or bool(re.fullmatch(r"127(?:\.\d{1,3}){3}", host))


def pause_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, given as seconds or as a date; None if it asks for none."""
    value = headers.get("retry-after", "").strip()
    try:
        # OpenAI's own header, in milliseconds, is the finer one.
        seconds = float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


async def _bound_body(response: Any) -> None:
    """Bound the body that is about to be read."""
    packed = response.headers.get("content-encoding", "identity").lower()
    if packed not in ("", "identity"):  # it was not asked for, and a small one may unpack to gigabytes
        raise OversizedBodyError(f"the body is packed ({packed}), though the call asked for it plain")
    length = response.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise OversizedBodyError(f"the body has {int(length):,} bytes; at most {MOST_BYTES:,} are read")
    response.stream = _bounded_stream(response.stream)


def _bounded_stream(stream: Any) -> Any:
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            async for chunk in stream:
                read += len(chunk)
                if read > MOST_BYTES:
                    raise OversizedBodyError(
                        f"the body has more than {MOST_BYTES:,} bytes, which is the most that is read"
                    )
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


def _failed(kind: str, message: str, *, unpaid: bool = False, refused: bool = False) -> Outcome:
    return Outcome(fault=kind, message=message, unpaid=unpaid, refused=refused)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON values with every text changed, names included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(item, change) for item in value]
    if isinstance(value, dict):
        return {change(name): _each_text(item, change) for name, item in value.items()}
    return value
