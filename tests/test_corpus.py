"""The corpus: each story shows what it says, under every policy that it names."""

from collections.abc import Iterator

import pytest

from shootdown.mm.arguments import MAP_TYPES
from shootdown.optimized.policies import REGISTRY, RULES
from shootdown.run.execute import execute
from shootdown.scenario import (
    Expectation,
    ParsedScenario,
    Scenario,
    decode,
    encode,
    kinds,
    render,
    render_record,
)
from shootdown.scenario.corpus import load, texts
from shootdown.scenario.switches import DECLARED, Switch
from shootdown.scenario.verdict import ILLEGAL, LEGAL, REASONS

CORPUS = load()
GOOD = {name: parsed for name, parsed in CORPUS.items() if name.startswith("good_")}
BAD = {name: parsed for name, parsed in CORPUS.items() if name.startswith("bad_")}
FAULTS = {name: policy.fault for name, policy in REGISTRY.items() if policy.fault}
UNBROKEN = {policy.name for policy in RULES if not policy.fault}


def expectations() -> Iterator[tuple[str, Expectation]]:
    """Yield every expectation of the corpus with the name of its scenario."""
    for name, parsed in CORPUS.items():
        for expectation in parsed.expectations:
            yield name, expectation


def illegal(parsed: ParsedScenario) -> set[tuple[str, str]]:
    """Return the policies that the scenario expects to be caught, each with the rule that catches it."""
    return {(expected.policy, expected.rule) for expected in parsed.expectations if expected.rule}


@pytest.mark.parametrize(
    ("name", "expected"),
    [pytest.param(name, each, id=f"{name}-{each.policy}") for name, each in expectations()],
)
def test_scenario_shows_what_it_expects(name: str, expected: Expectation) -> None:
    """Replaying a scenario under a policy that it names gives the verdict, the rule and the reason that it states."""
    outcome = execute(CORPUS[name].scenario, REGISTRY[expected.policy].make())
    verdict = ILLEGAL if expected.rule else LEGAL
    assert (outcome.verdict, outcome.rule, outcome.reason) == (
        verdict,
        expected.rule,
        expected.reason,
    )


def test_expected_reasons_are_those_of_the_rule() -> None:
    """Every reason that a scenario expects is in the closed list, under the rule beside it."""
    stated = {(each.reason, each.rule) for _, each in expectations() if each.rule}

    assert stated
    assert {(reason, REASONS[reason][0]) for reason, _ in stated} == stated


def test_corpus_has_at_least_forty_scenarios() -> None:
    """At least 40 scenarios ship, and each is called good_* or bad_*."""
    assert len(CORPUS) >= 40
    assert CORPUS.keys() == GOOD.keys() | BAD.keys()


@pytest.mark.parametrize("name", GOOD)
def test_good_scenario_expects_nothing_illegal(name: str) -> None:
    """A good_* scenario is legal under every unbroken policy, and under every other policy that it names."""
    assert not illegal(GOOD[name])
    assert UNBROKEN <= {expected.policy for expected in GOOD[name].expectations}


@pytest.mark.parametrize("name", BAD)
def test_bad_scenario_has_its_rule_in_its_name(name: str) -> None:
    """A bad_* scenario has a rule in its name that it sees broken, and says what every unbroken policy shows."""
    rules = {rule.lower() for _, rule in illegal(BAD[name])}
    assert name.split("_")[1] in rules
    assert UNBROKEN <= {expected.policy for expected in BAD[name].expectations}


def test_every_operation_stands_in_a_story() -> None:
    """A reader finds an example of each kind of record."""
    told = {record[0] for parsed in CORPUS.values() for record in parsed.scenario.records}
    assert [kind.name for number, kind in enumerate(kinds.KINDS) if number not in told] == []


def test_every_choice_of_the_hardware_stands_in_a_story() -> None:
    """Every argument that a fill or an eviction may have occurs in some story."""
    told = {(r[0], r[5]) for parsed in CORPUS.values() for r in parsed.scenario.records}
    choices = {
        (kind, arg)
        for kind in (kinds.FILL, kinds.EVICT)
        for arg in range(len(kinds.KINDS[kind].argument.names))
    }

    assert choices - told == set()


