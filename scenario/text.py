"""The text form: what a person writes, reads in a mail, and keeps in git.

    # A story in whole-line comments.
    shootdown-scenario 1
    cpus 2
    pages 2
    layout private
    machine amd              only when a switch is set
    asids 2                  only when it is not 1
    batch 2                  only when it is not 1
    expect v1 C2 denied-though-allowed

    cpu0 write p0
    cpu1 mprotect p0-p1 rx until flush
    cpu0 run

`render` prints the one canonical text of a scenario. `parse` also accepts blank lines, more spaces, header lines in
another order, and a comment after `#` on any line; of the comments it keeps only the story, which comes before the
first line.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from shootdown.scenario.kinds import (
    FIRST_POINT,
    KINDS,
    LAYOUTS,
    MAX_ASIDS,
    MAX_BATCH,
    MAX_CPUS,
    MAX_PAGES,
    MAX_STEPS,
    POINTS,
    SWITCHES,
)
from shootdown.scenario.record import Header, Record, Scenario
from shootdown.scenario.switches import names_of
from shootdown.scenario.verdict import RULES as MEANINGS

RULES: Final = tuple(MEANINGS)
"""What an expectation may name: the rules of the oracle, and the counter of wasted work."""

FIRST_LINE: Final = "shootdown-scenario 1"


class ScenarioError(ValueError):
    """A text is not a scenario; the message is one sentence that names the line."""

    def __init__(self, line: int, expected: str, instead: str) -> None:
        super().__init__(f"line {line}: expected {expected}, but {instead}")
        self.line = line


class Expectation(NamedTuple):
    """What a policy must show on the scenario; `rule` and `reason` are empty for legal."""

    policy: str
    rule: str = ""
    reason: str = ""


class ParsedScenario(NamedTuple):
    """The content of a text; `render` takes the three parts in this order."""

    scenario: Scenario
    comments: tuple[str, ...] = ()
    """The story: the comment lines before the first line, without `# `."""
    expectations: tuple[Expectation, ...] = ()


def _found(word: str) -> str:
    if not word:
        return "the line ends"
    return f"found {word!r}" if len(word) <= 40 else f"found {word[:40]!r}..."


def _numbered(prefix: str, values: Iterable[int]) -> dict[str, int]:
    return {f"{prefix}{value}": value for value in values}


def _indexed(names: Iterable[str], first: int = 0) -> dict[str, int]:
    return {name: value for value, name in enumerate(names, first)}


def _one_of(thing: str, prefix: str, count: int) -> str:
    if count == 1:
        return f"the only {thing}, {prefix}0"
    return f"a {thing} from {prefix}0 to {prefix}{count - 1}"


# Words are looked up, never converted: int() can fail in more ways than a text can be wrong.
_KINDS: Final = _indexed(kind.name for kind in KINDS)
_POINTS: Final = _indexed(POINTS, FIRST_POINT)
_STEPS: Final = _numbered("", range(1, MAX_STEPS + 1))
_FIELDS: Final[Mapping[str, tuple[Mapping[str, int], str]]] = {
    "cpus": (_numbered("", range(1, MAX_CPUS + 1)), f"a number from 1 to {MAX_CPUS}"),
    "pages": (_numbered("", range(1, MAX_PAGES + 1)), f"a number from 1 to {MAX_PAGES}"),
    "layout": (_indexed(LAYOUTS), f"a layout ({', '.join(LAYOUTS)})"),
    "machine": (
        {name: 1 << bit for bit, name in enumerate(SWITCHES)},
        f"a machine switch that is not set yet ({', '.join(SWITCHES)})",
    ),
    "asids": (_numbered("", range(1, MAX_ASIDS + 1)), f"a number from 1 to {MAX_ASIDS}"),
    "batch": (_numbered("", range(1, MAX_BATCH + 1)), f"a number from 1 to {MAX_BATCH}"),
}
_REQUIRED: Final = ("cpus", "pages", "layout")


def render_record(record: Record) -> str:
    """Return the line of one canonical record, as in `cpu1 mprotect p0-p2 r until flush`."""
    kind, cpu, run, page, count, arg = record
    name, pages, _, argument, _ = KINDS[kind]
    words = [f"cpu{cpu}", name]
    if pages != "none":
        words.append(f"p{page}" if count == 1 else f"p{page}-p{page + count - 1}")
    if argument.names[arg]:
        words.append(argument.names[arg])
    if run >= FIRST_POINT:
        words.append(f"until {POINTS[run - FIRST_POINT]}")
    elif run:
        words.append(f"for {run}")
    return " ".join(words)


def render(
    scenario: Scenario,
    comments: Iterable[str] = (),
    expectations: Iterable[Expectation] = (),
) -> str:
    """Return the canonical text of a canonical scenario: parsing it gives back all three parts.

    A comment with line breaks becomes several comments, and white space at its end is dropped.
    """
    header, records = scenario
    story = [line for comment in comments for line in comment.splitlines() or [""]]
    lines = [f"# {line}".rstrip() for line in story]
    lines.append(FIRST_LINE)
    lines.append(f"cpus {header.cpus}")
    lines.append(f"pages {header.pages}")
    lines.append(f"layout {LAYOUTS[header.layout]}")
    if header.machine:
        lines.append(f"machine {' '.join(names_of(header.machine))}")
    if header.asids != 1:
        lines.append(f"asids {header.asids}")
    if header.batch != 1:
        lines.append(f"batch {header.batch}")
    for policy, rule, reason in expectations:
        lines.append(f"expect {policy} {rule} {reason}" if rule else f"expect {policy} legal")
    if records:
        lines.append("")
        lines.extend(render_record(record) for record in records)
    return "\n".join(lines) + "\n"


def parse(text: str) -> ParsedScenario:
    """Return the content of a text.

    Errors: ScenarioError; no text raises anything else.
    """
    story: list[str] = []
    fields: dict[str, int] = {}
    expectations: list[Expectation] = []
    records: list[Record] = []
    header: Header | None = None
    started = False
    number = 0
    # Not splitlines(), which also breaks lines at characters that no editor counts as a line end.
    for number, raw in enumerate(text.removesuffix("\n").split("\n"), 1):
        code, hash_sign, comment = raw.partition("#")
        line = _Line(number, code.split())
        first = line.word()
        if not first:
            if hash_sign and not started:
                story.append(comment.removeprefix(" ").rstrip())
        elif not started:
            line.first()
            started = True
        elif first.startswith("cpu") and first != "cpus":
            if header is None:
                header = _header(fields, number, _found(first))
            records.append(line.record(header))
        elif header is not None:
            raise line.fail("only operations such as 'cpu0 read p0' from the first one on")
        elif first == "expect":
            expectations.append(line.expectation())
        else:
            line.field(fields)
    if not started:
        raise ScenarioError(number, f"{FIRST_LINE!r} as the first line", "the text ends")
    if header is None:
        header = _header(fields, number, "the text ends")
    return ParsedScenario(Scenario(header, tuple(records)), tuple(story), tuple(expectations))


def _header(fields: Mapping[str, int], number: int, instead: str) -> Header:
    for name in _REQUIRED:
        if name not in fields:
            raise ScenarioError(number, f"a line '{name}' before the first operation", instead)
    return Header(**fields)


class _Line:
    """The words of one line, taken from left to right."""

    def __init__(self, number: int, words: Sequence[str]) -> None:
        self._number = number
        self._words = words
        self._next = 0

    def word(self) -> str:
        """Return the next word, or an empty string at the end of the line."""
        return self._words[self._next] if self._next < len(self._words) else ""

    def fail(self, expected: str, found: str | None = None) -> ScenarioError:
        word = self.word() if found is None else found
        return ScenarioError(self._number, expected, _found(word))

    def take(self, values: Mapping[str, int], expected: str, words: int = 1) -> int:
        """Return the value of the next words, which must be a key of the mapping."""
        found = " ".join(self._words[self._next : self._next + words])
        if found not in values:
            raise self.fail(expected, found)
        self._next += words
        return values[found]

    def name(self, expected: str) -> str:
        """Return the next word, which may be any word."""
        found = self.word()
        if not found:
            raise self.fail(expected)
        self._next += 1
        return found

    def end(self, expected: str = "the end of the line") -> None:
        if self.word():
            raise self.fail(expected)

    def first(self) -> None:
        self.take({FIRST_LINE: 0}, f"{FIRST_LINE!r} as the first line", words=2)
        self.end()

    def field(self, fields: dict[str, int]) -> None:
        """Add the value of a header line to the fields that exist already."""
        name = self.word()
        if name not in _FIELDS:
            names = ", ".join(_FIELDS)
            raise self.fail(f"a header line ({names}, expect) or an operation such as 'cpu0 run'")
        if name in fields:
            raise self.fail(f"only one line '{name}'")
        self._next += 1
        values, expected = _FIELDS[name]
        value = self.take(values, expected)
        if name == "machine":
            while self.word():
                unset = {switch: bit for switch, bit in values.items() if not value & bit}
                value |= self.take(unset, expected)
        self.end()
        fields[name] = value

    def expectation(self) -> Expectation:
        self._next += 1
        policy = self.name("the name of a policy")
        rule = self.word()
        if rule == "legal":
            self._next += 1
            self.end()
            return Expectation(policy)
        self.take(_indexed(RULES), f"'legal' or a rule ({', '.join(RULES)})")
        reason = self.name("the reason that the rule gives")
        self.end()
        return Expectation(policy, rule, reason)

    def record(self, header: Header) -> Record:
        cpus, pages = header.cpus, header.pages
        cpu = self.take(_numbered("cpu", range(cpus)), _one_of("CPU", "cpu", cpus))
        kind = self.take(_KINDS, f"an operation ({', '.join(_KINDS)})")
        _, used, pausable, argument, _ = KINDS[kind]
        page, count = 0, 1
        if used != "none":
            page, count = self.range(pages, several=used == "range")
        names = argument.names[:pages] if argument.of_pages else argument.names
        words = len(names[-1].split())
        optional = not names[0] and not self.word()
        arg = self.take(_indexed(names), argument.expected, words) if words and not optional else 0
        run = self.run() if pausable else 0
        self.end()
        return (kind, cpu, run, page, count, arg)

    def range(self, pages: int, *, several: bool) -> tuple[int, int]:
        """Return the first page and the number of pages of the next word."""
        names = _numbered("p", range(pages))
        first, dash, second = self.word().partition("-")
        expected = _one_of("page", "p", pages)
        if several and pages > 1:
            expected += f" or an upward range such as p0-p{pages - 1}"
        start = names.get(first)
        end = names.get(second) if dash else start
        if start is None or end is None or end < start or (dash and not several):
            raise self.fail(expected)
        self._next += 1
        return start, end - start + 1

    def run(self) -> int:
        """Return the run field that the rest of the line describes."""
        word = self.word()
        if not word:
            return 0
        if word not in ("for", "until"):
            raise self.fail(
                "'for' and a number of steps, 'until' and a point, or the end of the line"
            )
        self._next += 1
        if word == "for":
            return self.take(_STEPS, f"a number of steps from 1 to {MAX_STEPS}")
        return self.take(_POINTS, f"a point ({', '.join(POINTS)})")
