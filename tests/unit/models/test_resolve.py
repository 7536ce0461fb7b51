"""From the text of `--model` to an adapter, what is said when that fails, and what makes a model that model."""

import hashlib
import json
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, ModelError, SpecError
from harness.models.resolve import ModelReference, build, capabilities_of, identity, parse
from harness.records import Answer, Capabilities, Json, Request, Resources

ADAPTER = """
import sys

from harness.records import Answer, Capabilities


class Parrot:
    version = "2"

    def __init__(self, *, reply="yes", checkpoint=None, device_map="auto"):
        self.reply, self.checkpoint = reply, checkpoint

    def capabilities(self):
        return Capabilities(
            execution_only=frozenset({"device_map"}), weights=() if self.checkpoint is None else (self.checkpoint,)
        )

    def load(self, device):
        self.device = device

    def predict(self, requests):
        return [Answer(text=self.reply) for _ in requests]


def make(name, *, reply="no"):
    return Parrot(reply=name + reply)


class Half:
    def capabilities(self):
        return Capabilities()


class Broken(Parrot):
    def __init__(self):
        raise RuntimeError("no such checkpoint")


class Picky(Parrot):
    def __init__(self):
        from harness.errors import SpecError

        raise SpecError("picky: expected a checkpoint")


class Leaving(Parrot):
    def __init__(self):
        sys.exit(0)


_private = 3
"""


@pytest.fixture
def adapter_file(tmp_path: Path) -> Path:
    path = tmp_path / "my_model.py"
    path.write_text(ADAPTER, encoding="utf-8")
    return path


def built(text: str, /, **arguments: Json) -> Any:
    return build(parse(text, arguments))


def refusal(text: str, /, **arguments: Json) -> str:
    with pytest.raises(HarnessError) as caught:
        built(text, **arguments)
    return str(caught.value)


# --- finding and building


def test_a_class_of_a_file_is_built_with_its_arguments(adapter_file: Path) -> None:
    model = built(f"{adapter_file}:Parrot", reply="no")
    model.load("cpu")
    assert [answer.text for answer in model.predict([Request(), Request()])] == ["no", "no"]


def test_a_reference_carries_the_source_and_needs_the_file_no_more(adapter_file: Path) -> None:
    reference = parse(f"{adapter_file}:Parrot", {"reply": "maybe"})
    assert reference.source == ADAPTER
    adapter_file.unlink()
    assert build(reference).predict([Request()])[0].text == "maybe"


def test_the_same_source_is_one_module(adapter_file: Path) -> None:
    assert type(built(f"{adapter_file}:Parrot")) is type(built(f"{adapter_file}:Parrot"))


def test_a_file_beside_the_adapter_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "beside_the_adapter.py").write_text("REPLY = 'from beside'\n")
    (tmp_path / "model.py").write_text(f"import beside_the_adapter\n{ADAPTER}\nANSWER = beside_the_adapter.REPLY\n")
    model = built(f"{tmp_path / 'model.py'}:Parrot")
    assert sys.modules[type(model).__module__].ANSWER == "from beside"


def test_a_dotted_class_is_imported() -> None:
    assert built("harness.models.scripted:Scripted", text="yes").text == "yes"


