"""`shootdown prove`: explore every interleaving within a bound."""

import os
import sys
import textwrap
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

import click

from shootdown import form
from shootdown.cli.chosen import chosen_policy
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK, UNDECIDED
from shootdown.cli.kernel_text import introduce
from shootdown.cli.options import Duration, Size, db_option, json_option, replay_command
from shootdown.cli.output import WIDTH, print_json
from shootdown.cli.settle import settle
from shootdown.evidence.investigate import NotReproducible
from shootdown.kernel.strategy import KernelFlush
from shootdown.policy.source import blamed
from shootdown.prove import checkpoint as files
from shootdown.prove.counterexample import operations_in
from shootdown.prove.driver import Prover, State
from shootdown.prove.ledger import Filed, ProofLedger
from shootdown.prove.progress import ProofView, figures
from shootdown.prove.scope import OPERATIONS, Scope, header_of, scope_of
from shootdown.prove.visited import MOST
from shootdown.scenario import Scenario, decode, kinds, render_record
from shootdown.scenario.switches import names_of
from shootdown.scenario.verdict import RULES, meaning_of
from shootdown.store import open_store
from shootdown.system.refusal import Refusal

_OPAQUE: Final = (
    "Worlds that differ in numbers of CPUs, frames or generations count as different, because the C of this policy may"
    " depend on any of them."
)


