"""A construction in this process: a function of (source, question) stands for the model, and nothing is stored."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.construction.pipeline import Inputs, Pipeline, ReleaseFolder, Walk
from harness.data.construction.records import Item, Question, Rejection, Reply, Source
from harness.records.request import TextPart

Replies = Callable[[Source, Question], str]


@dataclass
class Made:
    """What a construction made: the items that are left, what was rejected by (step, reason), and the walk."""

    items: list[Item] = field(default_factory=list)
    rejected: list[tuple[str, Rejection]] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    asked: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(rejection.reason for _, rejection in self.rejected)


def walk(pipeline: Pipeline, inputs: Inputs, replies: Replies, sources: Sequence[Source] = ()) -> Made:
    """Take all sources, or those that are given, through all steps."""
    made = Made(sources=list(sources) or [candidate.load() for candidate in pipeline.sources(inputs)])

    def find(source: Source, question: Question) -> Reply | None:
        text = made.asked.get((source.id, question.name))
        if text is None:
            return None
        return Reply(
            question=question.name, prompt=question.prompt, version=question.version, key="", status="ok", text=text
        )

    for ask in pipeline.asks:
        asking = Walk(pipeline, find)
        for source in made.sources:
            for question in asking.questions(source, ask):
                made.asked[source.id, question.name] = replies(source, question)
    reading = Walk(pipeline, find, lambda step, _, rejection: made.rejected.append((step, rejection)))
    for source in made.sources:
        made.items += reading.items(source)[0]
    return made


def write(pipeline: Pipeline, inputs: Inputs, made: Made, folder: Path, split: str) -> list[str]:
    """Write all items to one split of a release below `folder`; return their places. Media are copied."""

    def link(path: str, target: str | None = None) -> None:
        end = folder / (target or path)
        end.parent.mkdir(parents=True, exist_ok=True)
        end.write_bytes((inputs.root / path).read_bytes())

    writer = pipeline.writer(ReleaseFolder(path=folder, inputs=inputs, link=link))
    places = [writer.add(item, split) for item in made.items]
    writer.close()
    return places


def words_of(question: Question) -> str:
    """Return the words of the last turn."""
    return "".join(part.text for part in question.messages[-1].parts if isinstance(part, TextPart))


def listed(words: str) -> list[tuple[str, str]]:
    """Return (what is in front of the colon, what is behind it) of the list that a prompt holds."""
    lines = (line[2:] for line in words.splitlines() if line.startswith("- "))
    return [(before, after) for before, _, after in (line.partition(": ") for line in lines)]


def name_of(entry: str) -> str:
    """Return the name of a structure from an entry of a list: without its token and its number."""
    return entry.rpartition("> ")[2].partition(" (")[0]


def mimoseg_reply(_: Source, question: Question) -> str:
    """Reply as the prompts of `mimoseg` ask: with every name and place, and nothing else."""
    words = words_of(question)
    what = next((mark for mark in ("<box>", "<point>") if mark in words), "the image")
    pairs = listed(words)
    said = " ".join(f"The {name} is {place}." for name, place in pairs)
    asked = f"What can be seen in {what}, and where is each of the {len(pairs)} parts?"
    return json.dumps({"question": asked, "answer": said})


def mecovqa_reply(_: Source, question: Question) -> str:
    """Reply as the prompts of `mecovqa` ask: a description, then questions on image and regions."""
    words = words_of(question)
    if question.name == "describe":
        return "An image. " + " ".join(
            f"The {name_of(entry)} is {place.partition(',')[0]}." for entry, place in listed(words)
        )
    description = words.partition("Description: ")[2].partition("\n")[0]
    found = [{"region": "", "question": "How do you read this image?", "answer": description}]
    for number, (entry, place) in enumerate(listed(words), 1):
        answer = f"It is the {name_of(entry)}, {place.rpartition(', ')[2]}."
        found.append({"region": f"region_{number}", "question": f"How does <region_{number}> look?", "answer": answer})
    return json.dumps(found)


def pubmedvision_reply(source: Source, _: Question) -> str:
    """Reply as the prompt of `pubmedvision` asks."""
    return json.dumps(
        {
            "Image_description": f"Seen here: {source.facts['caption']}",
            "QA-query": "Doctor, what can be seen in this image of mine?",
            "QA-answer": "There is one finding, which we will follow up.",
        }
    )
