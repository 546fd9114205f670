"""`shootdown conform`: hold the models against a machine that others wrote."""

import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from shootdown.cli.conform_qemu import conform_qemu
from shootdown.cli.conform_report import closing, document
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK, UNUSABLE
from shootdown.cli.options import Duration, counted, db_option, json_option
from shootdown.cli.output import print_json
from shootdown.conform.ledger import Ledger
from shootdown.conform.live.build import compile_driver
from shootdown.conform.live.driver import Driver
from shootdown.conform.live.host import file_folder, host
from shootdown.conform.live.run import Comparison, Limits, Part, Result
from shootdown.conform.outcome import Figures, Found
from shootdown.conform.qemu.campaign import BOTH, Disagreement
from shootdown.conform.qemu.campaign import Result as Reached
from shootdown.conform.qemu.sides import MODES
from shootdown.machine.qemu.mmu import load_unicorn
from shootdown.optimized.policies import REGISTRY
from shootdown.store import StoreError, open_store
from shootdown.system.environment import fresh_seed
from shootdown.system.interrupts import Interrupts
from shootdown.system.pace import paced
from shootdown.system.unusable import Unusable

POLICY: Final = "linux"
"""The policy whose flushes are compared with the kernel's; what accesses show does not depend on it."""


@click.command("conform")
@click.option("--live", is_flag=True, help="Against the Linux that runs here.")
@click.option(
    "--machine",
    type=click.Choice(["qemu"]),
    help="The machine alone, against QEMU's MMU (unicorn).",
)
@click.option(
    "--part",
    "parts",
    type=click.Choice([part.value for part in Part]),
    multiple=True,
    help="With --live: only this part; all parts if not given.",
)
@click.option(
    "--for",
    "seconds",
    type=Duration(),
    default="60s",
    show_default=True,
    help="Stop after this time.",
)
@click.option("--sequences", type=click.IntRange(1), help="Stop after this many sequences.")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    help="Rounds of each race; if not given, the races get a third of the time.",
)
@click.option(
    "--mode",
    type=click.Choice([*MODES, BOTH]),
    help="With --machine: any entry may have been dropped, there is exactly one outcome, or both (the default).",
)
@click.option(
    "--first", type=click.IntRange(0), help="With --machine: the number of the first sequence."
)
@click.option("--seed", type=click.IntRange(0, 2**62), help="Repeats a comparison's choices.")
@db_option
@click.option("--quiet", is_flag=True, help="Show the outcome only, no progress.")
@json_option
def command(
    *,
    live: bool,
    machine: str | None,
    mode: str | None,
    first: int | None,
    parts: tuple[str, ...],
    seconds: float,
    sequences: int | None,
    rounds: int | None,
    seed: int | None,
    db: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run the same operations on the models and on another machine, and compare what each access shows.

    With --live the other machine is the Linux that runs here: a C program, compiled by the system's compiler, drives
    it from user space and changes nothing machine-wide. It compares flush requests (as root), then races on two CPUs,
    then random sequences. With --machine qemu the simulated processor alone runs beside QEMU's MMU. The exit code is 0
    when all agree, and 1 when a disagreement is not explained.
    """
    if live == bool(machine):
        raise click.UsageError("Name one machine to compare with: --live or --machine qemu.")
    seed = fresh_seed() if seed is None else seed
    if machine:
        for option, value in {"--part": parts, "--rounds": rounds}.items():
            if value:
                raise click.UsageError(f"{option} is for --live.")
        return _qemu(
            seconds, sequences, seed, mode or BOTH, first or 0, db, quiet=quiet, as_json=as_json
        )
    for option, chosen in {"--mode": mode, "--first": first}.items():
        if chosen is not None:
            raise click.UsageError(f"{option} is for --machine.")
    wanted = [part for part in Part if not parts or part in parts]
    if rounds is not None and Part.RACES not in wanted:
        raise click.UsageError("--rounds is for the races, which --part leaves out.")
    if sequences is not None and Part.SEQUENCES not in wanted:
        raise click.UsageError("--sequences is for the sequences, which --part leaves out.")
    stream = sys.stderr if as_json else sys.stdout

    def write(line: str) -> None:
        # Without standard error nothing can be told; print() would use standard output.
        if not quiet and stream is not None:
            print(line, file=stream, flush=True)

    try:
        result, unstored = _live(
            wanted,
            Limits(seconds, sequences, rounds),
            seed,
            db,
            write,
        )
    except Unusable as error:
        raise click.ClickException(f"conform --live cannot run: {error}") from None
    if as_json:
        print_json(document(result, db))
    else:
        click.echo("\n".join(closing(result, db)))
    if unstored is not None:
        raise unstored
    if result.found:
        return ILLEGAL_FOUND
    return OK if result.compared and not result.failure else UNUSABLE


def _qemu(
    seconds: float,
    sequences: int | None,
    seed: int,
    mode: str,
    first: int,
    db: str,
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    try:
        unicorn, _ = load_unicorn()
    except Unusable as error:
        raise click.ClickException(f"conform --machine qemu cannot run: {error}") from None
    interrupts = Interrupts()
    with interrupts.counted(), open_store(db, create=True) as store:
        machine = {"emulator": f"unicorn {unicorn.__version__}", "mode": mode}
        ledger = Ledger(store, "qemu", seed, machine, [])

        def keep(what: Disagreement | Reached) -> None:
            if isinstance(what, Disagreement):
                event = f"{what.what} of {what.event}"
                ledger.found(
                    Found("qemu", event, what.machine, what.qemu, what.seed, text=what.case)
                )
            else:
                ledger.end(
                    Figures(
                        what.sequences,
                        what.events,
                        what.accesses,
                        what.seconds,
                        {name: count for name, count in what.explained.items() if count},
                    )
                )

        code = conform_qemu(
            seconds=seconds,
            sequences=sequences,
            seed=seed,
            mode=mode,
            first=first,
            as_json=as_json,
            store=keep,
            stop=lambda: interrupts.count > 0,
            quiet=quiet,
        )
    if ledger.broken is not None:
        raise ledger.broken
    return code


def _live(
    parts: list[Part], limits: Limits, seed: int, db: str, write: Callable[[str], None]
) -> tuple[Result, StoreError | None]:
    """Return what was compared, and the reason why not all of it is in the database."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unusable(f"this is {platform.system()} on {platform.machine()}, not Linux on x86-64.")
    here = host()
    on_disk = file_folder([tempfile.gettempdir(), "/var/tmp", "."])  # noqa: S108 - a folder of our own is made there
    interrupts = Interrupts()
    with (
        interrupts.counted(),
        tempfile.TemporaryDirectory(prefix="shootdown-") as name,
        tempfile.TemporaryDirectory(prefix="shootdown-", dir=on_disk or None) as disk,
    ):
        folder, tracefs = Path(name), Path(name) / "tracefs"
        tracefs.mkdir()
        file = Path(disk) / "file" if on_disk else None
        if file is not None:
            file.touch()
        with (
            Driver(compile_driver(folder), file, tracefs) as driver,
            open_store(db, create=True) as store,
        ):
            comparison = Comparison(driver, here, REGISTRY[POLICY].make(), seed, parts)
            result = comparison.result
            ledger = Ledger(store, "live", seed, here._asdict(), result.left_out)
            write(f"Linux {here.release}, {counted(here.cpus, 'CPU')}, {here.cpu}; seed {seed}.")
            progress = paced(write)

            def tell(line: str) -> None:
                ledger.save(result.figures)
                progress(line)

            def keep(found: Found) -> None:
                known = "" if ledger.found(found) else " (known before)"
                write(
                    f"disagreement{known}: {found.what}: model {found.model}; kernel {found.other}"
                )

            comparison.run(limits, stop=lambda: interrupts.count > 0, tell=tell, store=keep)
            ledger.end(result.figures)
    return result, ledger.broken
