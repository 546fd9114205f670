"""The effect of each call on the regions and contents of its pages, from its arguments and the regions at the call.

A call changes the same part of a range as in Linux 7.3 (mm/madvise.c madvise_walk_vmas, mm/userfaultfd.c
mwriteprotect_range and userfaultfd_register, mm/mremap.c remap_move, mm/mprotect.c do_mprotect_pkey).
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.contract.calls import (
    DONTNEED,
    EXIT,
    FORK,
    FREE,
    MMAP,
    MPROTECT,
    MREMAP,
    MUNMAP,
    PKEY_MPROTECT,
    PROTECT,
    PUNCH,
    REGISTER,
    RESOLVE,
    REVOKE,
    WRPKRU,
    Call,
)
from shootdown.contract.contents import DRIVER, FILE, PRIVATE, SHARED
from shootdown.contract.pages import NO, NO_REGISTER, PERHAPS, YES, Pages
from shootdown.contract.regions import (
    ANY_KIND,
    HOLE,
    HUGE,
    KEY,
    KEY_AT,
    POPULATED,
    READ_IMPLIED,
    REGISTERED,
    region_of,
)
from shootdown.machine.geometry import PAGES
from shootdown.machine.pkru import NO_ACCESS, NO_WRITE

MAP_KIND_AT: Final = 3
MAP_SHARED: Final = 1
MAP_HUGE: Final = 2
MAP_FILE: Final = 3
MAP_PFNMAP: Final = 4
"""The types of a mapping, in the argument of mmap above the rights."""
_FIRST: Final = {MAP_SHARED: SHARED, MAP_FILE: FILE, MAP_PFNMAP: DRIVER}


@mypyc_attr(allow_interpreted_subclasses=True)
class Effects(Pages):
    """The pages with the effects of calls, and with the settlement of their promises.

    `pages`: the number of pages of an address space.
    """

    def __init__(self, spaces: int, pages: int, known: "Effects | None" = None) -> None:
        super().__init__(spaces, known)
        self.pages = pages

    def map_at_boot(self, pages: int, prot: int, kind: int) -> None:
        """Map the first pages of the first address space, as before the run began."""
        region, registers = self._mapping(0, pages, prot, kind)
        self._set_pages(0, [region] * pages, [*registers])

    def _carry_out(self, call: Call) -> None:
        """Record the states that the call makes possible from here on.

        If the call was carried out `at_once`, no access can meet a state in between, and the effect is immediate.
        """
        first = call.mm * PAGES + call.page
        _EFFECTS[call.kind](self, call, range(first, first + call.count))

    def _settle(self, call: Call) -> None:
        for slot in call.slots:
            self._drop_older(slot, call.sequence)
        for register, promised in call.zeroed:
            if register < PRIVATE and self.older:
                self._detach(register)
            self.end_zeroing(register, call.sequence, promised=promised)
        for register in call.free:
            self.end_free(register)
        for slot, mark in call.marks:
            self._end_marking(slot, mark)
        for i, (_, register) in enumerate(call.parents):
            self.end_snapshot(register, call.child_first + i)
        call.clear()

    def _detach(self, register: int) -> None:
        """Give a region that a call in flight has replaced the old page of a file or driver as well as the new one.

        munmap takes a page out of its table before it flushes, and a hole that is punched meanwhile finds it unmapped,
        so an access may still show the old page. But mremap may not have reached the page yet, and then a fault maps
        the new one (good_punch_beside_mremap).
        """
        for older in self.older.values():
            for sequence, region, held in older.copy():
                if held == register:
                    kept = self.new_register()
                    self.open_register(kept).values = self.values_of(register)
                    self.settle(kept)
                    older.append((sequence, region, kept))

    def _mapping(self, page: int, count: int, prot: int, kind: int) -> tuple[int, range]:
        """Return the region of pages that are newly mapped, and their registers."""
        region = region_of(prot)
        if kind in _FIRST:
            return region, range(_FIRST[kind] + page, _FIRST[kind] + page + count)
        first = self.registers
        self.registers += count
        return region | (HUGE if kind == MAP_HUGE else 0), range(first, first + count)

    def munmap(self, call: Call, slots: range) -> None:
        """Unmap every mapped page of the range."""
        for slot in slots:
            if self.region[slot]:
                self._replace(call, slot, HOLE, NO_REGISTER)

    def mmap(self, call: Call, slots: range) -> None:
        """Map the range, or nothing if any of its pages is mapped (MAP_FIXED_NOREPLACE)."""
        for slot in slots:
            if self.region[slot]:
                return
        prot, kind = call.arg & ANY_KIND, call.arg >> MAP_KIND_AT
        region, registers = self._mapping(call.page, call.count, prot, kind)
        for slot, register in zip(slots, registers, strict=True):
            self._replace(call, slot, region, register)

    def mprotect(self, call: Call, slots: range) -> None:
        """Change the pages up to the first hole (ENOMEM)."""
        rights = region_of(call.arg & ANY_KIND)
        key = (call.arg >> KEY_AT << KEY_AT) & KEY
        for slot in slots:
            old = self.region[slot]
            if not old:
                return
            new = old & ~(ANY_KIND | READ_IMPLIED) | rights
            if call.kind == PKEY_MPROTECT:
                new = new & ~KEY | key
            if new != old:
                self._replace(call, slot, new, self.register[slot])

    def mremap(self, call: Call, slots: range) -> None:
        """Move the regions of the range, with the holes between them, and unmap the pages at each target.

        A range that begins with a hole is refused, and so is one with several regions (VMAs) if the first is registered
        with userfaultfd; a later one that is registered ends the call there. A region that moves loses its
        registration.
        """
        mm, count, target, first = call.mm, call.count, call.arg, slots.start
        source = first - mm * PAGES
        if target + count > self.pages or abs(target - source) < count or not self.region[first]:
            return
        page = 0
        while page < count:
            if not self.region[first + page]:
                page += 1
                continue
            length = self._run(first + page, count - page)
            if self.region[first + page] & REGISTERED and (page or length < count):
                return
            for i in range(page, page + length):
                self._move(call, first + i, mm * PAGES + target + i)
            page += length

    def _run(self, slot: int, limit: int) -> int:
        """Return how many pages from the slot on, at most `limit`, belong to one region (VMA)."""
        region = self.region[slot] & ~POPULATED
        register = self.register[slot]
        length = 1
        while length < limit and self.region[slot + length] & ~POPULATED == region:
            other = self.register[slot + length]
            if other != register + length if register < PRIVATE else other < PRIVATE:
                break
            length += 1
        return length

    def _move(self, call: Call, slot: int, target: int) -> None:
        region = self.region[slot] & ~(REGISTERED | POPULATED)
        self._replace(call, target, region, self.register[slot])
        self._replace(call, slot, HOLE, NO_REGISTER)

    def madvise(self, call: Call, slots: range) -> None:
        """Drop or give up the mapped pages of the range; a driver's pages, and MADV_FREE of shared memory, end it there
        (EINVAL).

        It promises nothing for a page at which it may have found one region or another, nor after a region that may
        have ended it.
        """
        for slot, found, certain in self._walk(call.kind, slots):
            for region, register in found:
                self._drop(call, slot, region, register, certain=certain)

    def _walk(self, kind: int, slots: range) -> list[tuple[int, list[tuple[int, int]], bool]]:
        """Return the pages before a region that refuses the call: each with the mappings that the call may find there,
        and whether it is certain to find exactly these.

        Nothing is certain after a region that may have ended the call.
        """
        found: list[tuple[int, list[tuple[int, int]], bool]] = []
        certain = True
        for slot in slots:
            certain = certain and self._is_certain(slot)
            met = self._mappings(slot)
            kept = [mapping for mapping in met if not _refuses(kind, *mapping)]
            if len(kept) < len(met):
                certain = False
                if not kept and HOLE not in self._may_meet(slot):
                    break
            found.append((slot, kept, certain))
        return found

    def _drop(self, call: Call, slot: int, region: int, register: int, *, certain: bool) -> None:
        """Set the content of one region of a page to zero, or give it up; shared memory does not change."""
        if region & POPULATED and self.region[slot] == region:
            self._set_page(slot, region & ~POPULATED, register)
        if register < PRIVATE:
            return
        if call.kind == DONTNEED:
            self._zero(call, register, promised=certain)
            if region & REGISTERED:
                self._begin_marking(call, slot, NO if certain else PERHAPS)
            return
        self.begin_free(register)
        if self.at_once:
            self.end_free(register)
        else:
            call.free.append(register)
        if slot in self.marking or self.mark.get(slot, NO) == YES:
            # A page that is dropped loses its mark, or the mark that a call in flight is about to set.
            self._begin_marking(call, slot, PERHAPS)

    def _zero(self, call: Call, register: int, *, promised: bool) -> None:
        if self.at_once:
            self.unsettled.pop(register, None)
            self.value[register] = 0
            return
        for i, (known, _) in enumerate(call.zeroed):
            if known == register:
                # Met at two pages, because an mremap in flight moves it: at one of them the call may not find it.
                call.zeroed[i] = (register, False)
                return
        self.begin_zeroing(register, call.sequence)
        call.zeroed.append((register, promised))

    def fork(self, call: Call, _slots: range) -> None:
        """Begin snapshots of the private pages, each of which is taken at some instant until the fork returns."""
        first = call.mm * PAGES
        call.child_first = self.registers
        for page in range(self.pages):
            register = self.register[first + page]
            if register >= PRIVATE:
                self.begin_snapshot(register)
                call.parents.append((page, register))

    def uffd_register(self, call: Call, slots: range) -> None:
        """Register the regions, or nothing if the range has pages of the file or of a driver (EINVAL)."""
        for slot in slots:
            if FILE <= self.register[slot] < PRIVATE:
                return
        for slot in slots:
            region = self.region[slot]
            if region and not region & REGISTERED:
                self._replace(call, slot, region | REGISTERED, self.register[slot])

    def write_protect(self, call: Call, slots: range) -> None:
        """Change the marks up to the first region that is not registered (ENOENT); an unmapped page may not change."""
        for slot, found, certain in self._walk(call.kind, slots):
            if found:
                mark = PERHAPS
                if certain and call.kind == RESOLVE:
                    mark = NO
                elif certain and self._is_populated(slot):
                    mark = YES
                self._begin_marking(call, slot, mark)

    def punch(self, call: Call, _slots: range) -> None:
        """Set a page of the file to zero, in all its mappings."""
        self._zero(call, FILE + call.page, promised=True)

    def revoke(self, call: Call, _slots: range) -> None:
        """Set pages of the driver to zero, in all their mappings."""
        for place in range(call.page, call.page + call.count):
            self._zero(call, DRIVER + place, promised=True)

    def exit(self, call: Call, slots: range) -> None:
        """Do nothing; the exit of the last thread is in Contract.exited."""

    def wrpkru(self, call: Call, _slots: range) -> None:
        """Set the rights (none, r, rw) of the thread to the pages of a key."""
        key, rights = divmod(call.arg, 3)
        at = 2 * (key + 1)
        denied = (NO_ACCESS, NO_WRITE, 0)[rights]
        thread = (call.cpu, call.mm)
        self.pkru[thread] = self.pkru.get(thread, 0) & ~(3 << at) | denied << at


def _refuses(kind: int, region: int, register: int) -> bool:
    """Return whether a call on a range ends at a region: see Effects.madvise and Effects.write_protect."""
    if kind in (PROTECT, RESOLVE):
        return not region & REGISTERED
    return DRIVER <= register < PRIVATE or (kind == FREE and register < PRIVATE)


_EFFECTS: Final[dict[int, Callable[[Effects, Call, range], None]]] = {
    MPROTECT: Effects.mprotect,
    PKEY_MPROTECT: Effects.mprotect,
    MUNMAP: Effects.munmap,
    MMAP: Effects.mmap,
    MREMAP: Effects.mremap,
    DONTNEED: Effects.madvise,
    FREE: Effects.madvise,
    FORK: Effects.fork,
    REGISTER: Effects.uffd_register,
    PROTECT: Effects.write_protect,
    RESOLVE: Effects.write_protect,
    PUNCH: Effects.punch,
    REVOKE: Effects.revoke,
    WRPKRU: Effects.wrpkru,
    EXIT: Effects.exit,
}
