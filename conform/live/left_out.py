"""What cannot be driven from user space, and what this host does not allow: each with its reason."""

import errno
import os
from typing import Final

from shootdown.conform.live.commands import (
    HAS_EXEC,
    HAS_FILE,
    HAS_PAGEMAP,
    HAS_UFFD,
    HAS_UFFD_SHMEM,
)
from shootdown.conform.live.host import Host
from shootdown.conform.live.sequences import DRIVEN
from shootdown.scenario import Record, Scenario, kinds

NEVER: Final = {
    "migrate": "the kernel chooses when a page may move",
    "reclaim": "it depends on the machine's memory and its LRU lists",
    "swapout": "it needs swap, which is machine-wide",
    "numa_scan": "it needs a second NUMA node, and comes when the scheduler wants it",
    "ksm": "ksmd is machine-wide",
    "shrink": "the shrinker is machine-wide",
    "revoke": "it needs a driver",
    "poke": "it patches the kernel's text",
    "tick": "it comes by itself",
    "pin": "what the kernel reads through a pin is no outcome of the program",
    "pkey_mprotect": "the driver has no protection keys",
    "wrpkru": "the driver has no protection keys",
    "run": "no operation can be paused at a chosen step",
    "fill": "the hardware chooses",
    "evict": "the hardware chooses",
}
"""Kinds of record that no program can ask for, or that have more than one outcome."""

_UNDECIDED = (
    {kind.name for kind in kinds.KINDS} ^ NEVER.keys() ^ {kinds.KINDS[kind].name for kind in DRIVEN}
)
if _UNDECIDED:
    message = (
        f"conform/live: {', '.join(sorted(_UNDECIDED))} is neither driven nor left out, or both"
    )
    raise ValueError(message)


def is_driven(scenario: Scenario, driven: tuple[int, ...], features: int, cpus: int) -> bool:
    """Return whether every operation can be driven on a host, on CPUs that exist, and runs to its end at once."""
    header, records = scenario
    if header.cpus > cpus or header.machine or header.layout == kinds.PFNMAP:
        return False
    if not all(record[0] in driven and not record[2] for record in records):
        return False
    if header.layout == kinds.FILE and not features & HAS_FILE:
        return False
    return bool(features & HAS_EXEC) or not any(makes_executable(one) for one in records)


def makes_executable(record: Record) -> bool:
    """Return whether an operation asks for PROT_EXEC."""
    return record[0] in (kinds.MPROTECT, kinds.MMAP) and bool(record[5] & kinds.PROT_EXEC)


UFFD_KINDS: Final = (kinds.UFFD_REGISTER, kinds.UFFD_WP, kinds.UFFD_UNWP)
FILE_KINDS: Final = (kinds.WRITEBACK, kinds.PUNCH)
COLLAPSE_SINCE: Final = (6, 1)
"""MADV_COLLAPSE, 7d8faaf15545."""


def driven_on(
    host: Host, cpus: int, features: int, uffd_error: int
) -> tuple[tuple[int, ...], list[str]]:
    """Return the kinds that can be driven on a host, and a line for each thing that the host lacks."""
    without: set[int] = set()
    lines: list[str] = []
    if not features & HAS_UFFD:
        without |= set(UFFD_KINDS)
        why = os.strerror(uffd_error) if uffd_error else "the kernel has none"
        if uffd_error == errno.EPERM:
            why += ": vm.unprivileged_userfaultfd is 0, or a sandbox forbids it"
        lines.append(f"userfaultfd: {why}.")
    elif not features & HAS_UFFD_SHMEM:
        without |= set(UFFD_KINDS)
        lines.append("userfaultfd: it does not write-protect shared memory before 5.19.")
    if not features & HAS_FILE:
        without |= set(FILE_KINDS)
        lines.append(
            "the file: TMPDIR, /var/tmp and this folder are in memory, noexec, or not writable."
        )
    if not features & HAS_EXEC:
        without.add(kinds.EXEC)
        lines.append("executable memory: the system refuses to make any (MDWE, SELinux or noexec).")
    if host.version < COLLAPSE_SINCE:
        without.add(kinds.COLLAPSE)
        lines.append("collapse: MADV_COLLAPSE exists since 6.1.")
    if not features & HAS_PAGEMAP:
        lines.append("what is mapped: /proc/self/pagemap cannot be read.")
    if host.huge_pages not in ("always", "madvise"):
        lines.append(f"huge pages: transparent_hugepage/enabled is {host.huge_pages}.")
    if cpus == 1:
        lines.append(
            "a second CPU: this process may use only one, so no two threads run at the same time."
        )
    return tuple(kind for kind in DRIVEN if kind not in without), lines
