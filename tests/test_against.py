"""Campaigns against a base: findings that it allows, and what the two policies cost on the same inputs."""

import shlex
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.cli.against import SHOWN, against_lines
from shootdown.evidence.investigate import Investigation
from shootdown.fuzz.base import Base, Decision, Tally, total
from shootdown.fuzz.campaign.plan import Limits, Plan
from shootdown.fuzz.engines.session import Session
from shootdown.machine.entry import NX, PRESENT, USER
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import Policy
from shootdown.policy.source import load_policy
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import Scenario, corpus, decode, encode, parse, render
from shootdown.store import find_campaign, list_findings, open_store
from tests.command import NX as PROMOTION
from tests.command import complaint, document, inside
from tests.test_campaign import announced, running

DB = "findings.db"
LOOP = ("--engine", "loop", "--workers", "1", "--seed", "7")
LINUX = REGISTRY["linux"]
NEVER = "def needs_flush(old, new):\n    return False\n"


def legal(text: str, policy: Policy) -> bool:
    """Return whether a scenario is legal under a policy."""
    return execute(parse(text).scenario, policy.make()).verdict == "legal"


def test_a_fault_against_linux_is_found(tmp_path: Path) -> None:
    """A fault that the base does not have is found, stored with its base, and shown again under both."""
    fuzz = ("fuzz", "--policy", "skip-write-protect", "--against", "linux", *LOOP, "--name", "one")
    summary = document(tmp_path, *fuzz, "--execs", "200", code=1)

    assert (summary["against"]["policy"], summary["against"]["also_illegal"]) == ("linux", 0)
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        assert find_campaign(store, "one").campaign.base == "linux"
        assert {each.key for each in list_findings(store)} == {
            each["key"] for each in summary["findings"]
        }
    for finding in summary["findings"]:
        shown = inside(tmp_path, *shlex.split(finding["replay"])[1:])
        page = inside(tmp_path, "findings", "show", finding["id"]).out
        assert legal(finding["text"], LINUX)
        assert shown.code == 1
        assert "Against linux, which is legal" in shown.out
        assert inside(tmp_path, "replay", finding["id"]).out == shown.out
        assert page.splitlines()[-1].strip() == finding["replay"]


def test_a_fault_against_itself_finds_nothing(tmp_path: Path) -> None:
    """What the base shows as well is counted and not kept; each input is compared, or illegal under both."""
    name = "skip-write-protect"
    fuzz = ("fuzz", "--policy", name, "--against", name, *LOOP, "--execs", "200")
    summary = document(tmp_path, *fuzz)
    against = summary["against"]
    said = inside(tmp_path, *fuzz).out

    assert summary["findings"] == []
    assert against["also_illegal"] > 0
    assert against["inputs_compared"] + against["also_illegal"] == 200
    assert against["costs"] == against["base_costs"]
    assert against["decided_differently"] == []
    assert f"over {against['inputs_compared']} inputs that ran to the end under both" in said
    assert f"Also illegal under {name}: {against['also_illegal']}." in said


def test_saved_flushes_and_different_decisions(tmp_path: Path) -> None:
    """The closing says what v3 saves against linux, and about which changes their rules differ."""
    fuzz = ("fuzz", "--policy", "v3", "--against", "linux", *LOOP, "--execs", "300")
    against = document(tmp_path, *fuzz)["against"]
    said = inside(tmp_path, *fuzz).out

    assert against["inputs_compared"] == 300
    assert 0 < against["costs"]["flushes"] < against["base_costs"]["flushes"]
    (cleared,) = [
        each
        for each in against["decided_differently"]
        if (each["size"], each["changes"]) == ("4 KiB", "NX cleared")
    ]
    assert cleared["flushes"] == "linux"
    assert f"4 KiB NX cleared: linux flushes, v3 does not, {cleared['times']} times: P US" in said


def test_only_the_base_is_illegal(tmp_path: Path) -> None:
    """Inputs that only the base fails are counted, and are no findings."""
    fuzz = ("fuzz", "--policy", "linux", "--against", "v1", *LOOP, "--execs", "150")
    summary = document(tmp_path, *fuzz)
    against = summary["against"]

    assert against["illegal_under_base_only"] > 0
    assert against["inputs_compared"] + against["illegal_under_base_only"] == 150


