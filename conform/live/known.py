"""Where Linux is known to behave differently from the models: by release, with the kernel's function.

The models follow one text of Linux (MODELLED). If the kernel of a host differs, it is compared up to the operation that
differs. A difference that always exists, and is no outcome of an access, is not compared in its direction.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from shootdown.conform.live.host import Host, Release
from shootdown.mm.state import VM_MAPPED, VM_UFFD_WP
from shootdown.mm.vma import vmas_in, whole_vmas
from shootdown.mm.world import World
from shootdown.scenario import Record, kinds

MODELLED: Final = (7, 3)
FOR_EVER: Final = (999, 0)

Applies = Callable[[World, Record], bool]
"""Whether a record that is about to begin in the world is an operation that a kernel performs differently."""


class Known(NamedTuple):
    """One difference; the kernels from `since` up to the one before `until` have it."""

    name: str
    since: Release
    until: Release
    function: str
    says: str
    applies: Applies


def _several_regions(w: World, record: Record) -> bool:
    kind, cpu, _, page, count, _ = record
    regions = w.vma[w.task_mm[cpu]]
    found = vmas_in(regions, page, count)
    return kind == kinds.MREMAP and (len(found) > 1 or sum(length for _, length in found) < count)


def _partly_registered(w: World, record: Record) -> bool:
    kind, cpu, _, page, count, _ = record
    regions = w.vma[w.task_mm[cpu]][page : page + count]
    alike = {(vma & VM_MAPPED, vma & VM_UFFD_WP, vma & 7) for vma in regions}
    return kind in (kinds.UFFD_WP, kinds.UFFD_UNWP) and len(alike) > 1


def _registered_part(w: World, record: Record) -> bool:
    kind, cpu, _, page, count, _ = record
    regions = w.vma[w.task_mm[cpu]]
    if kind != kinds.MREMAP or not any(vma & VM_UFFD_WP for vma in regions[page : page + count]):
        return False
    return count > 1 or whole_vmas(regions, 1 << page) != 1 << page


def _only_fetches(_w: World, record: Record) -> bool:
    kind, *_, arg = record
    return kind in (kinds.MPROTECT, kinds.MMAP) and arg & 7 == kinds.PROT_EXEC


EXECUTE_ONLY: Final = Known(
    "execute-only-key",
    (4, 9),
    FOR_EVER,
    "execute_only_pkey, arch/x86/mm/pkeys.c",
    "a region with PROT_EXEC alone gets a protection key that denies loads; in the models it allows them",
    _only_fetches,
)
"""On processors with protection keys."""

BY_RELEASE: Final = (
    Known(
        "mremap-of-registered-part",
        (0, 0),
        FOR_EVER,
        "copy_vma, mm/vma.c; mremap_userfaultfd_prep, mm/userfaultfd.c",
        "a part that moves beside its region is merged with it, and all of that loses its registration; and what was"
        " moved is no part of the region around it (vm_pgoff)",
        _registered_part,
    ),
    Known(
        "mremap-one-region",
        (0, 0),
        (6, 17),
        "vma_to_resize, mm/mremap.c",
        "mremap of a range with several regions or holes is refused (EFAULT); remap_move moves them since 6.17",
        _several_regions,
    ),
    Known(
        "uffd-wp-one-region",
        (0, 0),
        (6, 3),
        "mwriteprotect_range, mm/userfaultfd.c",
        "UFFDIO_WRITEPROTECT of a range that is not of one region is refused (ENOENT)",
        _partly_registered,
    ),
)
"""Differences by release. The releases come from the texts of 6.1, 6.12 and 7.3, and from the live kernel 6.18; the
numbers between are assumptions.
"""

FAULT_AROUND: Final = "fault-around"
ZERO_PAGE: Final = "fork-leaves-zero-pages"
ALWAYS: Final = {
    FAULT_AROUND: (
        "do_fault_around, mm/memory.c",
        "a load maps what the page cache has around its page of a file or of shared memory; the models map the page",
    ),
    ZERO_PAGE: (
        "vma_needs_copy, mm/memory.c",
        (
            "fork leaves a private region without anonymous memory to the child's faults; the models copy its zero"
            " pages, and a sequence ends that write-protects one"
        ),
    ),
}
"""Differences in what is mapped that no access can see, by name: the kernel's function, and what it does."""


def known_on(host: Host) -> tuple[Known, ...]:
    """Return the differences that a host has, according to the release of its kernel and its processor."""
    all_known = (*BY_RELEASE, *([EXECUTE_ONLY] if "ospke" in host.flags else []))
    return tuple(known for known in all_known if known.since <= host.version < known.until)
