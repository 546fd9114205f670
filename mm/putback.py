"""The end of a page that reclaim has unmapped and cannot free: it is unlocked, flushed, and its reference dropped."""

from shootdown.mm.frames import put_page
from shootdown.mm.operation import due_free
from shootdown.mm.rmap import unlock_page
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World


def is_freeable(w: World, frame: int) -> bool:
    """Return whether only the page or swap cache and this reclaim have a reference (is_page_cache_freeable)."""
    return w.refs[frame] == 2


def push_unless_referenced(w: World, cpu: int, frame: int, *steps: Step) -> None:
    """Push the steps for an unmapped page, or keep the page if it has other references."""
    if is_freeable(w, frame):
        push(w, cpu, *steps)
    else:
        push(w, cpu, (keep_folio, frame))


@step("folio_unlock", "unlock", takes="frame")
def keep_folio(w: World, cpu: int, s: Step) -> None:
    """Unlock the folio: faults find it in its cache from here on, before the flush."""
    _, frame = s
    unlock_page(w, frame)
    push(w, cpu, (due_free,), (putback, frame))


@step("folio_putback_lru", "free", takes="frame")
def putback(w: World, _cpu: int, s: Step) -> None:
    _, frame = s
    put_page(w, frame)
