"""The vocabulary of scenarios: every kind of record, pause point, layout and machine switch.

This is the only place where a kind, its fields or its text names are listed; the binary form, the
text form, the generator and the mutators read these tables. Positions are part of the binary
format: append, never reorder.
"""

from typing import Final, Literal, NamedTuple

READ: Final = 0
WRITE: Final = 1
EXEC: Final = 2
MPROTECT: Final = 3
MUNMAP: Final = 4
MMAP: Final = 5
DONTNEED: Final = 6
FREE: Final = 7
FORK: Final = 8
UFFD_REGISTER: Final = 9
UFFD_WP: Final = 10
UFFD_UNWP: Final = 11
MREMAP: Final = 12
SWITCH: Final = 13
LAZY: Final = 14
MIGRATE: Final = 15
RECLAIM: Final = 16
AGE: Final = 17
RUN: Final = 18
FILL: Final = 19
EVICT: Final = 20
CLEAR_REFS: Final = 21
WRITEBACK: Final = 22
PUNCH: Final = 23
COLLAPSE: Final = 24
EXIT: Final = 25
POKE: Final = 26
TICK: Final = 27
PIN: Final = 28
NUMA_SCAN: Final = 29
SWAPOUT: Final = 30
COPY: Final = 31
KSM: Final = 32
SHRINK: Final = 33
REVOKE: Final = 34
PKEY_MPROTECT: Final = 35
WRPKRU: Final = 36

# Limits of the header fields. Three address spaces are enough for a parent and two children.
MAX_CPUS: Final = 8
MAX_PAGES: Final = 8
MAX_ASIDS: Final = 6
MAX_BATCH: Final = 4
MAX_SPACES: Final = 3

# Bits of a protection argument.
PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4

# The type of a mapping is the argument of mmap shifted right by MAP_SHIFT.
MAP_SHIFT: Final = 3
MAP_PRIVATE: Final = 0
MAP_SHARED: Final = 1
MAP_HUGE: Final = 2
MAP_FILE: Final = 3


# The protection key of pkey_mprotect is its argument shifted right by PKEY_SHIFT.
PKEY_SHIFT: Final = 3


class Argument(NamedTuple):
    """The argument of a kind: value ``i`` is written ``names[i]`` in text."""

    expected: str
    """What a parse error says was expected."""
    names: tuple[str, ...]
    """An empty first name may be left out."""


PROTECTIONS: Final = ("none", "r", "w", "rw", "x", "rx", "wx", "rwx")
MAP_TYPES: Final = ("private", "shared", "huge", "file")

# A kind without an argument has exactly one value, so that every argument byte reduces to 0.
NO_ARGUMENT: Final = Argument("", ("",))
PROTECTION: Final = Argument(f"a protection ({', '.join(PROTECTIONS)})", PROTECTIONS)
MAPPING: Final = Argument(
    f"a protection ({', '.join(PROTECTIONS)}) and a type ({', '.join(MAP_TYPES)})",
    tuple(f"{protection} {kind}" for kind in MAP_TYPES for protection in PROTECTIONS),
)
KEYED_PROTECTION: Final = Argument(
    f"a protection ({', '.join(PROTECTIONS)}) and a key (k0, k1, k2)",
    tuple(f"{protection} k{key}" for key in range(3) for protection in PROTECTIONS),
)
PROTECTED: Final = (PROTECTION, MAPPING, KEYED_PROTECTION)
"""Arguments whose low bits are a protection."""
KEY_RIGHTS: Final = Argument(
    "the rights (none, r, rw) to a key (k1, k2)",
    tuple(f"{rights} k{key}" for key in (1, 2) for rights in ("none", "r", "rw")),
)
SPACE: Final = Argument("an address space (mm0, mm1, mm2)", ("mm0", "mm1", "mm2"))
PLACEMENT: Final = Argument("where the pages are to be (stay, move)", ("stay", "move"))
# What an argument of the hardware is without says what it was before there was one.
FILLED: Final = Argument("'fetch' or the end of the line", ("", "fetch"))
EVICTED: Final = Argument(
    "what is evicted (upper, both, fetch) or the end of the line", ("", "upper", "both", "fetch")
)
# Only the names of pages that the scenario has are values of this argument.
DESTINATION: Final = Argument(
    "'to' and a destination page of the scenario",
    tuple(f"to p{page}" for page in range(MAX_PAGES)),
)


class Kind(NamedTuple):
    """One kind of record: which fields it uses and how it is written."""

    name: str
    """The first word after the CPU in text."""
    pages: Literal["none", "one", "range"]
    """Whether the record names no page, one page, or a range of consecutive pages."""
    pausable: bool
    """Whether the record has steps at which the CPU can pause; if not, its run field is 0."""
    argument: Argument
    summary: str


