"""The explanation of a run, and its report."""

import json

import pytest
from hypothesis import given

from shootdown.evidence.explain import Explanation, explain
from shootdown.evidence.pauses import MissedPause
from shootdown.evidence.report import WIDTH, evidence, missed_lines, report
from shootdown.evidence.skip import guilty_skip, skip_slug, takes_away
from shootdown.fuzz.engines.strategies import scenarios
from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    GLOBAL,
    MIGRATION,
    NX,
    PRESENT,
    RW,
    SWAP,
    SWP_SOFT_DIRTY,
    SWP_UFFD_WP,
    USER,
)
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm import flags
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, corpus, parse, render
from shootdown.scenario.verdict import ILLEGAL, REASONS, RULES
from tests.command import NX as NX_SCENARIO
from tests.strategies import examples

PRESENT_ENTRY = PRESENT | USER | ACCESSED | FRAME_BITS[5]
ILLEGAL_ENTRIES = [
    (name, expectation.policy)
    for name, parsed in corpus.load().items()
    for expectation in parsed.expectations
    if expectation.rule
]


def nx() -> Explanation:
    """Return the explanation of the posted series' NX promotion."""
    return explain(parse(NX_SCENARIO).scenario, REGISTRY["v1"])


def test_names_the_violation() -> None:
    """An illegal run is explained by rule, reason, page, access and guilty skip."""
    told = nx()

    assert (told.verdict, told.rule, told.reason) == (ILLEGAL, "C2", "denied-though-allowed")
    assert (told.page, told.access, told.skip) == ("p0", "fetch", "mprotect:NX-cleared")


def test_timeline_names_steps_in_order() -> None:
    """The timeline counts all steps from 1, each with its operation, and says what the decisive ones changed."""
    told = nx()
    changed = {step.step: (told.operation(step.record), step.changes) for step in told.steps}

    assert [step.time for step in told.steps] == list(range(1, len(told.steps) + 1))
    assert changed["do_anonymous_page"] == ("read p0", ("p0 none -> f0 P A SPECIAL NX",))
    assert changed["ptep_modify_prot_commit"] == (
        "mprotect p0 rx",
        ("no flush for p0 (NX-cleared)", "p0 none -> f0 P A SPECIAL"),
    )
    assert changed["mmap_write_unlock, return"] == (
        "mprotect p0 rx",
        ("its promises hold from here",),
    )
    assert [
        (told.operation(s.record), s.changes) for s in told.steps if s.step == "page fault"
    ] == [
        ("read p0", ("read of a page not present",)),
        (
            "exec p0",
            ("fetch denied by a present entry", "SIGSEGV (ACCERR) is delivered"),
        ),
    ]


