"""Special tokens, the layout of a conversation, and the places of its image, regions and masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.errors import DataError

# The three negative numbers are MedPLIB's (-200 and -100 are LLaVA's; torch's cross-entropy ignores -100 by default).
# Stands for an image until it is expanded, then for each of its patches.
IMAGE = -200
# Stands for a region's vector; in MIMO's layout, for a point or a corner of a box.
REGION = -300
# Stands for a learned query of MIMO's input aligner.
QUERY = -400
# Label of a position that is not trained.
IGNORE = -100

IMAGE_MARK = "<image>"
SEG = "<SEG>"
REGION_START, REGION_END = "<region>", "</region>"
IMAGE_START, IMAGE_END = "<im_start>", "<im_end>"
# The text of one visual prompt, in whose place its vectors come.
PROMPT_PAIR = f"{REGION_START}{REGION_END}"
# The order decides the ids: with LLaMA's 32000 entries and 256 fillers, `<SEG>` is 32000 and `<im_end>` 32266, as in
# the released weights. Only `<SEG>`, the region tags and the image tags are used.
_BEFORE_FILLERS = (SEG, "<ref>", "</ref>", REGION_START, REGION_END, "<sr>", "</sr>", "<mask>", "</mask>")

# MIMO's tokens, in the order of their ids: `<p>liver<SEG></p>` binds the word to a mask.
ENTITY_START, ENTITY_END = "<p>", "</p>"
# M3D-LaMed's tokens, in the order of their ids. `<im_patch>` is never read: features take its positions.
VOLUME_PATCH, BOX_START, BOX_END, VOLUME_SEG = "<im_patch>", "<bx_start>", "<bx_end>", "[SEG]"

# HuatuoGPT-Vision's marks of the two speakers, which are ordinary text.
USER, ASSISTANT = "<|user|>", "<|assistant|>"
# What it removes from the text of a user.
_REMOVED = (IMAGE_MARK, "<s>", "</s>")

System = Literal["human", "user", "none"]


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The special tokens of a model, numbered from the end of the base vocabulary on.

    Attributes:
        base: The number of entries of the vocabulary before them.
        names: The tokens, in the order of their ids.
        written: Those that stay in decoded text.
        strip: Whether blanks and line breaks beside them vanish from a text.
    """

    base: int
    names: tuple[str, ...]
    written: tuple[str, ...] = ()
    strip: bool = True

    @classmethod
    def after(cls, base: int, *, fillers: int) -> "SpecialTokens":
        """Return MedPLIB's tokens behind `base` entries; the released weights have 256 unused fillers."""
        unused = tuple(f"<gen_{index}>" for index in range(1, fillers + 1))
        return cls(base, (*_BEFORE_FILLERS, *unused, IMAGE_START, IMAGE_END))

    @classmethod
    def m3d(cls, base: int) -> "SpecialTokens":
        """Return M3D-LaMed's tokens behind `base` entries."""
        return cls(base, (VOLUME_PATCH, BOX_START, BOX_END, VOLUME_SEG), (VOLUME_SEG,), strip=False)

    @classmethod
    def mimo(cls, base: int) -> "SpecialTokens":
        """Return MIMO's tokens behind `base` entries; the paper prints blanks inside and outside its tags."""
        return cls(base, (ENTITY_START, ENTITY_END, SEG), (ENTITY_START, ENTITY_END, SEG), strip=False)

    def id(self, name: str) -> int:
        """Return the id of a token."""
        return self.base + self.names.index(name)

    @property
    def total(self) -> int:
        """The number of entries of the whole vocabulary."""
        return self.base + len(self.names)


