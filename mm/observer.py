"""What the memory manager reports about a run, to whoever judges it.

The observer changes nothing in the world; the world runs the same under any observer.
Instants are the order of the calls.
"""

from typing import Final, Protocol

KEY_SHIFT: Final = 3
"""Above READ, WRITE and EXEC: the protection key in what a region allows."""


class Calls(Protocol):
    """What operations begin and end on the CPUs, and when what they promise holds."""

    def began(self, cpu: int, number: int, page: int, count: int, arg: int) -> None:
        """An operation that is no access begins on the CPU, by its number and arguments; its own steps are there, and
        none was made.
        """

    def withdrawn(self, cpu: int) -> None:
        """The operation that began on the CPU was blocked at its first step, and is given up without effect."""

    def forked(self, cpu: int, child: int) -> None:
        """The fork on the CPU has made the address space `child`, which it returns."""

    def close(self, cpu: int) -> None:
        """The operation open on `cpu` returned."""

    def postponed(self, cpu: int, epoch: int) -> None:
        """What the CPU's operation has promised so far holds when the epoch has ended, not when it returns."""

    def epoch_ended(self, epoch: int) -> None:
        """What was postponed to the end of the epoch holds from here; the number may name another one."""

    def exited(self, mm: int) -> None:
        """The last thread of `mm` has exited; when the operation that does it has closed, `mm` may name another."""


class Regions(Protocol):
    """Regions (VMAs), locks, and the entries of page tables."""

    def region(self, cpu: int, mm: int, page: int, rights: int) -> None:
        """By the operation open on `cpu` (-1: none, the world begins) the region (VMA) of the page now allows `rights`,
        with its protection key above them (KEY_SHIFT); -1 when the page belongs to no region.
        """

    def lock_missing(self, cpu: int, mm: int, page: int) -> None:
        """The CPU releases the lock of a table that it does not hold, or changes an entry under somebody else's."""

    def commit(self, mm: int, page: int, entry: int) -> None:
        """A PTE store under the lock; `entry` is the leaf that now translates the page, 0 if none does."""

    def visit(self, cpu: int, mm: int, page: int, deny: int) -> None:
        """The operation open on `cpu` stored the page's value, or saw that none had to be stored.

        `deny`: the kinds whose older grants must be unusable once the operation has closed.
        """

    def found_unmapped(self, cpu: int, mm: int, page: int) -> None:
        """The operation open on `cpu` ends what the page contains, and found nothing mapped there."""

    def page_moved(self, mm: int, page: int) -> None:
        """The page is about to show what another page of `mm` has shown until now."""

    def tracking(self, cpu: int, mm: int) -> None:
        """The operation open on `cpu` begins to clear soft-dirty marks: once it has closed, a store must set one."""

    def skipped(self, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        """The flush strategy decided that the change from `old` to `new` needs no flush."""


class Contents(Protocol):
    """The objects that pages show: which frame, place of the file or swap slot has the content of which."""

    def object_new(self, mm: int, page: int, frame: int) -> None:
        """The page begins a new object of zeros in `frame`."""

    def zeros(self, first: int, count: int) -> None:
        """The frames from `first` are the huge zero page: whoever maps one maps zeros, as with the zero page."""

    def object_shared(self, mm: int, frame: int) -> None:
        """`mm` maps the shared object that lives in `frame`."""

    def object_file(self, mm: int, place: int, frame: int) -> None:
        """`mm` maps the file's page at `place` (of State.shared), which lives in `frame`."""

    def object_ended(self, place: int) -> None:
        """The file's page at `place` has lost its content: from here on it is a new page of zeros."""

    def object_fork(self, parent: int, child: int, frame: int) -> None:
        """The child begins an object that is a snapshot of the parent's object in `frame`."""

    def object_copied(self, mm: int, old: int, new: int) -> None:
        """The content that `mm` (-1: every address space) has in frame `old` was copied to frame `new`."""

    def object_left(self, mm: int, frame: int) -> None:
        """`mm` no longer maps `frame` (its rmap was removed)."""

    def merged(self, mm: int, page: int, old: int, new: int) -> None:
        """The page is about to map frame `new`, whose content is that of its own in `old`, which it leaves."""

    def swapped_out(self, frame: int, slot: int) -> None:
        """Whatever lives in `frame`, of any address space, lives in the swap slot alone from here on."""

    def swapped_in(self, slot: int, frame: int) -> None:
        """What lives in the slot was read into `frame` and lives there."""

    def slot_left(self, mm: int, slot: int) -> None:
        """`mm` has dropped its swap entry of a slot whose content is in no frame."""

    def slot_fork(self, parent: int, child: int, slot: int) -> None:
        """As object_fork, of the parent's object in a swap slot."""


class Cleaning(Protocol):
    """What is written back, dropped or declared dispensable because it is clean, or will not be missed."""

    def cleaning(self, frame: int) -> None:
        """The file's page in `frame` is about to be taken for clean, and then written back."""

    def written(self, frame: int) -> None:
        """The content of `frame` has reached the backing store: a store from here on must make the page dirty again."""

    def copying(self, frame: int) -> None:
        """The content of `frame` is about to be copied, for a mapping that will replace those of `frame`."""

    def lazy_freed(self, cpu: int, mm: int, frame: int) -> None:
        """The operation open on `cpu` declared what `mm` has in the frame dispensable (MADV_FREE)."""

    def discarded(self, mm: int, page: int, frame: int) -> None:
        """The frame is dropped without write-back because it looked clean."""


class Accesses(Protocol):
    """What a program has seen: values and faults."""

    def access(self, cpu: int, page: int, kind: int, incarnation: int, value: int) -> None:
        """A user access succeeded on a frame; `value` is the word loaded or stored."""

    def denied(self, cpu: int, page: int, kind: int, rights: int) -> None:
        """A fault was delivered to the program; `rights` as in `region`, as the handler saw it, -1 for MAPERR."""

    def key_denied(self, cpu: int, page: int, kind: int) -> None:
        """The hardware has denied an access because of the protection key of the translation that it used."""

    def fetch_denied(self, cpu: int, page: int) -> None:
        """The hardware has denied an instruction fetch because of the NX of the translation that it used."""

    def trapped(self, cpu: int, page: int) -> None:
        """A write was reported to userfaultfd instead of carried out."""

    def unhealed(self, cpu: int, page: int, kind: int) -> None:
        """The same access faulted again and again although the region and the page allow it."""


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
        """The CPU has disabled interrupts and reads the page table in frame `table`, without a lock, from here on."""

    def walk_ended(self, cpu: int) -> None:
        """The CPU has enabled interrupts again, after a walk without locks; it reads no page table any more."""

    def grabbed(self, cpu: int, frame: int) -> None:
        """The walk on the CPU has taken a reference of the frame, and does not know yet if it may keep it."""

    def pinned(self, cpu: int, page: int, frame: int) -> None:
        """The walk on the CPU keeps its reference: the caller gets the frame for the page."""

    def pin_read(self, cpu: int, page: int, frame: int, value: int) -> None:
        """The kernel, or a device, has read `value` from the frame that is pinned for the page."""


class Observer(Calls, Regions, Contents, Cleaning, Accesses, Frames, Walkers, Protocol):
    """Receiver of the events of correctness.md section 1.

    `mm`, `page`, `frame` and `cpu` are indices; `kind` is READ, WRITE or EXEC; `kinds` a union of them.
    `incarnation` is `generation << 6 | frame`.
    """
