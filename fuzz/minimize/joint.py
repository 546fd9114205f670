"""Lower several records at once, in the combinations that belong together in these scenarios.

Changed one by one they would first lose the bug: a store and the mprotect that forbids stores only
become a load and an mprotect that forbids loads together.
"""

from collections.abc import Iterator
from typing import Final

from fuzz.minimize.reducer import Reducer
from fuzz.minimize.rewrite import (
    ACCESSES,
    is_call,
    names_pages,
    replaced,
    revised,
    with_accesses,
    with_records,
    without,
)
from fuzz.scenario import Header, Record, Scenario, kinds

_NONE: Final = kinds.PROTECTIONS.index("none")
_READ: Final = kinds.PROTECTIONS.index("r")
_READ_EXEC: Final = kinds.PROTECTIONS.index("rx")

# The simplest calls that forbid a kind of access: kind and argument.
_DENIALS: Final = {
    kinds.READ: ((kinds.MPROTECT, _NONE), (kinds.MUNMAP, 0), (kinds.DONTNEED, 0)),
    kinds.WRITE: ((kinds.MPROTECT, _READ), (kinds.FORK, 0)),
}


def calls(scenario: Scenario) -> list[int]:
    """The positions of all calls."""
    return [at for at, record in enumerate(scenario.records) if is_call(record)]


def as_call(record: Record, header: Header, kind: int, arg: int) -> Record:
    """The call as one of another kind; one that named no pages now names all."""
    if not names_pages(record):
        record = revised(record, page=0, count=header.pages)
    return revised(record, kind=kind, arg=arg)


def align_accesses(reducer: Reducer) -> None:
    """Tried: all accesses reads, and all writes; with that, each call replaced by each of the
    simplest that forbid such an access, and any one other call removed. Stops when one is removed.
    """
    for access, denials in _DENIALS.items():
        size = len(reducer.best.records)
        reducer.consider(with_accesses(reducer.best, access))
        for at in calls(reducer.best):
            for kind, arg in denials:
                aligned = with_accesses(reducer.best, access)
                call = as_call(aligned.records[at], aligned.header, kind, arg)
                _consider_with_fewer_calls(reducer, replaced(aligned, at, call), at)
                if len(reducer.best.records) < size:
                    return


def _consider_with_fewer_calls(reducer: Reducer, candidate: Scenario, keep: int) -> bool:
    """Consider a scenario as it is, and then without each call but one, until one is taken."""
    gone = [set(), *({at} for at in calls(candidate) if at != keep)]
    return any(reducer.consider(without(candidate, positions)) for positions in gone)
