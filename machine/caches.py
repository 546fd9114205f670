"""The entries of the page tables that processors have cached, and what drops them: eviction, faults and instructions.

A cached entry stays until one of these removes it, and nothing else removes it (SDM 4.10.2.3: the processor may keep an
entry for ever).

Broadcast invalidation is INVLPGB and TLBSYNC on AMD (APM vol. 3), TLBI by the inner shareable domain and DSB on Arm:
one processor issues it for all of them, and waits until it is complete.
The completion belongs to the issuer: a processor that waits without having issued anything learns nothing about the
invalidations of others (Arm ARM, completion of TLB maintenance instructions; 4b634918384c).
Each processor carries an invalidation out in one instant, between its issue and the end of the wait. In that instant it
drops the translation of the page together with the upper entry that a walk to it would use; an entry that it caches
after that instant stays for good.
The hardware is adversarial here as well: the instant is that of the wait.
A scenario makes it earlier by an eviction of BOTH: if nothing of the page is cached, nothing is left to carry out, and
the next walk, which reads all levels in memory, finds it done.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.geometry import FANOUT, PAGE_MASK, PAGES
from shootdown.machine.plain import Plain
from shootdown.machine.tlb_entry import TLB_PIECE

GLOBAL_TAG: Final = 63
"""The tag under which global entries are kept: they match in every PCID."""
TAG_AT: Final = 4
TAG_MASK: Final = 63
"""The position of the tag in a key of `tlb`, and its bits; the mark FETCH is above it."""
HUGE_KEY: Final = 1 << 3
"""The mark in the key of a translation of 2 MiB, which has the index of an upper entry in the place of a page."""
KEY_MASK: Final = HUGE_KEY | PAGE_MASK
"""The bits of a key below the tag."""
UPPER_AT: Final = 1
"""The position of the PCID in a key of `psc`."""
ISSUED_AT: Final = 3
"""The position of the PCID in a key of `issued`."""
FETCH: Final = 1 << 10
"""The mark in the key of a translation that serves only instruction fetches."""
_PCIDS: Final = range(GLOBAL_TAG)

TRANSLATION: Final = 0
UPPER: Final = 1
BOTH: Final = 2
OF_FETCHES: Final = 3
"""The kinds of eviction: of one translation of the page, of the paging-structure entry of the walk to it, of everything
that an invalidation of the page drops, or of one translation for fetches.
"""


@mypyc_attr(allow_interpreted_subclasses=True)
class Caches(Plain):
    """The TLB and the paging-structure cache of each processor, under the PCID that it has loaded.

    `tlb[cpu]`: translations, by `pcid << TAG_AT | page`, and by `pcid << TAG_AT | HUGE_KEY | page >> 2` for one of
    2 MiB, with FETCH in those for instruction fetches if there are two TLBs.
    `psc[cpu]`: upper entries, by `pcid << UPPER_AT | page >> 2`.
    `split_tlb`: loads and stores have one TLB, instruction fetches another.
    `fractured`: a leaf of 2 MiB is cached in pieces of 4 KiB, each when it is used; an invalidation or a fault of one
    page drops all of them, as it drops the one translation (SDM 4.10.2.3).
    `issued[cpu]`: the invalidations that processors have issued for this one and that it has not carried out: the mask
    of the issuers, by `pcid << ISSUED_AT | page`.
    """

    def __init__(
        self,
        cpus: int,
        known: "Caches | None" = None,
        /,
        *,
        split_tlb: bool = False,
        fractured: bool = False,
    ) -> None:
        """Begin with nothing cached, or continue from `known`."""
        self.split_tlb = split_tlb
        self.fractured = fractured
        self.tlb: list[dict[int, int]] = (
            [one.copy() for one in known.tlb] if known else [{} for _ in range(cpus)]
        )
        self.psc: list[dict[int, int]] = (
            [one.copy() for one in known.psc] if known else [{} for _ in range(cpus)]
        )
        self.pcid: list[int] = known.pcid.copy() if known else [0] * cpus
        self.issued: list[dict[int, int]] = (
            [one.copy() for one in known.issued] if known else [{} for _ in range(cpus)]
        )
        self.has_global: bool = known.has_global if known else False

    # Eviction, and what a fault drops.

    def evict(self, cpu: int, page: int, what: int = TRANSLATION) -> None:
        """Drop the cached entries of a page of the loaded PCID: TRANSLATION, UPPER, BOTH or OF_FETCHES.

        Each may disappear at any time, without the others (linux-tlb D.3 rule 5).
        TRANSLATION drops the entry that an access would use: the 4 KiB one, else the 2 MiB one, else a global one.
        So if several match, a scenario makes the processor use any of them by evicting those before it.
        OF_FETCHES drops the entry that a fetch would use, which is the same one if there is only one TLB.
        """
        if what == BOTH:
            self.invpcid_page(cpu, self.pcid[cpu], page)
        elif what == UPPER:
            self.psc[cpu].pop(self.pcid[cpu] << UPPER_AT | page >> 2, None)
        else:
            tlb = self.tlb[cpu]
            side = FETCH if what == OF_FETCHES and self.split_tlb else 0
            for tag in (side | self.pcid[cpu] << TAG_AT, side | GLOBAL_TAG << TAG_AT):
                for key in (tag | page, tag | HUGE_KEY | page >> 2):
                    if tlb.pop(key, None) is not None:
                        return

    def _drop_faulting(self, cpu: int, page: int) -> None:
        tlb = self.tlb[cpu]
        tag = self.pcid[cpu] << TAG_AT
        tlb.pop(tag | page, None)
        tlb.pop(tag | HUGE_KEY | page >> 2, None)
        if self.split_tlb or self.fractured:
            self._drop_others(cpu, self.pcid[cpu], page)
        if self.has_global:
            self._drop_global(cpu, page)
        self.psc[cpu].pop(self.pcid[cpu] << UPPER_AT | page >> 2, None)

    def _drop_global(self, cpu: int, page: int) -> None:
        tlb = self.tlb[cpu]
        tlb.pop(GLOBAL_TAG << TAG_AT | page, None)
        tlb.pop(GLOBAL_TAG << TAG_AT | HUGE_KEY | page >> 2, None)
        if self.split_tlb or self.fractured:
            self._drop_others(cpu, GLOBAL_TAG, page)

    def _drop_others(self, cpu: int, tag: int, page: int) -> None:
        """Drop the translations of a page for fetches, and all pieces of the leaf of 2 MiB that contains it (linux-tlb
        D.3 rule 10).
        """
        tlb = self.tlb[cpu]
        for key in self._others(cpu, tag, page):
            del tlb[key]

    def _others(self, cpu: int, tag: int, page: int) -> list[int]:
        tlb = self.tlb[cpu]
        found: list[int] = []
        first = page & ~(FANOUT - 1)
        for side in (tag << TAG_AT, FETCH | tag << TAG_AT) if self.split_tlb else (tag << TAG_AT,):
            if side & FETCH and side | HUGE_KEY | page >> 2 in tlb:
                found.append(side | HUGE_KEY | page >> 2)
            for key in range(side | first, (side | first) + FANOUT):
                is_of_page = side & FETCH and key & PAGE_MASK == page
                if key in tlb and (is_of_page or tlb[key] & TLB_PIECE):
                    found.append(key)
        return found

    # Instructions that invalidate (SDM 4.10.4.1).

    def invlpg(self, cpu: int, page: int) -> None:
        """Drop the page's entries of the current PCID, global ones, and every upper entry of that PCID (linux-tlb D.3
        rule 6).
        """
        tlb = self.tlb[cpu]
        psc = self.psc[cpu]
        pcid = self.pcid[cpu]
        tlb.pop(pcid << TAG_AT | page, None)
        tlb.pop(pcid << TAG_AT | HUGE_KEY | page >> 2, None)
        if self.split_tlb or self.fractured:
            self._drop_others(cpu, pcid, page)
        psc.pop(pcid << UPPER_AT, None)
        psc.pop(pcid << UPPER_AT | 1, None)
        if self.has_global:
            self._drop_global(cpu, page)

    def invpcid_page(self, cpu: int, pcid: int, page: int) -> None:
        """Execute INVPCID type 0: drop the translations of one page of one PCID and its upper entry, except globals."""
        tlb = self.tlb[cpu]
        tlb.pop(pcid << TAG_AT | page, None)
        tlb.pop(pcid << TAG_AT | HUGE_KEY | page >> 2, None)
        if self.split_tlb or self.fractured:
            self._drop_others(cpu, pcid, page)
        self.psc[cpu].pop(pcid << UPPER_AT | page >> 2, None)

    def invpcid_context(self, cpu: int, pcid: int) -> None:
        """Execute INVPCID type 1: drop everything of one PCID except globals."""
        tlb = self.tlb[cpu]
        for key in [key for key in tlb if key >> TAG_AT & TAG_MASK == pcid]:
            del tlb[key]
        psc = self.psc[cpu]
        psc.pop(pcid << UPPER_AT, None)
        psc.pop(pcid << UPPER_AT | 1, None)

    def invpcid_all(self, cpu: int, *, globals_too: bool) -> None:
        """Execute INVPCID type 2 (`globals_too`) or 3: drop everything of every PCID."""
        tlb = self.tlb[cpu]
        keep = {
            k: e for k, e in tlb.items() if k >> TAG_AT & TAG_MASK == GLOBAL_TAG and not globals_too
        }
        tlb.clear()
        tlb.update(keep)
        self.psc[cpu].clear()

    def toggle_pge(self, cpu: int) -> None:
        """Toggle CR4.PGE: drop everything, globals included."""
        self.tlb[cpu].clear()
        self.psc[cpu].clear()

    # Broadcast invalidation.

    def invlpgb(self, cpu: int, pcid: int, page: int) -> None:
        """Issue, on every processor, an invalidation of the translations of one page of one PCID and its upper entry.

        A processor that has nothing of the page cached is done at once: that leaves it the most freedom for later.
        """
        place = pcid << ISSUED_AT | page
        for target, issued in enumerate(self.issued):
            if (self.tlb[target] or self.psc[target]) and self._holds(target, pcid, page):
                issued[place] = issued.get(place, 0) | 1 << cpu

    def invlpgb_context(self, cpu: int, pcid: int) -> None:
        """Issue, on every processor, an invalidation of everything of one PCID except globals."""
        for page in range(PAGES):
            self.invlpgb(cpu, pcid, page)

    def invlpgb_nonglobals(self, cpu: int) -> None:
        """Issue, on every processor, an invalidation of everything of every PCID except globals."""
        held = {key >> TAG_AT & TAG_MASK for tlb in self.tlb for key in tlb}
        held.update([key >> UPPER_AT for psc in self.psc for key in psc])
        for pcid in sorted(held - {GLOBAL_TAG}):
            self.invlpgb_context(cpu, pcid)

    def tlbsync(self, cpu: int) -> None:
        """Wait until every processor has carried out the invalidations that this one has issued."""
        for target, issued in enumerate(self.issued):
            for place in [place for place, issuers in issued.items() if issuers >> cpu & 1]:
                # This also completes the same invalidation for every other processor that has issued it by now.
                del issued[place]
                self.invpcid_page(target, place >> ISSUED_AT, place & PAGE_MASK)

    def _carry_out(self, cpu: int, index: int) -> None:
        """Forget, before a walk caches what it reads, the invalidations below an upper entry that have nothing to drop.

        The processor may have carried them out by now, and in that case the entries that the walk caches stay.
        """
        pcid = self.pcid[cpu]
        issued = self.issued[cpu]
        upper = pcid << UPPER_AT | index
        for place in [place for place in issued if place >> 2 == upper]:
            if not self._holds(cpu, pcid, place & PAGE_MASK):
                del issued[place]

    def _holds(self, cpu: int, pcid: int, page: int) -> bool:
        """Return whether a processor has something cached that an invalidation of the page would drop."""
        tlb = self.tlb[cpu]
        tag = pcid << TAG_AT
        return (
            tag | page in tlb
            or tag | HUGE_KEY | page >> 2 in tlb
            or pcid << UPPER_AT | page >> 2 in self.psc[cpu]
            or ((self.split_tlb or self.fractured) and len(self._others(cpu, pcid, page)) > 0)
        )
