"""`harness reply` and `harness doctor frames`: what the dialects of models read, tried on lines and on a run."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import AS_JSON, EXIT_BAD_INPUT, errors_as_exit_codes, say, terminal_width, write_json
from harness.records import Json

if TYPE_CHECKING:
    from harness.text.dialects.reply_reader import ReplyReader


@click.command()
@click.option("--dialect", required=True, help="How the model writes, such as qwen3_vl; docs/models.md lists them.")
@click.option("--frame", required=True, help="The frame of its numbers, such as per_mille or resized.")
@click.option("--frame-args", help='Arguments of the frame as JSON, such as \'{"factor": 28, "order": "yxyx"}\'.')
@click.pass_obj
def reply(debug: bool, dialect: str, frame: str, frame_args: str | None) -> None:
    """Read replies: JSON lines on stdin, boxes and points in pixels of the original image back, one line each.

    \b
    echo '{"reply": "[{\\"bbox_2d\\": [9, 9, 90, 90]}]", "image_size": [480, 640]}' |
        harness reply --dialect qwen3_vl --frame per_mille
    """
    with errors_as_exit_codes(debug):
        readable = True
        for line in answers(sys.stdin.buffer, dialect, frame, frame_args):
            write_json(line)
            if line["status"] == "error":
                readable = False
                say(f"harness: {line['detail']['error']}")
    sys.exit(0 if readable else EXIT_BAD_INPUT)


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="Show the contradicted frames, too.")
@AS_JSON
@click.pass_obj
def frames(debug: bool, run_dir: Path, every: bool, as_json: bool) -> None:
    """Say which frames and orders the boxes of a run fit, by its answers alone.

    Targets are not used. A frame that fits need not be the model's: only its authors can say which it is.
    """
    from harness.cli.listing import table
    from harness.reports.frame_fit import frame_report

    with errors_as_exit_codes(debug):
        found = frame_report(run_dir)
        if as_json:
            write_json(found.to_json())
            return
        rows = [
            {
                "frame": fit.frame,
                "order": fit.order,
                "": "declared" if fit.declared else "",
                "the answers": fit.verdict,
                "such as": fit.example,
            }
            for fit in found.fits
            if every or fit.declared or fit.verdict == "fits"
        ]
        dialect = f", read as {found.dialect}" if found.dialect else ""
        say(f"{found.read} of {found.replies} replies hold boxes, {found.fits[0].boxes} in all{dialect}")
        say(f"declared: {found.declared or 'nothing; --model-args reply=DIALECT,frame=FRAME declares it'}")
        click.echo(table(rows, terminal_width()))


def answers(lines: Iterable[bytes], dialect: str, frame: str, frame_args: str | None) -> Iterator[dict[str, Json]]:
    """Return one object for every line that is not blank, in order.

    Args:
        lines: `{"reply": str, "image_size": [H, W]}` each; [D, H, W] for a volume.
        dialect: Name of the dialect.
        frame: Name of the frame.
        frame_args: Its arguments as JSON; None for none.
    Raises:
        SpecError: The dialect, the frame or its arguments do not exist.
    """
    from harness.errors import SpecError
    from harness.text.dialects.reply_reader import ReplyReader

    try:
        arguments = None if frame_args is None else json.loads(frame_args)
    except ValueError as error:
        raise SpecError(
            f'--frame-args: expected JSON such as {{"factor": 28}}, found {frame_args!r}: {error}'
        ) from error
    reader = ReplyReader.of(dialect, frame, arguments, "harness reply")
    # Not a generator itself: a wrong name is refused before the first line is read.
    return (_answer(line, number, reader) for number, line in enumerate(lines, 1) if line.strip())


def _answer(line: bytes, number: int, reader: "ReplyReader") -> dict[str, Json]:
    from harness.errors import DataError
    from harness.records.codec import mask_to_json

    try:
        given = json.loads(line)
        said, size = given["reply"], given["image_size"]
        whole = isinstance(size, list) and len(size) in (2, 3) and all(type(n) is int and n > 0 for n in size)
        if not isinstance(said, str) or not whole:
            raise DataError(f"reply: {said!r:.40}, image_size: {size!r:.40}")
        found = reader.read(said, tuple(size))
    except (ValueError, KeyError, TypeError, RecursionError, DataError) as error:
        words = f'line {number}: expected {{"reply": "...", "image_size": [H, W]}}, found {error}'
        if isinstance(error, DataError) and not str(error).startswith("reply:"):
            words = f"line {number}: {error}"
        return {"status": "error", "boxes": [], "points": [], "labels": [], "detail": {"error": words}}
    answer: dict[str, Json] = {
        "status": found.status,
        "boxes": [list(box.corners) for box in found.boxes],
        "points": [list(point) for point in found.points],
        "labels": list(found.labels),
    }
    if "masks" in reader.dialect.gives:
        answer["masks"] = [mask_to_json(mask) for mask in found.masks]
        answer["mask_labels"] = [name.label for name in found.mask_names]
    scores = [name.score for name in (*found.box_names, *found.point_names, *found.mask_names)]
    if any(score is not None for score in scores):
        answer["scores"] = scores
    return answer
