"""`shootdown lockstep`: compare a policy with the reference where no access falls into an open window."""

import shlex
from collections.abc import Iterator

import click

from shootdown.cli.chosen import chosen_policy
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.cli.options import counted, json_option
from shootdown.cli.output import print_json
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.policy.source import blamed
from shootdown.run.lockstep import Difference, compare, in_lockstep, reference_for, words_of
from shootdown.scenario import Scenario, render
from shootdown.scenario.source import read_scenario
from shootdown.system.environment import draws


@click.command("lockstep")
@click.argument("file", required=False)
@click.option(
    "--random", "number", type=click.IntRange(1), help="Run this many random scenarios instead."
)
@click.option("--policy", required=True, metavar="NAME|FILE", help="What to compare.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The seed of the first random scenario.",
)
@json_option
def command(file: str | None, *, number: int | None, policy: str, seed: int, as_json: bool) -> int:
    """Run every operation to completion under a policy and under the reference, and compare.

    Both must show the same, and it must be what the calls allow by their arguments.
    The exit code is 1 at the first scenario that breaks this.
    """
    loaded = chosen_policy(policy)
    reference = reference_for(loaded.policy)
    tried = 0
    for scenario, target in _scenarios(file, number, seed):
        with blamed(loaded):
            difference = compare(scenario, loaded.policy.make(), reference)
        tried += 1
        if difference is None:
            continue
        again = f"shootdown lockstep {target} --policy {shlex.quote(policy)}"
        if as_json:
            print_json(_document(scenario, difference, again))
        else:
            click.echo("\n".join(_lines(loaded.name, scenario, difference, again)))
        return ILLEGAL_FOUND
    if as_json:
        print_json({"scenarios": tried, "difference": None})
    else:
        click.echo(
            f"{loaded.name} and the reference showed the same, and what the calls allow, "
            f"in {counted(tried, 'scenario')}."
        )
    return OK


def _scenarios(file: str | None, number: int | None, seed: int) -> Iterator[tuple[Scenario, str]]:
    """Yield each scenario with the words that name it on the command line."""
    if file is not None and number is None:
        yield read_scenario(file).scenario, shlex.quote(file)
    elif number is not None and file is None:
        for one in range(seed, seed + number):
            yield random_scenario(draws(one)), f"--random 1 --seed {one}"
    else:
        raise click.UsageError("Give either a scenario file or --random N.")


def _lines(name: str, scenario: Scenario, difference: Difference, again: str) -> list[str]:
    if difference.left == difference.right:
        head = [
            f"{name} and the reference agree, but the calls do not allow what both show:",
            f"  {words_of(difference.left)}",
        ]
    else:
        head = [
            f"{name} and the reference differ in outcome {difference.position + 1}:",
            f"  {name}: {words_of(difference.left)}",
            f"  reference: {words_of(difference.right)}",
        ]
    return [
        *head,
        "",
        "Scenario, in lockstep:",
        *(f"  {line}".rstrip() for line in render(in_lockstep(scenario)).splitlines()),
        "",
        "Replay:",
        f"  {again}",
    ]


def _document(scenario: Scenario, difference: Difference, again: str) -> dict[str, object]:
    return {
        "difference": difference.position,
        "policy": words_of(difference.left),
        "reference": words_of(difference.right),
        "scenario": render(in_lockstep(scenario)),
        "replay": again,
    }
