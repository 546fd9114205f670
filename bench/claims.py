"""Whether each claim about Linux or the architecture in the documents names its witness, and the source trees confirm
it.

python -m bench.claims                                        # what has no witness, and the witnesses by kind
python -m bench.claims 6.1=PATH 6.12=PATH TREE                # and what the texts of these releases do not have

A TREE with a Makefile says itself which release it is. The beginning of docs/linux-tlb.md says how a witness is
written. Exit codes: 0 every claim has a witness and the trees agree, 1 otherwise, 2 wrong usage.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Scope(Enum):
    """Which sentences of a section are claims."""

    NONE = 0
    NAMING = 1  # those that name Linux, the architecture or a commit
    ALL = 2  # also those that do not begin with "The model:"


# The scope below a heading, by the beginning of the heading; any other heading changes nothing.
Scopes = dict[str, Scope]
USUAL: Scopes = {"": Scope.NAMING}
OTHERS: dict[str, Scopes] = {
    "README.md": USUAL | {"Set-up": Scope.NONE, "Where to read on": Scope.NONE},
    "docs/index.md": {},  # links
    "docs/linux-tlb.md": {
        "The facts": Scope.NONE,
        "Which release": Scope.NAMING,
        "A ": Scope.ALL,
        "What is not": Scope.NAMING,
    },
    "docs/published-verdicts.md": {},  # what was compared is its own witness
    "docs/trust.md": {},  # as docs/published-verdicts.md
}
"""The documents with unusual scopes."""
DOCUMENTS: dict[str, Scopes] = {
    path.relative_to(ROOT).as_posix(): OTHERS.get(path.relative_to(ROOT).as_posix(), USUAL)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
MODEL = "The model:"
GENERATED = re.compile(r"<!-- bench-history(?P<ends> ends)?")
HEADING = re.compile(r"#+ (.*)")
RULE_OF_A_TABLE = re.compile(r"\|[ |:-]+\|")
ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")
SENTENCE_ENDS = re.compile(r"(?<=[.!?]) (?=[A-Z`\"*])")
# The name of a patch, and text between backticks, claim nothing.
QUOTED = re.compile(r'"[^"]*"|`[^`]*`')
NAMING = re.compile(
    r"\b(?:Linux|x86|Intel|AMD|SDM|APM|the architecture)\b(?!-)|\b(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{12}\b"
)
BRACKET = re.compile(r"\[([^\[\]]+)\](?!\()")
TEXT = re.compile(
    r"(?P<releases>\d+\.\d+(?: \d+\.\d+)*): (?P<path>[\w./+-]+) (?P<names>!?\w+(?:, !?\w+)*)"
)
OTHER = re.compile(
    r"(?P<commit>commit [0-9a-f]{12})|(?P<manual>(?:SDM|APM) \d+(?:\.\d+)*)|(?P<mail>mail [\w-]+)"
    r"|(?P<live>live \d+\.\d+)|(?P<assumption>assumption(?:: .+)?)"
)
# Text that begins like a witness was meant to be one.
ALMOST = re.compile(r"\d+\.\d+[: ]|commit |mail|live |SDM |APM ")
KINDS = ("text", "commit", "manual", "mail", "live", "assumption")


@dataclass(frozen=True, slots=True)
class Text:
    """A file of some releases that has the names; if a name begins with an exclamation mark, the file lacks it."""

    releases: tuple[str, ...]
    path: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence or a table row with its witnesses.

    The fields have the kinds of the witnesses, the texts, and in `malformed` what is not understood.
    """

    place: str
    sentence: str
    kinds: frozenset[str]
    texts: tuple[Text, ...]
    malformed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Cover:
    """The witnesses that a line with a colon at its end gives to the lines after it."""

    kinds: frozenset[str] = frozenset()
    model: bool = False


def witnesses(sentence: str) -> tuple[frozenset[str], tuple[Text, ...], tuple[str, ...]]:
    """Return the kinds of a sentence's witnesses, the texts, and the parts of a witness bracket that are no witness.

    A bracket without any witness belongs to the sentence itself.
    """
    kinds: set[str] = set()
    texts: list[Text] = []
    malformed: list[str] = []
    for bracket in BRACKET.findall(sentence):
        parts = bracket.split("; ")
        wrong = []
        for part in parts:
            if text := TEXT.fullmatch(part):
                kinds.add("text")
                names = tuple(text["names"].split(", "))
                texts.append(Text(tuple(text["releases"].split()), text["path"], names))
            elif other := OTHER.fullmatch(part):
                kinds.add(other.lastgroup or "")
            else:
                wrong.append(part)
        if len(wrong) < len(parts) or ALMOST.match(bracket):
            malformed += wrong
    return frozenset(kinds), tuple(texts), tuple(malformed)