def timeline(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return operation, step and changes of each step of a scenario with two CPUs under the newest rule."""
    head = "shootdown-scenario 1\ncpus 2\npages 1\nlayout private\n\n"
    told = explain(parse(head + text).scenario, REGISTRY["linux"])
    return [(told.operation(step.record), step.step, step.changes) for step in told.steps]


def test_hardware_has_lines_of_its_own() -> None:
    """A fill or drop of the CPU itself is a line under its own record, even with no operation in flight."""
    steps = timeline("cpu0 write p0\ncpu1 fill p0\ncpu1 evict p0\ncpu0 read p0\n")

    assert steps[-3:] == [
        ("fill p0", "hardware", ("TLB of cpu1: p0 = f3#0 rw- D",)),
        ("evict p0", "hardware", ("TLB of cpu1: p0 dropped",)),
        ("read p0", "access", ("loads 1 from f3#0",)),
    ]


def test_an_operation_that_waits_says_nothing() -> None:
    """A step that is blocked is no line; it comes when it can run, and says once what it did."""
    steps = timeline("cpu0 write p0\ncpu0 mprotect p0 r until flush\ncpu1 write p0\n")

    assert [step for step in steps if step[0] == "write p0"][-2:] == [
        ("write p0", "access", ()),
        (
            "write p0",
            "page fault",
            ("write denied by a present entry", "SIGSEGV (ACCERR) is delivered"),
        ),
    ]
    assert steps[-2][1] == "mmap_write_unlock, return"


def test_history_goes_up_to_the_newest_value() -> None:
    """The page's history ends with its newest value: incarnation, rights, and the operation that stored it."""
    *_, newest = nx().history

    assert (newest.incarnation, newest.rights, newest.operation) == (
        "f0#0",
        "r-x",
        "mprotect p0 rx",
    )
    assert newest.allowed


def test_stale_entry_has_its_filler() -> None:
    """The TLB entry that caused a denial is listed with the access that filled it, although the fault has
    dropped it.
    """
    (cached,) = nx().cached

    assert (cached.compared, cached.operation, cached.entry) == ("tighter", "read p0", "f0#0 r--")
    assert 0 < cached.filled < cached.dropped


def test_revoked_grant_shows_the_floor() -> None:
    """If a completed operation has revoked a value, the history says so, and the entry that grants it is stale."""
    scenario = corpus.load()["bad_c1_skip_absent_dontneed"].scenario

    told = explain(scenario, REGISTRY["skip-absent"])

    assert told.rule == "C1"
    assert [version.allowed for version in told.history][-2:] == [False, True]
    assert "stale" in {cached.compared for cached in told.cached}
    assert {open_.operation.split()[0] for open_ in told.open_operations} >= {"dontneed"}


@pytest.mark.parametrize(("name", "policy"), ILLEGAL_ENTRIES)
def test_explains_every_illegal_scenario_of_the_corpus(name: str, policy: str) -> None:
    """Tracing changes nothing in a run, the report fits 100 columns, and its last line is the command."""
    scenario = corpus.load()[name].scenario
    outcome = execute(scenario, REGISTRY[policy].make())

    told = explain(scenario, REGISTRY[policy])
    text = report(told, replay="shootdown replay it")

    assert (told.verdict, told.rule, told.reason, told.costs["flushes"], told.skip) == (
        outcome.verdict,
        outcome.rule,
        outcome.reason,
        outcome.costs[0],
        guilty_skip(outcome),
    )
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.splitlines()[-1] == "  shootdown replay it"


@examples(0.6)
@given(scenarios())
def test_explains_any_scenario(scenario: Scenario) -> None:
    """Any run is explained: same verdict as without the tracer, JSON without loss, every step in its place."""
    policy = REGISTRY["v1"]
    outcome = execute(scenario, policy.make())

    told = explain(scenario, policy)

    assert (told.verdict, told.reason) == (outcome.verdict, outcome.reason)
    document = json.loads(json.dumps(told.document()))
    assert document["scenario"] == render(scenario)
    assert len(document["steps"]) == len(told.steps)
    assert report(told, replay="x").endswith("  x\n")


def test_a_pause_before_the_first_step_leaves_the_step_with_its_operation() -> None:
    """An operation that takes its first step in another record, or after the last one, is still named by its own."""
    header = "shootdown-scenario 1\ncpus 2\npages 1\nlayout private\n\n"
    records = "cpu0 mprotect p0 r until lock\ncpu1 munmap p0 until lock\n"
    scenario = parse(header + records).scenario
    told = explain(scenario, REGISTRY["linux"])

    assert {(step.cpu, told.operation(step.record)) for step in told.steps} == {
        (0, "mprotect p0 r"),
        (1, "munmap p0"),
    }


def test_explanation_is_deterministic() -> None:
    """The same scenario and policy have the same explanation."""
    assert nx() == nx()


def test_legal_run() -> None:
    """A legal run has a timeline and costs, and no evidence."""
    told = explain(parse(NX_SCENARIO).scenario, REGISTRY["always"])

    assert told.verdict == "legal"
    assert (told.history, told.cached, told.skip) == ((), (), "")
    assert told.costs["flushes"] == 1
    assert report(told, replay="x", timeline=False).startswith("policy always: legal\n")


def test_evidence_is_what_the_store_keeps() -> None:
    """The evidence has the timeline as lines, and history and open operations as JSON values."""
    kept = evidence(nx())

    assert kept.steps[0].split() == ["time", "CPU", "operation", "step", "what", "changed"]
    assert kept.history[-1]["rights"] == "r-x"
    assert kept.open_operations[0]["operation"] == "exec p0"
    json.dumps([kept.steps, kept.history, kept.open_operations])


def test_every_rule_has_its_sentence() -> None:
    """Every rule that a reason names has a sentence for people."""
    assert {rule for rule, _ in REASONS.values()} == set(RULES)


@pytest.mark.parametrize(
    ("old", "new", "slug"),
    [
        (PRESENT_ENTRY | NX, PRESENT_ENTRY, "mprotect:NX-cleared"),
        (PRESENT_ENTRY | RW, PRESENT_ENTRY | NX, "mprotect:RW-cleared+NX-set"),
        (PRESENT_ENTRY, PRESENT_ENTRY ^ FRAME_BITS[1], "mprotect:PFN-changed"),
        (PRESENT_ENTRY | RW, GLOBAL | ACCESSED | FRAME_BITS[5], "mprotect:P-cleared"),
        (PRESENT_ENTRY, PRESENT_ENTRY, "mprotect:unchanged"),
    ],
)
def test_slug_names_operation_and_flags(old: int, new: int, slug: str) -> None:
    """A skip's slug is the operation and the flags that changed, in one order; without PRESENT no other flag counts."""
    assert skip_slug(3, old, new) == slug


def test_slug_without_an_operation() -> None:
    """A change that no operation of a scenario makes is the kernel's own."""
    assert skip_slug(-1, PRESENT_ENTRY | DIRTY, PRESENT_ENTRY) == "kernel:D-cleared"


@pytest.mark.parametrize(
    ("old", "new", "takes"),
    [
        (PRESENT_ENTRY | NX, PRESENT_ENTRY, False),
        (PRESENT_ENTRY, PRESENT_ENTRY | NX, True),
        (PRESENT_ENTRY | RW, PRESENT_ENTRY, True),
        (PRESENT_ENTRY | DIRTY, PRESENT_ENTRY, True),
        (PRESENT_ENTRY, 0, True),
        (0, PRESENT_ENTRY, False),
        (PRESENT_ENTRY, PRESENT_ENTRY | RW | DIRTY, False),
    ],
)
def test_what_takes_away(old: int, new: int, *, takes: bool) -> None:
    """Only a change that takes a right, the dirty bit or the frame away can make a stale entry grant too much."""
    assert takes_away(old, new) == takes


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (0, "none"),
        (PRESENT_ENTRY | RW | DIRTY | NX, "f5 P RW A D NX"),
        (PRESENT | FRAME_BITS[5], "f5 P no-US"),
        (MIGRATION | FRAME_BITS[5], "migration f5"),
        (SWAP | FRAME_BITS[1] | SWP_SOFT_DIRTY | SWP_UFFD_WP, "swap s1 SOFT_DIRTY UFFD_WP"),
        (GLOBAL | ACCESSED | FRAME_BITS[5], "f5 PROTNONE A"),
    ],
)
def test_entries_in_words(entry: int, words: str) -> None:
    """An entry is shown as its frame and the names of its flags."""
    assert flags.describe_entry(entry) == words


