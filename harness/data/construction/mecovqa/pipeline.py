"""The pipeline `mecovqa`: facts from masks, a description of the image, then questions of several kinds.

Source: Huang et al., arXiv:2412.09278, section 3.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.data.construction.checks.checked_item import CheckedItem, CheckedMask, Limits
from harness.data.construction.checks.checklist import ITEM_CHECKS, LEXICONS, item_checks
from harness.data.construction.checks.replies import FieldKind, read_objects
from harness.data.construction.lexicons import lexicon_texts
from harness.data.construction.mecovqa.release import REGION, MecovqaWriter
from harness.data.construction.pipeline import Ask, Draft, Outcome, Pipeline, Read, ReadBack, selected_by
from harness.data.construction.prompts import PromptFile, filled, read_prompt_file
from harness.data.construction.records import Item, ItemMask, Question, Rejection, Reply, Source
from harness.data.construction.samed2d.sources import (
    ImageStructure,
    candidates,
    find_image_fault,
    find_no_structure,
    instance_of,
    meta_words,
    place_words,
    sides_by_name,
    structures_of,
)
from harness.data.releases.mimoseg.wording import chosen
from harness.data.releases.samed2d.mecovqa import SUBSETS
from harness.data.releases.samed2d.reader import READER, parse_mask_name
from harness.records import Json
from harness.text.reply import answer_part

# Most regions of one dialogue: the prompts show few, and a long reply is cut.
MOST_REGIONS = 4
# A description of a slice with twenty structures takes 180 words.
LIMITS = Limits(question_words=60, answer_words=250)
# Bounds of the size classes, in shares of the image; those of the stratum `target_size`.
SMALL, LARGE = 0.01, 0.10
DESCRIBE, DIALOGUE = "describe", "dialogue"
ELEMENT: Mapping[str, FieldKind] = {"region": "text", "question": "text", "answer": "text"}
COMPLEX, NAME, DESCRIPTION, GROUNDING = "complex", "region_name", "region_description", "grounding"

_TOKEN = re.compile(r"<region_(\d+)>(?:\s*</region_\1>)?")


@cache
def _file(name: str) -> PromptFile:
    return read_prompt_file(Path(__file__).parent / f"{name}.yaml")


def meta_of(source: Source, *, tokens: bool = False) -> str:
    """Return the meta information of an image in words, a line for each part; with `tokens` each structure has one."""
    facts = source.facts
    lines = [
        f"{name}: {facts[key]}"
        for name, key in (("Modality", "modality_name"), ("Orientation", "orientation"), ("Region", "region"))
        if facts[key]
    ]
    lines.append("Structures:")
    for number, one in enumerate(_regions(source) if tokens else _usable(source), 1):
        amount = f" ({len(one.masks)})" if len(one.masks) > 1 else ""
        size = "small" if one.share < SMALL else "medium-sized" if one.share <= LARGE else "large"
        token = f"<region_{number}> " if tokens else ""
        lines.append(f"- {token}{one.name}{amount}: {place_words(one)}, {size}")
    return "\n".join(lines)


def _usable(source: Source) -> list[ImageStructure]:
    return [one for one in structures_of(source) if one.area]


def _regions(source: Source) -> list[ImageStructure]:
    """Return the instances that a dialogue is about, one of each structure, chosen by the id of the image."""
    found = []
    for one in _usable(source)[:MOST_REGIONS]:
        paths = [path for path, area in zip(one.masks, one.areas, strict=True) if area]
        found.append(instance_of(one, chosen(paths, f"{source.id}/{one.class_id}")))
    return found


def ask_description(draft: Draft) -> Iterator[Question]:
    """Ask for a description of the image, with an example of its modality."""
    if not _usable(draft.source):
        return
    file = _file("prompts")
    asked, answered = file.lists["examples"].get(str(draft.source.facts["modality"]), (None, None))
    prompt = file.prompts[DESCRIBE]
    if asked is not None:
        instruction = filled(prompt.user, {"meta": asked})
        prompt = replace(prompt, examples=((instruction, answered),))
    yield prompt.ask(DESCRIBE, meta=meta_of(draft.source))


def description_of(reply: Reply) -> str:
    """Return the words of a description, without the reasoning that some models show."""
    return " ".join((answer_part(reply.text) or "").split())


def find_description_fault(source: Source, reply: Reply) -> Rejection | None:
    """Return the first check that a description fails; all organs and diseases have to be named."""
    words = CheckedItem(
        question="What does the image show?",
        answer=description_of(reply),
        named=tuple(one.bare_name for one in _usable(source)),
        present=tuple(one.name for one in structures_of(source)),
        material=meta_of(source),
        sides=sides_by_name(source, "sides"),
        places=sides_by_name(source, "places"),
    )
    for name, (_, fault) in ITEM_CHECKS.items():
        if detail := fault(words, LIMITS):
            return Rejection(reason=name, detail=detail, replies=(DESCRIBE,))
    return None


def read_description(draft: Draft) -> Outcome:
    """Hold the description against the masks; without a good one there is no dialogue."""
    reply = draft.replies.get(DESCRIBE)
    fault = None if reply is None else find_description_fault(draft.source, reply)
    return Outcome(items=draft.items, rejections=() if fault is None else (fault,))


def ask_dialogue(draft: Draft) -> Iterator[Question]:
    """Ask for questions and answers from facts and description."""
    reply = draft.replies.get(DESCRIBE)
    if reply is None or find_description_fault(draft.source, reply) is not None:
        return
    yield (
        _file("prompts")
        .prompts[DIALOGUE]
        .ask(
            DIALOGUE,
            meta=meta_of(draft.source, tokens=True),
            description=description_of(reply),
            regions=", ".join(f"<region_{number}>" for number in range(1, len(_regions(draft.source)) + 1)),
        )
    )


def read_dialogue(draft: Draft) -> Outcome:
    """Read the questions on the image and on its regions."""
    reply = draft.replies.get(DIALOGUE)
    if reply is None:
        return Outcome(items=draft.items)
    found = read_objects(reply.text, ELEMENT)
    if isinstance(found, Rejection):
        return Outcome(items=draft.items, rejections=(replace(found, replies=(DIALOGUE,)),))
    items, rejections = list(draft.items), []
    for number, element in enumerate(found, 1):
        item = element if isinstance(element, Rejection) else _said(draft.source, number, element)
        if isinstance(item, Rejection):
            rejections.append(replace(item, replies=(DIALOGUE,)))
        else:
            items.append(item)
    return Outcome(items=items, rejections=rejections)


def _said(source: Source, number: int, element: Mapping[str, Json]) -> Item | Rejection:
    """Return the item of one element of a dialogue, or why its region is not clear."""
    question, answer = str(element["question"]), str(element["answer"])
    regions, tokens = _regions(source), [int(one) for one in _TOKEN.findall(question)]
    given = str(element["region"]).strip("<> ")
    item_id = f"{source.id}#{number}"
    if not given and not tokens:
        return Item(
            id=item_id, source=source, kind=COMPLEX, question=question, answer=answer, replies=(DESCRIBE, DIALOGUE)
        )
    if len(tokens) != 1 or not 1 <= tokens[0] <= len(regions) or given not in ("", f"region_{tokens[0]}"):
        expected = "one token of a listed region in the question, the same as the element's"
        return Rejection(reason="schema", detail=f"element {number}: expected {expected}, found {given!r}, {tokens}")
    structure = regions[tokens[0] - 1]
    # A token in the answer would be a second region; the words around it stay.
    answer = " ".join(_TOKEN.sub("", answer).split())
    words = _TOKEN.sub(REGION, question)
    return _region(source, item_id, DESCRIPTION, structure, words, answer, replies=(DESCRIBE, DIALOGUE))


def _region(
    source: Source,
    item_id: str,
    kind: str,
    structure: ImageStructure,
    question: str,
    answer: str,
    *,
    replies: tuple[str, ...] = (),
    template: str = "",
) -> Item:
    """Return an item on one instance of a structure, chosen by the item's id."""
    place = int(chosen([str(number) for number in range(len(structure.masks))], item_id))
    path = structure.masks[place]
    return Item(
        id=item_id,
        source=source,
        kind=kind,
        question=question,
        answer=answer,
        masks=(ItemMask(name=structure.name, path=f"{READER.folders[0]}/{path}", area=structure.areas[place]),),
        fields={"mask": path, "names": [structure.name]},
        replies=replies,
        template=template,
    )


