"""`lm-eval:NAME`: a model class of lm-eval answers here as it does there."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.exports.lm_eval_tasks import write_tasks
from harness.models import lm_eval_model
from harness.models.lm_eval_model import LmEval
from harness.records import Media, MediaPart, Request, TextPart, Turn
from tests.support.tiny_vqa_rad import write_release

pytest.importorskip("lm_eval")

OWN = '''
from lm_eval.api.model import LM


class Echo(LM):
    """Answers with what it was asked."""

    MULTIMODAL = True

    def __init__(self, word="", device=None):
        super().__init__()
        self.word, self._device = word, device

    def generate_until(self, requests):
        return [
            f"{self.word}|{r.args[0]}|{sorted(r.args[1].items())}|{len(r.args[2:])}|{self.device}" for r in requests
        ]

    def loglikelihood(self, requests, disable_tqdm=False):
        assert disable_tqdm
        return [(-float(len(r.args[1])), False) for r in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        return f"<{chat_history[0]['role']}>{chat_history[0]['content']}"


class Counting(Echo):
    MULTIMODAL = False

    def _encode_pair(self, context, continuation):
        return list(context), continuation.split()


class Strict(Counting):
    prefix_token_id = "<s>"

    def _encode_pair(self, context, continuation):
        assert context, "Context cannot be empty!"
        return super()._encode_pair(context, continuation)

    def tok_encode(self, words, add_special_tokens):
        assert not add_special_tokens
        return words.split()
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with model classes."""
    (tmp_path / "own_lm_eval_classes.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_lm_eval_classes", raising=False)
    return "own_lm_eval_classes"


class Picture:
    record = Media(path="a.png", sha256="0", size=(2, 3))

    def image(self) -> Any:
        import numpy as np

        return np.zeros((2, 3, 3), dtype=np.uint8)


def request(*parts: Any, **fields: Any) -> Request:
    return Request(messages=(Turn(role="user", parts=parts),), decoding={"max_new_tokens": 8}, **fields)


def loaded(name: str, **arguments: Any) -> LmEval:
    model = LmEval(name, **arguments)
    model.load("cpu")
    return model


def test_words_and_settings_reach_the_class_and_its_words_come_back(own: str) -> None:
    model = loaded(f"{own}:Echo", word="hm")
    first, second = model.predict([request(TextPart(text="Is it?")), request(TextPart(text="Or not?"))])
    assert first.text == "hm|Is it?|[('do_sample', False), ('max_gen_toks', 8), ('until', [])]|0|cpu"
    assert (first.rendered, second.rendered) == ("Is it?", "Or not?")


def test_images_are_shown_or_left_out(own: str) -> None:
    asked = request(MediaPart(media=Picture()), TextPart(text="Is it?"))  # type: ignore[arg-type]
    (shown,) = loaded(f"{own}:Echo", images="send").predict([asked])
    (blind,) = loaded(f"{own}:Echo", images="leave_out").predict([asked])
    assert shown.text is not None
    assert blind.text is not None
    assert (shown.text.split("|")[1], shown.text.split("|")[3]) == ("<image>\nIs it?", "1")
    assert (blind.text.split("|")[1], blind.text.split("|")[3]) == ("Is it?", "0")
    with pytest.raises(ModelError, match="Counting takes no images; --model-args images=leave_out asks without them"):
        loaded(f"{own}:Counting", images="send")


def test_the_chat_template_of_the_class_is_used_where_asked_for(own: str) -> None:
    (answer,) = loaded(f"{own}:Echo", chat_template=True).predict([request(TextPart(text="Is it?"))])
    assert answer.rendered == "<user>Is it?"


def test_likelihoods_become_means_with_their_numbers_of_tokens(own: str) -> None:
    asked = request(TextPart(text="Is it?"), kind="nll", candidates=(" yes", " no way"))
    # One that asks for words may stand between them.
    *answers, words = loaded(f"{own}:Counting").predict([asked, asked, request(TextPart(text="Is it?"))])
    assert [answer.nll for answer in answers] == [[4.0, 3.5]] * 2
    assert words.rendered == "Is it?"
    assert answers[0].nll_tokens == [1, 2]
    (answer,) = loaded(f"{own}:Echo").predict([asked])
    assert answer.error is not None
    assert "Echo has no tokenizer that would count the tokens of a candidate" in answer.error.message


