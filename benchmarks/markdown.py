"""Tables that a script writes between two marks of a page in docs/."""

import re

from harness.errors import DataError


def put(page: str, name: str, text: str) -> str:
    """Return the page with `text` between the marks `<!-- name begins -->` and `<!-- name ends -->`.

    Raises:
        DataError: The page does not hold both marks once, in this order.
    """
    begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
    # Strict about the marks: with one missing or doubled, text that somebody wrote would be replaced.
    parts = re.split(f"{begin}|{end}", page)
    if len(parts) != 3 or page.index(begin) > page.index(end):
        raise DataError(f"expected '{begin}' and then '{end}' in the page, each once, found {len(parts) - 1} marks")
    return f"{parts[0]}{begin}\n\n{text.strip()}\n\n{end}{parts[2]}"
