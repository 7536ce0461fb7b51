"""What a declared dialect reads, beyond the golden cases: forms of models, traps, and what is refused."""

import json
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import SpecError
from harness.imaging import mask_files, masks
from harness.text.dialects.reply_reader import Reading, ReplyReader, declared
from harness.text.dialects.table import DIALECTS

SIZE = (100, 200)


def read(dialect: str, reply: str, frame: str = "pixels", size: tuple[int, ...] = SIZE, **arguments: Any) -> Reading:
    return ReplyReader.of(dialect, frame, arguments or None).read(reply, size)


def corners(reading: Reading) -> list[tuple[float, ...]]:
    return [box.corners for box in reading.boxes]


@pytest.mark.parametrize(
    ("dialect", "reply", "expected"),
    [
        ("qwen_vl", "<quad>(1,2),(3,2),(3,4),(1,4)</quad>", []),
        ("qwen_vl", "<box>(1,2),(3,4),(5,6),(7,8)</box>", []),
        ("qwen_vl", "<quad>(1,2),(3,4)(5,6),(7,8)</quad>", []),
        ("qwen_vl", "<quad>(1,2),(3,4),(5,6", []),
        ("qwen2_vl", "a(1,2),(3,4),(5,6", []),
        ("qwen2_vl", "a(1,2),(3,4,(5,6),(7,8)", []),
        ("qwen2_vl", "a(1,2),(3,4)(5,6),(7,8)", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("qwen2_vl", "In the lung, (1,2),(3,4), and more", [(1, 2, 3, 4)]),
        ("qwen_vl", "<box>(1,2),(3,4)</box> and (5,6)", [(1, 2, 3, 4)]),
        ("internvl", "<ref>a</ref><box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box>", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("internvl", "See [1, 2, 3, 4] of the list.", []),
        ("glm", "<|begin_of_box|>[1,2,3,4]<|end_of_box|>", [(1, 2, 3, 4)]),
        ("cogvlm", "[[001,002,003,004;005,006,007,008]]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("cogvlm", "[[001,002,003,004,005,006,007,008]]", []),
        ("bare", "[1, 2, 3, 4, 0.9]", []),
        ("bare", "[1, 2, 3]", []),
        ("bare", "(1, 2, 3, 4)", []),
        ("bare", "[1, 2, 1, 4] or [5, 6, 7, 8]", [(5, 6, 7, 8)]),
        ("qwen3_vl", '{"bbox_2d": [1, 2, 3, 4], "label": "a"', [(1, 2, 3, 4)]),
        ("qwen3_vl", '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]]}', [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("qwen3_vl", "[{'bbox_2d': [1, 2, 3, 4], 'label': 'a'}]", [(1, 2, 3, 4)]),
        ("qwen3_vl", """{'bbox_2d": [1, 2, 3, 4]}""", []),
        ("qwen3_vl", '{"bbox_2d": [[1, 2, 3, 4], [5, 6', [(1, 2, 3, 4)]),
        ("qwen3_vl", '{"bbox_2d": [[1, 2, 3 4], [5, 6, 7, 8]]}', []),
        ("json_by_label", '{"a": [[1, 2, 3, 4], [5, 6', [(1, 2, 3, 4)]),
        ("shikra", "[1,2,3,4;5,6,7,8;5,6", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("shikra", "[1,2,3;5,6,7,8;5,6", []),
        ("shikra", "[1,2,3,4] and [5,6,7,8", [(1, 2, 3, 4)]),
        ("florence2", "a<loc_1><loc_2><loc_3><loc_4><loc_5><lo", [(1, 2, 3, 4)]),
        ("florence2", "a<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6>", []),
        ("qwen3_vl", '{"bbox_2d": ["1", 2, 3, 4]}', []),
        ("qwen3_vl", '{"bbox_2d": [1, 2, 3, true]}', []),
        ("qwen3_vl", '{"bbox_2d": [1, 2, 3, NaN]}', []),
        ("qwen3_vl", '{"bbox_2d": [1, 2, 3, 1e999]}', []),
        ("qwen3_vl", '{"bbox_2d": "1, 2, 3, 4"}', []),
        ("qwen3_vl", '{"label": "as in \\"bbox_2d\\": [1, 2, 3, 4]"}', []),
        ("qwen3_vl", '{"box_2d": [1, 2, 3, 4]}', []),
        ("json_by_label", '{"lung": [1, 2, 3, 4]}', [(1, 2, 3, 4)]),
        ("coco", '[{"bbox": [1, 2, 3, 4], "score": 0.5}]', [(1, 2, 4, 6)]),
        ("saco_json", '{"boxes": [{"x_min": 1, "y_min": 2, "x_max": 3, "x_max": 3, "y_max": 4}]}', []),
        ("paligemma", "<loc0001><loc0002><loc0003><loc0004><loc0005> a", []),
        ("florence2", "a<loc_1><loc_2><loc_3><loc_4><loc_5>", []),
        ("florence2", "a<loc_1><loc_2><loc_3><loc_1000><loc_5><loc_6><loc_7><loc_8>", [(5, 6, 7, 8)]),
        ("kosmos2", "<object><patch_index_0000><patch_index_0001><patch_index_0002></object>", []),
        ("kosmos2", "<object><patch_index_0000><patch_index_1024></object>", []),
    ],
)
def test_a_box_is_a_whole_group_of_the_right_number(dialect: str, reply: str, expected: Any) -> None:
    frame = "patches_32" if dialect == "kosmos2" else "pixels"
    assert corners(read(dialect, reply, frame)) == expected


@pytest.mark.parametrize(
    ("dialect", "reply", "expected"),
    [
        ("points", "Click (1, 2) and [3, 4], not [5, 6, 7] or (8)", [(1, 2), (3, 4)]),
        ("molmo", "Click(10.0, 20.0), (30.0,40.0), p=500, 600", [(10, 20), (30, 40), (50, 60)]),
        ("molmo", "p=500, 1000. And p=500, 100", [(50, 100)]),  # the last may be 1000 that was cut off
        ("molmo", '<point x="1.0" x="2.0" y="3.0">', []),
        ("molmo", '<points x1="1.0" y2="3.0" alt="a">', []),
        ("molmo", '<point x="1.0"> <point y="3.0">', []),
        ("molmo2", '<points coords="1 1 010 020 2 030 040"/>', [(10, 20), (30, 40)]),
        ("molmo2", '<points coords="1 1 010 020 2 030 0', [(10, 20)]),
        ("molmo2", '<points coords="1 1 010 020 030 040"/>', []),
        ("molmo2", '<points coords="1 1 010 020 3 030 040"/>', []),
        ("molmo2", '<points coords="2 1 010 020"/>', []),
        ("molmo2", '<points coords="1 1 010 1020"/>', []),
        ("shikra", "[0.5,0.25]", [(0.5, 0.25)]),
        ("shikra", "[0.5,0.25;0.1,0.2,0.3,0.4]", []),
        ("box_2d", '[{"point": [2, 1], "label": "a"}]', [(1, 2)]),
        ("json", '{"points": [[1, 2], [3, 4]]}', [(1, 2), (3, 4)]),
    ],
)
def test_a_point_takes_no_number_of_another(dialect: str, reply: str, expected: Any) -> None:
    assert list(read(dialect, reply).points) == expected


@pytest.mark.parametrize(
    ("dialect", "reply"),
    [
        ("qwen3_vl", "[]"),
        ("qwen3_vl", "I see none.\n```json\n[]\n```"),
        ("qwen3_vl", '[{"bbox_2d": null}]'),
        ("qwen3_vl", '{"bbox_2d": [], "label": "nodule"}'),
        ("box_2d", '{"boxes": []}'),
        ("json_by_label", "{}"),
        ("saco_json", '{"masks": [], "boxes": [], "scores": []}'),
        ("saco_json", "[]"),
        ("mask_files", "[]"),
    ],
)
def test_a_reply_may_say_that_there_is_nothing(dialect: str, reply: str, tmp_path: Path) -> None:
    found = read(dialect, reply, "none", folder=str(tmp_path)) if dialect == "mask_files" else read(dialect, reply)
    assert (found.status, found.boxes, found.masks) == ("ok", (), ())


@pytest.mark.parametrize(
    ("dialect", "reply"),
    [
        ("qwen3_vl", ""),
        ("qwen3_vl", "There is none."),
        ("qwen3_vl", "["),
        ("qwen3_vl", "[[]"),
        ("qwen3_vl", '[{"label": "nodule"}]'),
        ("qwen3_vl", '[{"bbox_2d": [1, 2, 3]}]'),
        ("qwen3_vl", '[] or [{"bbox_2d": [1, 2'),
        ("saco_json", '{"masks": [{"counts": "x", "size": [100, 200]}], "boxes": [], "scores": []}'),
        ("saco_json", '{"masks: [], "boxes": [], "scores": []}'),
        ("saco_json", '{"scores": []}'),
        ("bare", "[]"),
        ("seg_phrase", "no token"),
    ],
)
def test_what_cannot_be_read_says_nothing(dialect: str, reply: str) -> None:
    assert read(dialect, reply, "none" if dialect == "seg_phrase" else "pixels").status == "unparsed"


def test_reasoning_holds_no_boxes_and_spans_count_in_the_whole_reply() -> None:
    reply = "<think>[1, 2, 3, 4]</think>[5, 6, 7, 8]"
    assert corners(read("bare", reply)) == [(5, 6, 7, 8)]
    assert read("bare", "<think>[1, 2, 3, 4]").status == "unparsed"
    assert corners(read("bare", "analysis[1, 2, 3, 4]assistantfinal[5, 6, 7, 8]")) == [(5, 6, 7, 8)]
    assert corners(read("bare", "analysisIt is [1, 2, 3, 4]assistantfinal[5, 6, 7, 8]")) == [(5, 6, 7, 8)]
    assert read("bare", "analysis[1, 2, 3, 4]").status == "unparsed"
    for broken in (
        "<think[1, 2, 3, 4]",
        "think>[1, 2, 3, 4]",
        "◁think [1, 2, 3, 4]",
        "<|begin_of_thought|[1, 2, 3, 4]",
    ):
        assert read("bare", broken).status == "unparsed"
    assert corners(read("bare", "I think it is [1, 2, 3, 4], for a reason.")) == [(1, 2, 3, 4)]
    assert corners(read("bare", "analysis: [1, 2, 3, 4]")) == [(1, 2, 3, 4)]
    reply = "<think><p>a</p> [SEG]</think><p>the liver</p> [SEG]"
    ((name, span),) = read("seg_phrase", reply, "none").phrases
    assert (name, span) == ("the liver", (reply.index("the liver"), reply.index("</p> [SEG]", 30)))


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ("It is [SEG].", ["", ""][:1]),
        ("<p> a </p> [SEG] and [SEG]", ["a", ""]),
        ("<p> a </p> in the liver [SEG]", ["a"]),
        ("<p>a</p> <SEG> and <p>b</p> <SEG>", ["a", "b"]),
        ("<p>a<SEG></p> and <p>b</p>", ["a"]),
        ("<p>a<SEG><p> and <p>b <SEG></p>", ["a", "b"]),
        ("<p>a</p> [SEG], [SEG] and [SEG]", ["a", "a", ""]),
        ("<p>a [SEG] and <p>b</p> [SEG]", ["", "b"]),
        ("<p>a</p> [SEG] and b</p> [SEG]", ["a", ""]),
        ("<p>a</p> [SEG] and p>b</p> [SEG]", ["a", ""]),
        ("<p>a</p> [SEG] and <p>b/p> [SEG]", ["a", ""]),
    ],
)
def test_a_token_belongs_to_the_phrase_before_it(reply: str, names: list[str]) -> None:
    assert [name for name, _ in read("seg_phrase", reply, "none").phrases] == names


def test_masks_as_run_lengths_polygons_and_parts() -> None:
    plane = np.zeros((10, 20), dtype=bool)
    plane[2:5, 3:9] = True
    lengths = mask_files.to_json(masks.encode(plane))
    square, other = [3, 2, 9, 2, 9, 5, 3, 5], [12, 6, 14, 6, 14, 8, 12, 8]
    both = plane.copy()
    both[6:8, 12:14] = True
    for value, expected in (
        (lengths, plane),
        (square, plane),
        ([square], plane),
        ([[3, 2], [9, 2], [9, 5], [3, 5]], plane),
        ([square, other], both),
    ):
        (found,) = read("json", json.dumps({"label": "a", "mask": value}), size=(10, 20)).masks
        assert np.array_equal(masks.decode(found), expected)
    reply = "a<poly><loc_3><loc_2><loc_9><loc_2><loc_9><loc_5><loc_3><loc_5><sep><loc_12><loc_6><loc_14><loc_6><loc_14>"
    (found,) = read("florence2_polygons", reply + "<loc_8><loc_12><loc_8></poly>", size=(10, 20)).masks
    assert np.array_equal(masks.decode(found), both)


def test_the_name_of_a_box_in_an_object_that_is_broken_or_of_python() -> None:
    assert read("qwen3_vl", '[{"bbox_2d": [1, 2, 3, 4], "label": "a", "sc').labels == ("a",)
    assert read("qwen3_vl", "[{'bbox_2d': [1, 2, 3, 4], 'label': 'a'}]").labels == ("a",)
    assert read("qwen3_vl", '[{"bbox_2d": [1, 2, 3, 4], "label": "a').labels == ("",)
    assert read("qwen3_vl", '[{"bbox_2d": [1, 2, 3, 4], "label": "a}, {"bbox_2d": [1, 2').labels == ("",)
    assert read("qwen3_vl", '[{"label": "a", "name": "b", "bbox_2d": [1, 2, 3, 4]}]').labels == ("a",)


@pytest.mark.parametrize(
    ("reply", "labels"),
    [
        ("node [1, 2, 3, 4], [5, 6, 7, 8] and [1, 1, 2, 2].", ["node"] * 3),
        ("The heart is large. left lung [1, 2, 3, 4]", ["The heart is large. left lung"]),
        ("The heart is large. Left lung [1, 2, 3, 4]\n- spleen: [5, 6, 7, 8]", ["Left lung", "spleen"]),
        ("T1/T2 node (ca. 2 cm) [1, 2, 3, 4]", ["T1/T2 node (ca. 2 cm)"]),
    ],
)
def test_words_before_brackets_are_a_name(reply: str, labels: list[str]) -> None:
    assert list(read("ferret", reply).labels) == labels


@pytest.mark.parametrize(
    "value",
    [
        {"size": [10, 21], "counts": "x"},
        {"size": [10, 20], "counts": [0, 200]},
        {"size": [10, 20], "counts": "0"},
        {"size": [10, 20], "path": "/etc/passwd"},
        {"size": [10, 20]},
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
        [[1, 2, 3, 4, 5, 6], [1, 2]],
        [[1, 2], [3, 4]],
        [["a", "b"]],
        "mask",
    ],
)
def test_what_is_no_mask_of_this_image_is_none(value: Any) -> None:
    assert read("json", json.dumps({"mask": value}), size=(10, 20)).status == "unparsed"


def test_a_picture_without_a_box_of_its_own_or_that_is_none_gives_no_mask() -> None:
    file = BytesIO()
    Image.new("L", (4, 4), 255).save(file, "PNG")
    url = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"

    def areas(**item: Any) -> list[int]:
        found = read("box_2d_masks", json.dumps([item]), "pixels", (10, 20))
        return [masks.area(mask) for mask in found.masks]

    assert areas(box_2d=[2, 3, 4, 6], mask=url) == [6]
    assert areas(box_2d=[2, 3, 4, 60], mask=url) == [34]
    assert areas(mask=url) == areas(box_2d=[2, 3, 2, 6], mask=url) == areas(box_2d=[4, 3, 2, 6], mask=url) == []
    assert areas(box_2d=[[2, 3, 4, 6], [2, 3, 4, 6]], mask=url) == []
    assert areas(box_2d=[2, 3, 4, 6], mask=url[:-32]) == areas(box_2d=[2, 3, 4, 6], mask=url[11:]) == []
    assert areas(box_2d=[2, 3, 4, 6], mask=url[:40] + "!" + url[41:]) == []
    file = BytesIO()
    Image.new("1", (4097, 4097), 1).save(file, "PNG")
    huge = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    assert areas(box_2d=[2, 3, 4, 6], mask=huge) == []


def test_a_mask_of_another_image_is_none() -> None:
    lengths = mask_files.to_json(masks.full((10, 21)))
    assert read("json", json.dumps({"mask": lengths}), size=(10, 20)).masks == ()


def test_scores_of_sa_co_count_if_there_is_one_for_each() -> None:
    mask = mask_files.to_json(masks.full((10, 20)))
    whole = {"masks": [mask, mask], "boxes": [], "scores": [0.25, 0.5]}
    found = read("saco_json", json.dumps(whole), size=(10, 20))
    assert [name.score for name in found.mask_names] == [0.25, 0.5]
    found = read("saco_json", json.dumps({**whole, "scores": [0.25]}), size=(10, 20))
    assert [name.score for name in found.mask_names] == [None, None]
    assert len(read("saco_json", json.dumps([mask]), size=(10, 20)).masks) == 1


def test_masks_in_files_beside_the_reply(tmp_path: Path) -> None:
    labels = np.zeros((10, 20), dtype=np.uint8)
    labels[:3], labels[3:5] = 1, 2
    Image.fromarray(labels).save(tmp_path / "labels.png")
    items = [
        {"file": "labels.png", "value": 2, "label": "liver"},
        {"file": "absent.png", "value": 1},
        {"file": "../" + tmp_path.name + "/labels.png", "value": 1},
        {"file": str(tmp_path / "labels.png"), "value": 1},
    ]
    found = read("mask_files", json.dumps(items), "none", (10, 20), folder=str(tmp_path))
    assert [masks.area(mask) for mask in found.masks] == [40]
    assert [name.label for name in found.mask_names] == ["liver"]
    np.save(tmp_path / "soft.npy", np.linspace(0, 1, 24).reshape(2, 3, 4))
    soft = '[{"file": "soft.npy", "threshold": 0.75, "label": "spleen"}]'
    (mask,) = read("mask_files", soft, "none", (2, 3, 4), folder=str(tmp_path)).masks
    assert masks.area(mask) == 6
    # Without its value the file would be another mask: only a whole object counts.
    cut = '[{"file": "labels.png", "value": 2'
    assert read("mask_files", cut, "none", (10, 20), folder=str(tmp_path)).status == "unparsed"


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    Image.new("L", (20, 10), 255).save(tmp_path / "mask.png")
    (tmp_path / "inside" / "mask.png").symlink_to(tmp_path / "mask.png")
    reply = '[{"file": "mask.png"}]'
    assert len(read("mask_files", reply, "none", (10, 20), folder=str(tmp_path)).masks) == 1
    assert read("mask_files", reply, "none", (10, 20), folder=str(tmp_path / "inside")).masks == ()


def test_the_last_voxel_of_m3d_is_inside() -> None:
    reply = "[0.25, 0.5, 0.5, 0.5, 0.5, 0.75]"
    assert corners(read("m3d", reply, "unit", (4, 8, 8))) == [(1, 4, 4, 3, 5, 7)]
    assert read("m3d", reply, "unit", (8, 8)).status == "unparsed"


def test_the_declared_order_counts_more_than_the_dialects() -> None:
    assert corners(read("bare", "[1, 2, 3, 4]", order="yxyx")) == [(2, 1, 4, 3)]
    assert corners(read("box_2d", '{"box_2d": [1, 2, 3, 4]}', order="xyxy")) == [(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("dialect", "frame", "arguments", "message"),
    [
        (
            "qwen3",
            "unit",
            None,
            r"^reply: expected a dialect, one of qwen_vl, .*, got 'qwen3' \(did you mean",
        ),
        (None, "unit", None, r"^reply: expected a dialect, one of .*, got None$"),
        ("bare", None, None, r"^reply: bare writes numbers, whose frame must be named \(usually pixels or unit or"),
        ("bare", "patches_32", None, r"^reply: bare writes numbers, whose frame must be named .* got 'patches_32'$"),
        ("kosmos2", "unit", None, r"^reply: kosmos2 has the frame patches_32 and no other, got 'unit'$"),
        ("seg_phrase", "unit", None, r"^reply: seg_phrase has the frame none and no other, got 'unit'$"),
        ("bare", "units", None, r"^reply: frame: expected one of .*, got 'units' \(did you mean 'unit'\?\)$"),
        ("bare", 3, None, r"^reply: frame: expected one of .*, got '3'"),
        ("bare", "unit", [1], r"^reply: frame_args: expected an object"),
        ("mask_files", None, None, r'^reply: mask_files needs frame_args=\{"folder": "..."\}, a folder, got None$'),
        ("mask_files", None, {"folder": "/no/such"}, r"^reply: mask_files needs .* got '/no/such'$"),
    ],
)
def test_what_is_declared_must_exist_and_fit(dialect: Any, frame: Any, arguments: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ReplyReader.of(dialect, frame, arguments)


def test_other_settings_are_refused() -> None:
    with pytest.raises(SpecError, match=r"^mine: expected dialect, frame and frame_args, got 'frames'$"):
        declared({"dialect": "bare", "frames": "unit"}, "mine")


def test_a_reader_names_itself_with_its_versions() -> None:
    reader = ReplyReader.of("bare", "resized", {"factor": 14, "order": "yxyx"})
    assert str(reader) == "bare in resized(factor=14), yxyx (version 1)"
    assert reader.identity() == {
        "dialect": "bare",
        "version": 1,
        "frame": {"name": "resized", "version": 1, "factor": 14, "order": "yxyx"},
    }


@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if dialect.gives & {"boxes", "points"}])
def test_the_example_of_a_dialect_is_written_in_it(name: str) -> None:
    dialect = DIALECTS[name]
    size = (480, 640) if 2 in dialect.axes else (10, 20, 30)
    found = ReplyReader.of(name, dialect.frame or dialect.frames[0]).read(dialect.example.split(", or")[0], size)
    assert found.boxes or found.points


GRAMMARS = {dialect.read: dialect for dialect in DIALECTS.values() if dialect.name != "mask_files"}


@pytest.mark.parametrize("name", [dialect.name for dialect in GRAMMARS.values()])
def test_no_reply_takes_long_to_read(name: str) -> None:
    dialect = DIALECTS[name]
    reader = ReplyReader.of(name, dialect.frame or dialect.frames[0])
    size = (50, 60) if 2 in dialect.axes else (5, 50, 60)
    for mark in ('{"bbox":', "[1,", "(1,2),", "<loc_1>", "<poly><loc_1>", '{"', "<ref>", '<point x="1.0" ', "[SEG]"):
        # With quadratic time one of them would take minutes.
        reader.read(mark * (100 if "{" in mark else 2000), size)
