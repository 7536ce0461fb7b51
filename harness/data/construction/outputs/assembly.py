"""The outputs of a construction, made from its sources and the stored replies alone: the same bytes every time."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.construction.outputs.release_files import MediaLinks
from harness.data.construction.outputs.review import REVIEW_STEP, read_labels
from harness.data.construction.outputs.splits import split_clusters
from harness.data.construction.pipeline import Draft, FindReply, Inputs, Pipeline, ReleaseFolder, StepCount, Walk
from harness.data.construction.records import Item, Rejection, Reply, Source
from harness.records import Json
from harness.records.codec import digest, sha256_file

RELEASE, PEDIGREE, REJECTED, SPLIT, FUNNEL = (
    "release",
    "pedigree.jsonl",
    "rejected.jsonl",
    "split.json",
    "funnel.json",
)
NEW = ".new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """Everything that the outputs of a construction are made from, apart from sources and replies.

    Attributes:
        pipeline, inputs: What is constructed, from what.
        out: The folder of the construction.
        record: The content of its `run.json`.
        listed, taken: Number of sources that the data root holds, and that were taken of them.
        model, model_digest: Name of the model, and digest of its identity; None if nothing is asked.
        copies: Copy media instead of linking them.
        labels: File of the labels of people; it need not exist.
    """

    pipeline: Pipeline
    inputs: Inputs
    out: Path
    record: Mapping[str, Json]
    listed: int
    taken: int
    model: str | None
    model_digest: str | None
    copies: bool
    labels: Path


def write_outputs(
    assembly: Assembly, sources: Callable[[], Iterable[Source]], find: Callable[[], FindReply]
) -> dict[str, Any]:
    """Write everything but the card, beside what is there, then in its place; return the content of `funnel.json`.

    Args:
        assembly: What is constructed.
        sources: Returns the sources in their order, each time anew.
        find: Returns a function that finds the replies of one pass over the sources.
    Raises:
        HarnessError: The labels of people cannot be read, or the disk refuses what is written.
    """
    new = assembly.out / NEW
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    splits = split_clusters(sources(), assembly.pipeline.shares, assembly.inputs.seed)
    made = _Writing(assembly, new, splits)
    with ExitStack() as stack:
        rejected = stack.enter_context((new / REJECTED).open("w", encoding="utf-8"))
        pedigree = stack.enter_context((new / PEDIGREE).open("w", encoding="utf-8"))

        def reject(step: str, draft: Draft, rejection: Rejection) -> None:
            line = made.rejection(step, draft, rejection)
            rejected.write(json.dumps(line, ensure_ascii=False) + "\n")

        walk = Walk(assembly.pipeline, find(), reject)
        for source in sources():
            items, replies = walk.items(source)
            for line in made.release(items, replies, reject):
                pedigree.write(json.dumps(line, ensure_ascii=False) + "\n")
    made.writer.close()
    funnel = made.funnel(walk.counts)
    record = assembly.record
    (new / SPLIT).write_text(
        json.dumps(
            {
                "rule": "by cluster: that of the source if it has one, else the order of sha256(seed, cluster) cut by "
                "the shares",
                "seed": record["seed"],
                "shares": dict(assembly.pipeline.shares),
                "clusters": splits,
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n",
        encoding="utf-8",
    )
    (new / FUNNEL).write_text(json.dumps(funnel, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in (RELEASE, PEDIGREE, REJECTED, SPLIT, FUNNEL):
        replace(new / name, assembly.out / name)
    shutil.rmtree(new)
    return funnel


def replace(new: Path, old: Path) -> None:
    """Put a file or folder in the place of another; a kill in between leaves a construction that is made anew."""
    if old.is_dir():
        shutil.rmtree(old)
    new.replace(old)


class _Writing:
    """Writes the items of one construction, and counts them."""

    def __init__(self, assembly: Assembly, new: Path, splits: Mapping[str, str]) -> None:
        self.assembly = assembly
        self.folder = new / RELEASE
        self.folder.mkdir()
        self.links = MediaLinks(assembly.inputs.root, self.folder, copies=assembly.copies)
        release = ReleaseFolder(path=self.folder, inputs=assembly.inputs, link=self.links)
        self.writer = assembly.pipeline.writer(release)
        self.splits = splits
        self.labels = read_labels(assembly.labels)
        self.reviewed = StepCount(REVIEW_STEP, "A person keeps or rejects a sample of the items.", "items")
        self.by_split: Counter[str] = Counter()
        self.by_kind: Counter[str] = Counter()
        self.by_stratum: dict[str, Counter[str]] = {}
        self.by_origin: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = {}
        self.clusters: dict[str, set[str]] = {}
        self.sources: set[str] = set()

    def release(
        self, items: Iterable[Item], replies: Mapping[str, Reply], reject: Callable[[str, Draft, Rejection], None]
    ) -> Iterator[dict[str, Json]]:
        """Write the items that no person has rejected; yield the pedigree of each."""
        for item in items:
            label = self.labels.get(item.id)
            if label is not None:
                self.reviewed.taken += 1
                if not label.keep:
                    self.reviewed.rejected[REVIEW_STEP] += 1
                    draft = Draft(source=item.source, replies=dict(replies))
                    reject(REVIEW_STEP, draft, Rejection(reason=REVIEW_STEP, detail=label.note, item=item))
                    continue
                self.reviewed.made += 1
            source = item.source
            split = self.splits[source.cluster]
            place = self.writer.add(item, split)
            self.by_split[split] += 1
            self.by_kind[item.kind] += 1
            self.kinds.setdefault(split, Counter())[item.kind] += 1
            self.by_origin[source.origin] += 1
            self.clusters.setdefault(split, set()).add(source.cluster)
            self.sources.add(source.id)
            for name, value in source.strata.items():
                self.by_stratum.setdefault(name, Counter())[value] += 1
            yield {
                "item": item.id,
                "place": place,
                "split": split,
                "source": source.id,
                "cluster": source.cluster,
                **self._pedigree(source, item.template, [replies[name] for name in item.replies]),
                "record": item.to_json(),
            }

    def rejection(self, step: str, draft: Draft, rejection: Rejection) -> dict[str, Json]:
        """Return the line of `rejected.jsonl` of one rejection."""
        item = rejection.item
        names = rejection.replies if item is None else item.replies
        pedigree = self._pedigree(
            draft.source, "" if item is None else item.template, [draft.reply(name) for name in names]
        )
        return {
            "step": step,
            "reason": rejection.reason,
            "detail": rejection.detail,
            "source": draft.source.id,
            "item": None if item is None else item.id,
            **pedigree,
            "record": None if item is None else item.to_json(),
        }

    def _pedigree(self, source: Source, template: str, replies: Iterable[Reply]) -> dict[str, Json]:
        found: list[Json] = [
            {
                "question": reply.question,
                "prompt": reply.prompt,
                "version": reply.version,
                "key": reply.key,
                "status": reply.status,
                "text": reply.text,
            }
            for reply in replies
        ]
        return {
            "inputs": dict(source.inputs),
            "template": template or None,
            "model": self.assembly.model if found else None,
            "model_digest": self.assembly.model_digest if found else None,
            "replies": found,
        }

    def funnel(self, counts: Iterable[StepCount]) -> dict[str, Any]:
        """Return the content of `funnel.json`."""
        assembly = self.assembly
        steps = [*counts, *([self.reviewed] if self.labels else [])]
        files, media = self._files()
        return {
            "schema": 1,
            "pipeline": assembly.pipeline.name,
            "version": assembly.pipeline.version,
            "data": assembly.record["data"],
            "model": assembly.model,
            "seed": assembly.record["seed"],
            "limit": assembly.record["limit"],
            "sources": {"listed": assembly.listed, "taken": assembly.taken},
            "steps": [
                {
                    "step": count.name,
                    "about": count.about,
                    "unit": count.unit,
                    "in": count.taken,
                    "out": count.made,
                    "rejected": dict(sorted(count.rejected.items())),
                }
                for count in steps
            ],
            "release": {
                "items": sum(self.by_split.values()),
                "sources": len(self.sources),
                "by_split": {
                    split: {
                        "items": self.by_split[split],
                        "clusters": len(self.clusters.get(split, ())),
                        "kinds": dict(sorted(self.kinds.get(split, {}).items())),
                    }
                    for split in assembly.pipeline.shares
                },
                "by_kind": dict(sorted(self.by_kind.items())),
                "by_stratum": {name: dict(sorted(values.items())) for name, values in sorted(self.by_stratum.items())},
                "by_origin": dict(sorted(self.by_origin.items())),
                "files": files,
                "media": media,
            },
        }

    def _files(self) -> tuple[dict[str, Json], dict[str, Json]]:
        """Return the sha256 of each file that was written, by path, and what the linked media are."""
        files: dict[str, Json] = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and name not in self.links.paths:
                files[name] = sha256_file(path)
        return files, {"files": len(self.links.paths), "digest": digest(sorted(self.links.paths))}