def test_a_function_may_build_the_adapter_and_take_the_argument(
    adapter_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(adapter_file.parent))
    entry = metadata.EntryPoint(name="parrot", value="my_model:make", group="medground.models")
    monkeypatch.setattr(metadata, "entry_points", lambda group: (entry,) if group == entry.group else ())
    assert built("parrot:very", reply="!").reply == "very!"
    assert "parrot" in refusal("parot")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("basline:otsu", "importing it failed: No module named 'basline' (did you mean 'baseline'?)"),
        (
            "basline",
            "reference, sam-med2d (`harness list models`), path/file.py:Class or package.module:Class "
            "(did you mean 'baseline'?)",
        ),
        ("nowhere/model.py:Parrot", "no file nowhere/model.py; expected path/to/file.py:ClassName"),
        ("no_such_package.module:Parrot", "importing it failed: No module named 'no_such_package'"),
        (
            "harness.models.scripted:Scriptd",
            "harness.models.scripted has no class 'Scriptd' (did you mean 'Scripted'?)",
        ),
        (
            "harness.models.scripted:HANG_SECONDS",
            "harness.models.scripted has no class 'HANG_SECONDS'; it has Scripted",
        ),
        ("predictions", "missing a required argument: 'file'; it accepts file"),
    ],
)
def test_a_reference_that_means_nothing_says_what_would(reference: str, expected: str) -> None:
    message = refusal(reference)
    assert message.startswith(f"--model {reference}: ")
    assert expected in message


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "expected"),
    [
        ("", {}, SpecError, "my_model.py: expected the class behind the file, as in "),
        (
            ":Parott",
            {},
            SpecError,
            "my_model.py has no class 'Parott' (did you mean 'Parrot'?); it has Parrot, Half, Broken, Picky, Leaving",
        ),
        (
            ":Parrot",
            {"repply": "no"},
            SpecError,
            "an unexpected keyword argument 'repply' (did you mean 'reply'?); it accepts reply, checkpoint, device_map",
        ),
        (":Half", {"a": 1}, SpecError, "got an unexpected keyword argument 'a'; it accepts no arguments"),
        (
            ":Half",
            {},
            ModelError,
            "Half has no load(), predict(); an adapter needs capabilities(), load(), predict(), see docs/add-a-model",
        ),
        (":Broken", {}, ModelError, "building it failed: RuntimeError: no such checkpoint"),
        (":Picky", {}, SpecError, "picky: expected a checkpoint"),
        (":Leaving", {}, ModelError, "building it failed: SystemExit: it calls sys.exit(0)"),
        (":_private", {}, SpecError, "my_model.py has no class '_private'"),
    ],
)
def test_an_adapter_that_cannot_be_built_says_why(
    name: str, arguments: dict[str, Json], kind: type[HarnessError], expected: str, adapter_file: Path
) -> None:
    with pytest.raises(kind) as caught:
        built(f"{adapter_file}{name}", **arguments)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("source", "kind", "expected"),
    [
        ("import no_such_package\n", SpecError, "importing it failed: No module named 'no_such_package'"),
        ("def (:\n", ModelError, "importing it failed: SyntaxError: "),
        ("1 / 0\n", ModelError, "importing it failed: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit()\n", ModelError, "importing it failed: SystemExit: it calls sys.exit()"),
        ("raise SystemExit('no GPU')\n", ModelError, "importing it failed: SystemExit: it calls sys.exit('no GPU')"),
        ("import asyncio; raise asyncio.CancelledError\n", ModelError, "importing it failed: CancelledError: "),
        ("from harness.records import Answer\n", SpecError, "has no class 'Model'; it has no class"),
    ],
)
def test_a_file_that_cannot_be_run_says_why(
    source: str, kind: type[HarnessError], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "model.py").write_text(source)
    for _ in range(2):  # a module that failed is not taken for one that did not
        with pytest.raises(kind) as caught:
            built(f"{tmp_path / 'model.py'}:Model")
        assert expected in str(caught.value)


def test_a_function_that_is_no_model_and_ends_the_program_is_refused() -> None:
    assert refusal("sys:exit") == "--model sys:exit: building it failed: SystemExit: it calls sys.exit()"


def test_ctrl_c_while_a_model_is_imported_or_built_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        built(f"{tmp_path / 'model.py'}:Model")
    with pytest.raises(KeyboardInterrupt):
        capabilities_of(REFERENCE, Declares(KeyboardInterrupt()))


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_bytes(b"\xff\xfe")
    assert "model.py is not UTF-8 text: " in refusal(f"{tmp_path / 'model.py'}:Model")


# --- capabilities


