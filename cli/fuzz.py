"""`shootdown fuzz`: run a campaign, and show what it found."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console

from shootdown import form
from shootdown.cli.chosen import chosen_policy, told
from shootdown.cli.closing import closing, summary
from shootdown.cli.exit_codes import HARNESS_FAILED, ILLEGAL_FOUND, OK, UNUSABLE
from shootdown.cli.kernel_text import introduce
from shootdown.cli.options import Duration, chosen_machine, db_option, json_option, machine_option
from shootdown.cli.output import print_json
from shootdown.cli.settle import settle
from shootdown.fuzz.campaign.parent import run_campaign
from shootdown.fuzz.campaign.plan import Limits, Plan, Result, View
from shootdown.fuzz.campaign.progress import PlainView, live_view
from shootdown.fuzz.campaign.seeds import seed_corpus
from shootdown.fuzz.engines.registry import DEFAULT_ENGINE, ENGINES
from shootdown.policy.source import load_policy, policy_of_finding, spec_of_finding
from shootdown.store import find_campaign, list_campaigns, load_corpus, open_store
from shootdown.system.environment import default_name, fresh_seed


@click.command("fuzz")
@click.option(
    "--policy", metavar="NAME|FILE", help="What to test; required unless --resume is given."
)
@click.option(
    "--against",
    metavar="NAME|FILE",
    help="Run every input under this policy too, and keep only findings that are legal under it.",
)
@click.option(
    "--for", "seconds", type=Duration(), help="Stop after this time, such as 60s, 10m, 1h30m."
)
@click.option("--execs", type=click.IntRange(1), help="Stop after this many executions.")
@click.option("--until-finding", is_flag=True, help="Stop at the first finding.")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes; one for each core if not given."
)
@db_option
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default=DEFAULT_ENGINE,
    show_default=True,
    help="What chooses the inputs.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Repeats a campaign's choices.")
@click.option("--name", help="A name for the campaign that the database does not have yet.")
@click.option("--resume", metavar="NAME", help="Continue with the stored corpus of a campaign.")
@click.option(
    "--records",
    type=click.IntRange(1, 1024),
    default=32,
    show_default=True,
    help="Length of a scenario.",
)
@click.option("--no-seeds", is_flag=True, help="Start without the scenarios of corpus/.")
@click.option("--exclude-seed", metavar="NAME", multiple=True, help="Leave one of them out.")
@click.option(
    "--hang-after",
    type=Duration(),
    default="30s",
    show_default=True,
    help="Replace a silent worker.",
)
@machine_option
@click.option("--quiet", is_flag=True, help="Show findings only, no progress.")
@json_option
def command(
    *,
    policy: str | None,
    against: str | None,
    seconds: float | None,
    execs: int | None,
    until_finding: bool,
    workers: int | None,
    db: str,
    engine: str,
    seed: int | None,
    name: str | None,
    resume: str | None,
    records: int,
    no_seeds: bool,
    exclude_seed: tuple[str, ...],
    hang_after: float,
    machine: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a campaign against a policy; it goes on after a finding, until a limit or Ctrl-C.

    Everything is stored as soon as it is found, so a campaign that is stopped or killed loses nothing that it
    announced. The exit code is 1 when something illegal was found; with --against, when it is legal under that policy.
    """
    if name is not None and not (name.isprintable() and name.strip()):
        raise click.UsageError("A campaign's name is printable and not empty.")
    chosen_machine(machine)
    seeds = () if no_seeds else seed_corpus(exclude_seed)
    left: list[bytes] = []
    unique = True
    base = None if against is None else chosen_policy(against)
    # All of this comes before the database is made: a mistyped policy must not leave one behind.
    if resume is not None:
        with open_store(db, create=False) as store:
            earlier = find_campaign(store, resume)
            left = load_corpus(store, earlier.id)
        recorded = earlier.campaign
        if base is None and recorded.base:
            base = load_policy(spec_of_finding(recorded.base, recorded.base_version))
        unique = name not in (None, recorded.name)
        name = name or recorded.name
        loaded = (
            told(policy_of_finding(recorded.policy, recorded.policy_version))
            if policy is None
            else chosen_policy(policy)
        )
    elif policy is not None:
        loaded = chosen_policy(policy)
    else:
        raise click.UsageError(
            "Missing option '--policy'; `shootdown policies` lists what there is."
        )
    introduce(loaded)
    with open_store(db, create=True) as store:
        settle(store)
        taken = {stored.campaign.name for stored in list_campaigns(store)}
        plan = Plan(
            name=name or default_name(loaded.name, taken),
            policy=loaded,
            engine=engine,
            seed=fresh_seed() if seed is None else seed,
            workers=workers or os.cpu_count() or 1,
            records=records,
            limits=Limits(seconds, execs, until_finding),
            seeds=(*seeds, *left),
            resumed=len(left),
            silence=hang_after,
            unique=unique,
            machine=machine,
            base=base,
        )
        with _view(plan, db, quiet=quiet, as_json=as_json) as view:
            result = run_campaign(store, plan, view)
    if as_json:
        print_json(summary(plan, result, db))
    else:
        click.echo("\n".join(closing(plan, result, db)))
    return _exit_code(result)


@contextmanager
def _view(plan: Plan, db: str, *, quiet: bool, as_json: bool) -> Iterator[View]:
    """Show the campaign in place in a terminal, in lines elsewhere; with --json on standard error."""
    stream = sys.stderr if as_json else sys.stdout
    remark = "" if ENGINES[plan.engine].instrumented else form.advice()
    if quiet or not stream.isatty():

        def write(line: str) -> None:
            print(line, file=stream, flush=True)

        yield PlainView(write, lines=not quiet, remark=remark)
    else:
        console = Console(file=stream, markup=False, highlight=False)
        with live_view(console, plan, db, remark) as view:
            yield view


def _exit_code(result: Result) -> int:
    if result.broken is not None:
        return UNUSABLE if result.broken.trouble == "policy" else HARNESS_FAILED
    if result.findings:
        return ILLEGAL_FOUND
    # A worker that died or hung has run something that is not judged.
    return HARNESS_FAILED if result.snapshot.replaced else OK
