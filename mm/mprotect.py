"""mprotect and pkey_mprotect: change the rights of a range of pages, and their protection key."""

from typing import Final

from machine.entry import READ, WRITE
from machine.geometry import FANOUT
from mm.change_protection import MPROTECT, change_pmd
from mm.locks import mmap_write_trylock
from mm.operation import gather_begin, gather_finish, write_unlock_return
from mm.page_mask import by_table
from mm.step import Step, push, step
from mm.tables import allowance, rights
from mm.world import VM_MAPPED, VM_PKEY, VM_PKEY_SHIFT, VM_RIGHTS, World

_KEEP_KEY: Final = -1


def start_mprotect(w: World, cpu: int, page: int, count: int, prot: int) -> None:
    """Begin mprotect(page, count, prot) in the CPU's address space; it stops at the first hole, as with ENOMEM.

    Every region keeps its key. Linux gives a key of its own to one that is only to be executed (execute_only_pkey);
    that is not modelled.
    """
    _start(w, cpu, page, count, prot, _KEEP_KEY)


def start_pkey_mprotect(w: World, cpu: int, page: int, count: int, arg: int) -> None:
    """As mprotect, with a protection key: the rights are the low three bits of `arg`, the key is above them.

    All keys are allocated (pkey_alloc).
    """
    _start(w, cpu, page, count, arg & VM_RIGHTS, arg >> 3)


def _start(w: World, cpu: int, page: int, count: int, prot: int, key: int) -> None:
    mm = w.task_mm[cpu]
    push(w, cpu, (mprotect_vma, mm, page, count, prot, key), (write_unlock_return, mm))


@step("mmap_write_lock, mprotect_fixup", "lock")
def mprotect_vma(w: World, cpu: int, s: Step) -> bool:
    """Change the regions; a region whose rights and key stay as they are is left out, as in the kernel.

    Another key may allow less than the old one, now or after the next WRPKRU; so it takes loads and stores away from
    every older translation.
    """
    _, mm, first, count, prot, key = s
    if not mmap_write_trylock(w, mm):
        return True
    regions = w.vma[mm]
    changed = deny = 0
    for page in range(first, first + count):
        vma = regions[page]
        if not vma & VM_MAPPED:
            break
        new = vma & ~VM_RIGHTS | prot
        if key != _KEEP_KEY:
            new = new & ~VM_PKEY | key << VM_PKEY_SHIFT
        if new != vma:
            regions[page] = new
            changed |= 1 << page
            lost = rights(vma) & ~rights(prot)
            if (vma ^ new) & VM_PKEY:
                lost |= rights(vma) & (READ | WRITE)
            deny |= lost << 3 * page
            w.observer.region(cpu, mm, page, allowance(new))
    if changed:
        passes = [
            (change_pmd, mm, i, mask, deny >> 3 * FANOUT * i & 0xFFF, MPROTECT)
            for i, mask in by_table(changed)
        ]
        push(w, cpu, (gather_begin, mm), *passes, (gather_finish,))
    return False
