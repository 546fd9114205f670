"""Random sequences of what page-table code and programs make a processor do, as plain tuples and as text."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from shootdown.fuzz.inputs.draws import Draws
from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    EXEC,
    GLOBAL,
    NX,
    PKEY,
    PKEY_SHIFT,
    PRESENT,
    PSE,
    READ,
    RW,
    USER,
    WRITE,
)
from shootdown.machine.geometry import BLOCKS, FANOUT, FRAME_BITS, PAGES, TABLES, frame_of

ACCESS: Final = 0
"""An access to page `first` of kind `second`; `third`: a fetch uses the address of the one before."""
STORE: Final = 1
"""A store of the entry `third` to word `second` of the frame `first`, in memory."""
INVLPG: Final = 2
INVPCID_PAGE: Final = 3
"""INVPCID type 0 for the PCID `first` and page `second`."""
INVPCID_CONTEXT: Final = 4
INVPCID_ALL: Final = 5
"""Types 2 (`first`: globals too) and 3."""
LOAD_CR3: Final = 6
"""Root `first`, PCID `second`, noflush `third`."""
WRPKRU: Final = 7
TOGGLE_PGE: Final = 8

ROOTS: Final = (0, 1)
"""Frames that are page directories."""
PAGE_TABLES: Final = (4, 5, 6, 7)
_FIRST_FRAME: Final = 8
"""Frames of data; the huge ones are the last blocks, so that each kind of frame is met often."""
_SMALL: Final = tuple(range(_FIRST_FRAME, _FIRST_FRAME + 6))
_HUGE: Final = tuple(block * FANOUT for block in (BLOCKS - 3, BLOCKS - 2, BLOCKS - 1))
PCIDS: Final = (0, 1, 2)
_KINDS: Final = (READ, READ, WRITE, WRITE, EXEC)
KIND_NAMES: Final = {READ: "read", WRITE: "write", EXEC: "exec"}


_CHANGED: Final = 0.4
"""The share of stores that change one bit of the entry, as mprotect and aging do; the others store a new entry."""
_CHANGES: Final = (PRESENT, RW, RW, USER, ACCESSED, DIRTY, NX)


class Event(NamedTuple):
    """One event; the name of its kind says what `first`, `second` and `third` are. For a store to memory `cpu` is 0."""

    kind: int
    cpu: int
    first: int = 0
    second: int = 0
    third: int = 0


class Shape(NamedTuple):
    """What the events of a sequence may use.

    `whole`: only one page of each 2 MiB is used.
    `kept`: nothing drops only the entries that are not global, and everything has one PCID, so that QEMU keeps global
    entries as a processor does.
    """

    cpus: int = 2
    huge: bool = False
    global_: bool = False
    keys: bool = False
    whole: bool = False
    twice: bool = False
    kept: bool = False


def random_events(draws: Draws, shape: Shape, length: int) -> list[Event]:
    """Return events that build page tables and load them, and `length` events after these."""
    made = [
        Event(STORE, 0, root, index, _upper(draws, shape))
        for root in ROOTS
        for index in range(TABLES)
    ]
    made += [
        Event(STORE, 0, table, index, _leaf(draws, shape))
        for table in PAGE_TABLES
        for index in range(FANOUT)
    ]
    pcids = PCIDS[:1] if shape.kept else PCIDS
    made += [
        Event(LOAD_CR3, cpu, draws.choice(ROOTS), draws.choice(pcids)) for cpu in range(shape.cpus)
    ]
    # Few pages, so that cached entries are used again.
    pages = [0, 4] if shape.whole else draws.sample(range(PAGES), 3)
    words = {(event.first, event.second): event.third for event in made if event.kind == STORE}
    for _ in range(length):
        event = _event(draws, shape, pages)
        if event.kind == STORE:
            place = event.first, event.second
            if draws.random() < _CHANGED:
                event = event._replace(third=words[place] ^ draws.choice(_CHANGES))
            words[place] = event.third
        made.append(event)
    return made


def _event(draws: Draws, shape: Shape, pages: Sequence[int]) -> Event:
    chance = draws.random()
    cpu = draws.randrange(0, shape.cpus)
    page = draws.choice(pages)
    if chance < 0.5:
        kind = draws.choice(_KINDS)
        twice = kind == EXEC and shape.twice and draws.random() < 0.5
        return Event(ACCESS, cpu, page, kind, int(twice))
    if chance < 0.68:
        table = draws.choice(PAGE_TABLES)
        return Event(STORE, 0, table, page % FANOUT, _leaf(draws, shape))
    if chance < 0.76:
        return Event(STORE, 0, draws.choice(ROOTS), page // FANOUT, _upper(draws, shape))
    if chance < 0.84:
        return Event(INVLPG, cpu, page)
    if shape.kept and chance < 0.9:
        return Event(INVPCID_ALL, cpu, 1)
    if chance < 0.87:
        return Event(INVPCID_PAGE, cpu, draws.choice(PCIDS), page)
    if chance < 0.89:
        return Event(INVPCID_CONTEXT, cpu, draws.choice(PCIDS))
    if chance < 0.9:
        return Event(INVPCID_ALL, cpu, draws.randrange(0, 2))
    if chance < 0.91:
        return Event(TOGGLE_PGE, cpu)
    if chance < 0.94 and shape.keys:
        # Nothing denies key 0 (machine.pkru).
        return Event(WRPKRU, cpu, draws.randrange(0, 64) << 2)
    if shape.kept:
        return Event(LOAD_CR3, cpu, draws.choice(ROOTS), PCIDS[0], 1)
    noflush = int(draws.random() < 0.7)
    return Event(LOAD_CR3, cpu, draws.choice(ROOTS), draws.choice(PCIDS), noflush)


def _bits(draws: Draws) -> int:
    """Return bits of any entry, such that most of them permit most things."""
    entry = 0 if draws.random() < 0.1 else PRESENT
    entry |= RW if draws.random() < 0.7 else 0
    entry |= USER if draws.random() < 0.92 else 0
    entry |= NX if draws.random() < 0.2 else 0
    entry |= ACCESSED if draws.random() < 0.5 else 0
    return entry | (DIRTY if draws.random() < 0.4 else 0)


def _leaf(draws: Draws, shape: Shape, *, huge: bool = False) -> int:
    entry = _bits(draws) | FRAME_BITS[draws.choice(_HUGE if huge else _SMALL)]
    if huge:
        entry |= PSE
    if shape.global_ and draws.random() < 0.3:
        entry |= GLOBAL
    if shape.keys and draws.random() < 0.5:
        entry |= draws.randrange(1, 4) << PKEY_SHIFT
    return entry


def _upper(draws: Draws, shape: Shape) -> int:
    if shape.huge and draws.random() < 0.4:
        return _leaf(draws, shape, huge=True)
    return _bits(draws) | FRAME_BITS[draws.choice(PAGE_TABLES)]


def simpler(event: Event) -> list[Event]:
    """Return events that say less than this one: an entry with one bit less, or without the exception from the rule."""
    kind, _, _, _, third = event
    if kind == STORE:
        fewer = [third & ~bit for bit in (NX, GLOBAL, PKEY, DIRTY, ACCESSED)]
        more = [third | bit for bit in (RW, USER)]
        return [event._replace(third=entry) for entry in (*fewer, *more) if entry != third]
    return [event._replace(third=0)] if third else []


_LETTERS: Final = (
    (PRESENT, "P"),
    (RW, "RW"),
    (USER, "US"),
    (ACCESSED, "A"),
    (DIRTY, "D"),
    (PSE, "PS"),
    (GLOBAL, "G"),
    (NX, "XD"),
)


def entry_text(entry: int) -> str:
    """Return an entry as the manual names its bits."""
    words = [f"f{frame_of(entry)}", *(name for bit, name in _LETTERS if entry & bit)]
    if entry & PKEY:
        words.append(f"k{entry >> PKEY_SHIFT & 15}")
    return " ".join(words)


def text(event: Event) -> str:
    """Return an event as a line that `parse` reads."""
    kind, cpu, first, second, third = event
    if kind == STORE:
        return f"f{first}[{second}] = {entry_text(third)}"
    if kind == ACCESS:
        what = f"{KIND_NAMES[second]} p{first}" + (" twice" if third else "")
    elif kind == INVLPG:
        what = f"invlpg p{first}"
    elif kind == INVPCID_PAGE:
        what = f"invpcid pcid{first} p{second}"
    elif kind == INVPCID_CONTEXT:
        what = f"invpcid pcid{first}"
    elif kind == INVPCID_ALL:
        what = "invpcid all" + (" globals" if first else "")
    elif kind == LOAD_CR3:
        what = f"cr3 f{first} pcid{second}" + (" noflush" if third else "")
    elif kind == WRPKRU:
        what = f"wrpkru {first:#x}"
    else:
        what = "toggle pge"
    return f"cpu{cpu} {what}"


def render(events: Sequence[Event]) -> str:
    """Return events as text, one a line."""
    return "".join(f"{text(event)}\n" for event in events)


class EventError(ValueError):
    """A line is not an event; the message says which."""


def parse(lines: str) -> list[Event]:
    """Return the events of a text that `render` made; empty lines are skipped.

    Errors: EventError.
    """
    events = []
    for line in lines.splitlines():
        if line.strip():
            try:
                events.append(_parse(line.split()))
            except (KeyError, ValueError, IndexError):
                raise EventError(f"'{line.strip()}' is no event of a processor.") from None
    return events


_NAMED: Final = {name: bit for bit, name in _LETTERS}
_KIND_OF: Final = {name: kind for kind, name in KIND_NAMES.items()}


def _number(word: str, prefix: str) -> int:
    if not word.startswith(prefix):
        raise ValueError(word)
    return int(word.removeprefix(prefix), 0)


def _entry(words: Sequence[str]) -> int:
    entry = FRAME_BITS[_number(words[0], "f")]
    for word in words[1:]:
        entry |= _number(word, "k") << PKEY_SHIFT if word[0] == "k" else _NAMED[word]
    return entry


def _parse(words: Sequence[str]) -> Event:
    if words[1] == "=":
        frame, _, index = words[0].rstrip("]").partition("[")
        return Event(STORE, 0, _number(frame, "f"), int(index), _entry(words[2:]))
    cpu = _number(words[0], "cpu")
    what, rest = words[1], words[2:]
    if what in _KIND_OF:
        return Event(ACCESS, cpu, _number(rest[0], "p"), _KIND_OF[what], int(rest[1:] == ["twice"]))
    if what == "invlpg":
        return Event(INVLPG, cpu, _number(rest[0], "p"))
    if what == "invpcid" and rest[0] == "all":
        return Event(INVPCID_ALL, cpu, int(rest[1:] == ["globals"]))
    if what == "invpcid" and len(rest) > 1:
        return Event(INVPCID_PAGE, cpu, _number(rest[0], "pcid"), _number(rest[1], "p"))
    if what == "invpcid":
        return Event(INVPCID_CONTEXT, cpu, _number(rest[0], "pcid"))
    if what == "cr3":
        noflush = int(rest[2:] == ["noflush"])
        return Event(LOAD_CR3, cpu, _number(rest[0], "f"), _number(rest[1], "pcid"), noflush)
    if what == "wrpkru":
        return Event(WRPKRU, cpu, int(rest[0], 0))
    if words[1:] == ["toggle", "pge"]:
        return Event(TOGGLE_PGE, cpu)
    raise ValueError(what)
