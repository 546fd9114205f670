"""Semantic feedback: the kind of situation to which a record led.

A feature is local to one page and one CPU, because a hash of the whole state would be new nearly every time and flood
the corpus. There are six families, computed here and nowhere else. The first three are combined with the worst that
another CPU's TLB holds for the page ("x" means combined with):

* the page: class of its entry x what this CPU's TLB holds for it;
* the policy: flushes on their way x the state variable that the flush strategy declares;
* the debt: how many flushes were missed by a context that a CPU keeps for later;
* the flight: the point of the operation in flight x flushes on their way x the worst that a TLB holds for its page;
* the meeting: the points of two operations in flight x whether on one page x the worst that a TLB holds for it;
* the failure, by itself: the reason why a run ended as illegal.

The features are few and coarse, because every input that shows a new one is kept, and a search repeats what is kept.
With features by the kind of the operation (that of the record x that of the operation in flight, and the latter x its
point: 4,400 features) 16 of 24 runs of 10 CPU seconds found their fault; with the meetings instead, 21 did (12 faults,
no corpus).
"""

from typing import Final

from shootdown.machine.caches import FETCH, HUGE_KEY, TAG_AT
from shootdown.machine.entry import MIGRATION, NX, PRESENT, PSE, RW, UFFD_WP
from shootdown.machine.geometry import FRAME_MASK, PAGES
from shootdown.machine.tlb_entry import INCARNATION_AT, tlb_grants
from shootdown.machine.x86 import Machine
from shootdown.mm.step import POINTS
from shootdown.mm.tables import is_swap, leaf_of
from shootdown.mm.world import World
from shootdown.reference.history import History
from shootdown.reference.version import INCARNATION, PLACE_AT, SEEN, seen
from shootdown.scenario import kinds
from shootdown.scenario.record import Record
from shootdown.scenario.verdict import REASONS

ENTRY_CLASSES: Final = 12
TLB_CLASSES: Final = 4
OTHER_CLASSES: Final = TLB_CLASSES + 1
"""The classes of other CPUs' TLBs: TLB_CLASSES, and one for the frame that is cached under another page."""
ALIAS: Final = TLB_CLASSES
STALE: Final = 2
"""TLB classes from this one on grant what the page table does not."""
_POINT: Final = {name: i for i, name in enumerate(("", *kinds.POINTS))}
STRATEGY_RANGE: Final = 12
"""The limit of a strategy's state variable."""
BEHIND_RANGE: Final = 4
OWED_RANGE: Final = 16
"""The limits of the values that FlushStrategy.behind returns."""
_PAGE_AT: Final = 0
_VARIABLE_AT: Final = _PAGE_AT + ENTRY_CLASSES * TLB_CLASSES * OTHER_CLASSES
_OWED_AT: Final = _VARIABLE_AT + BEHIND_RANGE * STRATEGY_RANGE * OTHER_CLASSES
_FLIGHT_AT: Final = _OWED_AT + OWED_RANGE * OTHER_CLASSES
_MEETING_AT: Final = _FLIGHT_AT + len(_POINT) * BEHIND_RANGE * TLB_CLASSES
_REASON_AT: Final = _MEETING_AT + len(_POINT) ** 2 * 2 * TLB_CLASSES
_REASON: Final = {reason: _REASON_AT + i for i, reason in enumerate(REASONS)}
FEATURES: Final = _REASON_AT + len(_REASON)


def entry_class(entry: int) -> int:
    """Return the class of a leaf entry, below ENTRY_CLASSES."""
    if not entry:
        return 0
    if not entry & PRESENT:
        return 1 if entry & MIGRATION else 2
    if entry & UFFD_WP:
        return 3
    return (8 if entry & PSE else 4) + (1 if entry & RW else 0) + (0 if entry & NX else 2)


def tlb_class(entry: int, version: int) -> int:
    """Return how a TLB entry compares with the newest version of its page, below TLB_CLASSES.

    0: nothing is cached. 1: no more than the page table grants. 2: more rights, or another key. 3: another frame, or a
    page that is gone.
    """
    if entry >> INCARNATION_AT != version >> PLACE_AT & INCARNATION:
        return 3
    return 2 if seen(entry) != version & SEEN or tlb_grants(entry) & ~version else 1


