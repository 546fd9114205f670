"""The reference compared with a memory without any TLB: with no operation in flight they are the same.

Three answers to the same scenario, in which every operation runs to completion, must agree: the reference strategy over
the machine with TLBs, the same memory manager over a machine that walks the tables at every access and never flushes,
and what the version history allows.
Mutants of the reference show that the comparison would notice.
"""

from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import find, given

from shootdown.machine.caches import FETCH, TAG_MASK
from shootdown.machine.entry import NX, RW, WRITE
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.machine.tlb_entry import TLB_NX, TLB_PKEY
from shootdown.machine.x86 import Machine
from shootdown.mm.state import MMS, State
from shootdown.mm.world import World
from shootdown.reference.eager import EagerFlush
from shootdown.reference.history import History
from shootdown.run.execute import execute
from shootdown.run.lockstep import Recorder, in_lockstep
from shootdown.scenario import Scenario
from tests.kernel import Told
from tests.strategies import any_lockstep, any_scenario, searching, weighted

Answer = tuple[tuple[object, ...], ...]
"""One entry for each outcome: what was shown, the incarnation that was used, and the ones that are allowed."""


class WithoutTlb(Machine):
    """A machine that keeps nothing: each access walks the tables in memory, and nothing is filled."""

    __slots__ = ()

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Walk, and forget everything."""
        result = super().access(cpu, page, kind)
        self.toggle_pge(cpu)
        return result

    def fill(self, cpu: int, page: int, fetch: int = 0) -> None:
        """Set ACCESSED as a speculative walk does, and keep nothing."""
        super().fill(cpu, page, fetch)
        self.toggle_pge(cpu)


class NoFlush(EagerFlush):
    """Frees as the reference does, and invalidates nothing."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Do nothing: there is nothing to invalidate."""


class Answers(Recorder):
    """Keeps each outcome together with what the history allows at its instant; judges nothing."""

    def attach(self, w: World) -> None:
        """Begin with no answer."""
        super().attach(w)
        self.answers: list[tuple[object, ...]] = []

    def live(self, cpu: int, page: int, kind: int) -> frozenset[int]:
        """Return the incarnations that the history allows and that are not freed."""
        slot = self.world.task_mm[cpu] * PAGES + page
        allowed = self.allowed(slot, kind, self.world.machine.pkru[cpu])
        return frozenset(i for i in allowed if self.generation[i & 63] == i >> 6)

    def access(self, cpu: int, page: int, kind: int, incarnation: int, value: int) -> None:
        """Keep an access with its incarnation."""
        allowed = self.live(cpu, page, kind)
        self.answers.append(("access", cpu, page, kind, value, incarnation, allowed))
        super().access(cpu, page, kind, incarnation, value)

    def denied(self, cpu: int, page: int, kind: int, rights: int) -> None:
        """Keep a delivered fault."""
        self.answers.append(("denied", cpu, page, kind, rights, -1, self.live(cpu, page, kind)))
        super().denied(cpu, page, kind, rights)

    def trapped(self, cpu: int, page: int) -> None:
        """Keep an event of userfaultfd."""
        self.answers.append(("trapped", cpu, page, WRITE, 0, -1, self.live(cpu, page, WRITE)))
        super().trapped(cpu, page)


def answers(
    scenario: Scenario, strategy: EagerFlush, machine_type: type[Machine] = Machine
) -> Answer:
    """Return what the scenario shows, and how it ends."""
    outcome = execute(scenario, strategy, oracle_type=Answers, machine_type=machine_type)
    return (*cast("Answers", outcome.oracle).answers, (outcome.verdict, outcome.reason))


def disagreement(scenario: Scenario, reference: EagerFlush) -> str:
    """Return the first point in which the three answers differ, "" when they agree."""
    with_tlb = answers(scenario, reference)
    without_tlb = answers(scenario, NoFlush(), WithoutTlb)
    for one, other in zip(with_tlb, without_tlb, strict=False):
        if one != other:
            return f"with TLBs {one}, without {other}"
    if len(with_tlb) != len(without_tlb):
        return "one shows more than the other"
    if with_tlb[-1][0] == "illegal":
        return f"judged as {with_tlb[-1]}"
    for _, _, _, _, _, used, allowed in with_tlb[:-1]:
        if allowed != (set() if used == -1 else {used}):
            return f"used {used}, allowed {allowed}"
    return ""


@given(any_lockstep())
def test_the_reference_equals_a_memory_without_tlb(scenario: Scenario) -> None:
    """With no operation in flight one outcome is allowed, and it is what a memory without TLBs shows."""
    assert disagreement(scenario, EagerFlush()) == ""


@given(any_scenario())
def test_the_reference_keeps_its_own_rules(scenario: Scenario) -> None:
    """With operations in flight as well, nothing that the reference shows is illegal."""
    outcome = execute(scenario, EagerFlush())

    assert outcome.verdict != "illegal", outcome.reason


@given(any_scenario())
def test_the_reference_has_no_window(scenario: Scenario) -> None:
    """After every step each entry of every TLB grants at most what the page table grants at that instant."""

    def check(w: State, _cpu: int, _step: tuple[int, ...]) -> None:
        assert stale_entries(w) == []

    execute(scenario, EagerFlush(), watch=Told(check))


