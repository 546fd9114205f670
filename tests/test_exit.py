"""exit: the content of an address space is gone, its frames are freed once, and its number names another
address space.
"""

import pytest

from shootdown.machine.geometry import FRAMES
from shootdown.mm.frames import free_table
from shootdown.mm.state import GONE_MM, INIT_MM, ZERO_FRAME
from shootdown.mm.world import World
from shootdown.optimized.policies import REGISTRY
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import execute
from shootdown.run.oracle import Violation
from shootdown.scenario import parse
from tests.kernel import FLUSH, Kernel, R, W, prot, written

SWITCH = ["switch_mm: LOADED_MM_SWITCHING, set cpumask", "choose_new_asid", "write CR3"]


def family(cpus: int = 2, asids: int = 2) -> Kernel:
    """Return a parent on CPU 0 that has written page 0, its child on the other CPUs."""
    k = written(cpus=cpus, asids=asids)
    k.run(0, "fork")
    for cpu in range(1, cpus):
        k.run(cpu, "switch", arg=1)
    return k


def used(w: World) -> int:
    """Return how many frames are in use."""
    return FRAMES - w.free_frames.bit_count()


def test_the_order_of_steps() -> None:
    """exit_mmap with one flush of the whole space; after it a switch; the last CPU to unload the table frees it."""
    k = family()
    names = k.run(0, "exit")

    assert names == [
        "exit_mm, mmput",
        "tlb_gather_mmu",
        "zap_pmd_range",
        "pte_lock, flush_tlb_batched_pending",
        *["ptep_get_and_clear_full"] * 4,
        "pte_unlock",
        "free_pgtables",
        "free_pgtables",
        "free_pgd_range",
        "tlb_finish_mmu",
        *FLUSH,
        "free the gather's batch",
        "dec_tlb_flush_pending",
        "mmdrop, schedule",
        "context_switch",
        *SWITCH,
        "finish_task_switch, mmdrop",
        "return",
    ]


@pytest.mark.parametrize("layout", ["private", "shared", "huge"])
def test_every_frame_comes_back_once(layout: str) -> None:
    """The frames that only this space had are free after its exit, including page tables and the top-level table."""
    k = Kernel(layout=layout, pages=8)
    k.run(0, "fork")
    k.run(0, "switch", arg=1)
    before = used(k.w)
    k.run(1, "lazy")
    k.run(0, "switch", arg=0)
    private = [k.write(0, page) for page in (0, 5)]
    k.run(0, "exit")
    shared = len([frame for frame in k.w.shared if frame >= 0])

    assert private == [1, 2]
    assert used(k.w) == before - 1 + shared
    assert k.w.refs[ZERO_FRAME] == 0
    assert len(k.journal.freed_frames) == len(set(k.journal.freed_frames))
    assert k.w.root[0] == -1
    assert k.w.gone == []


def test_the_child_keeps_what_it_shares() -> None:
    """A page that another space maps lives on, with its content; the store that follows needs no copy."""
    k = family()
    k.run(0, "exit")
    frame = k.frame(0, 1)
    assert k.w.refs[frame] == 1
    assert k.read(1) == 1
    assert k.write(1) == 2
    assert k.frame(0, 1) == frame


def test_the_cpu_goes_on_in_the_other_space() -> None:
    """The exiting CPU then runs the lowest live space, not in lazy mode, and sees nothing of the old one."""
    k = family()
    k.write(1)
    k.run(0, "exit")

    assert (k.w.task_mm[0], k.w.loaded_mm[0], k.w.lazy[0], k.w.kthread[0]) == (1, 1, False, False)
    assert k.w.live == [False, True, False]
    assert k.read(0) == 2
    assert k.run(1, "switch", arg=0) == ["context_switch", "return"]


def test_refused_for_the_last_space() -> None:
    """Without another live address space there is nothing to switch to, and exit has no effect."""
    k = written()

    assert k.run(0, "exit") == ["exit_mm, mmput", "return"]
    assert k.read(0) == 1


def test_refused_while_another_cpu_runs_the_space() -> None:
    """Another thread of the space runs, or is on its way back onto its CPU: the space lives on."""
    k = family(cpus=3)
    k.run(2, "switch", arg=0)
    assert k.run(0, "exit") == ["exit_mm, mmput", "return"]
    k.run(2, "lazy")
    k.start(2, "read")
    assert k.run(0, "exit") == ["exit_mm, mmput", "return"]
    k.finish(2)

    assert k.w.live[0]
    assert k.read(0) == k.shown() == 1


def test_a_lazy_cpu_goes_to_init_mm() -> None:
    """The flush of freed tables reaches a CPU that has the space loaded lazily; its thread is of another space now."""
    k = family(cpus=3)
    k.run(2, "switch", arg=0)
    k.read(2)
    k.run(2, "lazy")
    k.start(0, "exit", until="free the gather's batch")

    assert (k.w.loaded_mm[2], k.w.machine.cr3[2]) == (INIT_MM, -1)
    k.finish(0)
    assert k.w.task_mm[2] == 1
    assert k.read(2) == 1


