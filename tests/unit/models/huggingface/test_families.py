"""Every family of docs/hugging-face.md on a checkpoint made here: its answers are those of calling transformers."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.models.huggingface.adapter import HuggingFace
from harness.records import Answer, Request

pytest.importorskip("transformers")

import torch
from PIL import Image

from tests.support import tiny_hugging_face as tiny

# PaliGemma's processor makes an array of a tensor in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
QUESTIONS = 12
# These alone run every time; what the others add is a class of transformers.
EVERY_TIME = ("llava",)
SEVERAL_IMAGES = ("gemma3", "idefics3", "internvl", "llava", "llava_next", "mllama", "qwen2_5_vl", "qwen3_vl")
SCORING = (*SEVERAL_IMAGES, "paligemma")
IMAGE_TEXT = (*SCORING, "florence2", "kosmos2")
# Tokens that say where something is stay in the text.
PLACES = re.compile(r"<\|box|<loc")
# Without a chat template: what stands before the words in the examples of their authors.
PLAIN = {"paligemma": "<image>", "florence2": "", "kosmos2": ""}
DUAL = ("clip", "siglip")
CANDIDATES = (" yes.", " no.", " a large mass in the lung", "x")

Test = TypeVar("Test", bound=Callable[..., None])


def families(names: tuple[str, ...], every_time: tuple[str, ...] = EVERY_TIME) -> Callable[[Test], Test]:
    """Return the parameters of a test: most families are slow."""
    marks = {name: () if name in every_time else (pytest.mark.slow,) for name in names}
    return pytest.mark.parametrize("family", [pytest.param(name, marks=marks[name]) for name in names])


def texts(answers: list[Answer]) -> list[str | None]:
    """Return the words, after a look whether there are any errors."""
    assert [answer.error for answer in answers] == [None] * len(answers)
    return [answer.text for answer in answers]


def by_transformers(family: str, adapter: HuggingFace, request: Request) -> list[int]:
    """Return the tokens that `generate()` writes for what the model's own processor makes of a question."""
    model, words = adapter.loaded.model, request.prompt
    pictures = [Image.fromarray(image.image()) for image in request.images]
    if family in PLAIN:
        inputs = adapter.loaded.processor(text=PLAIN[family] + words, images=pictures[0], return_tensors="pt")
    else:
        content: Any = [*({"type": "image", "image": image} for image in pictures), {"type": "text", "text": words}]
        inputs = (adapter.loaded.processor or adapter.loaded.tokenizer).apply_chat_template(
            [{"role": "user", "content": content if adapter.loaded.processor is not None else words}],
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
            return_tensors="pt",
        )
    inputs.pop("labels", None)
    start = 1 if family == "florence2" else inputs["input_ids"].shape[1]
    return list(model.generate(**inputs, do_sample=False, max_new_tokens=8)[0, start:].tolist())


@families((*IMAGE_TEXT, "llama"), ("llava", "llama"))
def test_greedy_answers_are_those_of_transformers_in_batches_of_any_size(family: str, loaded: Any) -> None:
    adapter = loaded(family)
    images = tiny.pictures(QUESTIONS)
    shown = [[image] if family in IMAGE_TEXT else [] for image in images]
    requests = [tiny.asked(number, own) for number, own in enumerate(shown)]
    together = adapter.predict(requests)
    assert texts(adapter.predict(requests[:8]) + adapter.predict(requests[8:])) == texts(together)
    assert texts([adapter.predict([request])[0] for request in requests]) == texts(together)
    for request, answer in zip(requests, together, strict=True):
        tokens = by_transformers(family, adapter, request)
        ended = tiny.EOS in tokens
        assert answer.usage["completion_tokens"] == len(tokens)
        assert answer.status == ("ok" if ended else "truncated")
        own = adapter.loaded.tokenizer
        known = own.added_tokens_decoder
        special = {id_ for id_ in known if known[id_].special and not PLACES.match(known[id_].content)}
        assert answer.text == own.decode([token for token in tokens if token not in special])
        assert answer.rendered is not None
        assert request.prompt in answer.rendered
    assert len(set(texts(together))) >= 8


@families(IMAGE_TEXT)
def test_another_image_gives_another_answer(family: str, loaded: Any) -> None:
    images = tiny.pictures(QUESTIONS)
    own = texts(loaded(family).predict([tiny.asked(place, [images[place]]) for place in range(QUESTIONS)]))
    other = texts(loaded(family).predict([tiny.asked(place, [images[place - 5]]) for place in range(QUESTIONS)]))
    assert sum(first != second for first, second in zip(own, other, strict=True)) >= 8


