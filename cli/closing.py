"""What `shootdown fuzz` says when it ends: the figures, each finding, and the command that replays it."""

from dataclasses import asdict
from typing import Final

from shootdown.cli.against import against_document, against_lines, names_of
from shootdown.cli.options import counted, replay_command
from shootdown.fuzz.campaign.plan import Plan, Result, Sighted
from shootdown.fuzz.campaign.progress import saved
from shootdown.machine.registry import DEFAULT_MACHINE
from shootdown.scenario.verdict import meaning_of
from shootdown.store import jsonable
from shootdown.system.pace import duration

SHOWN: Final = 10
"""Findings that are shown in full, the shortest first."""


def closing(plan: Plan, result: Result, db: str) -> list[str]:
    """Return the lines that end a campaign."""
    now = result.snapshot
    totals = result.totals
    rate = totals.executions / totals.seconds if totals.seconds else 0.0
    lines = [
        "",
        (
            f"Campaign {plan.name} {result.status}: policy {plan.policy.name}, engine {plan.engine},"
            f" seed {plan.seed}{_machine(plan)}."
        ),
        (
            f"{counted(totals.executions, 'execution')} in {duration(totals.seconds)} ({rate:,.0f}/s),"
            f" {totals.features:,} features, corpus {totals.corpus_size:,}."
        ),
        (
            f"Flushes saved against the reference: {saved(now)}"
            f" ({totals.policy_flushes:,} instead of {totals.reference_flushes:,})."
        ),
    ]
    if now.tally is not None:
        lines += against_lines(plan, now.tally)
    if result.logs is not None and result.events:
        lines.append(f"{counted(now.replaced, 'worker')} replaced; the logs are in {result.logs}.")
    ordered = in_order(result)
    if ordered:
        new = sum(sighted.new for sighted in ordered)
        lines.append(
            f"{counted(len(ordered), 'finding')}, {new} new; {counted(now.failures, 'failing execution')}."
        )
    elif result.broken is None:
        lines.append(_nothing(plan, now.replaced))
    for sighted in ordered[:SHOWN]:
        lines += ["", *_finding(sighted, plan, db)]
    if len(ordered) > SHOWN:
        option = f" --campaign {plan.name} --db {db}"
        lines += ["", f"And {len(ordered) - SHOWN} more: shootdown findings list{option}"]
    if result.broken is not None:
        lines += ["", *_broken(plan, result)]
    return lines


def _nothing(plan: Plan, lost: int) -> str:
    """Return the sentence for a campaign without a finding; a worker that was lost may have run into one."""
    _, base = names_of(plan)
    if lost:
        workers = counted(lost, "worker")
        return (
            f"Nothing illegal was found, but {workers} died or hung: what ran last is not judged."
        )
    return (
        f"Nothing illegal was found that is legal under {base}."
        if base
        else "Nothing illegal was found."
    )


def _machine(plan: Plan) -> str:
    return "" if plan.machine == DEFAULT_MACHINE else f", machine {plan.machine}"


def in_order(result: Result) -> list[Sighted]:
    """Return the findings, the shortest first."""
    return sorted(
        result.findings, key=lambda seen: (seen.minimum.operations, seen.execution, seen.key)
    )


def summary(plan: Plan, result: Result, db: str) -> dict[str, object]:
    """Return the same as JSON values."""
    broken = result.broken
    return {
        "campaign": result.campaign,
        "name": plan.name,
        "policy": plan.policy.name,
        "policy_version": plan.policy.version,
        "engine": plan.engine,
        "machine": plan.machine,
        "seed": plan.seed,
        "workers": plan.workers,
        "records": plan.records,
        "limits": plan.limits.document(),
        "db": db,
        "status": result.status,
        "totals": asdict(result.totals),
        "undecided": result.snapshot.undecided,
        "failures": result.snapshot.failures,
        "workers_replaced": result.snapshot.replaced,
        "worker_events": list(result.events),
        "findings": [_document(sighted, plan, db) for sighted in in_order(result)],
        "against": None
        if result.snapshot.tally is None
        else against_document(plan, result.snapshot.tally),
        "broken": None if broken is None else asdict(broken),
        "logs": None if result.logs is None else str(result.logs),
    }


def _finding(sighted: Sighted, plan: Plan, db: str) -> list[str]:
    minimum = sighted.minimum
    known = "" if sighted.new else " (known before)"
    records = minimum.text.split("\n\n", 1)
    header = ", ".join(records[0].splitlines()[1:])
    unfinished = "" if sighted.complete else "; the minimizer ran out of its budget"
    return [
        f"Finding {sighted.key[:16]}{known}: {minimum.rule} {minimum.reason}",
        meaning_of(minimum.reason),
        (
            f"Guilty skip: {minimum.skip or 'none'}. Seen {counted(sighted.count, 'time')}, first at"
            f" execution {sighted.execution:,}{unfinished}."
        ),
        f"  {header}",
        *(f"  {line}" for line in (records[1] if len(records) > 1 else "").splitlines()),
        f"Replay: {_replay(sighted, plan, db)}",
    ]


def _document(sighted: Sighted, plan: Plan, db: str) -> dict[str, object]:
    return {
        "id": sighted.key[:16],
        "key": sighted.key,
        **{name: jsonable(value) for name, value in asdict(sighted.minimum).items()},
        "new": sighted.new,
        "count": sighted.count,
        "execution": sighted.execution,
        "complete": sighted.complete,
        "replay": _replay(sighted, plan, db),
    }


def _replay(sighted: Sighted, plan: Plan, db: str) -> str:
    against = plan.base.spec if plan.base else ""
    return replay_command(sighted.key[:16], against=against, db=db, machine=plan.machine)


def _broken(plan: Plan, result: Result) -> list[str]:
    broken = result.broken
    if broken is None:
        return []
    what = {
        "policy": "The policy failed",
        "not-reproducible": "A finding did not reproduce",
        "harness": "The harness failed",
    }[broken.trouble]
    lines = [f"{what}: {broken.sentence}"]
    if broken.details:
        lines.append(f"The traceback is in {result.logs}/traceback.txt.")
    if broken.scenario:
        replay = replay_command(
            f"{result.logs}/scenario.txt",
            policy=plan.policy.spec,
            against=plan.base.spec if plan.base else "",
            machine=plan.machine,
        )
        lines.append(f"Replay: {replay}")
    return lines
