"""The published litmus tests: what their files say, and that the machine shows it over all runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from bench.published import PAGE, with_table
from shootdown.conform.litmus.explore import Explorer, Shown
from shootdown.conform.litmus.form import Litmus, LitmusError, Reason, Suite, Verdict, parse
from shootdown.conform.litmus.report import Agreement, Row, load, markdown, rows, shown, texts
from shootdown.machine.entry import WRITE
from shootdown.machine.x86 import Machine
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario.corpus import load as load_corpus
from shootdown.scenario.verdict import LEGAL

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = load()
ROWS = rows(PUBLISHED)
EXPRESSIBLE = {name: litmus for name, litmus in PUBLISHED.items() if not litmus.reason}
BROKEN = "drop-last-page"

GOOD = """# A test.
litmus 1
suite hand-written
test one forbidden
outcome-from axiom
unflushed permitted

cpu0 remap x Z
cpu0 invlpg x
cpu0 read x as r

outcome r uses X
"""


def program(*events: str, outcome: str) -> Litmus:
    """Return a test with these events that invalidates nothing."""
    head = "litmus 1\nsuite synthesized\ntest one permitted\noutcome-from axiom"
    return parse("\n".join([head, *events, f"outcome {outcome}"]))


@pytest.mark.parametrize("row", [pytest.param(row, id=row.test.name) for row in ROWS])
def test_machine_agrees(row: Row) -> None:
    """Each published verdict that can be expressed is the machine's, over all of its runs."""
    assert row.agreement == (Agreement.INEXPRESSIBLE if row.litmus.reason else Agreement.AGREES)


def test_what_cannot_be_expressed_is_a_short_list() -> None:
    """One test needs a store buffer, and for one the outcome is not stated; all others run."""
    left = {row.test.name: row.litmus.reason for row in ROWS if row.litmus.reason}

    assert left == {"sb": Reason.STORE_BUFFER, "mrf1": Reason.UNSTATED}


def test_every_published_test_has_a_row() -> None:
    """The suite by hand has 31 tests, 8 of them forbidden, and the synthesized one 11, each of them forbidden."""
    names = [(row.litmus.suite, row.test.name) for row in ROWS]
    forbidden = {
        suite: sum(
            row.litmus.suite == suite and row.test.verdict == Verdict.FORBIDDEN for row in ROWS
        )
        for suite in Suite
    }

    assert len(names) == len(set(names)) == 31 + 11
    assert forbidden == {Suite.HAND_WRITTEN: 8, Suite.SYNTHESIZED: 11}


@pytest.mark.parametrize("name", [name for name, each in EXPRESSIBLE.items() if each.unflushed])
def test_invalidations_make_the_difference_that_the_file_states(name: str) -> None:
    """With invalidations that drop nothing each test has the verdict that its file states for this."""
    assert shown(PUBLISHED[name], flush=False).verdict == PUBLISHED[name].unflushed


@pytest.mark.parametrize("name", ["mp", "n5", "n5_synonym", "ptwalk2", "sb_synonym"])
@pytest.mark.parametrize("amd", [False, True], ids=["intel", "amd"])
def test_addresses_that_nothing_remaps_need_no_choices(name: str, *, amd: bool) -> None:
    """If the hardware fills and drops every address, the same share of the runs shows the outcome."""
    reduced = Explorer(PUBLISHED[name], amd=amd)
    plain = Explorer(PUBLISHED[name], amd=amd, reduced=False)

    assert plain.shown() == reduced.shown()


def test_page_has_what_the_command_prints() -> None:
    """The table and the sums of the page are those of python -m bench.published."""
    page = (ROOT / PAGE).read_text()

    assert with_table(page, markdown(ROWS)) == page


def test_page_without_its_marks_is_refused() -> None:
    """A page that has lost a mark is not overwritten."""
    with pytest.raises(SystemExit, match="lacks one of the marks"):
        with_table("# Published verdicts\n", "")


@pytest.mark.parametrize("name", PUBLISHED)
def test_file_says_what_it_is(name: str) -> None:
    """One to five lines of at most 120 characters precede each test."""
    assert 1 <= len(PUBLISHED[name].comments) <= 5
    assert max(map(len, texts()[name].splitlines())) <= 120


