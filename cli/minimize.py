"""`shootdown minimize`: reduce a scenario of the user to its canonical minimum."""

import click

from shootdown.cli.chosen import chosen_policy
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.cli.options import json_option
from shootdown.cli.output import print_json
from shootdown.evidence.reduction import reduction_of
from shootdown.policy.source import blamed
from shootdown.scenario import Expectation, encode, render
from shootdown.scenario.source import read_scenario


@click.command("minimize")
@click.argument("file")
@click.option(
    "--policy", required=True, metavar="NAME|FILE", help="The policy that it fails under."
)
@click.option(
    "--budget", type=click.IntRange(1), default=1000, show_default=True, help="Runs at most."
)
@json_option
def command(file: str, *, policy: str, budget: int, as_json: bool) -> int:
    """Print the smallest scenario that still shows the same violation, as a text that can be replayed.

    FILE is a scenario as text, or the binary input of a fuzzer.
    """
    scenario = read_scenario(file).scenario
    loaded = chosen_policy(policy)
    with blamed(loaded):
        smaller = reduction_of(scenario, loaded.policy, budget)
    if smaller is None:
        click.echo(f"{file} shows nothing illegal under {loaded.name}.", err=True)
        return OK
    before, after = len(scenario.records), len(smaller.scenario.records)
    if as_json:
        print_json(
            {
                "scenario": render(smaller.scenario),
                "bytes": encode(smaller.scenario).hex(),
                "rule": smaller.rule,
                "reason": smaller.reason,
                "skip": smaller.skip,
                "records_before": before,
                "records": after,
                "runs": smaller.runs,
                "complete": smaller.complete,
            }
        )
        return ILLEGAL_FOUND
    story = [f"{file}, from {before} records to {after} in {smaller.runs} runs"]
    if not smaller.complete:
        story.append("not finished: a larger --budget may make it smaller")
    expected = Expectation(loaded.name, smaller.rule, smaller.reason)
    click.echo(render(smaller.scenario, story, [expected]), nl=False)
    return ILLEGAL_FOUND
