"""The parts of the key for what few worlds have: global ASIDs, broadcasts, postponed work, zeros that may still be
seen.
"""

from collections.abc import Callable

import pytest

from shootdown.machine.pkru import NO_ACCESS
from shootdown.machine.tlb_entry import TLB_PKEY
from shootdown.mm.state import VM_PKEY_SHIFT
from shootdown.mm.world import World
from shootdown.optimized.latr import WAITING
from shootdown.prove.alive import explaining
from shootdown.prove.canonical import key_of
from shootdown.reference.version import KEY
from shootdown.reference.version import key_of as key_of_version
from shootdown.run.oracle import Oracle
from shootdown.scenario import kinds
from tests.kernel import Kernel, R, W, written

Change = Callable[[World, Oracle], object]


def changed(k: Kernel, change: Change) -> int:
    """Return the key of a copy of a kernel's world in which something is different."""
    w, oracle = k.journal.fork()
    change(w, oracle)
    return key_of(w, oracle)


def unchanged(_w: World, _oracle: Oracle) -> None:
    """Leave the world as it is."""


def broadcasting() -> Kernel:
    """Return a space with a global ASID to which every CPU has switched, with page 0 cached on both."""
    k = written(machine=kinds.INVLPGB, pages=2)
    for rights in (R, R | W, R, R | W):
        k.run(0, "mprotect", arg=rights)
    k.write(0)
    k.write(1)
    return k


def _issued_by(cpu: int) -> Change:
    def issue(w: World, _oracle: Oracle) -> None:
        w.machine.invlpgb(cpu, w.flush_state.global_asid[0], 0)

    return issue


def _in_transition(w: World, _oracle: Oracle) -> None:
    w.flush_state.transition = 1


def _another_number(w: World, _oracle: Oracle) -> None:
    w.flush_state.last_global += 1


def _to_be_waited_for(w: World, _oracle: Oracle) -> None:
    w.flush_state.need_tlbsync = 2


def _to_be_trimmed(w: World, _oracle: Oracle) -> None:
    w.flush_state.trim_due = 1


BROADCAST = {
    "none": unchanged,
    "issued by CPU 0": _issued_by(0),
    "issued by CPU 1": _issued_by(1),
    "a space in transition": _in_transition,
    "the number that comes next": _another_number,
    "a CPU that has to wait": _to_be_waited_for,
    "a mask to be trimmed": _to_be_trimmed,
}


def test_every_difference_is_another_key() -> None:
    """Each of these worlds differs from the others in something that a run can show."""
    k = broadcasting()
    k.w.machine.evict(0, 0)
    keys = {what: changed(k, change) for what, change in BROADCAST.items()}

    assert len(set(keys.values())) == len(keys)


def test_what_was_waited_for_makes_no_difference() -> None:
    """A complete broadcast leaves the same world as an invalidation by every CPU itself."""
    k = broadcasting()
    asid = k.state.global_asid[0]

    def broadcast(w: World, _oracle: Oracle) -> None:
        w.machine.invlpgb(0, asid, 0)
        w.machine.tlbsync(0)

    def by_each(w: World, _oracle: Oracle) -> None:
        for cpu in (0, 1):
            w.machine.invpcid_page(cpu, asid, 0)

    assert changed(k, broadcast) == changed(k, by_each) != changed(k, unchanged)


def _swept_by_nobody(w: World, _oracle: Oracle) -> None:
    state = w.flush_state
    (entry,) = state.lazy_frees
    state.lazy_frees = [(*entry[:WAITING], 0b110, *entry[WAITING + 1 :])]


def _promised_nothing(_w: World, oracle: Oracle) -> None:
    oracle.promised[0] = ((), ())


@pytest.mark.parametrize("change", [_swept_by_nobody, _promised_nothing])
def test_what_lazy_shootdown_has_put_off(change: Change) -> None:
    """The key says which CPUs have still to flush, and what holds after that."""
    k = Kernel("latr", cpus=3)
    k.write(1)
    k.write(2)
    k.run(0, "dontneed")
    k.run(2, "tick")

    assert k.w.flush_state.lazy_frees[0][WAITING] == 0b010
    assert changed(k, change) != changed(k, unchanged)


