"""The text form of a litmus test: raw stores to page-table entries, invalidations, loads and stores, and an outcome.

    # What the test is, in whole-line comments.
    litmus 1
    suite hand-written
    test ptwalk2 forbidden
    outcome-from axiom
    unflushed permitted      only when the program invalidates: the verdict if the invalidations drop nothing
    scenario bad_c1_published_ptwalk2    only when the kernel does the same in one of the corpus

    cpu0 remap x Z
    cpu0 invlpg x
    cpu0 read x as r

    outcome r uses X

An address x has the frame X at first, by an entry of its own; X has the content 0.
`remap x Z` stores an entry that gives x the frame Z. `invlpg x` invalidates on its own CPU. `ipi x` does the same in
the interrupt that a remap of x sends, so it comes after a remap. A store writes its own label. Several `outcome` lines
are alternatives; statements joined by `and` hold together. A test that cannot be expressed has `inexpressible REASON`
in place of everything after its verdict.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

_FIRST_LINE: Final = "litmus 1"
MAX_CPUS: Final = 4
MAX_ADDRESSES: Final = 4


class LitmusError(ValueError):
    """A text is not a litmus test; the message is one sentence that names the line."""

    def __init__(self, line: int, wrong: str) -> None:
        super().__init__(f"line {line}: {wrong}")


class Verdict(StrEnum):
    """Whether some run may show the outcome."""

    PERMITTED = "permitted"
    FORBIDDEN = "forbidden"


class Suite(StrEnum):
    """The place where tests are published; `conform.litmus.report` says what is read there."""

    HAND_WRITTEN = "hand-written"
    SYNTHESIZED = "synthesized"


class Basis(StrEnum):
    """The source from which an outcome is taken, because neither suite states the values that are read."""

    ENCODING = "encoding"
    USER_LEVEL = "user-level"
    AXIOM = "axiom"
    NAME = "name"


class Reason(StrEnum):
    """Why a test cannot be expressed."""

    STORE_BUFFER = "store-buffer"
    UNSTATED = "unstated"


class Kind(StrEnum):
    """What an event does."""

    READ = "read"
    WRITE = "write"
    REMAP = "remap"
    INVLPG = "invlpg"
    IPI = "ipi"


class Event(NamedTuple):
    """One instruction."""

    kind: Kind
    address: str
    label: str = ""
    """The label of a load or a store; a store writes it."""
    frame: str = ""
    """The frame that a remap leads to."""


class Is(StrEnum):
    """What an atom of an outcome says about its subject: a label, an address or a frame."""

    READS = "reads"
    USES = "uses"
    SAME = "shares"
    DIFFERENT = "parts"
    WALKS = "walks"
    MAPS = "maps"
    DIRTY = "dirty"
    CLEAN = "clean"
    HOLDS = "holds"


class Atom(NamedTuple):
    """One statement about a finished run, as in `r uses X`."""

    subject: str
    verb: Is
    object: str = ""


class Test(NamedTuple):
    """One published name with the verdict beside it."""

    name: str
    verdict: Verdict


class Litmus(NamedTuple):
    """The content of a text.

    Several tests may share one program and one outcome; `programs` has the events of each CPU in their order.
    """

    comments: tuple[str, ...]
    suite: Suite
    tests: tuple[Test, ...]
    reason: Reason | None = None
    basis: Basis = Basis.ENCODING
    unflushed: Verdict | None = None
    scenarios: tuple[str, ...] = ()
    programs: tuple[tuple[Event, ...], ...] = ()
    outcome: tuple[tuple[Atom, ...], ...] = ()

    @property
    def events(self) -> Iterator[Event]:
        """Return every event, CPU by CPU."""
        return (event for program in self.programs for event in program)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the virtual addresses of the program, sorted."""
        return tuple(sorted({event.address for event in self.events}))

    @property
    def invalidates(self) -> bool:
        """Return whether any event is an invalidation."""
        return any(event.kind in {Kind.INVLPG, Kind.IPI} for event in self.events)


def own_frame(address: str) -> str:
    """Return the frame that an address has at first."""
    return address.upper()


_OBJECTS: Final[Mapping[Is, str]] = {
    Is.READS: "label or 0",
    Is.USES: "frame",
    Is.SAME: "label",
    Is.DIFFERENT: "label",
    Is.MAPS: "frame",
    Is.HOLDS: "label or 0",
}
_SUBJECTS: Final[Mapping[Is, str]] = {
    Is.READS: "label",
    Is.USES: "label",
    Is.SAME: "label",
    Is.DIFFERENT: "label",
    Is.WALKS: "label",
    Is.MAPS: "address",
    Is.DIRTY: "address",
    Is.CLEAN: "address",
    Is.HOLDS: "frame",
}


def parse(text: str) -> Litmus:
    """Return the content of a text.

    Errors: LitmusError, which names the first line that is wrong.
    """
    comments: list[str] = []
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            if lines:
                raise LitmusError(number, "a comment stands above the first line")
            comments.append(line.removeprefix("#").removeprefix(" "))
        elif line:
            lines.append((number, line.split(" ")))
    if not lines or lines[0][1] != _FIRST_LINE.split(" "):
        raise LitmusError(lines[0][0] if lines else 1, f"expected {_FIRST_LINE!r}")
    return _Parser(tuple(comments), lines[1:]).litmus()


