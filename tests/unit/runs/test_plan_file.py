"""The plan: written whole or not at all, cut into the same batches every time."""

import hashlib
from pathlib import Path

import pytest

from harness.errors import InterruptedRunError
from harness.records import Media, MediaPart, Request, Sample, TextPart, Turn
from harness.runs import plan_file
from harness.runs.plan_file import Ask, PlannedRequest


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def row(number: int, *, kind: int = 0, media: str = "", repeat: int = 0) -> PlannedRequest:
    sample, request = Sample(id=f"d/test/{number}"), f'{{"n":{number}}}'
    return PlannedRequest(sample=sample, repeat=repeat, key=key(number), size_class=kind, media=media, request=request)


def asks(*numbers: int) -> list[Ask]:
    return [Ask(key(number), f'{{"n":{number}}}', f"d/test/{number}") for number in numbers]


def sample_numbers(batches: list[list[Ask]]) -> list[list[int]]:
    return [[int(ask.sample_id.rpartition("/")[2]) for ask in batch] for batch in batches]


def test_rows_come_back_as_they_were_in_the_order_of_the_release(tmp_path: Path) -> None:
    rows = [
        row(3, kind=2, media="ab"),
        row(1, repeat=1),
        PlannedRequest(sample=Sample(id="d/test/x"), repeat=0, defect="no file"),
    ]
    plan_file.write(tmp_path / "plan" / "a.parquet", rows)
    assert list(plan_file.read(tmp_path / "plan" / "a.parquet")) == rows
    assert list(plan_file.read_keys(tmp_path / "plan" / "a.parquet")) == [
        ("d/test/3", 0, key(3)),
        ("d/test/1", 1, key(1)),
        ("d/test/x", 0, ""),
    ]


def test_a_plan_without_rows_is_a_plan(tmp_path: Path) -> None:
    plan_file.write(tmp_path / "a.parquet", [])
    assert list(plan_file.read(tmp_path / "a.parquet")) == []
    assert list(plan_file.batches([tmp_path / "a.parquet"], 4)) == []


def test_a_plan_that_cannot_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", refuse)
    with pytest.raises(InterruptedRunError, match=r"a\.parquet: cannot be written: No space left on device"):
        plan_file.write(tmp_path / "a.parquet", [row(1)])
    assert list(tmp_path.iterdir()) == []


def test_batches_hold_alike_sizes_then_keys_and_leave_out_what_cannot_be_asked(tmp_path: Path) -> None:
    rows = [row(n, kind=n % 2) for n in range(6)]
    defect = PlannedRequest(sample=Sample(id="d/test/x"), repeat=0, defect="no file")
    plan_file.write(tmp_path / "a.parquet", [*rows, defect])
    found = sample_numbers(list(plan_file.batches([tmp_path / "a.parquet"], 4)))
    by_key = sorted(range(6), key=lambda n: (n % 2, key(n)))
    assert found == [by_key[:4], by_key[4:]]


