"""The key of a world: equal for worlds that differ only in names, different for any that a run can distinguish."""

from collections.abc import Callable

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY, WRITE
from shootdown.machine.geometry import FANOUT, PAGES, frame_of
from shootdown.mm.state import MMS, NOBODY, VM_HUGE, WRITER
from shootdown.mm.tables import pte_of
from shootdown.mm.text_poke import poking_root
from shootdown.mm.world import World
from shootdown.prove.canonical import key_of
from shootdown.run.oracle import Oracle
from tests.kernel import Kernel, R, W, prot

Change = Callable[[World, Oracle], object]


def key(k: Kernel, *, rename_cpus: bool = True) -> int:
    """Return the key of a kernel's world."""
    huge = any(vma & VM_HUGE for regions in k.w.vma for vma in regions)
    return key_of(k.w, k.journal, rename_cpus=rename_cpus, huge=huge)


def changed(k: Kernel, change: Change) -> int:
    """Return the key of a copy of a kernel's world in which something is different."""
    w, oracle = k.journal.fork()
    change(w, oracle)
    return key_of(w, oracle)


def after(*accesses: tuple[int, str, int], cpus: int = 2, layout: str = "private") -> Kernel:
    """Return a kernel in which these CPUs have made these accesses to these pages."""
    k = Kernel(cpus=cpus, pages=8, layout=layout)
    for cpu, kind, page in accesses:
        k.access(cpu, kind, page)
    return k


# What the key leaves out.


def test_the_order_of_allocation() -> None:
    """Which of two pages came first, and so has the lower frame, makes no difference."""
    a = after((0, "read", 0), (0, "read", 1), layout="shared")
    b = after((0, "read", 1), (0, "read", 0), layout="shared")

    assert a.frame(0) != b.frame(0)
    assert key(a) == key(b)


def test_huge_pages_keep_their_frames() -> None:
    """The allocator takes the highest free block, so with huge pages a frame is not only a name."""
    a = after((0, "read", 0), (0, "read", 4), layout="huge")
    b = after((0, "read", 4), (0, "read", 0), layout="huge")

    assert key(a) != key(b)
    assert key(a) == key(after((0, "read", 0), (0, "read", 4), layout="huge"))


@pytest.mark.parametrize("times", [2, 5])
def test_generations(times: int) -> None:
    """How often a page was unmapped and mapped again is not visible afterwards."""

    def mapped_again(times: int) -> Kernel:
        k = after((0, "write", 0))
        for _ in range(times):
            k.run(0, "munmap", 0)
            k.run(0, "mmap", 0, 1, prot(R | W))
            k.write(0, 0)
        return k

    once, often = mapped_again(1), mapped_again(times)

    assert once.w.machine.generation != often.w.machine.generation
    assert once.state.tlb_gen != often.state.tlb_gen
    assert key(once) == key(often)


def test_the_number_of_a_cpu() -> None:
    """A rotation of the CPUs makes no difference, unless the key is asked to keep them apart."""
    rotations = [after((i, "read", 0), ((i + 1) % 3, "write", 1), cpus=3) for i in range(3)]

    assert len({key(k) for k in rotations}) == 1
    assert len({key(k, rename_cpus=False) for k in rotations}) == 3


def test_the_number_of_a_cpu_inside_an_operation() -> None:
    """A rotation also applies to locks, masks, and the steps of operations in flight."""

    def dropping(first: int) -> Kernel:
        k = after((first, "write", 0), ((first + 1) % 3, "read", 0), cpus=3)
        k.start(first, "dontneed", 0, until="flush_tlb_func")
        other = (first + 2) % 3
        k.start(other, "dontneed", 1)
        while k.w.ptl[0] == NOBODY:
            assert k.step(other)
        return k

    rotations = [dropping(i) for i in range(3)]

    assert len({key(k) for k in rotations}) == 1
    assert len({key(k, rename_cpus=False) for k in rotations}) == 3


def test_mirrored_cpus_are_not_rotated() -> None:
    """Acknowledgements go round, so with three CPUs the exchange of two gives another world."""
    a = after((0, "read", 0), (1, "read", 1), cpus=3)
    b = after((1, "read", 0), (0, "read", 1), cpus=3)

    assert key(a) != key(b)


def test_stored_values() -> None:
    """How often a page was written, and so its content, makes no difference as long as no other page has the same
    content.
    """
    once, twice = after((0, "write", 0)), after((0, "write", 0), (0, "write", 0))

    assert once.w.machine.memory != twice.w.machine.memory
    assert key(once) == key(twice)