class Tokenizer(Protocol):
    """A tokenizer of the model family; special tokens in a text become their ids."""

    special: SpecialTokens
    start_id: int
    end_id: int

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without a start token."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without special tokens."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer; None: the model is to answer it."""

    question: str
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as ids, and as labels of the same length."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


def system_sentence(whose: System) -> str:
    """Return the system sentence and a trailing space: MedPLIB trains with `human` and evaluates with `user`."""
    if whose == "none":
        return ""
    return (
        f"A chat between a curious {whose} and an artificial intelligence assistant. "
        f"The assistant gives helpful, detailed, and polite answers to the {whose}'s questions. "
    )


def encode_conversation(
    turns: Sequence[Turn], tokenizer: Tokenizer, *, system: System, max_length: int, image: bool = True
) -> Encoded:
    """Return a conversation in Vicuna's layout: `USER: ... ASSISTANT: ...</s>` for every turn.

    Only answers and their end tokens are trained. The mark of the image is moved to the start of the first question.
    Conversations are truncated to `max_length` tokens before the image is expanded.

    Args:
        turns: At least one; only the last may lack its answer.
        tokenizer: The tokenizer of the model.
        system: The speaker that the system sentence names, see `system_sentence`.
        max_length: Most tokens, of which the image counts as one.
        image: Whether the conversation is about an image.
    Raises:
        DataError: There is no turn, or a turn before the last has no answer.
    """
    _check_turns(turns)
    ids, labels = [tokenizer.start_id], [IGNORE]
    for index, turn in enumerate(turns):
        question = turn.question
        if image and index == 0:
            question = f"{IMAGE_START}{IMAGE_MARK}{IMAGE_END}\n{question.replace(IMAGE_MARK, '').strip()}"
        # Question and answer are encoded separately: no token spans both, so labels need none of LLaVA's corrections.
        asked = encode_text(f"{system_sentence(system) if index == 0 else ''}USER: {question} ASSISTANT:", tokenizer)
        answered = [] if turn.answer is None else [*encode_text(turn.answer, tokenizer), tokenizer.end_id]
        ids += asked + answered
        labels += [IGNORE] * len(asked) + [IGNORE if id < 0 else id for id in answered]
    return Encoded(tuple(ids[:max_length]), tuple(labels[:max_length]))


def _check_turns(turns: Sequence[Turn]) -> None:
    if not turns or any(turn.answer is None for turn in turns[:-1]):
        raise DataError("conversation: expected at least one turn, and an answer in every turn but the last")


def encode_text(text: str, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of a text, with `IMAGE` for its image mark and `REGION` inside every empty pair of region tags."""
    before, *after = text.split(IMAGE_MARK)
    ids = tokenizer.encode(before)
    for part in after:
        ids += [IMAGE, *tokenizer.encode(part)]
    return with_regions(ids, tokenizer.special)


def with_regions(ids: Sequence[int], special: SpecialTokens) -> list[int]:
    """Return the ids with one `REGION` between every adjacent pair of region tags."""
    start, end = special.id(REGION_START), special.id(REGION_END)
    found: list[int] = []
    for token in ids:
        if token == end and found and found[-1] == start:
            found.append(REGION)
        found.append(token)
    return found


def encode_about_volume(
    question: str, answer: str | None, tokenizer: Tokenizer, *, positions: int, max_length: int
) -> Encoded:
    """Return a question about a volume, and its answer, in M3D-LaMed's layout: the volume, a blank, both texts.

    Only the answer and its end token are trained; neither is there if the text before it fills `max_length`.

    Args:
        question: Without a mark for the volume, which always comes first.
        answer: None: the model is to answer.
        tokenizer: The tokenizer of the model.
        positions: Positions that the volume takes.
        max_length: Most tokens, the volume included.
    """
    asked = tokenizer.encode(f" {question}")
    # Encoded together and cut at the length of the question alone, as in the release: how a tokenizer treats a blank
    # between two pieces depends on what is before it.
    answered = [] if answer is None else [*tokenizer.encode(f" {question} {answer}")[len(asked) :], tokenizer.end_id]
    ids = [tokenizer.start_id, *[IMAGE] * positions, *asked, *answered]
    labels = [*[IGNORE] * (1 + positions + len(asked)), *answered]
    return Encoded(tuple(ids[:max_length]), tuple(labels[:max_length]))