def test_requests_on_one_image_follow_each_other_within_their_size(tmp_path: Path) -> None:
    rows = [row(n, kind=n // 8, media="cab"[n % 3]) for n in range(16)]
    plan_file.write(tmp_path / "a.parquet", rows)
    (found,) = sample_numbers(list(plan_file.batches([tmp_path / "a.parquet"], 16)))
    assert [(n // 8, "cab"[n % 3]) for n in found] == sorted((n // 8, "cab"[n % 3]) for n in range(16))
    assert found == sorted(range(16), key=lambda n: (n // 8, "cab"[n % 3], key(n)))


def test_the_plan_of_an_older_run_keeps_its_order(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    plan_file.write(path, [row(n, kind=n % 2, media="cab"[n % 3]) for n in range(6)])
    pq.write_table(pq.read_table(path).drop_columns(["media"]), path)
    found = sample_numbers(list(plan_file.batches([path], 4)))
    by_key = sorted(range(6), key=lambda n: (n % 2, key(n)))
    assert found == [by_key[:4], by_key[4:]]
    assert [read.media for read in plan_file.read(path)] == [""] * 6


def test_the_first_image_or_volume_of_a_request_decides() -> None:
    first, second = (MediaPart(media=Media(path=f"{name}.png", sha256=name)) for name in "ab")
    gone = MediaPart(media=Media(path="c.png", sha256=None))
    turns = Turn(role="user", parts=(TextPart(text="Before and after?"), first)), Turn(role="user", parts=(second,))
    assert plan_file.media_digest(Request(messages=turns)) == "a"
    assert plan_file.media_digest(Request(messages=(Turn(role="user", parts=(gone,)),))) == ""
    assert plan_file.media_digest(Request()) == ""


def test_a_request_that_two_tasks_share_is_asked_in_the_first(tmp_path: Path) -> None:
    plan_file.write(tmp_path / "a.parquet", [row(1), row(2)])
    plan_file.write(tmp_path / "b.parquet", [row(2), row(3)])
    found = sample_numbers(list(plan_file.batches([tmp_path / "a.parquet", tmp_path / "b.parquet"], 4)))
    assert [sorted(batch) for batch in found] == [[1, 2], [3]]


def test_batches_do_not_cross_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "ROWS_PER_GROUP", 3)
    plan_file.write(tmp_path / "a.parquet", [row(n) for n in range(7)])
    found = sample_numbers(list(plan_file.batches([tmp_path / "a.parquet"], 2)))
    assert [len(batch) for batch in found] == [2, 1, 2, 1, 1]
    assert [sorted(found[0] + found[1]), sorted(found[2] + found[3]), found[4]] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_batch_invariant_model_gets_full_batches_of_what_is_missing() -> None:
    done = {key(n) for n in (0, 1, 4)}
    whole = [asks(0, 1, 2), asks(3, 4, 5), asks(6)]
    found = plan_file.due(whole, done.__contains__, batch_invariant=True, size=3)
    assert sample_numbers(list(found)) == [[2, 3, 5], [6]]


def test_any_other_model_gets_its_batches_as_they_were_cut() -> None:
    done = {key(n) for n in (0, 1, 2, 4)}
    whole = [asks(0, 1, 2), asks(3, 4, 5), asks(6)]
    found = plan_file.due(whole, done.__contains__, batch_invariant=False, size=3)
    assert sample_numbers(list(found)) == [[3, 4, 5], [6]]


def test_nothing_is_due_when_all_is_done() -> None:
    for batch_invariant in (True, False):
        assert list(plan_file.due([asks(0, 1)], lambda _: True, batch_invariant=batch_invariant, size=2)) == []


def test_size_class_is_the_bit_length_of_the_pixels() -> None:
    image = Media(path="a.png", sha256=None, size=(16, 16))
    volume = Media(path="a.nii.gz", sha256=None, kind="volume", size=(4, 16, 16))
    unreadable = Media(path="b.png", sha256=None)
    assert plan_file.size_class(Sample(id="a")) == 0
    assert plan_file.size_class(Sample(id="a", media=(unreadable,))) == 0
    assert plan_file.size_class(Sample(id="a", media=(image,))) == 9
    assert plan_file.size_class(Sample(id="a", media=(image, volume))) == (256 + 1024).bit_length()


def test_row_groups_that_are_finished_are_left_out_and_the_other_batches_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_file, "ROWS_PER_GROUP", 3)
    path = tmp_path / "a.parquet"
    plan_file.write(path, [row(n) for n in (0, 1, 2, 3, 4, 5, 2, 6)])
    whole = list(plan_file.batches([path], 2))
    done = {key(n) for n in (3, 4, 5, 6)}
    assert list(plan_file.batches([path], 2, done.__contains__)) == whole[:2]


def test_a_request_that_stands_twice_in_a_task_is_asked_once(tmp_path: Path) -> None:
    plan_file.write(tmp_path / "a.parquet", [row(1), row(2), row(1)])
    assert sorted(sample_numbers(list(plan_file.batches([tmp_path / "a.parquet"], 4)))[0]) == [1, 2]
