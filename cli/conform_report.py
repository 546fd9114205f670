"""What `shootdown conform --live` says when it ends."""

import textwrap
from typing import Final

from shootdown.cli.options import counted
from shootdown.cli.output import WIDTH
from shootdown.conform.live.flushes import WHY
from shootdown.conform.live.known import ALWAYS, BY_RELEASE, EXECUTE_ONLY, MODELLED
from shootdown.conform.live.left_out import NEVER
from shootdown.conform.live.run import Result
from shootdown.conform.outcome import Found
from shootdown.scenario import render

SHOWN: Final = 5
"""Disagreements that are shown in full."""
FOLLOWED: Final = ".".join(map(str, MODELLED))
KNOWN: Final = (
    {one.name: (one.function, one.says) for one in (*BY_RELEASE, EXECUTE_ONLY)}
    | ALWAYS
    | {name: (function, says) for name, function, says in WHY.values()}
)
"""All known differences by name: the kernel's function, and what it does otherwise."""


def closing(result: Result, db: str) -> list[str]:
    """Return the lines that end a comparison, for people."""
    lines = ["", *_figures(result), *_explained(result)]
    if result.left_out:
        lines += ["Left out on this machine:", *(_item(line) for line in result.left_out)]
    lines += textwrap.wrap(
        f"Never driven: {', '.join(sorted(NEVER))}.", WIDTH, subsequent_indent="  "
    )
    unreached = result.unreached()
    if unreached:
        lines += ["Not reached:", *(_item(line) for line in unreached)]
    if result.failure:
        lines.append(f"The driver failed: {result.failure}. What was compared before it counts.")
    if result.interrupted:
        lines.append("Interrupted.")
    if not result.found:
        return [*lines, _verdict(result)]
    lines.append(f"{counted(len(result.found), 'disagreement')} that nothing explains.")
    for found in result.found[:SHOWN]:
        lines += ["", *_found(found)]
    return [*lines, "", f"All of them: shootdown findings query disagreements --db {db}"]


def _verdict(result: Result) -> str:
    """Return the closing sentence of a comparison without a disagreement."""
    if not result.compared:
        return "Nothing was compared."
    early = result.failure or result.interrupted
    return f"No disagreement that is not explained{' up to there' if early else ''}."


def _figures(result: Result) -> list[str]:
    figures = result.figures
    lines = []
    if result.requests:
        equal = sum(one.model == one.kernel for one in result.requests)
        lines.append(
            f"Flush requests: {counted(len(result.requests), 'case')}, {equal} equal in requests and interrupts."
        )
    if any(race.rounds for race in result.raced):
        rounds = [race.rounds for race in result.raced]
        accesses = sum(race.accesses for race in result.raced)
        lines.append(
            f"Races: {len(rounds)} kinds, {min(rounds):,} rounds of each at least, {sum(rounds):,} in all,"
            f" {accesses:,} accesses."
        )
    if figures.sequences:
        lines.append(
            f"Sequences: {figures.sequences:,}, {figures.operations:,} operations, {figures.accesses:,} accesses."
        )
    return [*lines, f"All in {figures.seconds:.1f} s."]


def _explained(result: Result) -> list[str]:
    explained = result.figures.explained
    if not result.compared:
        return []
    if not explained:
        return [f"The models follow Linux {FOLLOWED}; no known difference was met."]
    lines = [f"The models follow Linux {FOLLOWED}. Known differences that were met, and how often:"]
    for name, count in sorted(explained.items()):
        function, says = KNOWN[name]
        lines.append(_item(f"{name}, {count:,}: {says} ({function})."))
    return lines


def _found(found: Found) -> list[str]:
    seen = "" if found.again else " It need not come again: it is a race."
    if found.kind == "live" and not found.again:
        seen = " It did not come again when the sequence ran again."
    lines = [
        *textwrap.wrap(f"Disagreement: {found.what}.{seen}", WIDTH),
        f"  model:  {found.model}",
        f"  kernel: {found.other}",
        *(f"  {line}".rstrip() for line in render(found.scenario).splitlines()),
    ]
    if found.kind == "live":
        again = f"shootdown conform --live --part sequences --sequences 1 --seed {found.seed}"
    else:
        again = f"shootdown conform --live --part {found.kind}"
    return [*lines, f"Again: {again}"]


def _item(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def document(result: Result, db: str) -> dict[str, object]:
    """Return the same as JSON values."""
    figures = result.figures
    return {
        "machine": result.host._asdict(),
        "models": FOLLOWED,
        "seed": result.seed,
        "sequences": figures.sequences,
        "operations": figures.operations,
        "accesses": figures.accesses,
        "seconds": round(figures.seconds, 3),
        "races": [
            {"name": race.name, "rounds": race.rounds, "accesses": race.accesses}
            for race in result.raced
        ],
        "flushes": [
            {
                "case": one.case.name,
                "model": list(one.model),
                "kernel": list(one.kernel),
                "why": one.why,
            }
            for one in result.requests
        ],
        "explained": {
            name: {"count": count, "function": KNOWN[name][0], "says": KNOWN[name][1]}
            for name, count in sorted(figures.explained.items())
        },
        "left_out": result.left_out,
        "never_driven": NEVER,
        "compared": result.compared,
        "unreached": result.unreached(),
        "failure": result.failure,
        "interrupted": result.interrupted,
        "disagreements": [
            {
                "kind": found.kind,
                "what": found.what,
                "model": found.model,
                "kernel": found.other,
                "scenario": render(found.scenario),
                "seed": found.seed,
                "again": found.again,
            }
            for found in result.found
        ],
        "db": db,
    }
