"""Hint faults on misplaced pages: the page moves, and other operations come in between."""

import pytest

from shootdown.machine.entry import PRESENT, PROTNONE, PSE, RW
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.numa_scan import MOVE
from shootdown.mm.tables import is_migration
from shootdown.optimized.policies import REGISTRY
from shootdown.reference.eager import EagerFlush
from tests.kernel import Kernel, written

HINT = "do_huge_pmd_numa_page"
RECHECK = "pmd_same, page_ref_freeze"


def misplaced(layout: str = "huge", policy: str = "linux", cpus: int = 3) -> Kernel:
    """Return a kernel whose CPU 0 has stored to pages 0 to 3 and found them misplaced: the value of page i is i + 1."""
    k = Kernel(policy, cpus=cpus, layout=layout)
    for page in range(FANOUT):
        k.write(0, page)
    k.run(0, "numa_scan", 0, FANOUT, MOVE)
    return k


def values(k: Kernel, cpu: int = 0) -> list[int | str]:
    """Return what a CPU reads from the four pages."""
    return [k.read(cpu, page) for page in range(FANOUT)]


def test_a_small_page_moves() -> None:
    """The hint fault migrates the page with a migration entry, without a flush: that of the scan was complete."""
    k = misplaced("private")
    old = k.frame()
    names = k.run(1, "read")

    assert k.shown() == 1
    assert k.frame() != old
    assert k.journal.freed_frames == [old]
    assert k.pte() & (PRESENT | RW) == PRESENT | RW
    assert "folio_migrate_copy" in names
    assert "arch_tlbbatch_flush" not in names


def test_a_small_page_whose_scan_has_not_flushed() -> None:
    """With the scan's flush pending the migration flushes before it copies (20841405940e)."""
    k = Kernel(cpus=3)
    k.write(2)
    k.start(0, "numa_scan", arg=MOVE, until="tlb_finish_mmu")
    names = k.run(1, "read")

    assert names.index("arch_tlbbatch_flush") < names.index("folio_migrate_copy")
    assert not k.cached(2)


def test_a_pinned_page_stays() -> None:
    """A page with another reference is mapped again in its old frame."""
    k = misplaced("private")
    old = k.frame()
    k.w.refs[old] += 1
    k.read(1)
    k.w.refs[old] -= 1

    assert (k.frame(), k.read(0)) == (old, 1)


def test_a_locked_page_stays() -> None:
    """A page that reclaim or migration has locked is mapped again where it is."""
    k = misplaced("private")
    old = k.frame()
    k.w.page_lock |= 1 << old

    assert "folio_migrate_copy" not in k.run(1, "read")
    assert k.pte() & PRESENT
    assert k.frame() == old


def test_a_dirty_folio_stays() -> None:
    """A page of the file that another mapping has dirtied since the scan is mapped again where it is."""
    k = Kernel(layout="file")
    k.read(0)
    k.run(0, "numa_scan", arg=MOVE)
    old = k.frame()
    k.w.dirty |= 1 << old
    k.read(1)
    k.w.dirty &= ~(1 << old)

    assert k.frame() == old


def test_shared_memory_moves() -> None:
    """A shared page moves in every mapping, and stays one object."""
    k = misplaced("shared")
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.read(1)
    k.run(0, "numa_scan", arg=MOVE)
    k.read(0)

    assert k.frame() == k.frame(mm=1)
    assert k.write(0) == 5
    assert k.read(1) == 5


def test_a_huge_page_moves_whole() -> None:
    """All four frames move to another block, with content and rights; the PMD is PROTNONE until then, never none."""
    k = misplaced()
    old = frame_of(k.pmd())
    k.start(1, "read")
    seen = set()
    while k.next(1):
        k.step(1)
        seen.add(k.pmd() & (PRESENT | PROTNONE | PSE))

    assert seen == {PROTNONE | PSE, PRESENT | PSE}
    assert frame_of(k.pmd()) not in range(old, old + FANOUT)
    assert values(k, 2) == [1, 2, 3, 4]
    assert k.write(2, 1) == 5
    assert k.journal.freed_frames == list(range(old, old + FANOUT))
    assert k.w.page_lock == 0
    assert [k.w.refs[frame_of(k.pmd()) + i] for i in range(FANOUT)] == [1] * FANOUT


def test_no_flush_behind_a_complete_scan() -> None:
    """When the scan has flushed, no TLB holds the entry, and neither the copy nor the new entry needs a flush."""
    names = misplaced().run(1, "read")

    assert "migrate_page_copy" in names
    assert "flush_tlb_mm_range" not in names


def test_a_flush_under_the_lock_beside_a_scan() -> None:
    """With the scan's flush pending, 2 MiB are flushed under the PMD lock, before the copy."""
    k = Kernel(cpus=3, layout="huge")
    k.write(2)
    k.start(0, "numa_scan", 0, FANOUT, MOVE, until="tlb_finish_mmu")
    names = k.run(1, "read")
    flush = names.index("flush_tlb_mm_range")

    assert names.index(HINT) < flush < names.index("pmd_unlock") < names.index("migrate_page_copy")
    assert not k.cached(2)