# Pages are those of the CPU's current address space, unless the argument names another.
KINDS: Final[tuple[Kind, ...]] = (
    Kind("read", "one", True, NO_ARGUMENT, "user load from a page"),
    Kind("write", "one", True, NO_ARGUMENT, "user store to a page"),
    Kind("exec", "one", True, NO_ARGUMENT, "instruction fetch from a page"),
    Kind("mprotect", "range", True, PROTECTION, "change the protection of a range"),
    Kind("munmap", "range", True, NO_ARGUMENT, "unmap a range"),
    Kind("mmap", "range", True, MAPPING, "map fresh memory over a range"),
    Kind("dontneed", "range", True, NO_ARGUMENT, "MADV_DONTNEED: drop the content of a range"),
    Kind("free", "range", True, NO_ARGUMENT, "MADV_FREE: content may be dropped lazily"),
    Kind("fork", "none", True, NO_ARGUMENT, "copy the address space, write-protecting both sides"),
    Kind("uffd_register", "range", True, NO_ARGUMENT, "register a range with userfaultfd"),
    Kind("uffd_wp", "range", True, NO_ARGUMENT, "write-protect a range through userfaultfd"),
    Kind("uffd_unwp", "range", True, NO_ARGUMENT, "undo a userfaultfd write-protection"),
    Kind("mremap", "range", True, DESTINATION, "move a range to another place"),
    Kind("switch", "none", True, SPACE, "context switch to an address space"),
    Kind("lazy", "none", True, NO_ARGUMENT, "switch to a kernel thread, entering lazy TLB mode"),
    Kind("migrate", "one", True, SPACE, "move a page to another frame"),
    Kind("reclaim", "one", True, SPACE, "discard a clean page that was lazily freed"),
    Kind("age", "one", True, SPACE, "clear the accessed bit of a page"),
    Kind("run", "none", True, NO_ARGUMENT, "go on with the operation that the CPU has in flight"),
    Kind("fill", "one", False, FILLED, "speculative fill of the TLB for a page"),
    Kind("evict", "one", False, EVICTED, "eviction of what a CPU has cached for a page"),
    Kind("clear_refs", "none", True, NO_ARGUMENT, "forget which pages were written (soft-dirty)"),
    Kind(
        "writeback", "one", True, NO_ARGUMENT, "write a dirty page of the file to its backing store"
    ),
    Kind("punch", "one", True, NO_ARGUMENT, "punch a hole into the file where it has a page"),
    Kind("collapse", "one", True, SPACE, "put a huge page in place of a table (khugepaged)"),
    Kind("exit", "none", True, NO_ARGUMENT, "the last thread of the address space exits"),
    Kind("poke", "one", True, NO_ARGUMENT, "the kernel patches text through a temporary mm"),
    Kind("tick", "none", True, NO_ARGUMENT, "the timer interrupt of a CPU: time passes"),
    Kind("pin", "one", True, NO_ARGUMENT, "the kernel pins a page without locks and reads it"),
    Kind("numa_scan", "range", True, PLACEMENT, "make the next access to each page a NUMA hint"),
    Kind("swapout", "one", True, SPACE, "write a page to swap or to its file and free its frame"),
    Kind("copy", "one", True, DESTINATION, "user load from a page and store to another one"),
    Kind("ksm", "one", True, SPACE, "merge a page with one that has the same content"),
    Kind("shrink", "none", True, NO_ARGUMENT, "free the huge zero page if nobody maps it"),
    Kind("revoke", "range", True, NO_ARGUMENT, "a driver takes back a range of its pages"),
    Kind("pkey_mprotect", "range", True, KEYED_PROTECTION, "mprotect, with a protection key"),
    Kind("wrpkru", "none", True, KEY_RIGHTS, "set what the thread may do to the pages of a key"),
)

OPERATIONS: Final = tuple(k for k in range(len(KINDS)) if k not in (RUN, FILL, EVICT))
"""What a CPU can begin; the other kinds are choices of the schedule and of the hardware."""

# The run field: 0 runs to completion, 1 to MAX_STEPS pauses after that many steps, and
# FIRST_POINT + i pauses before the first step of POINTS[i]. Values above these are reserved.
# The last point is not one of steps: it pauses where the operation has left a translation stale on
# another CPU and holds no page-table lock (run/window.py).
MAX_STEPS: Final = 15
FIRST_POINT: Final = 16
POINTS: Final = (
    "lock",
    "change",
    "commit",
    "unlock",
    "flush",
    "ack",
    "copy",
    "install",
    "free",
    "return",
    "switch",
    "fault",
    "check",
    "window",
)

WINDOW: Final = FIRST_POINT + POINTS.index("window")

# What address space 0 has mapped at the start, over all pages and with nothing populated.
LAYOUTS: Final = ("private", "empty", "shared", "huge", "readonly", "file", "pfnmap")
PRIVATE: Final = 0
EMPTY: Final = 1
SHARED: Final = 2
HUGE: Final = 3
READONLY: Final = 4
FILE: Final = 5
PFNMAP: Final = 6

# Machine switches: bit i is SWITCHES[i].
SWITCHES: Final = (
    "amd",
    "stray-dirty",
    "no-dirty-rewalk",
    "invlpgb",
    "huge-zero",
    "split-tlb",
    "fractured",
)
AMD: Final = 1
"""The CPU walks the page tables again before it delivers a fault that a TLB entry caused."""
STRAY_DIRTY: Final = 2
"""The dirty bit may appear in an entry that has just become read-only (CPUs before CET)."""
NO_DIRTY_REWALK: Final = 4
"""The CPU sets the dirty bit without checking the entry again. No known CPU does; only a scenario
written by hand asks for it, and no generator or mutator of this package sets it."""
INVLPGB: Final = 8
"""The CPU has INVLPGB and TLBSYNC, and a kernel that knows them gives busy address spaces a global ASID."""
HUGE_ZERO: Final = 16
"""The kernel maps the huge zero page in read faults of huge regions (transparent_hugepage/use_zero_page)."""
SPLIT_TLB: Final = 32
"""The CPU has one TLB for loads and stores and one for instruction fetches."""
FRACTURED: Final = 64
"""The CPU caches a huge page in pieces of 4 KiB, each when it is used."""
