"""The pipeline `pubmedvision`: figures are filtered, then a model that sees them reformats their captions.

Source: Chen et al.: HuatuoGPT-Vision, arXiv:2406.19280, section 3 and appendix D.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.data.construction.checks.checklist import LEXICONS, item_checks
from harness.data.construction.checks.replies import read_object
from harness.data.construction.lexicons import lexicon_texts
from harness.data.construction.pipeline import (
    Ask,
    Draft,
    Outcome,
    Pipeline,
    Read,
    ReadBack,
    Select,
    checked_by,
    selected_by,
)
from harness.data.construction.prompts import PromptFile, filled, read_prompt_file
from harness.data.construction.pubmedvision.figures import READER, candidates, context_of, find_small_image
from harness.data.construction.pubmedvision.filters import LEAST_TERMS, count_terms, find_repeated
from harness.data.construction.pubmedvision.release import PubmedvisionWriter
from harness.data.construction.records import Item, Question, Rejection, Source
from harness.data.releases.mimoseg.wording import chosen
from harness.data.releases.vqa.pubmedvision import SUBSETS

REFORMAT = "reformat"
ALIGNMENT, INSTRUCTION = SUBSETS
LIMITS = Limits(question_words=200, answer_words=600, organs_from_material=False)
# There are no masks to hold the words against, and no options.
NO_MASKS = (
    "answer_not_in_options",
    "mask_missing",
    "mask_faulty",
    "mask_of_other_class",
    "hallucinated_organ",
    "wrong_laterality",
    "entity_not_named",
)


@cache
def _file(name: str) -> PromptFile:
    return read_prompt_file(Path(__file__).parent / f"{name}.yaml")


def find_few_terms(source: Source) -> str:
    """Return how many medical terms a caption has, if these are too few."""
    count = count_terms(str(source.facts["caption"]))
    return "" if count >= LEAST_TERMS else f"the caption has {count} medical terms, expected at least {LEAST_TERMS}"


def _repeats() -> Callable[[Source], str]:
    repeated = find_repeated()
    return lambda source: repeated(source.id, str(source.facts["embedding"]))


def scenario_of(source: Source) -> str:
    """Return the name of the scenario of a figure; each of the ten is as likely as any other."""
    return chosen(list(_file("prompts").lists["scenarios"]), f"{source.id}/scenario")


def ask_reformatting(draft: Draft) -> Iterator[Question]:
    """Show the images with their context, and ask for a description and a dialogue."""
    file, source = _file("prompts"), draft.source
    several = len(source.media) > 1
    yield file.prompts["reformat"].ask(
        REFORMAT,
        media=source.media,
        images=filled(file.lists["images"][several], {"count": str(len(source.media))}),
        these=file.lists["these"][several],
        context=context_of(source),
        scenario=file.lists["scenarios"][scenario_of(source)],
    )


def read_reformatted(draft: Draft) -> Outcome:
    """Make one item of alignment and one of instruction from a reply."""
    source, reply = draft.source, draft.replies.get(REFORMAT)
    if reply is None:
        return Outcome()
    found = read_object(reply.text, {"Image_description": "text", "QA-query": "text", "QA-answer": "text"})
    if isinstance(found, Rejection):
        return Outcome(rejections=(Rejection(reason=found.reason, detail=found.detail, replies=(REFORMAT,)),))
    queries = _file("queries")
    query = chosen(queries.lists["several" if len(source.media) > 1 else "one"], f"{source.id}/query")
    aligned = Item(
        id=f"{source.id}#{ALIGNMENT}",
        source=source,
        kind=ALIGNMENT,
        question=query,
        answer=str(found["Image_description"]),
        replies=(REFORMAT,),
        template=queries.template,
    )
    instructed = Item(
        id=f"{source.id}#{INSTRUCTION}",
        source=source,
        kind=INSTRUCTION,
        question=str(found["QA-query"]),
        answer=str(found["QA-answer"]),
        fields={"scenario": scenario_of(source)},
        replies=(REFORMAT,),
    )
    return Outcome(items=(aligned, instructed))


@cache
def _mentions() -> re.Pattern[str]:
    return re.compile("|".join(_file("prompts").lists["mentions_of_the_reference"]), re.IGNORECASE)


def find_reference(item: Item) -> str:
    """Return the words with which an item speaks of the text that its model was shown beside the images."""
    match = _mentions().search(f"{item.question}\n{item.answer}")
    return "" if match is None else f"found {match[0]!r}"


def view(item: Item) -> CheckedItem:
    """Return what the checks need to know of an item."""
    return CheckedItem(
        image=" ".join(one.path for one in item.source.media),
        image_sha256=" ".join(one.sha256 or "" for one in item.source.media),
        question=item.question,
        answer=item.answer,
        material=context_of(item.source),
    )


def pubmedvision() -> Pipeline:
    """Return the pipeline."""
    return Pipeline(
        name="pubmedvision",
        version=1,
        title="Descriptions of figures of articles, and dialogues about them",
        paper="Chen et al.: HuatuoGPT-Vision, EMNLP 2024, arXiv:2406.19280",
        reads=READER,
        sources=candidates,
        steps=(
            selected_by("few_medical_terms", f"The caption has {LEAST_TERMS} medical terms or more.", find_few_terms),
            selected_by("image_unusable", "Every image can be read.", lambda source: str(source.facts["fault"])),
            selected_by("small_image", "Every image has 336 pixels or more on each side.", find_small_image),
            selected_by("not_medical", "No image is a chart or a drawing.", lambda source: str(source.facts["drawn"])),
            Select(name="repeated_caption", about="Captions and mentions differ, by embeddings.", begin=_repeats),
            Ask(
                name="reformatting",
                about="A model sees images and context; ten scenarios.",
                build=ask_reformatting,
            ),
            Read(name="parsing", about="The JSON of the reply has all three keys.", apply=read_reformatted),
            checked_by("mentions_the_reference", "Nothing speaks of the text beside the images.", find_reference),
            *item_checks(view, LIMITS, without=NO_MASKS),
        ),
        shares={"train": 1.0},
        writer=PubmedvisionWriter,
        read_back=tuple(
            ReadBack(reader="harness.data.releases.vqa.pubmedvision:READER", splits=("train",), subset=subset)
            for subset in SUBSETS
        ),
        data={
            **{f"pubmedvision/{name}": _file(name).text for name in ("prompts", "queries")},
            **lexicon_texts("medical_terms", *LEXICONS),
        },
        licences={"*": "As the article in PubMed Central that the figure comes from"},
        not_reproduced=(
            "Of the three sources LLaVA-Med's pairs are read as released; PMC-Inline and PMC-OA as `pubmed_figures/`.",
            "The SPECIALIST Lexicon of UMLS needs a licence; ours has fewer words, and endings that make more of them.",
            "The image classifier and its 11,000 labels were not released; a rule finds charts, unless a model's "
            "verdicts are supplied.",
            "all-mpnet-base-v2 with a dot product above 480 cannot be applied as printed: vectors of that model have "
            "length one. Hashed embeddings and a cosine of 0.95 take its place, unless a model's are supplied.",
            "The queries for one image (figure 7) are an image in the paper, and prompts (figures 9 to 18) are ours.",
            "Section 3.2 counts eight scenarios, figure 4 ten; ten are used.",
        ),
    )
