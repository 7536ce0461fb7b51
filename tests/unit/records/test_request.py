"""What an adapter reads off a request without walking through its turns."""

from harness.records import Media, MediaPart, Request, TextPart, Turn

IMAGE = Media(path="a.png", sha256="0", size=(2, 3))
VOLUME = Media(path="b.nii.gz", sha256="1", kind="volume", size=(4, 2, 3))


def test_media_of_all_turns_come_in_order_and_by_kind() -> None:
    turns = (
        Turn(role="user", parts=(MediaPart(media=VOLUME), TextPart(text="And before?"))),
        Turn(role="user", parts=(TextPart(text="Now "), MediaPart(media=IMAGE), TextPart(text="here?"))),
    )
    request = Request(messages=turns)
    assert request.media == (VOLUME, IMAGE)
    assert request.images == (IMAGE,)
    assert request.volumes == (VOLUME,)


def test_the_prompt_is_the_text_of_the_last_user_turn() -> None:
    turns = (
        Turn(role="system", parts=(TextPart(text="Be brief."),)),
        Turn(role="user", parts=(TextPart(text="First?"),)),
        Turn(role="user", parts=(TextPart(text="Is it "), MediaPart(media=IMAGE), TextPart(text="large?"))),
        Turn(role="assistant", parts=(TextPart(text="Yes"),)),
    )
    assert Request(messages=turns).prompt == "Is it large?"


def test_a_request_without_a_user_turn_has_an_empty_prompt() -> None:
    assert Request(messages=(Turn(role="system", parts=(TextPart(text="Be brief."),)),)).prompt == ""
