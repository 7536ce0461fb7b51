"""Models given from Python as a class or an object: what they are called, and when two are the same model."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.models.given import reference_to
from harness.models.resolve import ONLY_THIS, build, capabilities_of, find_factory, identity
from harness.records import Answer, Capabilities, Request
from harness.records.codec import sha256_text


class Echo:
    """Says one thing."""

    def __init__(self, reply: str = "yes") -> None:
        self.reply = reply

    def capabilities(self) -> Capabilities:
        """Words for words."""
        return Capabilities(takes=frozenset({"text", "image"}), gives=frozenset({"text"}))

    def load(self, device: str) -> None:
        """Nothing."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """The reply."""
        return [Answer(text=self.reply) for _ in requests]


class Slotted(Echo):
    """Without attributes that can be read."""

    __slots__ = ()


def _identity(model: object, **arguments: str) -> dict[str, object]:
    reference = reference_to(model, arguments)
    adapter = build(reference)
    return identity(reference, adapter, capabilities_of(reference, adapter))


def test_a_class_counts_by_the_bytes_of_its_file_and_its_arguments() -> None:
    found = _identity(Echo, reply="no")
    assert found["id"] == "test_given:Echo"
    assert found["source_sha256"] == sha256_text(Path(__file__).read_text(encoding="utf-8"))
    assert found["arguments"] == {"reply": "no"}
    assert found == _identity(Echo, reply="no")
    assert found != _identity(Echo)


def test_an_object_is_used_as_it_is_and_counts_by_its_attributes() -> None:
    model = Echo("no")
    reference = reference_to(model, {})
    assert build(reference) is model
    assert find_factory(reference) is Echo
    assert _identity(model) == _identity(Echo("no")) == _identity(Echo, reply="no")
    assert _identity(model) != _identity(Echo("yes"))


def test_paths_and_tuples_are_attributes_like_others() -> None:
    model = Echo()
    model.folder, model.sizes = Path("w"), (1, 2)  # type: ignore[attr-defined]
    assert _identity(model)["arguments"] == {"reply": "yes", "folder": "w", "sizes": [1, 2]}


def test_what_cannot_be_told_makes_every_evaluation_one_of_its_own() -> None:
    model = Echo()
    model.network = object()  # type: ignore[attr-defined]
    assert _identity(model)["arguments"].keys() == {ONLY_THIS}  # type: ignore[attr-defined]
    assert _identity(model) != _identity(model)


def test_a_class_without_a_file_is_built_with_its_own_arguments_and_never_the_same() -> None:
    kind = type("Made", (Echo,), {"__module__": "__no_such_module__"})
    found = _identity(kind, reply="no")
    assert (found["id"], found["source_sha256"]) == ("Made", None)
    assert found != _identity(kind, reply="no")
    assert build(reference_to(kind, {"reply": "no"})).reply == "no"  # type: ignore[attr-defined]


def test_a_built_object_takes_no_arguments() -> None:
    with pytest.raises(SpecError, match="model_args: the Echo is built already; give the class, Echo, and its arg"):
        reference_to(Echo(), {"reply": "no"})


def test_a_wrong_argument_of_a_class_is_named() -> None:
    with pytest.raises(SpecError, match=r"--model test_given:Echo: .*'replies' \(did you mean 'reply'\?\)"):
        build(reference_to(Echo, {"replies": "no"}))


@pytest.mark.parametrize("model", [None, 3, {"id": "m"}])
def test_what_can_be_no_adapter_is_shown(model: object) -> None:
    with pytest.raises(
        SpecError, match=r"^model: expected a reference such as 'baseline:otsu', .*, found (None|3|\{'id)"
    ):
        reference_to(model, {})
