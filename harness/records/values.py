"""Types that several records share."""

from typing import Any

# Any value that the json module reads and writes; a recursive type would force a cast at every access.
Json = Any
# (H, W) of an image or (D, H, W) of a volume.
Size = tuple[int, ...]