class Declares:
    def __init__(self, declared: object) -> None:
        self.declared = declared

    def capabilities(self) -> Any:
        if isinstance(self.declared, BaseException):
            raise self.declared
        return self.declared

    def load(self, device: str) -> None: ...

    def predict(self, requests: Any) -> list[Answer]:
        return [Answer() for _ in requests]


REFERENCE = ModelReference(text="m.py:M", target="m.py:M")


def test_capabilities_may_be_any_known_words() -> None:
    declared = Capabilities(takes=frozenset({"text", "prior"}), gives=frozenset({"masks"}), per_sample=True)
    assert capabilities_of(REFERENCE, Declares(declared)) is declared


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"takes": ["text"]}, " returned dict, expected Capabilities"),
        (RuntimeError("no config"), " failed: RuntimeError: no config"),
        (SystemExit(0), " failed: SystemExit: it calls sys.exit(0)"),
        (GeneratorExit("gone"), " failed: GeneratorExit: gone"),
        (
            Capabilities(takes=frozenset({"text", "txet"})),
            ".takes: expected some of box, image, images, point, prior, region, target, text, volume, found 'txet' "
            "(did you mean 'text'?)",
        ),
        (Capabilities(gives=frozenset({"mask"})), ".gives: expected some of boxes, embedding, masks, nll, text, found"),
        (Capabilities(gives="text"), ".gives: expected a set of words, found 'text'"),  # type: ignore[arg-type]
        (Capabilities(takes=["text"]), ".takes: expected a set of words, found ['text']"),  # type: ignore[arg-type]
        (Capabilities(takes=frozenset({"target"})), ".takes: prior and target need per_sample=True"),
        (Capabilities(max_batch=0), ".max_batch: expected a whole number of at least 1, found 0"),
        (
            Capabilities(max_batch=4, usual_batch=5),
            ".usual_batch: expected a whole number from 1 to max_batch (4), found 5",
        ),
        (Capabilities(sends_data_to=" "), ".sends_data_to: expected the name of a host, or None, found ' '"),
        (Capabilities(max_images=1.5), ".max_images: expected a whole number of at least 1, found 1.5"),  # type: ignore[arg-type]
        (
            Capabilities(resources=Resources(gpus=1.5)),
            ".resources.gpus: expected a whole number, or a fraction of one G",
        ),
        (Capabilities(resources=Resources(gpus=-1)), ".resources.gpus: expected a number of at least 0, found -1"),
        (Capabilities(resources=Resources(cpus=float("nan"))), ".resources.cpus: expected a number of at least 0, f"),
        (Capabilities(resources=Resources(cpus=None)), ".resources.cpus: expected a number of at least 0, found None"),  # type: ignore[arg-type]
        (Capabilities(resources={"gpus": 1}), ".resources: expected Resources, found {'gpus': 1}"),  # type: ignore[arg-type]
        (Capabilities(weights="model.bin"), ".weights: expected a tuple of paths"),  # type: ignore[arg-type]
        (Capabilities(execution_only="device"), ".execution_only: expected a set of argument names"),  # type: ignore[arg-type]
    ],
)
def test_capabilities_that_the_harness_does_not_know_are_named(declared: object, expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        capabilities_of(REFERENCE, Declares(declared))
    assert str(caught.value).startswith(f"--model m.py:M: capabilities(){expected}")


def test_an_adapters_own_refusal_stands() -> None:
    with pytest.raises(SpecError, match=r"^no such preset$"):
        capabilities_of(REFERENCE, Declares(SpecError("no such preset")))


# --- identity


def identified(text: str, /, *, memory: Path | None = None, **arguments: Json) -> dict[str, Json]:
    reference = parse(text, arguments)
    adapter = build(reference)
    return identity(reference, adapter, capabilities_of(reference, adapter), memory=memory)


def test_the_identity_holds_what_decides_an_answer(adapter_file: Path, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"w")
    digest = hashlib.sha256(b"w").hexdigest()
    arguments: dict[str, Json] = {"reply": "no", "checkpoint": str(tmp_path / "w.bin"), "device_map": "cpu"}
    assert identified(f"{adapter_file}:Parrot", **arguments) == {
        "id": "my_model:Parrot",
        "version": "2",
        "source_sha256": hashlib.sha256(ADAPTER.encode()).hexdigest(),
        "arguments": {"reply": "no", "checkpoint": {"sha256": digest}},
        "weights": [digest],
    }


def test_each_part_of_a_model_changes_its_identity(adapter_file: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"w")
    text, base = f"{adapter_file}:Parrot", {"checkpoint": str(weights), "reply": "yes"}
    seen = [identified(text, **base)]
    seen.append(identified(text, **{**base, "reply": "no"}))
    weights.write_bytes(b"v")
    seen.append(identified(text, **base))
    adapter_file.write_text(ADAPTER + "# changed\n")
    seen.append(identified(text, **base))
    adapter_file.write_text(ADAPTER.replace('version = "2"', 'version = "3"'))
    seen.append(identified(text, **base))
    adapter_file.rename(tmp_path / "other.py")
    seen.append(identified(f"{tmp_path / 'other.py'}:Parrot", **base))
    assert len({json.dumps(item, sort_keys=True) for item in seen}) == len(seen)


def test_paths_and_execution_only_arguments_change_nothing(adapter_file: Path, tmp_path: Path) -> None:
    for name in ("a/w.bin", "b/v.bin"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"w")
    moved = shutil.copy(adapter_file, tmp_path / "b" / adapter_file.name)
    first = identified(f"{adapter_file}:Parrot", checkpoint=str(tmp_path / "a/w.bin"), device_map="cpu")
    second = identified(f"{moved}:Parrot", checkpoint=str(tmp_path / "b/v.bin"), device_map="cuda")
    assert first == second


def test_a_predictions_file_counts_by_its_bytes_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("p.jsonl", "q.jsonl"):
        (tmp_path / name).write_text('{"sample_id": "s/1", "text": "yes"}\n')
    found = [identified(f"predictions:{path}") for path in ("p.jsonl", tmp_path / "q.jsonl")]
    assert found[0] == found[1]
    assert found[0]["id"] == "predictions"
    assert str(tmp_path) not in json.dumps(identified("predictions", file="p.jsonl"))
    (tmp_path / "p.jsonl").write_text('{"sample_id": "s/1", "text": "no"}\n')
    assert identified("predictions:p.jsonl") != found[1]


def test_weights_of_one_name_and_exchanged_weights_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / "a/w.bin", tmp_path / "b/w.bin"]
    for path, content in zip(paths, (b"a", b"b"), strict=True):
        path.parent.mkdir()
        path.write_bytes(content)

    def told(*order: Path) -> dict[str, Json]:
        names = [str(path) for path in order]
        reference = ModelReference(text="m:M", target="m:M", arguments={"files": names})
        return identity(reference, Declares(None), Capabilities(weights=tuple(names)))

    first = told(*paths)
    assert first["weights"] == [hashlib.sha256(content).hexdigest() for content in (b"a", b"b")]
    assert first["arguments"] == {"files": [{"sha256": digest} for digest in first["weights"]]}
    assert told(*reversed(paths)) != first


def test_weights_digests_are_remembered_where_the_caller_says(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"sample_id": "s/1"}\n')
    os.utime(file, (1_600_000_000, 1_600_000_000))
    found = identified(f"predictions:{file}", memory=tmp_path / "memory")
    assert len(list((tmp_path / "memory").iterdir())) == 1
    assert found == identified(f"predictions:{file}")


def test_a_built_in_model_is_known_by_name_and_argument() -> None:
    assert identified("baseline:otsu")["id"] == "baseline:otsu"
    assert identified("scripted", text="yes", sleep=1)["arguments"] == {"text": "yes"}
