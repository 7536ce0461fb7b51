"""A volume for a model that takes none: which slices, when they go together, and what their answers become."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from harness.imaging import masks
from harness.imaging.views.slice_places import bin_centres, evenly_spaced, every_nth
from harness.models.answer_check import to_prediction
from harness.records import Answer, Capabilities, ErrorInfo, Media, MediaPart, Request, TextPart, Turn
from harness.requests import volume_slices
from harness.requests.volume_slices import VolumeFallbacks, slices_of

VOLUME = Media(path="a.npy", sha256="1" * 64, kind="volume", size=(20, 6, 8), spacing_mm=(2.0, 1.0, 1.0))
IMAGE = Media(path="a.png", sha256="2" * 64, size=(6, 8))


def asked(
    takes: str = "text image",
    wants: str = "nll",
    *,
    slices: str | int = 10,
    max_images: int = 1,
    media: tuple[Media, ...] = (VOLUME,),
    fallbacks: dict[str, str | float] | None = None,
) -> VolumeFallbacks:
    capabilities = Capabilities(takes=frozenset(takes.split()), max_images=max_images)
    chosen = {"volume_as_slices": slices} if fallbacks is None else fallbacks
    return VolumeFallbacks(media=media, fallbacks=chosen, capabilities=capabilities, wants=tuple(wants.split()))


def request(wants: str, slices: int = 3, **more: Any) -> Request:
    media = slices_of(Media(path="a.npy", sha256="1" * 64, kind="volume", size=(slices, 6, 8)), "all")
    parts = (*(MediaPart(media=item) for item in media), TextPart(text="What is it?"))
    return Request(wants=(wants,), messages=(Turn(role="user", parts=parts),), one_by_one=True, key="k", **more)


def test_slices_are_the_middles_of_equal_parts_and_keep_the_file() -> None:
    found = slices_of(VOLUME, 10)
    assert [media.slice for media in found] == bin_centres(20, 10) == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert {(media.path, media.sha256, media.kind, media.size, media.spacing_mm) for media in found} == {
        ("a.npy", "1" * 64, "image", (6, 8), None)
    }


def test_all_slices_are_every_one_and_an_image_stands_for_itself() -> None:
    assert [media.slice for media in slices_of(VOLUME, "all")] == list(range(20))
    assert slices_of(IMAGE, 10) == (IMAGE,)


@pytest.mark.parametrize(
    ("chosen", "used"),
    [
        (asked("text image images", "text", max_images=10), "volume_as_slices: 10 (bin_centres, together)"),
        (asked("text image images", "nll", max_images=9), "volume_as_slices: 10 (bin_centres, one by one)"),
        (asked("text image images", "embedding", max_images=10), "volume_as_slices: 10 (bin_centres, one by one)"),
        (asked("image", "masks", slices="all"), "volume_as_slices: all (bin_centres, one by one)"),
    ],
)
def test_the_cell_says_how_many_slices_by_which_rule_and_how(chosen: VolumeFallbacks, used: str) -> None:
    assert chosen.missing(pointed=False) == []
    assert chosen.used() == (used,)


@pytest.mark.parametrize(
    "chosen", [asked("text volume"), asked(media=(IMAGE,)), asked(fallbacks={})], ids=["volume", "image", "none"]
)
def test_nothing_is_sliced_where_it_need_not_or_may_not_be(chosen: VolumeFallbacks) -> None:
    assert (chosen.name, chosen.used(), chosen.media_asked()) == (None, (), chosen.media)
    assert chosen.marked("See <image>.") == "See <image>."


@pytest.mark.parametrize(
    ("chosen", "pointed", "reason"),
    [
        (asked("text"), False, "needs a model that takes image"),
        (asked("text image box"), True, "cannot show what is pointed at in a volume"),
        (asked(wants="boxes"), False, "cannot place a box along the slices"),
        (
            asked("text images", "text", max_images=4),
            False,
            "needs a model that takes 10 images at once to answer in words (its max_images is 4)",
        ),
        (asked(media=(VOLUME, IMAGE)), False, "asks about each slice of one volume, and there are more images"),
    ],
)
def test_what_slices_cannot_do_is_said_before_the_model_is_asked(
    chosen: VolumeFallbacks, pointed: bool, reason: str
) -> None:
    assert chosen.missing(pointed=pointed) == [f"takes volume (volume_as_slices {reason})"]


def test_a_volume_that_cannot_be_read_counts_as_many_slices_as_are_wanted() -> None:
    unread = Media(path="b.npy", sha256=None, kind="volume")
    for most, way in ((10, "together"), (9, "one by one")):
        chosen = asked("text image images", "nll", max_images=most, media=(unread,))
        assert chosen.used() == (f"volume_as_slices: 10 (bin_centres, {way})",)


def test_the_mark_of_the_volume_is_repeated_for_each_slice() -> None:
    assert asked(slices=3).marked("Look: <image> What is it?") == "Look: <image><image><image> What is it?"


def test_each_request_has_one_slice_the_words_and_a_key_of_its_own() -> None:
    single = volume_slices.apart(request("nll"))
    assert [one.media[0].record.slice for one in single] == [0, 1, 2]
    assert all(len(one.media) == 1 and one.prompt == "What is it?" and not one.one_by_one for one in single)
    assert len({"k", *(one.key for one in single)}) == 4


def answered(wants: str, *replies: Answer, **more: Any) -> Any:
    """Return the prediction that the replies to single slices become."""
    whole = request(wants, len(replies), **more)

    def ask(requests: Sequence[Request]) -> Sequence[object]:
        assert len(requests) == len(replies)
        return replies

    return to_prediction(whole, volume_slices.together(whole, ask), 0.0)


def test_an_embedding_keeps_every_slice_and_one_text() -> None:
    replies = [Answer(embedding=[(float(place), 1.0), (5.0, 6.0)]) for place in range(3)]
    found = answered("embedding", *replies, kind="embed", candidates=("a report",))
    assert found.embedding == ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (5.0, 6.0))


def test_likelihoods_are_means_over_the_slices() -> None:
    replies = [Answer(nll=[1.0, 4.0], nll_tokens=[2, 3]), Answer(nll=[3.0, 2.0], nll_tokens=[2, 3])]
    found = answered("nll", *replies, kind="nll", candidates=("a", "b"))
    assert (found.nll, found.nll_tokens, found.status) == ((2.0, 3.0), (2, 3), "ok")


def test_masks_of_a_slice_are_joined_and_stacked_into_the_volume() -> None:
    first, second = np.zeros((2, 6, 8), dtype=bool)
    first[1, 2] = second[3, 4] = True
    found = answered("masks", Answer(), Answer(masks=[first, second]), Answer(masks=[first]))
    (mask,) = found.masks
    decoded = masks.decode(mask)
    assert (mask.size, decoded.sum()) == ((3, 6, 8), 3)
    assert np.array_equal(decoded[1], first | second)
    assert np.array_equal(decoded[2], first)


def test_probabilities_are_stacked_too() -> None:
    likely = np.full((6, 8), 0.75)
    found = answered("masks", Answer(soft_masks=[likely]), Answer())
    assert masks.area(found.masks[0]) == 48
    assert found.soft_masks[0].size == (2, 6, 8)


def test_no_mask_on_any_slice_is_an_empty_answer() -> None:
    assert answered("masks", Answer(), Answer()).status == "empty"


def test_one_slice_without_a_likelihood_leaves_none() -> None:
    found = answered("nll", Answer(nll=[1.0]), Answer(), kind="nll", candidates=("a",))
    assert (found.nll, found.status) == ((), "empty")


def test_the_first_fault_of_a_slice_is_that_of_the_request() -> None:
    fault = ErrorInfo(type="Broken", message="no memory")
    found = answered("nll", Answer(nll=[1.0]), Answer(error=fault), kind="nll", candidates=("a",))
    assert (found.status, found.error.message) == ("model_error", "no memory")
    wrong = answered("nll", Answer(nll=[1.0, 2.0]), Answer(nll=[1.0]), kind="nll", candidates=("a",))
    assert wrong.error.message == "nll: expected one per candidate (1), found 2"


def test_a_refusal_of_one_slice_is_one_of_the_request() -> None:
    found = answered("nll", Answer(nll=[1.0]), Answer(status="refused"), kind="nll", candidates=("a",))
    assert found.status == "refused"
    assert answered("masks", Answer(status="truncated", masks=[np.ones((6, 8), dtype=bool)])).status == "truncated"


def test_what_the_slices_used_adds_up() -> None:
    replies = [Answer(nll=[1.0], usage={"prompt_tokens": 3}, rendered="<s>") for _ in range(2)]
    found = answered("nll", *replies, kind="nll", candidates=("a",))
    assert (found.usage, found.rendered) == ({"prompt_tokens": 6.0}, "<s>")


# --- which slices

RULES = pytest.mark.parametrize("rule", [every_nth, evenly_spaced, bin_centres])


@RULES
@pytest.mark.parametrize("depth", [1, 2, 9, 10, 19, 20, 33, 155])
@pytest.mark.parametrize("wanted", [1, 5, 10])
def test_slices_ascend_inside_the_volume(rule: Callable[[int, int], list[int]], depth: int, wanted: int) -> None:
    found = rule(depth, wanted)
    assert found == sorted(set(found))
    assert 0 <= found[0] <= found[-1] < depth
    most = 2 * wanted - 1 if rule is every_nth else wanted
    assert min(depth, wanted) <= len(found) <= most


def test_even_spacing_shows_both_ends_and_bins_show_neither() -> None:
    assert evenly_spaced(100, 3) == [0, 50, 99]
    assert bin_centres(100, 3) == [16, 50, 83]


def test_the_released_rule_leaves_out_the_end() -> None:
    assert every_nth(19, 10) == list(range(19))
    assert every_nth(29, 10)[-1] == 28
    assert every_nth(39, 10) == list(range(0, 39, 3))
