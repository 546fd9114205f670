"""Small page tables by hand, for the tests of the machine: one table under a root, some data frames."""

from shootdown.machine.entry import PRESENT, PSE, RW, USER
from shootdown.machine.geometry import FRAME_BITS
from shootdown.machine.x86 import Machine

ROOT = 1
TABLE = 2
DATA = 3
OTHER = 4
SPARE_TABLE = 5
HUGE = 8
"""The first frame of a naturally aligned block."""

TABLE_ENTRY = PRESENT | RW | USER
LEAF = PRESENT | RW | USER
PCID = 1


def machine_with(
    leaf: int, *, upper: int = TABLE_ENTRY, cpus: int = 1, **switches: bool
) -> Machine:
    """Return a machine whose CPUs have loaded a table that maps page 0 to DATA by `leaf`, below the entry `upper`."""
    m = Machine(cpus, **switches)
    for frame in (ROOT, TABLE, SPARE_TABLE):
        m.poison(frame, 0)
    set_upper(m, upper)
    set_leaf(m, leaf)
    for cpu in range(cpus):
        m.load_cr3(cpu, ROOT, PCID, noflush=False)
    return m


def machine_with_huge(leaf: int, *, cpus: int = 1, **switches: bool) -> Machine:
    """Return a machine whose pages 0 to 3 are mapped to HUGE to HUGE + 3 by one leaf of 2 MiB."""
    m = machine_with(0, cpus=cpus, **switches)
    m.write_entry(ROOT, 0, FRAME_BITS[HUGE] | PSE | leaf)
    return m


def set_leaf(m: Machine, leaf: int, *, page: int = 0, frame: int = DATA) -> None:
    """Store the PTE of a page of the first table; without bits it is cleared."""
    m.write_entry(TABLE, page, FRAME_BITS[frame] | leaf if leaf else 0)


def set_upper(m: Machine, upper: int, *, frame: int = TABLE) -> None:
    """Store the PMD entry of the first table; without bits it is cleared."""
    m.write_entry(ROOT, 0, FRAME_BITS[frame] | upper if upper else 0)


def leaf_of(m: Machine, page: int = 0) -> int:
    """Return the PTE of a page of the first table."""
    return m.read_entry(TABLE, page)


def frame_in(entry: int) -> int:
    """Return the frame that a TLB entry translates to."""
    assert entry >= 0, f"the access faulted with error code {-entry:#x}"
    return entry >> 8 & 63


def cached(m: Machine, page: int = 0, *, cpu: int = 0, pcid: int = PCID) -> int | None:
    """Return the TLB entry of a page of 4 KiB under a PCID, None when there is none."""
    return m.tlb[cpu].get(pcid << 4 | page)


def cached_huge(m: Machine, page: int = 0, *, cpu: int = 0, pcid: int = PCID) -> int | None:
    """Return the TLB entry of 2 MiB that covers a page under a PCID, None when there is none."""
    return m.tlb[cpu].get(pcid << 4 | 8 | page >> 2)


def cached_upper(m: Machine, page: int = 0, *, cpu: int = 0, pcid: int = PCID) -> int | None:
    """Return the paging-structure entry that covers a page under a PCID, None when there is none."""
    return m.psc[cpu].get(pcid << 1 | page >> 2)
