"""Answers in words: requests that are alike are generated together."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import ModelError
from harness.models.huggingface.prompts import Prompt, Prompter
from harness.records import Answer, Request
from harness.records.codec import sha256_text

# Special tokens that say where something lies or what is meant there: they stay in the text, as the dialects read them.
# `<|box_start|>` and its kin of Qwen-VL and InternVL, `<loc_12>` of Florence-2, `<loc0012>` of PaliGemma, `<seg012>`.
MEANINGFUL = re.compile(
    r"</?\|?/?(?:(?:box|ref|object_ref|quad|point|poly|det|grounding|phrase|object|think|thinking)(?:_start|_end)?"
    r"|loc_?\d+|seg_?\d*|patch_index_\d+|delimiter_of_multi_objects)\|?/?>|\[SEG\]",
    re.IGNORECASE,
)

# Their cached positions count padding, so that a short question would be answered otherwise beside a long one.
ALONE = frozenset({"kosmos-2"})


class Generator:
    """Writes answers.

    Args:
        prompter: Renders the requests.
    """

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter
        self.loaded = prompter.loaded
        tokenizer = self.loaded.tokenizer
        special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
        special |= set(tokenizer.all_special_ids)
        self._dropped = {id_ for id_ in special if not MEANINGFUL.fullmatch(tokenizer.convert_ids_to_tokens(id_) or "")}

    def answers(self, requests: Sequence[Request], settings: Mapping[str, Any]) -> list[Answer]:
        """Return the answers to requests with equally many images.

        Args:
            requests: At least one.
            settings: Arguments of `generate()`.
        Raises:
            DataError: An image cannot be read.
            ModelError: A question is longer than the model can read.
        """
        import torch

        if len(requests) > 1 and self.loaded.model.config.model_type in ALONE:
            return [self.answers([request], settings)[0] for request in requests]
        prompts = [self.prompter.prompt(request) for request in requests]
        inputs = self.prompter.inputs(prompts)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        most, wanted = self.loaded.most_positions, settings.get("max_new_tokens")
        if most is not None and not self.loaded.model.config.is_encoder_decoder:
            rooms = [most - length for length in lengths]
            if len(requests) > 1 and min(rooms) < (wanted or 1):
                # Alone, so that what fits depends on the question and not on its neighbours.
                return [self.answers([request], settings)[0] for request in requests]
            if rooms[0] < 1:
                raise ModelError(
                    f"the question has {lengths[0]} tokens, images included; the model reads at most {most - 1}"
                )
            if wanted is not None and rooms[0] < wanted:
                settings = {**settings, "max_new_tokens": rooms[0]}
        if settings.get("do_sample"):
            # The batches are cut from the whole plan, so this is the same however often a run is interrupted.
            torch.manual_seed(int(sha256_text(" ".join(request.key for request in requests))[:15], 16))
        with torch.inference_mode():
            sequences = self.loaded.model.generate(**inputs, **settings)
        start = 1 if self.loaded.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        own = self.loaded.model.generation_config
        limit, ends = settings.get("max_new_tokens", own.max_new_tokens), settings.get("eos_token_id", own.eos_token_id)
        ends = ends if isinstance(ends, list) else [ends]
        found = zip(prompts, lengths, sequences[:, start:].tolist(), strict=True)
        return [self._answer(prompt, length, tokens, ends, limit) for prompt, length, tokens in found]

    def _answer(
        self, prompt: Prompt, length: int, tokens: Sequence[int], ends: Sequence[int], limit: int | None
    ) -> Answer:
        end = next((place for place, token in enumerate(tokens) if token in ends), None)
        written = list(tokens if end is None else tokens[:end])
        return Answer(
            text=self.loaded.tokenizer.decode([token for token in written if token not in self._dropped]),
            status="truncated" if end is None and limit is not None and len(written) >= limit else "ok",
            rendered=prompt.text,
            usage={"prompt_tokens": length, "completion_tokens": len(written) + (end is not None)},
        )
