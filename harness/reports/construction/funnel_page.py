"""The funnel of a construction as a page: a Sankey diagram as inline SVG, and the table that it is drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.reports.html import environment

# Pixels.
WIDTH, STEP, NODE, TOP, HEIGHT = 1100, 92, 16, 40, 320
# A flow of one item among thousands is still seen.
LEAST = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One band of the diagram, as an SVG path, or one of its bars.

    Attributes:
        path: Value of `d`.
        name: What flows.
        number: How many.
        kind: `kept`, `rejected` or `made`.
        label: Text beside it; empty for none.
        x, y: Where the text begins.
    """

    path: str
    name: str
    number: int
    kind: str
    label: str = ""
    x: float = 0.0
    y: float = 0.0


def funnel_page(funnel: Mapping[str, Any], title: str) -> str:
    """Return the page as HTML; it needs nothing from anywhere.

    Args:
        funnel: The content of `funnel.json`.
        title: What was constructed.
    """
    flows, height = sankey(funnel["steps"])
    template = environment().get_template("construction_funnel.html")
    return template.render(funnel=funnel, title=title, flows=flows, width=WIDTH, height=height)


def sankey(steps: list[Mapping[str, Any]]) -> tuple[list[Flow], int]:
    """Return the bands of a Sankey diagram and its height in pixels.

    Each step is a bar as high as what came in, on the scale of its unit: sources, replies and items differ by orders of
    magnitude. From it one band leads on, and one per reason leads down.

    Args:
        steps: The steps of `funnel.json`. A question that was never asked is left out: items pass it by.
    """
    steps = [step for step in steps if step["in"] or step["unit"] != "replies"]
    most = {
        unit: max((step["in"] for step in steps if step["unit"] == unit), default=1) or 1
        for unit in {step["unit"] for step in steps}
    }
    flows: list[Flow] = []
    lowest = 0.0
    for number, step in enumerate(steps):
        left = 20.0 + number * STEP
        scale = HEIGHT / most[step["unit"]]
        whole = max(LEAST, step["in"] * scale)
        kept = max(LEAST, step["out"] * scale) if step["out"] else 0.0
        bar = f"M{left:g},{TOP} h{NODE} v{whole:.2f} h-{NODE} z"
        label = f"{step['step'].replace('_', ' ')}"
        flows.append(
            Flow(
                path=bar, name=label, number=step["in"], kind="made", label=label, x=left, y=TOP - 8 - 14 * (number % 2)
            )
        )
        right = left + NODE
        if kept:
            following = steps[number + 1] if number + 1 < len(steps) else None
            after = kept
            if following is not None:
                after = max(LEAST, following["in"] * HEIGHT / most[following["unit"]])
            flows.append(
                Flow(
                    path=_band(right, TOP, kept, left + STEP, TOP, after),
                    name=f"{label}: kept",
                    number=step["out"],
                    kind="kept",
                )
            )
        at = TOP + kept
        for place, (reason, count) in enumerate(step["rejected"].items()):
            high = max(LEAST, count * scale)
            end = max(at + 24.0, TOP + whole + 14.0 * (place + 1))
            words = f"{reason.replace('_', ' ')} {count:,}"
            flows.append(
                Flow(
                    path=_band(right, at, high, right + STEP * 0.45, end, high),
                    name=f"{label}: {words}",
                    number=count,
                    kind="rejected",
                    label=words,
                    x=right + STEP * 0.47,
                    y=end + high / 2 + 4,
                )
            )
            at += high
            lowest = max(lowest, end + high)
    return flows, int(max(TOP + HEIGHT, lowest) + 30)


def _band(left: float, top: float, high: float, right: float, end: float, last: float) -> str:
    middle = (left + right) / 2
    return (
        f"M{left:.2f},{top:.2f} C{middle:.2f},{top:.2f} {middle:.2f},{end:.2f} {right:.2f},{end:.2f} v{last:.2f} "
        f"C{middle:.2f},{end + last:.2f} {middle:.2f},{top + high:.2f} {left:.2f},{top + high:.2f} z"
    )