def test_equal_values_are_equal() -> None:
    """Two pages with equal content are not two pages with different content."""
    k = after((0, "write", 0), (0, "write", 1))

    def same(w: World, _oracle: Oracle) -> None:
        w.machine.memory[k.frame(1) * FANOUT] = w.machine.memory[k.frame(0) * FANOUT]

    assert changed(k, same) != key(k)


def test_versions_below_the_floor() -> None:
    """The history of a page counts only as far back as an access may see it."""

    def protected(times: int) -> Kernel:
        k = after((0, "write", 0))
        for _ in range(times):
            k.run(0, "mprotect", 0, 1, 0)
            k.run(0, "mprotect", 0, 1, R | W)
            k.write(0, 0)
        return k

    once, often = protected(1), protected(3)

    assert len(once.journal.versions[0]) < len(often.journal.versions[0])
    assert key(once) == key(often)


# What the key contains.


def _hold_pmd(w: World, _oracle: Oracle) -> None:
    w.pmd_lock[0] = 0


def _hold_pte(w: World, _oracle: Oracle) -> None:
    w.ptl[0] = 0


def _other_holds_pte(w: World, _oracle: Oracle) -> None:
    w.ptl[0] = 1


def _reads_mmap_lock(w: World, _oracle: Oracle) -> None:
    w.mmap_lock[0] = 1


def _writes_mmap_lock(w: World, _oracle: Oracle) -> None:
    w.mmap_lock[0] = WRITER


def _evict(w: World, _oracle: Oracle) -> None:
    w.machine.evict(0, 0)


def _fill_elsewhere(w: World, _oracle: Oracle) -> None:
    w.machine.fill(1, 0)


def _flip(bit: int) -> Change:
    def flip(w: World, _oracle: Oracle) -> None:
        root = w.root[0]
        table = frame_of(w.machine.memory[root * FANOUT])
        w.machine.memory[table * FANOUT] ^= bit

    return flip


def _pending(w: World, _oracle: Oracle) -> None:
    w.flush_state.pending[0] += 1


def _batched(w: World, _oracle: Oracle) -> None:
    w.flush_state.batched[0] += 1


def _lazily_freed(_w: World, oracle: Oracle) -> None:
    oracle.freed_upto[oracle.versions[0][-1] >> 24] = oracle.time


def _tracked(_w: World, oracle: Oracle) -> None:
    oracle.tracked[0] = True


def _clearing(_w: World, oracle: Oracle) -> None:
    oracle.open_tracking[1] = 0


def _may_not_come_back(_w: World, oracle: Oracle) -> None:
    oracle.dropped[1] = oracle.versions[0][-1] >> 24


def _dropping(_w: World, oracle: Oracle) -> None:
    oracle.open_drop[1] = [(1, oracle.versions[0][-1] >> 24)]


def _mapped(w: World, _oracle: Oracle) -> None:
    w.rmap[0] = 1


def _written_back(w: World, _oracle: Oracle) -> None:
    w.disk[PAGES] = 1


def _in_swap(w: World, oracle: Oracle) -> None:
    w.swap[1], w.swap_map[1] = w.stamp, 1
    oracle.swapped[3] = oracle.versions[0][-1] >> 24


def _named_twice(w: World, oracle: Oracle) -> None:
    _in_swap(w, oracle)
    w.swap_map[1] = 2


def _dirty_in_the_swap_cache(w: World, _oracle: Oracle) -> None:
    w.swap_map[1], w.swap_cache[1] = 1, frame_of(w.machine.memory[w.root[0] * FANOUT])


def _at_two_pages(w: World, oracle: Oracle) -> None:
    oracle.joined[
        frame_of(w.machine.memory[frame_of(w.machine.memory[w.root[0] << 2]) << 2]) * MMS
    ] = 1


def _kernel_thread(w: World, _oracle: Oracle) -> None:
    w.kthread[0] = True


def _poked(w: World, _oracle: Oracle) -> None:
    poking_root(w)


def _misplaced(w: World, _oracle: Oracle) -> None:
    w.misplaced |= 1 << frame_of(pte_of(w, 0, 0))


def _merged(w: World, _oracle: Oracle) -> None:
    w.merged |= 1 << frame_of(pte_of(w, 0, 0))


def _gone(w: World, _oracle: Oracle) -> None:
    w.gone.append((1, w.root[0]))


def _grabbed(_w: World, oracle: Oracle) -> None:
    oracle.grabs[0] = True


def _grabbed_late(_w: World, oracle: Oracle) -> None:
    oracle.grabs[0] = False


