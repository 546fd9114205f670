"""The operations by name: what a scenario can start on a CPU."""

from collections.abc import Callable
from typing import Final

from shootdown.mm.access import start_copy, start_exec, start_read, start_write
from shootdown.mm.age import start_age
from shootdown.mm.clear_refs import start_clear_refs
from shootdown.mm.context import leave_lazy, start_lazy, start_switch
from shootdown.mm.exit import start_exit
from shootdown.mm.fork import start_fork
from shootdown.mm.gup import start_pin
from shootdown.mm.khugepaged import start_collapse
from shootdown.mm.ksm import start_ksm
from shootdown.mm.madvise import start_dontneed, start_free
from shootdown.mm.migrate import start_migrate
from shootdown.mm.mmap import start_mmap
from shootdown.mm.mprotect import start_mprotect, start_pkey_mprotect
from shootdown.mm.mremap import start_mremap
from shootdown.mm.munmap import start_munmap
from shootdown.mm.numa_scan import start_numa_scan
from shootdown.mm.pageout import start_swapout
from shootdown.mm.pkeys import start_wrpkru
from shootdown.mm.punch_hole import start_punch
from shootdown.mm.reclaim import start_reclaim
from shootdown.mm.revoke import start_revoke
from shootdown.mm.shrink import start_shrink
from shootdown.mm.text_poke import start_poke
from shootdown.mm.tick import start_tick
from shootdown.mm.userfaultfd import start_protect, start_register, start_unprotect
from shootdown.mm.world import World
from shootdown.mm.writeback import start_writeback

Start = Callable[[World, int, int, int, int], None]
"""Pushes the first steps of an operation: world, CPU, first page, number of pages, argument."""


STARTS: Final[dict[str, Start]] = {
    "read": start_read,
    "write": start_write,
    "exec": start_exec,
    "mprotect": start_mprotect,
    "munmap": start_munmap,
    "mmap": start_mmap,
    "dontneed": start_dontneed,
    "free": start_free,
    "fork": start_fork,
    "uffd_register": start_register,
    "uffd_wp": start_protect,
    "uffd_unwp": start_unprotect,
    "mremap": start_mremap,
    "switch": start_switch,
    "lazy": start_lazy,
    "migrate": start_migrate,
    "reclaim": start_reclaim,
    "age": start_age,
    "clear_refs": start_clear_refs,
    "writeback": start_writeback,
    "punch": start_punch,
    "collapse": start_collapse,
    "exit": start_exit,
    "poke": start_poke,
    "tick": start_tick,
    "pin": start_pin,
    "numa_scan": start_numa_scan,
    "swapout": start_swapout,
    "copy": start_copy,
    "ksm": start_ksm,
    "shrink": start_shrink,
    "revoke": start_revoke,
    "pkey_mprotect": start_pkey_mprotect,
    "wrpkru": start_wrpkru,
}

EXCLUSIVE: Final = frozenset(
    {
        "mprotect",
        "mmap",
        "mremap",
        "fork",
        "uffd_register",
        "clear_refs",
        "collapse",
        "pkey_mprotect",
    }
)
"""Operations that hold mmap_lock for writing from their first step to their last."""
ALONE: Final = frozenset({"exit"})
"""Operations that hold no lock, and begin only when nobody else runs in the address space."""
BEGIN_EXCLUSIVE: Final = frozenset({"munmap"})
"""Operations that take mmap_lock for writing and keep it for reading."""
BY_VMA: Final = frozenset({"dontneed", "free"})
"""Operations that hold the lock of a VMA, and that not during their flush: they overlap with a writer of mmap_lock that
works on another VMA, and later with every one.
"""
LOCKLESS: Final = frozenset({"pin", "wrpkru"})
"""Operations of a user thread that take no lock, and so overlap with every other."""
BY_KERNEL_THREAD: Final = frozenset(
    {
        "switch",
        "lazy",
        "migrate",
        "reclaim",
        "age",
        "writeback",
        "punch",
        "collapse",
        "poke",
        "tick",
        "swapout",
        "ksm",
        "shrink",
        "revoke",
    }
)
"""Operations that need no user thread on the CPU, so that a lazy CPU stays lazy (or is switched by them)."""
LOCKS_FOR_READING: Final = frozenset({"ksm"})
"""Of these, what takes mmap_lock for reading."""
_ACCESSES: Final = frozenset((start_read, start_write, start_exec, start_copy))
"""Instructions of a program: they call nobody."""
_KERNEL_STARTS: Final = frozenset(STARTS[name] for name in BY_KERNEL_THREAD)


def begin(w: World, cpu: int, start: Start, number: int, page: int, count: int, arg: int) -> None:
    """Start an operation on an idle CPU; `number` is its name for reports."""
    w.op[cpu] = number
    w.op_page[cpu] = page
    start(w, cpu, page, count, arg)
    if start not in _ACCESSES:
        w.observer.began(cpu, number, page, count, arg)
    if w.kthread[cpu] and start not in _KERNEL_STARTS:
        leave_lazy(w, cpu)
