"""The state of each page: its regions, its write-protection for userfaultfd, and the PKRUs of its threads."""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.contract.calls import Call
from shootdown.contract.contents import PRIVATE, Contents
from shootdown.contract.regions import HOLE, HUGE, POPULATED, REGISTERED, Older
from shootdown.machine.geometry import PAGES

NO_REGISTER: Final = -1
NO: Final = 0
YES: Final = 1
PERHAPS: Final = 2
"""The answers to the question whether a page is write-protected for userfaultfd."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Pages(Contents):
    """The state of the pages by slot, which is an address space and a page, `mm * PAGES + page`.

    `region`, `register`: the newest of each slot.
    `older`: the regions and registers that an access may still meet.
    `mark`: whether the page is write-protected for userfaultfd; NO if it is missing.
    `marking`: the number of calls in flight that are about to change the mark.
    """

    def __init__(self, spaces: int, known: "Pages | None" = None) -> None:
        super().__init__(known)
        # A call is carried out without an access between its begin and its end.
        self.at_once = False
        self.region: list[int] = known.region.copy() if known else [HOLE] * (spaces * PAGES)
        self.register: list[int] = (
            known.register.copy() if known else [NO_REGISTER] * (spaces * PAGES)
        )
        self.mark: dict[int, int] = known.mark.copy() if known else {}
        self.older: dict[int, list[Older]] = (
            {slot: older.copy() for slot, older in known.older.items()} if known else {}
        )
        self.marking: dict[int, int] = known.marking.copy() if known else {}
        # The slots of `marking` that more than one call in flight is about to change.
        self.overlapped: set[int] = known.overlapped.copy() if known else set()
        # The PKRU of each thread that has written it, by CPU and address space.
        self.pkru: dict[tuple[int, int], int] = known.pkru.copy() if known else {}

    def _set_page(self, slot: int, region: int, register: int) -> None:
        """Give the page this region and register from here on."""
        self.region[slot] = region
        self.register[slot] = register

    def _set_pages(self, first: int, regions: list[int], registers: list[int]) -> None:
        """Do as _set_page for a run of slots."""
        self.region[first : first + len(regions)] = regions
        self.register[first : first + len(registers)] = registers

    def _replace(self, call: Call, slot: int, region: int, register: int) -> None:
        if not self.at_once:
            older = self.older.setdefault(slot, [])
            older.append((call.sequence, self.region[slot], self.register[slot]))
            call.slots.append(slot)
        self._set_page(slot, region, register)
        if not region & REGISTERED:
            self.mark.pop(slot, None)

    def _drop_older(self, slot: int, sequence: int) -> None:
        older = self.older.get(slot)
        if older is not None:
            older = [version for version in older if version[0] > sequence]
            if older:
                self.older[slot] = older
            else:
                del self.older[slot]

    def _may_meet(self, slot: int) -> list[int]:
        """Return the regions that an access may meet."""
        older = self.older.get(slot)
        newest = self.region[slot]
        return [newest] if older is None else [newest, *[region for _, region, _ in older]]

    def _mappings(self, slot: int) -> list[tuple[int, int]]:
        """Return the regions, none of them a hole, that a call may find at the page, each with its register once."""
        newest = self.region[slot]
        older = self.older.get(slot)
        if older is None:
            return [(newest, self.register[slot])] if newest else []
        found = {self.register[slot]: newest}
        for _, region, register in older:
            found.setdefault(register, region)
        return [(region, register) for register, region in found.items() if region]

    def _is_certain(self, slot: int) -> bool:
        """Return whether a call finds the same register and registration, before and after every call in flight.

        If not, another call may have found the state before the call in flight or the one after it.
        """
        older = self.older.get(slot)
        if older is None:
            return True
        register, registered = self.register[slot], self.region[slot] & REGISTERED
        return all(
            held == register and region & REGISTERED == registered for _, region, held in older
        )

    def _is_populated(self, slot: int) -> bool:
        """Return whether the page must be mapped or in swap: else a write-protection may miss it.

        In shared memory it cannot: a marker stands for the page (Linux 7.3, mm/mprotect.c change_pte_range).
        A read of a page in a region with huge pages is not enough: a store to the huge zero page empties the PMD for a
        moment, and the walk looks without its lock (do_huge_zero_wp_pmd in mm/huge_memory.c and change_pmd_range in
        mm/mprotect.c of 7.3; good_write_protect_beside_a_store_to_huge_zeros).
        """
        register = self.register[slot]
        if register < PRIVATE:
            return True
        populated = self.region[slot] & (POPULATED | HUGE) == POPULATED
        state = self.unsettled.get(register)
        if state is not None:
            return populated and not (state.dispensable or state.freeing)
        return populated or self.value.get(register, 0) != 0

    def _pkru_of(self, cpu: int, slot: int) -> int:
        return self.pkru.get((cpu, slot // PAGES), 0) if self.pkru else 0

    def _begin_marking(self, call: Call, slot: int, mark: int) -> None:
        if self.at_once:
            self.mark[slot] = mark
            return
        others = self.marking.get(slot, 0)
        self.marking[slot] = others + 1
        if others:
            self.overlapped.add(slot)
        call.marks.append((slot, mark))

    def _end_marking(self, slot: int, mark: int) -> None:
        others = self.marking[slot] - 1
        overlapped = slot in self.overlapped
        if others:
            self.marking[slot] = others
        else:
            del self.marking[slot]
            self.overlapped.discard(slot)
        self.mark[slot] = PERHAPS if overlapped else mark