@click.command("prove")
@click.option("--policy", required=True, metavar="NAME|FILE", help="What to prove.")
@click.option(
    "--cpus",
    type=click.IntRange(1, kinds.MAX_CPUS),
    default=2,
    show_default=True,
    help="CPUs of the machine.",
)
@click.option(
    "--pages",
    type=click.IntRange(1, kinds.MAX_PAGES),
    default=2,
    show_default=True,
    help="Pages of each address space.",
)
@click.option(
    "--ops", type=click.IntRange(1, MOST), default=5, show_default=True, help="Operations at most."
)
@click.option(
    "--operations",
    default=",".join(OPERATIONS),
    show_default=True,
    metavar="NAME,...",
    help="The operations that can start.",
)
@click.option(
    "--layout",
    type=click.Choice(kinds.LAYOUTS),
    default="private",
    show_default=True,
    help="What is mapped at the start.",
)
@click.option(
    "--asids",
    type=click.IntRange(1, kinds.MAX_ASIDS),
    default=1,
    show_default=True,
    help="Address-space identifiers of each CPU.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, kinds.MAX_BATCH),
    default=1,
    show_default=True,
    help="Pages in a batch of mmu_gather.",
)
@click.option(
    "--machine", type=click.Choice(kinds.SWITCHES), multiple=True, help="A switch of the machine."
)
@click.option(
    "--rule",
    type=click.Choice(list(RULES)),
    multiple=True,
    help="Violations that count; all if not given.",
)
@click.option(
    "--for",
    "seconds",
    type=Duration(),
    help="Stop undecided after this time, such as 60s, 10m, 1h.",
)
@click.option(
    "--memory",
    type=Size(),
    default="2G",
    show_default=True,
    help="Stop undecided when worlds and paths need more memory than this.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes; one for each core if not given."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the proof in this file, and continue with what the file holds.",
)
@db_option
@click.option("--quiet", is_flag=True, help="Show the verdict only, no progress.")
@json_option
def command(
    *,
    policy: str,
    cpus: int,
    pages: int,
    ops: int,
    operations: str,
    layout: str,
    asids: int,
    batch: int,
    machine: tuple[str, ...],
    rule: tuple[str, ...],
    seconds: float | None,
    memory: int,
    workers: int | None,
    checkpoint: Path | None,
    db: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Explore every interleaving of every sequence of operations within a bound.

    Speculative fills and evictions are explored wherever they make a difference. The verdict is "no illegal outcome in
    this scope", or a counterexample with the fewest operations that are possible, or undecided at a limit. The exit
    code is 0, 1 or 4.
    """
    loaded = chosen_policy(policy)
    introduce(loaded)
    header = header_of(
        cpus=cpus, pages=pages, layout=layout, machine=machine, asids=asids, batch=batch
    )
    scope = scope_of(header, ops, [name.strip() for name in operations.split(",")])
    bound = _bound(scope, rule)
    identity = {"policy": loaded.name, "version": loaded.version} | bound
    text = loaded.policy.strategy
    if issubclass(text, KernelFlush):
        # Paths and keys depend on how the text was compiled.
        identity["build"] = text.machinery.build
    state, keys = _stored(checkpoint, identity)
    stream = sys.stderr if as_json else sys.stdout

    def write(line: str) -> None:
        if not quiet:
            print(line, file=stream, flush=True)

    with open_store(db, create=True) as store, blamed(loaded):
        settle(store)
        write(_wrapped(f"{loaded.name}: {scope.words()}."))
        if issubclass(text, KernelFlush):
            write(_wrapped(_OPAQUE))
        if form.advice():
            write(_wrapped(form.advice()))
        if state is not None:
            write(
                f"Going on with {checkpoint}: {state.level} operations explored, {figures(state)}."
            )
        prover = Prover(
            scope,
            loaded.policy.make(),
            workers=workers or os.cpu_count() or 1,
            seconds=seconds,
            memory=memory,
            rules=frozenset(rule),
            view=ProofView(write, ops),
            save=partial(files.save, checkpoint, identity) if checkpoint else None,
        )
        ledger = ProofLedger(store, loaded, scope, bound, prover.workers)
        try:
            filed = ledger.close(prover.run(state, keys))
        except NotReproducible as error:
            raise Refusal(str(error)) from None
        finally:
            ledger.release()
    if filed.proof.verdict != "undecided" and checkpoint:
        checkpoint.unlink(missing_ok=True)
    if as_json:
        print_json(_document(filed, ledger.name, identity, db))
    else:
        click.echo("\n".join(_closing(filed, checkpoint, db)))
    return {"legal": OK, "illegal": ILLEGAL_FOUND, "undecided": UNDECIDED}[filed.proof.verdict]


def _bound(scope: Scope, rules: tuple[str, ...]) -> dict[str, object]:
    header = scope.header
    return {
        "cpus": header.cpus,
        "pages": header.pages,
        "ops": scope.ops,
        "operations": list(scope.names),
        "layout": kinds.LAYOUTS[header.layout],
        "machine": names_of(header.machine),
        "asids": header.asids,
        "batch": header.batch,
        "rules": sorted(set(rules)),
    }


def _stored(
    checkpoint: Path | None, identity: dict[str, object]
) -> tuple[State | None, Iterable[int]]:
    if checkpoint is None:
        return None, ()
    files.refuse_no_folder(checkpoint)
    return files.load(checkpoint, identity) if checkpoint.exists() else (None, ())


def _closing(filed: Filed, checkpoint: Path | None, db: str) -> list[str]:
    proof = filed.proof
    state = State(worlds=proof.worlds, transitions=proof.transitions, seconds=proof.seconds)
    lines = ["", _wrapped(f"Scope: {proof.scope}."), f"Explored: {figures(state)}."]
    if proof.verdict == "legal":
        return [*lines, "No illegal outcome in this scope."]
    if filed.minimum is None or filed.met is None:
        lines.append(
            f"Undecided: {proof.why}. Nothing illegal with up to {proof.complete} operations."
        )
        if checkpoint:
            lines.append(f"The same command goes on from {checkpoint}.")
        return lines
    minimum = filed.minimum
    fewest = operations_in(filed.met)
    lines += [
        f"Illegal: {minimum.rule} {minimum.reason} with {fewest} operations, and none with fewer.",
        meaning_of(minimum.reason),
        *_records(filed.met),
        f"Finding {minimum.key[:16]}{'' if filed.new else ' (known before)'}, minimized to the fewest records:",
        *_records(decode(minimum.scenario)),
        f"Replay: {replay_command(minimum.key[:16], db=db)}",
    ]
    return lines


def _records(scenario: Scenario) -> list[str]:
    return [f"  {render_record(record)}" for record in scenario.records]


def _wrapped(sentence: str) -> str:
    return textwrap.fill(sentence, WIDTH, subsequent_indent="  ")


def _document(filed: Filed, name: str, identity: dict[str, object], db: str) -> dict[str, object]:
    proof = filed.proof
    finding = None
    if filed.minimum is not None and filed.met is not None:
        finding = {
            "id": filed.minimum.key[:16],
            "rule": filed.minimum.rule,
            "reason": filed.minimum.reason,
            "operations": operations_in(filed.met),
            "scenario": filed.minimum.text,
            "new": filed.new,
            "replay": replay_command(filed.minimum.key[:16], db=db),
        }
    return identity | {
        "campaign": name,
        "scope": proof.scope,
        "verdict": proof.verdict,
        "complete": proof.complete,
        "worlds": proof.worlds,
        "transitions": proof.transitions,
        "seconds": proof.seconds,
        "why": proof.why,
        "finding": finding,
        "db": db,
    }
