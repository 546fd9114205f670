"""`shootdown conform`: hold the models against a machine that others wrote."""

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from fuzz.campaign.environment import fresh_seed, now
from fuzz.campaign.interrupts import Interrupts
from fuzz.cli.conform_report import closing, document
from fuzz.cli.exit_codes import HARNESS_FAILED, ILLEGAL_FOUND, OK
from fuzz.cli.options import Duration, counted, db_option, json_option
from fuzz.cli.output import print_json
from fuzz.conform.live.build import compile_driver
from fuzz.conform.live.campaign import Campaign
from fuzz.conform.live.driver import Driver, DriverFailed
from fuzz.conform.live.host import Host, host
from fuzz.conform.live.known import known_on
from fuzz.conform.live.left_out import driven_on
from fuzz.conform.outcome import Figures, Found
from fuzz.conform.unusable import Unusable
from fuzz.scenario import render
from fuzz.store import (
    Comparison,
    Reach,
    Store,
    StoredDisagreement,
    open_store,
    record_disagreement,
    save_reach,
    start_comparison,
)
from optimized.policies import REGISTRY

POLICY: Final = "linux"
"""What the models run under: which flushes are made is not compared by what accesses show."""
LINE_SECONDS: Final = 5.0
SAVE_SECONDS: Final = 2.0


class Ledger:
    """Keeps one comparison in the database, from its start to its end."""

    def __init__(self, store: Store, comparison: Comparison) -> None:
        self.store = store
        self.id = start_comparison(store, comparison)
        self._next = 0.0

    def found(self, found: Found) -> bool:
        """Store a disagreement; return whether it is new."""
        stored = StoredDisagreement(
            found.kind, found.what, found.model, found.other, render(found.scenario)
        )
        return record_disagreement(self.store, self.id, stored, now())

    def save(self, figures: Figures) -> None:
        """Store the figures now and then."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SAVE_SECONDS
            save_reach(self.store, self.id, _reach(figures))

    def end(self, figures: Figures) -> None:
        """Store the last figures."""
        save_reach(self.store, self.id, _reach(figures), now())


def _reach(figures: Figures) -> Reach:
    return Reach(
        figures.sequences,
        figures.operations,
        figures.accesses,
        round(figures.seconds, 3),
        json.dumps(figures.explained, sort_keys=True),
    )


@click.command("conform")
@click.option("--live", is_flag=True, help="Against the Linux that runs here.")
@click.option(
    "--for",
    "seconds",
    type=Duration(),
    default="60s",
    show_default=True,
    help="Stop after this time.",
)
@click.option("--sequences", type=click.IntRange(1), help="Stop after this many sequences.")
@click.option("--seed", type=click.IntRange(0, 2**62), help="Repeats a comparison's choices.")
@db_option
@click.option("--quiet", is_flag=True, help="Show the outcome only, no progress.")
@json_option
def command(
    *,
    live: bool,
    seconds: float,
    sequences: int | None,
    seed: int | None,
    db: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run the same random sequences on the models and on another machine, and compare what each access shows.

    With --live the other machine is the Linux that runs here: a C program, compiled by the system's compiler, drives
    it from user space and changes nothing machine-wide. The exit code is 0 when all agree, 1 when a disagreement is
    not explained.
    """
    if not live:
        raise click.UsageError("Name the machine to compare with: --live.")
    seed = fresh_seed() if seed is None else seed
    stream = sys.stderr if as_json else sys.stdout

    def write(line: str) -> None:
        if not quiet:
            print(line, file=stream, flush=True)

    try:
        return _live(seconds, sequences, seed, db, write, as_json=as_json)
    except Unusable as error:
        raise click.ClickException(f"conform --live cannot run: {error}") from None


def _live(
    seconds: float,
    sequences: int | None,
    seed: int,
    db: str,
    write: Callable[[str], None],
    *,
    as_json: bool,
) -> int:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unusable(f"this is {platform.system()} on {platform.machine()}, not Linux on x86-64.")
    here = host()
    with tempfile.TemporaryDirectory(prefix="shootdown-") as folder:
        program = compile_driver(Path(folder))
        file = Path(folder) / "file"
        file.touch()
        with Driver(program, file) as driver, open_store(db, create=True) as store:
            driven, lacking = driven_on(here, driver.cpus, driver.features, driver.uffd_error)
            known = known_on(here.version)
            write(f"{_host_line(here)}; seed {seed}.")
            ledger = Ledger(store, _comparison("live", seed, here, lacking))
            campaign = Campaign(
                driver,
                REGISTRY[POLICY].make(),
                driven=driven,
                known=known,
                seed=seed,
            )
            failure = _run(campaign, ledger, seconds, sequences, write)
            ledger.end(campaign.figures)
    if as_json:
        print_json(document(here, seed, campaign, lacking, failure, db))
    else:
        click.echo("\n".join(closing(here, seed, campaign, lacking, failure, db)))
    if campaign.found:
        return ILLEGAL_FOUND
    return HARNESS_FAILED if failure else OK


def _run(
    campaign: Campaign,
    ledger: Ledger,
    seconds: float,
    sequences: int | None,
    write: Callable[[str], None],
) -> str:
    """Run the comparison to its end; return why it ended before, "" if it did not."""
    interrupts = Interrupts()
    due = time.monotonic() + LINE_SECONDS

    def tell() -> None:
        nonlocal due
        ledger.save(campaign.figures)
        if time.monotonic() >= due:
            due = time.monotonic() + LINE_SECONDS
            write(_progress(campaign.figures))

    def store(found: Found) -> None:
        new = ledger.found(found)
        known = "" if new else " (known before)"
        write(f"disagreement{known}: {found.what}: model {found.model}, kernel {found.other}")

    with interrupts.counted():
        try:
            campaign.run(
                seconds=seconds,
                sequences=sequences,
                stop=lambda: interrupts.count > 0,
                tell=tell,
                store=store,
            )
        except DriverFailed as error:
            return str(error)
    return ""


def _progress(figures: Figures) -> str:
    rate = figures.operations / figures.seconds if figures.seconds else 0.0
    return (
        f"{figures.seconds:.0f} s: {counted(figures.sequences, 'sequence')},"
        f" {counted(figures.accesses, 'access')[: -len('access')]}accesses, {rate:,.0f} operations/s"
    )


def _host_line(here: Host) -> str:
    return f"Linux {here.release}, {counted(here.cpus, 'CPU')}, {here.cpu}"


def _comparison(kind: str, seed: int, here: Host, lacking: Sequence[str]) -> Comparison:
    return Comparison(
        kind=kind,
        seed=seed,
        tool_version=version("shootdown"),
        python=platform.python_version(),
        machine=here._asdict(),
        left_out=list(lacking),
        started=now(),
    )
