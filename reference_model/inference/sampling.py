"""How the tokens of an answer are picked, as a request says."""

from harness.records import Request
from harness.records.codec import digest
from reference_model.inference.generation import Sampling

# The limit if the task sets none.
MAX_NEW_TOKENS = 128


def sampling_of(request: Request, *, most: int) -> Sampling:
    """Return the sampling options of a request, greedy by default, with `most` as the limit of new tokens."""
    # The seed depends on the request's own seed and repeat alone, so that every repeat draws another answer.
    decoding = request.decoding
    return Sampling(
        max_new_tokens=max(1, min(most, int(decoding.get("max_new_tokens", MAX_NEW_TOKENS)))),
        temperature=float(decoding.get("temperature", 0.0)),
        top_p=float(decoding.get("top_p", 1.0)),
        seed=int(digest([request.seed, request.repeat])[:12], 16),
    )
