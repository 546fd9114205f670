"""The functions of the package for policies and campaigns; and that none of the functions prints."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shootdown
from shootdown.fuzz.engines.registry import ENGINES
from shootdown.optimized.policies import REGISTRY
from shootdown.store import list_findings, open_store
from tests.command import NX

MINE = """from shootdown import Policy, entry

POLICY = Policy("mine", lambda old, new: bool(old & ~new & (entry.PRESENT | entry.RW)))
"""
PRINTS = """print("loaded")


def needs_flush(old: int, new: int) -> bool:
    print("asked")
    return True
"""


def never(_old: int, _new: int) -> bool:
    """Never flush."""
    return False


def mine(folder: Path, text: str = MINE) -> Path:
    """Return the path of a policy file."""
    path = folder / "mine.py"
    path.write_text(text)
    return path


# Policies.


def test_policies() -> None:
    """Every policy of the registry is there, and each can be loaded by its name."""
    found = shootdown.policies()

    assert {policy.name for policy in found} >= REGISTRY.keys()
    assert shootdown.load_policy(found[0].name).policy is found[0]


@pytest.mark.parametrize(
    ("given", "name", "spec"),
    [
        ("linux", "linux", "linux"),
        (REGISTRY["linux"], "linux", "linux"),
        (never, "never", ""),
        (shootdown.Policy("own", never), "own", ""),
        (shootdown.load_policy("linux"), "linux", "linux"),
        (lambda old, new: old != new, "<lambda>", ""),
    ],
    ids=["name", "built in", "rule", "object", "loaded", "lambda"],
)
def test_a_policy_is_taken_in_every_form(given: shootdown.PolicyLike, name: str, spec: str) -> None:
    """A name, a Policy, a rule, and a result of load_policy are policies; only those that other processes can load have
    a spec.
    """
    loaded = shootdown.load_policy(given)

    assert (loaded.name, loaded.spec) == (name, spec)


@pytest.mark.parametrize("form", [Path, str])
def test_a_policy_from_a_file(tmp_path: Path, form: Callable[[Path], Path | str]) -> None:
    """The path of a file is a policy, as text and as a Path."""
    assert shootdown.load_policy(form(mine(tmp_path))).name == "mine"


def linux(_old: int, _new: int) -> bool:
    """Return a rule with the name of a policy that is built in."""
    return True


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("linx", r"^There is no policy 'linx'\. Did you mean linux"),
        (Path("no.py"), r"^The policy file no\.py cannot be read: No such file"),
        (linux, r"\.linux defines a policy named linux, which is built in"),
        (lambda old: old, r"must take two entries, \(old, new\)\.$"),
        (lambda old, _new: old, r"must return True or False; for .* it returned \d+\.$"),
        (shootdown.Policy("two words", never), "must be one word, and 'two words' is not"),
        (3, "^int has a int where a Policy or a function must be"),
    ],
    ids=["name", "file", "taken", "arity", "answer", "word", "number"],
)
def test_what_is_no_policy(given: Any, sentence: str) -> None:  # noqa: ANN401 - what a type checker refuses too
    """Anything that cannot be a policy is a UserError with one sentence."""
    with pytest.raises(shootdown.UserError, match=sentence):
        shootdown.load_policy(given)


# Campaigns.


def test_a_guilty_policy() -> None:
    """A campaign finds what is wrong with a rule of this process, minimized, and what it found replays."""
    result = shootdown.fuzz_policy(never, executions=400, seed=1, until_finding=True)

    assert not result.quiet
    (finding,) = result.findings
    assert finding.execution == result.executions <= 400
    assert finding.operations == len(finding.scenario.partition("\n\n")[2].splitlines())
    again = shootdown.replay(finding.scenario, never)
    assert (again.verdict, again.rule, again.reason, again.skip) == (
        "illegal",
        finding.rule,
        finding.reason,
        finding.skip,
    )


def test_a_quiet_policy() -> None:
    """A campaign against a policy that flushes always is quiet, and makes as many executions as it was asked for."""
    result = shootdown.fuzz_policy("always", executions=400, seed=1)

    assert result.quiet
    assert (result.executions, result.failures, result.workers) == (400, 0, 1)
    assert result.features > 0


@pytest.mark.parametrize("engine", [each.name for each in ENGINES.values() if each.in_process])
def test_the_seed_decides(engine: str) -> None:
    """The same seed gives the same campaign with every engine of this process, and another seed another one."""

    def figures(seed: int) -> object:
        result = shootdown.fuzz_policy("v1", executions=500, seed=seed, engine=engine)
        return result.executions, result.failures, result.features, result.findings

    assert figures(3) == figures(3)
    # Only with features do the figures show which scenarios were run.
    if ENGINES[engine].feedback:
        assert figures(3) != figures(4)


def test_a_campaign_leaves_the_collector_alone() -> None:
    """After a campaign in this process the garbage collector runs as often as before, and nothing is frozen."""
    before = gc.get_threshold(), gc.get_freeze_count()
    shootdown.fuzz_policy("always", executions=5)

    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_a_time_limit() -> None:
    """A campaign with a time as its only limit ends."""
    assert shootdown.fuzz_policy("always", seconds=0.2).executions > 0


def test_a_campaign_with_a_database(tmp_path: Path) -> None:
    """With a database the workers of the command run, and what they found is stored under the same keys."""
    db = tmp_path / "found.db"
    result = shootdown.fuzz_policy(
        mine(tmp_path), executions=400, seed=1, workers=2, engine="random", db=db
    )

    assert result.executions >= 400
    assert not result.interrupted
    with open_store(db, create=False, readonly=True) as store:
        assert {each.key for each in list_findings(store)} == {each.key for each in result.findings}
    assert {each.policy for each in result.findings} == {"mine"}


def test_a_campaign_of_libfuzzer_needs_no_database() -> None:
    """An engine that needs its own process gets one, without a database."""
    result = shootdown.fuzz_policy("v1", executions=300, seed=1, engine="atheris")

    assert {finding.reason for finding in result.findings} == {"denied-though-allowed"}


@pytest.mark.parametrize(
    "options",
    [{"workers": 2}, {"db": "found.db"}, {"engine": "atheris"}],
    ids=["workers", "database", "engine"],
)
def test_a_policy_of_this_process_has_no_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """A rule that no other process can load is refused if other processes would run it, and no database is made."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(shootdown.UserError, match=r"^The policy never exists in this process only"):
        shootdown.fuzz_policy(never, executions=10, **options)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "needs a limit"),
        ({"until_finding": True}, "needs a limit"),
        ({"executions": 0}, "executions must be at least 1, and is 0"),
        ({"seconds": 0}, "seconds must be above zero, and is 0"),
        ({"executions": 1, "workers": 0}, "workers must be at least 1"),
        ({"executions": 1, "seed": -1}, "seed must not be negative"),
        ({"executions": 1, "engine": "afl"}, "There is no engine 'afl'; there are atheris, loop"),
    ],
    ids=["none", "finding", "executions", "seconds", "workers", "seed", "engine"],
)
def test_a_campaign_that_cannot_be(options: dict[str, Any], sentence: str) -> None:
    """Invalid limits and unknown names are a UserError."""
    with pytest.raises(shootdown.UserError, match=sentence):
        shootdown.fuzz_policy("linux", **options)


