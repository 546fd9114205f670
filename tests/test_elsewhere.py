"""Rules that were proposed or belong to other architectures, and relaxed flushes."""

from collections.abc import Callable

import pytest
from hypothesis import given

from shootdown.machine.entry import ACCESSED, DIRTY, GLOBAL, NX, PRESENT, PROTNONE, RW, SOFTW1, USER
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm.state import FLUSHES, FULL, IPIS
from shootdown.optimized import rules
from shootdown.optimized.elsewhere import ELSEWHERE
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, corpus
from shootdown.scenario.verdict import ILLEGAL
from tests.kernel import Kernel, R, W, written
from tests.strategies import any_scenario
from tests.test_rules import ALL as LINUX_AND_MINIMAL

Rule = Callable[[int, int], bool]
GOOD = {n: p.scenario for n, p in corpus.load().items() if n.startswith("good_")}
NAMES = [policy.name for policy in ELSEWHERE]

DIRTY_RW = FRAME_BITS[5] | PRESENT | RW | USER | ACCESSED | DIRTY
CLEAN_RW = DIRTY_RW & ~DIRTY
READ_ONLY = CLEAN_RW & ~RW
PAGE_NONE = FRAME_BITS[5] | ACCESSED | PROTNONE

# The old entry, the new one, and what rfc-2021, the two answers of rfc-2022, powerpc-radix and arm64 say.
CHANGES: dict[str, tuple[int, int, str]] = {
    "RW set": (READ_ONLY, CLEAN_RW, "00101"),
    "RW cleared, dirty": (DIRTY_RW, DIRTY_RW & ~RW, "11111"),
    "RW cleared, clean": (CLEAN_RW, READ_ONLY, "00011"),
    "NX set": (DIRTY_RW, DIRTY_RW | NX, "11111"),
    "NX cleared": (DIRTY_RW | NX, DIRTY_RW, "00101"),
    "D set": (CLEAN_RW, DIRTY_RW, "00001"),
    "D cleared": (DIRTY_RW, CLEAN_RW, "11111"),
    "A cleared": (DIRTY_RW, DIRTY_RW & ~ACCESSED, "00001"),
    "a software bit set": (DIRTY_RW, DIRTY_RW | SOFTW1, "00010"),
    "G set": (DIRTY_RW, DIRTY_RW | GLOBAL, "01111"),
    "the frame": (DIRTY_RW, DIRTY_RW ^ FRAME_BITS[1], "11111"),
    "present to none": (DIRTY_RW, 0, "11111"),
    "present to PROTNONE": (DIRTY_RW, PAGE_NONE, "11111"),
    "PROTNONE to present": (PAGE_NONE, READ_ONLY, "10010"),
    "none to present": (0, READ_ONLY, "10010"),
}
RULES: tuple[Rule, ...] = (
    rules.rfc_2021,
    rules.rfc_2022_strict,
    rules.rfc_2022_relaxed,
    rules.powerpc_radix,
    rules.arm64,
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_each_rule_says_of_a_change(change: str) -> None:
    """The rules answer as the texts of the two RFCs, of powerpc and of arm64 say (linux-tlb A.2 (0) and A.2 (4))."""
    old, new, expected = CHANGES[change]

    assert "".join(str(int(rule(old, new))) for rule in RULES) == expected


def test_what_each_policy_asks_is_in_a_table() -> None:
    """The rule of each policy, for both sizes of entry, is in a table of this file or of the versions of Linux."""
    asked = {
        rule
        for policy in ELSEWHERE
        for rule in (policy.needs_flush, policy.huge_needs_flush or policy.needs_flush)
    }

    assert asked - {*RULES, *LINUX_AND_MINIMAL} == set()


def test_each_policy_says_what_it_trusts() -> None:
    """No policy consists of its rule alone: `shootdown policies NAME` prints its assumptions outside the rule."""
    assert [policy.name for policy in ELSEWHERE if not policy.trusts] == []


@pytest.mark.parametrize("policy", NAMES)
def test_every_good_story_is_legal(policy: str) -> None:
    """A story that is legal under the rules of Linux is legal under these."""
    strategy = REGISTRY[policy].make()
    illegal = [name for name, each in GOOD.items() if execute(each, strategy).verdict == ILLEGAL]

    assert illegal == []


@pytest.mark.parametrize("policy", NAMES)
@given(scenario=any_scenario(24))
def test_no_scenario_is_illegal(policy: str, scenario: Scenario) -> None:
    """No scenario is illegal on a processor that checks a clean entry again."""
    outcome = execute(scenario, REGISTRY[policy].make())

    assert outcome.verdict != ILLEGAL, outcome.reason


def promoted() -> Kernel:
    """Return a kernel of three CPUs, all of which hold p0 read-only, where CPU 0 has made it writable again."""
    k = written("rfc-2022", cpus=3, pages=2)
    k.write(0, 1)
    k.run(0, "mprotect", 0, 1, R)
    for cpu in range(3):
        k.read(cpu)
    k.w.costs[FLUSHES] = k.w.costs[IPIS] = k.w.costs[FULL] = 0
    k.run(0, "mprotect", 0, 1, R | W)
    return k


def test_a_promotion_interrupts_nobody() -> None:
    """The local CPU is flushed, the generation rises, and the others keep their entries."""
    k = promoted()

    assert (k.w.costs[FLUSHES], k.w.costs[IPIS]) == (1, 0)
    assert [0 in tlb for tlb in k.w.machine.tlb] == [False, True, True]
    assert k.state.tlb_gen[0] == k.state.ctx_gen[0][0] == k.state.ctx_gen[1][0] + 1


def test_a_spurious_fault_flushes_the_context_that_is_behind() -> None:
    """One fault drops every tighter entry on that CPU, and a second one flushes nothing."""
    k = promoted()
    assert k.write(1)
    assert k.w.costs[FULL] == 1
    assert k.state.ctx_gen[1][0] == k.state.tlb_gen[0]
    assert len(k.w.machine.tlb[1]) == 1


def test_a_strict_flush_behind_a_relaxed_one_is_a_full_one() -> None:
    """A CPU that was not told of a generation may not invalidate only the range of the next one."""
    k = promoted()
    k.run(0, "mprotect", 1, 1, R)

    assert (k.w.costs[FLUSHES], k.w.costs[IPIS], k.w.costs[FULL]) == (2, 2, 2)


def test_a_clean_entry_at_rest_grants_no_store() -> None:
    """The entry that the shortcut of rfc-2021 leaves breaks no rule if the processor checks it again."""
    bad = corpus.load()["bad_c1_clean_write_protect_no_rewalk"].scenario
    shorter = bad._replace(records=bad.records[:2])
    strategy = REGISTRY["rfc-2021"].make()
    rewalk = shorter._replace(header=bad.header._replace(machine=0))

    assert execute(rewalk, strategy).verdict != ILLEGAL
    assert execute(shorter, strategy).reason == "stale-entry-at-rest"
    assert execute(bad, strategy).reason == "stale-grant"
