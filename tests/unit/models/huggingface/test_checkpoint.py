"""What `hf:` reads from `config.json`: kind, images, likelihoods, and what it says where a model cannot be used."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.models.huggingface import checkpoint
from harness.models.huggingface.adapter import HuggingFace
from harness.models.resolve import build, capabilities_of, identity, parse

LLAVA = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "vision_config": {}}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
CLIP = {"model_type": "clip", "architectures": ["CLIPModel"], "vision_config": {}}
FLORENCE = {
    "model_type": "florence2",
    "architectures": ["Florence2ForConditionalGeneration"],
    "vision_config": {},
    "is_encoder_decoder": True,
}
KOSMOS = {"model_type": "kosmos-2", "architectures": ["Kosmos2ForConditionalGeneration"], "vision_config": {}}


def folder_of(config: Any, folder: Path) -> Path:
    """Write a folder that holds nothing but a configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "arguments", "takes", "gives", "most"),
    [
        (LLAVA, {}, {"text", "image", "images"}, {"text", "boxes", "nll"}, 16),
        (LLAVA, {"max_images": 1}, {"text", "image"}, {"text", "boxes", "nll"}, 1),
        (LLAVA, {"images": "leave_out"}, {"text", "image", "images", "volume"}, {"text", "boxes", "nll"}, 16),
        (LLAMA, {}, {"text"}, {"text", "boxes", "nll"}, 16),
        (LLAMA, {"images": "leave_out"}, {"text", "image", "images", "volume"}, {"text", "boxes", "nll"}, 16),
        (CLIP, {}, {"text", "image"}, {"embedding"}, 1),
        (FLORENCE, {}, {"text", "image"}, {"text", "boxes"}, 1),
        (KOSMOS, {}, {"text", "image"}, {"text", "boxes"}, 1),
    ],
)
def test_capabilities_follow_the_architecture(
    config: Any, arguments: Any, takes: set[str], gives: set[str], most: int, tmp_path: Path
) -> None:
    reference = parse(f"hf:{folder_of(config, tmp_path / 'model')}", arguments)
    found = capabilities_of(reference, build(reference))
    assert (set(found.takes), set(found.gives), found.max_images) == (takes, gives, most)
    assert found.usual_batch == 8
    assert not found.batch_invariant


def test_capabilities_need_no_heavy_library(tmp_path: Path) -> None:
    folder = folder_of(LLAVA, tmp_path / "model")
    program = (
        "import sys; from harness.models.huggingface.adapter import HuggingFace\n"
        f"HuggingFace({str(folder)!r}).capabilities()\n"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_identity_is_the_bytes_of_the_folder_and_the_arguments(tmp_path: Path) -> None:
    def found(name: str, **arguments: Any) -> Any:
        reference = parse(f"hf:{tmp_path / name}", arguments)
        adapter = build(reference)
        return identity(reference, adapter, capabilities_of(reference, adapter))

    for name in ("a", "b"):
        folder_of(LLAMA, tmp_path / name)
    assert found("a") == found("b", device_map="auto", gpus=2) | {"arguments": {}}
    assert found("a")["id"] == "hf"
    assert found("a", trust_remote_code=True)["arguments"] == {"trust_remote_code": True}
    assert found("a", temperature=0.7) != found("a")
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }}")
    (arguments, weights) = (found("a", chat_template=str(template))[name] for name in ("arguments", "weights"))
    assert arguments == {"chat_template": {"sha256": weights[1]}}
    (tmp_path / "b" / "model.safetensors").write_bytes(b"1")
    assert found("a") != found("b")