class Recorder(Machine):
    """A machine that records which CPU has used which frame of which page."""

    used: ClassVar[list[tuple[int, int, int, int]]] = []

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate as the machine does, and record CPU, page, kind and frame of each access that succeeds."""
        entry = super().access(cpu, page, kind)
        if entry >= 0:
            self.used.append((cpu, page, kind, entry >> 8 & 63))
        return entry


def frames(name: str, policy: str) -> tuple[str, list[int]]:
    """Return the verdict on a scenario, and the frames that its accesses to page 0 used after the first store to it."""
    Recorder.used.clear()
    outcome = execute(load_corpus()[name].scenario, REGISTRY[policy].make(), machine_type=Recorder)
    used = [frame for _, page, _, frame in Recorder.used if page == 0]
    return outcome.verdict, used


@pytest.mark.parametrize("name", ["bad_c1_published_ptwalk2", "bad_c1_published_ipi4"])
def test_kernel_that_forgets_the_invalidation_shows_the_outcome(name: str) -> None:
    """Without the invalidation an access after the remap uses the old frame; with it all use the new one."""
    _, broken = frames(name, BROKEN)
    verdict, sound = frames(name, "linux")

    assert broken[-1] == broken[0]
    assert verdict == LEGAL
    assert sound[0] not in sound[1:]


def test_kernel_permits_the_old_frame_before_the_interrupt() -> None:
    """In the window of the remap CPU 1 stores to the old frame, and after it CPU 0 loads from the new one."""
    verdict, used = frames("good_published_ipi5", "linux")
    kinds = [kind for _, page, kind, _ in Recorder.used if page == 0]

    assert verdict == LEGAL
    assert used[0] == used[1] != used[-1]
    assert kinds[:2] == [WRITE, WRITE]


def test_scenarios_that_files_name_are_in_the_corpus() -> None:
    """The scenario that a test names ships, and so does every scenario of a published test beside a file."""
    named = {name for litmus in PUBLISHED.values() for name in litmus.scenarios}

    assert named == {name for name in load_corpus() if "published" in name}


def test_permitted_needs_one_run_only() -> None:
    """An outcome that some runs show is distinguished from one that all show and from one that none shows."""
    events = ("cpu0 write x as w", "cpu1 read x as r")

    assert Explorer(program(*events, outcome="r reads w")).shown() == Shown.SOME
    assert Explorer(program(*events, outcome="r shares w")).shown() == Shown.ALL
    assert Explorer(program(*events, outcome="r parts w")).shown() == Shown.NONE


def test_stale_store_needs_a_dirty_translation() -> None:
    """A store uses the old frame only if the old entry is dirty; if it is clean, the store walks and finds the new
    frame.
    """
    stale = program("cpu0 remap x Z", "cpu0 write x as w", outcome="w uses X")
    marked = program("cpu0 remap x Z", "cpu0 write x as w", outcome="w uses Z and x dirty")
    clean = program("cpu0 remap x Z", "cpu0 write x as w", outcome="w uses X and x dirty")

    assert Explorer(stale).shown() == Shown.SOME
    assert Explorer(marked).shown() == Shown.SOME
    assert Explorer(clean).shown() == Shown.NONE


def test_interrupt_comes_after_its_remap() -> None:
    """A CPU delays the events after an interrupt until a remap has asked for it."""
    text = GOOD.replace("cpu0 read x as r\n", "cpu1 ipi x\ncpu1 read x as r\n")

    assert Explorer(parse(text)).shown() == Shown.NONE
    assert Explorer(parse(text), flush=False).shown() == Shown.SOME


def test_alternatives_are_any_of_the_lines() -> None:
    """An outcome of several lines is shown if one of them is, and a line only if all of its parts are."""
    either = program("cpu0 write x as w", outcome="X holds 0\noutcome x dirty and x maps X")
    both = program("cpu0 write x as w", outcome="X holds 0 and x dirty\noutcome x clean")

    assert Explorer(either).shown() == Shown.ALL
    assert Explorer(both).shown() == Shown.NONE


def mistakes() -> Iterator[tuple[str, str, str, str]]:
    """Yield what to replace in a good text, what with, and a part of the message."""
    yield "first", "litmus 1\n", "litmus 2\n", "expected 'litmus 1'"
    yield "comment", "suite", "# late\nsuite", "line 3: a comment"
    yield "suite", "hand-written", "unheard", "none of hand-written, synthesized"
    yield "no-suite", "suite hand-written\n", "", "a suite and a test are missing"
    yield "no-outcome", "outcome r uses X\n", "", "an outcome are missing"
    yield "head", "test one", "tests one", "'tests' begins no line"
    yield "cpus", "cpu0 read", "cpu2 read", "numbered from 0"
    yield "event", "read x as r", "read x r", "is no event"
    yield "kind", "invlpg", "clflush", "'clflush' is none of read"
    yield "address", "read x", "read X", "small letters"
    yield "frame", "remap x Z", "remap x z", "capital letters"
    yield "label", "outcome r", "outcome q", "'q' is no label"
    yield "object", "uses X", "uses Y", "'Y' is no frame"
    yield "verb", "uses", "likes", "'likes' is none of"
    yield "atom", "r uses X", "r uses", "is no statement about a run"
    yield "unflushed", "unflushed permitted\n", "", "unflushed is for a program"
    yield "interrupt", "invlpg x\ncpu0 read x as r", "ipi y\ncpu0 read x as r", "no CPU makes"
    yield "twice", "read x as r\n", "read x as r\ncpu0 read x as r\n", "one label"
    yield "both", "outcome-from axiom", "inexpressible unstated", "no program and no outcome"
    yield "many", "read x as r\n", "read x as r\n" + FIVE, "more than 4 addresses"


FIVE = "".join(f"cpu0 read {name} as r{name}\n" for name in "abcd")


@pytest.mark.parametrize(
    ("old", "new", "message"), [pytest.param(*rest, id=name) for name, *rest in mistakes()]
)
def test_mistake_is_named(old: str, new: str, message: str) -> None:
    """A text that is not a litmus test is refused with a sentence that says why."""
    parse(GOOD)

    with pytest.raises(LitmusError, match=message):
        parse(GOOD.replace(old, new))


def test_empty_text_is_refused() -> None:
    """A text without any line has no first line."""
    with pytest.raises(LitmusError, match="line 1: expected 'litmus 1'"):
        parse("")
