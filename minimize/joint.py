"""Lower several records at once, in the combinations that belong together in these scenarios.

Changed one by one they would first lose the bug: a store and the mprotect that forbids stores only
become a load and an mprotect that forbids loads together.
"""

from itertools import combinations
from typing import Final

from shootdown.minimize.order import PROTECTIONS_BY_SIMPLICITY, length
from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    ARG,
    KIND,
    PROTECTION_MASK,
    RUN,
    as_call,
    calls,
    has_protection,
    replaced,
    revised,
    with_accesses,
    with_records,
    without,
)
from shootdown.scenario import Header, Record, Scenario, kinds

_NONE: Final = kinds.PROTECTIONS.index("none")
_READ: Final = kinds.PROTECTIONS.index("r")
_READ_EXEC: Final = kinds.PROTECTIONS.index("rx")

# The simplest calls that forbid a kind of access: kind and argument.
_DENIALS: Final = {
    kinds.READ: ((kinds.MPROTECT, _NONE), (kinds.MUNMAP, 0), (kinds.DONTNEED, 0)),
    kinds.WRITE: ((kinds.MPROTECT, _READ), (kinds.FORK, 0)),
}


_FORBIDDING: Final = (kinds.MPROTECT, kinds.MUNMAP, kinds.MMAP, kinds.DONTNEED, kinds.FORK)


def align_accesses(reducer: Reducer) -> None:
    """Tried: all accesses reads, and all writes; with that, each call that forbids accesses replaced
    by each of the simplest that forbid such an access, until one worked, and without the other call
    if there are two.
    """
    for access, denials in _DENIALS.items():
        reducer.consider(with_accesses(reducer.best, access))
        for at in calls(reducer.best):
            best = reducer.best
            if best.records[at][KIND] not in _FORBIDDING:
                continue
            for kind, arg in denials:
                aligned = with_accesses(best, access)
                call = as_call(aligned.records[at], aligned.header, kind, arg)
                if _consider_alone(reducer, replaced(aligned, at, call), at):
                    break
            if len(reducer.best.records) < len(best.records):
                return


def _consider_alone(reducer: Reducer, candidate: Scenario, at: int) -> bool:
    """Consider a scenario as it is, and if it has one call besides that at a position, without it."""
    others = set(calls(candidate)) - {at}
    return reducer.consider(candidate) or (
        len(others) == 1 and reducer.consider(without(candidate, others))
    )


def hand_down_protection(reducer: Reducer) -> None:
    """For each two records with a protection, has tried to remove the later and to give its
    protection to the earlier, until that worked once.
    """
    records = reducer.best.records
    positions = [at for at, record in enumerate(records) if has_protection(record)]
    for early, late in combinations(positions, 2):
        arg = records[early][ARG] & ~PROTECTION_MASK | records[late][ARG] & PROTECTION_MASK
        given = replaced(reducer.best, early, revised(records[early], arg=arg))
        if reducer.consider(without(given, {late})):
            return


def replace_protections(reducer: Reducer) -> None:
    """For each two records with a protection, has tried to remove the earlier and to give the later each other
    protection, until that worked once: a right taken away and given back may stand for one given.
    """
    records = reducer.best.records
    granting = [at for at, record in enumerate(records) if has_protection(record)]
    for first, second in combinations(granting, 2):
        kept = records[second][ARG]
        for protection in PROTECTIONS_BY_SIMPLICITY:
            arg = kept & ~PROTECTION_MASK | protection
            changed = replaced(reducer.best, second, revised(records[second], arg=arg))
            if arg != kept and reducer.consider(without(changed, {first})):
                return


def align_promotion(reducer: Reducer) -> None:
    """Each mprotect has tried to be one that adds execution, with all accesses before it reads and
    all behind it fetches, in this layout and in the simplest, and without the other call if there
    are two, until one worked: the simplest story of a right that is granted and then not seen.
    Accesses that pause before the mprotect come behind it: they may end there.
    """
    for at in calls(reducer.best):
        best = reducer.best
        if best.records[at][KIND] != kinds.MPROTECT:
            continue
        before, behind = best.records[:at], best.records[at + 1 :]
        paused = [revised(r, run=0) for r in before if r[KIND] in ACCESSES and r[RUN]]
        before = tuple(r for r in before if r[KIND] not in ACCESSES or not r[RUN])
        story = with_records(
            best,
            (
                *with_accesses(with_records(best, before), kinds.READ).records,
                revised(best.records[at], arg=_READ_EXEC),
                *with_accesses(with_records(best, (*paused, *behind)), kinds.EXEC).records,
            ),
        )
        for layout in sorted({0, best.header.layout}):
            candidate = Scenario(best.header._replace(layout=layout), story.records)
            if _consider_alone(reducer, candidate, len(before)):
                return


def align_grant(reducer: Reducer) -> None:
    """Of what is longer than this, tried: in the plainest world one CPU reads a page, is granted execution, and fetches
    from it.

    A right that is granted and not seen by a stale entry has many causes (fork and its break, userfaultfd, a split, a
    fault that another CPU overtakes), and no small changes lead from one to the other.
    """
    records: tuple[Record, ...] = (
        (kinds.READ, 0, 0, 0, 1, 0),
        (kinds.MPROTECT, 0, 0, 0, 1, _READ_EXEC),
        (kinds.EXEC, 0, 0, 0, 1, 0),
    )
    story = Scenario(Header(cpus=1, pages=1), records)
    if length(story) < length(reducer.best):
        reducer.consider(story)
