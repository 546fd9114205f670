"""The words of the table, which its text, its page and its JSON share."""

from collections.abc import Sequence
from typing import Final

from shootdown.mm.fault_handler import FETCHES
from shootdown.optimized.policy import Policy
from shootdown.scenario import kinds
from shootdown.scenario.record import Record
from shootdown.scenario.switches import names_of
from shootdown.scenario.verdict import REASONS
from shootdown.table.attributes import STALE_ATTRIBUTES
from shootdown.table.changes import describe
from shootdown.table.need import (
    ACCESSED_AGAIN,
    NO,
    SPURIOUS_FAULT,
    WITHOUT_REWALK,
    YES,
    Counterexample,
)
from shootdown.table.rows import DONE, MISSING, SKIPPED, WASTED, Cell, Row
from shootdown.table.trial import DISCARD

VERDICTS: Final = {
    DONE: "a flush is needed, and the policy flushes",
    MISSING: "a flush is needed, and the policy does not flush",
    WASTED: "no flush is needed, and the policy flushes",
    SKIPPED: "no flush is needed, and the policy does not flush",
}
GAINS: Final = {
    SPURIOUS_FAULT: ("f", "a spurious fault"),
    ACCESSED_AGAIN: ("a", "the accessed bit is set again at the next use, which page aging sees"),
    WITHOUT_REWALK: ("d", "safety on a processor without the re-walk"),
}
"""What a wasted flush saves: its mark, and its words."""
_NEEDS: Final = {YES: "yes", NO: "no", WITHOUT_REWALK: "no d"}
REMARKS: Final = (
    (
        "d: not needed, because a store through a clean entry checks the entry in memory again"
        " (the dirty assist's re-walk); needed by a processor that would not."
    ),
    "h: so under Linux's page-fault handler, not so under that of a policy here.",
)
"""What the marks behind a "yes" or "no" mean."""

_FREED: Final = ("freed-frame-still-cached", "freed-table-still-cached")
_THROUGH: Final = (
    "stale-grant",
    "access-to-freed-frame",
    "store-to-abandoned-frame",
    STALE_ATTRIBUTES,
)
_DENIED: Final = ("denied-though-allowed", "fault-never-heals")
_VERBS: Final = {kinds.READ: "reads", kinds.WRITE: "writes", kinds.EXEC: "fetches"}


def size_of(row: Row) -> str:
    """Return the size of the entries of a row."""
    return "2 MiB" if row.huge else "4 KiB"


def need_words(row: Row) -> str:
    """Return whether the change needs a flush, under Linux's fault handler, with the marks of REMARKS."""
    words = _NEEDS[row.needed]
    if all(cell.need.needed == row.needed for cell in row.cells):
        return words
    return f"{words}h" if " " in words else f"{words} h"


def handlers_of(policies: Sequence[Policy]) -> list[str]:
    """Return the page-fault handlers under which policies are judged; each with what it does, and its policies."""
    return [
        f"{handler}, which {does}: {', '.join(names)}."
        for handler, does in FETCHES.items()
        if (names := [policy.name for policy in policies if policy.handler == handler])
    ]


def notes_of(rows: Sequence[Row]) -> list[str]:
    """Return the notes about some rows, with the names of the rows, in the order of the table."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.note and row.name not in names.setdefault(row.note, []):
            names[row.note].append(row.name)
    return [f"{', '.join(named)}: {note}." for note, named in names.items()]


def gains_of(cell: Cell) -> list[str]:
    """Return what a wasted flush gains, as keys of GAINS; [] for every other cell."""
    if cell.verdict != WASTED:
        return []
    found = {*cell.need.gains, *([WITHOUT_REWALK] if cell.need.needed == WITHOUT_REWALK else [])}
    return [gain for gain in GAINS if gain in found]


def rule_of(reason: str) -> str:
    """Return the rule that a reason breaks."""
    return "C1" if reason == STALE_ATTRIBUTES else REASONS[reason][0]


def story_of(cell: Cell, *, huge: bool) -> str:
    """Return the counterexample of a cell as a sentence: the change, the events, the reason."""
    found = cell.need.counterexample
    if found is None:
        return ""
    change = f"{describe(cell.old, huge=huge)} -> {describe(cell.new, huge=huge)}"
    reason = f"{found.reason} ({rule_of(found.reason)})"
    return f"old {change}; {', '.join(events_of(found))}: {reason}{processor_of(found)}"


def events_of(found: Counterexample) -> list[str]:
    """Return the events of a counterexample in words; if there are none, what the operation itself does next."""
    if not found.events:
        return ["its frame is freed" if found.reason in _FREED else "its frame is copied"]
    words = [_event(event) for event in found.events]
    if found.reason in _THROUGH:
        words[-1] += " through its stale entry"
    elif found.reason in _DENIED:
        words[-1] += ", which its stale entry denies"
    return words


def processor_of(found: Counterexample) -> str:
    """Return in words what is special about the processor, "" for nothing."""
    switches = names_of(found.machine)
    return f", machine {' '.join(switches)}" if switches else ""


def _event(event: Record) -> str:
    kind, cpu = event[:2]
    if event == DISCARD:
        return "the page is dropped because its entry is clean"
    if kind == kinds.SWITCH:
        return f"CPU {cpu} switches to another address space"
    return f"CPU {cpu} {_VERBS[kind]}"