def encode_for_entities(
    turn: Turn,
    tokenizer: Tokenizer,
    *,
    system: System,
    places: Sequence[int],
    queries: int,
    max_length: int,
) -> Encoded:
    """Return a question and its answer in MIMO's layout: `USER: `, image, queries and question, `ASSISTANT: ...</s>`.

    Only the answer and its end token are trained. An answer is truncated at `max_length` tokens before the image is
    expanded.

    Args:
        turn: The question with a `PROMPT_PAIR` for each of its visual prompts.
        tokenizer: The tokenizer of the model.
        system: The speaker that the system sentence names, see `system_sentence`.
        places: The number of points and corners of each visual prompt.
        queries: Learned queries of the aligner.
        max_length: Most tokens, of which the image counts as one.
    Raises:
        DataError: The question has another number of pairs than there are visual prompts.
    """
    words = f"\n{turn.question.replace(IMAGE_MARK, '').strip()} ASSISTANT:".split(PROMPT_PAIR)
    if len(words) != len(places) + 1:
        raise DataError(f"question: expected {len(places)} marks of visual prompts, found {len(words) - 1}")
    ids = [tokenizer.start_id, *tokenizer.encode(f"{system_sentence(system)}USER:"), IMAGE, *[QUERY] * queries]
    for count, text in zip((0, *places), words, strict=True):
        ids += [*[REGION] * count, *tokenizer.encode(text)]
    answered = [] if turn.answer is None else [*tokenizer.encode(turn.answer), tokenizer.end_id]
    labels = [*[IGNORE] * len(ids), *answered]
    return Encoded((*ids, *answered)[:max_length], tuple(labels[:max_length]))


def encode_about_images(turns: Sequence[Turn], tokenizer: Tokenizer, *, images: int, max_length: int) -> Encoded:
    """Return a conversation about several images in HuatuoGPT-Vision's layout.

    A turn is `<|user|>`, the question, `<|assistant|>` and the answer, each on a line of its own; the last answer ends
    with the end token, an earlier one with a blank and a line break. All images come before the first question, each
    followed by a line break. There is neither a start token nor a system sentence. Only answers are trained.
    Conversations are truncated to `max_length` tokens before the images are expanded.

    Args:
        turns: At least one; only the last may lack its answer.
        tokenizer: The tokenizer of the model.
        images: The number of images.
        max_length: Most tokens, of which each image counts as one.
    Raises:
        DataError: There is no turn, or a turn before the last has no answer.
    """
    _check_turns(turns)
    ids = [*tokenizer.encode(f"{USER}\n"), *[IMAGE, *tokenizer.encode("\n")] * images]
    labels = [IGNORE] * len(ids)
    for index, turn in enumerate(turns):
        question = turn.question
        for removed in _REMOVED:
            question = question.replace(removed, "")
        before = "" if index == 0 else f"{USER}\n"
        asked = tokenizer.encode(f"{before}{question.strip()}\n{ASSISTANT}\n")
        answered = [] if turn.answer is None else tokenizer.encode(turn.answer)
        if turn.answer is not None:
            answered += tokenizer.encode(" \n") if index < len(turns) - 1 else [tokenizer.end_id]
        ids += asked + answered
        labels += [*[IGNORE] * len(asked), *answered]
    return Encoded(tuple(ids[:max_length]), tuple(labels[:max_length]))


def expand_image(encoded: Encoded, image_tokens: int) -> Encoded:
    """Return the conversation with every `IMAGE` repeated once per patch."""
    ids: list[int] = []
    labels: list[int] = []
    for token, label in zip(encoded.ids, encoded.labels, strict=True):
        times = image_tokens if token == IMAGE else 1
        ids += [token] * times
        labels += [label] * times
    return Encoded(tuple(ids), tuple(labels))
