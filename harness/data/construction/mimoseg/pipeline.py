"""The pipeline `mimoseg`: perspectives I and II from templates, III and IV by a model that reads names and knowledge.

Source: Chen et al., arXiv:2510.10011, section 4 and supplementary material E.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from harness.data.construction.checks.checked_item import CheckedItem, CheckedMask, Limits
from harness.data.construction.checks.checklist import LEXICONS, item_checks
from harness.data.construction.checks.replies import read_object
from harness.data.construction.lexicons import lexicon_texts
from harness.data.construction.mimoseg.prompting import draw_prompts
from harness.data.construction.mimoseg.release import MimosegWriter
from harness.data.construction.pipeline import (
    Ask,
    Candidate,
    Draft,
    Inputs,
    Outcome,
    Pipeline,
    Read,
    ReadBack,
    selected_by,
)
from harness.data.construction.prompts import PromptFile, filled, read_prompt_file
from harness.data.construction.records import Item, ItemMask, Question, Rejection, Source
from harness.data.construction.samed2d.sources import (
    ImageStructure,
    candidates,
    find_image_fault,
    find_no_structure,
    meta_words,
    place_words,
    sides_by_name,
    structures_of,
)
from harness.data.releases.mimoseg.reader import SPLITS, SUBSETS
from harness.data.releases.mimoseg.wording import OURS, chosen, load_wording
from harness.data.releases.samed2d.reader import READER, parse_mask_name
from harness.paths import packaged_folder
from harness.records import Json
from harness.text.grounded_text import parse

# Most structures of one question of perspectives III and IV: more of them make lists and not questions.
MOST_STRUCTURES = 4
KINDS = ("box", "point")
MARKS: Mapping[str, str] = {"box": "<box>", "point": "<point>"}
NAMES_PER_QUESTION = ("one", "several")
LIMITS = Limits(question_words=80, answer_words=200)


@cache
def _file(name: str) -> PromptFile:
    return read_prompt_file(Path(__file__).parent / f"{name}.yaml")


def perspectives_of(source: Source) -> Sequence[int]:
    """Return the perspectives that the collection of an image is used for."""
    lists = _file("perspectives").lists
    found: Sequence[int] = lists["sources"].get(source.origin, lists["default"])
    return found


def knowledge_of(structure: ImageStructure) -> str:
    """Return what is known of a structure; empty if nothing is."""
    known: Mapping[str, str] = _file("knowledge").lists["knowledge"].get(structure.bare_name.lower(), {})
    return " ".join(known.values())


def _usable(source: Source) -> list[ImageStructure]:
    return [one for one in structures_of(source) if one.area]


def _picked(structures: Sequence[ImageStructure], key: str) -> ImageStructure:
    return structures[int(chosen([str(place) for place in range(len(structures))], key))]


def worded(draft: Draft) -> Outcome:
    """Make the items of perspectives I and II: templates with the names of what is asked for."""
    source, words, items = draft.source, load_wording(OURS), []
    allowed = perspectives_of(source)
    structures, usable = structures_of(source), _usable(source)
    asked: list[tuple[str, str, Sequence[str], Mapping[str, Json] | None]] = []
    if 1 in allowed:
        asked.append(("one", SUBSETS[0], [_picked(structures, f"{source.id}/one").name], None))
        if len(usable) > 1:
            asked.append(("all", SUBSETS[0], [one.name for one in usable], None))
    if 2 in allowed:
        prompts = source.facts["prompts"]
        asked += [
            (kind, f"{SUBSETS[1]}_{kind}", prompts[kind]["names"], prompts[kind]) for kind in KINDS if kind in prompts
        ]
    for label, kind, names, prompt in asked:
        item_id = f"{source.id}#{kind[12]}-{label}"
        instruction, answer = words.instruction(kind, names, item_id), words.answer(kind, names, item_id)
        if instruction and answer:
            fields = {"wording": OURS, "prompt": prompt, "names": list(names)}
            items.append(_item(draft, item_id, kind[:13], instruction, answer, fields, template=f"mimoseg/{OURS}"))
    return Outcome(items=items)


def _item(
    draft: Draft,
    item_id: str,
    kind: str,
    question: str,
    answer: str,
    fields: Mapping[str, Json],
    *,
    replies: tuple[str, ...] = (),
    template: str = "",
) -> Item:
    """Return an item whose entities are the names that its answer wraps, in their order."""
    by_name = {one.name.lower(): one for one in structures_of(draft.source)}
    entities: list[Json] = []
    masks: list[ItemMask] = []
    for entity in parse(answer, "mimo").entities:
        structure = _labelled(entity.name, by_name)
        entities.append({"name": entity.name, "masks": list(structure.masks)})
        for path, area in zip(structure.masks, structure.areas, strict=True):
            masks.append(ItemMask(name=structure.name, path=f"{READER.folders[0]}/{path}", area=area))
    return Item(
        id=item_id,
        source=draft.source,
        kind=kind,
        question=question,
        answer=answer,
        masks=tuple(masks),
        fields={**fields, "entities": entities},
        replies=replies,
        template=template,
    )


def _labelled(written: str, by_name: Mapping[str, ImageStructure]) -> ImageStructure:
    """Return the structure whose label an answer has written, perhaps in the plural."""
    name = written.lower()
    return by_name[next(one for one in (name, name.removesuffix("s"), name.removesuffix("es")) if one in by_name)]


def _questions(source: Source) -> Iterator[tuple[str, str, list[ImageStructure], str]]:
    """Yield (name of the question, prompt, structures, kind of visual prompt) of perspectives III and IV."""
    allowed = perspectives_of(source)
    known = [one for one in _usable(source) if knowledge_of(one)]
    if 3 in allowed and known:
        yield "perspective_3/one", "perspective_3", [_picked(known, f"{source.id}/three")], ""
        if len(known) > 1:
            yield "perspective_3/several", "perspective_3", known[:MOST_STRUCTURES], ""
    if 4 in allowed:
        for kind in KINDS:
            names = source.facts["prompts"].get(kind, {}).get("names", ())
            marked = [one for one in known if one.name in names]
            # A question on a part of what is marked would have a wrong answer.
            if marked and len(marked) == len(names) <= MOST_STRUCTURES:
                yield f"perspective_4/{kind}", "perspective_4", marked, kind


def image_words(source: Source) -> str:
    """Return what an image is, in words: "CT, axial view, abdomen"."""
    facts = source.facts
    parts = (facts["modality_name"], facts["orientation"] and f"{facts['orientation']} view", facts["region"])
    return ", ".join(str(part) for part in parts if part)


def ask_knowledge(draft: Draft) -> Iterator[Question]:
    """Ask for a question and its answer on the structures of an image; the model sees names and knowledge alone."""
    file, source = _file("prompts"), draft.source
    for name, prompt, structures, kind in _questions(source):
        several = NAMES_PER_QUESTION[len(structures) > 1]
        requirement = file.lists["requirements"][f"{prompt}_{several}"]
        yield file.prompts[prompt].ask(
            name,
            image=image_words(source),
            structures="\n".join(f"- {one.name}: {place_words(one)}" for one in structures),
            knowledge="\n".join(f"{one.name}: {knowledge_of(one)}" for one in structures),
            requirement=filled(requirement, {"mark": MARKS.get(kind, "")}),
            gesture=file.lists["gestures"].get(kind, ""),
        )


def bind(answer: str, names: Sequence[str]) -> str:
    """Return an answer with the first mention of every name wrapped in the grammar `<p>name<SEG></p>`.

    Of overlapping names the longest is taken, whatever its case, also in the plural. How the paper bound words to masks
    is unknown.
    """
    plain = parse(answer, "mimo").text
    spelled = sorted({name.lower() for name in names}, key=lambda name: (-len(name), name))
    if not spelled:
        return plain
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, spelled))})(e?s)?\b", re.IGNORECASE)
    bound: set[str] = set()

    def wrap(match: re.Match[str]) -> str:
        if match[1].lower() in bound:
            return match[0]
        bound.add(match[1].lower())
        return f"<p>{match[0]}<SEG></p>"

    return pattern.sub(wrap, plain)


def bound(draft: Draft) -> Outcome:
    """Read the replies, and bind the names that they say to masks."""
    items: list[Item] = list(draft.items)
    rejections: list[Rejection] = []
    for name, prompt, structures, kind in _questions(draft.source):
        if name not in draft.replies:
            continue
        found = read_object(draft.replies[name].text, {"question": "text", "answer": "text"})
        if isinstance(found, Rejection):
            rejections.append(Rejection(reason=found.reason, detail=found.detail, replies=(name,)))
            continue
        names = [one.name for one in structures]
        fields: dict[str, Json] = {"names": names, "prompt": draft.source.facts["prompts"][kind] if kind else None}
        answer = bind(str(found["answer"]), names)
        item_id = f"{draft.source.id}#{prompt[12]}-{name.partition('/')[2]}"
        items.append(_item(draft, item_id, prompt, str(found["question"]), answer, fields, replies=(name,)))
    unknown = [one.name for one in _usable(draft.source) if not knowledge_of(one)]
    if unknown and {3, 4} & set(perspectives_of(draft.source)):
        rejections.append(Rejection(reason="no_knowledge", detail=f"the knowledge base lacks {', '.join(unknown)}"))
    return Outcome(items=items, rejections=rejections)


def view(item: Item) -> CheckedItem:
    """Return what the checks need to know of an item."""
    source, names = item.source, tuple(item.fields["names"])
    structures = structures_of(source)
    by_path = {path: (one, area) for one in structures for path, area in zip(one.masks, one.areas, strict=True)}
    masks = []
    for mask in item.masks:
        path = mask.path.partition("/")[2]
        parsed = parse_mask_name(path)
        class_name = None if parsed is None else source.facts["class_names"].get(parsed.class_id)
        masks.append(CheckedMask(name=mask.name, class_name=class_name, area=mask.area, fault=by_path[path][0].fault))
    asked = [one for one in structures if one.name in names]
    known = " ".join(knowledge_of(one) for one in asked)
    prompt = item.fields.get("prompt") or {}
    return CheckedItem(
        image=str(source.facts["image"]),
        image_sha256=source.media[0].sha256 or "",
        question=item.question,
        answer=parse(item.answer, "mimo").text,
        marks=(MARKS["box" if "box" in prompt else "point"],) if prompt else (),
        visual_prompt=str(prompt.get("box") or prompt.get("points") or ""),
        hidden=() if item.kind == SUBSETS[0] else names,
        named=names,
        present=tuple(one.name for one in structures),
        material=f"{image_words(source)}. {known}",
        sides=sides_by_name(source, "sides"),
        places=sides_by_name(source, "places"),
        masks=tuple(masks),
    )


def _sources(inputs: Inputs) -> Iterator[Candidate]:
    return candidates(inputs, partial(draw_prompts, inputs.seed))


def mimoseg() -> Pipeline:
    """Return the pipeline."""
    files = {f"mimoseg/{name}": _file(name).text for name in ("prompts", "knowledge", "perspectives")}
    ours = (packaged_folder() / "mimoseg" / "wording" / f"{OURS}.json").read_text(encoding="utf-8")
    return Pipeline(
        name="mimoseg",
        version=1,
        title="Instructions and questions from four perspectives, answered in words bound to masks",
        paper="Chen et al.: MIMO, CVPR 2025, arXiv:2510.10011",
        reads=READER,
        sources=_sources,
        steps=(
            selected_by("image_unusable", "The image can be read, and its name tells its dataset.", find_image_fault),
            selected_by("no_structure", "A mask of it has a class with a name.", find_no_structure),
            Read(name="templates", about="Perspectives I and II: templates with names and masks.", apply=worded),
            Ask(
                name="knowledge",
                about="Perspectives III and IV: from names and knowledge.",
                build=ask_knowledge,
            ),
            Read(name="binding", about="Replies are read, and the names in them bound to masks.", apply=bound),
            *item_checks(view, LIMITS),
        ),
        shares={"train": 0.99, "val": 0.005, "test": 0.005},
        writer=MimosegWriter,
        read_back=tuple(
            ReadBack(reader="harness.data.releases.mimoseg.reader:READER", splits=SPLITS, subset=subset)
            for subset in SUBSETS
        ),
        data={
            **files,
            "mimoseg/ours": ours,
            "samed2d/meta": meta_words().text,
            **lexicon_texts(*LEXICONS),
        },
        licences={"*": "As the collection in SA-Med2D-20M that the image comes from"},
        not_reproduced=(
            "The 62 sources and the flags of Table 10 bear other names in SA-Med2D-20M: all get four perspectives.",
            "The knowledge base of the paper was not released; ours is shorter, and labels that it lacks are counted.",
            "The generation prompts (figures 8 to 12) are images in the paper; ours follow section 4 in our own words.",
            "How boxes and points were placed and words bound to masks is not published; our rules are documented.",
            "The split is by patient; the paper does not say so, and its shares differ from 99:0.5:0.5.",
            "Items of val and test were filtered by hand; `harness construct review` is the place for that.",
        ),
    )
