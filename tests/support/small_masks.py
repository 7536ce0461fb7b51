"""One square, one volume of two structures, and the exact refusal of a mask, which tests of the mask codec share."""

import re
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError

SQUARE = np.zeros((4, 6), dtype=bool)
SQUARE[1:3, 2:5] = True
CUBE = np.zeros((5, 4, 6), dtype=bool)
CUBE[1, 1:3, 2:5] = True
CUBE[3, 0, 0] = True


def refusal(message: str) -> Any:
    """Return a context in which a DataError with exactly this message must be raised."""
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")