def test_a_name_on_the_hub_is_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--org--name" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    folder_of(LLAVA, snapshot)
    asked = []

    def download(name: str, file: str, *, revision: str | None) -> str:
        asked.append((name, file, revision))
        return str(snapshot / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    reference = parse("hf:org/name", {"revision": "v1"})
    adapter = build(reference)
    found = identity(reference, adapter, capabilities_of(reference, adapter))
    assert asked == [("org/name", "config.json", "v1")]
    assert found["id"] == "hf:org/name"
    assert isinstance(adapter, HuggingFace)
    assert (adapter.checkpoint.source, adapter.checkpoint.revision) == ("org/name", commit)
    (snapshot / "x.gguf").write_bytes(b"")
    only = checkpoint.find("org/name", revision=None, gguf_file="x.gguf")
    assert (only.gguf_file, only.weights, only.kind) == ("x.gguf", snapshot, "text")
    with pytest.raises(SpecError, match=r"gguf_file: no file y\.gguf in "):
        checkpoint.find("org/name", revision=None, gguf_file="y.gguf")


def test_what_the_hub_does_not_give_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuses(*_: object, **__: object) -> str:
        raise OSError("You are offline.\nTraceback follows")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuses)
    with pytest.raises(SpecError) as caught:
        HuggingFace("org/name")
    assert str(caught.value) == (
        "--model hf:org/name: no folder of this name, and the hub did not give config.json: OSError: You are offline."
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "names BertForMaskedLM of type 'bert'"),
        ({"model_type": "sam", "architectures": ["SamModel"], "vision_config": {}}, "names SamModel of type 'sam'"),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "of type 't5'"),
        ({}, "names no architecture of type None"),
        ([], "config.json: expected an object, found list"),
    ],
)
def test_a_model_that_does_not_answer_is_refused(config: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        HuggingFace(str(folder_of(config, tmp_path)))
    assert str(caught.value).startswith(f"--model hf:{tmp_path}: ")
    assert str(caught.value).endswith(expected)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    expected = "expected config.json in the folder of a model, found none"
    with pytest.raises(SpecError, match=f"{expected}$"):
        HuggingFace(str(tmp_path))
    (tmp_path / "m.gguf").write_bytes(b"")
    with pytest.raises(SpecError, match=rf"{expected}; name the file, as in hf:.*/m\.gguf$"):
        HuggingFace(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(SpecError, match=rf"{expected}; this is a LoRA adapter: merge it into its model first"):
        HuggingFace(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SpecError, match=r"config\.json cannot be read: Expecting property name"):
        HuggingFace(str(tmp_path))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SpecError, match=r"expected the folder of a model or a GGUF file, found the file model\.safet"):
        HuggingFace(str(tmp_path / "model.safetensors"))
    with pytest.raises(SpecError, match=r"hf:/no/such: no such folder; expected one with a config\.json, or a name"):
        HuggingFace("/no/such")
    with pytest.raises(SpecError, match=r"hf:\./no/such: no such folder"):
        HuggingFace("./no/such")


def test_a_gguf_file_is_its_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.Q4_1.GGUF").write_bytes(b"1")
    found = checkpoint.find(str(tmp_path / "m.Q4_1.GGUF"), revision=None, gguf_file=None)
    assert (found.source, found.gguf_file, found.kind) == (str(tmp_path), "m.Q4_1.GGUF", "text")
    assert found.weights == tmp_path / "m.Q4_1.GGUF"
    assert found == checkpoint.find(str(tmp_path), revision=None, gguf_file="m.Q4_1.GGUF")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gguf" else object())
    with pytest.raises(SpecError, match="a GGUF file needs the package gguf; pip install gguf"):
        HuggingFace(str(tmp_path / "m.Q4_1.GGUF"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"dtype": "fp16"}, "dtype: expected auto or float32 or bfloat16 or float16, found 'fp16'"),
        ({"quantization": "2bit"}, "quantization: expected 4bit or 8bit, found '2bit'"),
        ({"quantization": "4bit"}, "quantization: needs the package bitsandbytes; pip install bitsandbytes"),
        ({"trust_remote_code": "yes"}, "trust_remote_code: expected true or false, found 'yes'"),
        ({"device_map": 1}, "device_map: expected text such as auto, or an object, found 1"),
        ({"max_pixels": 0}, "max_pixels: expected a whole number of at least 1, found 0"),
        ({"chat_template": "/no/such"}, "chat_template: no file /no/such; expected a Jinja template"),
        ({"images": "none"}, "images: expected send or leave_out, found 'none'"),
        ({"max_images": True}, "max_images: expected a whole number of at least 1, found True"),
        ({"generation": "x"}, "generation: expected a JSON object, found 'x'"),
        ({"revision": "main"}, "revision: is of a name on the hub, and "),
        ({"top_k": 0.5}, "top_k: expected a whole number of at least 1, or omit, found 0.5"),
        ({"temperature": "hot"}, "temperature: expected a number of at least 0, or omit, found 'hot'"),
        ({"temperature": True}, "temperature: expected a number of at least 0, or omit, found True"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected a whole number of at least 1, or omit, found 0"),
        ({"min_new_tokens": -1}, "min_new_tokens: expected a whole number of at least 0, or omit, found -1"),
    ],
)
def test_arguments_are_checked_before_anything_is_loaded(arguments: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        HuggingFace(str(folder_of(LLAVA, tmp_path)), **arguments)
    assert str(caught.value).startswith(f"--model-args {expected}")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(SpecError, match=r"--model hf: needs torch, not installed; pip install 'medground\[models\]'"):
        HuggingFace(str(folder_of(LLAVA, tmp_path)))
