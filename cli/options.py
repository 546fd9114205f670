"""Options and kinds of input that several commands share."""

import re
import shlex
from typing import Final

import click

from shootdown.machine.registry import DEFAULT_MACHINE, MACHINES, machine_named
from shootdown.machine.x86 import Machine
from shootdown.system.unusable import Unusable

DEFAULT_DB: Final = "findings.db"

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?[smh])+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smh])")

_SHIFTS: Final = {"": 20, "m": 20, "g": 30}
_SIZE: Final = re.compile(r"(\d+)([mg]?)(?:i?b)?", re.IGNORECASE)

db_option = click.option(
    "--db",
    default=DEFAULT_DB,
    show_default=True,
    metavar="FILE",
    help="The findings database.",
)
machine_option = click.option(
    "--machine",
    type=click.Choice(MACHINES),
    default=DEFAULT_MACHINE,
    show_default=True,
    help="What translates addresses: the model of a processor, or QEMU's MMU (package unicorn).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


class Duration(click.ParamType[float]):
    """A time such as 60s, 10m, 1h30m, or a plain number of seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        text = str(value)
        if text.isdecimal():
            text += "s"
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        if not _DURATION.fullmatch(text) or not seconds:
            self.fail(f"{value!r} is not a time above zero such as 60s, 10m or 1h30m.", param, ctx)
        return seconds


class Size(click.ParamType[int]):
    """An amount of memory such as 512M or 2G; a plain number is in MiB."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the bytes."""
        match = _SIZE.fullmatch(str(value))
        if not match or not int(match[1]):
            self.fail(
                f"{value!r} is not an amount of memory above zero such as 512M or 2G.", param, ctx
            )
        return int(match[1]) << _SHIFTS[match[2].lower()]


def chosen_machine(name: str) -> type[Machine]:
    """Return the machine of --machine; if it is not available here, print one sentence and exit with code 2."""
    try:
        return machine_named(name)
    except Unusable as error:
        raise click.UsageError(f"--machine {name} is not possible: {error}") from None


def replay_command(
    target: str,
    *,
    policy: str = "",
    against: str = "",
    db: str = DEFAULT_DB,
    machine: str = DEFAULT_MACHINE,
) -> str:
    """Return the literal command that shows a finding or a file again; options with default values are left out."""
    words = ["shootdown", "replay", target]
    if policy:
        words += ["--policy", policy]
    if against:
        words += ["--against", against]
    if db != DEFAULT_DB:
        words += ["--db", db]
    if machine != DEFAULT_MACHINE:
        words += ["--machine", machine]
    return shlex.join(words)


def counted(number: int, thing: str) -> str:
    """Return `1 finding` or `2,000 findings`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
