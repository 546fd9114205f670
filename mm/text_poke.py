"""text_poke: the kernel writes through its own temporary address space, which the CPU loads only for a few steps.

EFI calls do the same. Interrupts are disabled meanwhile.
The temporary address space has no number: no flush is ever sent for it, and nothing in it changes.
It maps one kernel page at every address, as the 1:1 mapping of EFI maps the low addresses, also those that a process
uses. The entries have the user bit, because this machine translates only for users; in the kernel its copies from and
to user memory would use such an entry.
Two CPUs may be in it at once: text_mutex keeps them apart in Linux, but here they have nothing to disturb.
"""

from typing import Final

from shootdown.machine.entry import ACCESSED, DIRTY, PRESENT, RW, USER, WRITE
from shootdown.machine.geometry import FANOUT, FRAME_BITS, TABLES
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import alloc_zeroed
from shootdown.mm.operation import op_return
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import TABLE_BITS, new_table
from shootdown.mm.world import World

_KERNEL_PAGE: Final = PRESENT | RW | USER | ACCESSED | DIRTY


def start_poke(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin a write by the kernel, at the address of the page, through the temporary address space."""
    push(w, cpu, (op_return,))
    w.flush.in_temporary_mm(w, cpu, (text_poke_memcpy, page))


Operation(
    number=26,
    name="poke",
    start=start_poke,
    summary="the kernel patches text through a temporary mm",
    pages="one",
    argument=NO_ARGUMENT,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=2,
    layouts=(),
    needs=(),
    shares=("loaded address space",),
    holds_page=False,
    simpler_as=(),
)


@step("text_poke_memcpy", "copy")
def text_poke_memcpy(w: World, cpu: int, s: Step) -> None:
    """Store, which caches a translation; the written value is not observed."""
    _, page = s
    w.machine.access(cpu, page, WRITE)


def poking_root(w: World) -> int:
    """Return the top-level table of the temporary address space, which the first call makes (poking_init)."""
    if w.poking < 0:
        w.poking = new_table(w)
        table, page = new_table(w), alloc_zeroed(w)
        memory = w.machine.memory
        memory[w.poking << 2 : (w.poking << 2) + TABLES] = [FRAME_BITS[table] | TABLE_BITS] * TABLES
        memory[table << 2 : (table << 2) + FANOUT] = [FRAME_BITS[page] | _KERNEL_PAGE] * FANOUT
    return w.poking
