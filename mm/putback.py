"""A page that reclaim has unmapped and cannot free: it is unlocked, flushed, and its reference dropped."""

from shootdown.mm.frames import put_page
from shootdown.mm.operation import due_free
from shootdown.mm.rmap import unlock_page
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World


def is_freeable(w: World, frame: int) -> bool:
    """is_page_cache_freeable: the page cache, or the swap cache, and this reclaim have the only references."""
    return w.refs[frame] == 2


def push_unless_referenced(w: World, cpu: int, frame: int, *steps: Step) -> None:
    """Push what becomes of an unmapped page; it is kept if others have a reference to it."""
    if is_freeable(w, frame):
        push(w, cpu, *steps)
    else:
        push(w, cpu, (keep_folio, frame))


@step("folio_unlock", "unlock", takes="frame")
def keep_folio(w: World, cpu: int, s: Step) -> None:
    """A fault finds the folio in its cache from here on, while the flush is still to come."""
    _, frame = s
    unlock_page(w, frame)
    push(w, cpu, (due_free,), (putback, frame))


@step("folio_putback_lru", "free", takes="frame")
def putback(w: World, _cpu: int, s: Step) -> None:
    _, frame = s
    put_page(w, frame)