def templated(draft: Draft) -> Outcome:
    """Make the items that need no model: the name of a region, and the mask of a class."""
    source, file, items = draft.source, _file("templates"), list(draft.items)
    for one in structures_of(source):
        item_id = f"{source.id}#{one.class_id}-name"
        question = filled(chosen(file.lists["region_names"], item_id), {"region": REGION})
        items.append(_region(source, item_id, NAME, one, question, one.name, template=file.template))
        item_id = f"{source.id}#{one.class_id}-mask"
        stem = str(source.facts["image"]).rpartition("/")[2].removesuffix(".png")
        items.append(
            Item(
                id=item_id,
                source=source,
                kind=GROUNDING,
                question=filled(chosen(file.lists["grounding"], item_id), {"class": one.name}),
                answer=one.name,
                masks=tuple(
                    ItemMask(name=one.name, path=f"{READER.folders[0]}/{path}", area=area)
                    for path, area in zip(one.masks, one.areas, strict=True)
                ),
                fields={"mask": f"masks_merged/{stem}--{one.class_id}_merged.png", "names": [one.name]},
                template=file.template,
            )
        )
    return Outcome(items=items)


def view(item: Item) -> CheckedItem:
    """Return what the checks need to know of an item."""
    source, names = item.source, tuple(map(str, item.fields.get("names", ())))
    structures = {path: one for one in structures_of(source) for path in one.masks}
    masks = []
    for mask in item.masks:
        path = mask.path.partition("/")[2]
        parsed = parse_mask_name(path)
        class_name = None if parsed is None else source.facts["class_names"].get(parsed.class_id)
        fault = structures[path].fault
        masks.append(CheckedMask(name=mask.name, class_name=class_name, area=mask.area, fault=fault))
    region = item.kind in (NAME, DESCRIPTION)
    sides, places = sides_by_name(source, "sides"), sides_by_name(source, "places")
    for mask in item.masks[:1] if region else ():
        path = mask.path.partition("/")[2]
        instance = instance_of(structures[path], path)
        sides[instance.bare_name], places[instance.bare_name] = instance.sides, instance.places
    return CheckedItem(
        image=str(source.facts["image"]),
        image_sha256=source.media[0].sha256 or "",
        question=item.question,
        # A question for a mask says its class, and the answer has no words: a letter stands for it.
        answer="m" if item.kind == GROUNDING else item.answer,
        marks=(REGION,) if region else (),
        visual_prompt=str(item.fields["mask"]) if region else "",
        hidden=names if region else (),
        named=tuple(structures[mask.path.partition("/")[2]].bare_name for mask in item.masks[:1]) if region else (),
        present=tuple(one.name for one in structures_of(source)),
        material=meta_of(source),
        sides=sides,
        places=places,
        masks=tuple(masks),
    )


