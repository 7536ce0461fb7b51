"""A model behind an endpoint is asked as the task says, and whatever the server does ends as an answer or an error."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError, SpecError
from harness.models.endpoint import client
from harness.models.endpoint.adapter import OpenAI
from harness.records import Answer, ErrorInfo, Media, MediaPart, Request, TextPart, Turn
from tests.support.loopback import Asked, Loopback, Said, reply, serving
from tests.unit.models.endpoint.conftest import Open

KEY = "local-secret-4711-abc"


class Picture:
    """A handle of an image of one colour; `broken` is one whose file cannot be read."""

    def __init__(self, colour: int = 0, *, broken: bool = False) -> None:
        self.record = Media(path=f"{colour}.png", sha256=f"{colour:064x}", size=(4, 6))
        self.colour, self.broken, self.opened = colour, broken, 0
        self.path = ""

    def image(self) -> Any:
        self.opened += 1
        if self.broken:
            raise DataError("0.png: cannot be read")
        return np.full((4, 6, 3), self.colour, dtype=np.uint8)

    def volume(self) -> Any:
        raise NotImplementedError


def ask(number: int = 0, *pictures: Picture, text: str = "", **changes: Any) -> Request:
    parts = (*(MediaPart(media=picture) for picture in pictures), TextPart(text=text or f"Question {number}?"))
    fields: dict[str, Any] = {
        "messages": (Turn(role="user", parts=parts),),
        "decoding": {"max_new_tokens": 5, "temperature": 0.0},
        "key": f"{number:064x}",
    }
    return Request(**{**fields, **changes})


def error(answer: Answer) -> ErrorInfo:
    assert answer.error is not None
    return answer.error


def test_the_call_holds_the_words_and_the_settings_of_the_task(opened: Open) -> None:
    with serving() as server:
        (answer,) = opened(server.url).predict([ask(seed=3, repeat=2)])
    assert server.asked[0].body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Question 0?"}],
        "max_tokens": 5,
        "temperature": 0.0,
        "seed": 5,
    }
    assert (answer.text, answer.status, answer.usage) == ("yes", "ok", {"prompt_tokens": 9, "completion_tokens": 1})
    assert json.loads(answer.rendered or "") == server.asked[0].body


def test_arguments_replace_the_settings_of_the_task_or_leave_them_out(opened: Open) -> None:
    arguments: dict[str, Any] = {
        "system": "You are a radiologist.",
        "temperature": "omit",
        "max_new_tokens": 64,
        "stop": ["###"],
        "seed": "omit",
        "top_p": 0.5,
        "token_limit": "max_completion_tokens",
        "extra": {"reasoning_effort": "low"},
    }
    with serving() as server:
        opened(server.url, **arguments).predict([ask(decoding={"max_new_tokens": 5, "top_k": 3, "num_beams": 1})])
    assert server.asked[0].body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You are a radiologist."},
            {"role": "user", "content": "Question 0?"},
        ],
        "max_completion_tokens": 64,
        "top_k": 3,
        "top_p": 0.5,
        "stop": ["###"],
        "reasoning_effort": "low",
    }


def test_beams_are_refused_in_words(opened: Open) -> None:
    with serving() as server:
        (answer,) = opened(server.url).predict([ask(decoding={"num_beams": 3})])
    assert error(answer).message == "decoding: an endpoint has no beam search, and the task asks for 3 beams"
    assert server.asked == []


def test_images_stand_in_their_places_as_png_and_are_encoded_once(opened: Open) -> None:
    left, right = Picture(7), Picture(200)
    parts = (TextPart(text="Left:"), MediaPart(media=left), TextPart(text="Right:"), MediaPart(media=right))
    with serving() as server:
        adapter = opened(server.url, detail="low")
        (answer,) = adapter.predict([ask(messages=(Turn(role="user", parts=parts),))])
        adapter.predict([ask(1, left)])
    content = server.asked[0].body["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url"]
    for part, colour in ((content[1], 7), (content[3], 200)):
        head, _, data = part["image_url"]["url"].partition(",")
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert head == "data:image/png;base64"
        assert pixels.shape == (4, 6, 3)
        assert (pixels == colour).all()
        assert part["image_url"]["detail"] == "low"
    assert left.opened == 1
    assert "base64" not in (answer.rendered or "")
    assert '{"type":"image","image":"png 6x4 of ' in (answer.rendered or "")


def test_images_may_be_left_out(opened: Open) -> None:
    with serving() as server:
        adapter = opened(server.url, images="leave_out")
        adapter.predict([ask(0, Picture())])
    assert server.asked[0].body["messages"] == [{"role": "user", "content": "Question 0?"}]
    assert "volume" in adapter.capabilities().takes


def test_an_image_that_cannot_be_read_is_a_fault_of_the_data(opened: Open, tmp_path: Path) -> None:
    with serving() as server:
        adapter = opened(server.url, folder=tmp_path / "model")
        with pytest.raises(DataError, match=r"0\.png: cannot be read"):
            adapter.predict([ask(1), ask(0, Picture(broken=True))])
        # The harness halves the batch; what was answered is not asked again.
        assert adapter.predict([ask(1)])[0].text == "yes"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        (reply("Cut", choices=[{"message": {"content": "Cut"}, "finish_reason": "length"}]), "truncated", "Cut"),
        (reply(choices=[{"message": {"content": ""}, "finish_reason": "content_filter"}]), "refused", ""),
        (reply(choices=[{"message": {"content": None, "refusal": "I cannot."}}]), "refused", "I cannot."),
        (reply([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]), "ok", "ab"),
        (reply(None), "ok", None),
        (reply("<think>no</think> Yes"), "ok", "<think>no</think> Yes"),
    ],
)
def test_what_a_reply_says_of_itself_becomes_its_status(opened: Open, said: Any, status: str, text: str | None) -> None:
    with serving(Said(body=said)) as server:
        (answer,) = opened(server.url).predict([ask()])
    assert (answer.status, answer.text, answer.error) == (status, text, None)


def test_a_request_that_the_filter_of_the_server_refuses_is_a_refusal(opened: Open) -> None:
    body = {"error": {"code": "content_filter", "message": "The prompt was filtered."}}
    with serving(Said(status=400, body=body)) as server:
        (answer,) = opened(server.url).predict([ask()])
    assert answer.status == "refused"
    assert len(server.asked) == 1


# Server's answers -> (kind of the error, part of its message, calls); one of None is answered in the end.
FAULTS: dict[str, tuple[Said, str | None, str, int]] = {
    "429 with seconds": (Said(status=429, body="{}", headers={"Retry-After": "0"}), None, "", 2),
    "429 with a date": (Said(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), None, "", 2),
    "429 in milliseconds": (Said(status=429, headers={"Retry-After-Ms": "1"}), None, "", 2),
    "408": (Said(status=408), None, "", 2),
    "409": (Said(status=409), None, "", 2),
    "500": (Said(status=500, body='{"error": {"message": "oops"}}'), None, "", 2),
    "503": (Said(status=503, body="<html>busy</html>", headers={"Content-Type": "text/html"}), None, "", 2),
    "a closed connection": (Said(drop=True), None, "", 2),
    "half a body": (Said(body=reply(), cut=20), None, "", 2),
    "HTML with status 200": (Said(body="<html>gateway</html>", headers={"Content-Type": "text/html"}), None, "", 2),
    "half a JSON": (Said(body='{"choices": ['), None, "", 2),
    "no bytes": (Said(body=""), None, "", 2),
    "no choice": (Said(body=reply(choices=[])), "MalformedReply", "choices: expected a list of at least one", 1),
    "no message": (Said(body=reply(choices=[{}])), "MalformedReply", "choices[0].message: expected an object", 1),
    "a number": (Said(body=reply(7)), "MalformedReply", "message.content: expected text or null, found 7", 1),
    "a list": (Said(body=[]), "MalformedReply", "the reply: expected an object, found []", 1),
    "null": (Said(body="null"), "MalformedReply", "the reply: expected an object, found None", 1),
    "a reason of 1": (
        Said(body=reply(choices=[{"message": {"content": "a"}, "finish_reason": 1}])),
        "MalformedReply",
        "choices[0].finish_reason: expected text or null, found 1",
        1,
    ),
    "an error with 200": (Said(body={"error": {"message": "no"}}), "MalformedReply", "an error with status 200", 1),
    "400": (
        Said(status=400, body='{"error": {"message": "too long"}}'),
        "Status400",
        "answered with status 400: too long",
        1,
    ),
    "a redirect": (
        Said(status=302, headers={"Location": "http://example.org/v1"}),
        "Redirect",
        "127.0.0.1 redirects to example.org; redirects are not followed",
        1,
    ),
    "a large body": (
        Said(body=b" " * 70_000),
        "OversizedReply",
        "the body has 70,000 bytes; at most 65,536 are read",
        1,
    ),
    "a packed body": (Said(headers={"Content-Encoding": "gzip"}), "OversizedReply", "the body is packed (gzip)", 1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_misbehaves_costs_one_sample_at_most(
    opened: Open, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 65_536)
    said, kind, message, calls = FAULTS[name]

    def say(asked: Asked, _: int) -> Said:
        # The first call about the question fails; of a fault that stays, each would.
        first = sum(other.question == asked.question for other in server.asked) == 1
        return said if "0" in asked.question and (first or kind) else Said(body=reply())

    with serving(say) as server:
        answer, other = opened(server.url, max_retries=3).predict([ask(0), ask(1)])
    assert other.text == "yes"
    assert sum(asked.question == "Question 0?" for asked in server.asked) == calls
    if kind is None:
        assert answer.text == "yes"
        assert answer.usage["retries"] == 1
    else:
        assert error(answer).type == kind
        assert message in error(answer).message


def test_a_fault_that_stays_ends_after_the_retries(opened: Open) -> None:
    with serving(Said(status=500, body="down")) as server:
        (answer,) = opened(server.url, max_retries=2).predict([ask()])
    assert error(answer) == ErrorInfo(type="Status500", message="127.0.0.1 answered with status 500: down")
    assert answer.usage == {"retries": 2}
    assert len(server.asked) == 3


def test_an_overloaded_server_is_given_more_time_than_one_that_fails(opened: Open) -> None:
    for status, calls in ((429, 9), (500, 4)):
        with serving(Said(status=status)) as server:
            (answer,) = opened(server.url).predict([ask()])
        assert error(answer).type == f"Status{status}"
        assert len(server.asked) == calls


def test_a_silence_is_a_timeout_of_its_own_sample(opened: Open) -> None:
    with serving(lambda asked, _: Said(body=reply(), wait=60.0 * ("0" in asked.question))) as server:
        began = time.monotonic()
        answer, other = opened(server.url, timeout=0.3).predict([ask(0), ask(1)])
    assert time.monotonic() - began < 0.6
    assert error(answer).type == "Timeout"
    assert other.text == "yes"


def test_a_wait_longer_than_the_time_of_a_sample_is_not_begun(opened: Open) -> None:
    with serving(Said(status=429, body="{}", headers={"Retry-After": "3600"})) as server:
        began = time.monotonic()
        (answer,) = opened(server.url, timeout=5.0).predict([ask()])
    assert time.monotonic() - began < 1.0
    assert error(answer).type == "Status429"
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_stops_the_run(opened: Open) -> None:
    with serving() as server:
        url = server.url
    (answer,) = opened(url, max_retries=1).predict([ask()])
    assert error(answer).type == "Stop"
    assert error(answer).message.startswith("127.0.0.1: ConnectError: ")
    assert error(answer).message.endswith("; nothing answers at base_url=")


def test_a_server_that_hangs_up_costs_one_sample(opened: Open) -> None:
    with serving(Said(drop=True)) as server:
        (answer,) = opened(server.url, max_retries=1).predict([ask()])
    assert error(answer).type == "ConnectionFailed"
    assert "127.0.0.1: RemoteProtocolError: " in error(answer).message


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "invalid_api_key", "OPENAI_API_KEY is not its key"),
        (404, "model_not_found", "base_url= or the model is wrong"),
        (429, "insufficient_quota", "answered with status 429"),
        (402, "", "answered with status 402"),
    ],
)
def test_what_would_fail_every_call_stops_the_run(opened: Open, status: int, code: str, words: str) -> None:
    with serving(Said(status=status, body={"error": {"message": "no", "code": code}})) as server:
        answers = opened(server.url, concurrency=2).predict([ask(number) for number in range(20)])
    assert {error(answer).type for answer in answers} == {"Stop"}
    assert words in error(answers[0]).message
    assert len(server.asked) <= 3


def test_one_forbidden_question_does_not_stop_a_run_that_is_answered(opened: Open) -> None:
    with serving(lambda asked, _: Said(status=403 if "1" in asked.question else 200, body=reply())) as server:
        adapter = opened(server.url)
        assert adapter.predict([ask(0)])[0].text == "yes"
        (answer,) = adapter.predict([ask(1)])
    assert error(answer).type == "Status403"


def test_calls_in_flight_are_as_many_as_stated(opened: Open) -> None:
    with serving(Said(body=reply(), wait=0.02)) as server:
        answers = opened(server.url, concurrency=3).predict([ask(number) for number in range(12)])
    assert server.most == 3
    assert [answer.text for answer in answers] == ["yes"] * 12


def test_the_key_is_sent_and_shown_nowhere(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(asked: Asked, _: int) -> Said:
        echo = f"You sent {asked.headers['Authorization']}"
        if "0" in asked.question:
            return Said(body=reply(echo, system_fingerprint=KEY))
        return Said(status=400, body={"error": {"message": echo}}) if "1" in asked.question else Said(body=f"<b>{echo}")

    with serving(say) as server:
        adapter = opened(server.url, folder=tmp_path / "model", max_retries=0)
        assert adapter.predict([ask(3)])[0].error is not None  # without a key a local server gets some word
        assert server.asked[0].headers["Authorization"] == "Bearer none"
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        adapter = opened(server.url, folder=tmp_path / "model", max_retries=0)
        answers = adapter.predict([ask(0), ask(1), ask(2)])
    assert server.asked[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert answers[0].text == "You sent Bearer ***"
    assert "***" in error(answers[1]).message
    assert "***" in error(answers[2]).message
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY in path.read_text()]
    assert KEY not in repr(answers)


def test_a_host_elsewhere_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(
        SpecError, match=r"expected the key of api\.openai\.com in the environment variable OPENAI_API_KEY"
    ):
        OpenAI("m").load("cpu")


def _killed(server: Loopback, folder: Path, opened: Open, requests: list[Request]) -> list[Answer]:
    """Return the answers of an adapter that is given up before the driver stores them, as by a kill."""
    return opened(server.url, folder=folder).predict(requests)


def test_what_was_answered_before_a_kill_is_not_asked_again(opened: Open, tmp_path: Path) -> None:
    requests = [ask(number) for number in range(6)]
    with serving(lambda _, number: Said(body=reply(f"answer {number}"))) as server:
        before = _killed(server, tmp_path / "model", opened, requests[:4])
        (path,) = (tmp_path / "model").glob("answers-*.jsonl")
        path.write_bytes(path.read_bytes()[:-5])  # the kill came in the middle of the last line
        after = opened(server.url, folder=tmp_path / "model").predict(requests)
    kept = [asked for asked in after if asked in before]
    assert len(kept) == 3
    assert len(server.asked) == 4 + 3
    assert len({answer.text for answer in after}) == 6


def test_a_paid_reply_that_cannot_be_read_is_not_asked_again_either(opened: Open, tmp_path: Path) -> None:
    with serving(Said(body=reply(7))) as server:
        before = _killed(server, tmp_path / "model", opened, [ask()])
        after = opened(server.url, folder=tmp_path / "model").predict([ask()])
    assert before == after
    assert error(after[0]).type == "MalformedReply"
    assert len(server.asked) == 1


def test_a_full_disk_stops_the_run(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        adapter = opened(server.url, folder=tmp_path / "model")
        monkeypatch.setattr(
            adapter._call_log, "add", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        (answer,) = adapter.predict([ask()])
    assert error(answer).type == "Stop"
    assert "No space left" in error(answer).message


def test_a_fingerprint_that_was_pinned_is_asked_for(opened: Open) -> None:
    with serving(lambda _, number: Said(body=reply(system_fingerprint=f"fp_{number}"))) as server:
        adapter = opened(server.url, fingerprint="fp_0")
        assert adapter.predict([ask(0)])[0].text == "yes"
        (answer,) = adapter.predict([ask(1)])
    assert error(answer).message == "system_fingerprint: expected fp_0, found fp_1"


def test_a_server_that_counts_nothing_is_noticed(opened: Open) -> None:
    with serving(Said(body=reply(usage="none"))) as server:
        (answer,) = opened(server.url).predict([ask()])
    assert answer.usage == {"calls_without_usage": 1}


def scored(asked: Asked, _: int) -> Said:
    """Score a prompt as vLLM does, one token a word, and write one word more."""
    words = asked.body["prompt"].split(" ")
    tokens = [word if place == 0 else f" {word}" for place, word in enumerate([*words, "more"])]
    offsets = [sum(map(len, tokens[:place])) for place in range(len(tokens))]
    logprobs = [None, *(-float(len(token)) for token in tokens[1:])]
    columns = {"tokens": tokens, "token_logprobs": logprobs, "text_offset": offsets}
    return Said(
        body={"choices": [{"text": "", "logprobs": columns}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}
    )


def test_continuations_are_scored_by_their_own_tokens(opened: Open) -> None:
    request = ask(kind="nll", wants=("nll",), candidates=(" no", " not at all"), text="Is it there? Answer:")
    with serving(scored) as server:
        adapter = opened(server.url, logprobs=True, system="Be brief.")
        assert "nll" in adapter.capabilities().gives
        (answer,) = adapter.predict([request])
    assert answer.nll == [3.0, (4 + 3 + 4) / 3]
    assert answer.nll_tokens == [1, 3]
    assert answer.usage == {"prompt_tokens": 10, "completion_tokens": 2}
    assert [asked.path for asked in server.asked] == ["/v1/completions"] * 2
    assert server.asked[0].body["prompt"] == "Be brief.\n\nIs it there? Answer: no"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (None, "choices[0].logprobs: expected an object; the server may not offer echo with logprobs, found None"),
        ({"tokens": ["a"]}, "expected tokens, token_logprobs and text_offset, of one length"),
        ({"tokens": [1], "token_logprobs": [0.0], "text_offset": [0]}, "expected text and offsets of tokens"),
        ({"tokens": ["Q x"], "token_logprobs": [None], "text_offset": [0]}, "expected a number for each token"),
        ({"tokens": ["Q"], "token_logprobs": [0.0], "text_offset": [0]}, "no token belongs to the continuation"),
    ],
)
def test_likelihoods_of_another_form_are_an_error_of_the_sample(opened: Open, columns: Any, message: str) -> None:
    with serving(Said(body={"choices": [{"text": "", "logprobs": columns}]})) as server:
        (answer,) = opened(server.url, logprobs=True).predict([ask(kind="nll", candidates=(" x",), text="Q")])
    assert message in error(answer).message


def test_likelihoods_beside_an_image_are_refused_in_words(opened: Open) -> None:
    with serving() as server:
        request = ask(0, Picture(), kind="nll", candidates=(" x",))
        (answer,) = opened(server.url, logprobs=True).predict([request])
        assert "takes no image; --model-args images=leave_out asks without it" in error(answer).message
        assert server.asked == []


def test_a_schema_is_sent_and_counts_as_a_part_of_the_model(opened: Open, tmp_path: Path) -> None:
    schema = tmp_path / "answer.json"
    schema.write_text('{"type": "object"}')
    with serving() as server:
        adapter = opened(server.url, response_format=f"json_schema@{schema}")
        adapter.predict([ask()])
    wanted = {"name": "reply", "schema": {"type": "object"}, "strict": True}
    assert server.asked[0].body["response_format"] == {"type": "json_schema", "json_schema": wanted}
    assert adapter.capabilities().weights == (str(schema),)
