"""The prompts and templates of a pipeline: data files with source, licence and version, never words in code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.construction.records import Question
from harness.errors import SpecError
from harness.records import Json, Media
from harness.records.request import MediaPart, Part, TextPart, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt: what the model is told and asked, with slots `{name}`.

    Attributes:
        name: `FILE/NAME`.
        version: Raised by every change of its words.
        system: System turn; empty for none.
        user: User turn.
        examples: Turns between the two, as (question, answer).
        decoding: Settings of generation.
    """

    name: str
    version: int
    system: str
    user: str
    examples: tuple[tuple[str, str], ...] = ()
    decoding: Mapping[str, Json] = field(default_factory=dict)

    def ask(self, question: str, /, *, media: Sequence[Media] = (), **slots: str) -> Question:
        """Return the question with its slots filled, the media before its words.

        Args:
            question: Name of the question, unique for its source.
            media: Images and volumes that are shown.
            slots: Values by name. A slot without a value, as an example of JSON may hold one, stays as it is.
        """
        parts: list[Part] = [MediaPart(media=one) for one in media]
        turns = [Turn(role="system", parts=(TextPart(text=filled(self.system, slots)),))] if self.system else []
        for asked, answered in self.examples:
            turns.append(Turn(role="user", parts=(TextPart(text=asked),)))
            turns.append(Turn(role="assistant", parts=(TextPart(text=answered),)))
        turns.append(Turn(role="user", parts=(*parts, TextPart(text=filled(self.user, slots)))))
        return Question(
            name=question, prompt=self.name, version=self.version, messages=tuple(turns), decoding=self.decoding
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """A data file of a pipeline.

    Attributes:
        name: Name of the file without suffix.
        text: Its content, for the digest of the run.
        source, licence: Where its words come from.
        version: Of the file as a whole, which templates and word lists share.
        prompts: By name.
        lists: Templates and word lists by name.
    """

    name: str
    text: str
    source: str
    licence: str
    version: int
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    lists: Mapping[str, Any] = field(default_factory=dict)

    @property
    def template(self) -> str:
        """Name and version, as items name the templates of their words."""
        return f"{self.name} v{self.version}"


def filled(template: str, slots: Mapping[str, str]) -> str:
    """Return a template with each `{name}` that has a value replaced, in one pass: a value is never filled itself."""
    pieces = template.split("{")
    words = [pieces[0]]
    for piece in pieces[1:]:
        name, closed, after = piece.partition("}")
        words.append(f"{slots[name]}{after}" if closed and name in slots else f"{{{piece}")
    return "".join(words)


def read_prompt_file(path: Path) -> PromptFile:
    """Return a data file: YAML with `version`, `source`, `licence`, `prompts` and `lists`.

    A prompt has `user`, and may have `system`, `examples` (pairs), `decoding` and a `version` of its own.

    Raises:
        SpecError: It cannot be read, lacks version, source or licence, or a prompt has no words.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_text(encoding="utf-8")
        value = YAML(typ="safe").load(text)
        prompts = {
            name: Prompt(
                name=f"{path.stem}/{name}",
                version=int(prompt.get("version", value["version"])),
                system=str(prompt.get("system", "")).strip(),
                user=str(prompt["user"]).strip(),
                examples=tuple((str(asked), str(answered)) for asked, answered in prompt.get("examples", ())),
                decoding=dict(prompt.get("decoding", {})),
            )
            for name, prompt in value.get("prompts", {}).items()
        }
        return PromptFile(
            name=path.stem,
            text=text,
            source=str(value["source"]),
            licence=str(value["licence"]),
            version=int(value["version"]),
            prompts=prompts,
            lists=value.get("lists", {}),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, YAMLError) as error:
        raise SpecError(
            f"{path}: expected version, source, licence and prompts with `user`, found "
            f"{type(error).__name__}: {error}; repair the file"
        ) from error
