"""The events of a run that the memory manager reports to an observer, which judges the run.

The observer changes nothing in the world; the world runs the same under any observer.
The order of the calls is the order of the events in time.
"""

from typing import Final, Protocol

KEY_SHIFT: Final = 3
"""The position of the protection key in the rights of a region, above READ, WRITE and EXEC."""


class Calls(Protocol):
    """The begin and the end of operations on the CPUs, and the moments from which their promises hold."""

    def began(self, cpu: int, number: int, page: int, count: int, arg: int) -> None:
        """An operation that is not an access begins on the CPU, with its number and arguments; its first steps are
        pushed, and none is done.
        """

    def withdrawn(self, cpu: int) -> None:
        """The operation that began on the CPU is blocked at its first step, and is given up without effect."""

    def forked(self, cpu: int, child: int) -> None:
        """The fork on the CPU has made the address space `child`, which it returns."""

    def close(self, cpu: int) -> None:
        """The operation on `cpu` has returned."""

    def postponed(self, cpu: int, epoch: int) -> None:
        """The promises of the CPU's operation so far hold when the epoch has ended, not when the operation returns."""

    def epoch_ended(self, epoch: int) -> None:
        """The promises that were postponed to the end of the epoch hold from here; its number may be reused."""

    def exited(self, mm: int) -> None:
        """The last thread of `mm` has exited; after that operation has closed, the number `mm` may be reused."""

    def warned(self, cpu: int, where: str) -> None:
        """An assertion of the kernel's own text has failed on the CPU: its function, place and condition."""