@pytest.mark.parametrize("policy", FAULTS)
def test_seeded_fault_has_a_bad_scenario(policy: str) -> None:
    """A bad_* scenario that catches the fault by the rule that it names is legal without the fault."""
    fault = FAULTS[policy]
    legal = [Expectation(rule) for rule in sorted(UNBROKEN)]
    caught = [
        name
        for name, parsed in BAD.items()
        if (policy, fault.rule) in illegal(parsed) and set(legal) <= set(parsed.expectations)
    ]
    assert caught


def test_every_rule_is_broken_somewhere() -> None:
    """For each of C1 to C7 and for the cost counter there is a bad_* scenario; C8 is about the assertions of a kernel's
    own text, which no model has.
    """
    assert {rule for rule, _ in REASONS.values()} - {"C8"} == {
        rule for parsed in BAD.values() for _, rule in illegal(parsed)
    }


@pytest.mark.parametrize("name", CORPUS)
def test_text_is_canonical(name: str) -> None:
    """A corpus file is what `render` prints for it, byte for byte, and its scenario survives the binary form."""
    parsed = CORPUS[name]
    assert render(parsed.scenario, parsed.comments, parsed.expectations) == texts()[name]
    assert decode(encode(parsed.scenario)) == parsed.scenario


@pytest.mark.parametrize("name", CORPUS)
def test_scenario_tells_its_story(name: str) -> None:
    """3 to 10 lines of at most 120 characters precede the scenario."""
    comments = CORPUS[name].comments
    assert 3 <= len(comments) <= 10
    assert max(len(f"# {line}") for line in comments) <= 120


def test_good_scenarios_cover_the_vocabulary() -> None:
    """Every kind of record, right of mprotect, type of mmap and layout occurs in a good_* one."""
    records = [record for parsed in GOOD.values() for record in parsed.scenario.records]
    headers = [parsed.scenario.header for parsed in GOOD.values()]
    assert {record[0] for record in records} == set(range(len(kinds.KINDS)))
    rights = {kinds.PROTECTIONS[record[5]] for record in records if record[0] == kinds.MPROTECT}
    assert {"none", "r", "rw", "rx", "rwx"} <= rights
    mappings = {record[5] >> kinds.MAP_SHIFT for record in records if record[0] == kinds.MMAP}
    assert mappings == set(range(len(MAP_TYPES)))
    assert {header.layout for header in headers} == set(range(len(kinds.LAYOUTS)))


@pytest.mark.parametrize("name", CORPUS)
def test_no_story_pauses_by_number(name: str) -> None:
    """Each pause of a story is at a named point.

    A number of steps is the same place only as long as the model divides the operation into the same steps, and it is
    no place at all in a kernel's own C; a point is the same place in both.
    """
    counted = [
        render_record(record)
        for record in CORPUS[name].scenario.records
        if 0 < record[2] < kinds.FIRST_POINT
    ]

    assert counted == []


def shown(scenario: Scenario, policy: str) -> list[object]:
    """Return the world after each record, and the end of the run."""
    worlds: list[object] = []
    outcome = execute(
        scenario,
        REGISTRY[policy].make(),
        applied=lambda oracle, _record: worlds.append(oracle.world.key()),
    )
    return [*worlds, outcome.verdict, outcome.reason, outcome.steps]


@pytest.mark.parametrize("switch", DECLARED, ids=lambda each: each.name)
def test_every_switch_tells_in_a_story(switch: Switch) -> None:
    """Some scenario runs differently without the switch, under a policy that it names; a good one, if such a machine
    exists.
    """
    telling = []
    for name, (scenario, _, expected) in (GOOD if switch.real else CORPUS).items():
        header = scenario.header
        if header.machine & switch.bit:
            without = scenario._replace(header=header._replace(machine=header.machine ^ switch.bit))
            if any(
                shown(scenario, each.policy) != shown(without, each.policy) for each in expected
            ):
                telling.append(name)

    assert telling != []
