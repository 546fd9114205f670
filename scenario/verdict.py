"""The three verdicts and the closed list of reasons; the words are stable, because they are keys of the findings
database.
"""

from typing import Final

LEGAL: Final = "legal"
ILLEGAL: Final = "illegal"
UNDECIDED: Final = "undecided"

REASONS: Final[dict[str, tuple[str, str]]] = {
    "stale-grant": ("C1", "an access used a translation that a completed operation had revoked"),
    "dropped-page-comes-back": (
        "C1",
        "a page shows again what a completed munmap or MADV_DONTNEED had dropped",
    ),
    "denied-though-allowed": ("C2", "a fault was delivered although the region allows the access"),
    "fault-never-heals": (
        "C2",
        "the same access faulted again and again although the region allows it",
    ),
    "trapped-without-cause": (
        "C2",
        "userfaultfd was told of a write to a page that is not write-protected",
    ),
    "access-to-freed-frame": ("C3", "an access used a frame that had been freed"),
    "freed-frame-still-cached": ("C3", "a frame was freed while a TLB could still translate to it"),
    "freed-table-still-cached": (
        "C3",
        "a page table was freed while CR3 or a paging-structure cache held it",
    ),
    "freed-table-loaded": ("C3", "a CPU loaded a top-level page table that had been freed"),
    "freed-table-still-walked": (
        "C3",
        "a page table was freed while a lockless walker was still reading it",
    ),
    "lost-store": ("C4", "a load did not return the last value stored"),
    "copied-under-a-writer": (
        "C4",
        "a page was copied while a TLB could still write to it without a fault",
    ),
    "copy-missed-a-store": (
        "C4",
        "a copy was mapped that lacks a store made through an older translation",
    ),
    "store-to-abandoned-frame": (
        "C4",
        "a store went to a frame that no longer holds the page's content",
    ),
    "pinned-behind-unmapping": (
        "C4",
        "a lockless walker returned a page that was no longer mapped when it took its reference",
    ),
    "dirty-lost": ("C5", "a page was dropped as clean although it had been written"),
    "write-untracked": ("C5", "a store after clear_refs left no soft-dirty mark"),
    "store-not-written-back": (
        "C5",
        "a store to the file left no dirty mark after its writeback: it never reaches the backing store",
    ),
    "stale-entry-at-rest": (
        "C6",
        "with nothing in flight a TLB entry grants more than the page table",
    ),
    "access-outside-region": (
        "C7",
        "an access succeeded that no region made by the calls allows",
    ),
    "denied-inside-region": (
        "C7",
        "a fault was delivered although every region made by the calls allows the access",
    ),
    "content-not-of-calls": (
        "C7",
        "a load returned what neither the stores nor the calls explain",
    ),
    "write-not-trapped": (
        "C7",
        "a store reached a page that a call had write-protected for userfaultfd",
    ),
    "trapped-unprotected": (
        "C7",
        "userfaultfd was told of a write to a page that no call had write-protected",
    ),
    "fork-without-need-to-fail": (
        "C7",
        "a fork failed although an address space was free",
    ),
    "lock-not-held": (
        "C7",
        "an entry was changed under another CPU's page-table lock, or a lock was released that was not held",
    ),
    "call-never-returns": (
        "C7",
        "with nothing left to do an operation has not returned",
    ),
    "region-not-of-calls": (
        "C7",
        "with nothing in flight a region is not what the calls have made it",
    ),
    "entry-beyond-region": (
        "C7",
        "with nothing in flight an entry grants what its region does not, or lacks its mark",
    ),
    "frame-leaked": (
        "C7",
        "with nothing in flight a frame or swap slot is neither free nor reachable",
    ),
    "free-frame-in-use": (
        "C7",
        "with nothing in flight a free frame is still reachable",
    ),
    "reference-miscounted": (
        "C7",
        "with nothing in flight the references of a frame or swap slot differ from their count",
    ),
    "rmap-differs-from-tables": (
        "C7",
        "with nothing in flight the reverse map names other entries than the page tables have",
    ),
    "pkru-not-of-thread": (
        "C7",
        "with nothing in flight the PKRU of a thread differs from what it has written",
    ),
    "lock-left-held": (
        "C7",
        "with nothing in flight a lock is held or interrupts are disabled",
    ),
    "kernel-warning": ("C8", "an assertion of the kernel's own text has failed"),
    "kernel-stuck": ("C8", "every CPU waits for another one in the kernel's own text"),
    "pending-never-zero": (
        "cost",
        "with nothing in flight tlb_flush_pending is not zero: every flush is a full one",
    ),
}
"""Reason: the rule that it breaks (correctness.md C1 to C8, or "cost" for a counter), and what it means."""


def meaning_of(reason: str) -> str:
    """Return what a reason of REASONS means, as a sentence."""
    _, meaning = REASONS[reason]
    return f"{meaning[:1].upper()}{meaning[1:]}."


UNDECIDED_REASONS: Final[dict[str, str]] = {
    "out-of-memory": "no frame was free",
    "step-limit": "the run did not end within the step limit",
}

RULES: Final = {
    "C1": "An access uses only a translation that no completed operation has revoked.",
    "C2": "A fault reaches the program only if the region denies the access: a stale TLB may grant, never deny.",
    "C3": "No frame is freed while a TLB or a page walk can still reach it.",
    "C4": "No store is lost, and none reaches a page that has another owner by then.",
    "C5": "A written page is not taken for clean: neither dropped, nor missed by soft-dirty tracking or writeback.",
    "C6": "With nothing in flight, no TLB entry grants more than the page table does.",
    "C7": "Calls do what their arguments say, whatever the memory manager has stored, and leave nothing behind.",
    "C8": "The assertions of a kernel's own text hold (WARN_ON, VM_WARN_ON, BUG_ON), and it does not deadlock.",
    "cost": "With nothing in flight, no flush is pending.",
}
"""What each rule of correctness.md demands."""
