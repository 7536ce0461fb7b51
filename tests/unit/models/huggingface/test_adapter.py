"""`hf:` on small checkpoints: settings, the end of an answer, what is shown, and what is said of what fails."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from harness.errors import DataError, ModelError
from harness.models.huggingface.adapter import HuggingFace
from harness.models.huggingface.settings import generation_arguments
from harness.records import Answer, Request, TextPart, Turn
from tests.support import tiny_hugging_face as tiny

Load = Callable[[str], HuggingFace]
Folder = Callable[[str], Path]


def load(folder: Path, **arguments: Any) -> HuggingFace:
    """Return an adapter with arguments of its own."""
    adapter = HuggingFace(str(folder), **arguments)
    adapter.load("cpu")
    return adapter


def one(adapter: HuggingFace, request: Request) -> Answer:
    """Return the answer to one request, which is no error."""
    (answer,) = adapter.predict([request])
    assert answer.error is None, answer.error
    return answer


def refused(adapter: HuggingFace, request: Request) -> str:
    """Return the message of a request that cannot be answered."""
    (answer,) = adapter.predict([request])
    assert answer.error is not None
    assert answer.error.type == "ModelError"
    return answer.error.message


@pytest.mark.parametrize(
    ("decoding", "overrides", "further", "expected"),
    [
        ({"max_new_tokens": 8, "temperature": 0.0}, {}, {}, {"max_new_tokens": 8, "do_sample": False}),
        ({"temperature": 0, "top_p": 0.9, "top_k": 5}, {}, {}, {"do_sample": False}),
        ({"temperature": 0.7, "top_p": 0.9}, {}, {}, {"temperature": 0.7, "top_p": 0.9, "do_sample": True}),
        ({"temperature": 0.0}, {"temperature": 1.5}, {}, {"temperature": 1.5, "do_sample": True}),
        ({"temperature": 0.0, "max_new_tokens": 8}, {"temperature": "omit"}, {}, {"max_new_tokens": 8}),
        ({"max_new_tokens": 8}, {"max_new_tokens": "omit"}, {"length_penalty": 2}, {"length_penalty": 2}),
        (
            {"num_beams": 3, "repetition_penalty": 1.1, "min_new_tokens": 2},
            {"num_beams": 2},
            {"num_beams": 4},
            {"num_beams": 4, "repetition_penalty": 1.1, "min_new_tokens": 2},
        ),
    ],
)
def test_settings_of_the_task_are_replaced_in_order(
    decoding: Any, overrides: Any, further: Any, expected: dict[str, Any]
) -> None:
    assert generation_arguments(decoding, overrides, further) == expected


def test_settings_reach_the_model(folder: Folder, loaded: Load) -> None:
    usual = one(loaded("llama"), tiny.asked(0, []))
    longer = one(load(folder("llama"), max_new_tokens=11), tiny.asked(0, []))
    assert longer.usage["completion_tokens"] == 11
    assert (longer.text or "").startswith(usual.text or "?")
    penalised = load(folder("llama"), generation={"repetition_penalty": 5.0})
    written = [one(penalised, tiny.asked(number, [], decoding={"max_new_tokens": 20})).text for number in range(4)]
    assert all(len(set(text or "")) == len(text or "") for text in written)


def test_an_answer_ends_at_the_end_token_or_is_truncated(folder: Folder) -> None:
    longest = {"max_new_tokens": 20, "temperature": 0.0}
    ends = [tiny.EOS, *range(10, 20)]
    adapter = load(folder("llama"), generation={"eos_token_id": ends})
    answers = adapter.predict([tiny.asked(number, [], decoding=longest) for number in range(12)])
    ended = [answer for answer in answers if answer.status == "ok" and answer.usage["completion_tokens"] > 1]
    assert ended
    assert all(answer.usage["completion_tokens"] < 20 for answer in ended)
    assert all(answer.usage["completion_tokens"] == 20 for answer in answers if answer.status == "truncated")
    exact = {"max_new_tokens": ended[0].usage["completion_tokens"], "temperature": 0.0}
    number = answers.index(ended[0])
    assert one(adapter, tiny.asked(number, [], decoding=exact)).status == "ok"
    short = {"max_new_tokens": ended[0].usage["completion_tokens"] - 1, "temperature": 0.0}
    assert one(adapter, tiny.asked(number, [], decoding=short)).status == "truncated"


def test_requests_with_other_settings_share_no_batch(loaded: Load) -> None:
    requests = [tiny.asked(number, [], decoding={"max_new_tokens": 3 + number % 2}) for number in range(6)]
    lengths = [answer.usage["completion_tokens"] for answer in loaded("llama").predict(requests)]
    assert lengths == [3, 4] * 3


def test_sampled_answers_follow_from_the_keys(folder: Folder) -> None:
    def answers(*keys: str) -> list[str | None]:
        adapter = load(folder("llama"), temperature=1.0)
        return [answer.text for answer in adapter.predict([tiny.asked(1, [], key=key) for key in keys])]

    assert answers("a", "b") == answers("a", "b")
    assert len({*answers("a", "b"), *answers("c", "d")}) == 4


def test_a_question_longer_than_the_model_is_an_error_of_its_own(loaded: Load) -> None:
    long = Request(
        messages=(Turn(role="user", parts=(TextPart(text="x" * 2100),)),), decoding=tiny.asked(0, []).decoding, key="x"
    )
    short = tiny.asked(0, [])
    answers = loaded("llama").predict([short, long])
    assert answers[0] == one(loaded("llama"), short)
    assert refused(loaded("llama"), long) == (
        "the question has 2117 tokens, images included; the model reads at most 2047"
    )
    assert answers[1].error is not None
    scored = replace(long, kind="nll", candidates=("yes", "x"))
    assert refused(loaded("llama"), scored) == (
        "the question has 2117 tokens, images included, and the longest option 3; the model reads at most 2048"
    )


def test_an_answer_ends_at_the_last_position_of_the_model(loaded: Load) -> None:
    words = "x" * (2048 - 17 - 3)
    request = Request(messages=(Turn(role="user", parts=(TextPart(text=words),)),), decoding={"max_new_tokens": 8})
    (long, short) = loaded("llama").predict([request, tiny.asked(0, [], decoding={"max_new_tokens": 8})])
    assert (long.status, long.usage["completion_tokens"]) == ("truncated", 3)
    assert short == one(loaded("llama"), tiny.asked(0, [], decoding={"max_new_tokens": 8}))


def test_a_system_sentence_stands_before_the_question(folder: Folder) -> None:
    (image,) = tiny.pictures(1)
    answer = one(load(folder("llava"), system="Be brief."), tiny.asked(0, [image]))
    assert answer.rendered == "system: Be brief. user: <image>what is this? 0 assistant:"


def test_images_are_left_out_on_request(folder: Folder, loaded: Load) -> None:
    images = tiny.pictures(2)
    blind = load(folder("llava"), images="leave_out")
    first, second = (one(blind, tiny.asked(0, [image])) for image in images)
    assert first == second == one(loaded("llava"), tiny.asked(0, []))
    assert first.rendered == "user: what is this? 0 assistant:"


def test_large_images_are_reduced_to_max_pixels(folder: Folder, loaded: Load) -> None:
    (image,) = tiny.pictures(1)
    few = load(folder("llava"), max_pixels=100)
    reduced = few.prompter.image(image)
    assert 80 < reduced.width * reduced.height <= 100
    assert reduced.width / reduced.height == pytest.approx(image.pixels.shape[1] / image.pixels.shape[0], rel=0.2)
    assert one(few, tiny.asked(0, [image])).text != one(loaded("llava"), tiny.asked(0, [image])).text
    assert load(folder("llava"), max_pixels=10**6).prompter.image(image).size == image.pixels.shape[1::-1]


@pytest.mark.slow
def test_models_of_the_qwen_kind_limit_the_pixels_themselves(folder: Folder, loaded: Load) -> None:
    (image,) = tiny.pictures(1)
    few = load(folder("qwen2_5_vl"), max_pixels=28 * 28)
    assert few.prompter.image(image).size == image.pixels.shape[1::-1]
    usual, less = (one(adapter, tiny.asked(0, [image])).usage for adapter in (loaded("qwen2_5_vl"), few))
    assert less["prompt_tokens"] < usual["prompt_tokens"]


def test_a_chat_template_of_the_users_own(folder: Folder, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("Q: {{ messages[0]['content'] }} A:")
    answer = one(load(folder("llama"), chat_template=str(template)), tiny.asked(0, []))
    assert answer.rendered == "Q: what is this? 0 A:"
    template.write_text("{{ raise_exception('no system role') }}")
    message = refused(load(folder("llama"), chat_template=str(template)), tiny.asked(0, []))
    assert message == "the model's chat template cannot write this conversation: no system role"


def test_a_model_without_a_chat_template_gets_the_words(folder: Folder) -> None:
    plain = load(folder("llama"), system="Answer.")
    plain.loaded.tokenizer.chat_template = None
    answer = one(plain, tiny.asked(0, []))
    assert answer.rendered == "Answer.\nwhat is this? 0"


def test_options_are_scored_many_at_a_time(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.models.huggingface import likelihood

    options = (*(f" option {number}" for number in range(7)), "y")
    request = tiny.asked(0, tiny.pictures(1), kind="nll", candidates=options)
    whole = one(loaded("llava"), request)
    monkeypatch.setattr(likelihood, "AT_ONCE", 3)
    parts = one(loaded("llava"), request)
    assert parts.nll == pytest.approx(whole.nll, abs=1e-6)
    assert whole.nll_tokens == [9] * 7 + [1]
    assert whole.usage["completion_tokens"] == 64
    assert one(loaded("llava"), replace(request, candidates=options[::-1])).nll == pytest.approx(whole.nll[::-1])


def test_the_question_is_read_once_whatever_the_number_of_options(
    loaded: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded("llava").loaded.model
    seen: list[int] = []
    tower = model.model.vision_tower
    own = tower.forward

    def counted(*given: Any, **named: Any) -> Any:
        seen.append(1)
        return own(*given, **named)

    monkeypatch.setattr(tower, "forward", counted)
    request = tiny.asked(0, tiny.pictures(1), kind="nll", candidates=("yes", "no", "perhaps", "never"))
    one(loaded("llava"), request)
    assert seen == [1]


def test_an_option_without_a_token_is_an_error(loaded: Load) -> None:
    request = tiny.asked(0, [], kind="nll", candidates=("yes", ""))
    assert refused(loaded("llama"), request) == "the model's tokenizer makes no token of the option ''"


def test_embedding_takes_one_image_and_one_text(loaded: Load) -> None:
    images = tiny.pictures(2)
    request = tiny.asked(0, images[:1], kind="embed", candidates=("a chest radiograph",))
    wrong = replace(request, candidates=("a", "b"))
    (answer, failed) = loaded("clip").predict([request, wrong])
    assert len(answer.embedding) == 2
    assert failed.error is not None
    assert failed.error.message == "embed: expected one image and one text, found 1 and 2"
    other = tiny.asked(0, images, kind="embed", candidates=("a",))
    assert refused(loaded("clip"), other) == "embed: expected one image and one text, found 2 and 1"


def test_a_text_longer_than_the_tower_is_cut_and_says_so(loaded: Load) -> None:
    image = tiny.pictures(1)
    long, cut = ("x" * 70, "x" * 64)
    first, second = (
        one(loaded("clip"), tiny.asked(0, image, kind="embed", candidates=(text,))) for text in (long, cut)
    )
    assert first.embedding == second.embedding
    assert list(first.remarks) == ["the text has 70 tokens; the model reads the first 64"]
    assert list(second.remarks) == []


def test_an_image_that_cannot_be_read_is_left_to_the_harness(loaded: Load) -> None:
    (image,) = tiny.pictures(1)

    def fails() -> Any:
        raise DataError("x.png: cannot be read")

    image.image = fails  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"x\.png: cannot be read"):
        loaded("llava").predict([tiny.asked(0, [image])])


def test_a_checkpoint_that_transformers_cannot_load_is_said(tmp_path: Path) -> None:
    config: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"^transformers cannot load it: \w+: (?s:.*)$") as caught:
        load(tmp_path)
    assert "trust_remote_code" not in str(caught.value)
    config = {"model_type": "ours", "architectures": ["Ours"], "auto_map": {"AutoConfig": "ours.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "ours.py").write_text("raise SystemError('remote code was run')")
    with pytest.raises(ModelError, match="--model-args trust_remote_code=true runs that code on this machine"):
        load(tmp_path)


def test_dtype_and_attention_are_those_asked_for(folder: Folder) -> None:
    import torch

    model = load(folder("llama"), dtype="bfloat16", attn="eager").loaded.model
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "eager"
    assert one(load(folder("llava"), dtype="bfloat16"), tiny.asked(0, tiny.pictures(1))).text


OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
    ran = True
"""


def test_code_of_a_checkpoint_runs_by_flag_only(
    folder: Folder, loaded: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    own = tmp_path / "own"
    shutil.copytree(folder("llama"), own)
    config = json.loads((own / "config.json").read_text())
    names = {"AutoConfig": "own_code.OwnConfig", "AutoModel": "own_code.OwnModel"}
    config |= {"model_type": "own", "architectures": ["OwnModel"], "auto_map": names}
    (own / "config.json").write_text(json.dumps(config))
    (own / "own_code.py").write_text(OWN_CODE)
    with pytest.raises(ModelError, match="trust_remote_code=true runs that code on this machine"):
        load(own)
    assert not (tmp_path / "modules").exists()
    trusted = load(own, trust_remote_code=True)
    assert trusted.loaded.model.ran
    assert one(trusted, tiny.asked(0, [])) == one(loaded("llama"), tiny.asked(0, []))


def test_a_device_map_places_the_model(folder: Folder) -> None:
    pytest.importorskip("accelerate")
    assert load(folder("llama"), device_map={"": "meta"}).loaded.device.type == "meta"
    assert load(folder("llama")).loaded.device.type == "cpu"