def test_without_a_free_block_it_stays() -> None:
    """When no block is free, the page is mapped again where it is."""
    k = misplaced()
    old = frame_of(k.pmd())
    k.w.free_frames &= ~0x1111111111111111

    assert values(k, 1) == [1, 2, 3, 4]
    assert frame_of(k.pmd()) == old


def test_a_huge_page_that_fork_shares_stays() -> None:
    """With two owners it is mapped again, read-only, in both address spaces."""
    k = misplaced()
    k.run(0, "fork")
    old = frame_of(k.pmd())
    k.read(0)
    k.run(1, "switch", arg=1)
    k.read(1)

    assert [frame_of(k.pmd(mm=mm)) for mm in (0, 1)] == [old, old]
    assert k.pmd() & (PRESENT | RW) == PRESENT
    assert (k.write(1), k.read(0), k.read(1)) == (5, 1, 5)


def test_a_second_fault_waits_for_the_copy() -> None:
    """A fault that meets the page locked leaves the PMD lock, waits, and finds the copy."""
    k = misplaced()
    k.start(1, "read", until="migrate_page_copy")
    k.start(2, "write", until="folio_lock")

    assert not k.step(2)
    assert k.w.pmd_lock[0] == -1
    k.finish(1)
    k.finish(2)
    assert k.shown() == 5
    assert k.read(1) == 5


@pytest.mark.parametrize("name", ["dontneed", "free", "uffd_wp"])
def test_whoever_changes_the_pmd_meanwhile_wins(name: str) -> None:
    """A PMD that was zapped, split or write-protected during the copy is left as it is, and the copy is freed."""
    k = Kernel(cpus=3, layout="huge")
    k.run(0, "uffd_register", 0, FANOUT)
    k.write(0)
    k.run(0, "numa_scan", 0, FANOUT, MOVE)
    old = frame_of(k.pmd())
    k.start(1, "read", until=RECHECK)
    k.w.pmd_lock[0] = -1
    k.run(2, name, 0, FANOUT)
    k.w.pmd_lock[0] = 1
    now = k.pmd()
    k.past(1, "put_page")

    assert k.pmd() == now
    assert k.w.page_lock == 0
    assert set(k.journal.freed_frames).isdisjoint(range(old, old + FANOUT)) == (name != "dontneed")
    k.finish(1)
    assert k.shown() == (0 if name == "dontneed" else 1)


def test_a_stale_sight_of_the_hint() -> None:
    """A fault that comes after another one finds the PMD changed under the lock, and goes back to its access."""
    k = misplaced()
    for cpu in (1, 2):
        k.start(cpu, "read", cpu, until="pmd_lock")
    k.finish(1)
    k.finish(2)

    assert k.names[2].count("migrate_page_copy") == 0
    assert k.shown() == 3


def test_the_reference_moves_pages_too() -> None:
    """With a flush at every change the same faults show the same."""
    for layout in ("private", "huge"):
        k = Kernel(EagerFlush(), cpus=3, layout=layout)
        for page in range(FANOUT):
            k.write(0, page)
        k.run(0, "numa_scan", 0, FANOUT, MOVE)

        assert values(k, 1) == [1, 2, 3, 4]


@pytest.mark.parametrize("policy", ["linux", "pmd-none-before-copy"])
def test_none_before_the_copy(policy: str) -> None:
    """The seeded fault clears the PMD and flushes before it stores the copy's entry; the fixed code does neither."""
    k = misplaced(policy=policy)
    k.start(1, "read", past=RECHECK)
    broken = REGISTRY[policy].fault is not None

    assert (k.pmd() == 0) == broken
    assert ("flush_tlb_mm_range" in k.finish(1)) == broken
    assert values(k, 2) == [1, 2, 3, 4]


def test_a_question_in_front_of_the_lock() -> None:
    """pending-asked-unlocked uses what it saw before it had the PMD lock; linux checks again."""
    flushed = {}
    for policy in ("linux", "pending-asked-unlocked"):
        k = misplaced(policy=policy)
        k.start(1, "read", until="pmd_lock")
        k.state.pending[0] += 1
        names = k.finish(1)
        flushed[policy] = "flush_tlb_mm_range" in names

    assert flushed == {"linux": True, "pending-asked-unlocked": False}


def test_a_protnone_entry_and_the_rmap() -> None:
    """protnone-unflushed assumes that no TLB has a PROTNONE entry; then reclaim and migration do not flush."""
    for policy, batch in (("linux", 1), ("protnone-unflushed", 0)):
        k = written(policy, cpus=3)
        k.run(0, "numa_scan")
        k.state.pending[0] += 1
        k.start(1, "migrate", past="try_to_migrate_one")

        assert is_migration(k.pte())
        assert k.state.batched[0] == batch
