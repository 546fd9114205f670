"""The texts that were held against the models when this version was made: which one a text is, or how much it differs.

A known text is kept as a number for each of its lines, without comments and blanks, so that differences are counted
without the text (`python -m building.known`).
"""

from base64 import b85decode, b85encode
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Final

from shootdown.kernel.directives import without_comments

_BYTES: Final = 3
"""The size of a line's number: two of two thousand lines are equal by chance with odds of 1 to 8."""
SUFFIX: Final = ".lines"


@dataclass(frozen=True, slots=True)
class Likeness:
    """How a text compares with the known ones.

    `release`: the known text that is most like it, "" if none is known.
    `hunks`: the number of places where they differ; 0 for a known text.
    `files`: the files that differ.
    """

    release: str
    hunks: int
    files: tuple[str, ...]


def likeness_of(sources: dict[str, str]) -> Likeness:
    """Return how a text, the contents of its files by name, compares with the known texts."""
    ours = {name: lines_of(content, name) for name, content in sources.items()}
    best = Likeness("", 0, ())
    for release, known in _known().items():
        differ = {
            name: hunks
            for name in {*ours, *known}
            if (hunks := _hunks(known.get(name, []), ours.get(name, [])))
        }
        found = Likeness(release, sum(differ.values()), tuple(sorted(differ)))
        if not best.release or found.hunks < best.hunks:
            best = found
    return best


def is_known(sources: dict[str, str]) -> bool:
    """Return whether a text is one of the known texts."""
    like = likeness_of(sources)
    return bool(like.release) and not like.hunks


def lines_of(content: str, name: str) -> list[bytes]:
    """Return a number for each line that has more than comments and blanks."""
    lines = (" ".join(line.split()) for line in without_comments(content, name).split("\n"))
    return [blake2b(line.encode(), digest_size=_BYTES).digest() for line in lines if line]


def rendered(sources: dict[str, str]) -> str:
    """Return a text as a file of this package: for each of its files its name and the numbers of its lines."""
    return "".join(
        f"{name} {b85encode(b''.join(lines_of(content, name))).decode()}\n"
        for name, content in sorted(sources.items())
    )


@cache
def _known() -> dict[str, dict[str, list[bytes]]]:
    folder = files("shootdown.kernel").joinpath("known")
    known: dict[str, dict[str, list[bytes]]] = {}
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(SUFFIX):
            rows = (row.split(" ", 1) for row in file.read_text(encoding="ascii").splitlines())
            known[file.name.removesuffix(SUFFIX)] = {
                name: _numbers(b85decode(packed)) for name, packed in rows
            }
    return known


def _numbers(packed: bytes) -> list[bytes]:
    return [packed[at : at + _BYTES] for at in range(0, len(packed), _BYTES)]


def _hunks(before: list[bytes], after: list[bytes]) -> int:
    if before == after:
        return 0
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return sum(tag != "equal" for tag, *_ in matcher.get_opcodes())