def test_every_minimum_is_legal_under_the_base(tmp_path: Path) -> None:
    """A policy with the fault of its base and more: the minima are those that the base does not show."""
    (tmp_path / "never.py").write_text(NEVER)
    (tmp_path / "base.py").write_text("def needs_flush(old, new):\n    return not old & ~new & 1\n")
    fuzz = ("fuzz", "--policy", "never.py", "--execs", "250", *LOOP)
    alone = document(tmp_path, *fuzz, code=1)
    held = document(tmp_path, *fuzz, "--against", "base.py", code=1)
    base = load_policy(str(tmp_path / "base.py")).policy

    assert "mprotect:P-cleared" in {each["skip"] for each in alone["findings"]}
    assert "mprotect:P-cleared" not in {each["skip"] for each in held["findings"]}
    assert all(legal(each["text"], base) for each in held["findings"])
    assert held["against"]["also_illegal"] > 0


def test_resume_keeps_the_base(tmp_path: Path) -> None:
    """A campaign that goes on is held against the same base, or against another one that is named."""
    (tmp_path / "base.py").write_text(NEVER)
    fuzz = ("fuzz", "--policy", "v1", "--against", "base.py", *LOOP, "--execs", "20", "--name", "n")
    inside(tmp_path, *fuzz)
    again = ("fuzz", "--resume", "n", *LOOP, "--execs", "20", "--json")

    assert '"policy": "base"' in inside(tmp_path, *again).out
    assert '"policy": "linux"' in inside(tmp_path, *again, "--against", "linux").out


def test_interrupted_campaign_says_what_was_compared(tmp_path: Path) -> None:
    """Ctrl-C ends a campaign of two workers with the findings, and the costs of both policies."""
    with running(tmp_path, "--workers", "2", "--against", "linux") as campaign:
        key = announced(campaign.line("finding "))
        code, out = campaign.end(signal.SIGINT)

    assert code == 1
    assert "Against linux, over " in out
    assert f"Replay: shootdown replay {key} --against linux" in out


@pytest.mark.parametrize("spec", ["nobody", "absent.py", "c-rule:absent", ""])
def test_what_is_no_base(tmp_path: Path, spec: str) -> None:
    """A word that names no policy is a sentence and exit code 2, and leaves no database behind."""
    assert complaint(tmp_path, "fuzz", "--policy", "v1", "--against", spec)
    assert list(tmp_path.iterdir()) == []


def test_base_that_raises(tmp_path: Path) -> None:
    """A base that raises ends the campaign with 2, the line of its file, and the command that shows it."""
    (tmp_path / "base.py").write_text("def needs_flush(old, new):\n    return old[0]\n")
    fuzz = ("fuzz", "--policy", "linux", "--against", "base.py", *LOOP, "--execs", "150")
    ended = inside(tmp_path, *fuzz)

    assert ended.code == 2
    assert "base.py, line 2: TypeError" in ended.out
    replay = ended.out.splitlines()[-1].removeprefix("Replay: ")
    assert "base.py, line 2" in complaint(tmp_path, *shlex.split(replay)[1:])


def test_base_with_a_memory() -> None:
    """A base that fails a scenario that it has allowed is no pure function: there is no finding."""
    calls = 0

    def forgetful(_old: int, _new: int) -> bool:
        nonlocal calls
        calls += 1
        return calls == 1

    scenario = parse(PROMOTION).scenario
    v1 = REGISTRY["v1"]
    base = Policy("forgetful", forgetful)
    with pytest.raises(Exception, match="under forgetful: legal, and run again illegal C2"):
        Investigation(v1, base=base).investigate(encode(scenario), execute(scenario, v1.make()))


def test_base_that_is_gone(tmp_path: Path) -> None:
    """A finding whose base is gone is replayed without it, with a word about it, unless the user names a base."""
    (tmp_path / "base.py").write_text("def needs_flush(old, new):\n    return True\n")
    fuzz = ("fuzz", "--policy", "v1", "--against", "base.py", *LOOP, "--execs", "150")
    found = document(tmp_path, *fuzz, code=1)["findings"][0]["id"]
    (tmp_path / "base.py").unlink()
    ended = inside(tmp_path, "replay", found)

    assert ended.code == 1
    assert "base of the finding is left out: The policy file base.py cannot be read" in ended.err
    assert "Against" not in ended.out
    assert "Against linux" in inside(tmp_path, "replay", found, "--against", "linux").out
    assert complaint(tmp_path, "replay", found, "--against", "base.py")


# The parts.