def failure_feature(reason: str) -> int:
    """Return the feature of a run that ended with a reason of scenario.verdict.REASONS.

    So the first input of each kind of failure is kept and changed further, and repetitions are not rewarded.
    """
    return _REASON[reason]


def held_class(machine: Machine, cpu: int, page: int, version: int) -> int:
    """Return how the TLB entries of a CPU for a page, under its loaded PCID, compare with a version of the page.

    If the CPU has two TLBs, it is the worse of the two.
    """
    tlb = machine.tlb[cpu]
    pcid = machine.pcid[cpu] << TAG_AT
    held = 0
    for tag in (pcid, FETCH | pcid) if machine.split_tlb else (pcid,):
        if tag | page in tlb:
            held = max(held, tlb_class(tlb[tag | page], version))
        elif tag | HUGE_KEY | page >> 2 in tlb:
            entry = tlb[tag | HUGE_KEY | page >> 2] + ((page & 3) << INCARNATION_AT)
            held = max(held, tlb_class(entry, version))
    return held


def observe(w: World, history: History, record: Record, into: set[int]) -> None:
    """Add the features of the situation to which a record led; each is below FEATURES."""
    cpu = record[1]
    page = record[3] if record[0] != kinds.RUN else w.op_page[cpu]
    mm = w.task_mm[cpu]
    version = history.versions[mm * PAGES + page][-1]
    operations = w.op
    machine = w.machine
    entry = leaf_of(w, mm, page)
    frame = (entry >> 19) & 60 | (entry >> 12) & 3
    own = other = worst = 0
    flying, busy = cpu, -1
    for there, tlb in enumerate(machine.tlb):
        if there != cpu and operations[there] > busy:
            flying, busy = there, operations[there]
        if not tlb:
            continue
        held = held_class(machine, there, page, version)
        if held > worst:  # noqa: PLR1730 - called 40 times an execution, max() took 2 % of it
            worst = held
        if there == cpu:
            own = held
        elif held > other:
            other = held
        elif not held and frame and other < ALIAS and not is_swap(entry):
            for cached in tlb.values():
                if cached >> INCARNATION_AT & FRAME_MASK == frame:
                    other = ALIAS
                    break
    phase = _phase(w, flying)
    behind, owed = w.flush.behind(w, mm)
    variable = behind * STRATEGY_RANGE + w.flush.variable(w, cpu)
    into.update(
        (
            _PAGE_AT + (entry_class(entry) * TLB_CLASSES + own) * OTHER_CLASSES + other,
            _VARIABLE_AT + variable * OTHER_CLASSES + other,
            _OWED_AT + owed * OTHER_CLASSES + other,
        )
    )
    target = w.op_page[flying]
    if target != page or w.task_mm[flying] != mm:
        if w.task_mm[flying] != mm:
            mm = w.task_mm[flying]
            behind, _ = w.flush.behind(w, mm)
        version = history.versions[mm * PAGES + target][-1]
        worst = 0
        for there, tlb in enumerate(machine.tlb):
            if tlb:
                held = held_class(machine, there, target, version)
                if held > worst:  # noqa: PLR1730 - as above
                    worst = held
    into.add(_FLIGHT_AT + (phase * BEHIND_RANGE + behind) * TLB_CLASSES + worst)
    if operations[flying] >= 0:
        for there, operation in enumerate(operations):
            if there != flying and operation >= 0:
                met = _phase(w, there)
                points = max(phase, met) * len(_POINT) + min(phase, met)
                apart = 2 * points + (w.op_page[there] != target)
                into.add(_MEETING_AT + apart * TLB_CLASSES + worst)


def _phase(w: World, cpu: int) -> int:
    """Return the number of the point of a CPU's next step; 0 if the step has no point."""
    return _POINT[POINTS[w.steps[cpu][-1][0]]]