def test_candidates_behind_an_empty_question_are_counted_as_lm_eval_scores_them(own: str) -> None:
    asked = request(TextPart(text=""), kind="nll", candidates=(" no way", "<s> yes"))
    (answer,) = loaded(f"{own}:Strict").predict([asked])
    assert answer.error is None
    assert answer.nll_tokens == [2, 1]
    assert answer.nll == [3.5, 7.0]
    (answer,) = loaded(f"{own}:Strict").predict([request(TextPart(text="Is it?"), kind="nll", candidates=(" no way",))])
    assert answer.nll_tokens == [2]


def test_where_the_questions_go_is_known_of_the_classes_that_send_them() -> None:
    def host(name: str, **arguments: Any) -> str | None:
        return LmEval(name, **arguments).capabilities().sends_data_to

    assert host("hf") is None
    assert host("anthropic-chat") == "api.anthropic.com"
    assert host("local-completions", base_url="http://10.0.0.1:8000/v1/completions") == "10.0.0.1"
    assert host("litellm") == "lm-eval:litellm"
    known = set(LmEval("hf").registry.model_registry.keys())
    assert set(lm_eval_model.SERVED) <= known
    assert set(lm_eval_model.MULTIMODAL) <= known


def test_what_it_takes_and_the_weights_it_is_made_of(tmp_path: Path) -> None:
    assert LmEval("hf").capabilities().takes == {"text"}
    assert LmEval("hf-multimodal").capabilities().takes == {"text", "image", "images"}
    assert LmEval("hf", images="leave_out").capabilities().takes == {"text", "image", "images"}
    found = LmEval("hf", pretrained=str(tmp_path), dtype="float32").capabilities()
    assert found.weights == (str(tmp_path),)
    assert "(lm_eval " in LmEval("hf").version


def test_what_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"--model lm-eval:hff: expected a model class of lm-eval .*did you mean 'hf'"):
        LmEval("hff")
    with pytest.raises(SpecError, match="images: expected send or leave_out, found 'no'"):
        LmEval("hf", images="no")
    with pytest.raises(SpecError, match="chat_template: expected true or false, found 'yes'"):
        LmEval("hf", chat_template="yes")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="its class cannot be loaded: No module named 'no_such_module'"):
        loaded("no_such_module:Class")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SpecError, match="needs the package lm_eval; pip install lm_eval"):
        LmEval("hf")


@pytest.mark.slow
def test_a_model_of_lm_eval_gives_here_the_answers_that_it_gives_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.tiny_hugging_face import llama

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    llama(tmp_path / "llama")
    data = str(write_release(tmp_path / "data", 6))
    arguments = {"pretrained": str(tmp_path / "llama"), "dtype": "float32", "max_length": 1024}
    result = evaluate(
        RunSpec(
            tasks=("vqa_rad",),
            model="lm-eval:hf",
            model_args={**arguments, "images": "leave_out"},
            data_roots=(data,),
            out=tmp_path / "run",
            cache=tmp_path / "cache",
            ray="off",
        )
    )
    assert result.failures == []
    stored = (tmp_path / "run" / "predictions").rglob("*.jsonl")
    ours = {json.loads(line).get("text") for path in stored for line in path.read_text().splitlines()}
    write_tasks(("vqa_rad",), (data,), tmp_path / "out", tmp_path / "cache", text_only=True)
    manager = importlib.import_module("lm_eval.tasks").TaskManager
    theirs = importlib.import_module("lm_eval").simple_evaluate(
        model="hf",
        model_args=arguments | {"device": "cpu"},
        tasks=["medground_vqa_rad"],
        task_manager=manager(include_path=str(tmp_path / "out"), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    replies = [sample["resps"][0][0] for sample in theirs["samples"]["medground_vqa_rad"]]
    assert len(set(replies)) > 3
    assert ours == set(replies)
    # And the likelihoods, whose sums are those of lm-eval.
    model = loaded("hf", **arguments)
    asked = request(TextPart(text="Is it there?"), kind="nll", candidates=(" yes", " no"))
    (answer,) = model.predict([asked])
    instance = importlib.import_module("lm_eval.api.instance").Instance
    sums = model.lm.loglikelihood(
        [instance("loglikelihood", {}, ("Is it there?", word), 0) for word in asked.candidates]
    )
    counted = [mean * tokens for mean, tokens in zip(answer.nll, answer.nll_tokens, strict=True)]
    assert counted == pytest.approx([-total for total, _ in sums], rel=1e-6)
