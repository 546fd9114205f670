"""mprotect and pkey_mprotect: change the rights of a range of pages, and their protection key."""

from typing import Final

from shootdown.machine.entry import READ, WRITE
from shootdown.machine.geometry import FANOUT
from shootdown.mm.arguments import KEYED_PROTECTION, PKEY_SHIFT, PROTECTION
from shootdown.mm.change_protection import DENY_BITS, DENY_MASK, MPROTECT, change_pmd
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import mmap_write_trylock, vma_start_write
from shootdown.mm.operation import gather_begin, gather_finish, write_unlock_return
from shootdown.mm.page_mask import by_table, mask_of
from shootdown.mm.state import VM_PKEY, VM_PKEY_SHIFT, VM_RIGHTS, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import allowance, rights
from shootdown.mm.vma import vmas_in
from shootdown.mm.world import World

_KEEP_KEY: Final = -1


def start_mprotect(w: World, cpu: int, page: int, count: int, prot: int) -> None:
    """Begin mprotect(page, count, prot) in the CPU's address space; it stops at the first hole, as with ENOMEM.

    Every region keeps its key. Linux gives an execute-only region a separate key (execute_only_pkey); that is not
    modelled.
    """
    _start(w, cpu, page, count, prot, _KEEP_KEY)


Operation(
    number=3,
    name="mprotect",
    start=start_mprotect,
    summary="change the protection of a range",
    pages="range",
    argument=PROTECTION,
    thread=Thread.USER,
    lock=Lock.WRITE,
    access=False,
    rank=1,
    weight=21,
    layouts=(),
    needs=(),
    shares=(
        "rights of an entry",
        "a page that goes",
        "hint of a page",
        "huge zero page",
        "protection keys",
    ),
    holds_page=False,
    simpler_as=(),
)


def start_pkey_mprotect(w: World, cpu: int, page: int, count: int, arg: int) -> None:
    """Begin mprotect with a protection key: the rights are the low three bits of `arg`, the key is above them.

    All keys are allocated (pkey_alloc).
    """
    _start(w, cpu, page, count, arg & VM_RIGHTS, arg >> PKEY_SHIFT)


Operation(
    number=35,
    name="pkey_mprotect",
    start=start_pkey_mprotect,
    summary="mprotect, with a protection key",
    pages="range",
    argument=KEYED_PROTECTION,
    thread=Thread.USER,
    lock=Lock.WRITE,
    access=False,
    rank=5,
    weight=3,
    layouts=(),
    needs=("wrpkru",),
    shares=("protection keys",),
    holds_page=False,
    simpler_as=("mprotect",),
)


def _start(w: World, cpu: int, page: int, count: int, prot: int, key: int) -> None:
    mm = w.task_mm[cpu]
    push(w, cpu, (mprotect_vma, mm, page, count, prot, key), (write_unlock_return, mm))


@step("mmap_write_lock, mprotect_fixup", "lock")
def mprotect_vma(w: World, cpu: int, s: Step) -> bool:
    """Change the VMAs of the range one after the other, up to the first hole.

    A VMA whose rights and key do not change is left out, as in the kernel.
    """
    _, mm, first, count, prot, key = s
    regions = w.vma[mm]
    parts: list[tuple[int, int]] = []
    reached = first
    for start, length in vmas_in(regions, first, count):
        if start != reached:
            break
        reached = start + length
        if changed_region(regions[start], prot, key) != regions[start]:
            parts.append((start, length))
    if w.mmap_lock[mm]:
        return True
    if not parts:
        mmap_write_trylock(w, mm)
        return False
    start, length = parts[0]
    passes = fixup(w, cpu, mm, start, length, prot, key)
    if passes is None:
        return True
    mmap_write_trylock(w, mm)
    others = [(mprotect_fixup, mm, start, length, prot, key) for start, length in parts[1:]]
    push(w, cpu, (gather_begin, mm), *passes, *others, (gather_finish,))
    return False


@step("mprotect_fixup", "lock")
def mprotect_fixup(w: World, cpu: int, s: Step) -> bool:
    _, mm, first, count, prot, key = s
    passes = fixup(w, cpu, mm, first, count, prot, key)
    if passes is None:
        return True
    push(w, cpu, *passes)
    return False


def changed_region(vma: int, prot: int, key: int) -> int:
    """Return a region with other rights, and another key if one is given."""
    new = vma & ~VM_RIGHTS | prot
    return new if key == _KEEP_KEY else new & ~VM_PKEY | key << VM_PKEY_SHIFT


def fixup(
    w: World, cpu: int, mm: int, first: int, count: int, prot: int, key: int
) -> list[Step] | None:
    """Change one VMA, or a part of it, and return the walk over its entries; return None, without effect, while the
    VMA, or one with which it is merged, is locked for reading.

    Another key may allow less than the old one, now or after the next WRPKRU; so the change takes loads and stores away
    from every older translation.
    """
    regions = w.vma[mm]
    new = [changed_region(vma, prot, key) for vma in regions[first : first + count]]
    changed = mask_of(first, count)
    if not vma_start_write(w, mm, changed, [*regions[:first], *new, *regions[first + count :]]):
        return None
    deny = 0
    for page, vma in enumerate(new, first):
        lost = rights(regions[page]) & ~rights(prot)
        if (vma ^ regions[page]) & VM_PKEY:
            lost |= rights(regions[page]) & (READ | WRITE)
        deny |= lost << DENY_BITS * page
        regions[page] = vma
        w.observer.region(cpu, mm, page, allowance(vma))
    return [
        (change_pmd, mm, index, mask, deny >> DENY_BITS * FANOUT * index & DENY_MASK, MPROTECT)
        for index, mask in by_table(changed)
    ]
