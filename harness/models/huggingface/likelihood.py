"""Likelihoods of continuations: the question and its images are read once, whatever the number of candidates."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from harness.errors import ModelError
from harness.models.huggingface.prompts import Prompter
from harness.records import Answer, Request

# Candidates that are scored in one pass, so that a hundred options do not need a hundred copies of an image's keys.
AT_ONCE = 16


class Scorer:
    """Scores the candidates of a request.

    Args:
        prompter: Renders the requests.
    """

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter
        self.loaded = prompter.loaded
        # The logits of a whole question over a vocabulary of 150,000 would be the largest tensor by far.
        known = inspect.signature(self.loaded.model.forward).parameters
        self._last_only: dict[str, int] = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    def answer(self, request: Request) -> Answer:
        """Return the mean negative log likelihood per token of each candidate, after the question.

        Raises:
            DataError: An image cannot be read.
            ModelError: A candidate has no token, or the question is longer than the model can read.
        """
        import torch

        prompt = self.prompter.prompt(request)
        candidates = [self._tokens(prompt.text, candidate) for candidate in request.candidates]
        inputs = self.prompter.inputs([prompt])
        length, images = inputs["input_ids"].shape[1], inputs.get("cross_attention_mask")
        most, longest = self.loaded.most_positions, max(map(len, candidates), default=0)
        if most is not None and length + longest > most:
            raise ModelError(
                f"the question has {length} tokens, images included, and the longest option {longest}; the model reads "
                f"at most {most}"
            )
        sums: list[float] = []
        with torch.inference_mode():
            before = self.loaded.model(**inputs, use_cache=True, **self._last_only)
            first = before.logits[:, -1].float().log_softmax(dim=-1)
            for start in range(0, len(candidates), AT_ONCE):
                sums += self._sums(before.past_key_values, first, candidates[start : start + AT_ONCE], images)
        counts = [len(tokens) for tokens in candidates]
        return Answer(
            nll=[total / count for total, count in zip(sums, counts, strict=True)],
            nll_tokens=counts,
            rendered=prompt.text,
            usage={"prompt_tokens": length, "completion_tokens": sum(counts)},
        )

    def _tokens(self, text: str, candidate: str) -> list[int]:
        """Return the tokens of a candidate as they follow the question.

        Raises:
            ModelError: There are none.
        """
        tokenizer = self.loaded.tokenizer
        # Of the question only the end can merge with the candidate; with all of it, every option would cost as much.
        whole = tokenizer(text + candidate, add_special_tokens=False)["input_ids"]
        question = tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens = list(whole[len(question) :])
        if not tokens:  # the candidate merged with the last token of the question
            tokens = list(tokenizer(candidate, add_special_tokens=False)["input_ids"])
        if not tokens:
            raise ModelError(f"the model's tokenizer makes no token of the option {candidate!r}")
        return tokens

    def _sums(self, cache: Any, first: Any, candidates: Sequence[Sequence[int]], images: Any) -> list[float]:
        """Return the negative log likelihood of each candidate.

        Args:
            cache: Keys and values of the question.
            first: Log probabilities of the token after the question, shape (1, vocabulary).
            candidates: Their tokens.
            images: Which tiles each token of the question sees, in a model that reads images by cross attention, shape
                (1, tokens, images, tiles); None in any other. A candidate sees those of the last token.
        """
        import torch

        device, longest = first.device, max(map(len, candidates))
        ids = torch.zeros((len(candidates), longest), dtype=torch.long, device=device)
        real = torch.zeros_like(ids)
        for row, tokens in enumerate(candidates):
            ids[row, : len(tokens)] = torch.tensor(tokens, device=device)
            real[row, : len(tokens)] = 1
        scores = first.expand(len(candidates), -1).gather(1, ids[:, :1])
        if longest > 1:
            # Copied, since a forward pass writes into the cache it gets. Without a mask: the question has no padding,
            # and that of the candidates lies behind every token that counts.
            own = copy.deepcopy(cache)
            own.batch_repeat_interleave(len(candidates))
            seen = (
                {}
                if images is None
                else {"cross_attention_mask": images[:, -1:].expand(len(candidates), longest - 1, -1, -1)}
            )
            after = self.loaded.model(input_ids=ids[:, :-1], past_key_values=own, use_cache=True, **seen)
            rest = after.logits.float().log_softmax(dim=-1).gather(2, ids[:, 1:, None])[..., 0]
            scores = torch.cat([scores, rest], dim=1)
        return [float(-total) for total in (scores.double() * real).sum(dim=1)]
