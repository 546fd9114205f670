"""The operations by name: what a scenario can start on a CPU."""

from collections.abc import Callable
from typing import Final

from machine.entry import EXEC, READ, WRITE
from mm.access import start_access
from mm.age import start_age
from mm.context import leave_lazy, start_lazy, start_switch
from mm.fork import start_fork
from mm.madvise import start_dontneed, start_free
from mm.migrate import start_migrate
from mm.mmap import start_mmap
from mm.mprotect import start_mprotect
from mm.mremap import start_mremap
from mm.munmap import start_munmap
from mm.reclaim import start_reclaim
from mm.userfaultfd import start_protect, start_register, start_unprotect
from mm.world import World

Start = Callable[[World, int, int, int, int], None]
"""Pushes the first steps of an operation: world, CPU, first page, number of pages, argument."""


def _read(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    start_access(w, cpu, page, READ)


def _write(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    start_access(w, cpu, page, WRITE)


def _exec(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    start_access(w, cpu, page, EXEC)


STARTS: Final[dict[str, Start]] = {
    "read": _read,
    "write": _write,
    "exec": _exec,
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
}

BY_KERNEL_THREAD: Final = frozenset({"switch", "lazy", "migrate", "reclaim", "age"})
"""Operations that need no user thread on the CPU, so that a lazy CPU stays lazy (or is switched by them)."""


def begin(w: World, cpu: int, start: Start, *, user: bool, args: tuple[int, int, int, int]) -> None:
    """Start an operation on an idle CPU; `args` are its number for reports, first page, page count and argument."""
    w.op[cpu] = args[0]
    w.op_page[cpu] = args[1]
    start(w, cpu, args[1], args[2], args[3])
    if user and w.lazy[cpu]:
        leave_lazy(w, cpu)
