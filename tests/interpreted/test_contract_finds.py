"""Mistakes of the memory manager that C1 to C6 accept as legal, because they judge by what it stores: C7 finds them."""

from collections.abc import Callable

import pytest

from shootdown.mm import exit as ends
from shootdown.mm import fork, migrate
from shootdown.mm import step as engine
from shootdown.mm.change_protection import change_pmd
from shootdown.mm.fork import copy_pte
from shootdown.mm.state import NOBODY, Step
from shootdown.mm.step import STEPS, StepFunction
from shootdown.mm.tables import is_swap, pmd_of, pte_of
from shootdown.mm.world import World
from shootdown.mm.zap import zap_huge_pmd
from shootdown.optimized import gathers
from shootdown.optimized.policies import REGISTRY
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import execute
from shootdown.run.lockstep import compare
from shootdown.scenario import Scenario, parse
from shootdown.scenario.verdict import LEGAL

Patch = pytest.MonkeyPatch


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def replace(patch: Patch, code: int, function: StepFunction) -> None:
    """Have the steps of this code do something else."""
    steps = STEPS.copy()
    steps[code] = function
    patch.setattr(engine, "STEPS", steps)


def write_protect_nothing(patch: Patch) -> None:
    """Let UFFDIO_WRITEPROTECT walk nothing."""
    replace(patch, change_pmd, nothing)


def give_up_on_split(patch: Patch) -> None:
    """Let a zap give up when the huge page has been split since its check."""
    real = STEPS[zap_huge_pmd]

    def zap(w: World, cpu: int, s: Step) -> bool | None:
        if pmd_of(w, s[1], s[2]) & 1 << 7:
            return real(w, cpu, s)
        w.pmd_lock[s[1]] = NOBODY
        return None

    replace(patch, zap_huge_pmd, zap)


def forget_swap(patch: Patch) -> None:
    """Let fork skip swap entries."""
    real = STEPS[copy_pte]

    def copy(w: World, cpu: int, s: Step) -> bool | None:
        return None if is_swap(pte_of(w, s[1], s[3])) else real(w, cpu, s)

    replace(patch, copy_pte, copy)


def share_nothing(patch: Patch) -> None:
    """Let fork take no reference to what it shares."""
    patch.setattr(fork, "get_page", nothing)


def keep_rmap(patch: Patch) -> None:
    """Let migration of a page of the file leave its reverse map."""
    patch.setattr(migrate, "add_rmap", nothing)


def never_free(patch: Patch) -> None:
    """Never free the frames that a gather has queued."""
    patch.setattr(gathers, "put_page", nothing)


def keep_pkru(patch: Patch) -> None:
    """Leave the PKRU of the threads of an ended address space to those of the next one."""
    patch.setattr(ends, "threads_gone", nothing)


STORIES: list[tuple[Callable[[Patch], None], str, str, str]] = [
    (
        write_protect_nothing,
        "layout private",
        "cpu0 write p0; cpu0 uffd_register p0; cpu0 uffd_wp p0",
        "entry-beyond-region",
    ),
    (
        give_up_on_split,
        "layout huge",
        "cpu0 write p0; cpu1 dontneed p0-p3 for 3; cpu0 numa_scan p0 stay; cpu1 run",
        "content-not-of-calls",
    ),
    (
        forget_swap,
        "layout private",
        "cpu0 write p0; cpu0 swapout p0 mm0; cpu0 fork",
        "content-not-of-calls",
    ),
    (
        share_nothing,
        "layout private",
        "cpu0 write p0; cpu0 fork",
        "reference-miscounted",
    ),
    (
        keep_rmap,
        "layout file",
        "cpu0 write p0; cpu0 migrate p0 mm0",
        "rmap-differs-from-tables",
    ),
    (
        never_free,
        "layout private",
        "cpu0 write p0; cpu0 munmap p0",
        "frame-leaked",
    ),
    (
        keep_pkru,
        "layout private",
        "cpu0 fork; cpu1 switch mm1; cpu1 wrpkru none k1; cpu1 exit",
        "pkru-not-of-thread",
    ),
]


def story(layout: str, records: str) -> Scenario:
    """Return the scenario of a line."""
    lines = "\n".join(record.strip() for record in records.split(";"))
    return parse(f"shootdown-scenario 1\ncpus 2\npages 4\n{layout}\n\n{lines}\n").scenario


@pytest.mark.parametrize(
    ("mistake", "layout", "records", "reason"), STORIES, ids=[each[0].__name__ for each in STORIES]
)
def test_a_mistake_of_the_memory_manager_is_seen(
    mistake: Callable[[Patch], None],
    layout: str,
    records: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the mistake the run is legal; with it, C7 is broken."""
    scenario = story(layout, records)
    strategy = REGISTRY["linux"].make()
    assert execute(scenario, strategy).verdict == LEGAL
    mistake(monkeypatch)
    outcome = execute(scenario, strategy)
    assert (outcome.rule, outcome.reason) == ("C7", reason)


def test_lockstep_sees_what_both_sides_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two strategies that show the same are both wrong if the calls do not allow it."""
    _, layout, records, reason = STORIES[0]
    scenario = story(layout, records)
    assert compare(scenario, EagerFlush(), REGISTRY["linux"].make()) is None
    write_protect_nothing(monkeypatch)
    difference = compare(scenario, EagerFlush(), REGISTRY["linux"].make())
    assert difference is not None
    assert difference.left == difference.right
    assert difference.left is not None
    assert difference.left[0] == reason