class _Parser:
    """One text that is being read."""

    def __init__(self, comments: tuple[str, ...], lines: list[tuple[int, list[str]]]) -> None:
        self.comments = comments
        self.lines = lines
        self.last = lines[-1][0] if lines else 1
        self.suite: Suite | None = None
        self.tests: list[Test] = []
        self.reason: Reason | None = None
        self.basis: Basis | None = None
        self.unflushed: Verdict | None = None
        self.scenarios: list[str] = []
        self.programs: list[list[Event]] = []
        self.outcome: list[tuple[Atom, ...]] = []
        self.asked: list[tuple[int, Atom]] = []

    def litmus(self) -> Litmus:
        for number, words in self.lines:
            self._line(number, words)
        if self.suite is None or not self.tests:
            raise LitmusError(self.last, "a suite and a test are missing")
        programs = tuple(tuple(program) for program in self.programs)
        if self.reason:
            if self.basis or self.unflushed or programs or self.outcome:
                raise LitmusError(self.last, "what is inexpressible has no program and no outcome")
            return Litmus(self.comments, self.suite, tuple(self.tests), self.reason)
        if self.basis is None or not programs or not self.outcome:
            raise LitmusError(self.last, "outcome-from, a program and an outcome are missing")
        made = Litmus(
            self.comments,
            self.suite,
            tuple(self.tests),
            None,
            self.basis,
            self.unflushed,
            tuple(self.scenarios),
            programs,
            tuple(self.outcome),
        )
        self._check(made)
        return made

    def _line(self, number: int, words: list[str]) -> None:
        head, *rest = words
        match head, len(rest):
            case "suite", 1:
                self.suite = _one(Suite, rest[0], number)
            case "test", 2:
                self.tests.append(Test(rest[0], _one(Verdict, rest[1], number)))
            case "inexpressible", 1:
                self.reason = _one(Reason, rest[0], number)
            case "outcome-from", 1:
                self.basis = _one(Basis, rest[0], number)
            case "unflushed", 1:
                self.unflushed = _one(Verdict, rest[0], number)
            case "scenario", 1:
                self.scenarios.append(rest[0])
            case "outcome", _:
                atoms = tuple(
                    _atom(part.split(" "), number) for part in " ".join(rest).split(" and ")
                )
                self.outcome.append(atoms)
                self.asked += [(number, atom) for atom in atoms]
            case _, _ if head[:-1] == "cpu" and head[-1].isdecimal() and rest:
                self._event(number, int(head[-1]), rest)
            case _:
                raise LitmusError(number, f"{head!r} begins no line of a litmus test")

    def _event(self, number: int, cpu: int, words: list[str]) -> None:
        if cpu not in {len(self.programs) - 1, len(self.programs)} or cpu >= MAX_CPUS:
            raise LitmusError(number, f"CPUs are numbered from 0 to {MAX_CPUS - 1}, each at once")
        if cpu == len(self.programs):
            self.programs.append([])
        kind = _one(Kind, words[0], number)
        match kind, words[1:]:
            case ((Kind.READ | Kind.WRITE), [address, "as", label]):
                event = Event(kind, address, label)
            case Kind.REMAP, [address, frame]:
                event = Event(kind, address, frame=frame)
            case ((Kind.INVLPG | Kind.IPI), [address]):
                event = Event(kind, address)
            case _:
                raise LitmusError(number, f"{' '.join(words)!r} is no event")
        if not (event.address.isalpha() and event.address.islower()):
            raise LitmusError(number, "an address is a word of small letters")
        if event.frame and not (event.frame.isalpha() and event.frame.isupper()):
            raise LitmusError(number, "a frame is a word of capital letters")
        self.programs[cpu].append(event)

    def _check(self, made: Litmus) -> None:
        if len(made.addresses) > MAX_ADDRESSES:
            raise LitmusError(self.last, f"there are more than {MAX_ADDRESSES} addresses")
        labels = [event.label for event in made.events if event.label]
        if len(set(labels)) < len(labels):
            raise LitmusError(self.last, "two events have one label")
        frames = {own_frame(address) for address in made.addresses}
        frames |= {event.frame for event in made.events if event.frame}
        known = {
            "label": set(labels),
            "label or 0": {*labels, "0"},
            "address": set(made.addresses),
            "frame": frames,
        }
        for number, atom in self.asked:
            if atom.subject not in known[_SUBJECTS[atom.verb]]:
                raise LitmusError(number, f"{atom.subject!r} is no {_SUBJECTS[atom.verb]}")
            if atom.verb in _OBJECTS and atom.object not in known[_OBJECTS[atom.verb]]:
                raise LitmusError(number, f"{atom.object!r} is no {_OBJECTS[atom.verb]}")
        if made.invalidates != (made.unflushed is not None):
            raise LitmusError(self.last, "unflushed is for a program that invalidates")
        remapped = {event.address for event in made.events if event.kind == Kind.REMAP}
        if {event.address for event in made.events if event.kind == Kind.IPI} - remapped:
            raise LitmusError(self.last, "an interrupt waits for a remap that no CPU makes")


_Word = TypeVar("_Word", bound=StrEnum)


def _one(kind: type[_Word], word: str, number: int) -> _Word:
    try:
        return kind(word)
    except ValueError:
        expected = ", ".join(kind)
        raise LitmusError(number, f"{word!r} is none of {expected}") from None


def _atom(words: list[str], number: int) -> Atom:
    if len(words) >= 2:
        verb = _one(Is, words[1], number)
        if len(words) == (3 if verb in _OBJECTS else 2):
            return Atom(words[0], verb, *words[2:])
    raise LitmusError(number, f"{' '.join(words)!r} is no statement about a run")
