"""Splits, media, tables and samples of a construction."""

import json
from pathlib import Path

import pytest

from harness.data.construction.outputs.release_files import JsonListFile, MediaLinks
from harness.data.construction.outputs.review import read_labels, review_sample
from harness.data.construction.outputs.splits import split_clusters
from harness.data.construction.records import Source
from harness.errors import DataError, SpecError

SHARES = {"train": 0.99, "val": 0.005, "test": 0.005}


def test_small_splits_get_a_patient_and_splits_do_not_depend_on_the_order() -> None:
    sources = [Source(id=str(n), cluster=f"p{n}") for n in range(60)]
    found = split_clusters(sources, SHARES, seed=1)
    assert sorted(found.values()).count("train") == 58
    assert set(found.values()) == set(SHARES)
    assert split_clusters(reversed(sources), SHARES, seed=1) == found
    assert split_clusters(sources, SHARES, seed=2) != found


def test_a_patient_stays_in_the_first_split_that_its_sources_have() -> None:
    sources = [Source(id="a", cluster="p", split="test"), Source(id="b", cluster="p"), Source(id="c", cluster="q")]
    assert split_clusters(sources, {"train": 1.0, "test": 0.0}, seed=0) == {"p": "test", "q": "train"}


def test_media_are_linked_once_folders_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "root/series").mkdir(parents=True)
    (tmp_path / "root/series/1.png").write_bytes(b"1")
    link = MediaLinks(tmp_path / "root", tmp_path / "release")
    link("series")
    link("series/1.png")
    link("series/1.png", "other/1.png")
    assert link.paths == {"series/1.png", "other/1.png"}
    assert (tmp_path / "release/other/1.png").read_bytes() == b"1"
    with pytest.raises(
        DataError, match=r"expected a path below the data root; the listing may have been tampered with"
    ):
        link("../root/series/1.png")
    with pytest.raises(DataError, match=r"absent.png: expected a file below .*, found none"):
        link("absent.png")


@pytest.mark.parametrize("values", [[], [{"a": 1}], [{"a": 1}, {"b": "é"}]])
def test_a_list_is_json_whatever_its_length(tmp_path: Path, values: list[dict[str, object]]) -> None:
    file = JsonListFile(tmp_path / "list.json")
    assert [file.add(value) for value in values] == list(range(len(values)))
    file.close()
    assert json.loads((tmp_path / "list.json").read_text(encoding="utf-8")) == values


def test_a_sample_has_as_many_of_each_kind_and_samples_nest() -> None:
    lines = [{"item": f"{kind}{n}", "record": {"kind": kind}} for n in range(30) for kind in ("a", "b")]
    lines.append({"item": "c", "record": {"kind": "c"}})
    small, large = ([line["item"] for line in review_sample(lines, number, 0)] for number in (7, 20))
    assert sorted(name[0] for name in small) == list("aaabbbc")
    assert set(small) < set(large)
    assert small == sorted(small, key=[line["item"] for line in lines].index)
    assert len(review_sample(lines, 100, 0)) == len(lines)


def test_the_last_label_of_an_item_counts(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    assert read_labels(path) == {}
    path.write_text(
        '{"item": "x", "label": "reject", "note": "no"}\n\n{"item": "x", "label": "keep"}\n', encoding="utf-8"
    )
    assert read_labels(path)["x"].keep
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(SpecError, match=r"labels.jsonl:1: expected .*download the labels from the page again"):
        read_labels(path)