def stale_entries(w: State) -> list[tuple[int, int]]:
    """Return (CPU, TLB key) of each entry whose translation a walk would not give."""
    stale = []
    for cpu, entries in enumerate(w.machine.tlb):
        for key, entry in entries.items():
            mm = key >> 4 & TAG_MASK
            page = (key & 7) * FANOUT if key & 8 else key & 7
            fresh = w.machine.copy()
            fresh.toggle_pge(cpu)
            # The temporary address space of the kernel has the PCID after those of the numbered ones.
            root = w.root[mm] if mm < MMS else w.poking
            fresh.load_cr3(cpu, root, mm, noflush=False)
            fresh.fill(cpu, page, key & FETCH)
            now = fresh.tlb[cpu].get(key, 0)
            other = (now ^ entry) & ~0xFF or (now ^ entry) & TLB_PKEY
            if other or entry & ~now & RW or now & ~entry & TLB_NX:
                stale.append((cpu, key))
    return stale


# Mutants.


class ForgetsOneCpu(EagerFlush):
    """Flushes every CPU but the last."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Leave the last CPU out."""
        last = w.cpus - 1
        kept = dict(w.machine.tlb[last])
        super().pte_stored(w, cpu, mm, page)
        w.machine.tlb[last].update(kept)


class FlushesTheSenderOnly(EagerFlush):
    """Flushes the CPU that changes the entry."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Drop the page here."""
        w.machine.invpcid_page(cpu, mm, page)


class FlushesTheLoadedSpaceOnly(EagerFlush):
    """Flushes the CPUs that have the space loaded."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Put back what a CPU has of a space that it does not run."""
        kept = [dict(entries) for entries in w.machine.tlb]
        super().pte_stored(w, cpu, mm, page)
        for target, entries in enumerate(kept):
            if w.loaded_mm[target] != mm:
                w.machine.tlb[target].update(entries)


class ForgetsTheLastPage(EagerFlush):
    """Flushes every page but the last of each table."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Leave one page out."""
        if page % FANOUT != FANOUT - 1:
            super().pte_stored(w, cpu, mm, page)


class FlushesTheOldPage(EagerFlush):
    """Flushes the first page of the table, whichever was changed."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Drop another page, unless it is the same."""
        super().pte_stored(w, cpu, mm, page & FANOUT)


class KeepsUpperEntries(EagerFlush):
    """Leaves the paging-structure caches alone."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Put the upper entries back."""
        kept = [dict(entries) for entries in w.machine.psc]
        super().pte_stored(w, cpu, mm, page)
        for entries, old in zip(w.machine.psc, kept, strict=True):
            entries.update(old)


MUTANTS = [
    ForgetsOneCpu,
    FlushesTheSenderOnly,
    FlushesTheLoadedSpaceOnly,
    ForgetsTheLastPage,
    FlushesTheOldPage,
    KeepsUpperEntries,
]

SEARCH = searching(4000)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_of_the_reference_is_noticed(mutant: type[EagerFlush]) -> None:
    """The comparison finds a scenario that distinguishes the mutant from a memory without TLBs.

    The scenario must be long: if an address space changes after a CPU has left it, and the CPU comes back to it, that
    takes a fork, two switches and two accesses.
    """
    long = weighted(96).map(in_lockstep)
    scenario = find(long, lambda s: disagreement(s, mutant()) != "", settings=SEARCH)

    assert disagreement(scenario, EagerFlush()) == ""


ORIGINAL_VISIT = History.visit
ORIGINAL_VERSION_OF = History.version_of


def raises_no_floor(self: History, cpu: int) -> None:
    """Close an operation without its promises."""
    self.visits[cpu].clear()


def is_one_version_late(self: History, cpu: int, mm: int, page: int, deny: int) -> None:
    """Promise the version before the one at the visit."""
    ORIGINAL_VISIT(self, cpu, mm, page, deny)
    if self.visits[cpu]:
        slot, index, kinds = self.visits[cpu].pop()
        self.visits[cpu].append((slot, max(index - 1, 0), kinds))


def denies_stores_only(self: History, cpu: int, mm: int, page: int, deny: int) -> None:
    """Promise nothing about loads and fetches."""
    ORIGINAL_VISIT(self, cpu, mm, page, deny & WRITE)


def takes_nx_for_nothing(self: History, mm: int, entry: int) -> int:
    """Grant fetches whatever NX says."""
    return ORIGINAL_VERSION_OF(self, mm, entry & ~NX)


HISTORY_MUTANTS = {
    "close": raises_no_floor,
    "visit": is_one_version_late,
    "visit, loads": denies_stores_only,
    "version_of": takes_nx_for_nothing,
}


@pytest.mark.parametrize("name", HISTORY_MUTANTS)
def test_a_mutant_of_the_history_is_noticed(name: str) -> None:
    """The comparison finds a scenario in which the mutant allows more, or less, than the one outcome."""

    def noticed(scenario: Scenario) -> bool:
        with patch.object(History, name.partition(",")[0], HISTORY_MUTANTS[name]):
            return disagreement(scenario, EagerFlush()) != ""

    scenario = find(any_lockstep(), noticed, settings=SEARCH)

    assert disagreement(scenario, EagerFlush()) == ""
