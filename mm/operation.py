"""Begin and end of an operation on a CPU, and the steps that every operation shares."""

from mm.flush import COPY, FREE, INSTALL, RETURN, UNLOCK
from mm.step import Step, step
from mm.world import World

IDLE_OP = -1


@step("return", "return")
def op_return(w: World, cpu: int, _s: Step) -> None:
    w.op[cpu] = IDLE_OP
    w.observer.close(cpu)


@step("close", "return")
def op_close(w: World, cpu: int, _s: Step) -> None:
    """End a fault inside a user access: the fault's promises hold from here, the access is still to come."""
    w.observer.close(cpu)


@step("tlb_gather_mmu", "check")
def gather_begin(w: World, cpu: int, s: Step) -> None:
    w.flush.gather_begin(w, cpu, s[1])


@step("tlb_flush_mmu", "flush")
def gather_flush(w: World, cpu: int, _s: Step) -> None:
    w.flush.gather_flush(w, cpu)


@step("tlb_finish_mmu", "flush")
def gather_finish(w: World, cpu: int, _s: Step) -> None:
    w.flush.gather_finish(w, cpu)


@step("flush before copy", "flush")
def due_copy(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, COPY)


@step("flush before install", "flush")
def due_install(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, INSTALL)


@step("flush before unlock", "flush")
def due_unlock(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, UNLOCK)


@step("flush before free", "flush")
def due_free(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, FREE)


@step("flush before return", "flush")
def due_return(w: World, cpu: int, _s: Step) -> None:
    w.flush.due(w, cpu, RETURN)


@step("flush_tlb_batched_pending", "check")
def batched_pending(w: World, cpu: int, s: Step) -> None:
    w.flush.flush_batched_pending(w, cpu, s[1])
