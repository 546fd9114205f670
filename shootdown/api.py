"""What the commands do, as functions: they return frozen dataclasses, and print nothing.

A policy is given as its name, the path of its file, a `Policy`, or a rule `needs_flush(old, new)`. A scenario is given
as its text, the name of one in the corpus, or the path of a file.
Errors: UserError when the input cannot be used, Refusal when the system does not let the work go on, or when one
scenario shows two different things; the message is one sentence. An exception of a rule of this process is passed on;
an error in the file of a policy is a UserError that names the line. What a policy prints goes to standard error.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from shootdown.evidence.explain import explain
from shootdown.evidence.investigate import NotReproducible
from shootdown.evidence.reduction import reduction_of
from shootdown.evidence.report import report
from shootdown.fuzz.campaign.in_process import fuzz_in_process
from shootdown.fuzz.campaign.parent import run_campaign
from shootdown.fuzz.campaign.plan import Limits, NoView, Plan, Sighted
from shootdown.fuzz.campaign.seeds import seed_corpus
from shootdown.fuzz.engines.registry import ENGINES
from shootdown.optimized.policy import Policy
from shootdown.policy.source import (
    LoadedPolicy,
    PolicyError,
    PolicyLike,
    blamed,
    policy_names,
    policy_of,
)
from shootdown.prove.driver import Prover
from shootdown.prove.found import investigated
from shootdown.prove.scope import OPERATIONS, header_of, rules_of, scope_of
from shootdown.results import (
    Counterexample,
    Difference,
    Finding,
    FuzzResult,
    MinimizeResult,
    ProofResult,
    ReplayResult,
    ReplayStep,
    TableRow,
    Verdict,
)
from shootdown.run.lockstep import compare, in_lockstep, reference_for, words_of
from shootdown.scenario import corpus, render
from shootdown.scenario.source import find_scenario
from shootdown.scenario.verdict import meaning_of
from shootdown.store import Minimum, abandoned, list_campaigns, mark_abandoned, open_store
from shootdown.system.environment import default_name, fresh_seed
from shootdown.system.refusal import Refusal
from shootdown.system.user_error import UserError
from shootdown.table.changes import describe
from shootdown.table.rows import Cell, Row, table_of
from shootdown.table.words import events_of, gains_of, rule_of

RECORDS = 32
"""Length of the scenarios of a campaign, the same as for the command."""


def policies() -> tuple[Policy, ...]:
    """Return every policy that has a name: the rules, the seeded faults, and what installed packages bring."""
    return tuple(policy_of(name).policy for name in policy_names())


def load_policy(policy: PolicyLike) -> LoadedPolicy:
    """Return the policy with the place it came from; every other function accepts the result as well."""
    return policy_of(policy)


def scenarios() -> Mapping[str, str]:
    """Return the text of each scenario of the corpus by its name, sorted: good_* are legal, bad_* are not."""
    return corpus.texts()


def fuzz_policy(
    policy: PolicyLike,
    *,
    executions: int | None = None,
    seconds: float | None = None,
    until_finding: bool = False,
    seed: int | None = None,
    engine: str = "loop",
    workers: int = 1,
    db: str | Path | None = None,
) -> FuzzResult:
    """Run a campaign up to a number of executions, a time, or with `until_finding` the first finding.

    With one worker, no database and an engine that runs in the caller's process (docs/campaigns.md lists them) the
    campaign runs in this process: nothing is written, and policy, seed and executions decide the result. In every other
    case it is the campaign of `shootdown fuzz`: worker processes, and with `db` a findings database, which is created
    if it does not exist. The workers load the policy by its name or file, and a database keeps only what a command can
    replay, so a `Policy` or rule that only this process has is refused there.
    Ctrl-C raises KeyboardInterrupt in this process; a campaign with workers ends, and says that it was interrupted.
    """
    loaded = policy_of(policy)
    _check_limits(executions, seconds, workers, engine)
    limits = Limits(seconds, executions, until_finding)
    if seed is None:
        seed = fresh_seed()
    elif seed < 0:
        raise UserError(f"seed must not be negative, and is {seed}.")
    if db is None and workers == 1 and ENGINES[engine].in_process:
        with _reproducible():
            ended = fuzz_in_process(
                loaded,
                engine=engine,
                seed=seed,
                records=RECORDS,
                limits=limits,
                seeds=seed_corpus(),
            )
        return FuzzResult(
            policy=loaded.name,
            engine=engine,
            seed=seed,
            workers=1,
            executions=ended.executions,
            undecided=ended.undecided,
            failures=ended.failures,
            features=ended.features,
            seconds=ended.seconds,
            findings=_shortest_first(ended.findings),
        )
    if not loaded.spec:
        raise UserError(
            f"The policy {loaded.name} exists in this process only: with workers, a database or the engine {engine}"
            " it must have a file or an entry point."
        )
    return _campaign(loaded, engine, seed, workers, limits, ":memory:" if db is None else db)


def _campaign(
    loaded: LoadedPolicy,
    engine: str,
    seed: int,
    workers: int,
    limits: Limits,
    db: str | Path,
) -> FuzzResult:
    with open_store(db, create=True) as store:
        mark_abandoned(store, abandoned(store))
        taken = {stored.campaign.name for stored in list_campaigns(store)}
        plan = Plan(
            name=default_name(loaded.name, taken),
            policy=loaded,
            engine=engine,
            seed=seed,
            workers=workers,
            records=RECORDS,
            limits=limits,
            seeds=seed_corpus(),
        )
        result = run_campaign(store, plan, NoView())
    if result.broken is not None:
        if result.broken.trouble == "policy":
            raise PolicyError(result.broken.sentence)
        raise Refusal(f"{result.broken.sentence} The logs are in {result.logs}.")
    return FuzzResult(
        policy=loaded.name,
        engine=engine,
        seed=seed,
        workers=workers,
        executions=result.totals.executions,
        undecided=result.snapshot.undecided,
        failures=result.snapshot.failures,
        features=result.totals.features,
        seconds=result.totals.seconds,
        findings=_shortest_first(result.findings),
        interrupted=result.status == "interrupted",
    )


def replay(scenario: str | Path, policy: PolicyLike) -> ReplayResult:
    """Run a scenario and explain what it shows: same scenario, policy and version, same result."""
    parsed = find_scenario(scenario)
    loaded = policy_of(policy)
    with blamed(loaded):
        told = explain(parsed.scenario, loaded.policy)
    return ReplayResult(
        policy=told.policy,
        verdict=cast("Verdict", told.verdict),
        rule=told.rule,
        reason=told.reason,
        meaning=told.meaning,
        skip=told.skip,
        scenario=render(parsed.scenario),
        steps=tuple(
            ReplayStep(step.time, step.cpu, told.operation(step.record), step.step, step.changes)
            for step in told.steps
        ),
        flushes=told.costs["flushes"],
        ipis=told.costs["ipis"],
        invalidated_pages=told.costs["invalidated_pages"],
        report=report(told),
    )


def prove_policy(
    policy: PolicyLike,
    *,
    ops: int = 2,
    operations: Sequence[str] = OPERATIONS,
    cpus: int = 2,
    pages: int = 2,
    layout: str = "private",
    asids: int = 1,
    batch: int = 1,
    machine: Iterable[str] = (),
    rules: Iterable[str] = (),
    seconds: float | None = None,
    memory: int = 2 << 30,
    workers: int = 1,
) -> ProofResult:
    """Explore every interleaving of every sequence of up to `ops` of the operations, as `shootdown prove` does.

    `machine`: switches of the machine.
    `rules`: the violations that count, all if none is named.
    `seconds`, `memory`: the proof ends undecided beyond this time, or beyond these bytes for worlds and paths; Ctrl-C
    ends it undecided as well.
    `workers`: if there is more than one, they are forked from this process.
    """
    loaded = policy_of(policy)
    header = header_of(
        cpus=cpus, pages=pages, layout=layout, machine=machine, asids=asids, batch=batch
    )
    scope = scope_of(header, ops, operations)
    counting = rules_of(rules)
    _at_least("workers", workers, 1)
    with blamed(loaded), _reproducible():
        prover = Prover(
            scope,
            loaded.policy.make(),
            workers=workers,
            seconds=seconds,
            memory=memory,
            rules=counting,
        )
        result = prover.run()
        met = found = None
        if result.verdict == "illegal":
            met, found = investigated(result.path, scope, loaded.policy)
    return ProofResult(
        policy=loaded.name,
        scope=scope.words(),
        verdict=result.verdict,
        complete=result.state.level,
        worlds=result.state.worlds,
        transitions=result.state.transitions,
        seconds=result.state.seconds,
        why=result.why,
        counterexample=None if met is None else render(met),
        finding=None if found is None else _finding(found.minimum, complete=found.complete),
    )


def tabulate_policy(policy: PolicyLike) -> tuple[TableRow, ...]:
    """Return for each class of changes whether the policy flushes, and whether a flush is needed."""
    loaded = policy_of(policy)
    return tuple(_row(row, row.cells[0]) for row in table_of([loaded]))


def minimize_scenario(
    scenario: str | Path, policy: PolicyLike, *, budget: int = 1000
) -> MinimizeResult | None:
    """Return the smallest scenario that still shows the same violation, or None when it shows nothing illegal.

    `budget`: the most runs that the minimizer may take.
    """
    parsed = find_scenario(scenario)
    loaded = policy_of(policy)
    _at_least("budget", budget, 1)
    with blamed(loaded):
        smaller = reduction_of(parsed.scenario, loaded.policy, budget)
    if smaller is None:
        return None
    return MinimizeResult(
        scenario=render(smaller.scenario),
        rule=smaller.rule,
        reason=smaller.reason,
        skip=smaller.skip,
        records_before=len(parsed.scenario.records),
        records=len(smaller.scenario.records),
        runs=smaller.runs,
        complete=smaller.complete,
    )


def lockstep(scenario: str | Path, policy: PolicyLike) -> Difference | None:
    """Run every operation to completion under the policy and under the reference; return where they differ, or None."""
    parsed = find_scenario(scenario)
    loaded = policy_of(policy)
    with blamed(loaded):
        difference = compare(parsed.scenario, loaded.policy.make(), reference_for(loaded.policy))
    if difference is None:
        return None
    return Difference(
        position=difference.position,
        policy=words_of(difference.left),
        reference=words_of(difference.right),
        scenario=render(in_lockstep(parsed.scenario)),
    )


@contextmanager
def _reproducible() -> Iterator[None]:
    try:
        yield
    except NotReproducible as error:
        raise Refusal(f"{error}\n{error.text}") from None


def _check_limits(executions: int | None, seconds: float | None, workers: int, engine: str) -> None:
    if executions is None and seconds is None:
        raise UserError("A campaign needs a limit: give executions, seconds, or both.")
    if executions is not None:
        _at_least("executions", executions, 1)
    if seconds is not None and seconds <= 0:
        raise UserError(f"seconds must be above zero, and is {seconds}.")
    _at_least("workers", workers, 1)
    if engine not in ENGINES:
        raise UserError(f"There is no engine {engine!r}; there are {', '.join(ENGINES)}.")


def _at_least(name: str, number: int, least: int) -> None:
    if number < least:
        raise UserError(f"{name} must be at least {least}, and is {number}.")


def _shortest_first(findings: Iterable[Sighted]) -> tuple[Finding, ...]:
    ordered = sorted(findings, key=lambda seen: (seen.minimum.operations, seen.execution, seen.key))
    return tuple(
        _finding(seen.minimum, execution=seen.execution, count=seen.count, complete=seen.complete)
        for seen in ordered
    )


def _finding(
    minimum: Minimum, *, execution: int = 0, count: int = 1, complete: bool = True
) -> Finding:
    return Finding(
        key=minimum.key,
        policy=minimum.policy,
        rule=minimum.rule,
        reason=minimum.reason,
        meaning=meaning_of(minimum.reason),
        skip=minimum.skip,
        scenario=minimum.text,
        operations=minimum.operations,
        execution=execution,
        count=count,
        complete=complete,
    )


def _row(row: Row, cell: Cell) -> TableRow:
    found = cell.need.counterexample
    return TableRow(
        size="2M" if row.huge else "4K",
        group=row.group,
        change=row.name,
        context=row.context,
        verdict=cell.verdict,
        needed=cell.need.needed,
        gains=tuple(gains_of(cell)),
        counterexample=None
        if found is None
        else Counterexample(
            old=describe(cell.old, huge=row.huge),
            new=describe(cell.new, huge=row.huge),
            events=tuple(events_of(found)),
            rule=rule_of(found.reason),
            reason=found.reason,
        ),
        scenarios=cell.stories,
        note=row.note,
    )