MISSED = """shootdown-scenario 1
cpus 2
pages 1
layout private

cpu0 write p0
cpu0 read p0 until fault
cpu0 run until free
cpu0 mprotect p0 r until flush
cpu1 dontneed p0 until commit
cpu0 run
cpu1 run until window
"""


def test_pauses_that_were_not_made() -> None:
    """A run says which of its pauses it did not make and why: no such step, nothing in flight, a lock in the way."""
    told = explain(parse(MISSED).scenario, REGISTRY["always"])

    assert told.missed_pauses == (
        MissedPause(1, "fault", "ended"),
        MissedPause(2, "free", "idle"),
        MissedPause(4, "commit", "blocked"),
        MissedPause(6, "window", "ended"),
    )
    assert missed_lines(told)[0] == (
        "Pause not made: cpu0 read p0 until fault (record 2): the operation ended before it."
    )
    assert missed_lines(told)[0] in report(told, replay="").splitlines()


@pytest.mark.parametrize("name", corpus.load())
def test_corpus_makes_every_pause(name: str) -> None:
    """No story of the corpus asks for a pause that is not made: otherwise it would not show what its title says."""
    parsed = corpus.load()[name]

    policies = [expectation.policy for expectation in parsed.expectations]

    assert policies
    assert [explain(parsed.scenario, REGISTRY[each]).missed_pauses for each in policies] == [
        ()
    ] * len(policies)
