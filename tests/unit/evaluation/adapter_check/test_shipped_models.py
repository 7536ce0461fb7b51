"""The models that ship with the harness pass the check that it has for those of others."""

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.evaluation.adapter_check.check import check_adapter
from harness.evaluation.adapter_check.faults import AdapterReport
from harness.models.resolve import parse
from tests.support.loopback import Asked, Said, reply, serving

# Answers with words, and with a mask of the image's size in a file, whatever it is asked; without any import of ours.
PROGRAM = """
import json, sys, zlib, struct
def png(path, width, height):
    rows = b"".join(b"\\0" + bytes([255 * (x > y) for x in range(width)]) for y in range(height))
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head))
        file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
takes, gives = ["text", "image", "box"], ["text", "masks"]
print(json.dumps({"ready": True, "takes": takes, "gives": gives, "batch_invariant": True}))
for line in sys.stdin:
    batch, answers = json.loads(line), []
    for number, one in enumerate(batch["requests"]):
        height, width = one["media"][0]["size"]
        path = f"{batch['folder']}/{number}.png"
        png(path, width, height)
        answers.append({"id": one["id"], "text": one["prompt"] + str(one["visual_prompts"]), "masks": [path]})
    print(json.dumps({"answers": answers}))
"""


def checked(model: str, **arguments: Any) -> AdapterReport:
    report = check_adapter(parse(model, arguments), timeout=60.0, device="cpu")
    assert report.faults == []
    assert report.asked
    return report


def test_a_program_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model.py").write_text(PROGRAM)
    assert checked(f"process:{sys.executable} -S {tmp_path}/model.py").notes == []


def test_an_endpoint_passes() -> None:
    def say(asked: Asked, _: int) -> Said:
        return Said(body=reply(f"You asked: {asked.question}"))

    with serving(say) as server:
        checked("openai:m", base_url=server.url)
        assert {len(call.body["messages"]) for call in server.asked} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "clip"])
def test_checkpoints_pass(family: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.support import tiny_hugging_face as tiny

    checked(f"hf:{tiny.make(family, tmp_path / family)}")


@pytest.mark.slow
def test_a_class_of_lm_eval_passes(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    from tests.support import tiny_hugging_face as tiny

    llama = str(tiny.make("llama", tmp_path / "llama"))
    checked("lm-eval:hf", pretrained=llama, images="leave_out", batch_size=4)


@pytest.mark.slow
def test_the_reference_model_passes() -> None:
    pytest.importorskip("torch")
    checked("reference:tiny")
