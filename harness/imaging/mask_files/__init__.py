"""Masks from outside, as JSON and as files, and what their values mean: this is where they are checked."""

from harness.imaging.mask_files.files import read_file
from harness.imaging.mask_files.json_masks import from_json, to_json

__all__ = ["from_json", "read_file", "to_json"]
