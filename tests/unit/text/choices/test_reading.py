"""Options by letter."""

from harness.text.choices.reading import lettered


def test_options_get_the_letters_in_order() -> None:
    assert lettered(["Liver", "Spleen"]) == {"A": "Liver", "B": "Spleen"}
    assert lettered([]) == {}


def test_options_beyond_z_have_no_letter() -> None:
    found = lettered([str(number) for number in range(30)])
    assert (len(found), found["Z"]) == (26, "25")
