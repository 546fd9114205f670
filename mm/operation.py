"""The end of an operation on a CPU, and the steps that operations share."""

from typing import Final

from shootdown.machine.geometry import TABLES
from shootdown.mm.flush import COPY, FREE, INSTALL, RETURN, UNLOCK
from shootdown.mm.locks import mmap_write_unlock
from shootdown.mm.state import NOBODY, Step
from shootdown.mm.step import step
from shootdown.mm.world import World

IDLE_OP: Final = -1


def end_operation(w: World, cpu: int) -> None:
    """Return from the CPU's operation: the CPU becomes idle, and the promises of the operation hold."""
    w.op[cpu] = IDLE_OP
    w.observer.close(cpu)


@step("return", "return")
def op_return(w: World, cpu: int, _s: Step) -> None:
    end_operation(w, cpu)


@step("mmap_read_unlock, return", "return")
def read_unlock_return(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    w.mmap_lock[mm] -= 1
    end_operation(w, cpu)


@step("mmap_write_unlock, return", "return")
def write_unlock_return(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    mmap_write_unlock(w, mm)
    end_operation(w, cpu)


@step("tlb_gather_mmu", "check")
def gather_begin(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    w.flush.gather_begin(w, cpu, mm)


@step("tlb_flush_mmu", "flush")
def gather_flush(w: World, cpu: int, _s: Step) -> None:
    w.flush.gather_flush(w, cpu)


@step("tlb_finish_mmu", "flush")
def gather_finish(w: World, cpu: int, _s: Step) -> None:
    w.flush.gather_finish(w, cpu)


@step("tlb_finish_mmu", "flush")
def gather_finish_free(w: World, cpu: int, _s: Step) -> None:
    w.flush.gather_finish_free(w, cpu)


@step("flush before copy", "flush")
def due_copy(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, COPY)


@step("flush before install", "flush")
def due_install(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, INSTALL)


@step("flush before unlock", "flush")
def due_unlock(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, UNLOCK)


@step("try_to_unmap_flush_dirty", "flush")
def due_pageout(w: World, cpu: int, s: Step) -> None:
    """Flush before the page is written.

    `point`: PAGEOUT if it is written to swap, SUBMIT if to its file.
    """
    _, point = s
    w.flush.due(w, cpu, point)


@step("flush before free", "flush")
def due_free(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, FREE)


@step("flush before return", "flush")
def due_return(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, RETURN)


@step("pte_lock, flush_tlb_batched_pending", "lock")
def pte_lock_batched(w: World, cpu: int, s: Step) -> bool:
    """Take the PTL, and flush if another CPU's unmap has deferred a flush."""
    _, mm, index = s
    at = mm * TABLES + index
    if w.ptl[at] != NOBODY:
        return True
    w.ptl[at] = cpu
    w.flush.flush_batched_pending(w, cpu, mm)
    return False


@step("flush_tlb_batched_pending", "check")
def batched_pending(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    w.flush.flush_batched_pending(w, cpu, mm)