def mecovqa() -> Pipeline:
    """Return the pipeline."""
    files = {f"mecovqa/{name}": _file(name).text for name in ("prompts", "templates", "review")}
    reader = "harness.data.releases.samed2d.mecovqa:READER"
    steps: Sequence[Ask | Read] = (
        Read(name="templates", about="Names of regions and masks of classes: templates.", apply=templated),
        Ask(name="description", about="A description of the image from its meta information.", build=ask_description),
        Read(name="descriptions", about="Descriptions name every structure and no other.", apply=read_description),
        Ask(name="dialogue", about="Questions on the image and its regions, from both.", build=ask_dialogue),
        Read(name="questions", about="Replies are read, and regions bound to masks.", apply=read_dialogue),
    )
    return Pipeline(
        name="mecovqa",
        version=1,
        title="Complex, region and grounding questions on images of SA-Med2D-20M",
        paper="Huang et al.: MedPLIB, AAAI 2025, arXiv:2412.09278",
        reads=READER,
        sources=candidates,
        steps=(
            selected_by("image_unusable", "The image can be read, and its name tells its dataset.", find_image_fault),
            selected_by("no_structure", "A mask of it has a class with a name.", find_no_structure),
            *steps,
            *item_checks(view, LIMITS),
        ),
        # About the paper's share of test questions: 6,454 of 311,369.
        shares={"train": 0.98, "test": 0.02},
        writer=MecovqaWriter,
        read_back=tuple(ReadBack(reader=reader, splits=("train", "test"), subset=subset) for subset in SUBSETS),
        data={**files, "samed2d/meta": meta_words().text, **lexicon_texts(*LEXICONS)},
        licences={"*": "As the collection in SA-Med2D-20M that the image comes from"},
        not_reproduced=(
            "The 100,000 images were sampled from SA-Med2D-20M by an unknown rule; --limit takes a sample by digest.",
            "Meta information was completed by hand; ours comes from file names, masks and a lexicon of regions.",
            "The experts' four examples per modality and task were not released; ours are one per modality.",
            "Prompts were improved until two experts approved 4,000 descriptions and 3,200 questions; 8,000 more were "
            "looked through at the end. review.yaml keeps these numbers for `harness construct review`.",
            "Modalities kept out of training for the zero-shot files: here every modality is split by patient alone.",
        ),
    )
