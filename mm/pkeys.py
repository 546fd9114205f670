"""Protection keys: WRPKRU, the PKRU that a CPU has loaded, and the effect of a key in a fault (linux-tlb D.4).

PKRU belongs to the thread. A CPU has one thread of each address space here, so a switch to another address space loads
the value that its thread has written; a kernel thread or a temporary address space in between changes nothing.
A thread that has written nothing may access everything. Linux starts a thread with init_pkru, which denies all keys
except 0, and fork and clone copy the register: the child of a thread could have written the same value itself.
"""

from typing import Final

from shootdown.machine.pkru import NO_ACCESS, NO_WRITE, denies
from shootdown.machine.x86 import PF_PK
from shootdown.mm.arguments import KEY_RIGHTS
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.operation import end_operation
from shootdown.mm.state import MMS, VM_PKEY, VM_PKEY_SHIFT, Step
from shootdown.mm.step import step
from shootdown.mm.world import World

RIGHTS: Final = 3
"""The number of rights that pkey_set can set: all, only loads, none."""
_BITS: Final = (NO_ACCESS, NO_WRITE, 0)
"""The two bits of the key in PKRU, by the rights in the argument (none, r, rw)."""


def start_wrpkru(w: World, cpu: int, _page: int, _count: int, arg: int) -> None:
    """Begin pkey_set (RDPKRU, WRPKRU) by the CPU's thread: user code, without the kernel, for the pages of one key.

    `arg`: the rights (none, r, rw) plus RIGHTS times the key less one; the rights to key 0 do not change.
    """
    w.steps[cpu].append((wrpkru, arg))


Operation(
    number=36,
    name="wrpkru",
    start=start_wrpkru,
    summary="set what the thread may do to the pages of a key",
    pages="none",
    argument=KEY_RIGHTS,
    thread=Thread.USER,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=2,
    layouts=(),
    needs=(),
    shares=("protection keys",),
    holds_page=False,
    simpler_as=(),
)


@step("wrpkru", "change")
def wrpkru(w: World, cpu: int, s: Step) -> None:
    _, arg = s
    key, rights = divmod(arg, RIGHTS)
    at = 2 * (key + 1)
    pkru = w.machine.pkru[cpu] & ~(3 << at) | _BITS[rights] << at
    thread = cpu * MMS + w.task_mm[cpu]
    if pkru:
        w.pkru[thread] = pkru
    else:
        w.pkru.pop(thread, None)
    w.machine.pkru[cpu] = pkru
    end_operation(w, cpu)


def load_pkru(w: World, cpu: int) -> None:
    """Load the PKRU of the CPU's thread in the address space task_mm."""
    w.machine.pkru[cpu] = w.pkru.get(cpu * MMS + w.task_mm[cpu], 0)


def threads_gone(w: World, mm: int) -> None:
    """Forget the PKRUs of the threads of `mm`, which have ended; task_mm names other address spaces already."""
    for cpu in range(w.cpus):
        w.pkru.pop(cpu * MMS + mm, None)
        load_pkru(w, cpu)


def key_denies(w: World, cpu: int, vma: int, kind: int, code: int) -> bool:
    """Return whether a fault is delivered because of a protection key (bad_area_access_from_pkeys).

    Either the hardware reports the key (X86_PF_PK), which always ends in a signal; or the key of the region forbids the
    access (arch_vma_access_permitted): that ends every kind of fault, or it would occur again after the handler.
    """
    if code & PF_PK:
        return True
    return denies(w.machine.pkru[cpu], (vma & VM_PKEY) >> VM_PKEY_SHIFT, kind)
