"""`shootdown replay`: run a finding or a scenario file again, and explain what it shows."""

import shlex
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import click

from shootdown.cli.chosen import chosen_policy, told
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.cli.finding_page import base_of
from shootdown.cli.options import (
    DEFAULT_DB,
    chosen_machine,
    db_option,
    json_option,
    machine_option,
    replay_command,
)
from shootdown.cli.output import print_json
from shootdown.evidence.explain import Explanation, explain
from shootdown.evidence.report import missed_lines, report
from shootdown.machine.registry import DEFAULT_MACHINE
from shootdown.policy.source import (
    LoadedPolicy,
    PolicyError,
    blamed,
    policy_of_finding,
)
from shootdown.scenario import Expectation, Scenario, corpus, decode
from shootdown.scenario.source import find_scenario
from shootdown.scenario.verdict import ILLEGAL
from shootdown.store import (
    Replay,
    Store,
    StoredFinding,
    find_campaign,
    find_finding,
    list_sightings,
    open_store,
    record_replay,
)
from shootdown.store.errors import StoreReadOnly
from shootdown.system.environment import now


@dataclass(frozen=True, slots=True)
class Run:
    """One scenario under one policy: what was expected, what the run showed, and the command that shows it again.

    `found_against`: the words for the base that the finding was found against, "" for none.
    `base` is what the same scenario showed under the policy of --against, or else under that base.
    """

    told: Explanation
    expected: Expectation | None
    title: str
    replay: str
    found_against: str = ""
    base: Explanation | None = None

    @property
    def as_expected(self) -> bool:
        """Return whether the run showed what was expected of it; true when nothing was expected."""
        if self.expected is None:
            return True
        return (self.told.rule, self.told.reason) == (self.expected.rule, self.expected.reason)

    @property
    def fails(self) -> bool:
        """Return whether the run was illegal, and not so under the base as well."""
        told, base = self.told, self.base
        shared = base is not None and (base.rule, base.reason) == (told.rule, told.reason)
        return told.verdict == ILLEGAL and not shared


@click.command("replay")
@click.argument("target", metavar="FINDING|FILE")
@click.option(
    "--policy", metavar="NAME|FILE", help="A policy other than the recorded or the expected one."
)
@click.option(
    "--against",
    metavar="NAME|FILE",
    help="Run it under this policy too, and fail only for what this one does not show.",
)
@db_option
@click.option(
    "--trace/--no-trace", default=None, help="The timeline; shown unless the run was legal."
)
@machine_option
@json_option
def command(
    target: str,
    *,
    policy: str | None,
    against: str | None,
    db: str,
    trace: bool | None,
    machine: str,
    as_json: bool,
) -> int:
    """Run a scenario again and explain what it shows.

    FINDING is the beginning of a finding's id; the replay is recorded in the database. FILE is a scenario as text, the
    name of one of the corpus, or the binary input of a fuzzer; without --policy a text is run under every policy of its
    `expect` lines.
    A finding of `fuzz --against` is run under the base of its campaign too, if no other one is given.
    A replay on QEMU's MMU is not recorded.
    The exit code is 1 when a run is still illegal; with --against, when it is not so under the base as well.
    """
    chosen_machine(machine)
    is_file = target not in ("", ".") and (Path(target).exists() or target in corpus.texts())
    runs = (
        _replay_file(target, policy, machine)
        if is_file
        else [_replay_finding(target, policy, db, machine)]
    )
    runs = [_beside(run, against, machine) for run in runs]
    if as_json:
        print_json({"target": target, "runs": [_document(run) for run in runs]})
    else:
        brief = len(runs) > 1
        click.echo("\n".join(_text(run, trace=trace, brief=brief) for run in runs), nl=False)
    return ILLEGAL_FOUND if any(run.fails for run in runs) else OK


def _beside(run: Run, against: str | None, machine: str) -> Run:
    """Return the run with what its base shows; a base that the user has not named, and that is gone, is left out."""
    words = run.found_against if against is None else against
    if not words and against is None:
        return run
    try:
        base = chosen_policy(words)
    except PolicyError as error:
        if against is not None:
            raise
        click.echo(f"The base of the finding is left out: {error}", err=True)
        return run
    told = explained(run.told.scenario, base, machine)
    if base.name == run.told.policy:
        # Two states of a tree, say, have one name.
        told = replace(told, policy=words)
    return replace(
        run,
        base=told,
        replay=f"{run.replay} --against {shlex.quote(words)}",
    )


