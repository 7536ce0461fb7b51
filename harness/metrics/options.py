"""What metrics on options ask of a sample and a prediction: which option is right, and what was replied."""

from harness.metrics.ratios import MISS
from harness.metrics.row import Outcome
from harness.records import Prediction, Sample
from harness.text.choices.reading import Reading, lettered


def reply(prediction: Prediction) -> str:
    """Return the reply's text; where the model gave a letter and no text, the letter."""
    text = prediction.text or ""
    return text if text.strip() else prediction.choice or text


def right_text(sample: Sample) -> str | None:
    """Return the text of the right option, ends trimmed; None where no option has the right letter."""
    return _trimmed(sample).get(sample.target.choice or "")


def same_text(sample: Sample, letter: str) -> bool:
    """Return whether the option of that letter has the right option's text, ends trimmed: of doubles any is right."""
    return _trimmed(sample).get(letter) == right_text(sample)


def same_letter(sample: Sample, letter: str) -> bool:
    """Return whether it is the right letter, case and all."""
    return letter == sample.target.choice


def first_letter_of_text(sample: Sample, letter: str) -> bool:
    """Return whether it is the letter of the first option with the right option's text: the only one that counts."""
    text = right_text(sample)
    return letter == next(other for other, option in _trimmed(sample).items() if option == text)


def outcome(reading: Reading, *, right: bool) -> Outcome:
    """Return what a reading is worth: an unread reply is `unparsed`, a letter that no option has is just wrong."""
    detail = {"letter": reading.letter, "rule": reading.rule}
    if reading.letter is None:
        return Outcome("unparsed", MISS, detail)
    return Outcome("ok", (float(right), 1.0), detail)


def _trimmed(sample: Sample) -> dict[str, str]:
    return {letter: option.strip() for letter, option in lettered(sample.choices).items()}
