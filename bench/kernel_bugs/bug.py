"""A bug of a kernel's text: the edits that put it back, and the scenario that must show it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shootdown.kernel.machinery import FILES
from shootdown.kernel.rule import HEADERS
from shootdown.kernel.text import MAKEFILE, Text, release_of
from shootdown.scenario import Scenario, parse
from shootdown.scenario.text import FIRST_LINE
from shootdown.scenario.verdict import REASONS
from shootdown.system.user_error import UserError


class BugError(UserError):
    """The error that a bug cannot be put into a text."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a file: a pattern that the file has exactly once, and its replacement, as re.sub takes them."""

    file: str
    pattern: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug of the flush machinery.

    `origin`: the commit that fixed it, with its CVE if it has one, or "own".
    `mechanism`: what goes wrong, in one line.
    `reason`: the key of scenario.verdict.REASONS by which it must be caught.
    `scenario`: a scenario in the text form, without its first line, that is illegal for this reason with the bug, and
    legal without it.
    `since`, `before`: the releases whose texts have the code, the second one excluded.
    `held_out`: the bug judges changes of the search, and the author of such a change does not look at it.
    Errors: ValueError, when the reason is none.
    """

    name: str
    origin: str
    mechanism: str
    reason: str
    edits: tuple[Edit, ...]
    scenario: str
    since: tuple[int, int] = (6, 1)
    before: tuple[int, int] = (99, 0)
    held_out: bool = False

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            message = f"{self.name}: {self.reason} is no reason"
            raise ValueError(message)

    @property
    def rule(self) -> str:
        """The rule that it breaks."""
        return REASONS[self.reason][0]

    def shown_by(self) -> Scenario:
        """Return the scenario that must show it."""
        return parse(f"{FIRST_LINE}\n{self.scenario}").scenario

    def is_in(self, files: Mapping[str, str]) -> bool:
        """Return whether a text of this release can have the bug; a text without a release counts as the newest."""
        numbers = re.match(r"(\d+)\.(\d+)", release_of(files.get(MAKEFILE, "")))
        release = (int(numbers[1]), int(numbers[2])) if numbers else (98, 0)
        return self.since <= release < self.before

    def put_into(self, files: Mapping[str, str]) -> dict[str, str]:
        """Return the files of a text with the bug.

        Errors: BugError, with the bug's name, when a file does not have the code exactly once.
        """
        changed = dict(files)
        for edit in self.edits:
            content = changed.get(edit.file, "")
            count = sum(1 for _ in re.finditer(edit.pattern, content))
            if count != 1:
                message = f"{self.name}: {edit.file} has {edit.pattern} {count} times, not once."
                raise BugError(message)
            changed[edit.file] = re.sub(edit.pattern, edit.replacement, content)
        return changed


def files_of(text: Text) -> dict[str, str]:
    """Return the files of a text of which its rule and its machinery are made, by their names."""
    return text.read([*dict.fromkeys((*FILES, *HEADERS))])


def write_copy(files: Mapping[str, str], folder: Path) -> Path:
    """Write the files of a text as a tree below a folder, and return the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder
