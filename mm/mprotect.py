"""mprotect: change the rights of a range of pages."""

from machine.geometry import FANOUT
from mm.change_protection import MPROTECT, change_pmd
from mm.locks import mmap_write_trylock
from mm.operation import gather_begin, gather_finish, write_unlock_return
from mm.page_mask import by_table
from mm.step import Step, push, step
from mm.tables import rights
from mm.world import VM_MAPPED, VM_RIGHTS, World


def start_mprotect(w: World, cpu: int, page: int, count: int, prot: int) -> None:
    """Begin mprotect(page, count, prot) in the CPU's address space; it stops at the first hole, as with ENOMEM."""
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (mprotect_vma, mm, page, count, prot),
        (write_unlock_return, mm),
    )


@step("mmap_write_lock, mprotect_fixup", "lock")
def mprotect_vma(w: World, cpu: int, s: Step) -> bool:
    """Change the regions; a region whose rights stay as they are is left out, as in the kernel."""
    _, mm, first, count, prot = s
    if not mmap_write_trylock(w, mm):
        return True
    regions = w.vma[mm]
    changed = deny = 0
    for page in range(first, first + count):
        vma = regions[page]
        if not vma & VM_MAPPED:
            break
        if vma & VM_RIGHTS != prot:
            regions[page] = vma & ~VM_RIGHTS | prot
            changed |= 1 << page
            deny |= (rights(vma) & ~rights(prot)) << 3 * page
            w.observer.region(mm, page, rights(prot))
    if changed:
        passes = [
            (change_pmd, mm, i, mask, deny >> 3 * FANOUT * i & 0xFFF, MPROTECT)
            for i, mask in by_table(changed)
        ]
        push(w, cpu, (gather_begin, mm), *passes, (gather_finish,))
    return False
