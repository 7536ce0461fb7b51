"""Secrets among the arguments of a model: which are refused, and that none is written anywhere."""

import json
from typing import Any

import pytest

from harness.errors import SpecError
from harness.models.resolve import ModelReference
from harness.models.secrets import masked, masked_record, masked_words, refuse_secrets, secrets_of
from harness.records import Json

# Made up, in pieces: a scanner of secrets takes whole ones for real.
OPENAI, HUGGING_FACE, AWS = "sk-" + "abcd1234efgh5678", "hf_" + "AbCdEfGhIjKlMn", "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB, WEB_TOKEN = "ghp_" + "a1B2" * 9, "eyJ" + "hbGciOiJI.eyJ" + "zdWIiOiIx.c2lnbmF0dXJl"


def refusal(name: str, value: Json, *execution_only: str) -> str | None:
    reference = ModelReference(text="m.py:M", target="m.py:M", arguments={name: value})
    try:
        refuse_secrets(reference, frozenset(execution_only))
    except SpecError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "abc"),
        ("key", "0123456789abcdef"),
        ("apikey", "x1"),
        ("openaiApiKey", "x1"),
        ("HF_TOKEN", "my token"),
        ("auth_token", "t0k3n"),
        ("accesstoken", "t0k3n"),
        ("password", "hunter2"),
        ("db_password", 1234),
        ("passphrase", "open sesame"),
        ("client-secret", "§"),
        ("credentials", {"user": "me", "pass": "x"}),
        ("headers", {"Authorization": "Basic eHg6eXk="}),
        ("headers", {"Cookie": "a", "x-api-key": "b"}),
        ("endpoints", [{"url": "http://a", "token": "t0k3n"}]),
        ("token", 123456789012),
    ],
)
def test_an_argument_that_is_named_like_a_secret_is_refused(name: str, value: Json) -> None:
    assert refusal(name, value) == (
        f"--model-args: {name}: is named like a secret, and a model's arguments are stored in run.json, results and "
        "reports. Let the adapter read it from an environment variable, or name it in `execution_only`: its value is "
        "then stored nowhere (docs/add-a-model.md)"
    )
    assert refusal(name, value, name) is None


@pytest.mark.parametrize(
    "value", [OPENAI, HUGGING_FACE, AWS, GITHUB, WEB_TOKEN, "https://me:hunter2@host/v1", [f"Bearer {GITHUB}"]]
)
def test_a_value_that_looks_like_a_key_is_refused_whatever_its_name(value: Json) -> None:
    message = refusal("endpoint", value)
    assert message is not None
    assert str(value) not in message
    assert message.startswith("--model-args: endpoint: its value looks like a key or a password, and a model's")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 4096),
        ("tokens", 131072),
        ("key_dim", 64),
        ("tokenizer", "llama"),
        ("keypoints", "17"),
        ("image_token", "<image>"),
        ("seg_token", "[SEG]"),
        ("use_auth_token", True),
        ("token", None),
        ("password", ""),
        ("api_key_env", "OPENAI_API_KEY"),
        ("token_file", "~/.token"),
        ("model", "sketch-base"),
        ("url", "https://host:8000/v1"),
        ("temperature", 0.5),
    ],
)
def test_what_is_no_secret_is_not(name: str, value: Json) -> None:
    assert refusal(name, value) is None
    assert secrets_of({name: value}) == ()


def test_the_text_behind_a_models_name_is_looked_at_too() -> None:
    reference = ModelReference(text="chat:http://me:pw123@host", target="m:M", argument="http://me:pw123@host")
    with pytest.raises(SpecError, match=r"^--model chat:\*\*\*: looks like a key or a password"):
        refuse_secrets(reference, frozenset())


def test_secrets_are_found_in_lists_and_objects_the_longest_first() -> None:
    arguments: dict[str, Json] = {"api_key": ["abcd", "abcdefgh"], "login": {"password": 1234, "user": "me"}, "n": 3}
    assert secrets_of(arguments) == ("abcdefgh", "1234", "abcd")


def test_a_text_is_masked_of_secrets_as_they_are_and_as_json_writes_them() -> None:
    secret = 'a"b\\c'
    assert masked(f"no {secret} and {json.dumps(secret)}", [secret]) == 'no *** and "***"'
    assert masked("abc", ["abc"]) == "abc"  # too short to be told from other words
    assert masked(f"Incorrect API key provided: {OPENAI}.", ()) == "Incorrect API key provided: ***."


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("api_key=abc,temperature=0", "api_key=***,temperature=0"),
        ('api_key="a,b",n=1', "api_key=***,n=1"),
        ('headers={"x": "hunter2!"},n=1', 'headers={"x": "***"},n=1'),
        (f"endpoint={AWS}", "endpoint=***"),
        ("max_new_tokens=64", "max_new_tokens=64"),
        ("--model-args", "--model-args"),
        ("http://me:hunter2@host", "http://***@host"),
    ],
)
def test_a_command_line_is_masked_by_value_and_by_name(word: str, shown: str) -> None:
    assert masked_words(word, ["hunter2!"]) == shown


def test_a_record_is_masked_in_its_words_and_nowhere_else() -> None:
    record: dict[str, Any] = {
        "key": "abcd1234" * 8,
        "status": "model_error",
        "text": "the word abcd stays, abcd1234 goes",
        "masks": [{"counts": "abcd1234"}],
        "error": {"type": "E", "message": "wrong password abcd", "traceback": "abcd1234"},
        "seconds": 1.5,
    }
    found = masked_record(record, ["abcd1234", "abcd"])
    assert found == {
        **record,
        "text": "the word abcd stays, *** goes",
        "error": {"type": "E", "message": "wrong password ***", "traceback": "***"},
    }