def test_a_rule_that_raises(tmp_path: Path) -> None:
    """An exception of a rule of this process is passed on; in a file it is a UserError that names the line."""

    def divides(old: int, _new: int) -> bool:
        return old // 0 == 0

    with pytest.raises(ZeroDivisionError):
        shootdown.fuzz_policy(divides, executions=50, seed=1)
    text = "def needs_flush(old: int, new: int) -> bool:\n    return old // 0 == 0\n"
    for workers in (1, 2):
        with pytest.raises(shootdown.UserError, match=r"mine\.py, line 2: ZeroDivisionError"):
            shootdown.fuzz_policy(mine(tmp_path, text), executions=50, seed=1, workers=workers)


def test_a_rule_with_a_memory() -> None:
    """A rule that answers the same question in two ways is refused, with the scenario that showed two
    different things.
    """
    asked = [0]

    def forgets(_old: int, _new: int) -> bool:
        asked[0] += 1
        return asked[0] % 3 == 0

    with pytest.raises(shootdown.Refusal, match=r"(?s)pure function.*shootdown-scenario 1"):
        shootdown.fuzz_policy(forgets, executions=400, seed=1)


# What the user sees.


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No function prints; what the file of a policy prints is on standard error."""
    shootdown.fuzz_policy("always", executions=5, seed=1)
    shootdown.fuzz_policy("always", executions=5, seed=1, engine="random", workers=2)
    shootdown.replay(NX, "v1")
    shootdown.minimize_scenario(NX, "v1")
    shootdown.prove_policy("always", ops=1, operations=["read"])
    assert capfd.readouterr() == ("", "")

    shootdown.replay(NX, mine(tmp_path, PRINTS))
    out, err = capfd.readouterr()
    assert out == ""
    assert err.split() == ["loaded", *["asked"] * err.count("asked")]
