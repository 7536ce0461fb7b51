"""What is wrong with an adapter's answers to the probes, in words, with what to do about it."""

import json
import re
import traceback
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import words_of
from harness.evaluation.adapter_check.probes import EMPTY, LENGTHY, WANTED, Probe, outside
from harness.records import Box, Capabilities, Json, Prediction
from harness.records.codec import to_json

# What shall be done about a fault, by the first pattern that its message fits.
REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"^(the process|no answer has the id|a line of the process|expected \{\"answers|no line within)",
        "mend the program; docs/own-process.md says what it must write, and its stderr what happened",
    ),
    (r"swapped the axes", "return arrays as (H, W) or (D, H, W), row before column: transpose what the model gives"),
    (
        r"predicted (soft )?mask is",
        "resize masks to the image as it is shown, or say Answer(grid=Grid(size=...)) for a grid of the model's own",
    ),
    (
        r"expected a boolean array|expected the values 0 and 1",
        "compare first: mask > 0",
    ),
    (r"soft_masks", "give probabilities between 0 and 1, one array per mask"),
    (r"did not return within", "end what waits: predict() must come back, with Answer(error=...) if it cannot answer"),
    (r"predict\(\) returned \d+ answers", "return one Answer per request, in order, for any number up to max_batch"),
    (r"predict\(\) returned", "return a list of Answer, one per request"),
    (r"finite number", "look for a division by zero, a log of 0, or an empty input"),
    (r"^nll|nll_tokens", "return one number per candidate: the mean negative log likelihood of its tokens"),
    (r"^embedding", "return one vector for the image and one for the text, of one length"),
    (
        r"is a volume, not an image|is an image, not a volume",
        "ask handles of request.volumes for .volume(), others for .image()",
    ),
    (r"read-only", "copy an image or volume before changing it: other requests share it"),
    (r"codec can't (en|de)code", "treat texts as UTF-8: name encoding='utf-8' wherever one is written or sent"),
    (r"surrogate", "decode the model's bytes with errors='replace'"),
    (r"^boxes", "return harness.Box(corners=...) with x1 y1 x2 y2 (3-D: z1 y1 x1 z2 y2 x2)"),
    (r"^entities", "return harness.PredictedEntity(name=..., mask=index into masks)"),
)
PLACE = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that an adapter does wrong.

    Attributes:
        what: What was expected and found.
        where: For which requests.
        do: What to do.
    """

    what: str
    where: str
    do: str


@dataclass(slots=True, kw_only=True)
class AdapterReport:
    """What the check of an adapter found.

    Attributes:
        capabilities: What the adapter claims; None if that failed.
        asked: Number of requests, each of which was asked three times.
        faults: What must be mended.
        notes: What may be intended.
    """

    capabilities: Capabilities | None = None
    asked: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def failures(
    asked: Sequence[Probe], found: Mapping[str, Prediction], declined: Container[str], report: AdapterReport
) -> set[str]:
    """Report what failed, equal faults once; return the keys of the requests.

    Args:
        asked: The probes.
        found: The predictions by key.
        declined: Keys of the requests that the adapter answered with an error of its own. To do so is right where a
            question is too long for the model, or empty.
        report: Gets faults and notes.
    """
    groups: dict[str, list[Probe]] = {}
    for probe in asked:
        error = found[probe.request.key].error
        if error is not None:
            place = PLACE.findall(error.traceback)[-1:]
            groups.setdefault(re.sub(r"\d+", "0", f"{error.type} {error.message} {place}"), []).append(probe)
    failed: set[str] = set()
    for group in groups.values():
        keys = {probe.request.key for probe in group}
        failed |= keys
        error = found[group[0].request.key].error
        assert error is not None
        if all(probe.request.key in declined and {EMPTY, LENGTHY} & {*probe.tags} for probe in group):
            report.notes.append(f"it declines {_where(group, asked)}: {error.message}")
            continue
        place = PLACE.findall(error.traceback)
        named = error.type not in ("ModelError", "DataError", "ProcessError", "Timeout", "_NoAnswerError")
        what = f"{error.type}: {error.message}" if named else error.message
        remedy = next((do for pattern, do in REMEDIES if re.search(pattern, error.message)), None)
        if place and named:
            file, line, function = place[-1]
            at = f"mend {Path(file).name}:{line} ({function})"
            remedy = f"{at}: {remedy}" if remedy else f"{at}, or return Answer(error=...) for what the model cannot do"
        report.faults.append(
            Fault(
                what=what,
                where=_where(group, asked),
                do=remedy or "see `What an answer may hold` in docs/add-a-model.md",
            )
        )
    return failed


def _where(group: Sequence[Probe], asked: Sequence[Probe]) -> str:
    """Return for which requests something holds: those that share what no other has, or how many and the first."""
    if len(group) == len(asked):
        return f"every request, first: {group[0].words}"
    for tag in group[0].tags:
        tagged = [probe for probe in asked if tag in probe.tags]
        if len(tagged) == len(group) < len(asked) and all(tag in probe.tags for probe in group):
            return f"where {tag} ({len(group)} of {len(asked)} requests), first: {group[0].words}"
    shared = [tag for tag in group[0].tags if all(tag in probe.tags for probe in group)]
    common = [tag for tag in shared if not all(tag in probe.tags for probe in asked)]
    some = f", all of them where {common[0]}" if common else ""
    return f"{len(group)} of {len(asked)} requests{some}, first: {group[0].words}"


def check_batches(
    asked: Sequence[Probe],
    raised: Sequence[tuple[tuple[str, ...], Exception]],
    failed: Container[str],
    report: AdapterReport,
) -> None:
    """Report batches that raise although each of their requests is answered alone.

    Args:
        asked: The probes.
        raised: The keys of the requests of each batch that raised, with the exception.
        failed: Keys of the requests that fail alone as well.
        report: Gets the fault.
    """
    for keys, error in raised:
        if len(keys) > 1 and not any(key in failed for key in keys):
            first = next(probe for probe in asked if probe.request.key == keys[0])
            place = PLACE.findall("".join(traceback.format_exception(error)))[-1:]
            at = f"mend {Path(place[0][0]).name}:{place[0][1]} ({place[0][2]}), or " if place else ""
            report.faults.append(
                Fault(
                    what=f"{words_of(error)} for a batch, though each of its requests is answered alone",
                    where=f"a batch of {len(keys)} requests, first: {first.words}",
                    do=f"{at}declare the max_batch that works",
                )
            )
            return


def check_repeats(
    answered: Sequence[Probe],
    batches: Sequence[Sequence[Probe]],
    passes: tuple[Mapping[str, Prediction], ...],
    capabilities: Capabilities,
    report: AdapterReport,
) -> None:
    """Check that a request has one answer, whatever else is asked and however often, where that is promised."""
    first, again, alone = ({key: _content(item) for key, item in found.items()} for found in passes)
    keys = [probe.request.key for probe in answered]
    by_key = {probe.request.key: probe for probe in answered}
    asked = [probe for batch in batches for probe in batch]
    repeated = [by_key[key] for key in keys if first[key] != again[key]]
    in_batch = [by_key[key] for key in keys if first[key] == again[key] != alone[key]]
    swapped = [
        probe
        for batch in batches
        if all(probe.request.key in by_key for probe in batch)
        # The same answers, each of them given alone as well, to other requests of the batch.
        and sorted(json.dumps(first[probe.request.key]) for probe in batch)
        == sorted(json.dumps(alone[probe.request.key]) for probe in batch)
        for probe in batch
        if first[probe.request.key] != alone[probe.request.key]
    ]
    if swapped and not repeated:
        report.faults.append(
            Fault(
                what="in a batch, requests get the answers that others of the batch get alone",
                where=_where(swapped, asked),
                do="return the answers in the order of the requests, also where they are sorted by length on the way",
            )
        )
    elif capabilities.batch_invariant and (repeated or in_batch):
        how = "when the same batch is asked a second time" if repeated else "alone than in a batch"
        why = (
            "keep no state between calls, and seed what is random from request.seed and request.key"
            if repeated
            else "pad and sort so that the rest of a batch changes nothing"
        )
        report.faults.append(
            Fault(
                what=f"batch_invariant is promised, and answers are others {how}",
                where=_where(repeated or in_batch, asked),
                do=f"{why}; or do not declare batch_invariant",
            )
        )
    elif repeated or in_batch:
        how, means = ("a second time", "two runs") if repeated else ("alone", "two batch sizes")
        report.notes.append(
            f"answers are others {how} ({len(repeated or in_batch)} of {len(keys)} requests); batch_invariant is not "
            f"declared, so that is allowed, and numbers of {means} may differ"
        )


def _content(prediction: Prediction) -> dict[str, Json]:
    """Return what an answer says, without what it cost."""
    content: dict[str, Json] = to_json(replace(prediction, key="", seconds=0.0, usage={}, remarks=()))
    return content


def check_content(
    answered: Sequence[Probe], found: Mapping[str, Prediction], claims: Container[str], report: AdapterReport
) -> None:
    """Check that what is claimed is given, that boxes lie in their images, and that answers depend on the image."""
    beyond: list[tuple[Probe, str]] = []
    shares: list[Probe] = []
    boxed = 0
    for probe in answered:
        size = probe.request.media[0].record.size if probe.request.media else ()
        crop = probe.request.media[0].record.crop if size else None
        for place, stored in enumerate(found[probe.request.key].boxes if size else ()):
            boxed += 1
            # Stored in the frame of the original; back to the image as it was shown.
            shift = (0,) * len(stored.corners) if crop is None else crop.corners[:2] * 2
            box = Box(corners=tuple(value - by for value, by in zip(stored.corners, shift, strict=True)))
            if outside(box, size):
                height, width = size[-2:]
                shown = " x ".join(map(str, size))
                order = "" if len(size) == 3 or max(box.corners) > max(height, width) else "; y may stand before x"
                frame = "; they may be per mille" if max(box.corners) <= 1000 and not order else ""
                beyond.append((probe, f"boxes[{place}] is {box.corners} where {shown} pixels are shown{order}{frame}"))
            elif 0 < max(box.corners) <= 1:
                shares.append(probe)
    if beyond:
        what = f"{beyond[0][1]}: outside of the image, or its end before its start"
        do = "give pixels of the image as it is shown, x1 y1 x2 y2 (3-D: z1 y1 x1 z2 y2 x2), the end outside of the box"
        probed = list(dict.fromkeys(probe.words for probe, _ in beyond))
        group = [next(probe for probe, _ in beyond if probe.words == words) for words in probed]
        report.faults.append(Fault(what=what, where=_where(group, answered), do=do))
    elif shares and len(shares) == boxed:
        what = "all boxes lie between 0 and 1, as shares of the image do"
        report.faults.append(
            Fault(
                what=what,
                where=_where(shares, answered),
                do="multiply x by the width and y by the height: boxes are pixels",
            )
        )
    for want in WANTED:
        wanted = [probe for probe in answered if probe.request.wants == (want,)]
        answers = [found[probe.request.key] for probe in wanted]
        if wanted and all(item.status == "empty" for item in answers):
            if want not in claims:
                report.notes.append(f"no answer holds {want}, which the dialect of its replies allows")
            elif all(item.text == "" for item in answers):
                report.notes.append(f"it says nothing to all {len(wanted)} requests where {WANTED[want]}")
            else:
                what = f"capabilities() claims that it gives {want}, and no answer holds any"
                do = f"fill Answer({want}=...), or do not claim it"
                report.faults.append(Fault(what=what, where=f"all {len(wanted)} requests where {WANTED[want]}", do=do))
        elif any(item.status == "empty" and item.text is None for item in answers):
            count = sum(item.status == "empty" for item in answers)
            report.notes.append(
                f"{count} of {len(answers)} answers are empty where {WANTED[want]}; a model that finds nothing says so "
                "by a mask without foreground, or in words: an empty answer scores the worst value"
            )
        lengths = sorted({len(vector) for item in answers for vector in item.embedding})
        if len(lengths) > 1:
            what = f"embeddings have {', '.join(map(str, lengths))} numbers"
            do = "give vectors of one length for whatever image and text: they are compared with each other"
            report.faults.append(Fault(what=what, where=f"requests where {WANTED[want]}", do=do))
        images = [probe for probe in wanted if len(probe.request.images) == 1 and probe.request.visual_prompts == ()]
        plain = {json.dumps(_content(found[probe.request.key])) for probe in images}
        if want != "masks" and len(images) > 1 and len(plain) == 1 and any(item.status == "ok" for item in answers):
            report.notes.append(f"the answers to all images and questions are equal where {WANTED[want]}")
