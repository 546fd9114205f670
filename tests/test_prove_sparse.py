"""The key of a world has what few worlds have any of: global ASIDs, broadcasts on their way, what is put off."""

from collections.abc import Callable

import pytest

from fuzz.oracle import Oracle
from fuzz.prove.canonical import key_of
from fuzz.scenario import kinds
from machine.broadcast import invlpgb, tlbsync
from mm.world import World
from optimized.latr import WAITING
from tests.kernel import Kernel, R, W

Change = Callable[[World, Oracle], object]


def changed(k: Kernel, change: Change) -> int:
    """The key of a copy of a kernel's world in which something is different."""
    w, oracle = k.journal.fork()
    change(w, oracle)
    return key_of(w, oracle)


def unchanged(_w: World, _oracle: Oracle) -> None:
    """The same world."""


def broadcasting() -> Kernel:
    """A space with a global ASID that every CPU has come to, with page 0 cached on both."""
    k = Kernel(machine=kinds.INVLPGB, pages=2)
    k.write(0)
    for rights in (R, R | W, R, R | W):
        k.run(0, "mprotect", arg=rights)
    k.write(0)
    k.write(1)
    return k


def _issued_by(cpu: int) -> Change:
    def issue(w: World, _oracle: Oracle) -> None:
        invlpgb(w.machine, cpu, w.flush_state.global_asid[0], 0)

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
    """A broadcast that is complete leaves the same world as an invalidation by every CPU itself."""
    k = broadcasting()
    asid = k.state.global_asid[0]

    def broadcast(w: World, _oracle: Oracle) -> None:
        invlpgb(w.machine, 0, asid, 0)
        tlbsync(w.machine, 0)

    def by_each(w: World, _oracle: Oracle) -> None:
        for cpu in (0, 1):
            w.machine.invpcid_page(cpu, asid, 0)

    assert changed(k, broadcast) == changed(k, by_each) != changed(k, unchanged)


def _swept_by_nobody(w: World, _oracle: Oracle) -> None:
    state = w.flush_state
    (entry,) = state.lazy_frees
    state.lazy_frees = [(*entry[:WAITING], 0b110, *entry[WAITING + 1 :])]


def _promised_nothing(_w: World, oracle: Oracle) -> None:
    oracle.promised[0] = ([], [])


@pytest.mark.parametrize("change", [_swept_by_nobody, _promised_nothing])
def test_what_lazy_shootdown_has_put_off(change: Change) -> None:
    """Who has still to flush is in the key, and what holds behind that."""
    k = Kernel("latr", cpus=3)
    k.write(1)
    k.write(2)
    k.run(0, "dontneed")
    k.run(2, "tick")

    assert k.state.lazy_frees[0][WAITING] == 0b010
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
    """Which regions it finds and for what, whether somebody is walking, and its pages, by whatever frames."""
    k, other = Kernel(layout="pfnmap"), Kernel(layout="pfnmap")
    for page in (0, 1):
        k.read(0, page)
        other.read(0, 1 - page)
    changes = (unchanged, _unlinked, _found_for_another_page, _walked, _taken_back)

    assert len({changed(k, change) for change in changes}) == len(changes)
    assert k.w.driver != other.w.driver
    assert changed(k, unchanged) == changed(other, unchanged)
