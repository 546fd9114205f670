"""Where QEMU's MMU is not like the machine, and what the manuals say about it; nothing else is forgiven.

An outcome that the machine shows only after it has dropped something is assigned to one of DROPS, according to what had
to be dropped; if no name covers it, it is a disagreement. For the deviations in REPAIRED the comparison executes an
instruction that makes up for them.
"""

from typing import Final, NamedTuple


class Known(NamedTuple):
    """A deviation of QEMU: what it does, where a manual permits or contradicts it, and how it is recognized."""

    does: str
    manual: str
    permitted: bool
    recognised: str


WALKS_AGAIN: Final = "walks-again"
NO_UPPER_CACHE: Final = "no-upper-cache"
NO_GLOBALS: Final = "global-by-pcid"
WRPKRU_DROPS: Final = "wrpkru-drops"
LARGE_REGION: Final = "large-region"
CODE_MEMORY: Final = "code-memory"

DROPS: Final = {
    WALKS_AGAIN: Known(
        "an entry that denies an access, or a clean one that a store hits, is replaced by a new walk",
        "SDM vol. 3A 4.10.4.3 (a spurious fault may happen, it need not); APM vol. 2 5.5.3",
        permitted=True,
        recognised="the entry that was dropped does not permit the access by itself",
    ),
    NO_UPPER_CACHE: Known(
        "there is no paging-structure cache: each walk reads both levels",
        "SDM vol. 3A 4.10.3 (a processor may have such caches)",
        permitted=True,
        recognised="an upper entry was dropped",
    ),
    NO_GLOBALS: Known(
        "MOV to CR3 drops global entries as well, and the instance of one PCID does not see those of another",
        "SDM vol. 3A 4.10.2.4 (they may be used in every PCID), 4.10.2.3 (they need not be kept)",
        permitted=True,
        recognised="a global entry was dropped, or one of a page of which a global entry was dropped in another PCID",
    ),
    WRPKRU_DROPS: Known(
        "WRPKRU drops everything",
        "SDM vol. 3A 4.6.2 (no flush is needed), 4.10.2.3 (how long an entry stays is up to the processor)",
        permitted=True,
        recognised="the entry was cached when a WRPKRU was executed",
    ),
    LARGE_REGION: Known(
        "INVLPG inside a leaf of 2 MiB that is cached drops everything of its PCID",
        "SDM vol. 2 INVLPG (it may drop more than the entry of the page)",
        permitted=True,
        recognised="the entry was cached at such an INVLPG; in the exact mode the machine drops everything as well",
    ),
    CODE_MEMORY: Known(
        "a fetch may use translated code that is remembered by its virtual address, beside the TLB",
        "SDM vol. 3A 4.10.2.2 (there may be a TLB for instructions)",
        permitted=True,
        recognised=(
            "of a machine with two TLBs, a translation for fetches was dropped, or one that a fetch has met; and a"
            " fetch that meets what one before it has met says nothing of the TLB"
        ),
    ),
}

REPAIRED: Final = {
    "fault-keeps": Known(
        "a page fault drops nothing",
        "SDM vol. 3A 4.10.4.1 (it drops the entries of the page)",
        permitted=False,
        recognised="INVLPG for the page is executed after each fault",
    ),
    "large-code": Known(
        "INVLPG drops what is remembered of the code of one page of 4 KiB, also where a leaf of 2 MiB maps it",
        "SDM vol. 3A 4.10.4.1 (INVLPG drops all entries of the larger page)",
        permitted=False,
        recognised="MOV to CR3 is executed as well where such a leaf may be cached",
    ),
    "dirty-replaces": Known(
        "the walk that sets D caches all that it has read, where the machine sets D in the entry that was cached",
        "SDM vol. 3A 4.10.2.3 (a walk may be cached, and the old entry need not be kept)",
        permitted=True,
        recognised="in the exact mode the machine's entry is evicted and filled after such a store; else walks-again",
    ),
    "no-pcid": Known(
        "there are no PCIDs: MOV to CR3 drops everything",
        "SDM vol. 3A 4.10.1 (CPUID says whether there are)",
        permitted=True,
        recognised="an instance for each PCID; noflush leaves CR3 alone and writes the entry above the page directory",
    ),
    "no-invpcid": Known(
        "there is no INVPCID, and no INVLPGB",
        "SDM vol. 2 INVPCID (CPUID says whether there is)",
        permitted=True,
        recognised="INVLPG or MOV to CR3 in the instance of the PCID; broadcasts are not compared",
    ),
}
