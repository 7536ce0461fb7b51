"""The funnel as a diagram."""

from harness.reports.construction.funnel_page import funnel_page, sankey

STEPS = [
    {"step": "no_volume", "about": "It is there.", "unit": "sources", "in": 10, "out": 8, "rejected": {"no_volume": 2}},
    {
        "step": "read",
        "about": "<b>Read</b>.",
        "unit": "items",
        "in": 70,
        "out": 0,
        "rejected": {"wrong_json": 69, "schema": 1},
    },
    {"step": "nothing", "about": "Nothing is left.", "unit": "items", "in": 0, "out": 0, "rejected": {}},
]


def test_every_step_has_a_bar_and_every_reason_a_band() -> None:
    flows, height = sankey(STEPS)
    assert [flow.number for flow in flows if flow.kind == "made"] == [10, 70, 0]
    assert [flow.number for flow in flows if flow.kind == "kept"] == [8]
    assert [flow.label for flow in flows if flow.kind == "rejected"] == ["no volume 2", "wrong json 69", "schema 1"]
    assert height > 300


def test_a_question_that_was_never_asked_breaks_no_flow() -> None:
    never = {"step": "dialogue", "about": "Asked.", "unit": "replies", "in": 0, "out": 0, "rejected": {}}
    assert sankey([STEPS[0], never, *STEPS[1:]]) == sankey(STEPS)


def test_the_page_escapes_and_needs_nothing_from_anywhere() -> None:
    funnel = {
        "pipeline": "m3d-vqa",
        "version": 1,
        "model": None,
        "data": "phantom",
        "sources": {"taken": 1, "listed": 2},
        "release": {"items": 3},
        "steps": STEPS,
    }
    page = funnel_page(funnel, "A set")
    assert "<b>Read</b>" not in page
    assert "&lt;b&gt;Read" in page
    assert "src=" not in page
    assert page.count('<th scope="row">') == 3
