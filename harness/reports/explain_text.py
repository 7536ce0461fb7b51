"""An explanation of one sample as text for the terminal, and as an image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.roots import data_roots
from harness.errors import SpecError
from harness.imaging import crops, drawing, masks
from harness.imaging.media_store import MediaStore
from harness.records import Box, Mask, Points, VisualPrompt
from harness.reports.explain import Explanation, Value
from harness.tasks.prepare import Notice, prepare_task

# Most pixels of the image's longer edge.
SIDE = 768
# As wide as the longest label, with two spaces after it.
LABEL_WIDTH = 15


def text(explanation: Explanation) -> str:
    """Return everything that is known of the sample, one fact per line."""
    task = explanation.task
    changed = "; its file changed since the run" if explanation.changed else ""
    facts = [
        ("task", f"{task.task} version {task.version}{changed}"),
        ("model", f"{explanation.model}, {explanation.data} data"),
        *_sample_facts(explanation),
        *_request_facts(explanation),
        *_target_facts(explanation),
        *_prediction_facts(explanation),
    ]
    further = "\n" + " " * (LABEL_WIDTH + 2)
    lines = [f"  {label.ljust(LABEL_WIDTH)}" + value.replace("\n", further) for label, value in facts]
    return "\n".join([explanation.row.sample.id, *lines, *_score_table(explanation.scores)])


def _sample_facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    sample = explanation.row.sample
    for media in sample.media:
        size = " x ".join(map(str, media.size)) or "size unknown"
        yield media.kind, f"{media.path}   {size}   sha256 {(media.sha256 or 'unknown')[:12]}"
    yield "cluster", sample.cluster or "-"
    yield "strata", ", ".join(f"{key} {value}" for key, value in sorted(sample.strata.items())) or "-"
    if sample.question:
        yield "question", sample.question
    # Not strict: there are as many letters as options.
    for letter, choice in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", sample.choices, strict=False):
        yield f"option {letter}", choice


def _request_facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    request = explanation.request
    if request is None:
        return
    yield "prompt", request.prompt
    for media in request.media:
        if media.record.crop is not None:
            yield "cropped to", f"box {_numbers(media.record.crop.corners)}"
        for overlay in media.record.drawn:
            yield "painted", f"{overlay.style} of {_visual_prompt(overlay.prompt)}"
    for prompt in request.visual_prompts:
        yield "visual prompt", _visual_prompt(prompt)
    for candidate in request.candidates:
        yield "candidate", candidate
    if explanation.task.repeats > 1:
        yield "repetition", f"{explanation.row.repeat + 1} of {explanation.task.repeats}"
    yield "key", explanation.row.key


def _visual_prompt(prompt: VisualPrompt) -> str:
    if isinstance(prompt, Box):
        return f"box {_numbers(prompt.corners)}"
    if isinstance(prompt, Points):
        found = zip(prompt.points, prompt.labels, strict=True)
        return "points " + ", ".join(f"{'+' if label else '-'}({_numbers(point)})" for point, label in found)
    return f"region, {_extent(prompt.mask)}"


def _target_facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    target = explanation.row.sample.target
    if target.answers:
        yield "target", " | ".join(target.answers)
    if target.choice is not None:
        yield "target", f"option {target.choice}"
    for entity in target.entities:
        yield "target mask", f"{entity.name}: {_extent(entity.mask) if entity.mask is not None else 'no mask'}"
    for box in target.boxes:
        yield "target box", _numbers(box.corners)
    if target.absent:
        yield "target", "nothing to find: no mask is the right answer"
    if target.ignore is not None:
        yield "ignored", f"{_extent(target.ignore)}; taken out of predicted masks before they are scored"


def _prediction_facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    yield "status", explanation.status + (f": {explanation.row.defect}" if explanation.row.defect else "")
    prediction = explanation.prediction
    if prediction is None:
        return
    if prediction.rendered is not None:
        yield "sent", prediction.rendered
    if prediction.text is not None:
        yield "answer", prediction.text
    if prediction.choice is not None:
        yield "chosen", f"option {prediction.choice}"
    if prediction.read_as is not None:
        yield "read as", prediction.read_as
    for number, mask in enumerate(prediction.masks):
        score = f", score {prediction.mask_scores[number]:.4g}" if number < len(prediction.mask_scores) else ""
        yield f"mask {number + 1}", _extent(mask) + score
    for box in prediction.boxes:
        yield "box", _numbers(box.corners)
    for point in prediction.points:
        yield "point", _numbers(point)
    for entity in prediction.entities:
        yield "entity", entity.name + (f", mask {entity.mask + 1}" if entity.mask is not None else ", no mask")
    if prediction.nll:
        yield "nll", _numbers(prediction.nll)
    if prediction.error is not None:
        yield "error", f"{prediction.error.type}: {prediction.error.message}"
        if prediction.error.traceback:
            yield "traceback", prediction.error.traceback.rstrip()
    yield "seconds", f"{prediction.seconds:.3g}"


def _extent(mask: Mask) -> str:
    """Return the size of a mask and its bounding box in words."""
    covered, whole = masks.area(mask), 1
    for length in mask.size:
        whole *= length
    box = masks.bounding_box(mask)
    unit = "pixels" if len(mask.size) == 2 else "voxels"
    corners = "x1 y1 x2 y2" if len(mask.size) == 2 else "z1 y1 x1 z2 y2 x2"
    where = f", bounding box {corners} = {_numbers(box.corners)}" if box is not None else ""
    return f"{covered:,} of {whole:,} {unit} ({covered / whole:.2%}){where}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _score_table(scores: Sequence[Value]) -> list[str]:
    rows = [("metric", "protocol", "status", "value", "from")]
    for value in scores:
        status = value.status.replace("_", " ") + (", worst value" if value.failed else "")
        origin = [_named(value.stats, "g"), *(f"{name} {found}" for name, found in value.detail.items())]
        values = _named(value.values, ".4f")
        rows.append((value.metric, value.protocol, status, values, "; ".join(filter(None, origin))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _named(values: Mapping[str, float | None], form: str) -> str:
    return ", ".join(f"{name} {'-' if value is None else format(value, form)}" for name, value in values.items())


def write_image(path: Path, explanation: Explanation, given_roots: Sequence[str], cache: Path, notice: Notice) -> None:
    """Write the sample with its target and predicted masks as a PNG.

    Args:
        path: The file to write.
        explanation: The sample.
        given_roots: As `--data-root` gives them; if empty, the outlines are drawn on a plain ground.
        cache: Folder of manifests and derived files.
        notice: Called with news while data that are not prepared yet are prepared.
    Raises:
        SpecError: The sample has neither an image of known size nor a mask, a data root does not exist, or the file
            cannot be written.
        DataError: The image is not below the data roots, or is not the one that the run saw.
    """
    sample, request, prediction = explanation.row.sample, explanation.request, explanation.prediction
    predicted = prediction.masks if prediction is not None else ()
    image, shown = None, drawing.slice_to_draw(sample, predicted)
    if given_roots and sample.media and (sample.media[0].kind == "image" or shown is not None):
        prepared = prepare_task(explanation.task, data_roots(given_roots, cache), cache, notice)
        media = sample.media[0] if shown is None else replace(sample.media[0], kind="image", slice=shown)
        image = MediaStore((prepared.root, prepared.derived)).image(media)
    drawn = drawing.draw_sample(
        sample,
        predicted,
        prompts=crops.prompts_in_original(request) if request is not None else (),
        image=image,
        side=SIDE,
    )
    if drawn is None:
        raise SpecError(f"--png: {sample.id} has neither an image of known size nor a mask; leave the option out")
    try:
        path.write_bytes(drawn.png)
    except OSError as error:
        raise SpecError(f"--png {path}: cannot be written: {error.strerror or error}; name another file") from error
