"""Types that several records share."""

from typing import Any

Json = Any  # what the json module reads and writes
Size = tuple[int, ...]
