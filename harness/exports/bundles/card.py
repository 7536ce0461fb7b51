"""`card.md` of a bundle: the model, the tasks and their headline numbers for a person who opens the archive."""

from collections.abc import Mapping
from typing import Any

from harness.models.description import display_name
from harness.records import Json
from harness.scoring.results import headline_row

# Characters that would begin markup in Markdown; a name or a reason comes from outside.
_MARKUP = "\\`*_{}[]<>()#+!|~"


def card(results: Mapping[str, Json]) -> str:
    """Return the card as Markdown.

    Args:
        results: The content of `results.json`.
    """
    model = results["model"]
    about = [
        ("page", model.get("url")),
        ("paper", model.get("paper")),
        ("parameters", f"{model['params']:,}" if "params" in model else None),
        ("licence", model.get("licence")),
        ("evaluated as", model["id"]),
        ("data", "synthetic patients" if results["data"] == "phantom" else "real"),
    ]
    lines = [f"# {_plain(display_name(model))}", ""]
    lines += [f"- {name}: {_plain(str(value))}" for name, value in about if value is not None]
    lines += [
        "",
        "| task | version | headline | value | 95 % interval | n | coverage |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(task, block) for task, block in results["tasks"].items()]
    lines += [
        f"| {_plain(task)} | | unsupported: {_plain(reason)} | | | | |"
        for task, reason in results["unsupported"].items()
    ]
    return "\n".join(
        [
            *lines,
            "",
            "`leaderboard verify FILE.zip --data-root DATA` scores the predictions again, against targets from DATA.",
            "Research use only, not a medical device.",
            "",
        ]
    )


def _line(task: str, block: Mapping[str, Any]) -> str:
    row = headline_row(block)
    if row is None:
        return f"| {_plain(task)} | {block['version']} | not scored | | | | {block['coverage']:.4f} |"
    value = "none" if row["value"] is None else f"{row['value']:.4f}"
    interval = "" if row["ci"] is None else f"{row['ci'][0]:.4f} to {row['ci'][1]:.4f}"
    name = _plain(f"{row['name']} ({row['protocol']}, {row['mean']})")
    cells = (_plain(task), block["version"], name, value, interval, row["n"], f"{block['coverage']:.4f}")
    return f"| {' | '.join(map(str, cells))} |"


def _plain(text: str) -> str:
    one_line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in _MARKUP else letter for letter in one_line)