def explained(
    scenario: Scenario, loaded: LoadedPolicy, machine: str = DEFAULT_MACHINE
) -> Explanation:
    """Explain a run of the policy.

    Errors: PolicyError, when the user's file raises.
    """
    with blamed(loaded):
        return explain(scenario, loaded.policy, chosen_machine(machine))


def _replay_file(target: str, policy: str | None, machine: str) -> list[Run]:
    parsed = find_scenario(target)
    expected = {expectation.policy: expectation for expectation in parsed.expectations}
    policies = [policy] if policy is not None else list(expected)
    if not policies:
        raise click.UsageError(
            f"{target} names no policy in an `expect` line: give one with --policy."
        )
    runs = []
    for name in policies:
        loaded = chosen_policy(name)
        runs.append(
            Run(
                explained(parsed.scenario, loaded, machine),
                expected.get(loaded.name),
                f"{target}, policy {loaded.name}{_on(machine)}",
                replay_command(target, policy=name, machine=machine),
            )
        )
    return runs


def _replay_finding(target: str, policy: str | None, db: str, machine: str) -> Run:
    if not Path(db).exists() and db == DEFAULT_DB:
        raise click.UsageError(
            f"{target} is no file, and there is no database {db} to look it up in."
        )
    if machine != DEFAULT_MACHINE:
        # Whether a finding still fails is a question about the policy, and its machine is the one that found it.
        with open_store(db, create=False, readonly=True) as store:
            return _rerun(store, target, policy, db, machine)[0]
    try:
        with open_store(db, create=False) as store:
            run, record = _rerun(store, target, policy, db, machine)
            record_replay(store, record)
    except StoreReadOnly as error:
        with open_store(db, create=False, readonly=True) as store:
            run, _ = _rerun(store, target, policy, db, machine)
        click.echo(f"The replay was not recorded: {error}", err=True)
    return run


def _rerun(
    store: Store, target: str, policy: str | None, db: str, machine: str
) -> tuple[Run, Replay]:
    finding = find_finding(store, target)
    minimum = finding.minimum
    loaded = chosen_policy(policy) if policy is not None else recorded_policy(store, finding)
    told = explained(decode(minimum.scenario), loaded, machine)
    expected = Expectation(minimum.policy, minimum.rule, minimum.reason)
    run = Run(
        told,
        expected if loaded.name == minimum.policy else None,
        f"finding {finding.id}, policy {loaded.name}{_on(machine)}",
        replay_command(finding.id, policy=policy or "", db=db, machine=machine),
        base_of(store, finding),
    )
    record = Replay(
        finding=finding.key,
        at=now(),
        policy=loaded.name,
        tool_version=version("shootdown"),
        verdict="illegal"
        if told.verdict == ILLEGAL
        else "legal"
        if not told.reason
        else "undecided",
        rule=told.rule,
        reason=told.reason,
        reproduced=(told.rule, told.reason) == (minimum.rule, minimum.reason),
    )
    return run, record


def recorded_policy(store: Store, finding: StoredFinding) -> LoadedPolicy:
    """Return the policy of the finding, as it was for the last campaign that saw the finding.

    Errors: PolicyError.
    """
    last = list_sightings(store, finding.key)[-1]
    campaign = find_campaign(store, last.campaign).campaign
    return told(policy_of_finding(finding.minimum.policy, campaign.policy_version))


def _on(machine: str) -> str:
    return "" if machine == DEFAULT_MACHINE else ", QEMU's MMU"


def _text(run: Run, *, trace: bool | None, brief: bool) -> str:
    """Return the report of a run; if there are several runs, one that was legal as expected becomes a single line."""
    legal = run.told.verdict == "legal"
    if brief and legal and run.as_expected and not trace and run.base is None:
        return "\n".join([f"{run.title}: legal, as expected.", *missed_lines(run.told), ""])
    text = report(
        run.told,
        base=run.base,
        replay=run.replay,
        timeline=not legal if trace is None else trace,
        title=run.title,
    )
    if run.as_expected:
        return text
    wanted = f"{run.expected.rule} {run.expected.reason}" if run.expected else ""
    return f"NOT as expected, which was {wanted.strip() or 'legal'}.\n{text}"


def _document(run: Run) -> dict[str, object]:
    return run.told.document() | {
        "expected": None if run.expected is None else run.expected._asdict(),
        "as_expected": run.as_expected,
        "base": run.base
        and {
            name: getattr(run.base, name)
            for name in ("policy", "verdict", "rule", "reason", "costs")
        },
        "replay": run.replay,
    }
