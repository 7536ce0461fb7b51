"""Samples that lm-eval and lmms-eval log: JSON lines of `--log_samples`.

lm-eval 0.4 (`EvaluationTracker.save_results_samples`) writes `doc_id`, `doc`, `target`, `arguments`, `resps`,
`filtered_resps`, `filter` and hashes. lmms-eval drops `doc` and `arguments` for `input`, and `resps` where the filter
changed nothing. The raw `resps` are scored: what a filter cut from them is the business of our protocols.
"""

from collections.abc import Iterator
from pathlib import Path

from harness.errors import DataError
from harness.models.submitted import prediction_lines
from harness.models.submitted.foreign_logs.logged_answer import (
    LoggedAnswer,
    Row,
    UnreadRow,
    ids_in,
    json_of,
    texts_in,
)
from harness.models.submitted.prediction_lines import MOST_LINE_BYTES, MOST_MESSAGE, STATUSES, Line, printable
from harness.records import Json


def rows(path: Path) -> Iterator[Row]:
    """Yield the answers of every line, one per repetition; a line at fault costs itself only.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        for line in prediction_lines.lines_of(file):
            if line.content.strip():
                try:
                    yield from _answers(line)
                except DataError as error:
                    yield UnreadRow(line=line.number, message=str(error))


def _answers(line: Line) -> list[LoggedAnswer]:
    if line.size > MOST_LINE_BYTES:
        raise DataError(f"has {line.size:,} bytes; expected at most {MOST_LINE_BYTES:,}")
    value = json_of(line.content)
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {type(value).__name__}")
    replies = _replies(value)
    doc = value.get("doc")
    fields = doc if isinstance(doc, dict) else {}
    # What the model answered, and what was made of it, are no questions.
    others = (
        "doc",
        "target",
        "resps",
        "filtered_resps",
        "arguments",
        "input",
        "filter",
        "statuses",
        "errors",
        "scores",
    )
    own = {name: item for name, item in value.items() if name not in others}
    return [
        LoggedAnswer(
            line=line.number,
            ids=(*ids_in(fields), *ids_in(own)),
            questions=tuple(dict.fromkeys((*texts_in(fields), *texts_in({"doc": doc, **own})))),
            prompt=_prompt(value),
            repeat=repeat,
            text=reply,
            status=status,
            error=error,
        )
        for repeat, (reply, (status, error)) in enumerate(zip(replies, _statuses(value, len(replies)), strict=True))
    ]


def _replies(value: dict[str, Json]) -> list[str]:
    """Return the reply of each repetition.

    Raises:
        DataError: The line holds none, or what it holds is no reply.
    """
    name = "resps" if "resps" in value else "filtered_resps"
    found = value.get(name)
    if found is None:
        raise DataError("has neither resps nor filtered_resps; expected a line of --log_samples")
    # One item per request, and in it one per repetition; a filter that takes the first leaves the reply itself.
    if not isinstance(found, list) or not found:
        raise DataError(f"{name}: expected a list of replies, found {found!r:.60}")
    first = found[0][0] if isinstance(found[0], list) and found[0] else found[0]
    summed = name == "filtered_resps" and isinstance(found[0], list) and found[0][1:] in (["True"], ["False"])
    if isinstance(first, list) or summed:
        # The sums depend on the number of tokens, which the log does not hold; ours are means per token.
        raise DataError(
            f"{name}: holds log likelihoods of {len(found)} continuations, which no protocol of ours reads; run the "
            "task with output_type: generate_until, or the model through this harness"
        )
    if len(found) > 1:
        raise DataError(f"{name}: expected the reply to one request, found {len(found)} requests")
    replies = found[0] if isinstance(found[0], list) else found
    if not replies or not all(isinstance(reply, str) for reply in replies):
        raise DataError(f"{name}: expected text, found {replies!r:.60}")
    return replies


def _statuses(value: dict[str, Json], repeats: int) -> list[tuple[str, str | None]]:
    """Return status and error of each repetition: those that `harness export lm-eval` adds, else `ok` for all."""
    statuses, errors = value.get("statuses"), value.get("errors")
    if not isinstance(statuses, list) or len(statuses) != repeats or not set(map(str, statuses)) <= set(STATUSES):
        return [("ok", None)] * repeats
    errors = errors if isinstance(errors, list) and len(errors) == repeats else [None] * repeats
    return [
        (status, printable(error, MOST_MESSAGE) if isinstance(error, str) else None)
        for status, error in zip(statuses, errors, strict=True)
    ]


def _prompt(value: dict[str, Json]) -> str:
    """Return the words of the first request; empty if the line does not hold them."""
    found = value.get("arguments", value.get("input"))
    for _ in range(3):  # {"gen_args_0": {"arg_0": text}}, [[text, settings]] or text
        if isinstance(found, dict):
            found = next(iter(found.values()), None)
        elif isinstance(found, list):
            found = found[0] if found else None
    if not isinstance(found, str):
        return ""
    if found.startswith(("[{", '{"')):  # a chat, as lm-eval hands it to a model behind an interface
        try:
            return "\n".join(_contents(json_of(found.encode(errors="replace"))))
        except DataError:
            pass
    return found


def _contents(chat: Json) -> Iterator[str]:
    waiting = [chat]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += reversed(item)
        elif isinstance(item, dict):
            waiting += [item[name] for name in ("text", "content") if name in item]
        elif isinstance(item, str):
            yield item