def test_the_top_level_table_lives_while_it_is_loaded() -> None:
    """If nothing was mapped, no flush is sent: the lazy CPU keeps the table in CR3, and its next switch frees it."""
    k = Kernel(layout="empty")
    k.run(0, "fork")
    k.run(1, "lazy")
    root = k.w.root[0]
    names = k.run(0, "exit")
    assert "flush_tlb_mm_range" not in names
    assert (k.w.loaded_mm[1], k.w.machine.cr3[1], k.w.gone) == (GONE_MM, root, [(0, root)])
    assert not k.w.free_frames >> root & 1

    assert k.run(1, "switch", arg=1)[-2:] == ["finish_task_switch, mmdrop", "return"]
    assert k.w.free_frames >> root & 1
    assert k.w.gone == []


def test_a_cpu_in_the_middle_of_its_switch_has_the_table_loaded() -> None:
    """Between LOADED_MM_SWITCHING and the write of CR3 a CPU can still walk the space that it leaves."""
    k = Kernel(layout="empty")
    k.run(0, "fork")
    root = k.w.root[0]
    k.start(1, "switch", arg=1, until="write CR3")
    k.run(0, "exit")
    assert k.w.gone == [(0, root)]
    k.finish(1)

    assert k.w.gone == []


def test_a_loaded_table_may_not_be_freed() -> None:
    """C3 for the top-level table: CR3 leads to it."""
    k = Kernel(layout="empty")

    with pytest.raises(Violation, match="freed-table-still-cached"):
        free_table(k.w, 0, 0, k.w.root[0])


@pytest.mark.parametrize("asids", [1, 2, 6])
def test_the_next_space_of_the_number_sees_nothing_of_the_old_one(asids: int) -> None:
    """Fork takes the number; slots that named the old space belong to no space, whatever they still hold."""
    k = family(asids=asids)
    k.run(1, "switch", arg=0)
    k.read(1)
    k.run(1, "switch", arg=1)
    k.write(1)
    k.run(0, "exit")
    assert all(0 not in owners for owners in k.state.ctx_mm)
    assert k.state.cpumask[0] == 0

    k.run(1, "fork")
    assert k.w.live == [True, True, False]
    for cpu in (0, 1):
        k.run(cpu, "switch", arg=0)
        assert k.read(cpu) == 2
        assert k.access(cpu, "read", 1) == 0


def test_a_migration_that_comes_too_late_finds_nothing() -> None:
    """A kernel thread that found an entry of the space through the rmap checks it again under the lock."""
    k = family(cpus=3)
    for cpu in (1, 2):
        k.run(cpu, "lazy")
    k.start(2, "migrate", until="pte_lock")
    k.run(0, "exit")
    k.finish(2)

    assert k.read(1) == 1


def test_a_batched_unmap_is_flushed_by_exit() -> None:
    """The zap looks for deferred flushes, as the zap of munmap does."""
    k = family(cpus=3)
    k.start(2, "migrate", until="flush before copy")
    names = k.run(0, "exit")
    k.finish(2)

    assert "flush_tlb_batched_pending done" in names
    assert k.read(1) == 1


def test_two_spaces_exit_at_once() -> None:
    """A thread that waits to be scheduled goes to a space that still exists at that time."""
    k = family()
    k.run(0, "fork")
    k.start(0, "exit", until="mmdrop, schedule")
    assert k.w.task_mm[0] == 1
    k.run(1, "exit")
    k.finish(0)

    assert k.w.task_mm == [2, 2]
    assert k.w.live == [False, False, True]
    assert k.read(0) == k.read(1) == 1


def test_soft_dirty_tracking_ends_with_the_space() -> None:
    """No marks were requested for a new space with the number: its stores need none."""
    k = family()
    k.run(0, "clear_refs")
    k.run(0, "exit")
    k.run(0, "munmap", 0, 4)
    k.run(0, "mmap", 0, 1, prot(R | W))
    k.run(0, "fork")
    k.run(0, "switch", arg=0)

    assert not k.journal.tracked[0]
    assert k.write(0) == 2


def test_the_reference_frees_the_same() -> None:
    """Under the reference a lazy CPU keeps the old table loaded; fork still gets the number."""
    story = parse(
        "shootdown-scenario 1\ncpus 2\npages 2\nlayout private\n\n"
        "cpu0 write p0\ncpu0 fork\ncpu1 lazy\ncpu0 exit\ncpu0 fork\ncpu0 switch mm0\ncpu0 write p0\ncpu1 read p0\n"
    ).scenario
    for strategy in (EagerFlush(), REGISTRY["linux"].make()):
        outcome = execute(story, strategy)
        assert outcome.verdict == "legal"
        assert outcome.world.live == [True, True, False]
        assert outcome.world.gone == []
