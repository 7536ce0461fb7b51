"""Small drawings as inline SVG. Numbers beside them say the same, so most are hidden from screen readers."""

from collections.abc import Sequence

from markupsafe import Markup

from leaderboard.cells import BoardCell

_HIDDEN = 'aria-hidden="true" focusable="false"'
MOST_BARS = 16  # in a sparkline of 5 units a bar, about as wide as a number with its interval


def strip(cell: BoardCell | None) -> Markup:
    """Return a share and its interval between 0 and 1; empty for anything else."""
    if cell is None or cell.value is None or cell.unit != "share":
        return Markup("")
    # The drawing is 100 wide, so a percentage is its x.
    low, high = cell.interval or (cell.value, cell.value)
    low, high, value = (min(100.0, max(0.0, 100 * share)) for share in (low, high, cell.value))
    # Only numbers are filled in, so nothing has to be escaped; the dot is 1.2 wide and centred.
    return Markup(
        f'<svg class="strip" viewBox="0 0 100 12" preserveAspectRatio="none" {_HIDDEN}>'
        f'<rect class="rail" x="0" y="5.5" width="100" height="1"/>'
        f'<rect class="bar" x="{low:.2f}" y="4" width="{high - low:.2f}" height="4"/>'
        f'<rect class="dot" x="{max(0.0, value - 0.6):.2f}" y="1.5" width="1.2" height="9"/></svg>'
    )


def sparkline(cells: Sequence[BoardCell]) -> Markup:
    """Return the values of a share by stratum as bars from 0 to 1; empty with fewer than two.

    Args:
        cells: In the order of the strata; those without a value are a gap.
    """
    shares = [cell.value if cell.unit == "share" else None for cell in cells][:MOST_BARS]
    if sum(share is not None for share in shares) < 2:
        return Markup("")
    bars = "".join(
        # One path in place of a rectangle each: an overview holds thousands of bars.
        f"M{5 * index} 14v-{max(0.5, 14 * min(1.0, max(0.0, share))):.3g}h4v14z"
        for index, share in enumerate(shares)
        if share is not None
    )
    width = 5 * len(shares) - 1
    return Markup(
        f'<svg class="spark" viewBox="0 0 {width} 14" width="{1.6 * width:g}" height="22" {_HIDDEN}>'
        f'<path class="bar" d="{bars}"/><path class="rail" d="M0 13.5h{width}v.5h-{width}z"/></svg>'
    )


def ladder(cells: Sequence[BoardCell]) -> Markup:
    """Return one dot per value on a line from 0 to 1; dots of equal values are above each other."""
    dots = []
    heights: dict[int, int] = {}
    for cell in cells:
        if cell.value is None or cell.unit != "share":
            continue
        place = round(50 * min(1.0, max(0.0, cell.value)))
        heights[place] = heights.get(place, -1) + 1
        dots.append(f'<circle class="dot" cx="{2 * place + 3}" cy="{13 - 5 * min(2, heights[place])}" r="2"/>')
    if not dots:
        return Markup("")
    return Markup(
        f'<svg class="ladder" viewBox="0 0 106 17" width="212" height="34" {_HIDDEN}>'
        f'<rect class="rail" x="3" y="15.5" width="100" height=".8"/>{"".join(dots)}</svg>'
    )


def heat(cell: BoardCell | None, low: float, high: float) -> int:
    """Return the shade 0 to 5 of a value between the least and the greatest of its table."""
    if cell is None or cell.value is None or high <= low:
        return 0
    share = (cell.value - low) / (high - low)
    return min(5, int(6 * (share if cell.higher_is_better else 1 - share)))