def claims(document: str, text: str, scopes: Scopes) -> Iterator[Claim]:
    """Yield the claims of a document in their order."""
    scope = Scope.NONE
    carried = _Cover()
    for block in _blocks(text):
        cover, carried = carried, _Cover()
        for number, line in block:
            if heading := HEADING.match(line):
                begins = [begin for begin in scopes if heading[1].startswith(begin)]
                scope = scopes[max(begins, key=len)] if begins else scope
                cover = _Cover()
                continue
            if scope is Scope.NONE:
                continue
            for sentence in _sentences(line):
                kinds, texts, malformed = witnesses(sentence)
                model = sentence.startswith(MODEL)
                plain = QUOTED.sub("", BRACKET.sub("", sentence))
                claimed = scope is Scope.ALL and not (model or cover.model)
                if claimed or kinds or malformed or NAMING.search(plain):
                    place = f"{document}:{number}"
                    yield Claim(place, sentence, kinds or cover.kinds, texts, malformed)
                if sentence.endswith(":"):
                    cover = _Cover(kinds or cover.kinds, model or (cover.model and not kinds))
                    carried = cover if number == block[-1][0] else _Cover()


def _blocks(text: str) -> Iterator[list[tuple[int, str]]]:
    """Yield the runs of lines without an empty line between them; lines are numbered from 1.

    Code, generated tables and the heads of tables are left out.
    """
    block: list[tuple[int, str]] = []
    hidden = False
    for number, line in enumerate((*text.splitlines(), ""), 1):
        mark = GENERATED.match(line)
        if mark:
            hidden = not mark["ends"]
        elif line.startswith("```"):
            hidden = not hidden
        elif RULE_OF_A_TABLE.fullmatch(line):
            block = block[:-1]
            continue
        elif line.strip() and not hidden:
            block.append((number, line))
            continue
        if block:
            yield block
            block = []


def _sentences(line: str) -> list[str]:
    """Return the sentences of a line, without the mark of a list item; a table row is one sentence."""
    return [line] if line.startswith("|") else SENTENCE_ENDS.split(ITEM.sub("", line, count=1))


def found() -> list[Claim]:
    """Return the claims of all documents."""
    return [
        claim
        for document, scopes in DOCUMENTS.items()
        for claim in claims(document, (ROOT / document).read_text(), scopes)
    ]


def complaints(of: Sequence[Claim]) -> list[str]:
    """Return a line for each claim without a witness, and for each witness that is not understood."""
    lines = [f"{claim.place}: no witness: {claim.sentence}" for claim in of if not claim.kinds]
    lines += [f"{claim.place}: not understood: {part}" for claim in of for part in claim.malformed]
    return lines


def contradictions(of: Sequence[Claim], trees: dict[str, Path]) -> list[str]:
    """Return a line for each name that the file of a release lacks, or has although the claim says that it lacks it."""
    wanted = {
        (release, text.path, name): claim.place
        for claim in of
        for text in claim.texts
        for release in text.releases
        for name in text.names
    }
    lines = []
    for (release, path, name), place in wanted.items():
        if release not in trees:
            continue
        words = _words(trees[release] / path)
        if words is None:
            lines.append(f"{place}: {release} has no file {path}")
        elif name.startswith("!") == (name.lstrip("!") in words):
            verb = "has" if name.startswith("!") else "has no"
            lines.append(f"{place}: {path} of {release} {verb} {name.lstrip('!')}")
    return lines


@cache
def _words(path: Path) -> frozenset[str] | None:
    """Return the identifiers of a file, or None if there is no file."""
    if not path.is_file():
        return None
    return frozenset(re.findall(r"\w+", path.read_text(errors="replace")))


def tree(argument: str) -> tuple[str, Path]:
    """Return the release and the folder in an argument `RELEASE=PATH` or `PATH`."""
    release, given, path = argument.rpartition("=")
    folder = Path(path)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is no folder")
    if given:
        return release, folder
    makefile = folder / "Makefile"
    numbers = (
        dict(re.findall(r"^(\w+) = (\d+)$", makefile.read_text(), re.MULTILINE))
        if makefile.is_file()
        else {}
    )
    if not {"VERSION", "PATCHLEVEL"} <= numbers.keys():
        raise argparse.ArgumentTypeError(
            f"{path} does not say which release it is: write RELEASE={path}"
        )
    return f"{numbers['VERSION']}.{numbers['PATCHLEVEL']}", folder


def report(of: Sequence[Claim]) -> str:
    """Return how many claims have a witness of each kind, for each document."""
    lines = [
        f"{'':26} {'claims':>7} {'none':>5}"
        + "".join(f" {kind:>10}" for kind in KINDS)
        + f" {'only that':>10}"
    ]
    for document in (*DOCUMENTS, "all"):
        own = [claim for claim in of if document in {"all", claim.place.partition(":")[0]}]
        kinds = Counter(kind for claim in own for kind in claim.kinds)
        none = sum(not claim.kinds for claim in own)
        assumed = sum(claim.kinds == {"assumption"} for claim in own)
        counts = "".join(f" {kinds[kind]:10}" for kind in KINDS)
        lines.append(f"{document:26} {len(own):7} {none:5}{counts} {assumed:10}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts and the complaints, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "trees", nargs="*", type=tree, metavar="[RELEASE=]PATH", help="the text of a release"
    )
    trees = dict(parser.parse_args(arguments).trees)
    every = found()
    wrong = complaints(every) + contradictions(every, trees)
    print(report(every))
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
