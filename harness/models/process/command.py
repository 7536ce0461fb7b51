"""The command of `process:COMMAND`: its words, the files that it names, and how results show it."""

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.errors import SpecError

# The folders of an absolute path within a word, as in `-v /home/me/data:/data`; of a URL they stay.
FOLDERS = re.compile(r"(?<![\w:/.~])(?:~|/)(?:[^/\s:,='\"]*/)+(?=[^/\s:,='\"])")


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, started without a shell.

    Attributes:
        words: The program first; it exists.
    """

    words: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the command that a text holds, quoted as in a shell.

        Raises:
            SpecError: There is none, a quote is not closed, or the program does not exist.
        """
        given = f"--model process:{text}"
        try:
            # In quotes, as a command with blanks stands, the shell expands no `~`.
            words = [str(Path(word).expanduser()) if word.startswith("~/") else word for word in shlex.split(text)]
        except ValueError as error:
            raise SpecError(f"{given}: {error}; quote it as in a shell") from error
        if not words:
            raise SpecError(
                f"{given}: expected a command, as in --model 'process:python my_model.py'; see docs/own-process.md"
            )
        if shutil.which(words[0]) is None:
            found = "is not executable" if _is_file(Path(words[0])) else "is no program"
            raise SpecError(
                f"{given}: '{words[0]}' {found}; expected a name on the PATH or a path from {Path.cwd()}. The command "
                "runs without a shell: write sh -c '...' for pipes and variables"
            )
        return cls(tuple(words))

    def files(self) -> list[Path]:
        """Return the files that the words name, also behind `--name=`: they belong to the model's identity."""
        # A program that is found by its name is the machine's; one that is named by its path may be the model.
        words = self.words if "/" in self.words[0] else self.words[1:]
        named = (Path(part) for word in words for part in (word, word.partition("=")[2]) if part)
        return [path for path in dict.fromkeys(named) if _is_file(path)]

    def without_folders(self) -> str:
        """Return the command with every path cut to its last part: results name no folder of a machine."""
        return shlex.join(map(_without_folders, self.words))


def _without_folders(word: str) -> str:
    name, equals, value = word.partition("=")
    if _is_file(Path(word)):
        return Path(word).name
    if equals and _is_file(Path(value)):
        return f"{name}={Path(value).name}"
    return FOLDERS.sub("", word)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a program given in words may be too long for a path, or hold a null character
        return False
