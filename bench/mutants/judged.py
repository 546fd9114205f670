"""What a person says about the mutants that stay legal: a line of judged.tsv for each, with one sentence
that says why.
"""

from pathlib import Path
from typing import Final, NamedTuple

EQUIVALENT: Final = "equivalent"
COSTLY: Final = "costly"
UNSEEN: Final = "unseen"
WORDS: Final = (EQUIVALENT, COSTLY, UNSEEN)
"""The mutant does the same as the model; or it only does more work, or does it later; or it does something that the
tool cannot see.
"""
FILE: Final = Path(__file__).with_name("judged.tsv")


class Judgement(NamedTuple):
    """One of WORDS, and the reason."""

    word: str
    why: str


def judgements(path: Path = FILE) -> dict[str, Judgement]:
    """Return the judgements of a file by the mutant's name.

    Errors: ValueError, with the line, when a line is not a judgement.
    """
    found: dict[str, Judgement] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, word, why = [*line.split("\t"), "", ""][:3]
        if word not in WORDS or not why or name in found:
            message = (
                f"{path.name}, line {number}: a mutant of its own, {', '.join(WORDS)}, and why"
            )
            raise ValueError(message)
        found[name] = Judgement(word, why)
    return found