DIFFERENCES = {
    "a reference of a mapped page": _grabbed,
    "a reference that came too late": _grabbed_late,
    "a reverse mapping": _mapped,
    "a backing store": _written_back,
    "content in swap": _in_swap,
    "content in swap twice": _named_twice,
    "a page in the swap cache": _dirty_in_the_swap_cache,
    "an object at two pages": _at_two_pages,
    "a kernel thread": _kernel_thread,
    "a top-level table of no space": _gone,
    "a temporary address space": _poked,
    "soft-dirty tracking": _tracked,
    "clear_refs in flight": _clearing,
    "content that may not come back": _may_not_come_back,
    "content being dropped": _dropping,
    "a TLB entry less": _evict,
    "a TLB entry more": _fill_elsewhere,
    "accessed": _flip(ACCESSED),
    "dirty": _flip(DIRTY),
    "a page on another node": _misplaced,
    "a page of ksmd": _merged,
    "PMD lock": _hold_pmd,
    "PTL of CPU 0": _hold_pte,
    "PTL of CPU 1": _other_holds_pte,
    "mmap_lock for reading": _reads_mmap_lock,
    "mmap_lock for writing": _writes_mmap_lock,
    "tlb_flush_pending": _pending,
    "tlb_flush_batched": _batched,
    "content given up": _lazily_freed,
}


def test_every_difference_is_another_key() -> None:
    """Each of these worlds differs from the others in something that a run can show."""
    k = after((0, "write", 0))
    keys = {what: changed(k, change) for what, change in DIFFERENCES.items()}
    keys["none"] = key(k)

    assert len(set(keys.values())) == len(keys)


def test_a_version_that_may_still_be_shown() -> None:
    """While no returned operation has denied stores, an old entry that grants them still explains one."""
    k = after((1, "write", 0))
    k.run(0, "mprotect", 0, 1, R)

    def not_denied(_w: World, oracle: Oracle) -> None:
        oracle.floor[WRITE][0] = 0

    assert changed(k, not_denied) != key(k)


def test_an_operation_that_has_not_returned() -> None:
    """What an operation in flight will deny makes a difference only while there is something to deny."""
    k = after((1, "write", 0))
    k.start(0, "mprotect", 0, 1, R, past="flush_tlb_func")

    def forgets(_w: World, oracle: Oracle) -> None:
        oracle.visits[0].clear()

    assert k.journal.visits[0]
    assert changed(k, forgets) != key(k)

    k.finish(0)
    k.start(0, "mprotect", 0, 1, R, until="mmap_write_unlock, return")
    assert k.journal.visits[0] == []


def test_a_table_that_only_its_collapse_names() -> None:
    """The pages still to be copied are in a table that no PMD points to; its entries are in the key, but not the number
    of the CPU.
    """

    def collapsing(cpu: int) -> Kernel:
        k = after((cpu, "write", 0), (cpu, "write", 1), layout="huge")
        k.run(cpu, "dontneed", 2)
        k.start(cpu, "collapse", until="__collapse_huge_page_copy")
        return k

    k = collapsing(0)
    table = k.w.steps[0][-1][3]
    assert k.pmd() == 0

    def exchange(w: World, _oracle: Oracle) -> None:
        memory, at = w.machine.memory, table * FANOUT
        memory[at], memory[at + 1] = memory[at + 1], memory[at]

    w, oracle = k.journal.fork()
    exchange(w, oracle)
    assert key_of(w, oracle, huge=True) != key(k) == key(collapsing(1))


def test_the_order_of_reuse() -> None:
    """The order of two freed frames matters if a TLB still names them, and not otherwise."""
    k = after((1, "write", 0), (1, "write", 1))
    frames = {k.frame(0), k.frame(1)}
    k.run(1, "lazy")
    k.run(0, "dontneed", 0, 2)

    def exchange(w: World, _oracle: Oracle) -> None:
        w.freed.reverse()

    assert set(k.w.freed) == frames
    assert changed(k, exchange) != key(k)

    k.w.machine.invpcid_all(1, globals_too=False)
    assert changed(k, exchange) == key(k)


def test_how_far_a_context_is_behind() -> None:
    """A context that missed one flush differs from one that missed two."""

    def left_behind(flushes: int) -> Kernel:
        k = after((0, "write", 0))
        k.run(0, "fork")
        k.run(1, "switch", 0, 1, 1)
        for _ in range(flushes):
            k.write(0, 0)
            k.run(0, "mprotect", 0, 1, R)
            k.run(0, "mprotect", 0, 1, R | W)
        k.write(0, 0)
        return k

    assert key(left_behind(1)) != key(left_behind(2))