class Regions(Protocol):
    """Regions (VMAs), locks, and the entries of page tables."""

    def region(self, cpu: int, mm: int, page: int, rights: int) -> None:
        """The region (VMA) of the page now allows `rights`, by the operation open on `cpu`.

        `cpu`: -1 for no operation, when the world begins.
        `rights`: with the protection key above them (KEY_SHIFT); -1 if the page belongs to no region.
        """

    def lock_missing(self, cpu: int, mm: int, page: int) -> None:
        """The CPU releases the lock of a table that it does not hold, or changes an entry under the lock of another."""

    def commit(self, mm: int, page: int, entry: int) -> None:
        """An entry was stored under its lock; `entry` is the leaf that now translates the page, 0 if none does."""

    def visit(self, cpu: int, mm: int, page: int, deny: int) -> None:
        """The operation open on `cpu` has stored the page's value, or has found that it need not.

        `deny`: the kinds whose older grants must be unusable once the operation has closed.
        """

    def found_unmapped(self, cpu: int, mm: int, page: int) -> None:
        """The operation open on `cpu` ends the content of the page, and has found nothing mapped there."""

    def page_moved(self, mm: int, page: int) -> None:
        """The page is about to show the object that another page of `mm` has shown until now."""

    def tracking(self, cpu: int, mm: int) -> None:
        """The operation open on `cpu` begins to clear soft-dirty marks: once it has closed, a store must set one."""

    def skipped(self, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        """The flush strategy has decided that the change from `old` to `new` needs no flush."""


class Contents(Protocol):
    """The objects that pages show, and the frames, places of the file or swap slots that have their content."""

    def object_new(self, mm: int, page: int, frame: int) -> None:
        """The page begins a new object of zeros in `frame`."""

    def zeros(self, first: int, count: int) -> None:
        """The frames from `first` are the huge zero page: a mapping of one maps zeros, as with the zero page."""

    def object_shared(self, mm: int, frame: int) -> None:
        """`mm` maps the shared object that lives in `frame`."""

    def object_file(self, mm: int, place: int, frame: int) -> None:
        """`mm` maps the file's page at `place` (of State.shared), which lives in `frame`."""

    def object_ended(self, place: int) -> None:
        """The file's page at `place` has lost its content, and is a new page of zeros from here on."""

    def object_fork(self, parent: int, child: int, frame: int) -> None:
        """The child begins an object that is a snapshot of the parent's object in `frame`."""

    def object_copied(self, mm: int, old: int, new: int) -> None:
        """The content that `mm` (-1: every address space) has in frame `old` has been copied to frame `new`."""

    def object_left(self, mm: int, frame: int) -> None:
        """`mm` no longer maps `frame`, whose rmap was removed."""

    def merged(self, mm: int, page: int, old: int, new: int) -> None:
        """The page is about to map frame `new` instead of `old`, which has the same content."""

    def swapped_out(self, frame: int, slot: int) -> None:
        """The objects in `frame`, of all address spaces, are only in the swap slot from here on."""

    def swapped_in(self, slot: int, frame: int) -> None:
        """The objects in the slot have been read into `frame` and are there from here on."""

    def slot_left(self, mm: int, slot: int) -> None:
        """`mm` has dropped its swap entry for a slot whose content is in no frame."""

    def slot_fork(self, parent: int, child: int, slot: int) -> None:
        """The child begins an object that is a snapshot of the parent's object in a swap slot."""


class Cleaning(Protocol):
    """Pages that are written back, dropped because they are clean, or declared dispensable."""

    def cleaning(self, frame: int) -> None:
        """The file's page in `frame` is about to be marked as clean, and then written back."""

    def written(self, frame: int) -> None:
        """The content of `frame` has reached the backing store: a store from here on must make the page dirty again."""

    def copying(self, frame: int) -> None:
        """The content of `frame` is about to be copied, for a mapping that will replace those of `frame`."""

    def lazy_freed(self, cpu: int, mm: int, frame: int) -> None:
        """The operation open on `cpu` has declared the content of `mm` in the frame dispensable (MADV_FREE)."""

    def discarded(self, mm: int, page: int, frame: int) -> None:
        """The frame is dropped without write-back, because it looked clean."""


class Accesses(Protocol):
    """The values and faults that a program has seen."""

    def access(self, cpu: int, page: int, kind: int, incarnation: int, value: int) -> None:
        """A user access has succeeded on a frame; `value` is the word that it loaded or stored."""

    def denied(self, cpu: int, page: int, kind: int, rights: int) -> None:
        """A fault was delivered to the program.

        `rights`: as in `region`, as the handler has read them; -1 for MAPERR.
        """

    def key_denied(self, cpu: int, page: int, kind: int) -> None:
        """The hardware has denied an access because of the protection key of the translation that it used."""

    def fetch_denied(self, cpu: int, page: int) -> None:
        """The hardware has denied an instruction fetch because of the NX of the translation that it used."""

    def trapped(self, cpu: int, page: int) -> None:
        """A write was reported to userfaultfd instead of being carried out."""

    def unhealed(self, cpu: int, page: int, kind: int) -> None:
        """The same access has faulted repeatedly although the region and the page allow it."""


class Frames(Protocol):
    """Frames of pages and of page tables that are about to be free, and processors that still reach them."""

    def freed(self, frame: int) -> None:
        """The frame of a page is about to be free."""

    def table_freed(self, mm: int, index: int, frame: int) -> None:
        """The frame of a page table, entry `index` of the PMD table of `mm`, is about to be free."""

    def table_loaded(self, cpu: int, mm: int, root: int) -> None:
        """The CPU has loaded `root`, the top-level table of `mm`."""


class Walkers(Protocol):
    """Walks of page tables without a lock (GUP-fast), and the references that they take."""

    def walk_began(self, cpu: int, table: int) -> None:
        """The CPU has disabled interrupts, and from here on reads the page table in frame `table` without a lock."""

    def walk_ended(self, cpu: int) -> None:
        """The CPU has enabled interrupts after a walk without locks, and reads no page table any more."""

    def grabbed(self, cpu: int, frame: int) -> None:
        """The walk on the CPU has taken a reference of the frame, before it knows whether it may keep it."""

    def pinned(self, cpu: int, page: int, frame: int) -> None:
        """The walk on the CPU keeps its reference: the caller gets the frame for the page."""

    def pin_read(self, cpu: int, page: int, frame: int, value: int) -> None:
        """The kernel, or a device, has read `value` from the frame that is pinned for the page."""


class Observer(Calls, Regions, Contents, Cleaning, Accesses, Frames, Walkers, Protocol):
    """A receiver of the events of correctness.md section 1.

    `mm`, `page`, `frame` and `cpu`: indices.
    `kind`: READ, WRITE or EXEC.
    `incarnation`: `generation << 6 | frame`.
    """
