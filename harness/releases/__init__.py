"""Readers of published datasets, each in the layout its authors ship: one constant table."""

from collections.abc import Mapping

from harness.releases.mecovqa import READER as MECOVQA
from harness.releases.reader import Reader
from harness.releases.samed2d import READER as SAMED2D
from harness.releases.vqa_rad import READER as VQA_RAD

READERS: Mapping[str, Reader] = {reader.name: reader for reader in (MECOVQA, SAMED2D, VQA_RAD)}
