"""Checkpoints are read without running what they hold."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.errors import DataError
from reference_model.convert.checkpoint_files import open_checkpoint
from tests.unit.reference_model.convert.convert_sources import write_shards

MAPS = Path("/proc/self/maps")
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.zeros(1)}


def assert_same(place: Path) -> None:
    found = open_checkpoint(place).tensors
    assert set(found) == set(TENSORS)
    for name, value in TENSORS.items():
        assert (found[name].shape, found[name].dtype) == (tuple(value.shape), value.dtype)
        assert torch.equal(found[name].read(), value)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("files", [1, 2])
def test_a_folder_is_read_by_its_index(tmp_path: Path, safe: bool, files: int) -> None:
    write_shards(tmp_path, TENSORS, safe=safe, files=files)
    assert_same(tmp_path)


def test_one_file_is_read_with_or_without_its_folder(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    assert_same(tmp_path)
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert_same(tmp_path)
    assert_same(tmp_path / "model.safetensors")
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(tmp_path / "old.pth")
    (tmp_path / "clip").mkdir()
    save_file(TENSORS, tmp_path / "clip" / "open_clip_model.safetensors")
    assert_same(tmp_path / "clip")


@pytest.mark.skipif(not MAPS.exists(), reason="tells of mapped files on Linux alone")
def test_tensors_of_torch_files_stay_on_disk_until_they_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.bin")
    found = open_checkpoint(tmp_path / "a.bin")
    assert str(tmp_path / "a.bin") in MAPS.read_text()
    assert found.tensors["a"].read().shape == (1000,)


def test_a_training_state_gives_its_model_and_names_the_rest(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    for name, state in (("whole", optimizer), ("values", optimizer.state_dict())):
        torch.save({"model": model.state_dict(), "optimizer": state, "epoch": 3}, tmp_path / f"{name}.pth")
        found = open_checkpoint(tmp_path / f"{name}.pth")
        assert found.beside == ("optimizer", "epoch")
        assert torch.equal(found.tensors["weight"].read(), model.weight.detach())


class Code:
    """Would run a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "mark"
    torch.save({"model": TENSORS, "more": Code(mark)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        DataError,
        match=r"a.pth: expected tensors and plain values, found code: posix.system; code in a checkpoint is not run: "
        "save its tensors alone, best as safetensors, where you trust it",
    ):
        open_checkpoint(tmp_path / "a.pth")
    assert not mark.exists()


def test_a_whole_module_is_refused_with_its_class(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"found code: torch.nn.modules.linear.Linear; code in a checkpoint is not run"):
        open_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\x03\x04 torn"])
def test_a_torn_torch_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"a.bin: expected (a whole torch file|tensors and plain values, found)"):
        open_checkpoint(tmp_path / "a.bin")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    for name, write in (("a.bin", torch.save), ("a.safetensors", save_file)):
        write(TENSORS, tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-20])
        with pytest.raises(DataError, match=rf"{name}: expected a whole \w+ file"):
            open_checkpoint(tmp_path / name)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    for value in ([1.0], {"model": {"a": 1}}):
        torch.save(value, tmp_path / "a.bin")
        with pytest.raises(DataError, match=r"a.bin: expected tensors by name, found (list|dict) without any"):
            open_checkpoint(tmp_path / "a.bin")


def test_a_folder_without_checkpoint_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a checkpoint, found none of model.safetensors.index.json, .*\.bin"):
        open_checkpoint(tmp_path)
    (tmp_path / "a.gguf").touch()
    with pytest.raises(DataError, match=r"a.gguf: expected a file that ends in .safetensors or .bin or .pth or .pt"):
        open_checkpoint(tmp_path / "a.gguf")


def test_an_index_that_does_not_fit_its_files_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, TENSORS)
    index = tmp_path / "pytorch_model.bin.index.json"
    told = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": told["weight_map"] | {"d": "pytorch_model-00001-of-00002.bin"}}))
    with pytest.raises(DataError, match=r"expected the 4 tensors of its index, found no d"):
        open_checkpoint(tmp_path)
    for text, wrong in (("[", "cannot be read"), ("[]", "expected a JSON object"), ("{}", "expected a weight_map")):
        index.write_text(text)
        with pytest.raises(DataError, match=rf"pytorch_model.bin.index.json: {wrong}"):
            open_checkpoint(tmp_path)
    write_shards(tmp_path, TENSORS)
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(DataError, match=r"-00002.bin: is named by .*index.json and not there; fetch all 2 files"):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, TENSORS)
    torch.save(TENSORS, tmp_path / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(DataError, match=r"-00002.bin: expected tensors that no other file of .* holds, found a again"):
        open_checkpoint(tmp_path)
