"""Reading what an endpoint replies; every field is checked: servers differ, and gateways reply in their place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.models.endpoint.messages import Call
from harness.records import AnswerStatus
from harness.records.values import Json

# `finish_reason` of a reply -> the status of its answer; others, such as `stop`, are `ok`.
STATUS_OF: Mapping[str, AnswerStatus] = {
    "length": "truncated",
    "max_tokens": "truncated",
    "content_filter": "refused",
    "refusal": "refused",
}
FOUND_SHOWN = 80


class MalformedReplyError(Exception):
    """Raised when a reply is JSON but not of the form that was asked for; the message is a sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was read of a reply.

    Attributes:
        text: The words; None if there are none, and for a likelihood.
        status: Of the answer.
        usage: Tokens by kind, as the server counts them; empty if it does not.
        fingerprint: The server's `system_fingerprint`; None if it names none.
        nll: Mean negative log likelihood per token of the continuation; None for words.
        nll_tokens: The number of its tokens; 0 for words.
    """

    text: str | None = None
    status: AnswerStatus = "ok"
    usage: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str | None = None
    nll: float | None = None
    nll_tokens: int = 0


def read_chat(payload: object, call: Call) -> Reply:  # noqa: ARG001 - read like a likelihood, which needs the prompt
    """Return the reply of `/chat/completions`.

    Raises:
        MalformedReplyError: It has another form.
    """
    choice = _choice(payload)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _malformed("choices[0].message", "an object", message)
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, list):  # parts, as some servers reply; what is not text is no part of the words
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(text for text in texts if isinstance(text, str))
    if content is not None and not isinstance(content, str):
        raise _malformed("choices[0].message.content", "text or null", content)
    reason = choice.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise _malformed("choices[0].finish_reason", "text or null", reason)
    status = STATUS_OF.get(reason or "", "ok")
    if isinstance(refusal, str) and refusal.strip():
        content, status = content or refusal, "refused"
    return Reply(text=content, status=status, usage=_usage(payload), fingerprint=_fingerprint(payload))


def read_likelihood(payload: object, call: Call, *, length: int) -> Reply:
    """Return the likelihood of a continuation from the echo of `/completions`.

    Args:
        payload: The reply.
        call: The call, whose prompt ends in the continuation.
        length: Of the continuation, in characters. A token that only reaches into it belongs to it.
    Raises:
        MalformedReplyError: It has another form, or no likelihoods.
    """
    scored = _choice(payload).get("logprobs")
    if not isinstance(scored, dict):
        raise _malformed("choices[0].logprobs", "an object; the server may not offer echo with logprobs", scored)
    columns = [scored.get(name) for name in ("tokens", "token_logprobs", "text_offset")]
    if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) != 1:  # type: ignore[arg-type]
        raise _malformed("choices[0].logprobs", "tokens, token_logprobs and text_offset, of one length", scored)
    tokens, logprobs, offsets = columns
    assert tokens is not None
    assert logprobs is not None
    assert offsets is not None
    ends = len(call.body["prompt"])
    begins = ends - length
    own: list[float] = []
    for token, logprob, offset in zip(tokens, logprobs, offsets, strict=True):
        if not isinstance(offset, int) or not isinstance(token, str):
            raise _malformed("choices[0].logprobs", "text and offsets of tokens", [token, offset])
        if offset >= ends or offset + len(token) <= begins:
            continue
        if isinstance(logprob, bool) or not isinstance(logprob, int | float):
            raise _malformed("choices[0].logprobs.token_logprobs", "a number for each token", logprob)
        own.append(float(logprob))
    if not own:
        raise MalformedReplyError("choices[0].logprobs: no token belongs to the continuation")
    nll = -sum(own) / len(own)
    return Reply(nll=nll, nll_tokens=len(own), usage=_usage(payload), fingerprint=_fingerprint(payload))


def tokens_used(payload: object) -> Mapping[str, int]:
    """Return the tokens that a reply says it took, whatever else is wrong with it."""
    return _usage(payload)


def _choice(payload: object) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise _malformed("the reply", "an object", payload)
    if "choices" not in payload and "error" in payload:  # with status 200, as some gateways pass errors on
        raise MalformedReplyError(f"the reply is an error with status 200: {_brief(payload['error'])}")
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _malformed("choices", "a list of at least one object", choices)
    return choices[0]


def _usage(payload: object) -> dict[str, int]:
    found = payload.get("usage") if isinstance(payload, dict) else None
    if not isinstance(found, dict):
        return {}
    counts = {name: found.get(name) for name in ("prompt_tokens", "completion_tokens")}
    for group, name in (("prompt_tokens_details", "cached_tokens"), ("completion_tokens_details", "reasoning_tokens")):
        details = found.get(group)
        counts[name] = details.get(name) if isinstance(details, dict) else None
    return {name: count for name, count in counts.items() if type(count) is int and count >= 0}


def _fingerprint(payload: object) -> str | None:
    found = payload.get("system_fingerprint") if isinstance(payload, dict) else None
    return found if isinstance(found, str) and found else None


def _malformed(where: str, expected: str, found: Json | object) -> MalformedReplyError:
    return MalformedReplyError(f"{where}: expected {expected}, found {_brief(found)}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= FOUND_SHOWN else f"{text[:FOUND_SHOWN]}..."