@families(SEVERAL_IMAGES)
def test_requests_with_none_one_and_two_images_share_a_batch(family: str, loaded: Any) -> None:
    images = tiny.pictures(4)
    requests = [tiny.asked(number, images[: number % 3]) for number in range(6)]
    answers = texts(loaded(family).predict(requests))
    assert answers == texts([loaded(family).predict([request])[0] for request in requests])
    assert answers[2] == loaded(family).loaded.tokenizer.decode(
        by_transformers(family, loaded(family), requests[2]), skip_special_tokens=True
    )
    for other in ([images[0], images[3]], [images[3], images[1]]):
        assert texts(loaded(family).predict([tiny.asked(2, other)])) != answers[2:3]


@families((*SCORING, "llama"), ("llava", "llama"))
def test_likelihoods_are_those_of_one_pass_over_question_and_option(family: str, loaded: Any) -> None:
    adapter = loaded(family)
    images = tiny.pictures(1) if family != "llama" else []
    request = tiny.asked(1, images, kind="nll", candidates=CANDIDATES)
    (answer,) = adapter.predict([request])
    assert answer.error is None
    inputs = adapter.prompter.inputs([adapter.prompter.prompt(request)])
    length = inputs["input_ids"].shape[1]
    for candidate, nll, count in zip(CANDIDATES, answer.nll, answer.nll_tokens, strict=True):
        own = torch.tensor([adapter.loaded.tokenizer(candidate, add_special_tokens=False)["input_ids"]])
        whole = {**inputs, "input_ids": torch.cat([inputs["input_ids"], own], dim=1)}
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        for name in ("token_type_ids", "mm_token_type_ids"):
            if name in whole:
                # PaliGemma reads its question in both directions, and tells it from what follows by this type.
                kind = torch.full_like(own, int(family == "paligemma"))
                whole[name] = torch.cat([whole[name], kind], dim=1)
        if (tiles := inputs.get("cross_attention_mask")) is not None:
            last = tiles[:, -1:].expand(-1, own.shape[1], -1, -1)
            whole["cross_attention_mask"] = torch.cat([tiles, last], dim=1)
        with torch.inference_mode():
            logits = adapter.loaded.model(**whole).logits[:, length - 1 : -1]
        expected = torch.nn.functional.cross_entropy(logits[0], own[0]).item()
        assert nll == pytest.approx(expected, abs=1e-5)
        assert count == own.shape[1]
    # After as well as before a batch of answers: some models remember the positions of their last inputs.
    adapter.predict([tiny.asked(number, images) for number in range(3)])
    assert adapter.predict([request])[0].nll == answer.nll


@families(DUAL, ("clip",))
def test_vectors_are_those_of_the_model(family: str, loaded: Any) -> None:
    adapter = loaded(family)
    images = tiny.pictures(6)
    texts = [f"{tiny.QUESTIONS[number % 4]} {number}" for number in range(6)]
    requests = [
        tiny.asked(number, [image], kind="embed", wants=("embedding",), candidates=(text,))
        for number, (image, text) in enumerate(zip(images, texts, strict=True))
    ]
    answers = adapter.predict(requests)
    assert [answer.error for answer in answers] == [None] * 6
    model, processor = adapter.loaded.model, adapter.loaded.processor
    for image, text, answer in zip(images, texts, answers, strict=True):
        padding = "max_length" if family == "siglip" else True
        inputs = processor(
            images=Image.fromarray(image.image()),
            text=[text],
            padding=padding,
            truncation=True,
            max_length=48,
            return_tensors="pt",
        )
        with torch.inference_mode():
            found = model(**inputs)
        for vector, expected in zip(answer.embedding, (found.image_embeds, found.text_embeds), strict=True):
            unit = torch.tensor(vector) / torch.tensor(vector).norm()
            assert torch.allclose(unit, expected[0], atol=1e-5)
    assert len({tuple(answer.embedding[0]) for answer in answers}) == 6


def test_the_tests_and_the_docs_name_the_same_families() -> None:
    page = (Path(__file__).parents[4] / "docs/hugging-face.md").read_text(encoding="utf-8")
    table = page.partition("## Families")[2].partition("## Arguments")[0]
    listed = set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) - {"model_type"}
    assert {name.replace("-", "") for name in listed} == {*IMAGE_TEXT, *DUAL, "llama"} == set(tiny.FAMILIES)