class Reports:
    """Keeps the inputs that failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def failure(self, data: bytes, _outcome: Outcome) -> None:
        """Keep the input as text."""
        self.failed.append(render(decode(data)))

    def interesting(self, _data: bytes) -> None:
        """Do nothing."""


def session_of(policy: Policy, base: Policy) -> tuple[Session, Reports]:
    """Return a session against a base, and its reports."""
    reports = Reports()
    session = Session(
        policy,
        seed=1,
        records=32,
        corpus=[],
        report=reports,
        stop=lambda: False,
        base=Base(policy, base),
    )
    return session, reports


LATER = "cpu0 write p1\ncpu0 mprotect p1 r\ncpu0 write p1\n"


def test_base_fails_only_for_what_was_executed() -> None:
    """An input is a finding up to the record that broke the rule, whatever the base shows after it."""
    text = PROMOTION.replace("pages 1", "pages 2")
    session, reports = session_of(REGISTRY["v1"], REGISTRY["skip-write-protect"])
    session.run_scenario(parse(text + LATER).scenario)

    assert reports.failed == [text]


def test_another_reason_is_no_finding() -> None:
    """An input for which the base is illegal for another reason is counted apart, and not reported."""
    text = PROMOTION.replace("pages 1", "pages 2").replace("\n\n", "\n\n" + LATER)
    session, reports = session_of(REGISTRY["v1"], REGISTRY["skip-write-protect"])
    session.run_scenario(parse(text).scenario)

    assert session.base is not None
    tally = session.base.tally()
    assert (reports.failed, tally.shared, tally.otherwise) == ([], 0, 1)


@pytest.mark.parametrize(("policy", "base"), [("always", "v3"), ("v3", "always")])
def test_huge_pages_that_one_flushes_inline(policy: str, base: str) -> None:
    """A huge PMD that one of the two always flushes counts as decided, on either side."""
    wanted = parse(
        "shootdown-scenario 1\ncpus 1\npages 4\nlayout huge\n\n"
        "cpu0 write p0\ncpu0 mprotect p0-p3 rwx\n"
    ).scenario
    session, _ = session_of(REGISTRY[policy], REGISTRY[base])
    session.run_scenario(wanted)

    assert session.base is not None
    decisions = session.base.tally().decisions
    assert [(each.huge, each.flushes) for each in decisions if each.huge] == [
        (True, policy == "always")
    ]


def test_watching_the_rules_changes_no_run() -> None:
    """The strategy that asks both rules shows the same as the policy's own, on the whole corpus."""
    policy = REGISTRY["v1"]
    watched, own = Base(policy, LINUX).strategy(), policy.make()

    def shown(scenario: Scenario, outcome: Outcome) -> tuple[object, ...]:
        return scenario, outcome.verdict, outcome.reason, outcome.steps, outcome.costs

    for parsed in corpus.load().values():
        scenario = parsed.scenario
        assert shown(scenario, execute(scenario, watched)) == shown(
            scenario, execute(scenario, own)
        )


OLD, NEW = PRESENT | USER | NX, PRESENT | USER


def decision(changes: str, old: int, new: int, times: int) -> Decision:
    """Return a class of changes of 4 KiB entries, about which the policy flushes."""
    return Decision(huge=False, changes=changes, flushes=True, old=old, new=new, times=times)


def test_tallies_add_up() -> None:
    """The total has every count, and each class once, with the smallest example; it changes no tally."""
    one = Tally(2, [1, 2, 3, 4], [5, 6, 7, 8], 1, 2, 3, [decision("a", 8, 9, 2)])
    other = replace(one, decisions=[decision("a", 4, 9, 1), decision("b", 1, 2, 9)])
    before = replace(one, costs=[*one.costs], decisions=[*one.decisions])
    whole = total([one, other])

    assert (whole.compared, whole.shared, whole.otherwise, whole.base_only) == (4, 2, 4, 6)
    assert (whole.costs, whole.base_costs) == ([2, 4, 6, 8], [10, 12, 14, 16])
    assert whole.decisions == [decision("b", 1, 2, 9), decision("a", 4, 9, 3)]
    assert one == before


@pytest.mark.parametrize("number", [1, SHOWN, SHOWN + 1, 3 * SHOWN])
def test_ten_lines_at_most(number: int) -> None:
    """However many classes there are, the closing has ten lines about them, and all times are counted."""
    decisions = [decision(f"bit{each}-set", OLD, NEW, 2) for each in range(number)]
    plan = Plan("n", load_policy("v1"), "loop", 1, 1, 32, Limits(), base=load_policy("linux"))
    lines = list(against_lines(plan, Tally(decisions=decisions)))
    (start,) = [at for at, line in enumerate(lines) if line.startswith("Their rules")]
    about = lines[start + 1 :]

    assert len(about) == min(number, SHOWN)
    assert sum(int(line.partition(" time")[0].split()[-1]) for line in about) == 2 * number
