"""A model in 16 bits takes little more memory than its weights, whether they stay in their file or are converted."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_model.checkpoints.checkpoint import WEIGHTS, About, write_about
from reference_model.config import AnyConfig, ModelConfig, VolumeModelConfig
from reference_model.modeling.build import build_model
from reference_model.preset_files import load_preset

MOST = 1.1
# Reads a model and every number of it, and prints by how much its memory has grown at most.
CHILD = """
import resource, sys
from pathlib import Path
import torch
from reference_model.checkpoints.checkpoint import open_model
torch.zeros(8).sum()
held = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
model, _ = open_model(Path(sys.argv[1]), getattr(torch, sys.argv[2]))
with torch.inference_mode():
    for value in model.state_dict().values():
        value.sum()
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - int(held[0].split()[1])))
"""


def large(name: str) -> AnyConfig:
    """Return a preset with just under a billion parameters."""
    config = load_preset(name)
    language = replace(config.language, width=2048, ffn_width=5504, layers=8, heads=16)
    if isinstance(config, VolumeModelConfig):
        return replace(config, language=language)
    assert isinstance(config, ModelConfig)
    return replace(config, language=language, vision=replace(config.vision, layers=4))


def write_zeros(folder: Path, config: AnyConfig, dtype: str) -> int:
    """Write a model of zeros whose file takes no room on the disk; return the bytes of its weights."""
    with torch.device("meta"):
        tensors = build_model(config).state_dict()
    header, end = {}, 0
    for name, value in tensors.items():
        exact = "router" in name or "positional_embedding" in name
        begin, end = end, end + value.numel() * (4 if exact else 2)
        header[name] = {"dtype": "F32" if exact else dtype, "shape": list(value.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / WEIGHTS).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    write_about(folder, About(config=config, experts=isinstance(config, ModelConfig)))
    assert 0.7e9 < sum(math.prod(value.shape) for value in tensors.values()) < 1.4e9
    return end


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["medplib-7b", "m3d-lamed-7b"])
@pytest.mark.parametrize("stored", ["BF16", "F16"])
def test_a_billion_parameters_are_in_memory_once(tmp_path: Path, preset: str, stored: str) -> None:
    size = write_zeros(tmp_path, large(preset), stored)
    command = [sys.executable, "-c", CHILD, str(tmp_path), "bfloat16"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0.9 * size < int(found.stdout) < MOST * size