def _unlinked(w: World, _oracle: Oracle) -> None:
    del w.i_mmap[0]


def _found_for_another_page(w: World, _oracle: Oracle) -> None:
    w.i_mmap[0] = 1


def _walked(w: World, _oracle: Oracle) -> None:
    w.i_mmap_lock = 1


def _taken_back(w: World, _oracle: Oracle) -> None:
    del w.driver[0]


def test_what_a_driver_has() -> None:
    """The key says which regions it finds and for what, whether a walk is under way, and its pages, in any frames."""
    k, other = Kernel(layout="pfnmap"), Kernel(layout="pfnmap")
    for page in (0, 1):
        k.read(0, page)
        other.read(0, 1 - page)
    changes = (unchanged, _unlinked, _found_for_another_page, _walked, _taken_back)

    assert len({changed(k, change) for change in changes}) == len(changes)
    assert k.w.driver != other.w.driver
    assert changed(k, unchanged) == changed(other, unchanged)


def _thread_denies(w: World, _oracle: Oracle) -> None:
    w.pkru[0] = NO_ACCESS << 2


def _sleeper_denies(w: World, _oracle: Oracle) -> None:
    w.pkru[1] = NO_ACCESS << 2


def _keyed(w: World, _oracle: Oracle) -> None:
    w.vma[0][0] |= 1 << VM_PKEY_SHIFT


def _cached_key(w: World, _oracle: Oracle) -> None:
    tlb = w.machine.tlb[0]
    tlb[min(tlb)] |= TLB_PKEY


def _version_of_a_key(_w: World, oracle: Oracle) -> None:
    oracle.versions[0] = (*oracle.versions[0][:-1], oracle.versions[0][-1] | KEY)


def _explained_fault(_w: World, oracle: Oracle) -> None:
    oracle.explained = 1


def test_protection_keys_are_in_the_key() -> None:
    """The key says which thread denies itself what, the key of each region, TLB entry and version, and what explained a
    fault.
    """
    k = written()
    changes = (
        unchanged,
        _thread_denies,
        _sleeper_denies,
        _keyed,
        _cached_key,
        _version_of_a_key,
        _explained_fault,
    )

    assert len({changed(k, change) for change in changes}) == len(changes)


def test_an_older_version_of_another_key_may_still_be_shown() -> None:
    """Inside the window of a pkey_mprotect the old key still grants and denies, after it only the new one does."""
    k = written()
    k.run(0, "pkey_mprotect", arg=R | W | 1 << kinds.PKEY_SHIFT)
    k.read(0)
    k.start(0, "pkey_mprotect", arg=R | W, past="ptep_modify_prot_commit")
    keys = [key_of_version(version) for _, version in explaining(k.journal, 0)]
    k.finish(0)

    assert keys == [1]
    assert explaining(k.journal, 0) == []


def test_zeros_that_the_next_page_denies() -> None:
    """A zap that found a hole, in flight or returned, makes a difference until a page is mapped that makes
    zeros stale.
    """
    k = Kernel(layout="huge", machine=kinds.HUGE_ZERO)
    k.read(0)
    k.start(1, "write", 0, until="flush_tlb_mm_range")
    k.start(0, "dontneed", 0, until="return")

    def forgets_visits(_w: World, oracle: Oracle) -> None:
        oracle.visits[0].clear()

    def forgets_zeros(_w: World, oracle: Oracle) -> None:
        oracle.emptied.clear()

    assert changed(k, forgets_visits) != changed(k, unchanged)
    k.finish(0)
    assert k.journal.emptied
    assert changed(k, forgets_zeros) != changed(k, unchanged)

    k.finish(1)
    assert not k.journal.emptied


def test_who_holds_the_lock_of_a_vma() -> None:
    """Held for reading or writing, at which page, and the number of readers: each makes another world."""
    k = Kernel()

    def reads(page: int, count: int) -> Callable[[World, Oracle], None]:
        return lambda w, _oracle: w.vma_readers.update({page: count})

    def writes(w: World, _oracle: Oracle) -> None:
        w.vma_written[0] = 1

    changes = [unchanged, reads(0, 1), reads(0, 2), reads(1, 1), writes]

    assert len({changed(k, change) for change in changes}) == len(changes)
