"""The table of dialects: one line for each way in which models are known to write what they place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.text.dialects import markup, objects, tags, tokens
from harness.text.dialects.shapes import Written


@dataclass(frozen=True, slots=True)
class Dialect:
    """One line of the table.

    Attributes:
        name: As `reply=NAME` names it.
        models: The models that write so.
        example: A reply, on an image of two axes unless only volumes have it.
        frames: The frames in which those models give numbers; others may be declared.
        read: The grammar: reply without reasoning, and number of axes, to what it holds.
        gives: Some of `boxes`, `points`, `masks` and `phrases`.
        order: Order of a box's numbers on an image; those of a volume are zyxzyx. Points follow it.
        axes: Numbers of axes that it has a form for.
        last_inside: The second corner is the last voxel inside the box, not the first outside.
        frame: The only frame that its numbers have, if there is only one.
        version: Raised by any change that can move a box.
    """

    name: str
    models: str
    example: str
    frames: tuple[str, ...]
    read: Callable[[str, int], Written]
    gives: frozenset[str] = frozenset({"boxes"})
    order: str = "xyxy"
    axes: tuple[int, ...] = (2,)
    last_inside: bool = False
    frame: str | None = None
    version: int = 1


_BOXES_AND_POINTS = frozenset({"boxes", "points"})
_ANY_AXES = (2, 3)
_QWEN = objects.typed(("bbox_2d", "bbox"), ("point_2d", "point"))
_MASK_KEYS = ("mask", "segmentation", "polygon", "polygons", "rle")

_TABLE = (
    Dialect(
        "qwen_vl",
        "Qwen-VL",
        "<ref>left lung</ref><box>(68,17),(245,580)</box>",
        ("per_mille",),
        tags.corner_pairs,
    ),
    Dialect(
        "qwen2_vl",
        "Qwen2-VL, with or without its special tokens",
        "<|object_ref_start|>left lung<|object_ref_end|><|box_start|>(68,17),(245,580)<|box_end|>",
        ("per_mille",),
        tags.corner_pairs,
    ),
    Dialect(
        "qwen2_5_vl",
        "Qwen2.5-VL, MiMo-VL",
        '[{"bbox_2d": [68, 17, 245, 580], "label": "left lung"}], or "point_2d": [68, 17]',
        ("resized",),
        _QWEN,
        gives=_BOXES_AND_POINTS,
    ),
    Dialect(
        "qwen3_vl",
        "Qwen3-VL",
        '[{"bbox_2d": [68, 17, 245, 580], "label": "left lung"}], or "point_2d": [68, 17]',
        ("per_mille",),
        _QWEN,
        gives=_BOXES_AND_POINTS,
    ),
    Dialect(
        "box_2d",
        "Gemini, Gemma 3, MedGemma 1.5",
        '[{"box_2d": [17, 68, 580, 245], "label": "left lung"}], or "point": [17, 68]',
        ("per_mille",),
        objects.typed(("box_2d",), ("point", "point_2d")),
        gives=_BOXES_AND_POINTS,
        order="yxyx",
    ),
    Dialect(
        "box_2d_masks",
        "Gemini 2.5 asked for segmentation",
        '[{"box_2d": [17, 68, 580, 245], "mask": "data:image/png;base64,...", "label": "left lung"}]',
        ("per_mille",),
        objects.typed(("box_2d",), (), ("mask",)),
        gives=frozenset({"boxes", "masks"}),
        order="yxyx",
    ),
    Dialect(
        "internvl",
        "InternVL 2, 2.5, 3",
        "<ref>left lung</ref><box>[[68, 17, 245, 580]]</box>",
        ("per_mille",),
        tags.bracket_boxes(nested=True, words=True),
    ),
    Dialect(
        "deepseek_vl2",
        "DeepSeek-VL2",
        "<|ref|>left lung<|/ref|><|det|>[[68, 17, 245, 580]]<|/det|>",
        ("per_999",),
        tags.bracket_boxes(nested=True, words=True),
    ),
    Dialect(
        "glm",
        "GLM-4.1V to GLM-4.6V",
        "<|begin_of_box|>[[68, 17, 245, 580]]<|end_of_box|>",
        ("per_mille",),
        tags.bracket_boxes(nested=True, words=True),
    ),
    Dialect(
        "cogvlm",
        "CogVLM grounding",
        "The left lung [[068,017,245,580]] is clear.",
        ("per_mille",),
        tags.bracket_boxes(nested=True, words=True),
    ),
    Dialect(
        "ferret",
        "Ferret",
        "left lung [68, 17, 245, 580].",
        ("per_mille",),
        tags.bracket_boxes(words=True),
    ),
    Dialect(
        "shikra",
        "Shikra",
        "[0.068,0.017,0.245,0.580;0.300,0.020,0.500,0.580], or a point [0.068,0.017]",
        ("padded_square_unit",),
        tags.bracket_boxes(points=True),
        gives=_BOXES_AND_POINTS,
    ),
    Dialect(
        "llava",
        "LLaVA, which before version 1.6 pads its images",
        "[0.068, 0.017, 0.245, 0.58]",
        ("padded_square_unit", "unit"),
        tags.bracket_boxes(),
    ),
    Dialect(
        "bare",
        "anything that writes numbers in brackets",
        "[68, 17, 245, 580], in a volume [z1, y1, x1, z2, y2, x2]",
        ("pixels", "unit", "per_mille"),
        tags.bracket_boxes(),
        axes=_ANY_AXES,
    ),
    Dialect(
        "points",
        "anything that writes points in brackets",
        "[68, 17], or (68, 17)",
        ("pixels", "unit", "percent"),
        tags.points,
        gives=frozenset({"points"}),
        axes=_ANY_AXES,
    ),
    Dialect(
        "m3d",
        "M3D-LaMed",
        "<bx_start>[0.250, 0.250, 0.375, 0.500, 0.625, 0.750]<bx_end>",
        ("unit",),
        tags.bracket_boxes(),
        axes=(3,),
        last_inside=True,
    ),
    Dialect(
        "paligemma",
        "PaliGemma, PaliGemma 2",
        "<loc0017><loc0068><loc0580><loc0245> left lung",
        ("loc_1024", "loc_1023"),
        tokens.paligemma,
        order="yxyx",
    ),
    Dialect(
        "florence2",
        "Florence-2: detection, dense captions, phrase grounding",
        "left lung<loc_68><loc_17><loc_245><loc_580>",
        ("bins_1000_centre",),
        tokens.florence2,
    ),
    Dialect(
        "florence2_polygons",
        "Florence-2: segmentation",
        "left lung<poly><loc_68><loc_17><loc_245><loc_17><loc_245><loc_580></poly>",
        ("bins_1000_centre",),
        tokens.florence2_polygons,
        gives=frozenset({"masks"}),
    ),
    Dialect(
        "kosmos2",
        "Kosmos-2",
        "<phrase>left lung</phrase><object><patch_index_0044><patch_index_0863></object>",
        ("patches_32",),
        tokens.kosmos2,
        frame="patches_32",
    ),
    Dialect(
        "molmo",
        "Molmo",
        '<point x="61.5" y="40.4" alt="nodule">nodule</point>',
        ("percent",),
        markup.molmo,
        gives=frozenset({"points"}),
    ),
    Dialect(
        "molmo2",
        "Molmo2",
        '<points coords="1 1 073 160 2 173 600" alt="nodules">nodules</points>',
        ("per_mille",),
        markup.molmo2,
        gives=frozenset({"points"}),
    ),
    Dialect(
        "saco_json",
        "SAM 3 in lmms-eval (SA-Co)",
        '{"masks": [{"counts": "...", "size": [480, 640]}], "boxes": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, '
        '"y_max": 0.4}], "scores": [0.9]}',
        ("unit",),
        objects.sa_co,
        gives=frozenset({"boxes", "masks"}),
    ),
    Dialect(
        "coco",
        "results in COCO's format: instances with scores, run lengths or polygons, boxes as x y width height",
        '[{"category": "nodule", "bbox": [68, 17, 177, 563], "segmentation": {"size": [480, 640], "counts": "..."}, '
        '"score": 0.9}]',
        ("pixels",),
        objects.typed(("bbox",), (), ("segmentation",)),
        gives=frozenset({"boxes", "masks"}),
        order="xywh",
    ),
    Dialect(
        "json",
        "typed JSON of any other model: boxes, points, run lengths, polygons, scores",
        '[{"label": "nodule", "box": [68, 17, 245, 580], "point": [100, 90], "polygon": [[68, 17, 245, 17, 245, 580]], '
        '"mask": {"size": [480, 640], "counts": "..."}, "score": 0.9}]',
        ("pixels", "unit", "per_mille"),
        objects.typed(("bbox", "box", "boxes", "bbox_2d", "bbox_3d"), ("point", "points", "point_2d"), _MASK_KEYS),
        gives=frozenset({"boxes", "points", "masks"}),
        axes=_ANY_AXES,
    ),
    Dialect(
        "json_by_label",
        "JSON whose keys are labels",
        '{"left lung": [68, 17, 245, 580], "nodes": [[1, 2, 3, 4], [5, 6, 7, 8]]}',
        ("pixels", "unit", "per_mille"),
        objects.by_label,
        axes=_ANY_AXES,
    ),
    Dialect(
        "mask_files",
        'programs that leave NIfTI, PNG or npy files in a folder, which frame_args={"folder": ...} names',
        '[{"file": "labels.nii.gz", "value": 2, "label": "liver"}, {"file": "lesion.npy", "threshold": 0.5}]',
        ("none",),
        objects.files,
        gives=frozenset({"masks"}),
        axes=_ANY_AXES,
        frame="none",
    ),
    Dialect(
        "seg_phrase",
        "GLaMM, UniBiomed, LISA, MIMO, Citrus-V: masks beside the words, which name them",
        "The image shows <p> the left lung </p> [SEG] and <p> the heart </p> [SEG].",
        ("none",),
        markup.phrases,
        gives=frozenset({"phrases"}),
        axes=_ANY_AXES,
        frame="none",
    ),
)

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in _TABLE}
