"""The arguments of an endpoint are checked before anything is prepared."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.models.endpoint.adapter import OpenAI
from harness.models.resolve import build, capabilities_of, identity, parse


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": "127.0.0.1:8000/v1"}, "base_url: expected an address such as http://127.0.0.1:8000/v1, found"),
        ({"base_url": "ftp://host/v1"}, "base_url: expected an address such as"),
        ({"base_url": "http://host/v1?key=1"}, "base_url: expected an address such as"),
        ({"base_url": "http://host:none/v1"}, "base_url: expected an address such as"),
        ({"base_url": 8000}, "base_url: expected an address such as http://127.0.0.1:8000/v1, found 8000"),
        ({"base_url": "http://host/v1", "serve": "x {port}"}, "expected base_url or serve, found both"),
        ({"images": "no"}, "images: expected send or leave_out, found 'no'"),
        ({"detail": 1}, "detail: expected low or high or auto, found 1"),
        ({"logprobs": 1}, "logprobs: expected true or false, found 1"),
        ({"token_limit": "n"}, "token_limit: expected max_tokens or max_completion_tokens, found 'n'"),
        ({"concurrency": 0}, "concurrency: expected a whole number from 1 to 256, found 0"),
        ({"concurrency": True}, "concurrency: expected a whole number from 1 to 256, found True"),
        ({"max_retries": -1}, "max_retries: expected a whole number from 0 to 100, found -1"),
        ({"max_images": 1.5}, "max_images: expected a whole number from 1 to 10000, found 1.5"),
        ({"max_cost": 1}, "max_cost: expected prices=FILE too: the price of a call is not known otherwise"),
        ({"max_cost": "1 dollar"}, "max_cost: expected a number of at least 0, found '1 dollar'"),
        ({"max_tokens_total": -1}, "max_tokens_total: expected a number of at least 0, found -1"),
        ({"serve_timeout": "long"}, "serve_timeout: expected a number of at least 0, found 'long'"),
        ({"extra": [1]}, "extra: expected a JSON object, found [1]"),
        ({"response_format": "xml"}, "response_format: expected json_object or json_schema@FILE, found 'xml'"),
        ({"response_format": "json_schema@"}, "response_format: expected json_object or json_schema@FILE"),
        ({"response_format": "json_schema@absent.json"}, "absent.json: cannot be read: No such file or directory"),
        ({"prices": "absent.json"}, "prices=absent.json: cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_argument_says_what_was_expected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        OpenAI("m", **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON: "),
        ("[]", "expected the price of 'm', found no object"),
        ("{}", "expected the price of 'm', found no price"),
        ('{"other": {}}', "expected the price of 'm', found other"),
        ('{"m": {"input": 1}}', "m.output: expected the price of a million tokens, found None"),
        ('{"m": {"input": -1, "output": 1}}', "m.input: expected the price of a million tokens, found -1"),
        ('{"m": {"input": true, "output": 1}}', "m.input: expected the price of a million tokens, found True"),
    ],
)
def test_a_file_without_the_price_says_what_it_holds(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        OpenAI("m", prices=str(path))
    assert f"--model-args prices={path}: {message}" in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "expected a JSON schema: "), ("1", "a JSON schema, found int")])
def test_a_file_without_a_schema_says_what_it_holds(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        OpenAI("m", response_format=f"json_schema@{path}")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SpecError, match=r"needs the package openai; pip install 'medground\[judge\]'"):
        OpenAI("m")


def test_json_objects_can_be_asked_for() -> None:
    assert OpenAI("m", response_format="json_object").settings.response_format == {"type": "json_object"}


@pytest.mark.parametrize(
    ("base_url", "host", "limit"),
    [
        (None, "api.openai.com", "max_completion_tokens"),
        ("https://Gateway.example.org/openai/v1/", "gateway.example.org", "max_tokens"),
        ("http://[::1]:8000/v1", "::1", "max_tokens"),
    ],
)
def test_the_host_is_that_of_the_address(base_url: str | None, host: str, limit: str) -> None:
    adapter = OpenAI("m", base_url=base_url)
    assert adapter.capabilities().sends_data_to == host
    assert adapter.settings.token_limit == limit


def test_a_server_of_ones_own_sends_nothing_away_and_may_use_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    declared = OpenAI(str(tmp_path), serve="serve {model} {port}").capabilities()
    assert declared.sends_data_to is None
    assert declared.resources.gpus is None
    assert declared.weights == (str(tmp_path),)


def test_a_batch_holds_what_is_in_flight_several_times() -> None:
    declared = OpenAI("m", concurrency=32).capabilities()
    assert (declared.usual_batch, declared.batch_invariant) == (256, True)


def test_only_what_can_change_an_answer_is_part_of_the_model(tmp_path: Path) -> None:
    def name(**arguments: Any) -> str:
        reference = parse("openai:m", arguments)
        adapter = build(reference)
        return json.dumps(identity(reference, adapter, capabilities_of(reference, adapter)))

    schema = tmp_path / "one.json"
    schema.write_text("{}")
    (tmp_path / "two.json").write_text("{}")
    forms = [f"json_schema@{tmp_path / file}" for file in ("one.json", "two.json")]
    assert name(concurrency=1, max_retries=2) == name(concurrency=9)
    assert name(base_url="http://a/v1") != name(base_url="http://b/v1")
    assert name(system="Be brief.") != name()
    assert name(fingerprint="fp_1") != name()
    assert name(response_format=forms[0]) == name(response_format=forms[1])
    assert str(tmp_path) not in name(response_format=forms[0])
    schema.write_text('{"type": "string"}')
    assert name(response_format=forms[0]) != name(response_format=forms[1])
