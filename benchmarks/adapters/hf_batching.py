"""`hf:` in batches of 8 against transformers' own loop, one question at a time: the same greedy answers, and the time.

The model is a LLaVA of 2 layers with random weights, made on the spot: on a CPU its time is that of calling its parts,
of which a batch does as many for 8 answers as a loop for one.

    python benchmarks/adapters/hf_batching.py [--questions 64] [--tokens 32] [--repeats 3]
"""

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.models.huggingface.adapter import HuggingFace
from harness.records import Media, MediaPart, Request, TextPart, Turn

TARGET = 3.0
BATCH = 8
WORDS = ("mass", "effusion", "fracture of a rib", "calcification", "dilated loop", "device")
SIDES = ("left", "right", "upper left", "lower right", "whole")
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %} {% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


class Picture:
    """An image in memory, as an adapter gets it."""

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels
        self.record = Media(path="", sha256="0", size=pixels.shape[:2])

    def image(self) -> Any:
        """Return uint8 (H, W, 3)."""
        return self.pixels


def make_model(folder: Path) -> None:
    """Write a LLaVA of 2 layers, its processor and its chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tf: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    words = [*special, *map(chr, range(33, 127)), "Ġ"]
    letters = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, [], unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    letters.add_special_tokens(special)
    ends = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_object=letters, **ends)
    size: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 4, "initializer_range": 0.3}
    vision = tf.CLIPVisionConfig(**size, image_size=56, patch_size=14)
    text = tf.LlamaConfig(**size, vocab_size=len(words), bos_token_id=1, eos_token_id=2, pad_token_id=3)
    config = tf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=4, vision_feature_layer=-1)
    images = tf.CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    processor = tf.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    tf.LlavaForConditionalGeneration(config).eval().save_pretrained(folder)


def questions(count: int, tokens: int) -> list[Request]:
    """Return questions of different lengths, each about an image of its own."""
    import numpy as np

    chance = np.random.default_rng(5)
    found = []
    for number in range(count):
        picture: Any = Picture(chance.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        words = f"Is there a {WORDS[number % 6]} in the {SIDES[number % 5]} part of image {number}?"
        turn = Turn(role="user", parts=(MediaPart(media=picture), TextPart(text=words)))
        decoding = {"max_new_tokens": tokens, "temperature": 0.0}
        found.append(Request(messages=(turn,), decoding=decoding, key=str(number)))
    return found


def measure_loop(adapter: HuggingFace, requests: Sequence[Request], tokens: int) -> tuple[float, list[str]]:
    """Return the seconds and the answers of `generate()` on each question alone, as transformers' pages show it."""
    from PIL import Image

    processor, model = adapter.loaded.processor, adapter.loaded.model
    began, answers = time.perf_counter(), []
    for request in requests:
        image = Image.fromarray(request.images[0].image())
        content = [{"type": "image", "image": image}, {"type": "text", "text": request.prompt}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        written = model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
        answers.append(processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return time.perf_counter() - began, answers


def measure_batches(adapter: HuggingFace, requests: Sequence[Request]) -> tuple[float, list[str]]:
    """Return the seconds and the answers of the adapter, BATCH questions at a time."""
    began, answers = time.perf_counter(), []
    for start in range(0, len(requests), BATCH):
        answers += [str(answer.text) for answer in adapter.predict(requests[start : start + BATCH])]
    return time.perf_counter() - began, answers


def main() -> None:
    """Measure both in turn, and print the fastest of each with their ratio."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        adapter = HuggingFace(folder)
        adapter.load("cpu")
    requests = questions(options.questions, options.tokens)
    measure_batches(adapter, requests[:BATCH])
    loops, batches = [], []
    for _ in range(options.repeats):
        seconds, one_by_one = measure_loop(adapter, requests, options.tokens)
        loops.append(seconds)
        seconds, together = measure_batches(adapter, requests)
        batches.append(seconds)
        same = sum(first == second for first, second in zip(one_by_one, together, strict=True))
    ratio = min(loops) / min(batches)
    for name, found in (("transformers, one by one", loops), (f"hf:, batches of {BATCH}", batches)):
        sys.stdout.write(f"{name:26s} {1000 * min(found) / options.questions:7.1f} ms per answer\n")
    sys.stdout.write(f"{same} of {options.questions} answers are the same, {len(set(together))} different\n")
    verdict = "met" if ratio >= TARGET and same == options.questions else "missed"
    sys.stdout.write(f"{ratio:.1f} times as fast; target >= {TARGET} with the same answers: {verdict}\n")


if __name__ == "__main__":
    main()
