"""Find secrets among the arguments of a model, refuse to store them, and mask them in everything that is stored.

The arguments of a model are part of its identity, which is stored in `run.json`, results and reports and shown on a
board. So an argument that looks like a secret is refused, unless the adapter declares it `execution_only`, which keeps
it out of the identity; then its value is masked wherever the model repeats it.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set

from harness.errors import SpecError
from harness.models.resolve import ModelReference
from harness.records import Json

MASK = "***"
# A name is cut into words at underscores, hyphens and capitals; `apikey` and `authtoken` are words that end in one.
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
ALWAYS_SECRET = re.compile(r"(?:secret|password|passwd|pwd|passphrase|credential|authorization|auth|apikey)s?$")
OFTEN_SECRET = re.compile(r"(?:key|token)s?$")
# These name the place of a secret: `api_key_env=OPENAI_API_KEY`, `token_file=~/.token`.
PLACE = frozenset({"env", "environment", "variable", "var", "file", "path"})
# A token of a vocabulary, such as `<image>`, `[SEG]` or `</s>`.
MARKER = re.compile(r"[<\[{(|].*[>\]})|]")
# Sizes such as `max_new_tokens=4096` or `key_dim=64`; a number that is a secret is longer.
LARGEST_SIZE = 10**7
# Keys with a known prefix, web tokens, private keys, and passwords in URLs.
KNOWN_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{8,}|hf_[A-Za-z0-9]{6,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{10,}"
    r"|github_pat_\w{10,}|glpat-[\w-]{10,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|Bearer\s+[\w.~+/-]{8,}=*"
    r")|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
# Shorter values occur by chance in messages, or in answers.
LEAST_MASKED, LEAST_MASKED_IN_ANSWERS = 4, 8
# Fields of a stored line or event without text, or with text of the harness itself.
NO_WORDS = frozenset({"key", "keys", "status", "event", "masks", "soft_masks", "masks_blob"})
# Words of `--model-args` on the command line.
ASSIGNED = re.compile(r'(?P<name>[A-Za-z_][\w-]*)\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"|\{.*\}|\[.*\]|[^,]*)')


def refuse_secrets(reference: ModelReference, execution_only: Set[str]) -> None:
    """Check that nothing that looks like a secret would be stored with the model's identity.

    Raises:
        SpecError: An argument that is not `execution_only` does, or the text behind a model's name.
    """
    remedy = (
        "and a model's arguments are stored in run.json, results and reports. Let the adapter read it from an "
        "environment variable, or name it in `execution_only`: its value is then stored nowhere (docs/add-a-model.md)"
    )
    for name, value in reference.arguments.items():
        if name in execution_only:
            continue
        if any(KNOWN_KEYS.search(text) for _, text in _leaves(name, value)):
            raise SpecError(f"--model-args: {name}: its value looks like a key or a password, {remedy}")
        if next(_secrets(name, value), None) is not None:
            raise SpecError(f"--model-args: {name}: is named like a secret, {remedy}")
    if reference.argument is not None and KNOWN_KEYS.search(reference.argument):
        name = reference.text.partition(":")[0]
        raise SpecError(f"--model {name}:{MASK}: looks like a key or a password, {remedy}")


def secrets_of(arguments: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the values, as text, of the arguments that look like secrets, the longest first: one may hold another."""
    found = {secret for name, value in arguments.items() for secret in _secrets(name, value)}
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return a text with the secrets, as they are and as JSON writes them, and all well-known keys masked."""
    for secret in secrets:
        if len(secret) >= LEAST_MASKED:
            text = text.replace(secret, MASK).replace(json.dumps(secret, ensure_ascii=False)[1:-1], MASK)
    return KNOWN_KEYS.sub(MASK, text)


def masked_words(word: str, secrets: Sequence[str]) -> str:
    """Return a word of a command line with secrets masked: by their values, and by the names of arguments."""

    def without_value(match: re.Match[str]) -> str:
        value: Json = match["value"]
        with contextlib.suppress(ValueError):
            value = json.loads(value)
        return match[0] if next(_secrets(match["name"], value), None) is None else f"{match['name']}={MASK}"

    return ASSIGNED.sub(without_value, masked(word, secrets))


def masked_record(record: Json, secrets: Sequence[str]) -> Json:
    """Return a prediction or an event, as JSON values, with the secrets masked in all of its words.

    What the model answers is masked only of secrets of at least LEAST_MASKED_IN_ANSWERS characters: an answer with
    a word that happens to be a password must not change. In errors all secrets are masked.
    """
    long = tuple(secret for secret in secrets if len(secret) >= LEAST_MASKED_IN_ANSWERS)

    def walk(value: Json, known: Sequence[str]) -> Json:
        if isinstance(value, str):
            return masked(value, known)
        if isinstance(value, list):
            return [walk(item, known) for item in value]
        if isinstance(value, dict):
            return {
                name: item if name in NO_WORDS else walk(item, secrets if name == "error" else known)
                for name, item in value.items()
            }
        return value

    return walk(record, long)


def _secrets(name: str, value: Json) -> Iterator[str]:
    """Yield the secrets among the values of one argument."""
    for path, text in _leaves(name, value):
        words = [word.lower() for word in WORD.findall(path)]
        kind = "" if not words or words[-1] in PLACE else max(map(_kind, words))
        harmless = kind == "often" and (MARKER.fullmatch(text) or (text.isdigit() and int(text) < LARGEST_SIZE))
        if KNOWN_KEYS.search(text) or (kind and text.strip() and not harmless):
            yield text


def _kind(word: str) -> str:
    """Return `sure` or `often` for a word that names secrets, else an empty text; in this order they sort."""
    return "sure" if ALWAYS_SECRET.search(word) else "often" if OFTEN_SECRET.search(word) else ""


def _leaves(name: str, value: Json) -> Iterator[tuple[str, str]]:
    """Yield the texts and numbers of a value, each with the names that lead to it."""
    if isinstance(value, dict):
        for part, item in value.items():
            yield from _leaves(f"{name}_{part}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(name, item)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield name, str(value)
