"""How a request shows a visual prompt: natively if the model takes it, else in words, as paint or by a crop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.imaging import crops, frames, masks
from harness.records import Box, Crop, Media, Overlay, Points, Region, Size, VisualPrompt
from harness.tasks.fallbacks import COLOURS, CROPPED, FALLBACKS, FILL_OPACITY, LINE_SHARE, PHRASES, Kind, Way, first_of

# Type of a visual prompt -> the mark in the words that refers to it.
MARKS: Mapping[type, str] = {Box: "<box>", Points: "<point>", Region: "<region>"}
KINDS: Mapping[type, Kind] = {Box: "box", Points: "point", Region: "region"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRequest:
    """The words, images and prompts of a request after all fallbacks.

    Attributes:
        text: The words.
        media: The media as they are shown.
        native: The prompts that the model takes, in the frame of the first image as it is shown.
        crop: The crop of the first image; None if all of it is shown.
    """

    text: str
    media: tuple[Media, ...]
    native: tuple[VisualPrompt, ...]
    crop: Crop | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualPromptFallbacks:
    """The visual prompts of one sample, with a task's fallbacks for those that a model does not take.

    Attributes:
        prompts: The prompts as the task gives them, in the frame of the first of `media`.
        media: Of the sample.
        fallbacks: Of the task, name -> value; of several for one kind of prompt the first is used.
        takes: Of the model's capabilities.
    """

    prompts: Sequence[VisualPrompt]
    media: tuple[Media, ...]
    fallbacks: Mapping[str, str | float]
    takes: frozenset[str]

    def missing(self) -> list[str]:
        """Return what the model would have to take, as `takes region`, with the reason if a fallback fails."""
        lacks = []
        for prompt in self.prompts:
            kind, name = KINDS[type(prompt)], self._fallback(prompt)
            reason = self._refusal(name, prompt) if name is not None else None
            if reason is not None:
                lacks.append(f"takes {kind} ({name} {reason})")
            elif name is None and kind not in self.takes:
                lacks.append(f"takes {kind}")
        return lacks

    def used(self) -> tuple[str, ...]:
        """Return the fallbacks that are used, as `name: value`."""
        names = filter(None, map(self._fallback, self.prompts))
        return tuple(dict.fromkeys(f"{name}: {self.fallbacks[name]}" for name in names))

    def used_in_words(self) -> list[VisualPrompt]:
        """Return the prompts whose fallback is words, which hold whichever slices or images are shown."""
        return [prompt for _, prompt in self._by("text")]

    def apply(self, text: str) -> ShownRequest:
        """Return words, images and prompts for a model that lacks nothing; see `missing`.

        Args:
            text: The words with their marks; a prompt without a mark is named after them.
        """
        if not self.prompts:
            return ShownRequest(text=text, media=self.media, native=(), crop=None)
        crop, media = self._crop(), self.media
        # The crop first: paint and coordinates of the other prompts are those of the image as it is shown.
        if crop is not None:
            media = (crops.crop_media(media[0], crop), *media[1:])
        native: list[VisualPrompt] = []
        drawn: list[Overlay] = []
        for prompt in self.prompts:
            name = self._fallback(prompt)
            inside = prompt if crop is None else crops.crop_prompt(prompt, crop)
            assert inside is not None
            if name is None:
                native.append(inside)
            elif FALLBACKS[name].way == "text":
                frame = frames.Frame.parse(str(self.fallbacks[name]), "fallbacks")
                text = _with_words(text, prompt, frames.box_text(_box(inside), media[0].size, frame))
            elif FALLBACKS[name].way == "crop":
                text = _with_words(text, prompt, CROPPED)
            else:
                style, colour = str(self.fallbacks[name]), list(COLOURS)[len(drawn)]
                dots = "dots" if isinstance(inside, Points) and len(inside.points) > 1 else "dot"
                phrase = PHRASES[KINDS[type(inside)], style].format(colour=colour, dots=dots)
                text = _with_words(text, prompt, phrase)
                drawn.append(_overlay(inside, style, COLOURS[colour], media[0].size))
        if drawn:
            media = (replace(media[0], drawn=tuple(drawn)), *media[1:])
        return ShownRequest(text=text, media=media, native=tuple(native), crop=crop)

    def _fallback(self, prompt: VisualPrompt) -> str | None:
        """Return the fallback that is used for a prompt; None if the model takes it, or the task names none."""
        kind = KINDS[type(prompt)]
        return None if kind in self.takes else first_of(self.fallbacks, kind)

    def _by(self, way: Way) -> list[tuple[str, VisualPrompt]]:
        """Return the prompts whose fallback goes one way, each with its fallback."""
        found = ((self._fallback(prompt), prompt) for prompt in self.prompts)
        return [(name, prompt) for name, prompt in found if name is not None and FALLBACKS[name].way == way]

    def _refusal(self, name: str, prompt: VisualPrompt) -> str | None:
        """Return why a fallback cannot replace a prompt of this sample; None if it can."""
        way = FALLBACKS[name].way
        if way == "text":
            return None
        if not self.media or self.media[0].kind != "image":
            return "works on images only"
        if way == "crop":
            if len(self._by("crop")) > 1:
                return "can show one thing only"
            crop = self._crop()
            assert crop is not None
            outside = [KINDS[type(other)] for other in self.prompts if crops.crop_prompt(other, crop) is None]
            return f"would cut off a {outside[0]} that is pointed at too" if outside else None
        drawn = len(self._by("overlay"))
        if drawn > len(COLOURS):
            return f"has {len(COLOURS)} colours, and {drawn} things are pointed at"
        # The words call every dot "the green dot" alike, so a point that means "not here" would be read as "here".
        if isinstance(prompt, Points) and not all(prompt.labels):
            return "cannot show background points"
        return None

    def _crop(self) -> Crop | None:
        """Return the window around the first prompt whose fallback is a crop."""
        for prompt in self.prompts:
            name = self._fallback(prompt)
            if name is not None and FALLBACKS[name].way == "crop":
                return crops.around(_box(prompt), self.media[0].size, float(self.fallbacks[name]))
        return None


def _box(prompt: VisualPrompt) -> Box:
    box = masks.bounding_box(prompt.mask) if isinstance(prompt, Region) else prompt
    assert isinstance(box, Box)
    return box


def _overlay(prompt: VisualPrompt, style: str, colour: tuple[int, int, int], size: Size) -> Overlay:
    """Return the paint of one prompt.

    Args:
        prompt: In the frame of the image.
        style: `fill`, `dot` or `outline`.
        colour: RGB, 0 to 255.
        size: (H, W) of the image in pixels, of which the line is LINE_SHARE's part.
    """
    line = max(1, (max(size) + LINE_SHARE // 2) // LINE_SHARE)  # rounded half up; a small image has a line too
    if style == "fill":
        return Overlay(prompt=prompt, style="fill", colour=colour, width=0, opacity=FILL_OPACITY)
    if style == "dot":
        return Overlay(prompt=prompt, style="dot", colour=colour, width=2 * line, opacity=100)
    return Overlay(prompt=prompt, style="outline", colour=colour, width=line, opacity=100)


def _with_words(text: str, prompt: VisualPrompt, words: str) -> str:
    """Return the text with the words in place of the first mark of the prompt's kind, or after it without a mark."""
    mark = MARKS[type(prompt)]
    return text.replace(mark, words, 1) if mark in text else f"{text} {words}"
